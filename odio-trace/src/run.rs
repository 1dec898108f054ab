//! # `odio-trace run`

use std::{os::unix::process::ExitStatusExt, path::Path};

use anyhow::Result;

use crate::{
    cli,
    kernel::Kernel,
    output::{json, ledger::Ledger, text},
    session, workload,
};

/// Traces a command; returns its exit status.
pub(crate) async fn run(run: &cli::Run, kernel: &Kernel) -> Result<u8> {
    let plan = session::plan(kernel, &run.choice);
    let mut ledger = Ledger::default();
    let outcome = workload::run(kernel, &plan, Path::new("."), &run.command, |op| {
        if run.json {
            json::line(&op)
        } else {
            ledger.add(&op);
            Ok(())
        }
    })
    .await?;
    if run.json {
        json::line(&json::summary(&outcome))?;
    } else {
        text::line(text::ledger(&ledger).trim_fmt())?;
        text::line(text::summary(&outcome))?;
        for caveat in text::caveats(&outcome) {
            eprintln!("odio-trace: {caveat}");
        }
    }
    Ok(outcome.status.map_or(130, status))
}

/// As a shell says it: the exit status, or 128 and the signal.
pub(crate) fn status(status: std::process::ExitStatus) -> u8 {
    let code = status
        .code()
        .or_else(|| status.signal().map(|s| 128 + s))
        .unwrap_or(1);
    u8::try_from(code & 0xff).unwrap_or(1)
}
