//! # Engines
//!
//! One file per kernel interface. An engine moves requests between a queue and the kernel and knows them by slot
//! number; what they mean, who owns their memory and when they are reported is the queue's.

mod io_uring;
mod libaio;
mod psync;

use std::os::fd::RawFd;
use std::time::{Duration, Instant};

use crate::error::{Errno, Error};
use crate::mode::Engine;

pub(crate) use io_uring::{FILES, MemoryWay, PIECES};

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Read,
    Write,
    /// fdatasync; memory and range mean nothing.
    DataSync,
    /// fsync; memory and range mean nothing.
    FullSync,
}

/// Where a transfer's bytes are.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Memory {
    /// One piece.
    Plain {
        address: *mut u8,
        length: u32,
        /// The place of the memory in the engine's table, where it is registered.
        registered: Option<u16>,
    },
    /// Several pieces, in order.
    Vector {
        vectors: *const libc::iovec,
        count: u32,
    },
}

/// A request as the kernel needs it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request {
    pub(crate) kind: Kind,
    pub(crate) fd: RawFd,
    /// The place of the file in the engine's table, where it is registered.
    pub(crate) registered: Option<u32>,
    pub(crate) memory: Memory,
    pub(crate) offset: u64,
    /// The kernel's `RWF_` bits.
    pub(crate) flags: i32,
}

// SAFETY: the addresses are only passed on to the kernel; whoever staged the request keeps the memory valid until its
// result has arrived, on whatever thread that happens.
unsafe impl Send for Request {}

impl Request {
    /// A sync of a descriptor, also where the file has a place in the engine's table: io_uring leaves syncs to a worker,
    /// which looks the place up when it gets to them (`io_fsync_prep`, `io_wq_submit_work`, 6.18). By then it may be
    /// empty, or another file's.
    pub(crate) fn sync(kind: Kind, fd: RawFd) -> Request {
        Request {
            kind,
            fd,
            registered: None,
            memory: Memory::Plain {
                address: std::ptr::null_mut(),
                length: 0,
                registered: None,
            },
            offset: 0,
            flags: 0,
        }
    }
}

/// Where results go.
pub(crate) trait Sink {
    /// Takes a slot and what came of its request: bytes moved, or a negative errno.
    fn arrive(&mut self, slot: u32, result: i32);
}

/// A transfer of one piece without flags, which is what most requests are.
#[derive(Clone, Copy)]
pub(crate) struct Plain {
    pub(crate) is_write: bool,
    pub(crate) fd: RawFd,
    pub(crate) address: *mut u8,
    pub(crate) length: u32,
    pub(crate) offset: u64,
    /// The place of the file in the engine's table, where it is registered.
    pub(crate) file: Option<u32>,
    pub(crate) memory: MemoryWay,
}

/// What an engine is asked to be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setup {
    /// Slots, each with at most one request at a time.
    pub(crate) depth: u32,
    /// The kernel polls the device instead of waiting for its interrupt.
    pub(crate) iopoll: bool,
    /// A kernel thread takes requests without a system call.
    pub(crate) sqpoll: bool,
}

/// One of the engines. Not a trait object: a request passes through here in a few instructions.
// One for each queue, so the room that the smaller ones leave is no matter.
// Tagged in the open, because a tag hidden in a niche takes a dozen instructions to find.
#[allow(clippy::large_enum_variant)]
#[repr(u8)]
pub(crate) enum Driver {
    Psync(psync::Psync),
    Libaio(libaio::Libaio),
    IoUring(io_uring::Ring),
}

/// Calls the same method of whichever engine it is.
macro_rules! each {
    ($self:ident, $engine:ident => $body:expr) => {
        match $self {
            Driver::Psync($engine) => $body,
            Driver::Libaio($engine) => $body,
            Driver::IoUring($engine) => $body,
        }
    };
}

impl Driver {
    pub(crate) fn start(engine: Engine, setup: Setup) -> Result<Driver, Error> {
        Ok(match engine {
            Engine::Psync => Driver::Psync(psync::Psync::new(setup.depth)?),
            Engine::Libaio => Driver::Libaio(libaio::Libaio::new(setup.depth)?),
            Engine::IoUring => Driver::IoUring(io_uring::Ring::new(setup)?),
        })
    }

    /// Takes a request for the next [`Driver::exchange`]. No system call.
    ///
    /// # Safety
    ///
    /// Descriptor and memory stay valid until this slot's arrival. `slot` is below the depth and has no request here.
    pub(crate) unsafe fn stage(&mut self, slot: u32, request: Request) {
        // SAFETY: the same promise.
        each!(self, engine => unsafe { engine.stage(slot, request) })
    }

    /// Hands over everything staged, then waits until `min` results have been given to `sink` or `deadline` has passed.
    /// Every request handed over arrives exactly once, as its slot and bytes moved or a negative errno, even where the
    /// kernel refuses it. The queue keeps `min` at or below the number of requests here.
    ///
    /// On an error nothing is lost: results already given are good, and what was not handed over stays staged.
    #[inline(always)]
    pub(crate) fn exchange(
        &mut self,
        min: usize,
        deadline: Deadline,
        sink: &mut impl Sink,
    ) -> Result<(), Error> {
        each!(self, engine => engine.exchange(min, deadline, sink))
    }

    /// The short way of [`Driver::exchange`], without a time limit and without a panic: gives at most `max` results to
    /// `sink`; what more there is stays here. Returns how many, and whether everything staged was handed over and `min`
    /// or `max` arrived. Where not, the rest is for [`Driver::exchange`].
    #[inline(always)]
    pub(crate) fn try_exchange(
        &mut self,
        min: usize,
        max: usize,
        sink: &mut impl Sink,
    ) -> (usize, bool) {
        match self {
            Driver::IoUring(ring) => ring.try_exchange(min, max, sink),
            Driver::Libaio(context) => context.try_exchange(min, max, sink),
            Driver::Psync(_) => (0, false),
        }
    }

    /// How many requests are staged and surely not with the kernel.
    pub(crate) fn staged(&self) -> usize {
        each!(self, engine => engine.staged())
    }

    /// The descriptor that requests are handed over by, where there is one.
    #[cfg(test)]
    pub(crate) fn descriptor(&self) -> Option<RawFd> {
        match self {
            Driver::IoUring(ring) => Some(ring.descriptor()),
            _ => None,
        }
    }

    /// Asks for a request to end early; it arrives all the same, with `ECANCELED` or with what came of it.
    pub(crate) fn cancel(&mut self, slot: u32) {
        each!(self, engine => engine.cancel(slot))
    }

    /// Has every arrival from now on signalled on an eventfd.
    pub(crate) fn signal(&mut self, event: RawFd) -> Result<(), Errno> {
        each!(self, engine => engine.signal(event))
    }

    /// Hands over everything that is staged under a place of the tables, so that the places may be given up. On an error
    /// they may not.
    pub(crate) fn hand_over(&mut self) -> Result<(), Error> {
        match self {
            Driver::IoUring(ring) => ring.hand_over(),
            _ => Ok(()),
        }
    }

    /// Puts a descriptor into the engine's table at `place`, or takes it out; `Err` says why there is no such table.
    pub(crate) fn register_file(&mut self, place: u32, fd: Option<RawFd>) -> Result<(), String> {
        match self {
            Driver::IoUring(ring) => ring.register_file(place, fd),
            _ => Err("only io_uring registers files".to_owned()),
        }
    }

    /// Empties the table of files, and returns when the kernel has let go of them. Nothing is in flight.
    pub(crate) fn give_back_files(&mut self) {
        if let Driver::IoUring(ring) = self {
            ring.give_back_files();
        }
    }

    /// Puts pieces of memory into the engine's table from `place` on; `Err` says why they cannot be there, and none is.
    ///
    /// # Safety
    ///
    /// The memory stays mapped until it has been taken out or the engine is gone.
    pub(crate) unsafe fn register_memory(
        &mut self,
        place: u16,
        pieces: &[libc::iovec],
    ) -> Result<(), String> {
        match self {
            // SAFETY: the same promise.
            Driver::IoUring(ring) => unsafe { ring.register_memory(place, pieces) },
            _ => Err("only io_uring registers memory".to_owned()),
        }
    }

    /// Takes `count` pieces of memory out of the engine's table.
    pub(crate) fn unregister_memory(&mut self, place: u16, count: usize) {
        if let Driver::IoUring(ring) = self {
            ring.unregister_memory(place, count);
        }
    }
}

/// Until when to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deadline {
    /// Do not wait.
    Now,
    /// As long as it takes.
    Never,
    /// Until then.
    At(Instant),
}

impl Deadline {
    /// That much later; `None` is never. A time too far away to be represented is no limit.
    #[inline]
    pub(crate) fn after(timeout: Option<Duration>) -> Deadline {
        match timeout {
            None => Deadline::Never,
            Some(Duration::ZERO) => Deadline::Now,
            Some(timeout) => Instant::now()
                .checked_add(timeout)
                .map_or(Deadline::Never, Deadline::At),
        }
    }

    /// The time left: `None` is forever, zero is over.
    #[inline]
    pub(crate) fn left(self) -> Option<Duration> {
        match self {
            Deadline::Now => Some(Duration::ZERO),
            Deadline::Never => None,
            Deadline::At(end) => Some(end.saturating_duration_since(Instant::now())),
        }
    }

    /// Whether the time has passed.
    #[inline]
    pub(crate) fn over(self) -> bool {
        self.left().is_some_and(|left| left.is_zero())
    }
}

impl Sink for Vec<(u32, i32)> {
    fn arrive(&mut self, slot: u32, result: i32) {
        self.push((slot, result));
    }
}

#[cfg(test)]
mod tests;
