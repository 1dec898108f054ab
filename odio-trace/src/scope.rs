//! # Which processes are traced
//!
//! The programs decide it, by the maps that are filled here; see `ebpf/src/scope.rs`. A process that runs already is
//! taken up with its threads and the children it has; those it makes later follow by themselves.

use std::{
    collections::{HashMap, HashSet},
    fs::{self, File},
    os::{fd::AsRawFd, unix::ffi::OsStrExt},
    path::PathBuf,
    process,
};

use anyhow::{Context, Result, bail, ensure};
use aya::maps::{CgroupArray, HashMap as BpfMap, MapData};
use odio_trace_common::{COMM_LEN, ScopeBy, ScopeConfig, comm};

use crate::session::Session;

/// The magic number of a version 2 cgroup filesystem (`CGROUP2_SUPER_MAGIC`).
const CGROUP2: i64 = 0x6367_7270;

/// The inode number that the kernel fixes for its first process namespace (`PROC_PID_INIT_INO`).
const FIRST_PID_NAMESPACE: &str = "pid:[4026531836]";

/// What is traced.
#[derive(Debug)]
pub(crate) enum Scope {
    /// A process that was made to be traced.
    Made(u32),
    /// These processes.
    Processes(Vec<u32>),
    /// Processes of which a thread has, or later takes, one of these names.
    Names(HashSet<[u8; COMM_LEN]>),
    /// Whatever is in this cgroup or below.
    Cgroup(File),
}

impl Scope {
    /// By process number; each must be that of a process that runs.
    pub(crate) fn processes(pids: &[u32]) -> Result<Self> {
        for &pid in pids {
            ensure!(pid != process::id(), "odio-trace does not trace itself");
            let status = fs::read_to_string(format!("/proc/{pid}/status"))
                .with_context(|| format!("there is no process {pid} that this user can see"))?;
            let tgid = status
                .lines()
                .find_map(|line| line.strip_prefix("Tgid:"))
                .and_then(|tgid| tgid.trim().parse::<u32>().ok());
            if let Some(tgid) = tgid
                && tgid != pid
            {
                bail!(
                    "{pid} is a thread of process {tgid}; --pid {tgid} traces all of its threads"
                );
            }
        }
        Ok(Self::Processes(pids.to_vec()))
    }

    /// By the name of a thread, of which the kernel keeps 15 bytes.
    pub(crate) fn names(names: &[std::ffi::OsString]) -> Self {
        Self::Names(names.iter().map(|name| comm(name.as_bytes())).collect())
    }

    /// By the folder of a cgroup.
    pub(crate) fn cgroup(path: &PathBuf) -> Result<Self> {
        let dir =
            File::open(path).with_context(|| format!("cannot open cgroup {}", path.display()))?;
        let kind = rustix::fs::fstatfs(&dir)?.f_type;
        ensure!(
            kind == CGROUP2,
            "{} is in no version 2 cgroup filesystem, the only kind whose members the kernel tells apart here",
            path.display()
        );
        Ok(Self::Cgroup(dir))
    }

    /// What the programs are told before they are loaded.
    pub(crate) fn config(&self) -> ScopeConfig {
        ScopeConfig {
            by: match self {
                Self::Made(_) | Self::Processes(_) => ScopeBy::Process,
                Self::Names(_) => ScopeBy::Name,
                Self::Cgroup(_) => ScopeBy::Cgroup,
            } as u32,
            own: process::id(),
            late: u32::from(!matches!(self, Self::Made(_))),
        }
    }

    /// Whether the numbers of processes, as this process sees them, are those of the kernel.
    pub(crate) fn may_be_told(&self) -> Result<()> {
        if let Ok(space) = fs::read_link("/proc/self/ns/pid")
            && space.as_os_str() != FIRST_PID_NAMESPACE
            && !matches!(self, Self::Cgroup(_))
        {
            bail!(
                "this process is in a pid namespace of its own, where process numbers are not those of the kernel; \
                 trace from outside of the container, or by `odio-trace attach --cgroup`"
            );
        }
        Ok(())
    }

    /// Takes up what is to be traced, from now on.
    pub(crate) fn open(&self, session: &mut Session) -> Result<()> {
        match self {
            Self::Made(pid) => session.follow(*pid),
            Self::Processes(pids) => take_up(session, |process| pids.contains(&process.pid)),
            Self::Names(names) => {
                let mut wanted = wanted(session)?;
                for name in names {
                    wanted
                        .insert(name, 1, 0)
                        .context("too many names to follow")?;
                }
                take_up(session, |process| process.is_named(names))
            }
            Self::Cgroup(dir) => Ok(cgroup(session)?.set(0, dir.as_raw_fd(), 0)?),
        }
    }

    /// Lets no further request begin; those that are open go on to their end.
    pub(crate) fn close(&self, session: &mut Session) -> Result<()> {
        if let Self::Cgroup(_) = self {
            return Ok(cgroup(session)?.unset(0)?);
        }
        let mut wanted = wanted(session)?;
        if let Self::Names(names) = self {
            for name in names {
                wanted.remove(name)?;
            }
        }
        // A fork that is being followed right now may put one more in behind the reader.
        loop {
            let mut processes = processes(session)?;
            let all: Vec<u32> = processes.keys().filter_map(Result::ok).collect();
            if all.is_empty() {
                return Ok(());
            }
            for pid in all {
                let _ = processes.remove(&pid);
            }
            session.scope_changed()?;
        }
    }
}

/// How many traced processes still run. One that has ended stays in the table until the kernel frees it.
pub(crate) fn running(session: &mut Session) -> Result<u64> {
    let all = processes(session)?;
    let runs = |pid: &u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // The name, which may hold anything, is in parentheses; then comes the state (proc(5)).
        let state = stat
            .rsplit_once(") ")
            .and_then(|(_, rest)| rest.chars().next());
        state.is_some_and(|state| !"ZX".contains(state))
    };
    Ok(all.keys().filter_map(Result::ok).filter(runs).count() as u64)
}

fn processes(session: &mut Session) -> Result<BpfMap<&mut MapData, u32, u64>> {
    let map = session
        .ebpf_mut()
        .map_mut("SCOPE")
        .context("no map SCOPE")?;
    Ok(map.try_into()?)
}

fn wanted(session: &mut Session) -> Result<BpfMap<&mut MapData, [u8; COMM_LEN], u32>> {
    let map = session
        .ebpf_mut()
        .map_mut("NAMES")
        .context("no map NAMES")?;
    Ok(map.try_into()?)
}

fn cgroup(session: &mut Session) -> Result<CgroupArray<&mut MapData>> {
    let map = session
        .ebpf_mut()
        .map_mut("CGROUP")
        .context("no map CGROUP")?;
    Ok(map.try_into()?)
}

/// Takes up the processes that are wanted, and all that descend from them.
///
/// Looks again until nothing new is found: a process that forks while it is looked for has a child that nobody follows.
fn take_up(session: &mut Session, wanted: impl Fn(&Process) -> bool) -> Result<()> {
    let mut known = HashSet::new();
    loop {
        let all = Process::all().context("cannot look at the processes in /proc")?;
        let found = family(&all, &wanted);
        let mut new = false;
        for pid in found {
            if known.insert(pid) {
                new = true;
                session
                    .follow(pid)
                    .with_context(|| format!("process {pid}: too many processes"))?;
            }
        }
        if !new {
            return Ok(());
        }
    }
}

/// Those that are wanted and their descendants, but not the tracer.
fn family(all: &[Process], wanted: impl Fn(&Process) -> bool) -> HashSet<u32> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for process in all {
        children
            .entry(process.parent)
            .or_default()
            .push(process.pid);
    }
    let mut found = HashSet::new();
    let mut next: Vec<u32> = all.iter().filter(|p| wanted(p)).map(|p| p.pid).collect();
    while let Some(pid) = next.pop() {
        if pid != process::id() && found.insert(pid) {
            next.extend(children.get(&pid).into_iter().flatten());
        }
    }
    found
}

/// A process that runs.
#[derive(Debug)]
struct Process {
    pid: u32,
    parent: u32,
}

impl Process {
    fn all() -> std::io::Result<Vec<Self>> {
        let mut all = Vec::new();
        for entry in fs::read_dir("/proc")? {
            let Some(pid) = entry?
                .file_name()
                .to_str()
                .and_then(|name| name.parse().ok())
            else {
                continue;
            };
            // One that is gone by now needs not be followed.
            if let Some(parent) = fs::read(format!("/proc/{pid}/stat"))
                .ok()
                .and_then(|s| parent(&s))
            {
                all.push(Self { pid, parent });
            }
        }
        Ok(all)
    }

    fn is_named(&self, names: &HashSet<[u8; COMM_LEN]>) -> bool {
        let threads = fs::read_dir(format!("/proc/{}/task", self.pid));
        threads.into_iter().flatten().flatten().any(|thread| {
            fs::read(thread.path().join("comm"))
                .is_ok_and(|name| names.contains(&comm(name.strip_suffix(b"\n").unwrap_or(&name))))
        })
    }
}

/// The parent's number in /proc/PID/stat, the second word after the name, which may hold anything but ends the last `)`.
pub(crate) fn parent(stat: &[u8]) -> Option<u32> {
    let end = stat.iter().rposition(|&b| b == b')')?;
    let rest = std::str::from_utf8(&stat[end + 1..]).ok()?;
    rest.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_in_stat_may_look_like_what_follows_it() {
        assert_eq!(parent(b"7 (a) S 3) S 12 7 7 0"), Some(12));
        assert_eq!(parent(b"7 (\xff) R 1 7"), Some(1));
        assert_eq!(parent(b"7 (a"), None);
        assert_eq!(parent(b""), None);
    }

    #[test]
    fn a_family_is_all_that_descends_and_never_the_tracer() {
        let own = process::id();
        let all: Vec<Process> = [
            (10, 1),
            (11, 10),
            (12, 11),
            (20, 1),
            (own, 10),
            (own + 1, own),
        ]
        .map(|(pid, parent)| Process { pid, parent })
        .into();
        assert_eq!(family(&all, |p| p.pid == 10), HashSet::from([10, 11, 12]));
        assert_eq!(family(&all, |p| p.pid == 20), HashSet::from([20]));
        assert!(family(&all, |p| p.pid == 30).is_empty());
    }

    #[test]
    fn what_cannot_be_traced_is_refused_with_the_reason() {
        let error = |pids: &[u32]| Scope::processes(pids).unwrap_err().to_string();
        assert!(error(&[process::id()]).contains("itself"));
        assert!(error(&[u32::MAX]).contains("no process 4294967295"));
        // A thread of this very test is none of the process' own number.
        let tid = std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                let link = fs::read_link("/proc/thread-self").unwrap();
                let tid: u32 = link.file_name().unwrap().to_str().unwrap().parse().unwrap();
                error(&[tid])
            });
            thread.join().unwrap()
        });
        assert!(tid.contains(&format!("--pid {}", process::id())), "{tid}");
        let none = Scope::cgroup(&"/proc".into()).unwrap_err().to_string();
        assert!(none.contains("version 2"), "{none}");
    }
}
