//! What is wrong with a policy that reads well: rules that ask for nothing, or for what no op could show.

use toml::de::{DeTable, DeValue};

use super::{Policy, Rule};
use crate::filter::Kind;

/// What is wrong, and where: at the name of a rule, or at one of its keys.
pub(super) struct Fault {
    pub(super) offset: usize,
    pub(super) why: String,
}

/// The first fault of a policy, which was read from this text.
pub(super) fn first(policy: &Policy, text: &str) -> Option<Fault> {
    policy.rule.iter().enumerate().find_map(|(i, rule)| {
        let others = &policy.rule[..i];
        let at_name = rule.name.span().start;
        if let Some(why) = of_name(rule, others) {
            let offset = at_name;
            return Some(Fault { offset, why });
        }
        let (key, why) = of_key(rule)?;
        let offset = key_offset(text, i, key).unwrap_or(at_name);
        Some(Fault { offset, why })
    })
}

fn of_name(rule: &Rule, others: &[Rule]) -> Option<String> {
    let name = rule.name();
    if others.iter().any(|other| other.name() == name) {
        return Some(format!("a second rule is called {name:?}"));
    }
    let is_empty = rule.requirements().is_empty() && rule.latency.limits().next().is_none();
    is_empty.then(|| {
        format!(
            "the rule {name:?} requires nothing: give it cache, durable_before_ack, no_fallback, no_punt, \
             never_waits_in_submit, no_writeback or latency"
        )
    })
}

/// The key that is wrong, and why.
fn of_key(rule: &Rule) -> Option<(&'static str, String)> {
    let name = rule.name();
    if rule.at_least == 0 {
        let why = format!("at_least = 0 would let the rule {name:?} pass without any op");
        return Some(("at_least", why));
    }
    if rule.max_len.is_some_and(|max| rule.min_len > Some(max)) {
        let why = format!(
            "no op has the length that the rule {name:?} is for: min_len is more than max_len"
        );
        return Some(("min_len", why));
    }
    let only = |kind| !rule.op.is_empty() && rule.op.iter().all(|op| *op == kind);
    let is_of_moves = "is of reads and writes";
    [
        ("cache", rule.cache.is_some(), Kind::Sync, is_of_moves),
        ("no_fallback", rule.no_fallback, Kind::Sync, is_of_moves),
        (
            "never_waits_in_submit",
            rule.never_waits_in_submit,
            Kind::Sync,
            is_of_moves,
        ),
        (
            "durable_before_ack",
            rule.durable_before_ack,
            Kind::Read,
            "is of writes and syncs",
        ),
    ]
    .into_iter()
    .find(|(_, asked, kind, _)| *asked && only(*kind))
    .map(|(key, _, kind, of)| {
        let kind = match kind {
            Kind::Read => "reads",
            Kind::Write => "writes",
            Kind::Sync => "syncs",
        };
        let why = format!(
            "{key} {of}, and the rule {name:?} is for {kind} alone: nothing would be judged"
        );
        (key, why)
    })
}

/// Where a key of a rule begins.
fn key_offset(text: &str, rule: usize, key: &str) -> Option<usize> {
    let document = DeTable::parse(text).ok()?;
    let DeValue::Array(rules) = document.get_ref().get("rule")?.get_ref() else {
        return None;
    };
    let DeValue::Table(rule) = rules.get(rule)?.get_ref() else {
        return None;
    };
    let (key, _) = rule.get_key_value(key)?;
    Some(key.span().start)
}

#[cfg(test)]
mod tests;
