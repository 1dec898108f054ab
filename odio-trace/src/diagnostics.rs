//! # What the eBPF programs say of themselves
//!
//! Their log statements are switched by a constant that the loader writes before the programs are verified: with
//! it off the verifier removes them, so they cost nothing. They are on with `-vv` (`odio_trace=trace`).

use std::time::Duration;

use aya::Ebpf;
use aya_log::{EbpfLogger, Level};
use tokio::time::sleep;
use tracing::warn;

/// The constant of the programs that holds the level.
pub(crate) const GLOBAL: &str = aya_log::LEVEL;

/// How long a line may wait while no op comes.
const PATIENCE: Duration = Duration::from_millis(100);

/// The level for [`GLOBAL`]; 0 is off.
pub(crate) fn level() -> u8 {
    if tracing::enabled!(tracing::Level::TRACE) {
        Level::Trace as u8
    } else {
        0
    }
}

/// Passes the programs' lines on to the tracer's own diagnostics.
pub(crate) struct Diagnostics(Option<EbpfLogger<&'static dyn log::Log>>);

impl Diagnostics {
    pub(crate) fn start(ebpf: &mut Ebpf) -> Self {
        if level() == 0 {
            return Self(None);
        }
        match EbpfLogger::init(ebpf) {
            Ok(logger) => Self(Some(logger)),
            Err(error) => {
                warn!("the eBPF programs' diagnostics cannot be shown: {error}");
                Self(None)
            }
        }
    }

    pub(crate) fn flush(&mut self) {
        if let Some(logger) = &mut self.0 {
            logger.flush();
        }
    }

    /// Ends when it is time to flush again; never, where there is nothing to show.
    pub(crate) async fn due(&self) {
        match self.0 {
            Some(_) => sleep(PATIENCE).await,
            None => std::future::pending().await,
        }
    }
}
