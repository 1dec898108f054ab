//! # Running the workload under the probes
//!
//! Starts the workload only when every probe is in place, hands out its ops as they are acknowledged, and ends
//! with the account of what was lost.

use std::{ffi::OsString, path::Path, process::ExitStatus, time::Duration};

use anyhow::Result;
use odio_trace_common::OpFlags;
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{Instant, sleep_until},
};
use tracing::{debug, warn};

use crate::{
    calibrate,
    diagnostics::Diagnostics,
    files::Files,
    kernel::Kernel,
    launch::Waiting,
    op::Op,
    plan::{Missing, Plan, Probe, Watched},
    session::{Account, Record, Session},
};

/// How long requests that are still open when the workload ends may take to be acknowledged.
const SETTLE: Duration = Duration::from_secs(2);

/// How long an interrupted workload may take to end before the tracer leaves it alone.
const INTERRUPTED: Duration = Duration::from_secs(5);

/// What a traced run ended with.
pub(crate) struct Outcome {
    /// `None` where the tracer was interrupted and the workload goes on.
    pub(crate) status: Option<ExitStatus>,
    pub(crate) pid: u32,
    pub(crate) ops: u64,
    pub(crate) account: Account,
    pub(crate) attached: Vec<Probe>,
    pub(crate) missing: Vec<Missing>,
}

/// Runs `command` and calls `each` for every op of it and its children. The probes are calibrated in `dir`.
pub(crate) async fn run(
    kernel: &Kernel,
    plan: &Plan,
    dir: &Path,
    command: &[OsString],
    mut each: impl FnMut(Op) -> Result<()>,
) -> Result<Outcome> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;

    let waiting = Waiting::start(command).await?;
    let mut session = Session::start(kernel, plan)?;
    let before = calibrate::run(&mut session, kernel, dir);
    session.missing.extend(before.distrusted());
    let pid = waiting.pid();
    session.follow(pid)?;
    let mut diagnostics = Diagnostics::start(session.ebpf_mut());
    debug!(
        "{} probes in place, starting process {pid}",
        session.attached.len()
    );
    let mut child = waiting.go().await?;

    let watched = Watched::of(&session.attached, &session.missing);
    let mut files = Files::new(kernel);
    let mut ops = 0;
    let mut failed = None;
    let mut each = |record| match record {
        Record::File(file) => files.learn(&file),
        Record::Op(record) => {
            ops += 1;
            let block_device = record.flags & OpFlags::BLOCK_DEVICE != 0;
            let name = files.name(record.dev, record.ino);
            let place = files.place(record.dev, block_device);
            if let Err(error) = each(Op::new(&record, name, place, watched)) {
                failed.get_or_insert(error);
            }
        }
    };

    let mut leave_at = None;
    let status = loop {
        let leave = leave_at.unwrap_or_else(|| Instant::now() + Duration::from_secs(86_400));
        tokio::select! {
            status = child.wait() => break Some(status?),
            ready = session.ready() => {
                ready?;
                session.take(&mut each);
                diagnostics.flush();
            }
            () = diagnostics.due() => diagnostics.flush(),
            // The terminal sends Ctrl-C to the workload as well; give it time to end by itself.
            _ = interrupt.recv() => leave_at = Some(Instant::now() + INTERRUPTED),
            _ = terminate.recv() => leave_at = Some(Instant::now()),
            () = sleep_until(leave), if leave_at.is_some() => {
                warn!("interrupted: process {pid} goes on untraced");
                break None;
            }
        }
    };

    let settled = Instant::now() + SETTLE;
    while status.is_some() && session.open_ops() > 0 && Instant::now() < settled {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let mut account = session.account(kernel)?;
    session.take(&mut each);
    // A probe may have gone blind since it was calibrated.
    let after = calibrate::run(&mut session, kernel, dir);
    account.add_calibration(&before, &after);
    diagnostics.flush();
    let (attached, missing) = session.stop(&mut each);
    if let Some(error) = failed {
        return Err(error);
    }
    Ok(Outcome {
        status,
        pid,
        ops,
        account,
        attached,
        missing,
    })
}
