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
    recording::{self, End, Line},
    run, session,
    workload::{self, Target},
};

/// Reads the policy.
pub(crate) fn policy(verify: &cli::Verify) -> Result<Policy> {
    let path = verify.policy.display().to_string();
    let text = std::fs::read_to_string(&verify.policy).with_context(|| path.clone())?;
    Policy::read(&text, &path)
}

/// Traces the command and judges its ops.
pub(crate) async fn trace(verify: &cli::Verify, policy: &Policy, kernel: &Kernel) -> Result<u8> {
    let mut judge = Judge::new(policy);
    let launch = if verify.as_root {
        Launch::as_it_is(&verify.command)
    } else {
        Launch::as_the_caller(&verify.command)
    };
    let plan = session::plan(kernel, &verify.choice);
    let target = Target::Command(launch);
    let progress = Progress::new(false);
    let outcome = workload::trace(kernel, &plan, Path::new("."), target, progress, |op| {
        if let Some((op, _)) = &op {
            judge.add(op);
        }
        Ok(op.is_some())
    })
    .await?;
    for kept in privileges::kept(kernel, &outcome.missing) {
        eprintln!("odio-trace: {kept}");
    }
    // Of unknown durability the rules speak for themselves.
    let summary = Summary::of(&outcome, None);
    let mut gaps = summary.gaps.clone();
    match outcome.status.map(run::status) {
        None | Some(0) => {}
        Some(status) => gaps.push(format!("the command ended with status {status}")),
    }
    end(verify, Judgement::new(judge.end(), gaps), Some(&summary))
}

/// Judges the ops of a recording.
pub(crate) fn replay(verify: &cli::Verify, policy: &Policy, recording: &Path) -> Result<u8> {
    let path = recording.display();
    let file = File::open(recording).with_context(|| path.to_string())?;
    let mut judge = Judge::new(policy);
    let mut summary = None;
    let end_of_file = recording::read(BufReader::new(file), |line, _| {
        match line {
            Line::Op(op) => judge.add(&op),
            Line::Summary(last) => summary = Some(*last),
            Line::Header(_) | Line::Device(_) | Line::Step(_) => {}
        }
        Ok(())
    })
    .with_context(|| path.to_string())?;
    let mut gaps = Vec::new();
    if end_of_file == End::CutOff {
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
    end(verify, Judgement::new(judge.end(), gaps), summary.as_ref())
}

fn end(verify: &cli::Verify, judgement: Judgement<'_>, summary: Option<&Summary>) -> Result<u8> {
    if let Some(path) = &verify.junit {
        junit::write(&judgement, path)?;
    }
    text::line(&judgement)?;
    for caveat in summary.iter().flat_map(|summary| summary.caveats()) {
        eprintln!("odio-trace: {}", text::printable_lines(&caveat));
    }
    Ok(judgement.verdict().status())
}
