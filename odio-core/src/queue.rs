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

pub use crate::sys::fork::Home;
pub use latency::Latency;
pub use options::QueueOptions;

use std::collections::VecDeque;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use crate::buffer::Buffer;
use crate::contract::SyncKind;
use crate::counters::Counters;
use crate::engine::{Deadline, Driver, Kind, Plain, Request, Sink};
use crate::error::{Errno, Error, Op};
use crate::file::{File, vector};
use crate::flags::Flags;
use crate::mode::{Cache, Engine};
use crate::pool::Pool;
use crate::sys::event;
use crate::sys::memory::{self, Region};

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
    /// A transfer shorter than this may need nothing out of the ordinary; 0 where every request wants a closer look.
    most_plain: usize,
    slots: Box<[Slot]>,
    /// The first free slot, or [`slot::NONE`]; each leads to the next.
    free: u32,
    in_flight: u32,
    /// Of these, those that the engine has.
    with_engine: usize,
    /// Of these, those that wait for another one.
    held: VecDeque<u32>,
    /// Slots whose completion waits to be collected, in the order of completion.
    ready: VecDeque<u32>,
    /// Taken out while it gives results back, and where it cannot be waited for any more.
    driver: Option<Box<Driver>>,
    /// Slots and results that want a closer look.
    arrivals: Vec<(u32, i32)>,
    /// `max_vectors` pieces for each slot. Given up where the engine may still read them.
    vectors: Option<Region>,
    max_vectors: u32,
    tables: Tables,
    event: Option<OwnedFd>,
    /// Without `completed`, which is what was submitted and is not in flight.
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
        let mut slots = memory::room(depth)?;
        slots.extend((1..=options.depth).map(|next| Slot {
            next: if next < options.depth {
                next
            } else {
                slot::NONE
            },
            ..Slot::EMPTY
        }));
        Ok(Queue {
            home: Home::here(),
            engine,
            reason,
            iopoll: options.iopoll,
            most_plain: if options.iopoll || options.latency {
                0
            } else {
                Buffer::MAX + 1
            },
            slots: slots.into(),
            free: 0,
            in_flight: 0,
            with_engine: 0,
            held: memory::room(depth)?.into(),
            ready: memory::room(depth)?.into(),
            driver: Some(Box::new(driver)),
            arrivals: memory::room(depth)?,
            vectors: Some(vectors),
            max_vectors: options.max_vectors,
            tables: Tables::new(),
            event: None,
            counters: Counters::default(),
            latency: options.latency.then(|| Box::new(Latency::NONE)),
        })
    }

    /// The process that it works in, for who has to know that before this value may be looked at.
    pub fn home(&self) -> Home {
        self.home
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
        Counters {
            completed: self.counters.submitted - u64::from(self.in_flight),
            ..self.counters
        }
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
        slot.expected = slot::NEVER;
        slot.way = Way::Plain;
        slot.then = Some(kind);
        (slot.offset, slot.length) = (0, 0);
        slot.file = Some(file.clone());
        slot.user_data = user_data;
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
        self.advance(0, 0, 0, Deadline::Now, |_, _| {}).map(drop)
    }

    /// Hands everything taken in to the kernel, and collects what has completed. Returns how many completions are
    /// ready for [`Queue::pop`].
    #[inline]
    pub fn poll(&mut self) -> Result<u32, Error> {
        self.submit()?;
        Ok(self.ready())
    }

    /// As [`Queue::poll`], and waits until at least `min` completions are ready or `timeout` has passed. No more than
    /// what is in flight is waited for. Fewer than `min` ready means that the time was up, or that there was no more.
    #[inline]
    pub fn wait(&mut self, min: u32, timeout: Option<Duration>) -> Result<u32, Error> {
        self.advance(0, min, 0, Deadline::after(timeout), |_, _| {})?;
        Ok(self.ready())
    }

    /// As [`Queue::wait`] and then [`Queue::pop`] of up to `max`, each given to `collect` as its user data and its bytes or
    /// negative errno; buffers are dropped. Returns how many.
    #[inline(always)]
    pub fn collect(
        &mut self,
        min: u32,
        max: u32,
        timeout: Option<Duration>,
        collect: impl FnMut(u64, i32),
    ) -> Result<u32, Error> {
        self.advance(0, min, max, Deadline::after(timeout), collect)
    }

    /// Goes on with a [`Queue::collect`] of which [`Queue::try_collect`] did `collected`.
    #[inline(always)]
    pub fn collect_on(
        &mut self,
        collected: u32,
        min: u32,
        max: u32,
        timeout: Option<Duration>,
        collect: impl FnMut(u64, i32),
    ) -> Result<u32, Error> {
        self.advance(collected, min, max, Deadline::after(timeout), collect)
    }

    /// The short way of [`Queue::collect`], for a queue in which nothing is out of the ordinary: with a timeout of 0, or
    /// with none where `waits`. `Err` is how many were given to `collect` before something was; it goes on with
    /// [`Queue::collect_on`]. It does not panic, and no more may `collect`.
    #[inline(always)]
    pub fn try_collect(
        &mut self,
        min: u32,
        max: u32,
        waits: bool,
        collect: impl FnMut(u64, i32),
    ) -> Result<u32, u32> {
        // All that is in flight is with the engine: nothing is held, and nothing wants a closer look.
        if !self.home.is_surely_here()
            || !self.ready.is_empty()
            || self.in_flight as usize != self.with_engine
        {
            return Err(0);
        }
        let want = if waits {
            self.with_engine.min(min as usize)
        } else {
            0
        };
        let Queue {
            driver: Some(driver),
            slots,
            free,
            arrivals,
            counters,
            ..
        } = self
        else {
            return Err(0);
        };
        let mut round = Round {
            slots,
            first_free: *free,
            arrivals,
            counters,
            collect,
        };
        // What there is no room for stays with the engine.
        let (arrived, done) = driver.try_exchange(want, max as usize, &mut round);
        *free = round.first_free;
        let collected = (arrived - arrivals.len()) as u32;
        self.with_engine -= arrived;
        self.in_flight -= collected;
        if done && arrived == collected as usize {
            Ok(collected)
        } else {
            Err(collected)
        }
    }

    /// Takes the next completion, in the order of completion.
    #[inline]
    pub fn pop(&mut self) -> Option<Completion> {
        let number = self.ready.pop_front()?;
        let slot = &mut self.slots[number as usize];
        let buffer = slot.clear(mem::replace(&mut self.free, number));
        let result = slot.result;
        Some(Completion {
            user_data: slot.user_data,
            result: u32::try_from(result).map_err(|_| Errno(-result)),
            buffer,
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
            self.wait(self.ready() + self.in_flight, None)?;
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
                    // However it ends, that is looked at.
                    slot.expected = slot::NEVER;
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
    /// resumed inside. It is the queue's, closed on exec, and stays the same. Not with IOPOLL, where nothing completes
    /// but while somebody polls.
    pub fn eventfd(&mut self) -> Result<BorrowedFd<'_>, Error> {
        self.check_home()?;
        if self.iopoll {
            return Err(Error::Invalid(
                "a queue with IOPOLL has no eventfd: nothing completes but while somebody polls"
                    .to_owned(),
            ));
        }
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
        let driver = self
            .driver
            .as_mut()
            .expect("the engine lives as long as the queue");
        self.tables.add_file(driver, file)
    }

    /// Takes back [`Queue::add_file`]; false where the file was not added. Requests in flight are not affected.
    pub fn remove_file(&mut self, file: &File) -> Result<bool, Error> {
        self.check_home()?;
        let driver = self
            .driver
            .as_mut()
            .expect("the engine lives as long as the queue");
        Ok(self.tables.remove_file(driver, file))
    }

    /// Lets the engine know the memory of a pool beforehand, which makes requests with its buffers cheaper with
    /// io_uring: their pages are locked once and not at each request. It counts against `RLIMIT_MEMLOCK`; where that is
    /// too small the pool works all the same. At most 16. True where the engine knows it now; [`Queue::registered`] says
    /// why not.
    pub fn add_pool(&mut self, pool: &Pool) -> Result<bool, Error> {
        self.check_home()?;
        let driver = self
            .driver
            .as_mut()
            .expect("the engine lives as long as the queue");
        self.tables.add_pool(driver, pool)
    }

    /// Takes back [`Queue::add_pool`]; false where the pool was not added. Requests in flight are not affected.
    pub fn remove_pool(&mut self, pool: &Pool) -> Result<bool, Error> {
        self.check_home()?;
        let driver = self
            .driver
            .as_mut()
            .expect("the engine lives as long as the queue");
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
                let slot = &mut self.slots[slot as usize];
                slot.buffer = Some(buffer);
                // The completion brings it back, which the shortest way does not.
                slot.expected = slot::NEVER;
                Ok(())
            }
            Err(error) => Err(Refused { error, buffer }),
        }
    }

    /// Takes in a transfer of one piece that needs nothing out of the ordinary, in few instructions. `None` says that it
    /// does, or is not to be taken in at all: [`Queue::read_raw`] and [`Queue::write_raw`] then say why. It does not panic.
    ///
    /// # Safety
    ///
    /// As for [`Queue::read_raw`] or [`Queue::write_raw`].
    #[inline(always)]
    pub unsafe fn try_plain(
        &mut self,
        is_write: bool,
        file: &File,
        address: *mut u8,
        length: usize,
        offset: u64,
        user_data: u64,
    ) -> Option<u32> {
        // No call is made from here, however seldom: what has to survive one is saved at each entry, six registers.
        if length >= self.most_plain
            || !file.is_plain_in_queue(is_write, address, length, offset)
            || !self.home.is_surely_here()
        {
            return None;
        }
        let number = self.free;
        // Where none is free there is no slot of that number.
        let slot = self.slots.get_mut(number as usize)?;
        let mut plain = Plain {
            is_write,
            fd: -1,
            address,
            length: length as u32,
            offset,
            file: None,
            memory: None,
        };
        match self.driver.as_deref_mut()? {
            Driver::IoUring(ring) => {
                if self.tables.is_empty() {
                    // On its own, so that nothing is chosen by what is not there.
                    self.free = slot.take(file, plain, user_data);
                    plain.fd = file.fd();
                    // SAFETY: the slot keeps the file open, and the caller keeps the memory, until the arrival.
                    unsafe { ring.stage_plain(number, plain) };
                } else {
                    plain.file = self.tables.known_file(file)?;
                    plain.memory = self.tables.known_memory(address, length)?;
                    self.free = slot.take(file, plain, user_data);
                    plain.fd = file.fd();
                    // SAFETY: as above.
                    unsafe { ring.stage_plain(number, plain) };
                }
            }
            Driver::Libaio(context) => {
                self.free = slot.take(file, plain, user_data);
                plain.fd = file.fd();
                // SAFETY: as above.
                unsafe { context.stage_plain(number, plain) };
            }
            // A thread does each request; some instructions more are no matter.
            Driver::Psync(_) => return None,
        }
        self.in_flight += 1;
        self.with_engine += 1;
        self.counters.submitted += 1;
        // Last, where its arguments take no register that is wanted for something else.
        slot.submit_probe();
        Some(number)
    }

    /// # Safety
    ///
    /// The memory stays valid until the completion of this request or the drop of the queue.
    #[allow(clippy::too_many_arguments)]
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
        if flags.is_empty() {
            let is_write = stage == Stage::Writing;
            self.tables.find(file, address, length);
            // SAFETY: the same promise.
            let taken =
                unsafe { self.try_plain(is_write, file, address, length, offset, user_data) };
            if let Some(number) = taken {
                return Ok(number);
            }
        }
        let (then, way) =
            self.check_closely(stage, file, &[vector(address, length)], offset, flags)?;
        let number = self.take_slot()?;
        self.slots[number as usize] = Slot {
            stage,
            flags,
            then,
            user_data,
            file: Some(file.clone()),
            address,
            offset,
            length: length as u32,
            way,
            begun: self.latency.as_ref().map_or(0, |_| event::now()),
            ..Slot::EMPTY
        };
        self.taken_in(number);
        if way == Way::Plain {
            self.stage_rest(number);
        } else {
            self.hold(number);
        }
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
        if let [one] = vectors
            && !one.iov_base.is_null()
        {
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
        let number = self.free;
        let slot = self
            .slots
            .get(number as usize)
            .ok_or(Error::QueueFull { depth })?;
        self.free = slot.next;
        Ok(number)
    }

    /// The pieces of a slot.
    fn pieces(&mut self, number: u32) -> &mut [libc::iovec] {
        let count = self.max_vectors as usize;
        let region = self.vectors.as_ref().expect("given up with the queue");
        let first = region.address().cast::<libc::iovec>();
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
    fn taken_in(&mut self, number: u32) {
        self.in_flight += 1;
        self.counters.submitted += 1;
        self.slots[number as usize].submit_probe();
    }

    /// Makes a slot free that a request needing nothing out of the ordinary had.
    #[inline(always)]
    fn let_slot_go(&mut self, number: u32) {
        if let Some(slot) = self.slots.get_mut(number as usize) {
            slot.stage = Stage::Idle;
            slot.next = mem::replace(&mut self.free, number);
        }
    }

    /// Exchanges with the engine until `min` completions are there, nothing more is in flight, or the time is up. The
    /// first `max` go to `collect` as user data and bytes or a negative errno, those that are ready before all others;
    /// the rest becomes ready. Returns how many were collected, with the `collected` that there were before.
    #[inline(always)]
    fn advance(
        &mut self,
        mut collected: u32,
        min: u32,
        max: u32,
        deadline: Deadline,
        mut collect: impl FnMut(u64, i32),
    ) -> Result<u32, Error> {
        self.check_home()?;
        if !self.arrivals.is_empty() {
            self.look_at_arrivals();
        }
        if collected < max && !self.ready.is_empty() {
            collected += self.collect_ready(max - collected, &mut collect);
        }
        loop {
            if !self.held.is_empty() {
                self.look_at_held();
            }
            let missing = self.missing(min, collected);
            if missing > 0 && self.with_engine == 0 && deadline != Deadline::Now {
                // All that is left waits for another thread.
                if let Err(error) = self.wait_for_held(deadline) {
                    return if collected > 0 {
                        Ok(collected)
                    } else {
                        Err(error)
                    };
                }
            }
            let want = self.with_engine.min(missing as usize);
            let mut driver = self
                .driver
                .take()
                .expect("the engine lives as long as the queue");
            let mut collector = Collector {
                queue: self,
                collect: &mut collect,
                collected,
                max,
                arrived: 0,
            };
            let result = driver.exchange(want, deadline, &mut collector);
            let arrived;
            Collector {
                collected,
                arrived,
                ..
            } = collector;
            self.with_engine -= arrived as usize;
            self.driver = Some(driver);
            // What has ended may have been what another waited for.
            let mut goes_on = !self.held.is_empty() && arrived > 0;
            if !self.arrivals.is_empty() {
                goes_on |= self.look_at_arrivals();
            }
            // Also what ended without an engine.
            if collected < max && !self.ready.is_empty() {
                collected += self.collect_ready(max - collected, &mut collect);
            }
            if let Err(error) = result {
                // What has been handed out is not taken back; what is wrong is found again by the next call.
                return if collected > 0 {
                    Ok(collected)
                } else {
                    Err(error)
                };
            }
            // What goes on has just been staged again: it is handed over now, not at the next call.
            if !goes_on && (self.missing(min, collected) == 0 || deadline.over()) {
                return Ok(collected);
            }
        }
    }

    /// How many completions are still to be waited for.
    #[inline(always)]
    fn missing(&self, min: u32, collected: u32) -> u32 {
        min.saturating_sub(collected)
            .saturating_sub(self.ready.len() as u32)
            .min(self.in_flight)
    }

    #[inline(never)]
    fn collect_ready(&mut self, max: u32, collect: &mut impl FnMut(u64, i32)) -> u32 {
        let mut collected = 0;
        while collected < max {
            let Some(number) = self.ready.pop_front() else {
                break;
            };
            let slot = &mut self.slots[number as usize];
            drop(slot.clear(mem::replace(&mut self.free, number)));
            collect(slot.user_data, slot.result);
            collected += 1;
        }
        collected
    }
}

/// Where an engine's results go while it is at work.
struct Collector<'a, F> {
    queue: &'a mut Queue,
    collect: &'a mut F,
    collected: u32,
    max: u32,
    arrived: u32,
}

impl<F: FnMut(u64, i32)> Sink for Collector<'_, F> {
    #[inline(always)]
    fn arrive(&mut self, number: u32, result: i32) {
        self.arrived += 1;
        let Some(user_data) = self.queue.arrive(number, result) else {
            return;
        };
        // What was ready before comes first.
        if self.collected < self.max && self.queue.ready.is_empty() {
            self.queue.let_slot_go(number);
            (self.collect)(user_data, result);
            self.collected += 1;
        } else {
            self.queue.ready.push_back(number);
        }
    }
}

/// Where results go in the short way of a collection. It borrows what it needs of the queue, so that the engine need not
/// be taken out of it.
struct Round<'a, F> {
    slots: &'a mut [Slot],
    first_free: u32,
    arrivals: &'a mut Vec<(u32, i32)>,
    counters: &'a mut Counters,
    collect: F,
}

impl<F: FnMut(u64, i32)> Sink for Round<'_, F> {
    #[inline(always)]
    fn arrive(&mut self, number: u32, result: i32) {
        let Some(slot) = self.slots.get_mut(number as usize) else {
            return;
        };
        if result != slot.expected {
            keep(self.arrivals, number, result);
            return;
        }
        let user_data = slot.arrive_as_expected(self.counters, result);
        slot.stage = Stage::Idle;
        slot.next = mem::replace(&mut self.first_free, number);
        (self.collect)(user_data, result);
    }
}

/// Keeps a result for a closer look. Out of line, because few are.
#[cold]
#[inline(never)]
fn keep(arrivals: &mut Vec<(u32, i32)>, number: u32, result: i32) {
    arrivals.push((number, result));
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
        // A failure is dealt with below; `close` is for those who want to know of it. Without a driver a panic came
        // between, and nothing can be waited for.
        if self.driver.is_some() {
            let _ = self.drain();
        }
        let with_engine = self.with_engine;
        let staged = self.driver.as_ref().map_or(0, |driver| driver.staged());
        if with_engine > staged {
            // The engine cannot be waited for any more and the kernel may still write: memory, files and engine are
            // given up rather than freed under it.
            for slot in &mut self.slots {
                if let (Stage::Syncing | Stage::Finishing, Some(file)) = (slot.stage, &slot.file) {
                    // What it said is lost, and it may have been a loss.
                    let _ = file.note_sync(Err(Errno(libc::EIO)));
                }
                slot.hold = hold::Hold::Nothing;
            }
            mem::forget(mem::take(&mut self.slots));
            mem::forget(self.vectors.take());
            mem::forget(mem::replace(&mut self.tables, Tables::new()));
            mem::forget(self.driver.take());
        } else if let Some(driver) = &mut self.driver {
            driver.give_back_files();
        }
    }
}

#[cfg(test)]
mod tests;
