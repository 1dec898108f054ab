//! # Being told to stop

use std::io;

use tokio::signal::unix::{SignalKind, signal};

/// Waits for a signal that asks this process to end, and names it.
///
/// Whoever gets the answer drops what it was doing; processes and temporary
/// files go with it.
pub(crate) async fn wait() -> io::Result<i32> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let kind = tokio::select! {
        _ = interrupt.recv() => SignalKind::interrupt(),
        _ = terminate.recv() => SignalKind::terminate(),
        _ = hangup.recv() => SignalKind::hangup(),
    };
    Ok(kind.as_raw_value())
}
