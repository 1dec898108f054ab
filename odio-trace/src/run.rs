//! # `odio-trace run`

use std::path::Path;

use anyhow::Result;

use crate::{
    cli,
    filter::{Filter, Filters},
    kernel::Kernel,
    launch::Launch,
    output::sink::Sink,
    plan, privileges,
    progress::Progress,
    session, step,
    workload::{self, Outcome, Target},
};

/// Traces a command; returns its exit status.
pub(crate) async fn run(run: &cli::Run, kernel: &Kernel) -> Result<u8> {
    let target = Target::Command(Launch::as_the_caller(&run.command, run.as_root));
    let show_it = Show {
        output: &run.output,
        filters: &run.filters,
        choice: &run.choice,
    };
    let outcome = show(kernel, show_it, target).await?;
    Ok(outcome.status().unwrap_or(130))
}

/// What of the ops is shown, and how.
pub(crate) struct Show<'a> {
    pub(crate) output: &'a cli::Output,
    pub(crate) filters: &'a Filters,
    pub(crate) choice: &'a plan::Choice,
}

/// Traces, and shows the ops and the account.
pub(crate) async fn show(kernel: &Kernel, show: Show<'_>, target: Target<'_>) -> Result<Outcome> {
    let filter = Filter::new(show.filters, kernel)?;
    let plan = plan::Plan {
        steps: step::Asked::of(kernel, show.output.steps, show.output.stacks),
        ..session::plan(kernel, show.choice)
    };
    if let Some(why) = &plan.steps.no_stack {
        eprintln!("odio-trace: steps have no stacks: {why}");
    }
    let mut sink = Sink::new(show.output, kernel, &plan)?;
    let progress = Progress::new(show.output.json);
    let outcome = workload::trace(kernel, &plan, Path::new("."), target, progress, |op| {
        let Some((op, steps)) = op else {
            sink.pass_on()?;
            return Ok(false);
        };
        if !filter.passes(op) {
            return Ok(false);
        }
        sink.op(op, steps)?;
        Ok(true)
    })
    .await?;
    privileges::tell(kernel, &outcome.missing);
    sink.end(&outcome)?;
    Ok(outcome)
}
