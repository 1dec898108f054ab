//! # libaio: Linux AIO by its system calls
//!
//! io_submit takes requests in order and may take fewer than offered; io_getevents gives results in any order.

use std::cell::UnsafeCell;
use std::os::fd::RawFd;
use std::time::Duration;

use super::{Deadline, Kind, Memory, Plain, Request, Sink};
use crate::error::{Errno, Error};
use crate::mode::Engine;
use crate::sys::aio::{self, Context, Event, Iocb};
use crate::sys::{event, memory};

/// An AIO context with one control block per slot.
pub(crate) struct Libaio {
    context: Context,
    /// Never moves while the kernel may look at it; the kernel copies it during io_submit. Each block carries the number
    /// of its slot from the beginning.
    blocks: Box<[UnsafeCell<Iocb>]>,
    /// Blocks staged, in order: the list that io_submit takes.
    staged: Vec<*mut Iocb>,
    events: Box<[Event]>,
    in_kernel: usize,
    /// Signalled at each completion, where one was asked for.
    event: Option<RawFd>,
    /// How many requests the kernel has had since before there was an eventfd: it signals none for these.
    unheard: usize,
}

/// In the data of a block, beside its slot: the kernel signals its completion.
const HEARD: u64 = 1 << 32;

// SAFETY: the raw pointers lead into `blocks`, owned by the same value, which one thread at a time has.
unsafe impl Send for Libaio {}

impl Libaio {
    pub(crate) fn new(depth: u32) -> Result<Libaio, Error> {
        let context = Context::new(depth).map_err(|errno| Error::Setup {
            engine: Engine::Libaio,
            errno,
            why: match errno.0 {
                libc::EAGAIN => format!(
                    "{depth} more requests exceed /proc/sys/fs/aio-max-nr; raise it or ask for less"
                ),
                libc::ENOSYS => "this kernel has no AIO, or seccomp blocks io_setup".to_owned(),
                libc::EPERM => "seccomp blocks io_setup".to_owned(),
                _ => String::new(),
            },
        })?;
        let depth = depth as usize;
        let mut blocks = memory::room(depth)?;
        blocks.extend((0..depth).map(|slot| {
            let mut block = Iocb::EMPTY;
            block.data = slot as u64;
            UnsafeCell::new(block)
        }));
        let mut events = memory::room(depth)?;
        events.resize(depth, Event::EMPTY);
        Ok(Libaio {
            context,
            blocks: blocks.into(),
            staged: memory::room(depth)?,
            events: events.into(),
            in_kernel: 0,
            event: None,
            unheard: 0,
        })
    }

    /// Offers everything staged until the kernel has it, refuses it, or has no room. Returns how many it refused.
    fn submit(&mut self, sink: &mut impl Sink) -> (usize, Result<(), Error>) {
        let mut arrived = 0;
        let mut taken = 0;
        let mut outcome = Ok(());
        while taken < self.staged.len() {
            // SAFETY: the pointers lead into `blocks`; whoever staged the requests keeps their memory valid.
            match unsafe { aio::submit(&self.context, &self.staged[taken..]) } {
                Ok(0) | Err(Errno(libc::EAGAIN | libc::ENOMEM)) if self.in_kernel > 0 => {
                    // Completions will make room; the rest stays staged.
                    break;
                }
                Ok(0) => {
                    outcome = Err(Error::System {
                        call: "io_submit",
                        errno: Errno(libc::EAGAIN),
                    });
                    break;
                }
                // Fewer than offered: the next one may be bad, and the next call says how.
                Ok(count) => {
                    taken += count;
                    self.in_kernel += count;
                }
                Err(errno @ Errno(libc::EAGAIN | libc::ENOMEM | libc::ENOSYS | libc::EPERM)) => {
                    outcome = Err(Error::System {
                        call: "io_submit",
                        errno,
                    });
                    break;
                }
                // About the first request offered: that one is answered, the others go on.
                Err(Errno(errno)) => {
                    // SAFETY: leads into `blocks`, and the kernel is done with it.
                    let slot = unsafe { (*self.staged[taken]).data };
                    sink.arrive(slot as u32, -errno);
                    arrived += 1;
                    taken += 1;
                    if let Some(event) = self.event {
                        event::signal(event);
                    }
                }
            }
        }
        self.staged.drain(..taken);
        (arrived, outcome)
    }
}

impl Libaio {
    /// As [`super::Driver::stage`], in few instructions.
    ///
    /// # Safety
    ///
    /// As for [`super::Driver::stage`].
    #[inline(always)]
    pub(crate) unsafe fn stage_plain(&mut self, slot: u32, plain: Plain) {
        debug_assert!((slot as usize) < self.blocks.len());
        // SAFETY: the slot is below the depth, and has no request here; a check would be three instructions of a hundred.
        let block = unsafe { self.blocks.get_unchecked(slot as usize) }.get();
        // SAFETY: the kernel is done with the block. The rest of it is what it was made with, or by `signal`.
        let fields = unsafe { &mut *block };
        fields.rw_flags = 0;
        fields.opcode = if plain.is_write {
            aio::PWRITE
        } else {
            aio::PREAD
        };
        fields.fd = plain.fd as u32;
        fields.address = plain.address as u64;
        fields.length = u64::from(plain.length);
        fields.offset = plain.offset as i64;
        self.stage_block(block);
    }

    /// Puts a block into the list for io_submit.
    #[inline(always)]
    fn stage_block(&mut self, block: *mut Iocb) {
        let count = self.staged.len();
        debug_assert!(count < self.staged.capacity());
        // SAFETY: the list has room for the depth, and each slot is in it once. `Vec::push` is twice the instructions.
        unsafe {
            self.staged.as_mut_ptr().add(count).write(block);
            self.staged.set_len(count + 1);
        }
    }

    /// # Safety
    ///
    /// As for [`super::Driver::stage`].
    pub(super) unsafe fn stage(&mut self, slot: u32, request: Request) {
        // The kernel refuses a sync that names memory or a range; the queue gives it none.
        let (address, length, vector) = match request.memory {
            Memory::Plain {
                address, length, ..
            } => (address as u64, u64::from(length), false),
            Memory::Vector { vectors, count } => (vectors as u64, u64::from(count), true),
        };
        let opcode = match (request.kind, vector) {
            (Kind::Read, false) => aio::PREAD,
            (Kind::Read, true) => aio::PREADV,
            (Kind::Write, false) => aio::PWRITE,
            (Kind::Write, true) => aio::PWRITEV,
            (Kind::DataSync, _) => aio::FDSYNC,
            (Kind::FullSync, _) => aio::FSYNC,
        };
        let place = self.blocks[slot as usize].get();
        // SAFETY: the kernel is done with the block. The rest of it is what it was made with, or by `signal`.
        let block = unsafe { &mut *place };
        block.rw_flags = request.flags as u32;
        block.opcode = opcode;
        block.fd = request.fd as u32;
        block.address = address;
        block.length = length;
        block.offset = request.offset as i64;
        self.stage_block(place);
    }

    /// As [`super::Driver::try_exchange`].
    #[inline(always)]
    pub(super) fn try_exchange(
        &mut self,
        min: usize,
        max: usize,
        sink: &mut impl Sink,
    ) -> (usize, bool) {
        if !self.context.is_readable() {
            return (0, false);
        }
        let staged = self.staged.len();
        if staged > 0 {
            // SAFETY: as in `submit`.
            match unsafe { aio::submit(&self.context, &self.staged) } {
                Ok(count) if count == staged => {
                    self.in_kernel += staged;
                    self.staged.clear();
                }
                Ok(count) => {
                    self.taken(count);
                    return (0, false);
                }
                Err(_) => return (0, false),
            }
        }
        let mut arrived = self.context.reap(max, |event| {
            sink.arrive(event.data as u32, event.result as i32);
        });
        self.in_kernel -= arrived;
        if arrived < min {
            let missing = min - arrived;
            let room = self.events.len().min(max - arrived);
            let events = self.events.get_mut(..room).unwrap_or_default();
            let Ok(count) = aio::getevents(&self.context, missing, events, None) else {
                return (arrived, false);
            };
            self.in_kernel -= count;
            for event in self.events.get(..count).unwrap_or_default() {
                sink.arrive(event.data as u32, event.result as i32);
            }
            arrived += count;
        }
        (arrived, arrived >= min)
    }

    /// Notes that the kernel took fewer than offered.
    #[cold]
    #[inline(never)]
    fn taken(&mut self, count: usize) {
        self.in_kernel += count;
        self.staged.drain(..count);
    }

    pub(super) fn exchange(
        &mut self,
        min: usize,
        deadline: Deadline,
        sink: &mut impl Sink,
    ) -> Result<(), Error> {
        let outcome = self.exchange_once(min, deadline, sink);
        if let (Some(event), true) = (self.event, self.unheard > 0) {
            // Whoever sleeps on it has to come back for these: it stays readable until the last has arrived.
            event::signal(event);
        }
        outcome
    }

    fn exchange_once(
        &mut self,
        min: usize,
        deadline: Deadline,
        sink: &mut impl Sink,
    ) -> Result<(), Error> {
        let mut arrived = 0;
        loop {
            if !self.staged.is_empty() {
                let (refused, outcome) = self.submit(sink);
                arrived += refused;
                outcome?;
            }
            arrived += self.reap(sink)?;
            if self.in_kernel == 0 || (arrived >= min && self.staged.is_empty()) {
                return Ok(());
            }
            // Where requests could not be handed over for want of room, one completion is needed to go on.
            let missing = min
                .saturating_sub(arrived)
                .max(usize::from(!self.staged.is_empty()));
            if deadline == Deadline::Now {
                return Ok(());
            }
            let missing = missing.min(self.in_kernel);
            match aio::getevents(&self.context, missing, &mut self.events, deadline.left()) {
                Ok(count) => {
                    self.in_kernel -= count;
                    arrived += count;
                    self.hear(count);
                    for event in &self.events[..count] {
                        // A result is at most MAX_RW_COUNT or at least -4095.
                        sink.arrive(event.data as u32, event.result as i32);
                    }
                }
                Err(Errno(libc::EINTR)) => {}
                Err(errno) => {
                    return Err(Error::System {
                        call: "io_getevents",
                        errno,
                    });
                }
            }
            if (arrived >= min && self.staged.is_empty()) || deadline.over() {
                return Ok(());
            }
        }
    }

    /// Gives the events that are there to `sink`, without a system call where the ring can be read from here; returns
    /// how many it was.
    #[inline(always)]
    fn reap(&mut self, sink: &mut impl Sink) -> Result<usize, Error> {
        let count = if self.context.is_readable() {
            self.context.reap(usize::MAX, |event| {
                sink.arrive(event.data as u32, event.result as i32);
            })
        } else {
            self.ask(sink)?
        };
        self.in_kernel -= count;
        Ok(count)
    }

    /// As [`Libaio::reap`], by a system call that does not wait.
    #[cold]
    fn ask(&mut self, sink: &mut impl Sink) -> Result<usize, Error> {
        match aio::getevents(&self.context, 0, &mut self.events, Some(Duration::ZERO)) {
            Ok(count) => {
                self.hear(count);
                for event in &self.events[..count] {
                    sink.arrive(event.data as u32, event.result as i32);
                }
                Ok(count)
            }
            Err(Errno(libc::EINTR)) => Ok(0),
            Err(errno) => Err(Error::System {
                call: "io_getevents",
                errno,
            }),
        }
    }

    /// Counts those of the first `count` events that nobody was signalled.
    fn hear(&mut self, count: usize) {
        if self.unheard == 0 {
            return;
        }
        let silent = |event: &&Event| event.data & HEARD == 0;
        self.unheard -= self.events[..count].iter().filter(silent).count();
        if self.unheard == 0 {
            self.context.hide(false);
        }
    }

    pub(super) fn staged(&self) -> usize {
        self.staged.len()
    }

    pub(super) fn cancel(&mut self, slot: u32) {
        let block = self.blocks[slot as usize].get();
        // SAFETY: every slot that the queue names is in flight. The answer does not matter: the event comes anyway.
        let _ = unsafe { aio::cancel(&self.context, block) };
    }

    pub(super) fn signal(&mut self, event: RawFd) -> Result<(), Errno> {
        self.event = Some(event);
        self.unheard = self.in_kernel;
        // While there are such, events come by the calls that count them.
        self.context.hide(self.unheard > 0);
        // All of them, because staging leaves this alone; of those in flight the kernel has its copy.
        for block in &self.blocks {
            // SAFETY: nobody else is at a block during the call.
            let block = unsafe { &mut *block.get() };
            (block.flags, block.event_fd) = (aio::SIGNAL, event as u32);
            block.data |= HEARD;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_sync_is_the_one_asked_for() {
        let mut context = Libaio::new(1).unwrap();
        for (kind, opcode) in [(Kind::DataSync, aio::FDSYNC), (Kind::FullSync, aio::FSYNC)] {
            // SAFETY: a sync has no memory, and it is not handed over.
            unsafe { context.stage(0, Request::sync(kind, 5)) };
            // SAFETY: nobody else is at the block.
            assert_eq!(unsafe { (*context.blocks[0].get()).opcode }, opcode);
            context.staged.clear();
        }
    }

    /// A slot that had flags has none when a request without comes by the short way.
    #[test]
    fn flags_do_not_stay_with_a_slot() {
        let mut context = Libaio::new(1).unwrap();
        let request = Request {
            flags: 2,
            ..Request::sync(Kind::Write, 5)
        };
        // SAFETY: neither is handed over.
        unsafe { context.stage(0, request) };
        context.staged.clear();
        let plain = Plain {
            is_write: false,
            fd: 5,
            address: std::ptr::null_mut(),
            length: 0,
            offset: 0,
            file: None,
            memory: crate::engine::MemoryWay::PLAIN,
        };
        // SAFETY: as above.
        unsafe { context.stage_plain(0, plain) };
        // SAFETY: nobody else is at the block.
        let block = unsafe { &*context.blocks[0].get() };
        assert_eq!((block.rw_flags, block.opcode), (0, aio::PREAD));
    }
}
