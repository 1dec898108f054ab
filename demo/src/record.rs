//! What odio-trace prints with `--json`, as far as it is used here.

use serde::Deserialize;

/// An op, or a row of the matrix, which repeats the fields of one.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Op {
    pub(crate) engine: String,
    pub(crate) mode: String,
    pub(crate) cache: Option<String>,
    pub(crate) completion: Option<String>,
    pub(crate) queued: bool,
    pub(crate) result: i64,
    pub(crate) bios: u32,
    pub(crate) fua: u32,
    pub(crate) flushes: u32,
    pub(crate) fsyncs: u32,
    pub(crate) vfs_fsyncs: u32,
    pub(crate) fsync_by: String,
    pub(crate) commits: u32,
    pub(crate) buffered_bytes: u64,
    pub(crate) metadata: Option<String>,
    pub(crate) durability: Option<String>,
}

/// A row of `odio-trace matrix --json`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Row {
    #[serde(flatten)]
    pub(crate) op: Op,
    pub(crate) kernel: String,
    pub(crate) fs: String,
    pub(crate) device: String,
    pub(crate) situation: String,
    /// Every completion that occurred, joined by `|`.
    pub(crate) completions: String,
    /// Every answer to "how many fsyncs, and by whom" that occurred, joined by `|`.
    pub(crate) fsync_sets: String,
    pub(crate) verdict: String,
    pub(crate) reason: String,
}

/// A hook without a probe.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Missing {
    pub(crate) hook: String,
    pub(crate) why: String,
}

/// The last line.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Summary {
    pub(crate) lost: u64,
    pub(crate) missed: u64,
    pub(crate) unattributed: u64,
    pub(crate) missing: Vec<Missing>,
    pub(crate) verdict: String,
}

impl Summary {
    /// Nothing was lost, missed or left without an owner.
    pub(crate) fn whole(&self) -> bool {
        self.lost + self.missed + self.unattributed == 0
    }
}

/// What a write landed on, as far as the kernel's own completion told.
pub(crate) fn landed_on(op: &Op) -> &'static str {
    match op.metadata.as_deref() {
        Some("none") if op.cache.as_deref() == Some("direct") => "overwrite",
        Some("size") => "append",
        Some("extents") => "unwritten",
        Some("cow") => "copy-on-write",
        _ => "-",
    }
}
