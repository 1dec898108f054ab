//! # A tracing session: load, attach, follow, drain
//!
//! Owns the eBPF object. Probes go away with it: every link is a file descriptor of this process, so none is left
//! behind however the process ends.

use std::{
    collections::{BTreeMap, BTreeSet},
    os::fd::AsFd,
    time::Duration,
};

use anyhow::{Context, Result, anyhow};
use aya::{
    Btf, Ebpf, EbpfLoader, Pod, VerifierLogLevel,
    maps::{Array, HashMap, MapData, PerCpuArray, RingBuf},
    programs::{
        BtfTracePoint, FEntry, FExit, KProbe, Program, ProgramFd, RawTracePoint, links::FdLink,
    },
};
use odio_trace_common::{
    Config, FileRecord, Hook, HookHitKey, Loss, OpRecord, OpenedKey, ProcessHits, RecordKind,
    STACK_DEPTH, ScopeConfig, StackRecord, StepConfig, StepLevel, StepRecord, WritebackKey,
    WritebackRecord,
};
use tokio::{io::unix::AsyncFd, time::timeout};

use crate::{
    calibrate::Calibration,
    diagnostics,
    kernel::Kernel,
    misses::Counters,
    plan::{self, Choice, Kind, Missing, Plan, Probe, Sizes, costs},
    sys,
    unwatched::{self, Unwatched},
};

/// How long a record may wait in the kernel: to be woken for each would cost the traced program more than all else.
const PATIENCE: Duration = Duration::from_millis(100);

/// What comes out of the kernel.
pub(crate) enum Record<'a> {
    Op(&'a OpRecord),
    File(&'a FileRecord),
    /// With its stack, where one was asked for.
    Step(&'a StepRecord, &'a [u64]),
}

/// Probes in place, records coming.
pub(crate) struct Session {
    ebpf: Ebpf,
    events: AsyncFd<RingBuf<MapData>>,
    /// Probes that are attached.
    pub(crate) attached: Vec<Probe>,
    /// Hooks that no probe shows, those that failed to attach among them.
    pub(crate) missing: Vec<Missing>,
    counters: Counters,
    /// kprobes whose misses the kernel counts.
    kprobes: Vec<(Probe, FdLink)>,
    /// Filesystems that the kernel knew at the start.
    filesystems: Option<BTreeSet<String>>,
}

/// What was lost while the session ran, and how often each hook fired.
#[derive(Clone, Debug, Default)]
pub(crate) struct Account {
    /// Counted losses that are not zero.
    pub(crate) losses: Vec<(Loss, u64)>,
    /// Ops that were open at the end.
    pub(crate) open: u64,
    /// Hits per hook and process.
    pub(crate) hits: BTreeMap<(Hook, u32), u64>,
    /// What was written back of files that were written to through the page cache.
    pub(crate) writeback: Vec<(WritebackKey, WritebackRecord)>,
    /// Files that were opened where no probe sees their requests.
    pub(crate) unwatched: Vec<Unwatched>,
    /// What the probes did not see, in plain words, and how much of it.
    pub(crate) missed: Vec<(String, u64)>,
    /// Of these, returns of system calls, of whatever process: a request whose end was among them is counted by itself.
    pub(crate) missed_exits: u64,
    /// Probes whose misses this kernel does not count, or does not tell.
    pub(crate) uncounted: Vec<String>,
    /// What was not calibrated, and why.
    pub(crate) uncalibrated: Vec<String>,
}

impl Account {
    pub(crate) fn of(&self, loss: Loss) -> u64 {
        self.losses
            .iter()
            .find(|(l, _)| *l == loss)
            .map_or(0, |(_, n)| *n)
    }

    fn add_missed(&mut self, probe: &Probe, hits: u64) {
        if hits > 0 {
            let (hook, kind) = (probe.hook.name(), probe.kind.name());
            let words = format!("hits of {hook} that its {kind} missed");
            self.missed.push((words, hits));
        }
    }

    /// Notes what was not calibrated before the workload, and which hooks no longer saw what was sent after it.
    pub(crate) fn add_calibration(&mut self, before: &Calibration, after: &Calibration) {
        self.uncalibrated.clone_from(&before.not_sent);
        let trusted = |hook| before.distrusted().all(|m| m.hook != hook);
        for &(hook, sent, saw) in &after.tried {
            if saw != sent && trusted(hook) {
                self.missed.push((
                    format!(
                        "requests of the calibration at the end that {} did not see",
                        hook.name()
                    ),
                    sent.abs_diff(saw),
                ));
            }
        }
        // What could be sent before and not any more proves nothing about what came between.
        for kind in &after.not_sent {
            // The reason behind the colon may name a descriptor, which is another one each time.
            let what = |told: &String| told.split(':').next().map(str::to_owned);
            if before
                .not_sent
                .iter()
                .all(|known| what(known) != what(kind))
            {
                self.missed
                    .push((format!("calibration at the end: {kind}"), 1));
            }
        }
    }
}

impl Session {
    /// Loads the programs that the plan needs and attaches them.
    ///
    /// A probe that cannot be attached becomes a [`Missing`]; only where nothing at all can be loaded is it an error.
    pub(crate) fn start(kernel: &Kernel, plan: &Plan, scope: ScopeConfig) -> Result<Self> {
        let config = config(kernel, plan)?;
        let mut ebpf = load(&config, &scope, plan.sizes, plan.steps.level)?;
        let counters = Counters::of(kernel);
        let mut kprobes = Vec::new();
        let btf = Btf::from_sys_fs().ok();

        let mut attached = Vec::new();
        let mut missing = plan.missing.clone();
        for probe in &plan.probes {
            match attach(&mut ebpf, btf.as_ref(), counters, probe) {
                Ok((probe, link)) => {
                    kprobes.extend(link.map(|link| (probe.clone(), link)));
                    attached.push(probe);
                }
                Err(error) => missing.push(Missing {
                    hook: probe.hook,
                    why: format!("{} {}: {error:#}", probe.kind.name(), probe.target),
                    costs: costs(probe.hook),
                }),
            }
        }
        if attached.is_empty() {
            let why = missing.first().map_or_else(String::new, |m| m.why.clone());
            return Err(anyhow!("no probe could be attached; the first one: {why}"));
        }
        // The kernel's types take more room than all else, and go before the ring buffer comes.
        drop(btf);
        sys::give_memory_back();
        let events = RingBuf::try_from(ebpf.take_map("EVENTS").context("no map EVENTS")?)?;
        let events = sys::readable_ring(events)?;
        Ok(Self {
            ebpf,
            events,
            attached,
            missing,
            counters,
            kprobes,
            filesystems: kernel.filesystems(),
        })
    }

    /// Traces a process from now on, and the children it makes.
    pub(crate) fn follow(&mut self, pid: u32) -> Result<()> {
        let known = self.ebpf.map_mut("KNOWN").context("no map KNOWN")?;
        let mut known = Array::<_, u8>::try_from(known)?;
        known.set(pid % known.len(), 1, 0)?;
        let map = self.ebpf.map_mut("SCOPE").context("no map SCOPE")?;
        HashMap::<_, u32, u64>::try_from(map)?
            .insert(pid, 0, 0)
            .context("cannot follow the process")
    }

    /// To be called after a process was taken out of the table of the traced: the programs look there again.
    pub(crate) fn scope_changed(&mut self) -> Result<()> {
        // The programs count their own changes at another place.
        let changes = self.ebpf.map_mut("USER_CHANGES");
        let changes = changes.context("no map USER_CHANGES")?;
        let mut changes = Array::<_, u64>::try_from(changes)?;
        let count = changes.get(&0, 0)?;
        Ok(changes.set(0, count + 1, 0)?)
    }

    /// Traces a process while `work` runs, and forgets it: no hit, no loss and no file of it is in any account.
    pub(crate) fn while_followed<T>(
        &mut self,
        pid: u32,
        work: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<T> {
        let mut losses = Vec::new();
        for loss in Loss::ALL {
            losses.push((loss as u32, self.counted()?.get(&(loss as u32), 0)?));
        }
        self.follow(pid)?;
        let done = work(self);

        let scope = self.ebpf.map_mut("SCOPE").context("no map SCOPE")?;
        HashMap::<_, u32, u64>::try_from(scope)?.remove(&pid)?;
        self.scope_changed()?;
        let places = self.ebpf.map_mut("PROCESSES").context("no map PROCESSES")?;
        let mut places = Array::<_, ProcessHits>::try_from(places)?;
        let at = pid % places.len();
        let place = places.get(&at, 0)?;
        if place.tgid == pid {
            let hits = [0; Hook::ALL.len()];
            places.set(at, ProcessHits { hits, ..place }, 0)?;
        }
        let hits = self.ebpf.map_mut("HITS").context("no map HITS")?;
        let mut hits = HashMap::<_, HookHitKey, u64>::try_from(hits)?;
        for &hook in Hook::ALL {
            let hook = hook as u32;
            // Most are not there.
            let _ = hits.remove(&HookHitKey { tgid: pid, hook });
        }
        // An inode number may come again, with another name.
        let files = self.ebpf.map_mut("FILES").context("no map FILES")?;
        let mut files = HashMap::<_, [u64; 3], u64>::try_from(files)?;
        let known: Vec<[u64; 3]> = files.keys().filter_map(Result::ok).collect();
        for file in known {
            files.remove(&file)?;
        }
        let counted = self.ebpf.map_mut("LOSSES").context("no map LOSSES")?;
        let mut counted = PerCpuArray::<_, u64>::try_from(counted)?;
        for (loss, before) in losses {
            counted.set(loss, before, 0)?;
        }
        done
    }

    /// Waits until many records are there, or the time has come to take the few that are.
    pub(crate) async fn ready(&self) -> Result<()> {
        if let Ok(ready) = timeout(PATIENCE, self.events.readable()).await {
            ready?.clear_ready();
        }
        Ok(())
    }

    /// Takes what is there.
    pub(crate) fn take(&mut self, each: impl FnMut(Record<'_>)) {
        take(&mut self.events, each);
    }

    /// Ops that are open now.
    pub(crate) fn open_ops(&self) -> u64 {
        let Some(map) = self.ebpf.map("OPEN") else {
            return 0;
        };
        Array::<_, u64>::try_from(map).map_or(0, |open| {
            open.iter()
                .filter_map(Result::ok)
                .fold(0, u64::wrapping_add)
        })
    }

    fn counted(&self) -> Result<PerCpuArray<&MapData, u64>> {
        Ok(PerCpuArray::try_from(
            self.ebpf.map("LOSSES").context("no map LOSSES")?,
        )?)
    }

    /// The losses so far that are not zero.
    pub(crate) fn losses(&self) -> Result<Vec<(Loss, u64)>> {
        let losses = self.counted()?;
        let mut all = Vec::new();
        for loss in Loss::ALL {
            let lost: u64 = losses.get(&(loss as u32), 0)?.iter().sum();
            if lost > 0 {
                all.push((loss, lost));
            }
        }
        Ok(all)
    }

    /// Forgets the files that were opened or are written back: those of the calibration are not the workload's.
    pub(crate) fn forget_files(&mut self) -> Result<()> {
        self.empty::<WritebackKey, WritebackRecord>("WRITEBACK")?;
        self.empty::<OpenedKey, u64>("OPENED")?;
        self.empty::<OpenedKey, u64>("OPENED_AGAIN")
    }

    fn empty<K: Pod, V: Pod>(&mut self, name: &str) -> Result<()> {
        let map = self.ebpf.map_mut(name);
        let map = map.with_context(|| format!("no map {name}"))?;
        let mut table = HashMap::<_, K, V>::try_from(map)?;
        let keys: Vec<_> = table.keys().collect::<Result<_, _>>()?;
        for key in keys {
            table.remove(&key)?;
        }
        Ok(())
    }

    /// The account so far.
    pub(crate) fn account(&self, kernel: &Kernel) -> Result<Account> {
        let mut account = Account {
            losses: self.losses()?,
            open: self.open_ops(),
            ..Account::default()
        };
        let hits =
            HashMap::<_, HookHitKey, u64>::try_from(self.ebpf.map("HITS").context("no map HITS")?)?;
        for entry in hits.iter() {
            let (key, n) = entry?;
            if let Some(&hook) = Hook::ALL.get(key.hook as usize) {
                *account.hits.entry((hook, key.tgid)).or_default() += n;
            }
        }
        let places = self.ebpf.map("PROCESSES").context("no map PROCESSES")?;
        for place in Array::<_, ProcessHits>::try_from(places)?.iter() {
            let place = place?;
            for (&hook, &n) in Hook::ALL.iter().zip(&place.hits) {
                if n > 0 {
                    *account.hits.entry((hook, place.tgid)).or_default() += n;
                }
            }
        }
        let files = HashMap::<_, WritebackKey, WritebackRecord>::try_from(
            self.ebpf.map("WRITEBACK").context("no map WRITEBACK")?,
        )?;
        for entry in files.iter() {
            let (file, record) = entry?;
            if record.bios > 0 {
                account.writeback.push((file, record));
            }
        }
        account
            .writeback
            .sort_by_key(|(file, _)| (file.dev, file.ino));
        // Both programs at the return of a system call see every file, but for what one of them misses.
        let mut opened: std::collections::HashMap<OpenedKey, u64> =
            std::collections::HashMap::new();
        for name in ["OPENED", "OPENED_AGAIN"] {
            let map = self.ebpf.map(name);
            let map = map.with_context(|| format!("no map {name}"))?;
            for entry in HashMap::<_, OpenedKey, u64>::try_from(map)?.iter() {
                let (key, files) = entry?;
                let most = opened.entry(key).or_default();
                *most = files.max(*most);
            }
        }
        let opened: Vec<_> = opened.into_iter().collect();
        match unwatched::of(&opened, kernel, &self.attached) {
            Some(unwatched) => account.unwatched = unwatched,
            None => account.uncounted.push(
                "files on filesystems that are in no list (the kernel hides its addresses: /proc/sys/kernel/kptr_restrict)"
                    .into(),
            ),
        }
        self.count_misses(&mut account);
        let now = kernel.filesystems();
        for late in now.iter().flatten() {
            if self
                .filesystems
                .as_ref()
                .is_some_and(|at_start| !at_start.contains(late))
            {
                account.missed.push((
                    format!("filesystem that was loaded late, without probes in it ({late})"),
                    1,
                ));
            }
        }
        if now.is_none() || self.filesystems.is_none() {
            account
                .uncounted
                .push("filesystems that are loaded late (/proc/filesystems)".into());
        }
        Ok(account)
    }

    /// Adds what the kernel counted of hits that it passed over.
    fn count_misses(&self, account: &mut Account) {
        let mut programs: BTreeMap<&str, &Probe> = BTreeMap::new();
        for probe in &self.attached {
            programs.entry(&probe.program).or_insert(probe);
        }
        let mut exits: Option<u64> = None;
        for (name, probe) in programs {
            let recursed = self
                .ebpf
                .program(name)
                .and_then(|program| fd_of(program, probe.kind))
                .map(|fd| self.counters.recursed(fd.as_fd()));
            match recursed {
                // What one of several programs saw was seen.
                Some(Ok(n)) if probe.hook == Hook::SyscallExit => {
                    exits = Some(exits.map_or(n, |least| least.min(n)));
                }
                Some(Ok(n)) => account.add_missed(probe, n),
                _ => account.uncounted.push(probe.place()),
            }
        }
        let exit = self.attached.iter().find(|p| p.hook == Hook::SyscallExit);
        if let (Some(n), Some(probe)) = (exits, exit) {
            account.missed_exits = n;
            account.add_missed(probe, n);
        }
        for probe in &self.attached {
            if !matches!(probe.kind, Kind::Kprobe | Kind::Kretprobe) {
                continue;
            }
            let counted = self
                .kprobes
                .iter()
                .find(|(known, _)| known == probe)
                .and_then(|(_, link)| self.counters.missed(link.info().ok()?.id()).ok());
            match counted {
                Some(0) => {}
                Some(n) => account
                    .missed
                    .push((format!("hits that the {} missed", probe.place()), n)),
                None => account.uncounted.push(probe.place()),
            }
        }
    }

    /// Takes the probes away, lets `last` take what they sent before that, and says which there were.
    pub(crate) fn stop(mut self, last: impl FnMut(Record<'_>)) -> (Vec<Probe>, Vec<Missing>) {
        // The links go with the programs; the ring buffer lives on in `events`.
        drop(self.kprobes);
        drop(self.ebpf);
        take(&mut self.events, last);
        (self.attached, self.missing)
    }

    /// For the scope, which has maps of its own, and the logger that shows the programs' own diagnostics.
    pub(crate) fn ebpf_mut(&mut self) -> &mut Ebpf {
        &mut self.ebpf
    }
}

/// The plan for this kernel. Where there are no kprobes, whether fentry can be had is tried out: a kernel says so
/// nowhere, and where there are kprobes they stand in for an fentry that fails.
pub(crate) fn plan(kernel: &Kernel, choice: &Choice) -> Plan {
    let make = |fentry| Plan {
        sizes: choice.sizes,
        ..plan::make(kernel, choice.probes, fentry)
    };
    let plan = make(Ok(()));
    let hopeful = |probe: &&Probe| probe.kind == Kind::Fentry && probe.instead.is_none();
    let Some(probe) = plan.probes.iter().find(hopeful) else {
        return plan;
    };
    let tried = config(kernel, &plan).and_then(|config| {
        let mut ebpf = load(&config, &ScopeConfig::default(), plan.sizes, StepLevel::Off)?;
        let btf = Btf::from_sys_fs().ok();
        attach_one(&mut ebpf, btf.as_ref(), Counters::of(kernel), probe).map(drop)
    });
    match tried {
        Ok(()) => plan,
        Err(error) => make(Err(&format!("fentry is refused ({})", error.root_cause()))),
    }
}

fn load(config: &Config, scope: &ScopeConfig, sizes: Sizes, steps: StepLevel) -> Result<Ebpf> {
    let level = diagnostics::level();
    let steps = StepConfig {
        level: steps as u32,
        // The records of ops are what a verdict rests on: steps leave them a quarter.
        room: sizes.ring_bytes / 4 * 3,
    };
    let mut loader = EbpfLoader::new();
    loader
        .override_global("CONFIG", config, true)
        .override_global("SCOPE_CONFIG", scope, true)
        .override_global("STEP_CONFIG", &steps, true)
        .override_global(diagnostics::GLOBAL, &level, true)
        .verifier_log_level(VerifierLogLevel::DISABLE)
        .map_max_entries("EVENTS", sizes.ring_bytes);
    if let Some(entries) = sizes.table_entries {
        // Whoever finds no place goes to the table.
        for table in ["PLACES", "OPS", "TASKS", "THREADS"] {
            loader.map_max_entries(table, entries);
        }
    }
    loader
        .load(OBJECT)
        .context("cannot make the eBPF maps (CAP_BPF and CAP_PERFMON, or root, are needed)")
}

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/odio-trace.bpf.o"));

fn take(events: &mut AsyncFd<RingBuf<MapData>>, mut each: impl FnMut(Record<'_>)) {
    let ring = events.get_mut();
    while let Some(item) = ring.next() {
        if let Some(record) = decode(&item) {
            each(record);
        }
    }
}

/// Where the record lies: the kernel begins each at a multiple of eight bytes, which is as much as any of them asks for.
pub(crate) fn decode(bytes: &[u8]) -> Option<Record<'_>> {
    let kind = u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?);
    if kind == RecordKind::Op as u32 {
        bytemuck::try_from_bytes(bytes).ok().map(Record::Op)
    } else if kind == RecordKind::File as u32 {
        bytemuck::try_from_bytes(bytes).ok().map(Record::File)
    } else if kind == RecordKind::Step as u32 {
        let (step, stack) = bytes.split_at_checked(size_of::<StepRecord>())?;
        const { assert!(size_of::<StackRecord>() == size_of::<StepRecord>() + 8 * STACK_DEPTH) };
        let step = bytemuck::try_from_bytes(step).ok()?;
        Some(Record::Step(step, bytemuck::try_cast_slice(stack).ok()?))
    } else {
        None
    }
}

/// Attaches a probe, or what stands in for it. The link is given out where the kernel counts a kprobe's misses in it.
fn attach(
    ebpf: &mut Ebpf,
    btf: Option<&Btf>,
    counters: Counters,
    probe: &Probe,
) -> Result<(Probe, Option<FdLink>)> {
    match attach_one(ebpf, btf, counters, probe) {
        Ok(link) => Ok((probe.clone(), link)),
        Err(error) => match &probe.instead {
            Some(other) => attach(ebpf, btf, counters, other),
            None => Err(error),
        },
    }
}

fn attach_one(
    ebpf: &mut Ebpf,
    btf: Option<&Btf>,
    counters: Counters,
    probe: &Probe,
) -> Result<Option<FdLink>> {
    let program = ebpf
        .program_mut(&probe.program)
        .with_context(|| format!("there is no eBPF program {}", probe.program))?;
    match probe.kind {
        Kind::Kprobe | Kind::Kretprobe => {
            let program: &mut KProbe = program.try_into()?;
            if program.fd().is_err() {
                program.load()?;
            }
            let link = program.attach(&probe.target, 0)?;
            if counters.has_kprobes() {
                return Ok(Some(program.take_link(link)?.try_into()?));
            }
        }
        Kind::Fentry => {
            let program: &mut FEntry = program.try_into()?;
            program.load(&probe.target, btf.context("this kernel shows no BTF")?)?;
            program.attach()?;
        }
        Kind::Fexit => {
            let program: &mut FExit = program.try_into()?;
            program.load(&probe.target, btf.context("this kernel shows no BTF")?)?;
            program.attach()?;
        }
        Kind::RawTracepoint => {
            let program: &mut RawTracePoint = program.try_into()?;
            if program.fd().is_err() {
                program.load()?;
            }
            program.attach(&probe.target)?;
        }
        Kind::BtfTracepoint => {
            let program: &mut BtfTracePoint = program.try_into()?;
            program.load(&probe.target, btf.context("this kernel shows no BTF")?)?;
            program.attach()?;
        }
    }
    Ok(None)
}

/// The loaded program.
fn fd_of(program: &Program, kind: Kind) -> Option<&ProgramFd> {
    match (kind, program) {
        (Kind::Kprobe | Kind::Kretprobe, Program::KProbe(program)) => program.fd().ok(),
        (Kind::Fentry, Program::FEntry(program)) => program.fd().ok(),
        (Kind::Fexit, Program::FExit(program)) => program.fd().ok(),
        (Kind::RawTracepoint, Program::RawTracePoint(program)) => program.fd().ok(),
        (Kind::BtfTracepoint, Program::BtfTracePoint(program)) => program.fd().ok(),
        _ => None,
    }
}

/// What the programs need to know of this kernel.
fn config(kernel: &Kernel, plan: &Plan) -> Result<Config> {
    let offsets =
        odio_trace_common::Offsets::resolve(|structure, member| kernel.offset(structure, member));
    let flag = |name| kernel.bio_flag(name).unwrap_or(0);
    let address = |name| kernel.address(name).unwrap_or(0);
    anyhow::ensure!(
        flag("__REQ_FUA") != 0 && flag("__REQ_PREFLUSH") != 0,
        "this kernel's BTF does not say which bits of a bio are FUA and PREFLUSH (is /sys/kernel/btf/vmlinux there? \
         CONFIG_DEBUG_INFO_BTF makes it)"
    );
    Ok(Config {
        symbols: odio_trace_common::Symbols {
            aio_complete_rw: address("aio_complete_rw"),
            io_complete_rw: address("io_complete_rw"),
            iomap_dio_bio_end_io: address("iomap_dio_bio_end_io"),
            dio_bio_end_io: address("dio_bio_end_io"),
            dio_bio_end_aio: address("dio_bio_end_aio"),
            blkdev_bio_end_io: address("blkdev_bio_end_io"),
            blkdev_bio_end_io_async: address("blkdev_bio_end_io_async"),
            xlog_bio_end_io: address("xlog_bio_end_io"),
            btrfs_end_super_write: address("btrfs_end_super_write"),
        },
        offsets,
        req_fua: flag("__REQ_FUA"),
        req_preflush: flag("__REQ_PREFLUSH"),
        req_meta: flag("__REQ_META"),
        // The tracepoint plan has no return of the entry function, only "it was queued".
        returns_seen: u32::from(
            plan.probes
                .iter()
                .any(|p| matches!(p.kind, Kind::Fexit | Kind::Kretprobe)),
        ),
        wake_at: plan.sizes.ring_bytes / 8,
        reserved: [0; odio_trace_common::PADDING],
    })
}

#[cfg(test)]
mod tests {
    use bytemuck::Zeroable;

    use super::*;

    #[test]
    fn records_are_read_where_they_lie_and_only_whole() {
        let op = OpRecord {
            kind: RecordKind::Op as u32,
            ino: 12,
            ..OpRecord::zeroed()
        };
        let bytes = bytemuck::bytes_of(&op);
        let Some(Record::Op(read)) = decode(bytes) else {
            panic!("an op")
        };
        assert_eq!(read, &op);
        assert!(decode(&bytes[..bytes.len() - 8]).is_none());

        let step = StepRecord {
            kind: RecordKind::Step as u32,
            ns: 7,
            ..StepRecord::zeroed()
        };
        let mut words: Vec<u64> = bytemuck::cast_slice(bytemuck::bytes_of(&step)).into();
        let Some(Record::Step(read, [])) = decode(bytemuck::cast_slice(&words)) else {
            panic!("a step without a stack")
        };
        assert_eq!(read.ns, 7);
        words.extend(1..=STACK_DEPTH as u64);
        let Some(Record::Step(_, stack)) = decode(bytemuck::cast_slice(&words)) else {
            panic!("a step with its stack")
        };
        assert!(stack.iter().copied().eq(1..=STACK_DEPTH as u64));
        assert!(decode(&[0; 3]).is_none() && decode(&[0; 4]).is_none());
    }
}
