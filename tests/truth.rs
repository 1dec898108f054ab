//! # What tracefs counted, held against what odio-trace counted
//!
//! A guest script (`guest/truth.sh`) runs each case under both and prints their outputs; this reads them. tracefs is
//! independent of eBPF: its kprobe events are made by the kernel and told as text, each with the thread it fired in.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// What odio-trace counts per process, and the tracefs event of the same function.
const HOOKS: [(&str, &str); 4] = [
    ("bio-submit", "submit_bio"),
    ("vfs-fsync", "vfs_fsync_range"),
    ("fs-fsync", "fs_fsync"),
    ("commit-wait", "commit_wait"),
];

/// The same of fs/direct-io.c, for a guest that watches it (`guest/waits.sh`).
const DIO_HOOKS: [(&str, &str); 2] = [("dio-begin", "direct_io"), ("dio-await", "dio_await")];

/// `CLONE_THREAD`: the new task belongs to the process of the one that made it.
const CLONE_THREAD: u64 = 0x0001_0000;

/// Bits of `bi_opf` (include/linux/blk_types.h, Linux 6.1).
const REQ_OP_MASK: u64 = 0xff;
const REQ_META: u64 = 1 << 12;
const REQ_FUA: u64 = 1 << 17;
const REQ_PREFLUSH: u64 = 1 << 18;

/// One case: both accounts of the same run.
#[derive(Debug)]
pub struct Case {
    /// Ops, and rows of a matrix, as printed.
    pub ops: Vec<Value>,
    /// The last line.
    pub summary: Value,
    /// Exit status of odio-trace.
    pub status: i64,
    /// What the workload wrote to `$REPORT`.
    pub report: Option<String>,
    /// Whether the data bios of kernel workers belong to ops: vfat's fsync, which a worker runs for what was queued,
    /// writes sectors that are not marked as metadata.
    pub workers_write: bool,
    trace: Trace,
    /// Whether tracefs watched the waits for a journal.
    journal: bool,
    /// Whether it watched fs/direct-io.c.
    direct_io: bool,
}

/// The outputs of a guest that ran `guest/truth.sh`.
#[derive(Debug)]
pub struct Guest {
    parts: BTreeMap<(String, String), String>,
}

impl Guest {
    /// Reads the parts of an output.
    ///
    /// # Panics
    ///
    /// Where it does not begin with a part, or has one twice.
    #[must_use]
    pub fn read(output: &str) -> Self {
        let mut parts = BTreeMap::new();
        let mut at = None;
        for line in output.lines() {
            if let Some(head) = line.strip_prefix("### ") {
                let (case, part) = head.split_once(' ').expect("CASE PART");
                let key = (case.to_owned(), part.to_owned());
                let twice = parts.insert(key.clone(), String::new());
                assert!(twice.is_none(), "{head} is there twice");
                at = Some(key);
            } else {
                let text = parts
                    .get_mut(at.as_ref().expect("a part"))
                    .expect("is there");
                text.push_str(line);
                text.push('\n');
            }
        }
        Self { parts }
    }

    /// One part of a case.
    ///
    /// # Panics
    ///
    /// Where the guest did not print it.
    #[must_use]
    pub fn part(&self, case: &str, part: &str) -> &str {
        self.parts
            .get(&(case.to_owned(), part.to_owned()))
            .unwrap_or_else(|| panic!("the guest printed no {part} of {case}"))
    }

    /// Both accounts of a case.
    ///
    /// # Panics
    ///
    /// Where a part is missing or garbled.
    #[must_use]
    pub fn case(&self, case: &str) -> Case {
        let mut ops: Vec<Value> = self
            .part(case, "json")
            .lines()
            .map(|line| {
                serde_json::from_str(line).unwrap_or_else(|e| panic!("{case}: {e}: {line}"))
            })
            .collect();
        let summary = ops.pop().unwrap_or_default();
        assert_eq!(summary["type"], "summary", "{case}: no summary at the end");
        Case {
            ops,
            summary,
            status: self.part(case, "status").trim().parse().expect("a status"),
            report: self
                .parts
                .get(&(case.to_owned(), "report".to_owned()))
                .cloned(),
            trace: Trace::read(self.part(case, "trace")),
            workers_write: false,
            journal: self.part("all", "profile").contains("commit_wait"),
            direct_io: self.part("all", "profile").contains("direct_io"),
        }
    }

    /// tracefs's own misses: its account is as good as it says only if there are none.
    #[must_use]
    pub fn misses(&self) -> Vec<String> {
        let profile = self.part("all", "profile");
        assert!(profile.contains("submit_bio"), "{profile}");
        profile
            .lines()
            .filter(|line| line.split_whitespace().last() != Some("0"))
            .map(str::to_owned)
            .collect()
    }
}

/// A line of tracefs.
#[derive(Debug)]
struct Event {
    thread: u64,
    name: String,
    values: BTreeMap<String, String>,
}

impl Event {
    fn number(&self, name: &str) -> u64 {
        let value = &self.values[name];
        value.parse().unwrap_or_else(|_| panic!("{name}={value}"))
    }

    /// A worker of the kernel. When workers are slow to come, the queue for direct I/O (`s_dio_done_wq`) has a thread
    /// of its own to help out, named after the queue.
    fn is_kworker(&self) -> bool {
        let comm = &self.values["comm"];
        comm.starts_with("\"kworker/") || comm.starts_with("\"dio/")
    }

    /// A request for data with FUA that a driver is given. An F before the W is PREFLUSH.
    fn issues_fua(&self) -> bool {
        let flags = self.values["rwbs"].split_once('W');
        flags.is_some_and(|(_, after)| after.contains('F'))
    }

    fn is_flush(&self) -> bool {
        self.number("size") == 0 && self.number("opf") & REQ_PREFLUSH != 0
    }

    /// A read or write of a file's own blocks.
    fn is_data(&self) -> bool {
        let opf = self.number("opf");
        opf & REQ_OP_MASK <= 1 && opf & REQ_META == 0 && !self.is_flush()
    }
}

/// What tracefs saw of one case.
#[derive(Debug)]
struct Trace {
    events: Vec<Event>,
    /// Events that found the buffer full.
    overwritten: u64,
    /// Process of a thread that was made during the case.
    process: BTreeMap<u64, u64>,
    /// Who made a process, and the name that one had.
    parent: BTreeMap<u64, (u64, String)>,
}

impl Trace {
    fn read(text: &str) -> Self {
        let mut trace = Self {
            events: Vec::new(),
            overwritten: u64::MAX,
            process: BTreeMap::new(),
            parent: BTreeMap::new(),
        };
        for line in text.lines() {
            if let Some((_, counts)) = line.split_once("entries-in-buffer/entries-written: ") {
                let (kept, rest) = counts.split_once('/').expect("two counts");
                let written = rest.split_whitespace().next().expect("two counts");
                let number = |text: &str| text.parse::<u64>().expect("a count");
                trace.overwritten = number(written) - number(kept);
            } else if !line.starts_with('#') && !line.trim().is_empty() {
                trace.add(event(line).unwrap_or_else(|| panic!("not understood: {line}")));
            }
        }
        trace
    }

    fn add(&mut self, event: Event) {
        if event.name != "task_newtask" {
            self.events.push(event);
            return;
        }
        let child = event.number("pid");
        let flags = u64::from_str_radix(&event.values["clone_flags"], 16).expect("clone flags");
        let maker = self.process_of(event.thread);
        if flags & CLONE_THREAD != 0 {
            self.process.insert(child, maker);
        } else {
            self.process.insert(child, child);
            // A new process still has the name of the one that made it.
            self.parent
                .insert(child, (maker, event.values["comm"].clone()));
        }
    }

    /// A thread that was there before the case began is a kernel thread or the only one of its process.
    fn process_of(&self, thread: u64) -> u64 {
        self.process.get(&thread).copied().unwrap_or(thread)
    }

    /// The process `root` and those that come from it.
    fn tree(&self, root: u64) -> BTreeSet<u64> {
        let mut tree = BTreeSet::from([root]);
        // A process is made after its parent, but ids wrap: repeat until nothing is added.
        loop {
            let before = tree.len();
            for (&child, (parent, _)) in &self.parent {
                if tree.contains(parent) {
                    tree.insert(child);
                }
            }
            if tree.len() == before {
                return tree;
            }
        }
    }
}

/// `            comm-12      [001] d..1.   12.345678: name: (function+0x0/0x10) a=1 b=2`
fn event(line: &str) -> Option<Event> {
    // A comm may hold anything; the processor in brackets comes last before the flags and the time.
    let processor = line
        .match_indices(" [")
        .map(|(at, _)| at)
        .find(|&at| line.as_bytes().get(at + 5) == Some(&b']'))?;
    let (_, thread) = line[..processor].trim().rsplit_once('-')?;
    let mut rest = line[processor + 6..].splitn(3, ": ");
    let (_, name, values) = (rest.next()?, rest.next()?, rest.next()?);
    let values = match name {
        "block_rq_issue" => request(values)?,
        _ => values
            .split_whitespace()
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
    };
    Some(Event {
        thread: thread.parse().ok()?,
        name: name.to_owned(),
        values,
    })
}

/// `259,0 WFS 4096 () 2048 + 8 [dd]`
fn request(values: &str) -> Option<BTreeMap<String, String>> {
    let words: Vec<&str> = values.split_whitespace().collect();
    let plus = words.iter().position(|word| *word == "+")?;
    let value = |name: &str, at: usize| Some((name.to_owned(), (*words.get(at)?).to_owned()));
    [value("rwbs", 1), value("sector", plus.checked_sub(1)?)]
        .into_iter()
        .collect()
}

impl Case {
    /// Ops on files of the filesystem that is tried, of one kind.
    pub fn on_disk<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.ops.iter().filter(move |op| {
            op["op"] == kind && op["file"].as_str().is_some_and(|f| f.starts_with("/mnt/"))
        })
    }

    /// Data bios that tracefs saw the workload submit.
    #[must_use]
    pub fn data_bios(&self) -> u64 {
        self.workload("submit_bio").filter(|e| e.is_data()).count() as u64
    }

    /// Calls of `vfs_fsync_range` that tracefs saw, by the workload and by kernel workers.
    #[must_use]
    pub fn fsyncs(&self) -> (u64, u64) {
        self.calls("vfs_fsync_range")
    }

    /// Events of this name that tracefs saw, by the workload and by kernel workers.
    #[must_use]
    pub fn calls(&self, name: &str) -> (u64, u64) {
        (
            self.workload(name).count() as u64,
            self.workers(name).count() as u64,
        )
    }

    /// What the workload's events of this name have in `ret`.
    ///
    /// # Panics
    ///
    /// Where one has no number there.
    #[must_use]
    pub fn returned(&self, name: &str) -> Vec<i64> {
        self.workload(name)
            .map(|e| e.values["ret"].parse().expect("a number"))
            .collect()
    }

    /// Events of these names in their order, thread by thread, cut before each whose name is one of `cuts`; what has
    /// none is left out. Of the workload and of kernel workers.
    #[must_use]
    pub fn paths(&self, names: &[&str], cuts: &[&str]) -> Vec<Vec<String>> {
        let tree = self.trace.tree(self.root());
        let mut threads: BTreeMap<u64, Vec<Vec<String>>> = BTreeMap::new();
        for e in &self.trace.events {
            let name = e.name.as_str();
            let (cut, named) = (cuts.contains(&name), names.contains(&name));
            let ours = |e: &Event| tree.contains(&self.trace.process_of(e.thread));
            if !(cut || named) || !(ours(e) || e.is_kworker()) {
                continue;
            }
            let paths = threads.entry(e.thread).or_insert_with(|| vec![Vec::new()]);
            if cut {
                paths.push(Vec::new());
            }
            if named {
                let path = paths.last_mut().expect("the first is there");
                path.push(e.name.clone());
            }
        }
        let paths = threads.into_values().flatten();
        paths.filter(|path| !path.is_empty()).collect()
    }

    fn root(&self) -> u64 {
        self.summary["pid"].as_u64().expect("the workload's pid")
    }

    fn workload<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Event> {
        let tree = self.trace.tree(self.root());
        self.trace
            .events
            .iter()
            .filter(move |e| e.name == name && tree.contains(&self.trace.process_of(e.thread)))
    }

    /// Nothing else writes to the disk during a case, so what a kernel worker does there is for the workload.
    fn workers<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Event> {
        let events = self.trace.events.iter();
        events.filter(move |e| e.name == name && e.is_kworker())
    }

    /// Everything in which the two accounts differ, and everything that odio-trace says it lost.
    #[must_use]
    pub fn differences(&self) -> Vec<String> {
        let mut differences = Vec::new();
        let mut equal = |what: &str, odio_trace: u64, tracefs: u64| {
            if odio_trace != tracefs {
                differences.push(format!(
                    "{what}: odio-trace {odio_trace}, tracefs {tracefs}"
                ));
            }
        };
        equal("events that tracefs lost", 0, self.trace.overwritten);
        for loss in ["lost", "missed", "unattributed", "open"] {
            equal(loss, self.summary[loss].as_u64().unwrap_or(u64::MAX), 0);
        }
        self.compare_processes(&mut equal);
        self.compare_ops(&mut equal);
        differences.extend(self.strangers());
        differences
    }

    fn compare_processes(&self, equal: &mut impl FnMut(&str, u64, u64)) {
        let counted = &self.summary["processes"];
        let more = DIO_HOOKS.iter().filter(|_| self.direct_io);
        let hooks: Vec<_> = HOOKS.iter().chain(more).collect();
        for process in self.trace.tree(self.root()) {
            for (hook, function) in &hooks {
                let tracefs = self
                    .workload(function)
                    .filter(|e| self.trace.process_of(e.thread) == process)
                    .count();
                let odio_trace = &counted[process.to_string()][*hook];
                equal(
                    &format!("{function} in process {process}"),
                    odio_trace.as_u64().unwrap_or(0),
                    tracefs as u64,
                );
            }
        }
    }

    /// The ops must add up to what tracefs saw, wherever it happened.
    fn compare_ops(&self, equal: &mut impl FnMut(&str, u64, u64)) {
        if self.ops.iter().any(|op| op["type"] == "row") {
            // A matrix prints rows, each of several ops.
            return;
        }
        // Lines of other types, steps and what was written back, say again what is in the ops.
        let ops = || self.ops.iter().filter(|op| op["type"] == "op");
        let sum = |field: &str| -> u64 { ops().filter_map(|op| op[field].as_u64()).sum() };
        let seen = |name| (self.workload(name).count() + self.workers(name).count()) as u64;
        let by_worker = ops().filter(|op| op["fsync_by"] == "kworker");
        equal(
            "vfs_fsync_range by kworkers",
            by_worker.filter_map(|op| op["vfs_fsyncs"].as_u64()).sum(),
            self.fsyncs().1,
        );
        equal(
            "vfs_fsync_range in ops",
            sum("vfs_fsyncs"),
            seen("vfs_fsync_range"),
        );
        // A request of a filesystem may fsync twice, once by either function; the op counts the more frequent one.
        equal("fsyncs in ops", sum("fsyncs"), seen("fs_fsync"));
        if self.journal {
            equal(
                "waits for a commit in ops",
                sum("commits"),
                seen("commit_wait"),
            );
        }

        let workers = self.workers("submit_bio").filter(|_| self.workers_write);
        let data: Vec<&Event> = self
            .workload("submit_bio")
            .chain(workers)
            .filter(|e| e.is_data())
            .collect();
        equal("data bios in ops", sum("bios"), data.len() as u64);
        equal(
            "data bytes in ops",
            sum("bio_bytes"),
            data.iter().map(|e| e.number("size")).sum(),
        );
        let fua = || data.iter().filter(|e| e.number("opf") & REQ_FUA != 0);
        equal(
            "data bios with FUA in ops",
            sum("fua"),
            fua().count() as u64,
        );
        // The journal has sectors of its own.
        let sectors: BTreeSet<u64> = fua().map(|e| e.number("sector")).collect();
        let issued = self.trace.events.iter().filter(|e| {
            e.name == "block_rq_issue" && e.issues_fua() && sectors.contains(&e.number("sector"))
        });
        equal(
            "data bios with FUA in ops that were issued with it",
            sum("fua_issued"),
            issued.count() as u64,
        );
        let flushes = self
            .workload("submit_bio")
            .chain(self.workers("submit_bio"));
        equal(
            "flushes in ops",
            sum("flushes"),
            flushes.filter(|e| e.is_flush()).count() as u64,
        );
    }

    /// Processes that odio-trace counted and that are not the workload's.
    fn strangers(&self) -> Vec<String> {
        let tree = self.trace.tree(self.root());
        let counted = self.summary["processes"].as_object();
        let mut strangers: Vec<String> = counted
            .into_iter()
            .flat_map(|processes| processes.keys())
            .filter(|pid| !pid.parse().is_ok_and(|pid: u64| tree.contains(&pid)))
            .map(|pid| format!("process {pid} was counted and is not of the workload"))
            .collect();
        match self.trace.parent.get(&self.root()) {
            Some((_, comm)) if comm == "odio-trace" => {}
            other => strangers.push(format!("the workload was made by {other:?}")),
        }
        strangers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = r##"# entries-in-buffer/entries-written: 6/8   #P:2
#           TASK-PID     CPU#  |||||  TIMESTAMP  FUNCTION
              sh-9       [000] .....     1.000001: task_newtask: pid=10 comm=sh clone_flags=1200000 oom_score_adj=0
      odio-trace-10      [000] .....     1.000002: task_newtask: pid=11 comm=odio-trace clone_flags=4100 oom_score_adj=0
         a-b [c]-11      [001] d..1.     1.000003: task_newtask: pid=12 comm=a-b clone_flags=50f00 oom_score_adj=0
         a-b [c]-12      [001] .....     1.000004: submit_bio: (submit_bio+0x0/0x90) comm="a-b [c]" opf=133121 size=4096
           <...>-7       [001] .....     1.000005: submit_bio: (submit_bio+0x0/0x90) comm="kworker/1:1" opf=262145 size=0
          <idle>-0       [000] d.s..     1.000006: block_rq_issue: 259,0 WFS 4096 () 2048 + 8 [a + b]
          <idle>-0       [000] d.s..     1.000006: block_rq_issue: 259,0 FF 0 () 0 + 0 [a + b]
      odio-trace-10      [001] .....     1.000006: submit_bio: (submit_bio+0x0/0x90) comm="odio-trace" opf=4096 size=4096
"##;

    #[test]
    fn a_trace_is_read() {
        let trace = Trace::read(TRACE);
        assert_eq!(trace.overwritten, 2);
        assert_eq!(trace.tree(11), BTreeSet::from([11]));
        assert_eq!(trace.tree(10), BTreeSet::from([10, 11]));
        assert_eq!(trace.process_of(12), 11);
        assert_eq!(trace.parent[&11], (10, "odio-trace".to_owned()));
        let [data, flush, issued, flushed, meta] = &trace.events[..] else {
            panic!("{trace:?}")
        };
        assert!(data.is_data() && !data.is_flush() && data.number("opf") & REQ_FUA != 0);
        assert!(flush.is_flush() && !flush.is_data() && flush.is_kworker());
        assert!(!meta.is_data() && meta.thread == 10);
        assert!(issued.issues_fua() && issued.number("sector") == 2048);
        assert!(!flushed.issues_fua());
    }
}
