//! What a policy came to: what every format reads, and the text for a person.

use std::{fmt, path::Path};

use super::text::printable;
use crate::{
    check::Verdict,
    policy::{Finding, Judge, Judged, Policy},
};

/// What every rule came to, and what of the run was lost or not seen.
pub(crate) struct Judgement<'a> {
    /// The policy's file, as the user gave it.
    pub(crate) policy: &'a Path,
    pub(crate) rules: Vec<Judged<'a>>,
    /// Empty where the run was seen whole.
    pub(crate) gaps: Vec<String>,
    /// What else a person must know of the run.
    pub(crate) caveats: Vec<String>,
}

impl<'a> Judgement<'a> {
    pub(crate) fn new(
        policy: &'a Policy,
        judge: Judge<'a>,
        gaps: Vec<String>,
        caveats: Vec<String>,
    ) -> Self {
        Self {
            policy: policy.path(),
            rules: judge.end(),
            gaps,
            caveats,
        }
    }

    /// What the run itself comes to: PASS where it was seen whole.
    pub(crate) fn of_run(&self) -> Verdict {
        if self.gaps.is_empty() {
            Verdict::Pass
        } else {
            Verdict::Inconclusive
        }
    }

    /// A rule that was broken is broken whatever was not seen; else what was not seen may have broken one.
    pub(crate) fn verdict(&self) -> Verdict {
        let rules = self.rules.iter().map(Judged::verdict);
        let worst = rules.max().unwrap_or(Verdict::Inconclusive);
        worst.max(self.of_run())
    }
}

/// What there is to say of a rule beside its verdict, a line each.
pub(crate) fn lines(judged: &Judged<'_>) -> Vec<String> {
    judged.findings.iter().flat_map(lines_of).collect()
}

/// What was found, a line each.
pub(crate) fn lines_of(finding: &Finding) -> Vec<String> {
    let first = finding.first.iter().map(|op| format!("  the first: {op}"));
    let fix = finding.fix.iter().map(|fix| format!("  to mend it: {fix}"));
    let lines = std::iter::once(finding.what.clone())
        .chain(first)
        .chain(fix);
    lines.map(|line| printable(&line)).collect()
}

impl fmt::Display for Judgement<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for judged in &self.rules {
            writeln!(
                f,
                "{:<12} {} ({} ops)",
                judged.verdict().name(),
                printable(judged.rule.name()),
                judged.ops
            )?;
            for line in lines(judged) {
                writeln!(f, "             {line}")?;
            }
        }
        write!(f, "{}", self.verdict().name())?;
        let broken = self
            .rules
            .iter()
            .filter(|rule| rule.verdict() == Verdict::Fail);
        match broken.count() {
            0 => {}
            n => write!(f, ": {n} of {} rules broken", self.rules.len())?,
        }
        if !self.gaps.is_empty() {
            write!(
                f,
                "; of the run itself: {}",
                printable(&self.gaps.join(", "))
            )?;
        }
        Ok(())
    }
}
