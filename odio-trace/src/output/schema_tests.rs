//! Every kind of line against the published schema.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{
    json::SCHEMA,
    summary::Summary,
    tests::{outcome, write},
};
use crate::{op::Op, session::Account, workload::Outcome};

fn schema() -> Value {
    serde_json::from_str(SCHEMA).expect("the schema is JSON")
}

/// Panics where a line is not as the schema says.
pub(crate) fn holds(line: &Value) {
    let validator = jsonschema::draft202012::new(&schema()).expect("the schema is one");
    let errors: Vec<String> = validator
        .iter_errors(line)
        .map(|error| error.to_string())
        .collect();
    assert!(errors.is_empty(), "{errors:?}: {line}");
    described(line);
}

fn refuses(line: &Value) {
    let validator = jsonschema::draft202012::new(&schema()).expect("the schema is one");
    assert!(!validator.is_valid(line), "{line}");
}

/// Further fields are allowed, so that a reader of an older schema is not stopped; the ones that this version writes
/// must all be described.
fn described(line: &Value) {
    let schema = schema();
    let of = |name: &str| -> BTreeSet<String> {
        schema["$defs"][name]["properties"]
            .as_object()
            .into_iter()
            .flat_map(|properties| properties.keys().cloned())
            .collect()
    };
    let kind = line["type"].as_str().expect("a type");
    let mut known = of(kind);
    if matches!(kind, "op" | "row") {
        known.extend(of("op_fields"));
    }
    for field in line.as_object().expect("an object").keys() {
        assert!(known.contains(field), "{kind}.{field} is not in the schema");
    }
}

fn value(line: &impl serde::Serialize) -> Value {
    serde_json::to_value(line).expect("JSON")
}

#[test]
fn it_is_a_schema_of_its_draft() {
    assert_eq!(
        schema()["$schema"],
        "https://json-schema.org/draft/2020-12/schema"
    );
    jsonschema::meta::validate(&schema()).expect("a schema");
}

#[test]
fn ops_are_as_described() {
    holds(&value(&write()));
    let unseen = Op {
        file: None,
        cache: None,
        completion: None,
        metadata: None,
        durability: None,
        result: -22,
        submit_ns: Some(1),
        device_ns: Some(2),
        sync_ns: Some(3),
        ..write()
    };
    holds(&value(&unseen));
}

#[test]
fn what_departs_is_refused() {
    let op = value(&write());
    for field in op.as_object().unwrap().keys() {
        let mut without = op.clone();
        without.as_object_mut().unwrap().remove(field);
        refuses(&without);
    }
    for (field, wrong) in [
        ("type", json!("opp")),
        ("durability", json!("safe")),
        ("cache", json!("")),
        ("pid", json!(-1)),
        ("latency_ns", json!(1.5)),
        ("dev", json!("sda")),
    ] {
        let mut changed = op.clone();
        changed[field] = wrong;
        refuses(&changed);
    }
    let mut more = op;
    more["new"] = json!(1);
    let validator = jsonschema::draft202012::new(&schema()).unwrap();
    assert!(validator.is_valid(&more), "fields may be added");
    // Not inside a summary's lists.
    let mut summary = value(&Summary::of(&outcome(), None));
    summary["probes"][0]["new"] = json!(1);
    refuses(&summary);
}

#[test]
fn summaries_are_as_described() {
    holds(&value(&Summary::of(&outcome(), None)));
    let mut account = Account::default();
    for (i, loss) in odio_trace_common::Loss::ALL.into_iter().enumerate() {
        account.losses.push((loss, i as u64));
    }
    let mut missing = Vec::new();
    for (i, &hook) in odio_trace_common::Hook::ALL.iter().enumerate() {
        account.hits.insert((hook, i as u32), 3);
        missing.push(crate::plan::Missing {
            hook,
            why: "why".into(),
            costs: crate::plan::costs(hook),
        });
    }
    let outcome = Outcome {
        account,
        missing,
        ..outcome()
    };
    let mut summary = value(&Summary::of(&outcome, None));
    holds(&summary);
    // As `matrix` adds it.
    summary["verdict"] = "PASS".into();
    holds(&summary);
}
