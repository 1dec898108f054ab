//! How a run ended: what was lost, what was not seen, and whether that leaves it conclusive.

use std::collections::BTreeMap;

use odio_trace_common::{Hook, Loss};
use serde::{Deserialize, Serialize};

use super::by_file::Tally;
use crate::{
    plan::{Missing, Probe},
    unwatched::Unwatched,
    workload::Outcome,
};

/// The last line of a run, for programs; the same is kept in a recording. Field names are the ones of the JSON output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Summary {
    #[serde(rename = "type")]
    kind: Kind,
    /// The workload that was started; null where what ran already was traced.
    pub(crate) pid: Option<u32>,
    /// Ops that were shown.
    pub(crate) ops: u64,
    /// Ops that were left out because they were not asked for.
    pub(crate) filtered: u64,
    /// Records that did not arrive, or could not be made.
    pub(crate) lost: u64,
    /// Ops whose end was not seen, and what probes did not see.
    pub(crate) missed: u64,
    /// Write and flush bios that belong to no op.
    pub(crate) unattributed: u64,
    /// Requests left out because they may have begun before the tracing.
    pub(crate) begun_before: u64,
    /// Processes of the workload that went on, untraced, when it had ended.
    #[serde(default)]
    pub(crate) left_running: u64,
    /// Every counted loss by its words.
    pub(crate) losses: BTreeMap<String, u64>,
    /// Probes whose misses this kernel does not count, or does not tell.
    pub(crate) uncounted: Vec<String>,
    /// What was not calibrated, and why.
    pub(crate) uncalibrated: Vec<String>,
    /// Ops that were open at the end.
    pub(crate) open: u64,
    pub(crate) probes: Vec<Attached>,
    pub(crate) missing: Vec<Unseen>,
    /// Filesystems without a probe of which files were opened.
    #[serde(default)]
    pub(crate) unwatched: Vec<Unwatched>,
    /// Hits of each hook by process.
    pub(crate) processes: BTreeMap<String, BTreeMap<String, u64>>,
    /// What of the run was lost or not seen, in few words each; empty where all was seen.
    pub(crate) gaps: Vec<String>,
}

const INTERRUPTED: &str = "the tracer was stopped before the command ended";

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    #[default]
    Summary,
}

/// A probe that was in place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Attached {
    pub(crate) hook: String,
    pub(crate) kind: String,
    pub(crate) target: String,
    /// How often its hook fired, through this probe or another.
    pub(crate) hook_hits: u64,
}

/// A hook that was not watched whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Unseen {
    pub(crate) hook: String,
    pub(crate) why: String,
    pub(crate) costs: String,
}

impl From<&Missing> for Unseen {
    fn from(missing: &Missing) -> Self {
        Self {
            hook: missing.hook.name().into(),
            why: missing.why.clone(),
            costs: missing.costs.into(),
        }
    }
}

impl Unseen {
    /// That the compiler inlined `dio_await_completion` is true nearly everywhere and changes no verdict; `doctor`
    /// tells it.
    fn is_told(&self) -> bool {
        self.hook != Hook::DioAwait.name()
    }

    /// Whether requests, or facts of them, may be missing without a sign. What these hooks show is in no
    /// verdict, or of one filesystem or of FUA alone, whose ops then are of unknown durability and counted as that.
    fn is_silent(&self) -> bool {
        const SHOWS_IN_ITS_OPS: [Hook; 9] = [
            Hook::DioAwait,
            Hook::DataEnd,
            Hook::FuaIssue,
            Hook::CommitWait,
            Hook::CommitRun,
            Hook::LogForce,
            Hook::LogWait,
            Hook::Checksum,
            Hook::UringRwComplete,
        ];
        !SHOWS_IN_ITS_OPS.iter().any(|hook| hook.name() == self.hook)
    }
}

impl Summary {
    /// `total` is all that was counted of the ops, `None` where nobody counted.
    pub(crate) fn of(outcome: &Outcome, total: Option<&Tally>) -> Self {
        let account = &outcome.account;
        let mut hits: BTreeMap<Hook, u64> = BTreeMap::new();
        let mut processes: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
        for (&(hook, pid), &n) in &account.hits {
            *hits.entry(hook).or_default() += n;
            processes
                .entry(pid.to_string())
                .or_default()
                .insert(hook.name().into(), n);
        }
        let attached = |probe: &Probe| Attached {
            hook: probe.hook.name().into(),
            kind: probe.kind.name().into(),
            target: probe.target.clone(),
            hook_hits: hits.get(&probe.hook).copied().unwrap_or(0),
        };
        let counted = account.losses.iter().map(|(l, n)| (l.words(), n));
        let missed = account.missed.iter().map(|(words, n)| (words.as_str(), n));
        // Probes of one hook miss in the same words.
        let mut losses: BTreeMap<String, u64> = BTreeMap::new();
        for (words, n) in counted.chain(missed) {
            *losses.entry(words.to_owned()).or_default() += n;
        }
        let mut summary = Self {
            kind: Kind::Summary,
            pid: outcome.pid,
            ops: outcome.ops,
            filtered: outcome.filtered,
            begun_before: account.of(Loss::BegunBefore),
            left_running: outcome.left,
            lost: account
                .losses
                .iter()
                .filter(|(l, _)| {
                    !matches!(
                        l,
                        Loss::EndMissed
                            | Loss::BioUnattributed
                            | Loss::BegunBefore
                            // No verdict rests on steps.
                            | Loss::StepRingFull
                    )
                })
                .map(|(_, n)| n)
                .sum(),
            missed: account.of(Loss::EndMissed)
                + account.open
                + account.missed.iter().map(|(_, n)| n).sum::<u64>(),
            unattributed: account.of(Loss::BioUnattributed),
            losses,
            uncounted: account.uncounted.clone(),
            uncalibrated: account.uncalibrated.clone(),
            open: account.open,
            probes: outcome.attached.iter().map(attached).collect(),
            missing: outcome.missing.iter().map(Unseen::from).collect(),
            unwatched: account.unwatched.clone(),
            processes,
            gaps: Vec::new(),
        };
        summary.gaps = summary.find_gaps(outcome.pid.is_some() && outcome.status.is_none(), total);
        summary
    }

    fn find_gaps(&self, interrupted: bool, total: Option<&Tally>) -> Vec<String> {
        let counted = |n: u64, one: &str, many: &str| {
            (n > 0).then(|| format!("{n} {}", if n == 1 { one } else { many }))
        };
        let mut gaps: Vec<String> = [
            counted(self.lost, "record lost", "records lost"),
            counted(self.missed, "end or hit missed", "ends or hits missed"),
            counted(self.unattributed, "bio of no op", "bios of no op"),
            counted(
                self.begun_before,
                "request left out that may have begun before",
                "requests left out that may have begun before",
            ),
            counted(
                self.left_running,
                "process of the command went on untraced when it had ended",
                "processes of the command went on untraced when it had ended",
            ),
        ]
        .into_iter()
        .flatten()
        .collect();
        for Unwatched { fs, opens } in &self.unwatched {
            let files = if *opens == 1 { "file" } else { "files" };
            gaps.push(format!(
                "{opens} {files} opened on {fs}, whose requests are not watched"
            ));
        }
        if interrupted {
            gaps.push(INTERRUPTED.into());
        }
        let mut hooks: Vec<&str> = Vec::new();
        for missing in self.missing.iter().filter(|m| m.is_silent()) {
            if !hooks.contains(&missing.hook.as_str()) {
                hooks.push(&missing.hook);
            }
        }
        gaps.extend(counted(
            hooks.len() as u64,
            "hook not watched whole",
            "hooks not watched whole",
        ));
        if let Some(total) = total {
            gaps.extend(counted(
                total.unknown(),
                "write or sync of unknown durability",
                "writes and syncs of unknown durability",
            ));
            gaps.extend(counted(
                total.cache.of("not seen"),
                "read or write whose way past the page cache was not seen",
                "reads and writes whose way past the page cache was not seen",
            ));
        }
        gaps
    }

    /// The gaps that no op tells of by itself: all but ops whose durability or way was not seen.
    pub(crate) fn run_gaps(&self) -> Vec<String> {
        self.find_gaps(self.gaps.iter().any(|gap| gap == INTERRUPTED), None)
    }

    /// The line on the run itself: `all seen`, or what makes it inconclusive.
    pub(crate) fn verdict(&self) -> String {
        if !self.gaps.is_empty() {
            format!("INCONCLUSIVE: {}", self.gaps.join(", "))
        } else if self.ops == 0 {
            "no request was seen, and nothing was lost".into()
        } else if self.uncounted.is_empty() && self.uncalibrated.is_empty() {
            "all seen".into()
        } else {
            format!(
                "all seen, as far as can be told: {} not counted, {} not calibrated",
                self.uncounted.len(),
                self.uncalibrated.len()
            )
        }
    }

    /// What a person must know of the run itself; empty where all was seen.
    pub(crate) fn caveats(&self) -> Vec<String> {
        let mut lines: Vec<String> = self
            .losses
            .iter()
            .map(|(loss, n)| format!("{n} {loss}"))
            .collect();
        if !self.uncounted.is_empty() {
            lines.push(format!(
                "this kernel does not count what these miss: {}",
                self.uncounted.join(", ")
            ));
        }
        lines.extend(self.uncalibrated.iter().cloned());
        if self.open > 0 {
            lines.push(format!("{} ops were still open at the end", self.open));
        }
        lines.extend(unseen(self.missing.iter().filter(|m| m.is_told())));
        lines
    }

    /// The counts in one line.
    pub(crate) fn counts(&self) -> String {
        format!(
            "{} ops,{} {} lost,{} {} missed, {} unattributed bios, {} probes",
            self.ops,
            match self.filtered {
                0 => String::new(),
                n => format!(" {n} filtered out,"),
            },
            self.lost,
            match self.losses.get(Loss::StepRingFull.words()) {
                None => String::new(),
                Some(n) => format!(" {n} steps lost,"),
            },
            self.missed,
            self.unattributed,
            self.probes.len(),
        )
    }
}

/// What is not seen here: each reason once, and under it each cost with the hooks it comes from.
pub(crate) fn unseen<'a>(missing: impl Iterator<Item = &'a Unseen>) -> Vec<String> {
    type Costs<'a> = Vec<(&'a str, Vec<&'a str>)>;
    let mut reasons: Vec<(&str, Costs<'_>)> = Vec::new();
    for m in missing {
        let costs = entry(&mut reasons, m.why.as_str());
        entry(costs, m.costs.as_str()).push(&m.hook);
    }
    reasons
        .into_iter()
        .map(|(why, costs)| {
            let costs: Vec<String> = costs
                .into_iter()
                .map(|(costs, hooks)| format!("\n  {}: {costs}", hooks.join(", ")))
                .collect();
            format!("{why}; not seen for that:{}", costs.concat())
        })
        .collect()
}

/// The value of `key`, in the order in which keys first came.
fn entry<'a, 'b, T: Default>(list: &'a mut Vec<(&'b str, T)>, key: &'b str) -> &'a mut T {
    let at = list.iter().position(|(k, _)| *k == key).unwrap_or_else(|| {
        list.push((key, T::default()));
        list.len() - 1
    });
    &mut list[at].1
}
