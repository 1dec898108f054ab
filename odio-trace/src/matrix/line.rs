//! # A row as it is printed
//!
//! What a row of the matrix came to, in words that another run can be held against. Rows of VMs come back through
//! this, so nothing may be in it that its JSON does not carry.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    check::Verdict,
    op::Op,
    output::by_path::{completion, fsyncs},
};

/// Which VM a row is from, as it was asked for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Vm {
    pub(crate) kernel: String,
    pub(crate) fs: String,
    pub(crate) device: String,
}

impl fmt::Display for Vm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {} on {}", self.kernel, self.fs, self.device)
    }
}

/// One row. Its order in JSON is not promised, its names are.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Line {
    #[serde(rename = "type")]
    kind: Kind,
    /// Release of the running kernel.
    pub(crate) kernel: String,
    /// Type of the filesystem, or `block device`.
    pub(crate) fs: String,
    /// Device with cache and FUA, for a person.
    pub(crate) device: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) vm: Option<Vm>,
    pub(crate) mode: String,
    pub(crate) engine: String,
    pub(crate) situation: String,
    pub(crate) requests: u32,
    pub(crate) verdict: Verdict,
    pub(crate) reason: String,
    /// Each path that a request took, in words; where timing decides there are several.
    pub(crate) paths: Vec<String>,
    completions: String,
    fsync_sets: String,
    /// The fields of the first request; what differs between requests stands in the sets above.
    #[serde(flatten)]
    first: Map<String, Value>,
}

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    #[default]
    Row,
}

/// Where the matrix ran.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) kernel: String,
    pub(crate) fs: String,
    pub(crate) device: String,
}

/// What a row is about, as it is spelled.
#[derive(Clone, Debug)]
pub(crate) struct Of {
    pub(crate) mode: String,
    pub(crate) engine: String,
    pub(crate) situation: String,
    pub(crate) requests: u32,
}

impl Line {
    /// `ended`: for each request the sync that libodio ended it with, if it did.
    pub(crate) fn new(
        place: &Place,
        of: Of,
        ops: &[Op],
        ended: impl Fn(usize) -> bool,
        (verdict, reason): (Verdict, String),
    ) -> Self {
        let mut paths: Vec<String> = ops
            .iter()
            .enumerate()
            .map(|(i, op)| path(op, ended(i)))
            .collect();
        paths.sort();
        paths.dedup();
        let own = [
            "type",
            "mode",
            "engine",
            "situation",
            "requests",
            "kernel",
            "fs",
            "device",
        ];
        let first = match ops.first().map(serde_json::to_value) {
            Some(Ok(Value::Object(first))) => first
                .into_iter()
                .filter(|(field, _)| !own.contains(&field.as_str()))
                .collect(),
            _ => Map::new(),
        };
        Self {
            kind: Kind::Row,
            kernel: place.kernel.clone(),
            fs: place.fs.clone(),
            device: place.device.clone(),
            vm: None,
            mode: of.mode,
            engine: of.engine,
            situation: of.situation,
            requests: of.requests,
            verdict,
            reason,
            paths,
            completions: set(ops, completion),
            fsync_sets: set(ops, fsyncs),
            first,
        }
    }
}

/// The values that occurred, joined by `|`.
fn set(ops: &[Op], value: impl Fn(&Op) -> String) -> String {
    let mut values: Vec<String> = ops.iter().map(value).collect();
    values.sort();
    values.dedup();
    values.join("|")
}

/// The path of a request in words, without what did not happen: `punted, queued, 1 bio, 1 fsync by kworker, 1 commit,
/// durable`.
fn path(op: &Op, ended: bool) -> String {
    let mut words = vec![match op.completion {
        Some(_) => completion(op),
        None => "completion not seen".into(),
    }];
    match op.cache {
        None => words.push("cache not seen".into()),
        Some("fallback") => words.push("fallback".into()),
        Some(_) => {}
    }
    let mut count = |n: u32, one: &str, several: &str| match n {
        0 => {}
        1 => words.push(format!("1 {one}")),
        n => words.push(format!("{n} {several}")),
    };
    match op.fua {
        0 => count(op.bios, "bio", "bios"),
        all if all == op.bios => count(op.bios, "bio with FUA", "bios with FUA"),
        some => {
            count(op.bios, "bio", "bios");
            count(some, "of them with FUA", "of them with FUA");
        }
    }
    count(op.flushes, "flush", "flushes");
    if op.fsyncs > 0 {
        let by = format!("by {}", op.fsync_by);
        count(op.fsyncs, &format!("fsync {by}"), &format!("fsyncs {by}"));
    }
    count(op.commits, "commit", "commits");
    count(op.supers, "superblock", "superblocks");
    words.extend(op.durability.map(str::to_owned));
    if ended {
        words.push("then a sync by libodio".into());
    }
    words.join(", ")
}
