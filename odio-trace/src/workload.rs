//! # Running the workload under the probes
//!
//! Starts the workload only when every probe is in place, or takes up what runs already; hands out the ops as they are
//! acknowledged, and ends with the account of what was lost.

use std::{
    ffi::OsString,
    os::{fd::OwnedFd, unix::process::ExitStatusExt},
    path::Path,
    process::ExitStatus,
    time::Duration,
};

use anyhow::{Context, Result};
use odio_trace_common::{WritebackKey, WritebackRecord};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::{
    io::unix::AsyncFd,
    process::Child,
    signal::unix::{Signal, SignalKind, signal},
    time::{Instant, sleep, sleep_until},
};
use tracing::{debug, warn};

use crate::{
    calibrate,
    diagnostics::Diagnostics,
    files::Files,
    kernel::Kernel,
    launch::{Launch, Waiting},
    lost::Lost,
    op::Op,
    plan::{Missing, Plan, Probe, Watched},
    progress::{self, Progress},
    scope::{self, Scope},
    session::{Account, Record, Session},
    step::{Step, Steps},
    sys,
    writeback::Writeback,
};

/// How long requests that are still open at the end may take to be acknowledged.
const SETTLE: Duration = Duration::from_secs(2);

/// How long an interrupted workload may take to end before the tracer leaves it alone.
const INTERRUPTED: Duration = Duration::from_secs(5);

/// What a traced run ended with.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// `None` where the tracer was interrupted and the workload goes on, or there was no workload of its own.
    pub(crate) status: Option<ExitStatus>,
    /// The workload that was started.
    pub(crate) pid: Option<u32>,
    /// Processes of the workload that went on when it had ended.
    pub(crate) left: u64,
    /// Ops that were shown.
    pub(crate) ops: u64,
    /// Ops that were left out because they were not asked for.
    pub(crate) filtered: u64,
    pub(crate) account: Account,
    /// What was written back, of files with their names.
    pub(crate) writeback: Vec<Writeback>,
    pub(crate) attached: Vec<Probe>,
    pub(crate) missing: Vec<Missing>,
}

impl Outcome {
    /// How the workload ended, as a shell says it: the exit status, or 128 and the signal.
    pub(crate) fn status(&self) -> Option<u8> {
        let status = self.status?;
        let code = status.code().or_else(|| status.signal().map(|s| 128 + s));
        Some(u8::try_from(code.unwrap_or(1) & 0xff).unwrap_or(1))
    }
}

/// What is traced.
#[derive(Debug)]
pub(crate) enum Target<'a> {
    /// A command that is started for it.
    Command(Launch<'a>),
    /// What runs already, for so long at most.
    Running(Scope, Option<Duration>),
}

/// Runs `command` and calls `each` for every op of it and its children. The probes are calibrated in `dir`.
pub(crate) async fn run(
    kernel: &Kernel,
    plan: &Plan,
    dir: &Path,
    command: &[OsString],
    mut each: impl FnMut(&Op) -> Result<()>,
) -> Result<Outcome> {
    let target = Target::Command(Launch::as_it_is(command));
    trace(kernel, plan, dir, target, None, |op| {
        op.map_or(Ok(()), |(op, _)| each(op)).map(|()| true)
    })
    .await
}

/// Traces `target` and calls `each` for every op of it and its children, with its steps where they are asked for; `each`
/// says whether it took the op. It is called with `None` when all that waited in the kernel was taken. The probes are
/// calibrated in `dir`.
pub(crate) async fn trace(
    kernel: &Kernel,
    plan: &Plan,
    dir: &Path,
    target: Target<'_>,
    mut progress: Option<Progress>,
    mut each: impl FnMut(Option<(&Op, &[Step])>) -> Result<bool>,
) -> Result<Outcome> {
    let mut signals = Signals::new()?;
    let (scope, waiting, lasts) = match target {
        Target::Command(launch) => {
            let waiting = Waiting::start(&launch).await?;
            (Scope::Made(waiting.pid()), Some(waiting), None)
        }
        Target::Running(scope, lasts) => (scope, None, lasts),
    };
    scope.may_be_told()?;
    let pid = waiting.as_ref().map(Waiting::pid);
    // A process that ends from here on is seen to.
    let mut life = match &scope {
        Scope::Processes(pids) => Life::processes(pids)?,
        _ => Life::Endless,
    };
    let mut session = Session::start(kernel, plan, scope.config())?;
    let before = calibrate::run(&mut session, kernel, dir);
    session.missing.extend(before.distrusted());
    session.forget_files()?;
    scope.open(&mut session)?;
    let mut diagnostics = Diagnostics::start(session.ebpf_mut());
    debug!("{} probes in place", session.attached.len());
    if let Some(waiting) = waiting {
        life = Life::Child(waiting.go().await?);
    } else {
        eprintln!("odio-trace: tracing; Ctrl-C ends it");
    }

    let watched = Watched::of(&session.attached, &session.missing);
    let mut files = Files::new(kernel);
    let mut steps = Steps::new(plan.steps.clone(), &session.attached, kernel);
    let mut lost = Lost::default();
    let (mut ops, mut filtered) = (0, 0);
    let mut id = 0;
    let mut failed = None;
    let mut each = |record: Option<Record<'_>>| match record {
        None => {
            if let Err(error) = each(None) {
                _ = failed.get_or_insert(error);
            }
        }
        Some(Record::File(file)) => files.learn(file),
        Some(Record::Step(step, stack)) => steps.learn(step, stack),
        Some(Record::Op(record)) => {
            let subject = files.of(record);
            let mut op = Op::new(
                record,
                subject.name.as_ref().map(|name| name.path.clone()),
                subject.place.clone(),
                watched,
            );
            if let Some(name) = &subject.name {
                if name.bytes.is_some() {
                    op.file_bytes.clone_from(&name.bytes);
                }
                op.file_deleted = name.deleted;
            }
            lost.hold(&mut op);
            id += 1;
            let told = steps.of(record, id);
            if let Some(told) = &told {
                op.id = Some(id);
                op.steps = Some(told.steps.len() as u64);
                op.steps_lost = Some(told.lost);
            }
            match each(Some((&op, told.as_ref().map_or(&[], |told| &told.steps)))) {
                Ok(true) => ops += 1,
                Ok(false) => filtered += 1,
                Err(error) => _ = failed.get_or_insert(error),
            }
        }
    };

    let far = || Instant::now() + Duration::from_secs(30 * 86_400);
    let until = lasts.and_then(|lasts| Instant::now().checked_add(lasts));
    let mut leave_at = None;
    let mut seen = 0u64;
    let mut hurry = false;
    let status = loop {
        tokio::select! {
            status = life.end() => break status?,
            ready = session.ready() => {
                ready?;
                session.take(|record| {
                    seen += u64::from(matches!(record, Record::Op(_)));
                    each(Some(record));
                });
                each(None);
                diagnostics.flush();
            }
            () = diagnostics.due() => diagnostics.flush(),
            () = sleep(progress::PERIOD), if progress.is_some() => {}
            word = signals.word() => match (word, &life) {
                // The terminal sends Ctrl-C to the workload as well; give it time to end by itself.
                (Word::Interrupt, Life::Child(_)) if leave_at.is_none() => {
                    leave_at = Some(Instant::now() + INTERRUPTED);
                }
                (Word::Interrupt, Life::Child(_)) | (Word::Terminate, _) => {
                    hurry = true;
                    leave_at = Some(Instant::now());
                }
                (Word::Interrupt, _) => break None,
            },
            () = sleep_until(until.unwrap_or_else(far)), if until.is_some() => break None,
            () = sleep_until(leave_at.unwrap_or_else(far)), if leave_at.is_some() => {
                if let Some(pid) = pid {
                    warn!("interrupted: process {pid} goes on untraced");
                }
                break None;
            }
        }
        if let Some(progress) = &mut progress
            && progress.is_due()
        {
            progress.show(seen, &session.losses()?);
        }
    };

    // Children that the command did not wait for get the time to end as well. What goes on then is not seen any more.
    let settled = Instant::now() + SETTLE;
    let mut left = 0;
    if status.is_some() {
        left = scope::running(&mut session)?;
        while !hurry && left > 0 && Instant::now() < settled {
            tokio::select! {
                () = sleep(Duration::from_millis(10)) => session.take(|record| each(Some(record))),
                _ = signals.word() => hurry = true,
            }
            left = scope::running(&mut session)?;
        }
    }

    // No request begins any more; those that are open get the time to be acknowledged.
    scope.close(&mut session)?;
    let settled = Instant::now() + SETTLE;
    while !hurry && session.open_ops() > 0 && Instant::now() < settled {
        tokio::select! {
            () = sleep(Duration::from_millis(10)) => session.take(|record| each(Some(record))),
            _ = signals.word() => hurry = true,
        }
    }
    drop(progress);
    let mut account = session.account(kernel)?;
    session.take(|record| each(Some(record)));
    // A probe may have gone blind since it was calibrated.
    let after = calibrate::run(&mut session, kernel, dir);
    account.add_calibration(&before, &after);
    diagnostics.flush();
    let (attached, missing) = session.stop(|record| each(Some(record)));
    if let Some(error) = failed {
        return Err(error);
    }
    let names = files.names();
    let written = |(file, record): &(WritebackKey, WritebackRecord)| {
        let names = names.get(file).into_iter().flatten();
        Writeback::of(
            file,
            record,
            names.map(|name| name.as_ref().into()).collect(),
        )
    };
    let writeback = account.writeback.iter().map(written).collect();
    Ok(Outcome {
        status,
        pid,
        left,
        ops,
        filtered,
        account,
        writeback,
        attached,
        missing,
    })
}

/// What the tracing lasts for.
enum Life {
    Child(Child),
    Processes(Vec<AsyncFd<OwnedFd>>),
    Endless,
}

impl Life {
    fn processes(pids: &[u32]) -> Result<Self> {
        let mut all = Vec::new();
        for &pid in pids {
            let fd = i32::try_from(pid)
                .ok()
                .and_then(Pid::from_raw)
                .context("no process has this number")
                .and_then(|pid| Ok(pidfd_open(pid, PidfdFlags::empty())?))
                .with_context(|| format!("process {pid} is gone"))?;
            all.push(sys::readable(fd)?);
        }
        Ok(Self::Processes(all))
    }

    /// Waits for the end; the status is that of a child.
    async fn end(&mut self) -> Result<Option<ExitStatus>> {
        match self {
            Self::Child(child) => Ok(Some(child.wait().await?)),
            Self::Processes(all) => {
                // A process that has ended stays readable, so one after the other will do.
                for process in all {
                    process.readable().await?.retain_ready();
                }
                Ok(None)
            }
            Self::Endless => std::future::pending().await,
        }
    }
}

/// What the user says to the tracer itself.
enum Word {
    Interrupt,
    Terminate,
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn word(&mut self) -> Word {
        tokio::select! {
            _ = self.interrupt.recv() => Word::Interrupt,
            _ = self.terminate.recv() => Word::Terminate,
        }
    }
}
