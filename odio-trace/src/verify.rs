//! # `odio-trace verify`: a workload, or the recording of one, held against a policy
//!
//! FAIL where a rule was broken. PASS only where every rule holds of ops enough, and nothing of the run was lost or not
//! seen; else INCONCLUSIVE.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use crate::{
    cli,
    kernel::Kernel,
    launch::Launch,
    output::{
        NobodyReads, github::Commands, json, judgement::Judgement, junit, page::Page, sarif,
        summary::Summary, text,
    },
    policy::{Judge, Policy},
    privileges,
    progress::Progress,
    recording::{self, End, Line},
    session,
    workload::{self, Target},
    writeback,
};

/// Where the verdicts go beside the text.
pub(crate) struct Pages {
    junit: Option<Page>,
    sarif: Option<Page>,
    github: bool,
}

/// Reads the policy, and makes the files that the verdicts are to go to: what cannot be read or written is told before
/// anything runs.
pub(crate) fn prepare(verify: &cli::Verify) -> Result<(Policy, Pages)> {
    let text = std::fs::read_to_string(&verify.policy)
        .with_context(|| verify.policy.display().to_string())?;
    let policy = Policy::read(&text, &verify.policy)?;
    let open = |path: &Option<PathBuf>| path.as_deref().map(Page::open).transpose();
    let pages = Pages {
        junit: open(&verify.junit)?,
        sarif: open(&verify.sarif)?,
        github: verify.github,
    };
    if let (Some(Page::StandardOutput), Some(Page::StandardOutput)) = (&pages.junit, &pages.sarif) {
        bail!("--junit - and --sarif - cannot both be standard output");
    }
    Ok((policy, pages))
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
    for file in &outcome.writeback {
        judge.written_back(file);
    }
    if !writeback::is_seen(&kernel.absent_members()) {
        judge.writeback_unknown();
    }
    let mut gaps = summary.run_gaps();
    gaps.extend(failed(outcome.status()));
    Ok(Judgement::new(policy, judge, gaps, summary.caveats()))
}

/// That the command failed: it may not have come to the requests that matter.
fn failed(status: Option<u8>) -> Option<String> {
    let status = status.filter(|&status| status != 0)?;
    Some(format!("the command ended with status {status}"))
}

/// Judges the ops of a recording.
pub(crate) fn replay<'a>(policy: &'a Policy, recording: &Path) -> Result<Judgement<'a>> {
    let path = recording.display();
    let file = File::open(recording).with_context(|| path.to_string())?;
    judge(policy, BufReader::new(file)).with_context(|| path.to_string())
}

pub(crate) fn judge(policy: &Policy, recording: impl BufRead) -> Result<Judgement<'_>> {
    let mut judge = Judge::new(policy);
    let mut summary = None;
    let (mut old, mut unseen) = (false, false);
    let end = recording::read(recording, |line, _| {
        match line {
            Line::Op(op) => judge.add(&op),
            Line::Summary(last) => summary = Some(*last),
            Line::Header(header) => {
                old = !header.has_writeback();
                unseen = !writeback::is_seen(&header.absent_members);
            }
            Line::Writeback(file) => judge.written_back(&file),
            Line::Device(_) | Line::Step(_) => {}
        }
        Ok(())
    })?;
    let mut gaps = Vec::new();
    let mut caveats = summary.as_ref().map(Summary::caveats).unwrap_or_default();
    match end {
        End::Whole(status) => gaps.extend(failed(status)),
        End::CutOff => gaps.push("the recording was cut off".into()),
    }
    if old || unseen || end == End::CutOff {
        judge.writeback_unknown();
    }
    if old {
        caveats.push(
            "the recording is of an older odio-trace, which did not keep how the command ended"
                .into(),
        );
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
    Ok(Judgement::new(policy, judge, gaps, caveats))
}

/// Says what came of it; the exit status.
///
/// Where standard output is a page's, the text and the workflow commands go to standard error.
///
/// # Errors
///
/// Where standard output is closed.
pub(crate) fn end(judgement: &Judgement<'_>, pages: Pages) -> Result<u8> {
    let Pages {
        junit,
        sarif,
        github,
    } = pages;
    let taken = [&junit, &sarif].into_iter().flatten();
    let taken = taken
        .into_iter()
        .any(|page| matches!(page, Page::StandardOutput));
    let mut said = format!("{judgement}\n");
    if github {
        said += &Commands(judgement).to_string();
    }
    if taken {
        eprint!("{said}");
    } else {
        json::raw(said.as_bytes())?;
    }
    for caveat in &judgement.caveats {
        eprintln!("odio-trace: {}", text::printable_lines(caveat));
    }
    let write = || {
        if let Some(page) = junit {
            page.write(junit::report(judgement).to_string()?.as_bytes())?;
        }
        if let Some(page) = sarif {
            page.write(format!("{:#}\n", sarif::log(judgement)).as_bytes())?;
        }
        anyhow::Ok(())
    };
    match write() {
        Ok(()) => Ok(judgement.verdict().status()),
        Err(error) if error.is::<NobodyReads>() => Err(error),
        Err(error) => {
            eprintln!("odio-trace: the verdicts are not written: {error:#}");
            Ok(cli::USAGE)
        }
    }
}
