//! # Requests in flight
//!
//! One interface over every engine. A queue accepts up to its depth of requests, hands them over in batches, and
//! reports each exactly once. It owns the memory of its requests until then, also when it is dropped.

use std::collections::VecDeque;
use std::mem;
use std::time::{Duration, Instant};

use crate::buffer::Buffer;
use crate::contract::SyncKind;
use crate::engine::{self, Arrival, Deadline, Driver, Kind, Request};
use crate::error::{Errno, Error, Op};
use crate::file::File;
use crate::mode::Engine;

/// A queue of requests. One thread at a time; it may move between threads.
///
/// [`Queue::read`], [`Queue::write`] and [`Queue::sync`] only take a request in; [`Queue::submit`], [`Queue::poll`] and
/// [`Queue::wait`] hand everything taken in to the kernel as one batch. Nothing is allocated per request. Requests in
/// flight together have no order among them: a sync covers writes whose completion was collected before it was queued,
/// and no others.
///
/// Allocate ahead of writes: that is what keeps libaio asynchronous on ext4. A direct write that extends the file waits
/// for its data inside submit there (`IOMAP_DIO_FORCE_WAIT` in `ext4_dio_write_iter`); io_uring hands it to a kernel
/// worker that waits. One onto allocated space inside the file's size is queued. [`File::allocate`] makes that so;
/// [`File::allocate_keep_size`] does not, because such a write still extends the size.
///
/// Dropping a queue hands over what was taken in, and waits for everything in flight.
pub struct Queue {
    engine: Engine,
    slots: Box<[Slot]>,
    free: Vec<u32>,
    driver: Option<Box<dyn Driver>>,
    arrivals: Vec<Arrival>,
    ready: VecDeque<Completion>,
}

const _: () = {
    const fn moves_between_threads<T: Send>() {}
    moves_between_threads::<Queue>();
};

/// What became of a request.
#[derive(Debug)]
pub struct Completion {
    /// What the caller gave with the request.
    pub user_data: u64,
    /// Bytes moved, 0 for a sync. A read that moved fewer bytes than asked for may go on at a multiple of the
    /// alignment; one that moved none was at the end of the file. Taken from the kernel as it is, never rounded up.
    pub result: Result<u32, Errno>,
    /// The buffer that was handed in; `None` for a sync and for a raw request.
    pub buffer: Option<Buffer>,
}

/// A request that was not accepted, and its buffer.
#[derive(Debug)]
pub struct Refused {
    /// Why.
    pub error: Error,
    /// What was handed in.
    pub buffer: Buffer,
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Error {
        refused.error
    }
}

/// What the queue remembers of a request while an engine has it.
#[derive(Default)]
struct Slot {
    user_data: u64,
    file: Option<File>,
    buffer: Option<Buffer>,
    stage: Stage,
}

/// How far a slot's request is.
#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Stage {
    #[default]
    Idle,
    Moving {
        is_write: bool,
    },
    Syncing,
    /// The write of this many bytes was acknowledged by the kernel and is being synced before it is reported.
    Finishing {
        moved: u32,
    },
}

impl Queue {
    /// The deepest queue, the limit of io_uring.
    pub const MAX_DEPTH: u32 = 32768;

    /// Sets up a queue for `depth` requests in flight, between 1 and [`Queue::MAX_DEPTH`].
    pub fn new(engine: Engine, depth: u32) -> Result<Queue, Error> {
        if !(1..=Queue::MAX_DEPTH).contains(&depth) {
            return Err(Error::Invalid(format!(
                "queue depth {depth}: from 1 to {}",
                Queue::MAX_DEPTH
            )));
        }
        let driver = engine::start(engine, depth)?;
        let capacity = depth as usize;
        Ok(Queue {
            engine,
            slots: (0..depth).map(|_| Slot::default()).collect(),
            free: (0..depth).rev().collect(),
            driver: Some(driver),
            arrivals: Vec::with_capacity(capacity),
            ready: VecDeque::with_capacity(capacity),
        })
    }

    /// The engine.
    pub fn engine(&self) -> Engine {
        self.engine
    }

    /// How many requests the queue holds at most: in flight and completed, until [`Queue::pop`] takes them.
    pub fn depth(&self) -> u32 {
        self.slots.len() as u32
    }

    /// How many requests have been accepted and not completed.
    pub fn in_flight(&self) -> u32 {
        (self.slots.len() - self.free.len()) as u32
    }

    /// How many completions wait for [`Queue::pop`].
    pub fn ready(&self) -> u32 {
        self.ready.len() as u32
    }

    /// Takes in a read of the whole buffer from `offset`. The buffer comes back with the completion.
    pub fn read(
        &mut self,
        file: &File,
        buffer: Buffer,
        offset: u64,
        user_data: u64,
    ) -> Result<(), Refused> {
        self.transfer(Kind::Read, file, buffer, offset, user_data)
    }

    /// Takes in a write of the whole buffer to `offset`. The buffer comes back with the completion.
    pub fn write(
        &mut self,
        file: &File,
        buffer: Buffer,
        offset: u64,
        user_data: u64,
    ) -> Result<(), Refused> {
        self.transfer(Kind::Write, file, buffer, offset, user_data)
    }

    /// Takes in a sync of what was written and completed before. One sync of a file at a time is enough, and safer: the
    /// kernel reports a lost write to one caller only, and of two syncs in flight the other may have said yes by then.
    pub fn sync(&mut self, file: &File, kind: SyncKind, user_data: u64) -> Result<(), Error> {
        file.check_sync()?;
        let slot = self.take_slot()?;
        self.slots[slot as usize] = Slot {
            user_data,
            file: Some(file.clone()),
            buffer: None,
            stage: Stage::Syncing,
        };
        self.stage_sync(slot, kind);
        Ok(())
    }

    /// As [`Queue::read`], into memory of the caller's, which need not be initialised.
    ///
    /// # Safety
    ///
    /// `address` is valid for writes of `length` bytes, and is not touched otherwise, until the completion of this
    /// request or the drop of the queue.
    pub unsafe fn read_raw(
        &mut self,
        file: &File,
        address: *mut u8,
        length: usize,
        offset: u64,
        user_data: u64,
    ) -> Result<(), Error> {
        // SAFETY: the caller's promise is the one asked for.
        unsafe {
            self.transfer_raw(Kind::Read, file, address, length, offset, user_data)
                .map(drop)
        }
    }

    /// As [`Queue::write`], from memory of the caller's.
    ///
    /// # Safety
    ///
    /// `address` is valid for reads of `length` bytes, and is not changed, until the completion of this request or the
    /// drop of the queue.
    pub unsafe fn write_raw(
        &mut self,
        file: &File,
        address: *const u8,
        length: usize,
        offset: u64,
        user_data: u64,
    ) -> Result<(), Error> {
        // SAFETY: the caller's promise is the one asked for; a write never stores through the address.
        unsafe {
            self.transfer_raw(
                Kind::Write,
                file,
                address.cast_mut(),
                length,
                offset,
                user_data,
            )
            .map(drop)
        }
    }

    /// Hands everything taken in to the kernel, without waiting for completions.
    pub fn submit(&mut self) -> Result<(), Error> {
        self.advance(0, Deadline::Now)
    }

    /// Hands everything taken in to the kernel, and collects what has completed. Returns how many completions are
    /// ready for [`Queue::pop`].
    pub fn poll(&mut self) -> Result<u32, Error> {
        self.advance(0, Deadline::Now)?;
        Ok(self.ready())
    }

    /// As [`Queue::poll`], and waits until at least `min` completions are ready or `timeout` has passed. No more than
    /// what is in flight is waited for. Fewer than `min` ready means that the time was up, or that there was no more.
    pub fn wait(&mut self, min: u32, timeout: Option<Duration>) -> Result<u32, Error> {
        // A time too far away to be represented is no limit.
        let end = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        self.advance(min, end.map_or(Deadline::Never, Deadline::At))?;
        Ok(self.ready())
    }

    /// Takes the next completion, in the order of completion.
    pub fn pop(&mut self) -> Option<Completion> {
        self.ready.pop_front()
    }

    /// Waits for one completion and takes it. For programs that do one request at a time.
    pub fn complete(&mut self) -> Result<Completion, Error> {
        self.wait(1, None)?;
        self.pop()
            .ok_or_else(|| Error::Invalid("nothing is in flight".to_owned()))
    }

    /// Drops the queue, and says where that could not be done in order: requests that were not handed over are lost, and
    /// what is in flight may still use its memory. Only an engine that was broken from outside does that, for example
    /// by closing a descriptor that is not one's own.
    pub fn close(mut self) -> Result<(), Error> {
        self.finish()
    }

    /// Hands over what was taken in and waits for everything in flight.
    fn finish(&mut self) -> Result<(), Error> {
        while self.in_flight() > 0 {
            // Completions are dropped here, so that there is always room for those to come.
            self.ready.clear();
            self.advance(self.in_flight(), Deadline::Never)?;
        }
        Ok(())
    }

    fn driver(&mut self) -> &mut dyn Driver {
        // Taken out in `drop` alone.
        self.driver
            .as_deref_mut()
            .expect("the engine lives as long as the queue")
    }

    fn transfer(
        &mut self,
        kind: Kind,
        file: &File,
        mut buffer: Buffer,
        offset: u64,
        user_data: u64,
    ) -> Result<(), Refused> {
        let (address, length) = (buffer.as_mut_ptr(), buffer.len());
        // SAFETY: the slot keeps the buffer until the completion, and a buffer's memory does not move with it.
        match unsafe { self.transfer_raw(kind, file, address, length, offset, user_data) } {
            Ok(slot) => {
                self.slots[slot as usize].buffer = Some(buffer);
                Ok(())
            }
            Err(error) => Err(Refused { error, buffer }),
        }
    }

    /// # Safety
    ///
    /// The memory stays valid until the completion of this request or the drop of the queue.
    unsafe fn transfer_raw(
        &mut self,
        kind: Kind,
        file: &File,
        address: *mut u8,
        length: usize,
        offset: u64,
        user_data: u64,
    ) -> Result<u32, Error> {
        let is_write = kind == Kind::Write;
        if is_write {
            file.check_writable(Op::Write)?;
        }
        file.check(address as usize, length, offset)?;
        // The kernel would move less than asked for, without an error.
        if length > Buffer::MAX {
            return Err(Error::TooLarge {
                what: "length",
                value: length as u64,
                limit: Buffer::MAX as u64,
                source_of_limit: "kernel MAX_RW_COUNT",
            });
        }
        let slot = self.take_slot()?;
        self.slots[slot as usize] = Slot {
            user_data,
            file: Some(file.clone()),
            buffer: None,
            stage: Stage::Moving { is_write },
        };
        let request = Request {
            kind,
            fd: file.fd(),
            address,
            length: length as u32,
            offset,
        };
        // SAFETY: the slot keeps the file open, and the caller or the slot keeps the memory, until the arrival.
        unsafe { self.driver().stage(slot, request) };
        Ok(slot)
    }

    fn take_slot(&mut self) -> Result<u32, Error> {
        let depth = self.depth();
        if self.in_flight() + self.ready() >= depth {
            return Err(Error::QueueFull { depth });
        }
        self.free.pop().ok_or(Error::QueueFull { depth })
    }

    fn stage_sync(&mut self, slot: u32, kind: SyncKind) {
        let kind = match kind {
            SyncKind::Data => Kind::DataSync,
            SyncKind::Full => Kind::FullSync,
        };
        let file = self.slots[slot as usize]
            .file
            .as_ref()
            .expect("a slot in use has a file");
        let request = Request {
            kind,
            fd: file.fd(),
            address: std::ptr::null_mut(),
            length: 0,
            offset: 0,
        };
        // SAFETY: the slot keeps the file open until the arrival, and a sync has no memory.
        unsafe { self.driver().stage(slot, request) };
    }

    /// Exchanges with the engine until `min` completions are ready, nothing more is in flight, or the time is up.
    fn advance(&mut self, min: u32, deadline: Deadline) -> Result<(), Error> {
        loop {
            let missing = min.saturating_sub(self.ready()).min(self.in_flight());
            let mut arrivals = mem::take(&mut self.arrivals);
            let result = self
                .driver()
                .exchange(missing as usize, deadline, &mut arrivals);
            let mut finishing = false;
            for (slot, result) in arrivals.drain(..) {
                finishing |= self.arrive(slot, result);
            }
            self.arrivals = arrivals;
            result?;
            // Syncs that finish a write have just been staged: they are handed over now, not at the next call.
            let missing = min.saturating_sub(self.ready()).min(self.in_flight());
            if !finishing && (missing == 0 || deadline.over()) {
                return Ok(());
            }
        }
    }

    /// Takes one result in. True where the request goes on with a sync.
    fn arrive(&mut self, number: u32, result: i32) -> bool {
        let engine = self.engine;
        let slot = &mut self.slots[number as usize];
        let file = slot.file.as_ref().expect("a slot in use has a file");
        let moved = u32::try_from(result).map_err(|_| Errno(-result));
        let synced = moved.map(drop);
        let outcome = match slot.stage {
            Stage::Idle => unreachable!("an engine reports a request once"),
            Stage::Syncing => file.note_sync(synced).map(|()| 0),
            Stage::Finishing { moved } => file.note_sync(synced).map(|()| moved),
            Stage::Moving { is_write: true } => {
                match (moved, file.contract().finishing_sync(engine)) {
                    (Ok(moved @ 1..), Some(kind)) => {
                        slot.stage = Stage::Finishing { moved };
                        self.stage_sync(number, kind);
                        return true;
                    }
                    (Err(errno), _) => {
                        file.note_write_error(errno);
                        Err(errno)
                    }
                    (done, _) => done,
                }
            }
            Stage::Moving { is_write: false } => moved,
        };
        let slot = mem::take(slot);
        self.ready.push_back(Completion {
            user_data: slot.user_data,
            result: outcome,
            buffer: slot.buffer,
        });
        self.free.push(number);
        false
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // A failure is dealt with below; `close` is for those who want to know of it.
        let _ = self.finish();
        let in_flight = self.in_flight() as usize;
        let staged = self.driver().staged();
        if in_flight > staged {
            // The engine cannot be waited for any more and the kernel may still write: memory, files and engine are
            // given up rather than freed under it.
            mem::forget(mem::take(&mut self.slots));
            mem::forget(self.driver.take());
        }
    }
}

#[cfg(test)]
mod tests;
