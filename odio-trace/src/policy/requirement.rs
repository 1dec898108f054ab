//! What can be required of an op, whether it holds, and what would mend it where it does not.

use std::fmt;

use super::Cache;
use crate::op::Op;

/// What is required of each op of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Requirement {
    /// Reads and writes take this way past or through the page cache.
    Cache(Cache),
    /// Writes and syncs are durable when they are acknowledged.
    DurableBeforeAck,
    /// No read or write that asked for direct I/O goes through the page cache.
    NoFallback,
    /// io_uring hands no request to a worker.
    NoPunt,
    /// The task that submits a read or write does not wait for it.
    NeverWaitsInSubmit,
    /// The page cache writes nothing of the file back: of files, not of ops.
    NoWriteback,
}

/// Whether a requirement holds of an op.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Held {
    Kept,
    Broken,
    /// What would tell was not seen.
    NotSeen,
}

/// What would keep a file from being written back.
pub(super) const NO_WRITEBACK_FIX: &str =
    "write it with O_DIRECT, aligned, from every process that writes it";

/// As the policy spells it.
impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cache(Cache::Direct) => "cache = \"direct\"",
            Self::Cache(Cache::Buffered) => "cache = \"buffered\"",
            Self::DurableBeforeAck => "durable_before_ack = true",
            Self::NoFallback => "no_fallback = true",
            Self::NoPunt => "no_punt = true",
            Self::NeverWaitsInSubmit => "never_waits_in_submit = true",
            Self::NoWriteback => "no_writeback = true",
        })
    }
}

impl Requirement {
    /// `None` where it says nothing of such an op: of how a sync passes the page cache, of how durable a read is, or a
    /// write of no byte.
    pub(crate) fn hold(self, op: &Op) -> Option<Held> {
        let held = |kept: Option<bool>| match kept {
            Some(true) => Held::Kept,
            Some(false) => Held::Broken,
            None => Held::NotSeen,
        };
        let moves = op.op != "sync";
        match self {
            Self::Cache(wanted) => {
                let wanted = match wanted {
                    Cache::Direct => "direct",
                    Cache::Buffered => "buffered",
                };
                moves.then(|| held(op.cache.map(|cache| cache == wanted)))
            }
            Self::NoFallback => moves.then(|| held(op.cache.map(|cache| cache != "fallback"))),
            Self::DurableBeforeAck if op.op == "read" => None,
            Self::DurableBeforeAck if !op.acknowledged => Some(Held::NotSeen),
            Self::DurableBeforeAck => op.durability.map(|durability| match durability {
                "durable" => Held::Kept,
                "unknown" => Held::NotSeen,
                _ => Held::Broken,
            }),
            Self::NoPunt => Some(held(Some(!op.punted))),
            Self::NoWriteback => None,
            // A copy through the page cache may wait for a page or for writeback, unless io_uring tries it (IOCB_NOWAIT).
            Self::NeverWaitsInSubmit
                if moves
                    && op.completion == Some("inline")
                    && op.engine != "io_uring"
                    && op.cache != Some("direct") =>
            {
                Some(Held::NotSeen)
            }
            Self::NeverWaitsInSubmit => {
                moves.then(|| held(op.completion.map(|completion| completion != "waited")))
            }
        }
    }

    /// What of the op broke it.
    pub(crate) fn seen(self, op: &Op) -> String {
        match self {
            Self::Cache(_) | Self::NoFallback => op.cache.unwrap_or("not seen").into(),
            Self::DurableBeforeAck => {
                format!("{}: {}", op.durability.unwrap_or("unknown"), op.why)
            }
            Self::NoPunt | Self::NeverWaitsInSubmit | Self::NoWriteback => {
                op.completion.unwrap_or("not seen").into()
            }
        }
    }

    /// What would mend it.
    pub(crate) fn fix(self, op: &Op) -> &'static str {
        let syncs = op.mode.contains("sync");
        let appends = op.metadata == Some("size");
        match self {
            Self::Cache(Cache::Buffered) => "open the file without O_DIRECT",
            Self::Cache(Cache::Direct) if op.cache == Some("buffered") => {
                "open the file with O_DIRECT"
            }
            Self::Cache(Cache::Direct) | Self::NoFallback
                if !op.offset.is_multiple_of(512) || !op.len.is_multiple_of(512) =>
            {
                "align offset and length to the device's logical block size"
            }
            Self::Cache(Cache::Direct) | Self::NoFallback => {
                "this filesystem takes such a request through the page cache: `odio-trace matrix` on it shows which \
                 stay direct (ext4 data=journal, holes without extents, and btrfs with checksums do not)"
            }
            Self::DurableBeforeAck if op.op == "sync" => {
                "the sync did not reach the medium: is the filesystem mounted without barriers?"
            }
            Self::DurableBeforeAck if syncs => {
                "on this filesystem O_DSYNC is not enough for such a write: follow it with fdatasync"
            }
            Self::DurableBeforeAck => {
                "open the file with O_DSYNC, or call fdatasync before the write is acknowledged, and hold the sync to \
                 this rule (op = \"sync\")"
            }
            Self::NoWriteback => NO_WRITEBACK_FIX,
            Self::NoPunt if appends => "preallocate the file and write within its size",
            Self::NoPunt => "write where blocks are allocated and written before, with O_DIRECT",
            Self::NeverWaitsInSubmit if op.engine == "psync" => {
                "submit through io_uring or Linux AIO"
            }
            Self::NeverWaitsInSubmit if appends => {
                "preallocate the file: a write past its end waits in submit on ext4"
            }
            Self::NeverWaitsInSubmit => "use O_DIRECT, aligned, within the file's written blocks",
        }
    }
}
