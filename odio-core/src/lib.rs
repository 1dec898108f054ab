//! # odio-core: the I/O
//!
//! Opens a file or a block device in a [`mode::Mode`], finds out what that file can really do, and moves bytes
//! with one of three engines. It knows nothing of C and nothing of tracing.
//!
//! - [`mode`]: cache, sync and engine, as asked for
//! - [`limits`]: alignment and device facts of an open file, each with the source it came from
//! - [`contract`]: what a mode promises on this file
//! - [`mod@file`]: open, read, write, sync, allocate and free
//! - [`queue`]: requests in flight, one interface over every engine
//! - [`flags`]: what one request asks for beyond the mode
//! - [`buffer`]: aligned memory
//! - [`pool`]: many buffers of one size that the kernel knows as one piece
//! - [`counters`]: what a file and a queue have done
//! - [`error`]: errors that name the value, the limit and where the limit came from
//!
//! ```no_run
//! use odio_core::{file::OpenOptions, mode::{Engine, Mode}, queue::Queue};
//!
//! # fn main() -> Result<(), odio_core::error::Error> {
//! let mode: Mode = "direct+dsync".parse()?;
//! let file = OpenOptions::new(mode).write(true).create(true).open("data")?;
//! let mut buffer = file.buffer(4096)?;
//! buffer.fill(7);
//!
//! let mut queue = Queue::new(Engine::IoUring, 8)?;
//! queue.write(&file, buffer, 0, 1)?;
//! let done = queue.complete()?;
//! assert_eq!(done.result, Ok(4096));
//! # Ok(())
//! # }
//! ```

pub mod buffer;
pub mod contract;
pub mod counters;
mod engine;
pub mod error;
pub mod file;
pub mod flags;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod limits;
pub mod mode;
pub mod pool;
pub mod queue;
mod resume;
mod sys;
#[cfg(test)]
mod testing;
