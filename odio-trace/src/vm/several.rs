//! # Several VMs in one call
//!
//! Side by side as the machine allows. Each one's output is kept until it has ended and comes out whole, in the order
//! in which they were asked for.

use std::{
    io::{Write as _, stderr, stdout},
    rc::Rc,
    thread,
};

use anyhow::Context as _;
use clap::ValueEnum;
use tokio::{
    sync::Semaphore,
    task::{LocalSet, spawn_local},
};

use super::{Spec, exit_status, fetch, host, one, progress::Progress};

/// What QEMU takes besides the guest's memory.
const OVERHEAD_MIB: u64 = 256;

/// What one VM came to.
pub(crate) struct Ended {
    /// Standard output of the command.
    pub(crate) out: Vec<u8>,
    /// Standard error of the command.
    pub(crate) err: Vec<u8>,
    /// Its exit status, or why there is none.
    pub(crate) status: anyhow::Result<i32>,
}

/// Runs them all; the result is the first status that is not 0.
pub(crate) async fn run(specs: &[Spec]) -> anyhow::Result<i32> {
    let mut first = 0;
    each(specs, |spec, ended| {
        let status = tell(spec, ended)?;
        if first == 0 {
            first = status;
        }
        Ok(())
    })
    .await?;
    Ok(first)
}

/// Runs them all; `take` is told of each in the order in which they were asked for.
pub(crate) async fn each(
    specs: &[Spec],
    mut take: impl FnMut(&Spec, Ended) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let progress = Progress::new();
    for (i, spec) in specs.iter().enumerate() {
        if specs[..i].iter().all(|before| before.kernel != spec.kernel) {
            // What cannot be had is told in its turn, of each VM that needs it.
            let _ = fetch(spec, &progress).await;
        }
    }
    let tasks = LocalSet::new();
    tasks
        .run_until(async {
            let places = Rc::new(Semaphore::new(at_once(specs)));
            let running: Vec<_> = specs
                .iter()
                .map(|spec| spawn_local(in_place(spec.clone(), Rc::clone(&places))))
                .collect();
            for (i, (ended, spec)) in running.into_iter().zip(specs).enumerate() {
                progress.say(&format!("{i} of {} VMs ended ...", specs.len()));
                let ended = ended.await?;
                progress.clear();
                take(spec, ended)?;
            }
            Ok(())
        })
        .await
}

async fn in_place(spec: Spec, places: Rc<Semaphore>) -> Ended {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let status = match places.acquire().await {
        Ok(_place) => one(&spec, &Progress::silent(), &mut out, &mut err).await,
        Err(closed) => Err(closed.into()),
    };
    Ended { out, err, status }
}

fn tell(spec: &Spec, ended: Ended) -> anyhow::Result<i32> {
    let (status, why) = match ended.status {
        Ok(status) => (status, format!("exit status {status}")),
        Err(error) => (exit_status(&error), format!("{error:#}")),
    };
    let mut told = stderr().lock();
    writeln!(told, "odio-trace: {}: {why}", name(spec))
        .and_then(|()| told.write_all(&ended.err))
        .and_then(|()| stdout().lock().write_all(&ended.out))
        .context("cannot pass output on")?;
    Ok(status)
}

fn name(spec: &Spec) -> String {
    let word = |value: Option<clap::builder::PossibleValue>| {
        value.map_or_else(String::new, |value| value.get_name().to_owned())
    };
    format!(
        "{}, {} on {}",
        spec.kernel,
        word(spec.fs.to_possible_value()),
        word(spec.device.to_possible_value())
    )
}

/// An emulated machine keeps one processor busy, however many it shows.
fn at_once(specs: &[Spec]) -> usize {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let largest = specs.iter().map(|spec| u64::from(spec.memory)).max();
    let memory = largest.unwrap_or(0) + OVERHEAD_MIB;
    let fit = host::free_memory().map_or(1, |free| free / (memory << 20));
    processors
        .min(usize::try_from(fit).unwrap_or(usize::MAX))
        .max(1)
}
