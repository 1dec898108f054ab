//! # Engines
//!
//! One file per kernel interface. An engine moves requests between a queue and the kernel and knows them by slot
//! number; what they mean, who owns their memory and when they are reported is the queue's.

mod io_uring;
mod libaio;
mod psync;

use std::os::fd::RawFd;
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::mode::Engine;

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

/// A request as the kernel needs it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request {
    pub(crate) kind: Kind,
    pub(crate) fd: RawFd,
    pub(crate) address: *mut u8,
    pub(crate) length: u32,
    pub(crate) offset: u64,
}

// SAFETY: the address is only passed on to the kernel; whoever staged the request keeps the memory valid until its
// result has arrived, on whatever thread that happens.
unsafe impl Send for Request {}

/// A slot and what came of its request: bytes moved, or a negative errno.
pub(crate) type Arrival = (u32, i32);

/// What every engine does. `depth` slots, each with at most one request at a time.
pub(crate) trait Driver: Send {
    /// Takes a request for the next [`Driver::exchange`]. No system call.
    ///
    /// # Safety
    ///
    /// Descriptor and memory stay valid until this slot's arrival. `slot` is below the depth and has no request here.
    unsafe fn stage(&mut self, slot: u32, request: Request);

    /// Hands over everything staged, then waits until `min` results have been pushed to `arrivals` or `deadline` has
    /// passed. Every request handed over has exactly one arrival, even where the kernel refuses it. The queue keeps
    /// `min` at or below the number of requests here, and `arrivals` has room for all of them.
    ///
    /// On an error nothing is lost: results already pushed are good, and what was not handed over stays staged.
    fn exchange(
        &mut self,
        min: usize,
        deadline: Deadline,
        arrivals: &mut Vec<Arrival>,
    ) -> Result<(), Error>;

    /// How many requests are staged and not yet with the kernel.
    fn staged(&self) -> usize;
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
    /// The time left: `None` is forever, zero is over.
    pub(crate) fn left(self) -> Option<Duration> {
        match self {
            Deadline::Now => Some(Duration::ZERO),
            Deadline::Never => None,
            Deadline::At(end) => Some(end.saturating_duration_since(Instant::now())),
        }
    }

    /// Whether the time has passed.
    pub(crate) fn over(self) -> bool {
        self.left().is_some_and(|left| left.is_zero())
    }
}

pub(crate) fn start(engine: Engine, depth: u32) -> Result<Box<dyn Driver>, Error> {
    Ok(match engine {
        Engine::Psync => Box::new(psync::Psync::new(depth)?),
        Engine::Libaio => Box::new(libaio::Libaio::new(depth)?),
        Engine::IoUring => Box::new(io_uring::Ring::new(depth)?),
    })
}

#[cfg(test)]
mod tests;
