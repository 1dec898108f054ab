//! # `odio-trace verify`: a workload, or the recording of one, held against a policy
//!
//! FAIL where a rule was broken. PASS only where every rule holds of ops enough, and nothing of the run was lost or not
//! seen; else INCONCLUSIVE.

use std::{fs::File, io::BufReader, path::Path};

use anyhow::{Context, Result};

use crate::{
    cli,
    kernel::Kernel,
    launch::Launch,
    output::{judgement::Judgement, junit, summary::Summary, text},
    policy::{Judge, Policy},
    privileges,
    progress::Progress,
    recording::{self, End, Line, partial::Partial},
    run, session,
    workload::{self, Target},
};

/// Reads the policy, and makes the file that the verdicts are to go to: what cannot be read or written is told before
/// anything runs.
pub(crate) fn prepare(verify: &cli::Verify) -> Result<(Policy, Option<Partial>)> {
    let path = verify.policy.display().to_string();
    let text = std::fs::read_to_string(&verify.policy).with_context(|| path.clone())?;
    let policy = Policy::read(&text, &path)?;
    let junit = verify.junit.as_deref().map(Partial::create).transpose()?;
    Ok((policy, junit))
}

/// Traces the command and judges its ops.
pub(crate) async fn trace<'a>(
    verify: &cli::Verify,
    policy: &'a Policy,
    kernel: &Kernel,
) -> Result<Judgement<'a>> {
    let mut judge = Judge::new(policy);
    let plan = session::plan(kernel, &verify.choice);
    let target = Target::Command(Launch::as_the_caller(&verify.command, verify.as_root));
    let progress = Progress::new(false);
    let outcome = workload::trace(kernel, &plan, Path::new("."), target, progress, |op| {
        if let Some((op, _)) = &op {
            judge.add(op);
        }
        Ok(op.is_some())
    })
    .await?;
    privileges::tell(kernel, &outcome.missing);
    let summary = Summary::of(&outcome, None);
    let mut gaps = summary.run_gaps();
    match outcome.status.map(run::status) {
        None | Some(0) => {}
        Some(status) => gaps.push(format!("the command ended with status {status}")),
    }
    Ok(Judgement::new(judge.end(), gaps, summary.caveats()))
}

/// Judges the ops of a recording.
pub(crate) fn replay<'a>(policy: &'a Policy, recording: &Path) -> Result<Judgement<'a>> {
    let path = recording.display();
    let file = File::open(recording).with_context(|| path.to_string())?;
    let mut judge = Judge::new(policy);
    let mut summary = None;
    let end = recording::read(BufReader::new(file), |line, _| {
        match line {
            Line::Op(op) => judge.add(&op),
            Line::Summary(last) => summary = Some(*last),
            Line::Header(_) | Line::Device(_) | Line::Step(_) => {}
        }
        Ok(())
    })
    .with_context(|| path.to_string())?;
    let mut gaps = Vec::new();
    if end == End::CutOff {
        gaps.push("the recording was cut off".into());
    }
    if let Some(summary) = &summary {
        gaps.extend(summary.run_gaps());
        if summary.filtered > 0 {
            gaps.push(format!(
                "{} ops were filtered out of the recording",
                summary.filtered
            ));
        }
    }
    let caveats = summary.as_ref().map(Summary::caveats).unwrap_or_default();
    Ok(Judgement::new(judge.end(), gaps, caveats))
}

/// Says what came of it; the exit status.
pub(crate) fn end(judgement: &Judgement<'_>, junit: Option<Partial>) -> Result<u8> {
    if let Some(file) = junit {
        junit::write(judgement, file)?;
    }
    text::line(judgement)?;
    for caveat in &judgement.caveats {
        eprintln!("odio-trace: {}", text::printable_lines(caveat));
    }
    Ok(judgement.verdict().status())
}
