//! # How to set up a queue

use std::ffi::{c_char, c_int};

use odio_core::mode::Engine;
use odio_core::queue::QueueOptions;

use crate::error::Failure;
use crate::options::{Sized_, parse, read, write};
use crate::panic::guard;
use crate::required;

/// The kernel interface that carries a queue's requests.
#[repr(C)]
pub enum odio_engine {
    /// io_uring where it can be had, else libaio, else psync; with ODIO_QUEUE_IOPOLL or ODIO_QUEUE_SQPOLL io_uring or
    /// nothing. The environment variable ODIO_ENGINE (psync, libaio or io_uring), where it is set and not empty, forces
    /// one, and -EINVAL for any other word; it does nothing to the engines below. odio_queue_reason() says why it was
    /// that one. The default.
    ODIO_ENGINE_AUTO = 0,
    /// preadv2, pwritev2 and fsync on worker threads, 64 at most. Works everywhere.
    ODIO_ENGINE_PSYNC = 1,
    /// io_submit and io_getevents.
    ODIO_ENGINE_LIBAIO = 2,
    /// io_uring. Often forbidden in containers; odio_queue_new() then says by what.
    ODIO_ENGINE_IO_URING = 3,
}

/// For odio_queue_options.flags: the kernel polls the device for completions instead of waiting for its interrupt
/// (IORING_SETUP_IOPOLL). For io_uring, direct files, and devices with poll queues; it carries transfers, no sync.
pub const ODIO_QUEUE_IOPOLL: u32 = 1;
/// For odio_queue_options.flags: a kernel thread takes requests without a system call (IORING_SETUP_SQPOLL). For
/// io_uring. The thread uses a CPU until it has had nothing to do for 50 ms.
pub const ODIO_QUEUE_SQPOLL: u32 = 2;
/// For odio_queue_options.flags: measure how long each request takes, for odio_queue_counters(). It reads the clock
/// twice for each.
pub const ODIO_QUEUE_LATENCY: u32 = 4;

/// How to set up a queue. All zero but for the size is: the best engine that can be had, 32 requests.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct odio_queue_options {
    /// sizeof(odio_queue_options).
    pub size: usize,
    /// An odio_engine.
    pub engine: u32,
    /// How many requests the queue holds at most, 1 to 32768; 0 means 32.
    pub depth: u32,
    /// ODIO_QUEUE_* bits. -EINVAL for a bit that this library does not know.
    pub flags: u32,
    /// The most pieces that one vectored request has, 1 to 1024; 0 means 16.
    pub max_vectors: u32,
}

// SAFETY: one usize and four u32.
unsafe impl Sized_ for odio_queue_options {}

const _: () = assert!(size_of::<odio_queue_options>() == size_of::<usize>() + 4 * 4);

pub(crate) fn number(engine: Engine) -> u32 {
    (match engine {
        Engine::Psync => odio_engine::ODIO_ENGINE_PSYNC,
        Engine::Libaio => odio_engine::ODIO_ENGINE_LIBAIO,
        Engine::IoUring => odio_engine::ODIO_ENGINE_IO_URING,
    }) as u32
}

impl odio_queue_options {
    pub(crate) const DEFAULT: odio_queue_options = odio_queue_options {
        size: size_of::<odio_queue_options>(),
        engine: 0,
        depth: 0,
        flags: 0,
        max_vectors: 0,
    };

    pub(crate) fn to_core(self) -> Result<QueueOptions, Failure> {
        let every = ODIO_QUEUE_IOPOLL | ODIO_QUEUE_SQPOLL | ODIO_QUEUE_LATENCY;
        if self.flags & !every != 0 {
            let unknown = self.flags & !every;
            return Err(Failure::invalid(format!(
                "flags hold {unknown:#x}, which this library does not know"
            )));
        }
        let has = |flag| self.flags & flag != 0;
        let mut options = QueueOptions::new(if self.depth == 0 { 32 } else { self.depth })
            .iopoll(has(ODIO_QUEUE_IOPOLL))
            .sqpoll(has(ODIO_QUEUE_SQPOLL))
            .latency(has(ODIO_QUEUE_LATENCY));
        if self.max_vectors != 0 {
            options = options.max_vectors(self.max_vectors);
        }
        if self.engine == odio_engine::ODIO_ENGINE_AUTO as u32 {
            return Ok(options);
        }
        let engine = Engine::ALL
            .into_iter()
            .find(|&each| number(each) == self.engine)
            .ok_or_else(|| {
                Failure::invalid(format!(
                    "engine is {}, which is no odio_engine",
                    self.engine
                ))
            })?;
        Ok(options.engine(engine))
    }
}

/// Sets the engine from its name: "psync", "libaio" or "io_uring". `options->size` must be set.
///
/// Returns 0; -EINVAL for any other text or a wrong size, -E2BIG for a larger struct whose unknown part is not zero. Any
/// thread.
///
/// # Safety
///
/// `options` is writable and `engine` ends in NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn odio_queue_options_set_engine(
    options: *mut odio_queue_options,
    engine: *const c_char,
) -> c_int {
    guard(|| {
        required!(options);
        required!(engine);
        // SAFETY: not null, and NUL-terminated as the caller promises.
        let engine: Engine = unsafe { parse(engine) }?;
        // SAFETY: not null, and a struct of its own size as the caller promises.
        let mut values = unsafe { read(options) }?;
        values.engine = number(engine);
        // SAFETY: as above, and writable.
        unsafe { write(options, &values) }?;
        Ok(0)
    })
}
