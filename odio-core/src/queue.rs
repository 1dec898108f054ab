//! # Requests in flight
//!
//! One interface over every engine. A queue accepts up to its depth of requests, hands them over in batches, and
//! reports each exactly once. It owns the memory of its requests until then, also when it is dropped.

mod accept;
mod arrive;
mod collect;
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
use std::sync::Arc;

use crate::buffer::Buffer;
use crate::contract::SyncKind;
use crate::counters::{self, Counters};
use crate::engine::{Driver, Kind, Request};
use crate::error::{Errno, Error};
use crate::file::{File, vector};
use crate::mode::Engine;
use crate::pool::Pool;
use crate::sys::event;
use crate::sys::fork::OnlyHere;
use crate::sys::memory::{self, Region};

use slot::{Slot, Stage};
use tables::Tables;

/// A queue of requests. One thread at a time; it may move between threads.
///
/// [`Queue::read`], [`Queue::write`] and [`Queue::sync`] only take a request in; [`Queue::submit`], [`Queue::poll`] and
/// [`Queue::wait`] hand everything taken in to the kernel as one batch, as far as it has room ([`Queue::submit`]).
/// Nothing is allocated per request. Requests in flight together have no order among them: a sync covers writes whose
/// completion was collected before it was queued, and no others.
///
/// A transfer that the kernel stops short is taken up again inside, where it is aligned, until all of it is done, the
/// file ends, or it fails. With [`Flags::NOWAIT`] what the kernel says is reported as it is.
///
/// Syncs of one file run one after the other, whoever asks for them: the kernel reports a lost write to one caller
/// only. Those that wait end together with the next one that covers them. A buffered write that is durable by itself
/// counts as such a sync. On a file that bounces ([`File::is_bounce`]) an unaligned request is done by the call that
/// hands it over, and any write waits for those in flight in the same blocks.
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
    /// A transfer shorter than this may need nothing out of the ordinary; 0 where every request wants a closer look, as in a
    /// child of fork.
    most_plain: OnlyHere,
    slots: Box<[Slot]>,
    /// The first free slot, or [`slot::NONE`]; each leads to the next.
    free: u32,
    /// Requests in flight that the engine has.
    with_engine: u32,
    /// Those that it does not have: they wait for another one, or their result is still to be looked at.
    beside: u32,
    /// Of these, those that wait for their turn.
    held: VecDeque<u32>,
    /// Slots whose completion waits to be collected, in the order of completion.
    ready: VecDeque<u32>,
    lane: Lane,
    /// Given up where it cannot be waited for any more.
    driver: Option<Driver>,
    /// Set while results are given out. Where it stays set a panic came between, and nothing counts as it should.
    half_way: bool,
    /// Slots and results that the engine has given back, until they are looked at.
    arrivals: Vec<(u32, i32)>,
    /// `max_vectors` pieces for each slot. Given up where the engine may still read them.
    vectors: Option<Region>,
    max_vectors: u32,
    tables: Tables,
    /// Shared with the files that signal it when what a request waits for has been released.
    event: Option<Arc<OwnedFd>>,
    /// Without `submitted`, which is what has completed and what is in flight, and without the bytes.
    counters: Counters,
    /// Bytes, by [`counters::READ`] and [`counters::WRITTEN`].
    moved: [u64; 2],
    latency: Option<Box<Latency>>,
}

const _: () = {
    const fn moves_between_threads<T: Send>() {}
    moves_between_threads::<Queue>();
};

/// How a request that needs nothing out of the ordinary goes to the engine. One number, so that it is chosen by one branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lane {
    /// To io_uring, which knows nothing beforehand.
    Ring,
    /// To io_uring, which may know its file or its memory.
    KnownToRing,
    Other,
}

impl Lane {
    fn of(driver: &Driver, tables: &Tables) -> Lane {
        match driver {
            Driver::IoUring(_) if tables.is_empty() => Lane::Ring,
            Driver::IoUring(_) => Lane::KnownToRing,
            _ => Lane::Other,
        }
    }
}

const DRIVER_LIVES: &str = "the engine lives as long as the queue";

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
        let most_plain = if options.iopoll || options.latency {
            0
        } else {
            Buffer::MAX + 1
        };
        let most_plain = OnlyHere::new(most_plain).map_err(|errno| Error::System {
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
            most_plain,
            slots: slots.into(),
            free: 0,
            with_engine: 0,
            beside: 0,
            held: memory::room(depth)?.into(),
            ready: memory::room(depth)?.into(),
            lane: Lane::of(&driver, &Tables::new()),
            driver: Some(driver),
            half_way: false,
            arrivals: memory::room(depth)?,
            vectors: Some(vectors),
            max_vectors: options.max_vectors,
            tables: Tables::new(),
            event: None,
            counters: Counters::default(),
            moved: [0; 2],
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
        self.with_engine + self.beside
    }

    /// How many completions wait for [`Queue::pop`].
    pub fn ready(&self) -> u32 {
        self.ready.len() as u32
    }

    /// What this queue has done. Requests that the kernel handed to a worker are not among them: only the kernel knows,
    /// and odio-trace shows it.
    pub fn counters(&self) -> Counters {
        Counters {
            submitted: self.counters.completed + u64::from(self.in_flight()),
            bytes_read: self.moved[counters::READ],
            bytes_written: self.moved[counters::WRITTEN],
            ..self.counters
        }
    }

    /// How long requests took, where [`QueueOptions::latency`] was asked for.
    pub fn latency(&self) -> Option<&Latency> {
        self.latency.as_deref()
    }

    /// Asks for every request in flight that carries `user_data` to end early. Each still has its completion, with
    /// `ECANCELED` or with what came of it before it could be stopped; a write that was stopped half way has
    /// `ECANCELED`. Returns how many there were. A transfer that a device has is not stopped by any engine, and libaio
    /// stops nothing but what is still to be resumed.
    pub fn cancel(&mut self, user_data: u64) -> Result<u32, Error> {
        self.check_home()?;
        self.mark_free();
        let mut found = 0;
        for number in 0..self.slots.len() {
            let slot = &mut self.slots[number];
            let in_flight = !matches!(slot.stage, Stage::Idle | Stage::Ready);
            if in_flight && slot.user_data == user_data {
                // A sync that has been asked for decides what was lost; its answer is waited for.
                if !matches!(slot.stage, Stage::Finishing | Stage::Syncing) {
                    slot.cancelled = true;
                    slot.complete(&self.tables);
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

    /// Notes in the free slots that they are free. What frees a slot leaves that to those who ask.
    fn mark_free(&mut self) {
        let mut number = self.free;
        while let Some(slot) = self.slots.get_mut(number as usize) {
            slot.stage = Stage::Idle;
            number = slot.next;
        }
    }

    /// An eventfd that becomes readable when something has completed, for a program's own poll loop: read it, then
    /// [`Queue::poll`] until nothing comes. It may also become readable where nothing is ready, because a request was
    /// resumed inside or need not wait for another one any more; with libaio it is so as long as requests are in flight
    /// that were handed over before the first call of this. It is the queue's, closed on exec, and stays the same.
    /// Not with IOPOLL, where nothing completes but while somebody polls.
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
            if self.in_flight() > 0 || self.ready() > 0 {
                // What completed before it was there is not missed.
                event::signal(event.as_raw_fd());
            }
            self.event = Some(Arc::new(event));
        }
        Ok(self.event.as_ref().expect("made above").as_fd())
    }

    /// Lets the engine know a file beforehand, which makes requests on it cheaper with io_uring. The file stays open
    /// until it is removed or the queue is gone. At most 256. True where the engine knows it now; [`Queue::registered`]
    /// says why not.
    pub fn add_file(&mut self, file: &File) -> Result<bool, Error> {
        let (tables, driver) = self.tables()?;
        let result = tables.add_file(driver, file);
        self.choose_lane();
        result
    }

    /// Takes back [`Queue::add_file`]; false where the file was not added. Requests taken in are not affected: io_uring is
    /// handed those that it does not have yet, and where it takes none now, `EAGAIN`, the file stays.
    pub fn remove_file(&mut self, file: &File) -> Result<bool, Error> {
        if let Some(place) = self.tables.place_of_file(file) {
            self.mark_free();
            let in_use = |slot: &&mut Slot| {
                matches!(slot.stage, Stage::Reading | Stage::Writing) && slot.known == place
            };
            for slot in self.slots.iter_mut().filter(in_use) {
                slot.own_file(&self.tables);
            }
        }
        let (tables, driver) = self.tables()?;
        let result = tables.remove_file(driver, file);
        self.choose_lane();
        result
    }

    /// Lets the engine know the memory of a pool beforehand, which makes requests with its buffers cheaper with
    /// io_uring: their pages are locked once and not at each request. It counts against `RLIMIT_MEMLOCK`; where that is
    /// too small the pool works all the same. At most 16. True where the engine knows it now; [`Queue::registered`] says
    /// why not.
    pub fn add_pool(&mut self, pool: &Pool) -> Result<bool, Error> {
        let (tables, driver) = self.tables()?;
        let result = tables.add_pool(driver, pool);
        self.choose_lane();
        result
    }

    /// Takes back [`Queue::add_pool`]; false where the pool was not added. Otherwise as [`Queue::remove_file`].
    pub fn remove_pool(&mut self, pool: &Pool) -> Result<bool, Error> {
        let (tables, driver) = self.tables()?;
        let result = tables.remove_pool(driver, pool);
        self.choose_lane();
        result
    }

    /// How many files and pools the engine really knows beforehand, and why it does not know another that was added.
    pub fn registered(&self) -> (u32, u32, Option<&str>) {
        self.tables.registered()
    }

    /// Drops the queue, and says where that could not be done in order: requests that were not handed over are lost, and
    /// what is in flight may still use its memory. Only an engine that was broken from outside does that, for example
    /// by closing a descriptor that is not one's own. [`Error::Deadlock`] is none of that: what waited for another queue of
    /// this thread was not done, and no memory is in use.
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

    /// What the engine knows beforehand, and the engine.
    fn tables(&mut self) -> Result<(&mut Tables, &mut Driver), Error> {
        self.check_home()?;
        let driver = self.driver.as_mut();
        Ok((&mut self.tables, driver.expect(DRIVER_LIVES)))
    }

    fn choose_lane(&mut self) {
        if let Some(driver) = &self.driver {
            self.lane = Lane::of(driver, &self.tables);
        }
    }

    #[inline(always)]
    fn driver(&mut self) -> &mut Driver {
        self.driver.as_mut().expect(DRIVER_LIVES)
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

    /// A request is about to be staged.
    fn goes_to_engine(&mut self) {
        self.beside -= 1;
        self.with_engine += 1;
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
        let request = Request::sync(kind, file.fd());
        self.goes_to_engine();
        // SAFETY: the slot keeps the file open until the arrival, and a sync has no memory.
        unsafe { self.driver().stage(number, request) };
    }
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
        if !self.half_way {
            let _ = self.drain();
        }
        let with_engine = self.with_engine as usize;
        let staged = self.driver.as_ref().map_or(0, |driver| driver.staged());
        if with_engine > staged {
            // The engine cannot be waited for any more and the kernel may still write: memory, files and engine are
            // given up rather than freed under it.
            self.mark_free();
            for slot in &mut self.slots {
                if matches!(slot.stage, Stage::Reading | Stage::Writing) {
                    slot.own_file(&self.tables);
                }
                // What the kernel said is lost, and it may have been a loss.
                match (slot.stage, &slot.file) {
                    (Stage::Syncing | Stage::Finishing, Some(file)) => {
                        let _ = file.note_sync(Err(Errno(libc::EIO)));
                    }
                    (Stage::Writing, Some(file)) => {
                        file.note_write_error(Errno(libc::EIO), slot.flags);
                    }
                    _ => {}
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
