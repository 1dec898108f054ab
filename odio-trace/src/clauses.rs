//! # What a verdict may rest on, and whether it can be proven here
//!
//! One table: each clause names the hooks it needs, and what can still be told with fewer. The doctor shows it for this
//! kernel; its tests hold it against what [`crate::op`] and [`crate::verdict`] say of a request when one of those hooks
//! is not watched. Pure.

use odio_trace_common::Hook;
use serde::Serialize;

use crate::plan::{Kind, Probe, Watched};

/// What the probes reach.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reach {
    watched: Watched,
    /// The return of a request's entry function is seen, and not only that it was queued.
    returns: bool,
    /// The direct I/O code's own count of bytes is seen.
    counts: bool,
    /// The fsync of every filesystem is seen, and not only ext4's, which has a tracepoint.
    every_fsync: bool,
}

impl Reach {
    pub(crate) fn of(attached: &[Probe], watched: Watched) -> Self {
        Self {
            watched,
            returns: watched.has(Hook::OpReturn)
                && attached
                    .iter()
                    .any(|p| matches!(p.kind, Kind::Fexit | Kind::Kretprobe)),
            counts: watched.has(Hook::DioComplete)
                && attached
                    .iter()
                    .any(|p| p.hook == Hook::DioComplete && p.kind == Kind::RawTracepoint),
            every_fsync: watched.has(Hook::FsFsync)
                && attached
                    .iter()
                    .any(|p| p.hook == Hook::FsFsync && p.kind != Kind::RawTracepoint),
        }
    }

    fn has(self, need: Need) -> bool {
        match need {
            Need::Hook(hook) => self.watched.has(hook),
            Need::Return => self.returns,
            Need::Count => self.counts,
            Need::EveryFsync => self.every_fsync,
        }
    }
}

/// What a clause needs to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    Hook(Hook),
    Return,
    Count,
    EveryFsync,
}

impl Need {
    fn hook(self) -> Hook {
        match self {
            Self::Hook(hook) => hook,
            Self::Return => Hook::OpReturn,
            Self::Count => Hook::DioComplete,
            Self::EveryFsync => Hook::FsFsync,
        }
    }
}

/// Something that a verdict rests on.
#[derive(Debug)]
pub(crate) struct Clause {
    pub(crate) what: &'static str,
    all: &'static [Need],
    /// With only these: what remains. The first that can be had counts.
    or: &'static [(&'static [Need], &'static str)],
}

/// Whether a clause can be proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Provable {
    Yes,
    Partly,
    No,
}

impl Provable {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::Partly => "partly",
            Self::No => "no",
        }
    }
}

/// The answer for one clause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) provable: Provable,
    /// The hooks that are missing for it.
    pub(crate) missing: Vec<Hook>,
    /// What can be told all the same.
    pub(crate) remains: Option<&'static str>,
}

impl Clause {
    pub(crate) fn answer(&self, reach: Reach) -> Answer {
        let mut missing: Vec<Hook> = Vec::new();
        for need in self.all.iter().filter(|need| !reach.has(**need)) {
            if !missing.contains(&need.hook()) {
                missing.push(need.hook());
            }
        }
        let remains = self
            .or
            .iter()
            .find(|(needs, _)| needs.iter().all(|need| reach.has(*need)))
            .map(|(_, remains)| *remains);
        let provable = match (missing.is_empty(), remains) {
            (true, _) => Provable::Yes,
            (false, Some(_)) => Provable::Partly,
            (false, None) => Provable::No,
        };
        Answer {
            provable,
            remains: remains.filter(|_| provable == Provable::Partly),
            missing,
        }
    }
}

const fn hook(hook: Hook) -> Need {
    Need::Hook(hook)
}

/// Every clause, in the order of a request's path.
pub(crate) const CLAUSES: &[Clause] = &[
    Clause {
        what: "buffered requests are seen",
        all: &[hook(Hook::WriteBegin), hook(Hook::ReadBegin)],
        or: &[],
    },
    Clause {
        what: "a direct request is told from a fallback",
        all: &[
            hook(Hook::DioBegin),
            hook(Hook::BufferedCopy),
            hook(Hook::BioSubmit),
        ],
        or: &[
            (
                &[hook(Hook::DioBegin), hook(Hook::BioSubmit), Need::Count],
                "a request that is direct throughout is proven; a fallback shows as not seen",
            ),
            (
                &[hook(Hook::BufferedCopy)],
                "a fallback is proven; a direct request shows as not seen",
            ),
        ],
    },
    Clause {
        what: "completion: queued or inline",
        all: &[hook(Hook::OpReturn), Need::Return],
        or: &[(
            &[hook(Hook::OpReturn)],
            "queued is proven; inline shows as not seen",
        )],
    },
    Clause {
        what: "a request that io_uring hands to a worker",
        all: &[hook(Hook::Punt), hook(Hook::WorkerRun)],
        or: &[],
    },
    Clause {
        what: "what a direct write changed besides its data (iomap: ext4, XFS)",
        all: &[hook(Hook::DioBegin), hook(Hook::DioComplete)],
        or: &[],
    },
    Clause {
        what: "FUA on all data of a direct overwrite, as it is issued (ext4, XFS)",
        all: &[
            hook(Hook::DioBegin),
            hook(Hook::DioComplete),
            hook(Hook::BioSubmit),
            hook(Hook::FuaIssue),
        ],
        or: &[(
            &[
                hook(Hook::DioBegin),
                hook(Hook::DioComplete),
                hook(Hook::BioSubmit),
            ],
            "on a device without a volatile write cache or without FUA, and on one that is made of others",
        )],
    },
    Clause {
        what: "an fsync inside a write",
        all: &[hook(Hook::VfsFsync)],
        or: &[(
            &[hook(Hook::FsFsync)],
            "on ext4; elsewhere a write with O_DSYNC or O_SYNC that is not durable by itself is of unknown durability",
        )],
    },
    Clause {
        what: "an fsync that a worker runs, and whose write it belongs to",
        all: &[hook(Hook::DioDeferred)],
        or: &[],
    },
    Clause {
        what: "fsync and fdatasync as requests of their own",
        all: &[hook(Hook::FsFsync), Need::EveryFsync],
        or: &[
            (
                &[hook(Hook::VfsFsync)],
                "those that go through vfs_fsync_range, which fdatasync may bypass",
            ),
            (&[hook(Hook::FsFsync)], "those of ext4"),
        ],
    },
    Clause {
        what: "a flush of the device after the data",
        all: &[hook(Hook::BioSubmit)],
        or: &[],
    },
    Clause {
        what: "a journal commit is tied to its fsync (ext4)",
        all: &[hook(Hook::CommitWait)],
        or: &[],
    },
    Clause {
        what: "a journal commit's record went out with PREFLUSH and FUA (ext4)",
        all: &[
            hook(Hook::CommitWait),
            hook(Hook::CommitRun),
            hook(Hook::BioSubmit),
        ],
        or: &[],
    },
    Clause {
        what: "a write of XFS's log is tied to its fsync",
        all: &[hook(Hook::LogForce), hook(Hook::LogWait)],
        or: &[],
    },
    Clause {
        what: "the superblock of btrfs that ends its fsync, after a flush and with FUA",
        all: &[hook(Hook::BioSubmit), Need::EveryFsync],
        or: &[(
            &[hook(Hook::BioSubmit), hook(Hook::VfsFsync)],
            "of those that go through vfs_fsync_range, which fdatasync may bypass",
        )],
    },
    Clause {
        what: "whether a direct write on btrfs went to new blocks",
        all: &[hook(Hook::Checksum)],
        or: &[],
    },
    Clause {
        what: "how long the device took, on vfat",
        all: &[hook(Hook::BioSubmit), hook(Hook::DataEnd)],
        or: &[],
    },
    Clause {
        what: "how long the device took of an io_uring request of a block device",
        all: &[hook(Hook::BioSubmit), hook(Hook::UringRwComplete)],
        or: &[],
    },
    Clause {
        what: "the acknowledgement of a system call",
        all: &[hook(Hook::SyscallExit)],
        or: &[],
    },
    Clause {
        what: "the acknowledgement of a Linux AIO request",
        all: &[hook(Hook::AioComplete)],
        or: &[(
            &[hook(Hook::DioComplete)],
            "the end of its data is taken for it",
        )],
    },
    Clause {
        what: "fsync through Linux AIO",
        all: &[hook(Hook::AioSync), hook(Hook::AioSyncComplete)],
        or: &[],
    },
    Clause {
        what: "the acknowledgement of an io_uring request",
        all: &[hook(Hook::UringComplete)],
        or: &[],
    },
    Clause {
        what: "children of the workload are followed",
        all: &[hook(Hook::Fork)],
        or: &[],
    },
    Clause {
        what: "a process that takes the wanted name later is followed",
        all: &[hook(Hook::Rename)],
        or: &[],
    },
    Clause {
        what: "what sync and syncfs send is told from bios of no op",
        all: &[hook(Hook::SyncAll)],
        or: &[],
    },
    Clause {
        what: "the path of a file after something was unmounted",
        all: &[hook(Hook::MountGone)],
        or: &[],
    },
    Clause {
        what: "what has ended makes room in the tables of tasks and processes",
        all: &[hook(Hook::TaskExit), hook(Hook::ProcessGone)],
        or: &[],
    },
];

#[cfg(test)]
mod tests;
