//! # Requests in flight
//!
//! One interface over every engine. A queue accepts up to its depth of requests, hands them over in batches, and
//! reports each exactly once. It owns the memory of its requests until then, also when it is dropped.

mod arrive;
mod hold;
mod latency;
mod options;
mod slot;
mod tables;

pub use latency::Latency;
pub use options::QueueOptions;

use std::collections::VecDeque;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use crate::buffer::Buffer;
use crate::contract::SyncKind;
use crate::counters::{self, Counters};
use crate::engine::{Arrival, Deadline, Driver, Kind, Memory, Request};
use crate::error::{Errno, Error, Op};
use crate::file::{File, vector};
use crate::flags::Flags;
use crate::mode::{Cache, Engine, Sync};
use crate::pool::Pool;
use crate::sys::event;
use crate::sys::fork::Home;
use crate::sys::memory::Region;

use hold::Way;
use slot::{Slot, Stage};
use tables::Tables;

/// A queue of requests. One thread at a time; it may move between threads.
///
/// [`Queue::read`], [`Queue::write`] and [`Queue::sync`] only take a request in; [`Queue::submit`], [`Queue::poll`] and
/// [`Queue::wait`] hand everything taken in to the kernel as one batch. Nothing is allocated per request. Requests in
/// flight together have no order among them: a sync covers writes whose completion was collected before it was queued,
/// and no others.
///
/// A transfer that the kernel stops short is taken up again inside, where it is aligned, until all of it is done, the
/// file ends, or it fails. With [`Flags::NOWAIT`] what the kernel says is reported as it is.
///
/// Syncs of one file run one after the other, whoever asks for them: the kernel reports a lost write to one caller only.
/// Those that wait end together with the next one that covers them. On a file that bounces ([`File::is_bounce`]) an
/// unaligned request is done by the call that hands it over, and any write waits for those in flight in the same blocks.
///
/// Allocate ahead of writes: that is what keeps libaio asynchronous on ext4. A direct write that extends the file waits
/// for its data inside submit there (`IOMAP_DIO_FORCE_WAIT` in `ext4_dio_write_iter`); io_uring hands it to a kernel
/// worker that waits. One onto allocated space inside the file's size is queued. [`File::allocate`] makes that so;
/// [`File::allocate_keep_size`] does not, because such a write still extends the size.
///
/// Dropping a queue hands over what was taken in, and waits for everything in flight.
///
/// In a child of fork an inherited queue takes nothing in and reports nothing but [`Error::Forked`]; dropping it there
/// releases the child's copy and leaves the parent's requests alone.
pub struct Queue {
    /// An engine works in the process that started it and in no child.
    home: Home,
    engine: Engine,
    reason: String,
    iopoll: bool,
    slots: Box<[Slot]>,
    free: Vec<u32>,
    in_flight: u32,
    /// Of these, those that the engine has.
    with_engine: u32,
    /// Of these, those that wait for another one.
    held: VecDeque<u32>,
    /// Slots whose completion waits to be collected, in the order of completion.
    ready: VecDeque<u32>,
    driver: Option<Driver>,
    arrivals: Vec<Arrival>,
    /// `max_vectors` pieces for each slot.
    vectors: Region,
    max_vectors: u32,
    tables: Tables,
    event: Option<OwnedFd>,
    counters: Counters,
    latency: Option<Box<Latency>>,
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
    /// Bytes moved, 0 for a sync. A read that moved fewer bytes than asked for was stopped by the end of the file; a
    /// write moved all. Only with [`Flags::NOWAIT`] may fewer bytes mean that the rest would have waited.
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

impl Queue {
    /// The deepest queue, the limit of io_uring.
    pub const MAX_DEPTH: u32 = 32768;

    /// Sets up a queue on `engine` for `depth` requests in flight, between 1 and [`Queue::MAX_DEPTH`].
    /// [`QueueOptions`] has the rest.
    pub fn new(engine: Engine, depth: u32) -> Result<Queue, Error> {
        QueueOptions::new(depth).engine(engine).build()
    }

    fn assemble(
        options: &QueueOptions,
        engine: Engine,
        driver: Driver,
        reason: String,
    ) -> Result<Queue, Error> {
        let depth = options.depth as usize;
        let bytes = depth * options.max_vectors as usize * size_of::<libc::iovec>();
        let vectors = Region::new(bytes, false).map_err(|errno| Error::System {
            call: "mmap",
            errno,
        })?;
        Ok(Queue {
            home: Home::here(),
            engine,
            reason,
            iopoll: options.iopoll,
            slots: (0..depth).map(|_| Slot::EMPTY).collect(),
            free: (0..options.depth).rev().collect(),
            in_flight: 0,
            with_engine: 0,
            held: VecDeque::with_capacity(depth),
            ready: VecDeque::with_capacity(depth),
            driver: Some(driver),
            arrivals: Vec::with_capacity(depth),
            vectors,
            max_vectors: options.max_vectors,
            tables: Tables::new(),
            event: None,
            counters: Counters::default(),
            latency: options.latency.then(|| Box::new(Latency::NONE)),
        })
    }

    /// The engine.
    pub fn engine(&self) -> Engine {
        self.engine
    }

    /// Why it is that engine, as a sentence.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// How many requests the queue holds at most: in flight and completed, until [`Queue::pop`] takes them.
    pub fn depth(&self) -> u32 {
        self.slots.len() as u32
    }

    /// How many requests have been accepted and not completed.
    pub fn in_flight(&self) -> u32 {
        self.in_flight
    }

    /// How many completions wait for [`Queue::pop`].
    pub fn ready(&self) -> u32 {
        self.ready.len() as u32
    }

    /// What this queue has done. Requests that the kernel handed to a worker are not among them: only the kernel knows,
    /// and odio-trace shows it.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// How long requests took, where [`QueueOptions::latency`] was asked for.
    pub fn latency(&self) -> Option<&Latency> {
        self.latency.as_deref()
    }

    /// Takes in a read of the whole buffer from `offset`. The buffer comes back with the completion.
    pub fn read(
        &mut self,
        file: &File,
        buffer: Buffer,
        offset: u64,
        user_data: u64,
    ) -> Result<(), Refused> {
        self.transfer(Stage::Reading, file, buffer, offset, Flags::NONE, user_data)
    }

    /// Takes in a write of the whole buffer to `offset`. The buffer comes back with the completion.
    pub fn write(
        &mut self,
        file: &File,
        buffer: Buffer,
        offset: u64,
        user_data: u64,
    ) -> Result<(), Refused> {
        self.transfer(Stage::Writing, file, buffer, offset, Flags::NONE, user_data)
    }

    /// As [`Queue::read`], with flags.
    pub fn read_with(
        &mut self,
        file: &File,
        buffer: Buffer,
        offset: u64,
        flags: Flags,
        user_data: u64,
    ) -> Result<(), Refused> {
        self.transfer(Stage::Reading, file, buffer, offset, flags, user_data)
    }

    /// As [`Queue::write`], with flags.
    pub fn write_with(
        &mut self,
        file: &File,
        buffer: Buffer,
        offset: u64,
        flags: Flags,
        user_data: u64,
    ) -> Result<(), Refused> {
        self.transfer(Stage::Writing, file, buffer, offset, flags, user_data)
    }

    /// Takes in a sync of what was written and completed before.
    pub fn sync(&mut self, file: &File, kind: SyncKind, user_data: u64) -> Result<(), Error> {
        if self.iopoll {
            return Err(no_sync_with_iopoll());
        }
        file.check_sync()?;
        let number = self.take_slot()?;
        let slot = &mut self.slots[number as usize];
        slot.stage = Stage::Syncing;
        slot.then = Some(kind);
        slot.file = Some(file.clone());
        slot.user_data = user_data;
        slot.then = Some(kind);
        slot.flags = Flags::NONE;
        slot.cancelled = false;
        slot.begun = self.latency.as_ref().map_or(0, |_| event::now());
        self.taken_in(number);
        self.hold(number);
        Ok(())
    }

    /// As [`Queue::read`], into memory of the caller's, which need not be initialised.
    ///
    /// # Safety
    ///
    /// `address` is valid for writes of `length` bytes, and is not touched otherwise, until the completion of this
    /// request or the drop of the queue.
    #[inline]
    pub unsafe fn read_raw(
        &mut self,
        file: &File,
        address: *mut u8,
        length: usize,
        offset: u64,
        user_data: u64,
    ) -> Result<(), Error> {
        let flags = Flags::NONE;
        // SAFETY: the caller's promise is the one asked for.
        unsafe {
            self.transfer_raw(
                Stage::Reading,
                file,
                address,
                length,
                offset,
                flags,
                user_data,
            )
        }
        .map(drop)
    }

    /// As [`Queue::write`], from memory of the caller's.
    ///
    /// # Safety
    ///
    /// `address` is valid for reads of `length` bytes, and is not changed, until the completion of this request or the
    /// drop of the queue.
    #[inline]
    pub unsafe fn write_raw(
        &mut self,
        file: &File,
        address: *const u8,
        length: usize,
        offset: u64,
        user_data: u64,
    ) -> Result<(), Error> {
        let (address, flags) = (address.cast_mut(), Flags::NONE);
        // SAFETY: the caller's promise is the one asked for; a write never stores through the address.
        unsafe {
            self.transfer_raw(
                Stage::Writing,
                file,
                address,
                length,
                offset,
                flags,
                user_data,
            )
        }
        .map(drop)
    }

    /// Takes in a read into several pieces of memory, in order, with flags. The list itself is copied.
    ///
    /// # Safety
    ///
    /// As for [`Queue::read_raw`], of each piece.
    pub unsafe fn readv_raw(
        &mut self,
        file: &File,
        vectors: &[libc::iovec],
        offset: u64,
        flags: Flags,
        user_data: u64,
    ) -> Result<(), Error> {
        // SAFETY: the caller's promise is the one asked for.
        unsafe { self.vectored(Stage::Reading, file, vectors, offset, flags, user_data) }
    }

    /// Takes in a write from several pieces of memory, in order, with flags. The list itself is copied.
    ///
    /// # Safety
    ///
    /// As for [`Queue::write_raw`], of each piece.
    pub unsafe fn writev_raw(
        &mut self,
        file: &File,
        vectors: &[libc::iovec],
        offset: u64,
        flags: Flags,
        user_data: u64,
    ) -> Result<(), Error> {
        // SAFETY: the caller's promise is the one asked for; a write never stores through the addresses.
        unsafe { self.vectored(Stage::Writing, file, vectors, offset, flags, user_data) }
    }

    /// Hands everything taken in to the kernel, without waiting for completions.
    #[inline]
    pub fn submit(&mut self) -> Result<(), Error> {
        self.advance(0, Deadline::Now)
    }

    /// Hands everything taken in to the kernel, and collects what has completed. Returns how many completions are
    /// ready for [`Queue::pop`].
    #[inline]
    pub fn poll(&mut self) -> Result<u32, Error> {
        self.advance(0, Deadline::Now)?;
        Ok(self.ready())
    }

    /// As [`Queue::poll`], and waits until at least `min` completions are ready or `timeout` has passed. No more than
    /// what is in flight is waited for. Fewer than `min` ready means that the time was up, or that there was no more.
    #[inline]
    pub fn wait(&mut self, min: u32, timeout: Option<Duration>) -> Result<u32, Error> {
        // A time too far away to be represented is no limit.
        let end = match timeout {
            None => None,
            Some(Duration::ZERO) => return self.poll(),
            Some(timeout) => Instant::now().checked_add(timeout),
        };
        self.advance(min, end.map_or(Deadline::Never, Deadline::At))?;
        Ok(self.ready())
    }

    /// Takes the next completion, in the order of completion.
    #[inline]
    pub fn pop(&mut self) -> Option<Completion> {
        let number = self.ready.pop_front()?;
        self.free.push(number);
        let slot = &mut self.slots[number as usize];
        slot.stage = Stage::Idle;
        let result = slot.result;
        Some(Completion {
            user_data: slot.user_data,
            result: u32::try_from(result).map_err(|_| Errno(-result)),
            buffer: slot.buffer.take(),
        })
    }

    /// Waits for one completion and takes it. For programs that do one request at a time.
    pub fn complete(&mut self) -> Result<Completion, Error> {
        self.wait(1, None)?;
        self.pop()
            .ok_or_else(|| Error::Invalid("nothing is in flight".to_owned()))
    }

    /// Hands over what was taken in and waits until nothing is in flight. The completions stay to be collected.
    pub fn drain(&mut self) -> Result<(), Error> {
        self.check_home()?;
        while self.in_flight > 0 {
            self.advance(self.ready() + self.in_flight, Deadline::Never)?;
        }
        Ok(())
    }

    /// Asks for every request in flight that carries `user_data` to end early. Each still has its completion, with
    /// `ECANCELED` or with what came of it before it could be stopped; a write that was stopped half way has
    /// `ECANCELED`. Returns how many there were. A transfer that a device has is not stopped by any engine, and libaio
    /// stops nothing but what is still to be resumed.
    pub fn cancel(&mut self, user_data: u64) -> Result<u32, Error> {
        self.check_home()?;
        let mut found = 0;
        for number in 0..self.slots.len() {
            let slot = &mut self.slots[number];
            let in_flight = !matches!(slot.stage, Stage::Idle | Stage::Ready);
            if in_flight && slot.user_data == user_data {
                // A sync that has been asked for decides what was lost; its answer is waited for.
                if !matches!(slot.stage, Stage::Finishing | Stage::Syncing) {
                    slot.cancelled = true;
                    if !self.cancel_held(number as u32) {
                        self.driver().cancel(number as u32);
                    }
                }
                found += 1;
            }
        }
        Ok(found)
    }

    /// An eventfd that becomes readable when something has completed, for a program's own poll loop: read it, then
    /// [`Queue::poll`] until nothing comes. It may also become readable where nothing is ready, because a request was
    /// resumed inside. It is the queue's, closed on exec, and stays the same.
    pub fn eventfd(&mut self) -> Result<BorrowedFd<'_>, Error> {
        self.check_home()?;
        if self.event.is_none() {
            let system = |call| move |errno| Error::System { call, errno };
            let event = event::create().map_err(system("eventfd"))?;
            self.driver()
                .signal(event.as_raw_fd())
                .map_err(system("io_uring_register"))?;
            if self.in_flight > 0 || self.ready() > 0 {
                // What completed before it was there is not missed.
                event::signal(event.as_raw_fd());
            }
            self.event = Some(event);
        }
        Ok(self.event.as_ref().expect("made above").as_fd())
    }

    /// Lets the engine know a file beforehand, which makes requests on it cheaper with io_uring. The file stays open
    /// until it is removed or the queue is gone. At most 256. True where the engine knows it now; [`Queue::registered`]
    /// says why not.
    pub fn add_file(&mut self, file: &File) -> Result<bool, Error> {
        self.check_home()?;
        let driver = self.driver.as_mut().expect("taken out in `drop` alone");
        self.tables.add_file(driver, file)
    }

    /// Takes back [`Queue::add_file`]; false where the file was not added. Requests in flight are not affected.
    pub fn remove_file(&mut self, file: &File) -> Result<bool, Error> {
        self.check_home()?;
        let driver = self.driver.as_mut().expect("taken out in `drop` alone");
        Ok(self.tables.remove_file(driver, file))
    }

    /// Lets the engine know the memory of a pool beforehand, which makes requests with its buffers cheaper with
    /// io_uring: their pages are locked once and not at each request. It counts against `RLIMIT_MEMLOCK`; where that is
    /// too small the pool works all the same. At most 16. True where the engine knows it now; [`Queue::registered`] says
    /// why not.
    pub fn add_pool(&mut self, pool: &Pool) -> Result<bool, Error> {
        self.check_home()?;
        let driver = self.driver.as_mut().expect("taken out in `drop` alone");
        self.tables.add_pool(driver, pool)
    }

    /// Takes back [`Queue::add_pool`]; false where the pool was not added. Requests in flight are not affected.
    pub fn remove_pool(&mut self, pool: &Pool) -> Result<bool, Error> {
        self.check_home()?;
        let driver = self.driver.as_mut().expect("taken out in `drop` alone");
        Ok(self.tables.remove_pool(driver, pool))
    }

    /// How many files and pools the engine really knows beforehand, and why it does not know another that was added.
    pub fn registered(&self) -> (u32, u32, Option<&str>) {
        self.tables.registered()
    }

    /// Drops the queue, and says where that could not be done in order: requests that were not handed over are lost, and
    /// what is in flight may still use its memory. Only an engine that was broken from outside does that, for example
    /// by closing a descriptor that is not one's own.
    pub fn close(mut self) -> Result<(), Error> {
        match self.drain() {
            // The parent waits for its own.
            Err(Error::Forked) => Ok(()),
            result => result,
        }
    }

    /// Whether this is the process that made the queue. Makes no system call.
    #[inline(always)]
    fn check_home(&self) -> Result<(), Error> {
        if self.home.is_here() {
            Ok(())
        } else {
            Err(Error::Forked)
        }
    }

    #[inline(always)]
    fn driver(&mut self) -> &mut Driver {
        // Taken out in `drop` alone.
        self.driver
            .as_mut()
            .expect("the engine lives as long as the queue")
    }

    fn transfer(
        &mut self,
        stage: Stage,
        file: &File,
        mut buffer: Buffer,
        offset: u64,
        flags: Flags,
        user_data: u64,
    ) -> Result<(), Refused> {
        let (address, length) = (buffer.as_mut_ptr(), buffer.len());
        // SAFETY: the slot keeps the buffer until the completion, and a buffer's memory does not move with it.
        let taken =
            unsafe { self.transfer_raw(stage, file, address, length, offset, flags, user_data) };
        match taken {
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
    #[allow(clippy::too_many_arguments)]
    #[inline(always)]
    unsafe fn transfer_raw(
        &mut self,
        stage: Stage,
        file: &File,
        address: *mut u8,
        length: usize,
        offset: u64,
        flags: Flags,
        user_data: u64,
    ) -> Result<u32, Error> {
        let is_write = stage == Stage::Writing;
        let plain = flags.is_empty()
            && length <= Buffer::MAX
            && !self.iopoll
            && !(is_write && file.mode().sync != Sync::None)
            && file.is_plain(is_write, address, length, offset);
        let (then, way) = if plain {
            (None, Way::Plain)
        } else {
            self.check_closely(stage, file, &[vector(address, length)], offset, flags)?
        };
        let number = self.take_slot()?;
        let begun = self.latency.as_ref().map_or(0, |_| event::now());
        let slot = &mut self.slots[number as usize];
        slot.stage = stage;
        slot.flags = flags;
        slot.cancelled = false;
        slot.then = then;
        slot.user_data = user_data;
        slot.file = Some(file.clone());
        slot.address = address;
        slot.vectors = 0;
        slot.offset = offset;
        slot.length = length as u32;
        slot.moved = 0;
        slot.way = way;
        slot.begun = begun;
        if way != Way::Plain {
            self.taken_in(number);
            self.hold(number);
            return Ok(number);
        }
        let request = Request {
            kind: if is_write { Kind::Write } else { Kind::Read },
            fd: file.fd(),
            registered: self.tables.file(file),
            memory: Memory::Plain {
                address,
                length: length as u32,
                registered: self.tables.memory(address, length),
            },
            offset,
            flags: flags.kernel(),
        };
        self.taken_in(number);
        self.with_engine += 1;
        // SAFETY: the slot keeps the file open, and the caller or the slot keeps the memory, until the arrival.
        unsafe { self.driver().stage(number, request) };
        Ok(number)
    }

    /// # Safety
    ///
    /// The pieces stay valid until the completion of this request or the drop of the queue.
    unsafe fn vectored(
        &mut self,
        stage: Stage,
        file: &File,
        vectors: &[libc::iovec],
        offset: u64,
        flags: Flags,
        user_data: u64,
    ) -> Result<(), Error> {
        if let [one] = vectors {
            let (address, length) = (one.iov_base.cast(), one.iov_len);
            // SAFETY: the same promise.
            return unsafe {
                self.transfer_raw(stage, file, address, length, offset, flags, user_data)
            }
            .map(drop);
        }
        if vectors.is_empty() || vectors.len() > self.max_vectors as usize {
            return Err(Error::Invalid(format!(
                "{} pieces: this queue takes 1 to {} (max_vectors)",
                vectors.len(),
                self.max_vectors
            )));
        }
        let (then, way) = self.check_closely(stage, file, vectors, offset, flags)?;
        let length: usize = vectors.iter().map(|each| each.iov_len).sum();
        let number = self.take_slot()?;
        let begun = self.latency.as_ref().map_or(0, |_| event::now());
        self.pieces(number)[..vectors.len()].copy_from_slice(vectors);
        self.slots[number as usize] = Slot {
            stage,
            flags,
            then,
            user_data,
            file: Some(file.clone()),
            vectors: vectors.len() as u32,
            offset,
            length: length as u32,
            way,
            begun,
            ..Slot::EMPTY
        };
        self.taken_in(number);
        if way == Way::Plain {
            self.stage_rest(number);
        } else {
            self.hold(number);
        }
        Ok(())
    }

    /// The checks that a plain request need not pass. Gives the sync that is to follow a write, and how the request can
    /// reach the kernel.
    #[inline(never)]
    fn check_closely(
        &self,
        stage: Stage,
        file: &File,
        vectors: &[libc::iovec],
        offset: u64,
        flags: Flags,
    ) -> Result<(Option<SyncKind>, Way), Error> {
        let op = if stage == Stage::Writing {
            Op::Write
        } else {
            Op::Read
        };
        file.check_vectors(op, vectors, offset, flags)?;
        if flags.then().is_some() {
            file.check_sync()?;
        }
        let then = match op {
            Op::Write => file.closing_sync(self.engine, flags),
            _ => None,
        };
        if self.iopoll {
            self.check_iopoll(file, then)?;
        }
        Ok((then, Self::way(file, op, vectors, offset, flags)))
    }

    fn check_iopoll(&self, file: &File, then: Option<SyncKind>) -> Result<(), Error> {
        let refused = |why: &str| Err(Error::Invalid(format!("a queue with IOPOLL: {why}")));
        if file.mode().cache == Cache::Buffered {
            return refused("this file is buffered, and the page cache has nothing to poll");
        }
        if then.is_some() {
            return Err(no_sync_with_iopoll());
        }
        match file.limits().poll_queues {
            Some(polled) if polled.value => Ok(()),
            Some(polled) => refused(&format!(
                "the device has no poll queues (for NVMe the module parameter poll_queues); source: {}",
                polled.source
            )),
            None => refused("whether the device of this file has poll queues is not known"),
        }
    }

    #[inline(always)]
    fn take_slot(&mut self) -> Result<u32, Error> {
        self.check_home()?;
        let depth = self.depth();
        self.free.pop().ok_or(Error::QueueFull { depth })
    }

    /// The pieces of a slot.
    fn pieces(&mut self, number: u32) -> &mut [libc::iovec] {
        let count = self.max_vectors as usize;
        let first = self.vectors.address().cast::<libc::iovec>();
        // SAFETY: the region has `max_vectors` zeroed pieces for each slot, is aligned to a page, and only this queue
        // changes it; the kernel and the workers read a slot's pieces while its request is with them, and then nobody
        // is here for that slot.
        unsafe {
            std::slice::from_raw_parts_mut(first.add(number as usize * count).as_ptr(), count)
        }
    }

    fn stage_sync(&mut self, number: u32, kind: SyncKind) {
        let kind = match kind {
            SyncKind::Data => Kind::DataSync,
            SyncKind::Full => Kind::FullSync,
        };
        let file = self.slots[number as usize]
            .file
            .as_ref()
            .expect("a slot in use has a file");
        let request = Request::sync(kind, file.fd(), self.tables.file(file));
        self.with_engine += 1;
        // SAFETY: the slot keeps the file open until the arrival, and a sync has no memory.
        unsafe { self.driver().stage(number, request) };
    }

    /// Counts a request that has just been taken in, and lets the outside see it.
    #[inline(always)]
    fn taken_in(&mut self, number: u32) {
        self.in_flight += 1;
        self.counters.submitted += 1;
        let slot = &self.slots[number as usize];
        if let Some(file) = &slot.file {
            counters::add(&file.count().submitted, 1);
            probe::probe!(
                odio,
                submit,
                slot.user_data,
                file.fd(),
                slot.stage as u8,
                slot.offset,
                slot.length
            );
        }
    }

    /// Exchanges with the engine until `min` completions are ready, nothing more is in flight, or the time is up.
    #[inline]
    fn advance(&mut self, min: u32, deadline: Deadline) -> Result<(), Error> {
        self.check_home()?;
        loop {
            let mut goes_on = !self.held.is_empty() && self.look_at_held();
            let missing = min.saturating_sub(self.ready()).min(self.in_flight);
            if missing > 0 && self.with_engine == 0 && deadline != Deadline::Now {
                // All that is left waits for another thread.
                self.wait_for_held(deadline);
                goes_on = true;
            }
            let missing = missing.min(self.with_engine);
            let mut arrivals = mem::take(&mut self.arrivals);
            let result = self
                .driver()
                .exchange(missing as usize, deadline, &mut arrivals);
            goes_on &= !arrivals.is_empty() && !self.held.is_empty();
            for &(slot, result) in &arrivals {
                goes_on |= self.arrive(slot, result) || !self.held.is_empty();
            }
            arrivals.clear();
            self.arrivals = arrivals;
            result?;
            // What goes on has just been staged again: it is handed over now, not at the next call.
            let missing = min.saturating_sub(self.ready()).min(self.in_flight);
            if !goes_on && (missing == 0 || deadline.over()) {
                return Ok(());
            }
        }
    }
}

#[cold]
fn no_sync_with_iopoll() -> Error {
    Error::Invalid(
        "a queue with IOPOLL carries transfers only (io_uring knows no polled fsync); sync the file itself".to_owned(),
    )
}

impl Drop for Queue {
    fn drop(&mut self) {
        if self.check_home().is_err() {
            // The threads to be joined are the parent's. Of the other engines a child has descriptors, which close, and
            // copies of mappings.
            if self.engine == Engine::Psync {
                mem::forget(self.driver.take());
            }
            return;
        }
        // A failure is dealt with below; `close` is for those who want to know of it.
        let _ = self.drain();
        let with_engine = self.with_engine as usize;
        let staged = self.driver().staged();
        if with_engine > staged {
            // The engine cannot be waited for any more and the kernel may still write: memory, files and engine are
            // given up rather than freed under it.
            mem::forget(mem::take(&mut self.slots));
            mem::forget(mem::replace(&mut self.tables, Tables::new()));
            mem::forget(self.driver.take());
        } else {
            self.driver().give_back_files();
        }
    }
}

#[cfg(test)]
mod tests;
