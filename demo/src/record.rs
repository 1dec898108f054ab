//! What odio-trace prints with `--json`, as far as it is used here.

use serde::Deserialize;

/// An op, or the first request of a row of the matrix, which repeats the fields of one.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Op {
    pub(crate) id: u64,
    pub(crate) op: String,
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
    pub(crate) metadata: Option<String>,
    pub(crate) durability: Option<String>,
    /// Why it is that.
    pub(crate) why: String,
    /// Steps that there was no room for.
    pub(crate) steps_lost: u64,
    /// What the hooks saw of it, where steps were asked for.
    #[serde(skip)]
    pub(crate) path: Vec<Step>,
}

impl Op {
    /// How often it passed a function.
    pub(crate) fn times(&self, function: &str) -> usize {
        let passed = |step: &&Step| step.function.as_deref() == Some(function);
        self.path.iter().filter(passed).count()
    }

    /// Whether it passed a function.
    pub(crate) fn passed(&self, function: &str) -> bool {
        self.times(function) > 0
    }

    /// The functions at which a hook saw it; `?` where the hook could not tell.
    pub(crate) fn at(&self, hook: &str) -> impl Iterator<Item = &str> {
        self.path
            .iter()
            .filter(move |step| step.hook == hook)
            .map(|step| step.function.as_deref().unwrap_or("?"))
    }

    /// What its `write_iter` or `read_iter` gave back to the kernel.
    pub(crate) fn returned(&self) -> impl Iterator<Item = i64> {
        self.path
            .iter()
            .filter(|step| step.hook == "op-return")
            .filter_map(|step| step.result)
    }
}

/// One hit of a hook for an op.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Step {
    pub(crate) op_id: u64,
    pub(crate) hook: String,
    pub(crate) function: Option<String>,
    pub(crate) result: Option<i64>,
}

/// A row of `odio-trace matrix --json`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Row {
    #[serde(flatten)]
    pub(crate) first: Op,
    pub(crate) kernel: String,
    pub(crate) fs: String,
    pub(crate) device: String,
    pub(crate) situation: String,
    /// Every path that a request took, in words.
    pub(crate) paths: Vec<String>,
    /// Every completion that occurred, joined by `|`.
    pub(crate) completions: String,
    /// Every answer to "how many fsyncs, and by whom" that occurred, joined by `|`.
    pub(crate) fsync_sets: String,
    pub(crate) verdict: String,
    pub(crate) reason: String,
}

impl Row {
    /// Whether a path has a word.
    pub(crate) fn any(&self, word: &str) -> bool {
        self.paths.iter().any(|path| has(path, word))
    }

    /// Whether every path has a word.
    pub(crate) fn every(&self, word: &str) -> bool {
        !self.paths.is_empty() && self.paths.iter().all(|path| has(path, word))
    }

    pub(crate) fn completions(&self) -> impl Iterator<Item = &str> {
        self.completions.split('|')
    }

    /// Whether each request was seen to run an fsync, and the row is inconclusive for one reason alone: where the writes were
    /// is unknown. That is looked at last, when all requests were seen, and the reason given is a request's own.
    pub(crate) fn lacks_only_the_place(&self) -> bool {
        let whole = !self.paths.iter().any(|path| path.contains("not seen"));
        whole
            && self.every("unknown")
            && self.reason == self.first.why
            && self.every_runs_vfs_fsync()
    }

    /// Whether every request ran an fsync, and the first one through `vfs_fsync_range`.
    pub(crate) fn every_runs_vfs_fsync(&self) -> bool {
        self.first.vfs_fsyncs > 0 && self.fsync_sets.split('|').all(|set| set != "0")
    }
}

fn has(path: &str, word: &str) -> bool {
    path.split(", ").any(|part| part == word)
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
