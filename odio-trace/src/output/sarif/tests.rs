use serde_json::json;

use super::*;
use crate::{
    output::tests::write,
    policy::{Judge, Policy},
};

/// A rule that is broken twice over, one of which too little was seen, one that holds.
const POLICY: &str = "[[rule]]
name = \"direct, \u{e4}nd <fast>\"
cache = \"buffered\"
latency = { max = \"1ns\" }
[[rule]]
file = \"*.none\"
name = \"seen\"
no_punt = true
[[rule]]
name = \"kept\"
no_punt = true
";

fn log_of(path: &str, gaps: &[&str]) -> Value {
    let policy = Policy::read(POLICY, path.as_ref()).unwrap();
    let mut judge = Judge::new(&policy);
    judge.add(&write());
    let gaps = gaps.iter().map(|&gap| gap.into()).collect();
    log(&Judgement::new(
        &policy,
        judge,
        gaps,
        vec!["a caveat".into()],
    ))
}

/// What the standard requires of the objects used here, and no property that it does not have (SARIF 2.1.0, 3.13 and on).
fn form() -> Value {
    let text = json!({
        "type": "object",
        "required": ["text"],
        "properties": {"text": {"type": "string", "minLength": 1}},
        "additionalProperties": false
    });
    let level = json!({"enum": ["none", "note", "warning", "error"]});
    let object = |required: Value, properties: Value| json!({"type": "object", "required": required, "properties": properties, "additionalProperties": false});
    let many = |items: Value| json!({"type": "array", "items": items});
    let location = object(
        json!(["physicalLocation"]),
        json!({"physicalLocation": object(
            json!(["artifactLocation", "region"]),
            json!({
                "artifactLocation": object(json!(["uri"]), json!({
                    "uri": {"type": "string", "format": "uri-reference", "pattern": "^[!-~]+$"}
                })),
                "region": object(json!(["startLine", "startColumn"]), json!({
                    "startLine": {"type": "integer", "minimum": 1},
                    "startColumn": {"type": "integer", "minimum": 1}
                })),
            }),
        )}),
    );
    let rule = object(
        json!(["id", "shortDescription", "fullDescription", "help"]),
        json!({"id": {"type": "string"}, "shortDescription": text, "fullDescription": text, "help": text}),
    );
    let driver = object(
        json!(["name", "version", "rules"]),
        json!({"name": {"const": "odio-trace"}, "version": {"type": "string"}, "rules": many(rule)}),
    );
    let notification = object(json!(["message"]), json!({"level": level, "message": text}));
    let invocation = object(
        json!(["executionSuccessful"]),
        json!({
            "executionSuccessful": {"type": "boolean"},
            "exitCode": {"type": "integer"},
            "toolExecutionNotifications": many(notification)
        }),
    );
    let result = object(
        json!(["message", "ruleId", "ruleIndex", "level", "locations"]),
        json!({
            "ruleId": {"type": "string"}, "ruleIndex": {"type": "integer", "minimum": 0}, "level": level,
            "message": text, "locations": many(location)
        }),
    );
    let run = object(
        json!(["tool", "results"]),
        json!({
            "tool": object(json!(["driver"]), json!({"driver": driver})),
            "columnKind": {"enum": ["utf16CodeUnits", "unicodeCodePoints"]},
            "invocations": many(invocation),
            "results": many(result)
        }),
    );
    object(
        json!(["version", "runs"]),
        json!({"$schema": {"type": "string"}, "version": {"const": "2.1.0"}, "runs": many(run)}),
    )
}

#[test]
fn it_has_the_form_of_the_standard() {
    let validator = jsonschema::draft202012::new(&form()).unwrap();
    for gaps in [&["3 records lost"][..], &[]] {
        let log = log_of("p.toml", gaps);
        let errors: Vec<_> = validator.iter_errors(&log).map(|e| e.to_string()).collect();
        assert!(errors.is_empty(), "{errors:?}: {log:#}");
    }
}

#[test]
fn each_finding_is_a_result_where_its_rule_is() {
    let log = log_of("policies/p.toml", &[]);
    let run = &log["runs"][0];
    let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
    let ids: Vec<_> = rules
        .iter()
        .map(|rule| rule["id"].as_str().unwrap())
        .collect();
    assert_eq!(ids, ["direct, \u{e4}nd <fast>", "seen", "kept"]);
    assert_eq!(
        rules[0]["fullDescription"]["text"],
        "cache = \"buffered\", latency max = 1ns"
    );
    let results: Vec<_> = run["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|result| {
            let at = &result["locations"][0]["physicalLocation"];
            assert_eq!(at["artifactLocation"]["uri"], "policies/p.toml");
            let region = &at["region"];
            (
                result["level"].as_str().unwrap(),
                result["ruleIndex"].as_u64().unwrap(),
                (
                    region["startLine"].as_u64().unwrap(),
                    region["startColumn"].as_u64().unwrap(),
                ),
                result["message"]["text"]
                    .as_str()
                    .unwrap()
                    .lines()
                    .next()
                    .unwrap(),
            )
        })
        .collect();
    assert_eq!(
        results,
        [
            (
                "error",
                0,
                (2, 8),
                "cache = \"buffered\": 1 ops were direct"
            ),
            ("error", 0, (2, 8), "latency max is 1.50us, the limit 1ns"),
            (
                "warning",
                1,
                (7, 8),
                "0 ops matched; at_least 1 are asked for"
            ),
        ]
    );
    let told = run["results"][0]["message"]["text"].as_str().unwrap();
    for wanted in [
        "\n  the first: write of 4096 bytes",
        "\n  to mend it: open the file without O_DIRECT",
    ] {
        assert!(told.contains(wanted), "{told}");
    }
}

#[test]
fn gaps_of_the_run_are_told_of_its_execution() {
    let of = |gaps: &[&str]| log_of("p.toml", gaps)["runs"][0]["invocations"][0].clone();
    assert_eq!(
        of(&["3 records lost"]),
        json!({"executionSuccessful": false, "exitCode": 1, "toolExecutionNotifications": [
            {"level": "warning", "message": {"text": "3 records lost"}},
            {"level": "note", "message": {"text": "a caveat"}},
        ]})
    );
    assert_eq!(of(&[])["executionSuccessful"], true);
}

#[test]
fn a_path_is_a_uri() {
    for (path, wanted) in [
        ("a/b.toml", "a/b.toml"),
        ("./p.toml", "./p.toml"),
        ("a:b c%\u{e4}.toml", "a%3Ab%20c%25%C3%A4.toml"),
        ("/p.toml", "file:///p.toml"),
    ] {
        assert_eq!(uri(path.as_ref()), wanted);
    }
}
