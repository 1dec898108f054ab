//! # Hooks to probes on this kernel
//!
//! Pure: from what the kernel is to which probe shows each hook here, and what cannot be told where none does.
//! Nothing is attached here.

use clap::ValueEnum;
use odio_trace_common::Hook;

use crate::{
    kernel::{Kernel, Kprobe},
    step,
};

/// Which kinds of probe may be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Probes {
    /// The cheapest that this kernel has for each hook
    #[default]
    Auto,
    /// At functions only fentry and fexit
    Fentry,
    /// At functions only kprobes and kretprobes
    Kprobe,
    /// Nothing at functions, only tracepoints
    Tracepoint,
}

/// The option of every command that traces.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub(crate) struct Choice {
    /// Use only this kind of probe at functions; what it cannot show is said to be missing. Fork, the return of a
    /// system call and io_uring's completion are tracepoints in each case
    #[arg(long, value_enum, default_value_t)]
    pub(crate) probes: Probes,
    #[command(flatten)]
    pub(crate) sizes: Sizes,
}

/// How much the kernel side can hold. What does not fit is counted as lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::Args)]
pub(crate) struct Sizes {
    /// Bytes of records that may wait for the tracer: a power of two, at least a page
    #[arg(long, hide = true, value_name = "BYTES", default_value_t = Self::RING_BYTES)]
    pub(crate) ring_bytes: u32,
    /// Entries of the tables of open ops and of tasks, instead of 16384 and 32768
    #[arg(long, hide = true, value_name = "N")]
    pub(crate) table_entries: Option<u32>,
}

impl Sizes {
    const RING_BYTES: u32 = 8 << 20;
}

impl Default for Sizes {
    fn default() -> Self {
        Self {
            ring_bytes: Self::RING_BYTES,
            table_entries: None,
        }
    }
}

/// A concrete way to see a hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Kprobe,
    Kretprobe,
    Fentry,
    Fexit,
    RawTracepoint,
    /// A raw tracepoint whose program knows the types of its arguments.
    BtfTracepoint,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Kprobe => "kprobe",
            Self::Kretprobe => "kretprobe",
            Self::Fentry => "fentry",
            Self::Fexit => "fexit",
            Self::RawTracepoint => "raw-tracepoint",
            Self::BtfTracepoint => "btf-tracepoint",
        }
    }
}

/// One probe: an eBPF program at a function or tracepoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Probe {
    pub(crate) hook: Hook,
    pub(crate) kind: Kind,
    /// Function or tracepoint.
    pub(crate) target: String,
    /// Name of the eBPF program.
    pub(crate) program: String,
    /// Tried in its place where attaching fails.
    pub(crate) instead: Option<Box<Probe>>,
}

impl Probe {
    /// `kprobe at submit_bio`
    pub(crate) fn place(&self) -> String {
        format!("{} at {}", self.kind.name(), self.target)
    }
}

/// A hook that no probe shows here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Missing {
    pub(crate) hook: Hook,
    /// Why there is no probe.
    pub(crate) why: String,
    /// What cannot be told without it.
    pub(crate) costs: &'static str,
}

/// The probes of a session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) probes: Vec<Probe>,
    pub(crate) missing: Vec<Missing>,
    pub(crate) sizes: Sizes,
    /// Whether each step of an op is told as well.
    pub(crate) steps: step::Asked,
}

/// The hooks that were watched whole: a probe is in place, and none that was planned failed to attach.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Watched(u64);

impl Watched {
    pub(crate) fn of(attached: &[Probe], missing: &[Missing]) -> Self {
        let mask =
            |hooks: &mut dyn Iterator<Item = Hook>| hooks.fold(0, |all, h| all | Self::bit(h));
        Self(
            mask(&mut attached.iter().map(|p| p.hook)) & !mask(&mut missing.iter().map(|m| m.hook)),
        )
    }

    /// Every hook but these.
    #[cfg(test)]
    pub(crate) fn all_but(unwatched: &[Hook]) -> Self {
        Self(
            Hook::ALL
                .iter()
                .filter(|hook| !unwatched.contains(hook))
                .fold(0, |all, &hook| all | Self::bit(hook)),
        )
    }

    pub(crate) fn has(self, hook: Hook) -> bool {
        self.0 & Self::bit(hook) != 0
    }

    fn bit(hook: Hook) -> u64 {
        1 << hook as u32
    }
}

/// Functions with `(struct kiocb *, struct iov_iter *)` through which requests enter a filesystem.
const WRITE_ITERS: &[&str] = &[
    "ext4_file_write_iter",
    "xfs_file_write_iter",
    "btrfs_file_write_iter",
    "ext2_file_write_iter",
    "blkdev_write_iter",
    // tmpfs, since 6.6.
    "shmem_file_write_iter",
    // vfat, exfat and others use it as it is; ext4, XFS and btrfs do not.
    "generic_file_write_iter",
];
const READ_ITERS: &[&str] = &[
    "ext4_file_read_iter",
    "xfs_file_read_iter",
    "btrfs_file_read_iter",
    "ext2_file_read_iter",
    "blkdev_read_iter",
    "generic_file_read_iter",
];

/// The same of tmpfs, which copies from its pages by itself: to read there is to read from the page cache.
const CACHED_READ_ITERS: &[&str] = &["shmem_file_read_iter"];

/// All of them.
fn iters() -> impl Iterator<Item = &'static str> {
    [WRITE_ITERS, READ_ITERS, CACHED_READ_ITERS]
        .into_iter()
        .flatten()
        .copied()
}

/// Hook, kprobe program, functions. Every function that is there gets a probe; its fentry program bears its name.
const FUNCTIONS: &[(Hook, &str, &[&str])] = &[
    (Hook::WriteBegin, "write_begin", WRITE_ITERS),
    (Hook::ReadBegin, "read_begin", READ_ITERS),
    (Hook::ReadBegin, "read_begin_cached", CACHED_READ_ITERS),
    (
        Hook::DioBegin,
        "dio_begin",
        &[
            "__iomap_dio_rw",
            "__blockdev_direct_IO",
            // The bios of what else a block device does directly say so themselves.
            "__blkdev_direct_IO_simple",
        ],
    ),
    (Hook::DioComplete, "iomap_complete", &["iomap_dio_complete"]),
    (Hook::DataEnd, "data_end_dio", &["dio_complete"]),
    (Hook::DioAwait, "dio_await", &["dio_await_completion"]),
    (
        Hook::DioDeferred,
        "deferred_iomap",
        &["iomap_dio_complete_work"],
    ),
    (
        Hook::DioDeferred,
        "deferred_dio",
        &["dio_aio_complete_work"],
    ),
    (
        Hook::BufferedCopy,
        "buffered_copy",
        &[
            "generic_perform_write",
            "iomap_file_buffered_write",
            "btrfs_buffered_write",
            "filemap_read",
            "generic_file_buffered_read",
        ],
    ),
    (Hook::BioSubmit, "bio_submit", &["submit_bio"]),
    (
        Hook::Punt,
        "punt",
        &["io_queue_iowq", "io_queue_async_work"],
    ),
    (Hook::WorkerRun, "worker_run", &["io_wq_submit_work"]),
    (Hook::VfsFsync, "vfs_fsync", &["vfs_fsync_range"]),
    (
        Hook::FsFsync,
        "fs_fsync",
        &[
            "ext4_sync_file",
            "xfs_file_fsync",
            "xfs_dir_fsync",
            "btrfs_sync_file",
            "blkdev_fsync",
            "ext2_fsync",
            "fat_file_fsync",
            // tmpfs and others in memory.
            "noop_fsync",
        ],
    ),
    (
        Hook::SyncAll,
        "sync_all",
        &["writeback_inodes_sb", "sync_inodes_sb"],
    ),
    (Hook::CommitWait, "commit_wait", &["jbd2_log_wait_commit"]),
    (
        Hook::CommitRun,
        "commit_run",
        &["jbd2_journal_commit_transaction"],
    ),
    (Hook::LogForce, "log_force", &["xlog_force_lsn"]),
    (Hook::LogWait, "log_wait", &["xlog_wait_on_iclog"]),
    (Hook::Checksum, "checksum", &["btrfs_csum_one_bio"]),
    (
        Hook::MountGone,
        "mount_gone",
        &["__fsnotify_vfsmount_delete"],
    ),
    (Hook::AioComplete, "aio_rw_complete", &["aio_complete_rw"]),
    (Hook::AioSync, "aio_sync", &["aio_fsync_work"]),
    (
        Hook::AioSyncComplete,
        "aio_sync_complete",
        &["aio_complete"],
    ),
    (
        Hook::UringRwComplete,
        "uring_rw_complete",
        &["io_complete_rw"],
    ),
];

/// Raw tracepoints that show a hook where no function can be seen.
const TRACEPOINTS: &[(Hook, &str, &str)] = &[
    (Hook::BioSubmit, "tp_bio_queue", "block_bio_queue"),
    (Hook::DioBegin, "tp_dio_rw_begin", "iomap_dio_rw_begin"),
    (Hook::DioComplete, "tp_dio_complete", "iomap_dio_complete"),
    (Hook::OpReturn, "tp_dio_queued", "iomap_dio_rw_queued"),
    (Hook::FsFsync, "tp_ext4_sync", "ext4_sync_file_enter"),
];

/// Raw tracepoints that every kernel has.
const ALWAYS: &[(Hook, &str, &str)] = &[
    (Hook::SyscallExit, "syscall_exit", "sys_exit"),
    (Hook::Fork, "fork", "sched_process_fork"),
    (Hook::Rename, "rename", "task_rename"),
    (Hook::TaskExit, "task_exit", "sched_process_exit"),
    (Hook::ProcessGone, "process_gone", "sched_process_free"),
];

/// Every function that the plan or the programs ask the kernel for.
pub(crate) fn functions() -> impl Iterator<Item = &'static str> {
    FUNCTIONS
        .iter()
        .flat_map(|(_, _, functions)| functions.iter().copied())
        .chain(SYMBOLS.iter().copied())
        .chain(uring::functions())
}

/// Functions whose address tells the programs what an object is.
pub(crate) const SYMBOLS: &[&str] = &[
    "aio_complete_rw",
    "io_complete_rw",
    "iomap_dio_bio_end_io",
    "dio_bio_end_io",
    "dio_bio_end_aio",
    "blkdev_bio_end_io",
    "blkdev_bio_end_io_async",
    "xlog_bio_end_io",
    "btrfs_end_super_write",
];

/// Makes the plan for this kernel. `fentry` is why fentry cannot be had at all here, if it was seen to fail.
pub(crate) fn make(kernel: &Kernel, probes: Probes, fentry: Result<(), &str>) -> Plan {
    let mut plan = Plan::default();
    let ways = Ways {
        kernel,
        kprobe: match probes {
            Probes::Auto | Probes::Kprobe => kernel.kprobes(),
            Probes::Fentry | Probes::Tracepoint => Err("no kprobe may be used".into()),
        },
        fentry: match probes {
            Probes::Auto | Probes::Fentry => fentry.map_err(Into::into),
            Probes::Kprobe | Probes::Tracepoint => Err("no fentry may be used".into()),
        },
    };
    let none = match probes {
        Probes::Tracepoint => Some("only tracepoints may be used".into()),
        _ => ways.none(),
    };
    match none {
        None => at_functions(&ways, &mut plan),
        Some(why) if probes == Probes::Fentry => {
            for &(hook, ..) in FUNCTIONS {
                plan.miss(hook, why.clone());
            }
            plan.miss(Hook::OpReturn, why);
        }
        Some(why) => with_tracepoints(kernel, &mut plan, &why),
    }
    always(&mut plan);
    // A tracepoint in which a task may fault runs its programs preemptibly: they miss hits of other tasks then (seen on
    // 7.2). Two of them miss none together, unless they are both preempted at once.
    if kernel.has_member("tracepoint_ext", "faultable") {
        plan.tracepoint(Hook::SyscallExit, "syscall_exit_again", "sys_exit");
    }
    uring::ends(&ways, &mut plan);
    fua_issue(kernel, ways.fentry.is_ok(), &mut plan);
    plan.missing.sort_by_key(|m| m.hook);
    plan.missing.dedup();
    plan
}

/// The ways to see a function, and why there is one way less.
struct Ways<'a> {
    kernel: &'a Kernel,
    kprobe: Result<(), String>,
    fentry: Result<(), String>,
}

impl Ways<'_> {
    /// Why no function can be seen at all.
    fn none(&self) -> Option<String> {
        match (&self.kprobe, &self.fentry) {
            (Err(kprobe), Err(fentry)) => Some(format!("{kprobe}, {fentry}")),
            _ => None,
        }
    }

    /// The probe where `function` is entered: an fentry, with a kprobe to fall back on, or a kprobe.
    fn entry(&self, hook: Hook, program: &str, function: &str) -> Result<Probe, String> {
        let kprobe = self.by_kprobe(function).map(|()| Probe {
            hook,
            kind: Kind::Kprobe,
            target: function.into(),
            program: program.into(),
            instead: None,
        });
        self.cheapest(hook, Kind::Fentry, function, function, kprobe)
    }

    /// The same where it returns. A kretprobe has few slots and loses returns under concurrency; fexit does not.
    fn exit(&self, hook: Hook, function: &str) -> Result<Probe, String> {
        let kretprobe = self.by_kprobe(function).map(|()| Probe {
            hook,
            kind: Kind::Kretprobe,
            target: function.into(),
            program: "op_return".into(),
            instead: None,
        });
        if !self.kernel.is_iter(function) {
            return kretprobe;
        }
        self.cheapest(
            hook,
            Kind::Fexit,
            function,
            &format!("ret_{function}"),
            kretprobe,
        )
    }

    fn cheapest(
        &self,
        hook: Hook,
        kind: Kind,
        function: &str,
        program: &str,
        instead: Result<Probe, String>,
    ) -> Result<Probe, String> {
        match (self.by_fentry(function), instead) {
            (Ok(()), instead) => Ok(Probe {
                hook,
                kind,
                target: function.into(),
                program: program.into(),
                instead: instead.ok().map(Box::new),
            }),
            (Err(_), Ok(instead)) => Ok(instead),
            // Where both may be used, that of the one that needs less.
            (Err(fentry), Err(kprobe)) => Err(if self.kprobe.is_ok() { kprobe } else { fentry }),
        }
    }

    fn by_kprobe(&self, function: &str) -> Result<(), String> {
        self.kprobe.clone()?;
        match self.kernel.kprobe(function) {
            Kprobe::Yes | Kprobe::Perhaps(_) => Ok(()),
            no => Err(no.to_string()),
        }
    }

    fn by_fentry(&self, function: &str) -> Result<(), String> {
        self.fentry.clone()?;
        self.kernel.fentry(function)
    }
}

fn at_functions(ways: &Ways, plan: &mut Plan) {
    for &(hook, program, functions) in FUNCTIONS {
        let mut refused = Vec::new();
        for &function in functions {
            match ways.entry(hook, program, function) {
                Ok(probe) => plan.probes.push(probe),
                Err(why) => {
                    if hook == Hook::BufferedCopy
                        && ways.kprobe.is_ok()
                        && let Some(variant) = ways.kernel.kprobe(function).with_other_arguments()
                        && ways.kernel.may_kprobe(variant)
                    {
                        plan.probe(hook, Kind::Kprobe, "buffered_copy_unsized", variant);
                    }
                    refused.push((function, why));
                }
            }
        }
        let concerns = of_filesystem(hook).is_none_or(|entry| ways.kernel.is_there(entry));
        let unseen: Vec<_> = refused
            .iter()
            .filter(|(function, _)| ways.kernel.is_there(function))
            .cloned()
            .collect();
        if !unseen.is_empty() {
            plan.miss(hook, reasons(&unseen));
        } else if concerns && !plan.probes.iter().any(|p| p.hook == hook) {
            plan.miss(hook, reasons(&refused));
        }
    }
    let mut refused = Vec::new();
    for function in iters() {
        match ways.exit(Hook::OpReturn, function) {
            Ok(probe) => plan.probes.push(probe),
            Err(why) if ways.kernel.is_there(function) => refused.push((function, why)),
            Err(_) => {}
        }
    }
    if !refused.is_empty() {
        plan.miss(Hook::OpReturn, reasons(&refused));
    }
}

/// The entry of the filesystem that alone has this hook: where that is not there, nothing is missing.
fn of_filesystem(hook: Hook) -> Option<&'static str> {
    match hook {
        Hook::LogForce | Hook::LogWait => Some("xfs_file_fsync"),
        Hook::Checksum => Some("btrfs_sync_file"),
        _ => None,
    }
}

/// Why no probe may go to any of these functions, each reason once.
fn reasons(refused: &[(&str, String)]) -> String {
    let mut reasons: Vec<(String, Vec<&str>)> = Vec::new();
    for (function, why) in refused {
        match reasons.iter_mut().find(|(known, _)| known == why) {
            Some((_, functions)) => functions.push(function),
            None => reasons.push((why.clone(), vec![function])),
        }
    }
    let told: Vec<String> = reasons
        .into_iter()
        .map(|(why, functions)| format!("{}: {why}", functions.join(", ")))
        .collect();
    told.join("; ")
}

fn with_tracepoints(kernel: &Kernel, plan: &mut Plan, why: &str) {
    for &(hook, program, target) in TRACEPOINTS {
        if kernel.has_tracepoint(target) {
            plan.tracepoint(hook, program, target);
        }
    }
    for &hook in Hook::ALL {
        let elsewhere = ALWAYS.iter().any(|(h, ..)| *h == hook)
            || matches!(hook, Hook::UringComplete | Hook::FuaIssue);
        if !elsewhere && !plan.probes.iter().any(|p| p.hook == hook) {
            plan.miss(hook, format!("{why}, and no tracepoint shows it"));
        }
    }
}

/// What tracepoints show on every kernel.
fn always(plan: &mut Plan) {
    for &(hook, program, target) in ALWAYS {
        plan.tracepoint(hook, program, target);
    }
}

/// The tracepoint at which a request is issued to its driver.
const RQ_ISSUE: &str = "block_rq_issue";

/// Requests as they are issued: a tracepoint with types where those can be had (`typed`), for it fires for every
/// request of the machine.
fn fua_issue(kernel: &Kernel, typed: bool, plan: &mut Plan) {
    let untyped = match kernel.tracepoint_arguments(RQ_ISSUE) {
        None => Err(format!("this kernel has no tracepoint {RQ_ISSUE}")),
        Some(arguments) => {
            takes_request(&arguments).ok_or_else(|| format!("{RQ_ISSUE} names no request here"))
        }
    };
    let untyped = match untyped {
        Ok(untyped) => untyped,
        Err(why) => return plan.miss(Hook::FuaIssue, why),
    };
    let unread = ["cmd_flags", "bio"].map(|member| kernel.offset("request", member).is_none());
    if unread.contains(&true) {
        let why = "where a request keeps its flags and its bio is not known here";
        return plan.miss(Hook::FuaIssue, why.into());
    }
    plan.tracepoint(Hook::FuaIssue, untyped, RQ_ISSUE);
    if typed && let Some(probe) = plan.probes.pop() {
        plan.probes.push(Probe {
            kind: Kind::BtfTracepoint,
            program: format!("typed_{untyped}"),
            instead: Some(Box::new(probe.clone())),
            ..probe
        });
    }
}

/// The program that finds the request where a kernel has it among the tracepoint's arguments.
fn takes_request(arguments: &[String]) -> Option<&'static str> {
    match arguments.iter().position(|of| of == "struct request *")? {
        0 => Some("rq_issue"),
        // After its queue, to 5.10.
        1 => Some("rq_issue_of_queue"),
        _ => None,
    }
}

mod candidates;
mod uring;
pub(crate) use candidates::{Candidate, candidates};

impl Plan {
    fn probe(&mut self, hook: Hook, kind: Kind, program: &str, target: &str) {
        self.probes.push(Probe {
            hook,
            kind,
            target: target.into(),
            program: program.into(),
            instead: None,
        });
    }

    fn tracepoint(&mut self, hook: Hook, program: &str, target: &str) {
        self.probe(hook, Kind::RawTracepoint, program, target);
    }

    fn miss(&mut self, hook: Hook, why: String) {
        self.missing.push(Missing {
            hook,
            why,
            costs: costs(hook),
        });
    }
}

/// What cannot be told where no probe shows a hook.
pub(crate) fn costs(hook: Hook) -> &'static str {
    match hook {
        Hook::WriteBegin | Hook::ReadBegin => {
            "buffered requests are not seen; direct ones are seen where the direct I/O code begins"
        }
        Hook::OpReturn => "queued and inline completions cannot be told apart",
        Hook::DioBegin => "direct requests cannot be told from fallbacks",
        Hook::DioComplete => "whether a write changed metadata is not seen: durability is unknown",
        Hook::DataEnd => "how long a device took is not told for vfat",
        Hook::DioAwait => {
            "inlined by the compiler on most kernels; iomap's own wait flag stands in for it"
        }
        Hook::DioDeferred => "an fsync that a worker runs for a queued request belongs to no op",
        Hook::BufferedCopy => "a fallback to the page cache is not seen",
        Hook::BioSubmit => "where data goes is not seen: nothing can be proven",
        Hook::FuaIssue => {
            "whether FUA that was asked for goes to the device is not seen: durability that rests on it is unknown"
        }
        Hook::Punt | Hook::WorkerRun => {
            "requests that io_uring hands to workers cannot be told from others"
        }
        Hook::VfsFsync | Hook::FsFsync => "an fsync may be missed",
        Hook::SyncAll => "what sync(2) and syncfs(2) send is taken for bios of no op",
        Hook::CommitWait | Hook::CommitRun => {
            "journal commits are not seen: durability after fsync is unknown"
        }
        Hook::LogForce | Hook::LogWait => {
            "writes of XFS's log are not seen: durability after its fsync is unknown"
        }
        Hook::Checksum => {
            "whether btrfs wrote to new blocks is not seen: durability without an fsync is unknown"
        }
        Hook::AioComplete => "Linux AIO requests are taken as acknowledged when their data is done",
        Hook::AioSync | Hook::AioSyncComplete => "fsync through Linux AIO is not seen",
        Hook::UringRwComplete => {
            "an io_uring request's worker is let go of late, and how long a block device took for one is not told"
        }
        Hook::UringComplete => "io_uring requests are never seen to end",
        Hook::SyscallExit => "synchronous requests are never seen to end",
        Hook::Fork => "children of the workload are not followed",
        Hook::Rename => "a process that takes the wanted name later is not followed",
        Hook::TaskExit => "the table of tasks fills up",
        Hook::ProcessGone => "the table of processes fills up",
        Hook::MountGone => {
            "after an unmount, a file may be shown with a path and a filesystem that are gone"
        }
    }
}

#[cfg(test)]
mod tests;
