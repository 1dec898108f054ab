//! What a policy came to as SARIF 2.1.0: the policy's rules, and a result for each finding at the place of its rule, so
//! that code scanning shows it in the policy.

use std::{os::unix::ffi::OsStrExt, path::Path};

use serde_json::{Value, json};

use super::{
    judgement::{Judgement, lines_of},
    text::{printable, printable_lines},
};
use crate::{
    check::Verdict,
    policy::{Finding, Judged, Rule},
};

/// The file. What is broken is an error there, what is INCONCLUSIVE a warning. What was lost or not seen of the run
/// itself are notifications, and its execution was not successful then.
pub(crate) fn log(judgement: &Judgement<'_>) -> Value {
    let results: Vec<Value> = judgement
        .rules
        .iter()
        .enumerate()
        .flat_map(|(i, judged)| {
            let of = move |finding| result(judgement.policy, i, judged, finding);
            judged.findings.iter().map(of)
        })
        .collect();
    let rules: Vec<Value> = judgement.rules.iter().map(|j| rule(j.rule)).collect();
    let told = |level: &'static str| move |text: &String| json!({"level": level, "message": {"text": printable_lines(text)}});
    let gaps = judgement.gaps.iter().map(told("warning"));
    let caveats = judgement.caveats.iter().map(told("note"));
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "odio-trace",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules,
            }},
            "columnKind": "unicodeCodePoints",
            "invocations": [{
                "executionSuccessful": judgement.of_run() == Verdict::Pass,
                "exitCode": judgement.verdict().status(),
                "toolExecutionNotifications": gaps.chain(caveats).collect::<Vec<_>>(),
            }],
            "results": results,
        }],
    })
}

fn rule(rule: &Rule) -> Value {
    let name = printable(rule.name());
    json!({
        "id": name,
        "shortDescription": {"text": name},
        "fullDescription": {"text": rule.words()},
        "help": {"text": "Each result says what was seen, of which request first, and what would mend it."},
    })
}

fn result(policy: &Path, index: usize, judged: &Judged<'_>, finding: &Finding) -> Value {
    let place = judged.rule.place();
    json!({
        "ruleId": printable(judged.rule.name()),
        "ruleIndex": index,
        "level": match finding.verdict {
            Verdict::Fail => "error",
            Verdict::Inconclusive => "warning",
            Verdict::Pass => "note",
        },
        "message": {"text": lines_of(finding).join("\n")},
        "locations": [{"physicalLocation": {
            "artifactLocation": {"uri": uri(policy)},
            "region": {"startLine": place.line, "startColumn": place.column},
        }}],
    })
}

/// A path as a URI reference (RFC 3986): relative where the path is.
fn uri(path: &Path) -> String {
    let mut uri = String::from(if path.is_absolute() { "file://" } else { "" });
    for &byte in path.as_os_str().as_bytes() {
        match byte {
            b'/' | b'-' | b'.' | b'_' | b'~' => uri.push(byte.into()),
            _ if byte.is_ascii_alphanumeric() => uri.push(byte.into()),
            _ => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri
}

#[cfg(test)]
mod tests;
