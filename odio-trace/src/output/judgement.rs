//! What a policy came to, for a person.

use std::fmt;

use super::text::printable;
use crate::{check::Verdict, policy::Judged};

/// What every rule came to, and what of the run was lost or not seen.
pub(crate) struct Judgement<'a> {
    pub(crate) rules: Vec<Judged<'a>>,
    /// Empty where the run was seen whole.
    pub(crate) gaps: Vec<String>,
    /// What else a person must know of the run.
    pub(crate) caveats: Vec<String>,
}

impl<'a> Judgement<'a> {
    pub(crate) fn new(rules: Vec<Judged<'a>>, gaps: Vec<String>, caveats: Vec<String>) -> Self {
        Self {
            rules,
            gaps,
            caveats,
        }
    }

    /// A rule that was broken is broken whatever was not seen; else what was not seen may have broken one.
    pub(crate) fn verdict(&self) -> Verdict {
        let rules = self.rules.iter().map(|rule| rule.verdict);
        let worst = rules.max().unwrap_or(Verdict::Inconclusive);
        if self.gaps.is_empty() {
            worst
        } else {
            worst.max(Verdict::Inconclusive)
        }
    }
}

/// What there is to say of a rule beside its verdict, a line each.
pub(crate) fn lines(judged: &Judged<'_>) -> Vec<String> {
    let mut lines = Vec::new();
    for violation in &judged.violations {
        lines.push(format!(
            "{}: {} ops were {}",
            violation.requirement, violation.ops, violation.seen
        ));
        lines.push(format!("  the first: {}", violation.first));
        lines.push(format!("  to mend it: {}", violation.fix));
    }
    if judged.others > 0 {
        lines.push(format!("{} ops broke it in further ways", judged.others));
    }
    lines.extend(judged.slow.iter().cloned());
    lines.extend(judged.doubts.iter().cloned());
    lines.iter().map(|line| printable(line)).collect()
}

impl fmt::Display for Judgement<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for judged in &self.rules {
            writeln!(
                f,
                "{:<12} {} ({} ops)",
                judged.verdict.name(),
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
            .filter(|rule| rule.verdict == Verdict::Fail);
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
