//! # `odio-trace run`

use std::os::unix::process::ExitStatusExt;

use anyhow::Result;

use crate::{cli, kernel::Kernel, output::sink::Sink, plan, workload};

/// Traces a command; returns its exit status.
pub(crate) async fn run(run: &cli::Run, kernel: &Kernel) -> Result<u8> {
    let plan = plan::make(kernel);
    let mut sink = Sink::new(&run.output, kernel, &plan)?;
    let outcome = workload::run(kernel, &plan, &run.command, |op| sink.op(&op)).await?;
    sink.end(&outcome)?;
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
