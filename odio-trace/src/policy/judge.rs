//! Ops held against the rules, one by one, and what comes of it.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Match, Policy, Requirement, Rule,
    requirement::{Held, NO_WRITEBACK_FIX},
};
use crate::{
    check::Verdict,
    op::Op,
    output::{
        by_path,
        latency::{Times, readable},
    },
    writeback::Writeback,
};

/// Ways of breaking a rule that are told apart. Past that a person reads none of them, and memory has an end.
const MOST: usize = 64;

/// One thing that keeps a rule from a PASS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// FAIL where the rule was broken, INCONCLUSIVE where it may have been.
    pub(crate) verdict: Verdict,
    pub(crate) what: String,
    /// The first op that was so, and of whom it was.
    pub(crate) first: Option<String>,
    /// What would mend it.
    pub(crate) fix: Option<&'static str>,
}

impl Finding {
    fn broken(what: String) -> Self {
        Self {
            verdict: Verdict::Fail,
            what,
            first: None,
            fix: None,
        }
    }

    fn doubt(what: String) -> Self {
        Self {
            verdict: Verdict::Inconclusive,
            ..Self::broken(what)
        }
    }
}

/// What one rule came to.
#[derive(Debug)]
pub(crate) struct Judged<'a> {
    pub(crate) rule: &'a Rule,
    /// Ops that the rule is for and that did not fail.
    pub(crate) ops: u64,
    pub(crate) findings: Vec<Finding>,
}

impl Judged<'_> {
    /// The worst of what was found.
    pub(crate) fn verdict(&self) -> Verdict {
        let findings = self.findings.iter().map(|finding| finding.verdict);
        findings.max().unwrap_or(Verdict::Pass)
    }
}

/// Ops that broke one requirement in the same way, on one file.
struct Violation {
    requirement: Requirement,
    ops: u64,
    /// What the first of them was, and of whom.
    first: String,
    /// What was seen of them.
    seen: String,
    fix: &'static str,
}

/// The rules, and what was seen of each.
pub(crate) struct Judge<'a> {
    rules: Vec<Account<'a>>,
}

struct Account<'a> {
    rule: &'a Rule,
    requirements: Vec<Requirement>,
    ops: u64,
    /// Ops that failed: what was not acknowledged keeps no promise and breaks none.
    failed: u64,
    unnamed: u64,
    violations: BTreeMap<(Requirement, String, String), Violation>,
    others: u64,
    not_seen: BTreeMap<Requirement, u64>,
    /// Findings that files were written back, and how many more files were.
    written_back: Vec<Finding>,
    more_written_back: u64,
    /// Files without a name that were written back.
    unnamed_files: u64,
    /// It is not known what was written back.
    writeback_unknown: bool,
    /// Requirements that said something of an op.
    asked: BTreeSet<Requirement>,
    times: Times,
    /// Ops of which the time is not known.
    untimed: u64,
}

impl<'a> Judge<'a> {
    pub(crate) fn new(policy: &'a Policy) -> Self {
        let account = |rule: &'a Rule| Account {
            rule,
            requirements: rule.requirements(),
            ops: 0,
            failed: 0,
            unnamed: 0,
            violations: BTreeMap::new(),
            others: 0,
            not_seen: BTreeMap::new(),
            written_back: Vec::new(),
            more_written_back: 0,
            unnamed_files: 0,
            writeback_unknown: false,
            asked: BTreeSet::new(),
            times: Times::default(),
            untimed: 0,
        };
        Self {
            rules: policy.rules().iter().map(account).collect(),
        }
    }

    /// Holds an op against every rule that is for it.
    pub(crate) fn add(&mut self, op: &Op) {
        for account in &mut self.rules {
            match account.rule.matches(op) {
                Match::No => {}
                Match::Unnamed => account.unnamed += 1,
                Match::Yes => account.add(op),
            }
        }
    }

    /// Holds what was written back of a file against every rule that is for it.
    pub(crate) fn written_back(&mut self, file: &Writeback) {
        for account in self.of_files() {
            match account.rule.is_for(&file.names) {
                Match::No => {}
                Match::Unnamed => account.unnamed_files += 1,
                Match::Yes => account.written_back(file),
            }
        }
    }

    /// Nobody can say what was written back.
    pub(crate) fn writeback_unknown(&mut self) {
        for account in self.of_files() {
            account.writeback_unknown = true;
        }
    }

    fn of_files(&mut self) -> impl Iterator<Item = &mut Account<'a>> {
        let asks =
            |account: &&mut Account<'a>| account.requirements.contains(&Requirement::NoWriteback);
        self.rules.iter_mut().filter(asks)
    }

    /// What each rule came to.
    pub(crate) fn end(self) -> Vec<Judged<'a>> {
        self.rules.into_iter().map(Account::end).collect()
    }
}

impl<'a> Account<'a> {
    fn add(&mut self, op: &Op) {
        if op.acknowledged && op.result < 0 {
            self.failed += 1;
            return;
        }
        self.ops += 1;
        if op.acknowledged {
            self.times.add(op.latency_ns);
        } else {
            self.untimed += 1;
        }
        for &requirement in &self.requirements {
            let held = requirement.hold(op);
            if held.is_some() {
                self.asked.insert(requirement);
            }
            match held {
                None | Some(Held::Kept) => {}
                Some(Held::NotSeen) => *self.not_seen.entry(requirement).or_default() += 1,
                Some(Held::Broken) => {
                    let seen = requirement.seen(op);
                    let way = (requirement, by_path::file(op), seen.clone());
                    let full = self.violations.len() >= MOST;
                    match self.violations.get_mut(&way) {
                        Some(violation) => violation.ops += 1,
                        None if full => self.others += 1,
                        None => {
                            let violation = Violation {
                                requirement,
                                ops: 1,
                                first: describe(op),
                                seen,
                                fix: requirement.fix(op),
                            };
                            self.violations.insert(way, violation);
                        }
                    }
                }
            }
        }
    }

    fn written_back(&mut self, file: &Writeback) {
        if self.written_back.len() >= MOST {
            self.more_written_back += 1;
            return;
        }
        let name = match file.names.first() {
            Some(name) => name.file.clone(),
            None => format!("a file without a name on {}", file.dev),
        };
        self.written_back.push(Finding {
            fix: Some(NO_WRITEBACK_FIX),
            ..Finding::broken(format!(
                "{}: {name} was written back: {} bios with {} bytes, {} of them inside requests",
                Requirement::NoWriteback,
                file.bios,
                file.bytes,
                file.bios_in_ops
            ))
        });
    }

    fn end(self) -> Judged<'a> {
        let counted = |n: u64, what: &str| (n > 0).then(|| format!("{n} {what}"));
        let mut findings: Vec<Finding> = self
            .violations
            .into_values()
            .map(|violation| Finding {
                first: Some(violation.first),
                fix: Some(violation.fix),
                ..Finding::broken(format!(
                    "{}: {} ops were {}",
                    violation.requirement, violation.ops, violation.seen
                ))
            })
            .collect();
        findings.extend(counted(self.others, "ops broke it in further ways").map(Finding::broken));
        findings.extend(self.written_back);
        let more = counted(self.more_written_back, "more files were written back");
        findings.extend(more.map(Finding::broken));
        for (name, share, limit) in self.rule.latency.limits() {
            let took = if share < 1.0 {
                self.times.quantile(share)
            } else {
                self.times.max()
            };
            if u128::from(took) > limit.as_nanos() {
                let limit = u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX);
                findings.push(Finding::broken(format!(
                    "latency {name} is {}, the limit {}",
                    readable(took),
                    readable(limit)
                )));
            }
        }
        let mut doubts = Vec::new();
        if self.rule.latency.limits().next().is_some() {
            doubts.extend(counted(
                self.untimed,
                "ops whose end was not seen have no latency",
            ));
        }
        if self.ops < self.rule.at_least {
            let failed = match self.failed {
                0 => String::new(),
                n => format!(" and {n} more failed, which prove nothing"),
            };
            doubts.push(format!(
                "{} ops matched{failed}; at_least {} are asked for",
                self.ops, self.rule.at_least
            ));
        }
        for requirement in &self.requirements {
            let of_files = *requirement == Requirement::NoWriteback;
            if self.ops > 0 && !of_files && !self.asked.contains(requirement) {
                doubts.push(format!("{requirement}: no op was one that it is about"));
            }
        }
        doubts.extend(counted(
            self.unnamed,
            "ops may be the rule's: the name of their file was not seen whole",
        ));
        for (requirement, n) in &self.not_seen {
            doubts.push(format!(
                "{requirement}: not seen of {n} ops whether it holds"
            ));
        }
        doubts.extend(counted(
            self.unnamed_files,
            "files were written back that may be the rule's: their names were not seen whole",
        ));
        if self.writeback_unknown {
            doubts.push(format!(
                "{}: what was written back was not seen on this kernel, or is not in the recording",
                Requirement::NoWriteback
            ));
        }
        findings.extend(doubts.into_iter().map(Finding::doubt));
        Judged {
            rule: self.rule,
            ops: self.ops,
            findings,
        }
    }
}

/// The op and its path, in a line.
fn describe(op: &Op) -> String {
    let what = match op.op {
        "sync" => "sync".into(),
        other => format!("{other} of {} bytes at {}", op.len, op.offset),
    };
    format!(
        "{what} of {}, {} {}, by {} (pid {}): {} bios, {} FUA, {} flushes, {} fsyncs, {} commits, result {}",
        by_path::file(op),
        op.engine,
        op.mode,
        op.comm.text(),
        op.pid,
        op.bios,
        op.fua,
        op.flushes,
        by_path::fsyncs(op),
        op.commits,
        op.result,
    )
}
