//! # Where fs/direct-io.c waits: odio-trace against tracefs, function by function
//!
//! On the kernel of `scripts/kernel`, which alone shows `dio_await_completion`, and on two filesystems whose direct I/O
//! goes through fs/direct-io.c. Workloads that nobody here wrote run under both accounts, each with another prime
//! number of requests.

use std::{collections::BTreeMap, fmt::Write, process::Command};

use odio_tests::{
    truth::{Case, Guest},
    vm::Run,
};
use serde_json::Value;

/// `EIOCBQUEUED` of the kernel (include/linux/errno.h).
const QUEUED: i64 = -529;

const BLOCK: i64 = 4096;

/// The events of `guest/waits.sh` that are steps of odio-trace too, and the function of each; `fs_fsync` is the
/// filesystem's own.
const FUNCTIONS: [(&str, &str); 6] = [
    ("direct_io", "__blockdev_direct_IO"),
    ("submit_bio", "submit_bio"),
    ("dio_await", "dio_await_completion"),
    ("dio_work", "dio_aio_complete_work"),
    ("vfs_fsync_range", "vfs_fsync_range"),
    ("fs_fsync", ""),
];

/// A filesystem, and what is its own.
struct Fs {
    name: &'static str,
    fsync: &'static str,
    /// How durable data is that was written over blocks without a sync.
    overwritten: &'static str,
    /// The same with one.
    synced: &'static str,
    /// Whether requests that extend a file go through fs/direct-io.c.
    extends: bool,
}

const EXT2: Fs = Fs {
    name: "ext2",
    fsync: "ext2_fsync",
    // Whether ext2_get_block found the blocks or made them is not watched.
    overwritten: "unknown",
    // Whether another fsync of the file was writing its blocks' numbers is not watched.
    synced: "unknown",
    extends: true,
};

const VFAT: Fs = Fs {
    name: "vfat",
    fsync: "fat_file_fsync",
    overwritten: "device-cache",
    // Whether another fsync was writing the FAT is not watched.
    synced: "unknown",
    // fat_direct_IO turns them down.
    extends: false,
};

/// A workload on a file of its own, and what becomes of each request.
struct Load {
    name: &'static str,
    requests: u64,
    overwrite: bool,
    /// Beside what is the same for all.
    options: Options,
    /// Whether each request waits inside fs/direct-io.c.
    awaits: bool,
    /// Who it may be that ends a request: `completion`, and `fsync_by`.
    ends: &'static [&'static str],
    durability: &'static str,
}

enum Options {
    Dd(&'static str),
    Fio(&'static str),
}
use Options::{Dd, Fio};

/// io_submit plugs the queue for more than two requests (`AIO_PLUG_THRESHOLD`): none is issued before all are queued.
/// So the last batch must have more than two as well.
macro_rules! plugged {
    () => {
        "--iodepth=8 --iodepth_batch=8 --iodepth_batch_complete_min=8"
    };
}

fn loads(fs: &Fs) -> Vec<Load> {
    let load = |name, requests, options| Load {
        name,
        requests,
        overwrite: true,
        options,
        awaits: false,
        ends: &["queued, none"],
        durability: fs.overwritten,
    };
    let synced = |name, requests, options| Load {
        ends: &["queued, kworker"],
        durability: fs.synced,
        ..load(name, requests, options)
    };
    // do_blockdev_direct_IO makes what extends a file synchronous. vfat copies it to the page cache and writes that out
    // before the request returns (__generic_file_write_iter).
    let extending = |name, requests, options, ends| Load {
        overwrite: false,
        awaits: fs.extends,
        ends,
        durability: "uncommitted",
        ..load(name, requests, options)
    };
    let extended: &[&str] = if fs.extends {
        &["waited, none"]
    } else {
        &["inline, none"]
    };
    vec![
        Load {
            awaits: true,
            ends: &["waited, none"],
            ..load("over", 31, Dd("conv=notrunc"))
        },
        extending("append", 29, Dd(""), &["waited, none"]),
        load("aio", 37, Fio(plugged!())),
        // The device may be done before the call is.
        Load {
            ends: &["queued, none", "inline, none"],
            ..load("aio-alone", 41, Fio("--iodepth=1"))
        },
        synced("dsync", 19, Fio(concat!("--sync=dsync ", plugged!()))),
        // In that case it sleeps all the same, in the fsync that it then runs itself.
        Load {
            ends: &["queued, kworker", "waited, caller"],
            ..synced("dsync-alone", 17, Fio("--sync=dsync --iodepth=1"))
        },
        extending("extend", 23, Fio("--iodepth=8 --fallocate=none"), extended),
    ]
}

impl Load {
    fn prepare(&self) -> String {
        if self.overwrite {
            format!("written {} {}\n", self.name, self.requests)
        } else {
            String::new()
        }
    }

    fn command(&self) -> String {
        let Self { name, requests, .. } = self;
        match self.options {
            Dd(options) => {
                format!("dd if=/dev/zero of={name} bs=4k count={requests} oflag=direct {options}")
            }
            Fio(options) => format!(
                "fio --name={name} --filename={name} --size={}k --bs=4k --direct=1 --rw=write \
                 --ioengine=libaio --disk_util=0 --output=$REPORT {options}",
                requests * 4
            ),
        }
    }
}

fn script(loads: &[Load]) -> String {
    let mut script = [
        include_str!("../guest/truth.sh"),
        include_str!("../guest/waits.sh"),
    ]
    .concat();
    script.extend(loads.iter().map(Load::prepare));
    for load in loads {
        let (name, command) = (load.name, load.command());
        writeln!(script, "trace {name} run --json --steps -- {command}").expect("a string");
    }
    script + "tell_misses\n"
}

/// The image of the kernel, which is built where it is not there.
fn kernel() -> String {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/kernel");
    let output = Command::new(script)
        .output()
        .expect("scripts/kernel starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "no kernel to prove this on: {said}"
    );
    let image = String::from_utf8(output.stdout).expect("a path");
    image.trim_end().to_owned()
}

fn waits_are_told(fs: &Fs) {
    let loads = loads(fs);
    let output = Run::new(
        &[
            "--kernel",
            &kernel(),
            "--fs",
            fs.name,
            "--timeout",
            "900",
            "--add",
            "/usr/bin/dd",
            "--add",
            "/usr/bin/fio",
        ],
        &["sh", "-c", &script(&loads), "sh", fs.fsync],
    )
    .output();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    let guest = Guest::read(&String::from_utf8_lossy(&output.stdout));

    let mut wrong = guest.misses();
    for load in &loads {
        let mut case = guest.case(load.name);
        case.workers_write = true;
        let found = case.differences().into_iter().chain(check(load, fs, &case));
        wrong.extend(found.map(|what| format!("{}: {what}", load.name)));
    }
    assert!(wrong.is_empty(), "{}\n{said}", wrong.join("\n"));
}

#[test]
fn ext2_waits_where_tracefs_says() {
    waits_are_told(&EXT2);
}

#[test]
fn vfat_waits_where_tracefs_says() {
    waits_are_told(&VFAT);
}

fn check(load: &Load, fs: &Fs, case: &Case) -> Vec<String> {
    let direct = load.overwrite || fs.extends;
    let ops: Vec<&Value> = case.on_disk("write").collect();
    let ended = |ends: &str| ops.iter().filter(|op| end(op) == ends).count() as u64;
    let queued = ended("queued, none") + ended("queued, kworker");
    let returns = case.returned("direct_io_return");
    let returned = |value| returns.iter().filter(|&&r| r == value).count() as u64;
    let of = |yes: bool| if yes { load.requests } else { 0 };

    let mut wrong = Vec::new();
    let mut equal = |what: &str, is: (u64, u64), should_be: (u64, u64)| {
        if is != should_be {
            wrong.push(format!("{what}: {is:?}, should be {should_be:?}"));
        }
    };
    equal(
        "requests, failures",
        (ops.len() as u64, case.status.unsigned_abs()),
        (load.requests, 0),
    );
    // By the workload, and by workers.
    equal("direct I/O", case.calls("direct_io"), (of(direct), 0));
    equal("waits", case.calls("dio_await"), (of(load.awaits), 0));
    equal(
        "ends by a worker",
        case.calls("dio_work"),
        (0, ended("queued, kworker")),
    );
    equal(
        "returns of EIOCBQUEUED, and those with the ones of all bytes",
        (returned(QUEUED), returned(QUEUED) + returned(BLOCK)),
        (queued, of(direct)),
    );
    equal(
        "hits of the probe at dio_await_completion",
        (hits(case, "dio_await_completion"), 0),
        (of(load.awaits), 0),
    );

    let cache = if direct { "direct" } else { "fallback" };
    let right = |op: &Value| {
        op["cache"] == cache
            && op["durability"] == load.durability
            && op["result"] == BLOCK
            && load.ends.contains(&end(op).as_str())
    };
    let others = ops.iter().filter(|op| !right(op));
    wrong.extend(others.map(ToString::to_string));
    wrong.extend(compare_paths(load, fs, case, direct));
    wrong
}

fn end(op: &Value) -> String {
    let text = |field: &str| op[field].as_str().unwrap_or_default();
    format!("{}, {}", text("completion"), text("fsync_by"))
}

/// How often odio-trace's probe at a function was hit, which is to be the only one of its hook.
fn hits(case: &Case, function: &str) -> u64 {
    let probes = case.summary["probes"].as_array().expect("probes");
    let mut at = probes.iter().filter(|probe| probe["target"] == function);
    let probe = at
        .next()
        .unwrap_or_else(|| panic!("no probe at {function}"));
    probe["hook_hits"].as_u64().expect("a number")
}

/// The functions that each request went through, in one thread after the other: both accounts must have the same.
fn compare_paths(load: &Load, fs: &Fs, case: &Case, direct: bool) -> Vec<String> {
    let names = FUNCTIONS.map(|(event, _)| event);
    let tracefs = counted(case.paths(&names, &["write_iter", "dio_work"]));
    let odio_trace = counted(steps(fs, case));

    let mut wrong = Vec::new();
    if odio_trace != tracefs {
        wrong.push(format!(
            "paths: odio-trace {odio_trace:?}, tracefs {tracefs:?}"
        ));
    }
    let begin = match (direct, load.awaits) {
        (true, true) => "direct_io submit_bio dio_await",
        (true, false) => "direct_io submit_bio",
        (false, _) => "submit_bio",
    };
    let begun = tracefs.iter().filter(|(path, _)| path.starts_with(begin));
    if begun.map(|(_, n)| n).sum::<u64>() != load.requests {
        wrong.push(format!("not all begin with {begin}: {tracefs:?}"));
    }
    wrong
}

/// How often there is each path.
fn counted(paths: Vec<Vec<String>>) -> BTreeMap<String, u64> {
    let mut counted = BTreeMap::new();
    for path in paths {
        *counted.entry(path.join(" ")).or_default() += 1;
    }
    counted
}

/// The same of odio-trace's steps.
fn steps(fs: &Fs, case: &Case) -> Vec<Vec<String>> {
    let mut paths: BTreeMap<(u64, u64), Vec<String>> = BTreeMap::new();
    for step in case.ops.iter().filter(|line| line["type"] == "step") {
        let event = FUNCTIONS.iter().find(|(event, function)| {
            step["function"]
                == if *event == "fs_fsync" {
                    fs.fsync
                } else {
                    *function
                }
        });
        if let Some((event, _)) = event {
            let number = |field: &str| step[field].as_u64().expect("a number");
            let path = paths.entry((number("op_id"), number("tid"))).or_default();
            path.push((*event).to_owned());
        }
    }
    paths.into_values().collect()
}
