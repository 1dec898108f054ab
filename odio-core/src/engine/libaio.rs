//! # libaio: Linux AIO by its system calls
//!
//! io_submit takes requests in order and may take fewer than offered; io_getevents gives results in any order.

use std::os::fd::RawFd;

use super::{Deadline, Kind, Memory, Plain, Request, Sink};
use crate::error::{Errno, Error};
use crate::mode::Engine;
use crate::sys::aio::{self, Context, Event, Iocb};
use crate::sys::event;

/// An AIO context with one control block per slot.
pub(crate) struct Libaio {
    context: Context,
    /// Never moves while the kernel may look at it; the kernel copies it during io_submit.
    blocks: Box<[Iocb]>,
    /// Slots staged, in order.
    staged: Vec<u32>,
    /// The same as pointers, for io_submit; only used within `submit`.
    pointers: Vec<*mut Iocb>,
    events: Box<[Event]>,
    in_kernel: usize,
    /// Signalled at each completion, where one was asked for.
    event: Option<RawFd>,
}

// SAFETY: the raw pointers lead into `blocks`, owned by the same value, and are rebuilt before each use.
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
        Ok(Libaio {
            context,
            blocks: vec![Iocb::EMPTY; depth].into(),
            staged: Vec::with_capacity(depth),
            pointers: Vec::with_capacity(depth),
            events: vec![Event::EMPTY; depth].into(),
            in_kernel: 0,
            event: None,
        })
    }

    /// Offers everything staged until the kernel has it, refuses it, or has no room. Returns how many it refused.
    fn submit(&mut self, sink: &mut impl Sink) -> (usize, Result<(), Error>) {
        let mut arrived = 0;
        self.pointers.clear();
        let blocks = self.blocks.as_mut_ptr();
        // SAFETY: every staged slot is below the depth, the length of `blocks`.
        self.pointers.extend(
            self.staged
                .iter()
                .map(|&slot| unsafe { blocks.add(slot as usize) }),
        );
        let mut taken = 0;
        let mut outcome = Ok(());
        while taken < self.pointers.len() {
            // SAFETY: the pointers lead into `blocks`; whoever staged the requests keeps their memory valid.
            match unsafe { aio::submit(&self.context, &self.pointers[taken..]) } {
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
                    sink.arrive(self.staged[taken], -errno);
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
    /// # Safety
    ///
    /// As for [`super::Driver::stage`].
    #[inline(always)]
    pub(super) unsafe fn stage_plain(&mut self, slot: u32, plain: Plain) {
        let (flags, event_fd) = match self.event {
            Some(event) => (aio::SIGNAL, event as u32),
            None => (0, 0),
        };
        if let Some(block) = self.blocks.get_mut(slot as usize) {
            *block = Iocb::EMPTY;
            block.data = u64::from(slot);
            block.opcode = if plain.is_write {
                aio::PWRITE
            } else {
                aio::PREAD
            };
            block.fd = plain.fd as u32;
            block.address = plain.address as u64;
            block.length = u64::from(plain.length);
            block.offset = plain.offset as i64;
            block.flags = flags;
            block.event_fd = event_fd;
        }
        self.staged.push(slot);
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
        let (flags, event_fd) = match self.event {
            Some(event) => (aio::SIGNAL, event as u32),
            None => (0, 0),
        };
        let block = &mut self.blocks[slot as usize];
        *block = Iocb::EMPTY;
        block.data = u64::from(slot);
        block.rw_flags = request.flags as u32;
        block.opcode = opcode;
        block.fd = request.fd as u32;
        block.address = address;
        block.length = length;
        block.offset = request.offset as i64;
        block.flags = flags;
        block.event_fd = event_fd;
        self.staged.push(slot);
    }

    pub(super) fn exchange(
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
            arrived += self.reap(sink);
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
    fn reap(&mut self, sink: &mut impl Sink) -> usize {
        let count = self.context.reap(|event| {
            sink.arrive(event.data as u32, event.result as i32);
        });
        self.in_kernel -= count;
        count
    }

    pub(super) fn staged(&self) -> usize {
        self.staged.len()
    }

    pub(super) fn cancel(&mut self, slot: u32) {
        let block: *mut Iocb = &mut self.blocks[slot as usize];
        // SAFETY: every slot that the queue names is in flight. The answer does not matter: the event comes anyway.
        let _ = unsafe { aio::cancel(&self.context, block) };
    }

    pub(super) fn signal(&mut self, event: RawFd) -> Result<(), Errno> {
        self.event = Some(event);
        for &slot in &self.staged {
            let block = &mut self.blocks[slot as usize];
            (block.flags, block.event_fd) = (aio::SIGNAL, event as u32);
        }
        Ok(())
    }
}
