//! # Policies: what the requests of a workload are held to
//!
//! A policy is a TOML file of rules. A rule says which ops it is for, how many there must be at least, and what is
//! required of each, in the words of the JSON output; it never names a function of the kernel. Ops are judged one by one as
//! they come, from the kernel or from a recording: memory is bounded by the rules, not by the ops.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, anyhow};
use serde::{Deserialize, Deserializer, de::Error as _};
use toml::Spanned;

use crate::{
    filter::{self, Kind},
    glob::Glob,
    op::Op,
    output::latency::readable,
    writeback::Name,
};

mod faults;
mod judge;
mod requirement;

pub(crate) use self::{
    judge::{Finding, Judge, Judged},
    requirement::Requirement,
};

/// Rules, in the order of the file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Policy {
    #[serde(default)]
    rule: Vec<Rule>,
    /// As the user gave it.
    #[serde(skip)]
    path: PathBuf,
}

/// Which ops, how many, and what is required of each.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rule {
    name: Spanned<String>,
    #[serde(skip)]
    place: Position,

    /// Paths; none for any file. As `--file` has them.
    #[serde(default, deserialize_with = "patterns")]
    file: Vec<Glob>,
    /// `read`, `write`, `sync`; none for any.
    #[serde(default, deserialize_with = "one_or_many")]
    op: Vec<Kind>,
    /// Names of threads (`comm`); none for any.
    #[serde(default, deserialize_with = "patterns")]
    process: Vec<Glob>,
    /// Bytes asked for.
    min_len: Option<u64>,
    max_len: Option<u64>,
    /// Fewer ops prove nothing.
    #[serde(default = "one")]
    at_least: u64,

    cache: Option<Cache>,
    #[serde(default)]
    durable_before_ack: bool,
    #[serde(default)]
    no_fallback: bool,
    #[serde(default)]
    no_punt: bool,
    #[serde(default)]
    never_waits_in_submit: bool,
    #[serde(default)]
    no_writeback: bool,
    #[serde(default)]
    latency: Latency,
}

/// Where in the policy a rule has its name: line and column, each from 1; a column is a character.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

/// The way past or through the page cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Cache {
    Direct,
    Buffered,
}

/// Longest times, of all matching ops together.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Latency {
    #[serde(default, deserialize_with = "time")]
    p50: Option<Duration>,
    #[serde(default, deserialize_with = "time")]
    p90: Option<Duration>,
    #[serde(default, deserialize_with = "time")]
    p99: Option<Duration>,
    #[serde(default, rename = "p99.9", deserialize_with = "time")]
    p999: Option<Duration>,
    #[serde(default, deserialize_with = "time")]
    max: Option<Duration>,
}

impl Latency {
    /// Each limit with its name and the share of ops that must not exceed it.
    fn limits(&self) -> impl Iterator<Item = (&'static str, f64, Duration)> {
        [
            ("p50", 0.5, self.p50),
            ("p90", 0.9, self.p90),
            ("p99", 0.99, self.p99),
            ("p99.9", 0.999, self.p999),
            ("max", 1.0, self.max),
        ]
        .into_iter()
        .filter_map(|(name, share, limit)| limit.map(|limit| (name, share, limit)))
    }
}

impl Policy {
    /// Reads a policy; `path` is what errors call it.
    pub(crate) fn read(text: &str, path: &Path) -> Result<Self> {
        let shown = path.display();
        let at = |offset: usize, why: &str| {
            let Position { line, column } = place(text, offset);
            anyhow!("{shown}:{line}:{column}: {why}")
        };
        let mut policy: Self = toml::from_str(text).map_err(|error| {
            // Of several lines the first says what is wrong.
            let why = error.message().lines().next().unwrap_or_default();
            at(error.span().map_or(0, |span| span.start), why)
        })?;
        if policy.rule.is_empty() {
            return Err(anyhow!(
                "{shown}: there is no [[rule]], so nothing would be judged"
            ));
        }
        if let Some(fault) = faults::first(&policy, text) {
            return Err(at(fault.offset, &fault.why));
        }
        for rule in &mut policy.rule {
            rule.place = place(text, rule.name.span().start);
        }
        policy.path = path.to_owned();
        Ok(policy)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The rules.
    pub(crate) fn rules(&self) -> &[Rule] {
        &self.rule
    }
}

fn place(text: &str, offset: usize) -> Position {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let start = before.rfind('\n').map_or(0, |at| at + 1);
    Position {
        line,
        column: before[start..].chars().count() + 1,
    }
}

/// Whether a rule is for an op.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Match {
    Yes,
    No,
    /// The op's file has no name, or too little of one, and all else fits.
    Unnamed,
}

impl Rule {
    pub(crate) fn name(&self) -> &str {
        self.name.get_ref()
    }

    pub(crate) fn place(&self) -> Position {
        self.place
    }

    pub(crate) fn matches(&self, op: &Op) -> Match {
        let kind = filter::kind(op);
        if !(self.op.is_empty() || self.op.contains(&kind))
            || !any(&self.process, op.comm.text().as_bytes())
            || self.min_len.is_some_and(|min| op.len < min)
            || self.max_len.is_some_and(|max| op.len > max)
        {
            return Match::No;
        }
        match filter::name(op) {
            _ if self.file.is_empty() => Match::Yes,
            None => Match::Unnamed,
            Some(name) => match filter::fits(&self.file, name) {
                Some(true) => Match::Yes,
                Some(false) => Match::No,
                None => Match::Unnamed,
            },
        }
    }

    /// Whether a file of these names is one that the rule is for.
    pub(crate) fn is_for(&self, names: &[Name]) -> Match {
        let told: Vec<_> = names
            .iter()
            .map(|name| filter::fits(&self.file, name.bytes()))
            .collect();
        if self.file.is_empty() || told.contains(&Some(true)) {
            Match::Yes
        } else if told.is_empty() || told.contains(&None) {
            Match::Unnamed
        } else {
            Match::No
        }
    }

    /// All that it requires, in the words of the policy.
    pub(crate) fn words(&self) -> String {
        let requirements = self.requirements().into_iter().map(|r| r.to_string());
        let limits = self.latency.limits().map(|(name, _, limit)| {
            let limit = u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX);
            format!("latency {name} = {}", readable(limit))
        });
        requirements.chain(limits).collect::<Vec<_>>().join(", ")
    }

    /// What is required of each op.
    pub(crate) fn requirements(&self) -> Vec<Requirement> {
        let asked = |asked: bool, requirement| asked.then_some(requirement);
        [
            self.cache.map(Requirement::Cache),
            asked(self.durable_before_ack, Requirement::DurableBeforeAck),
            asked(self.no_fallback, Requirement::NoFallback),
            asked(self.no_punt, Requirement::NoPunt),
            asked(self.never_waits_in_submit, Requirement::NeverWaitsInSubmit),
            asked(self.no_writeback, Requirement::NoWriteback),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

/// No pattern fits anything.
fn any(globs: &[Glob], text: &[u8]) -> bool {
    globs.is_empty() || globs.iter().any(|glob| glob.fits(text))
}

fn one() -> u64 {
    1
}

/// A list, or the one thing that would be in it.
fn one_or_many<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    from: D,
) -> Result<Vec<T>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMany<T> {
        One(T),
        Many(Vec<T>),
    }
    Ok(match OneOrMany::deserialize(from)? {
        OneOrMany::One(one) => vec![one],
        OneOrMany::Many(many) => many,
    })
}

fn patterns<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Glob>, D::Error> {
    one_or_many::<_, String>(from)?
        .iter()
        .map(|text| Glob::new(text.as_bytes()).with_context(|| format!("{text:?}")))
        .collect::<Result<_>>()
        .map_err(|error| D::Error::custom(format!("{error:#}")))
}

fn time<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(from)?;
    filter::duration(&text).map(Some).map_err(D::Error::custom)
}

#[cfg(test)]
mod tests;
