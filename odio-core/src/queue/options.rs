//! # How to make a queue
//!
//! Chooses the engine, and says why it is that one.

use crate::engine::{Driver, Setup};
use crate::error::Error;
use crate::mode::Engine;

use super::Queue;

/// How to make a queue.
#[derive(Debug, Clone)]
pub struct QueueOptions {
    pub(super) engine: Option<Engine>,
    pub(super) depth: u32,
    pub(super) iopoll: bool,
    pub(super) sqpoll: bool,
    pub(super) latency: bool,
    pub(super) max_vectors: u32,
}

impl QueueOptions {
    /// A queue for `depth` requests, on the best engine that can be had here.
    pub fn new(depth: u32) -> QueueOptions {
        QueueOptions {
            engine: None,
            depth,
            iopoll: false,
            sqpoll: false,
            latency: false,
            max_vectors: 16,
        }
    }

    /// This engine and no other. Without it io_uring is taken, else libaio, else psync, unless the environment variable
    /// `ODIO_ENGINE` names one; [`Queue::reason`] says why it was that one.
    pub fn engine(mut self, engine: Engine) -> QueueOptions {
        self.engine = Some(engine);
        self
    }

    /// The kernel polls the device for completions instead of waiting for its interrupt (`IORING_SETUP_IOPOLL`). For
    /// io_uring, direct files, and devices with poll queues; transfers only, no sync.
    pub fn iopoll(mut self, yes: bool) -> QueueOptions {
        self.iopoll = yes;
        self
    }

    /// A kernel thread takes requests without a system call (`IORING_SETUP_SQPOLL`). For io_uring. The thread uses a
    /// CPU until it has had nothing to do for 50 ms.
    pub fn sqpoll(mut self, yes: bool) -> QueueOptions {
        self.sqpoll = yes;
        self
    }

    /// Measures the time of each request, for [`Queue::latency`]. It reads the clock twice for each.
    pub fn latency(mut self, yes: bool) -> QueueOptions {
        self.latency = yes;
        self
    }

    /// The most pieces that one vectored request has, 1 to 1024 (`IOV_MAX`); 16 unless set.
    pub fn max_vectors(mut self, count: u32) -> QueueOptions {
        self.max_vectors = count;
        self
    }

    /// Makes the queue.
    pub fn build(&self) -> Result<Queue, Error> {
        if !(1..=Queue::MAX_DEPTH).contains(&self.depth) {
            return Err(Error::Invalid(format!(
                "queue depth {}: from 1 to {}",
                self.depth,
                Queue::MAX_DEPTH
            )));
        }
        if !(1..=1024).contains(&self.max_vectors) {
            return Err(Error::Invalid(format!(
                "max_vectors {}: from 1 to 1024 (IOV_MAX)",
                self.max_vectors
            )));
        }
        let (engine, driver, reason) = self.start()?;
        Queue::assemble(self, engine, driver, reason)
    }

    fn start(&self) -> Result<(Engine, Driver, String), Error> {
        if let Some(engine) = self.engine {
            return Ok((
                engine,
                self.try_engine(engine)?,
                format!("{engine}: asked for"),
            ));
        }
        if let Some(name) = std::env::var_os("ODIO_ENGINE").filter(|name| !name.is_empty()) {
            let engine: Engine = name.to_string_lossy().parse().map_err(|error| {
                Error::Invalid(format!("environment variable ODIO_ENGINE: {error}"))
            })?;
            let driver = self.try_engine(engine)?;
            return Ok((engine, driver, format!("{engine}: ODIO_ENGINE asks for it")));
        }
        let mut refused = Vec::new();
        for engine in [Engine::IoUring, Engine::Libaio] {
            match self.try_engine(engine) {
                Ok(driver) => {
                    refused.insert(0, format!("{engine}: the first that can be had"));
                    return Ok((engine, driver, refused.join("; ")));
                }
                Err(error) if self.iopoll || self.sqpoll => return Err(error),
                Err(error) => refused.push(error.to_string()),
            }
        }
        let driver = self.try_engine(Engine::Psync)?;
        refused.insert(0, "psync: works everywhere".to_owned());
        Ok((Engine::Psync, driver, refused.join("; ")))
    }

    fn try_engine(&self, engine: Engine) -> Result<Driver, Error> {
        for (asked, name) in [(self.iopoll, "IOPOLL"), (self.sqpoll, "SQPOLL")] {
            if asked && engine != Engine::IoUring {
                return Err(Error::Invalid(format!(
                    "{name} is an option of io_uring; the engine is {engine}"
                )));
            }
        }
        Driver::start(
            engine,
            Setup {
                depth: self.depth,
                iopoll: self.iopoll,
                sqpoll: self.sqpoll,
            },
        )
    }
}
