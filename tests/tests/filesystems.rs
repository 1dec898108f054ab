//! # Other filesystems than ext4, and the bare device, against tracefs
//!
//! fio writes over blocks that are there, in every engine and sync, on XFS, btrfs, vfat and the disk itself; both counts
//! of the same run must be equal, and each op must be judged as its filesystem keeps its promises.

use std::sync::{Mutex, PoisonError};

use odio_tests::{
    truth::{Case, Guest},
    vm::Run,
};
use serde_json::Value;

/// Requests of the first job; each has a few more than the one before.
const REQUESTS: u64 = 23;

/// Engine, sync, further options.
const JOBS: [(&str, &str, &str); 12] = [
    ("psync", "none", ""),
    ("psync", "dsync", ""),
    ("psync", "sync", ""),
    ("psync", "none", "fsync=1"),
    ("libaio", "none", "iodepth=8"),
    ("libaio", "dsync", "iodepth=8"),
    ("libaio", "sync", "iodepth=8"),
    ("libaio", "dsync", "iodepth=1"),
    ("io_uring", "none", "iodepth=8"),
    ("io_uring", "dsync", "iodepth=8"),
    ("io_uring", "sync", "iodepth=8"),
    // Its kernel thread makes the requests: a thread of the same process.
    ("io_uring", "dsync", "sqthread_poll=1"),
];

/// One job, named so that its ops are found.
fn name(i: usize) -> String {
    format!("job{i}")
}

fn requests(i: usize) -> u64 {
    REQUESTS + 2 * i as u64
}

fn script(fsync: &str, disk: bool) -> String {
    let functions = include_str!("../guest/truth.sh");
    let mut prepare = String::new();
    let mut sections = String::new();
    for (i, (engine, sync, options)) in JOBS.iter().enumerate() {
        let (name, requests) = (name(i), requests(i));
        let file = if disk {
            "filename=$ODIO_VM_DISK".to_owned()
        } else {
            prepare += &format!("written {name} {requests}\n");
            format!("filename={name}")
        };
        let size = requests * 4096;
        // On the disk each job has a place of its own.
        let offset = if disk { i * (1 << 20) } else { 0 };
        sections += &format!(
            "[{name}]\nstonewall\nioengine={engine}\nsync={sync}\n{file}\nsize={size}\noffset={offset}\n{options}\n"
        );
    }
    format!(
        r#"{functions}
count_with_tracefs {fsync}
{prepare}
cat >$ROOM/jobs.fio <<END
[global]
bs=4k
direct=1
rw=write
disk_util=0
{sections}
END
trace fio run --json -- fio --output-format=json --output=$REPORT $ROOM/jobs.fio
tell_misses
"#
    )
}

/// A VM is as large as one machine can bear.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Runs the jobs and gives the ops of each, after all counts were found equal.
fn run(fs: &str, fsync: &str) -> Vec<Vec<Value>> {
    let fio = ["--add", "/usr/bin/fio", "--add", "/usr/bin/dd"];
    let mut options = vec!["--kernel", "6.1", "--fs", fs, "--timeout", "900"];
    options.extend(fio);
    let script = script(fsync, fs == "none");
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let output = Run::new(&options, &["sh", "-c", &script]).output();
    let said = String::from_utf8_lossy(&output.stderr);
    let printed = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{said}");
    let guest = Guest::read(&printed);
    let mut case: Case = guest.case("fio");
    case.workers_write = fs == "vfat";
    let mut wrong = guest.misses();
    wrong.extend(case.differences());
    let jobs: Vec<Vec<Value>> = (0..JOBS.len())
        .map(|i| {
            let mine = |op: &&Value| {
                if fs == "none" {
                    op["file"].as_str().is_some_and(|f| f.starts_with("/dev/"))
                        && op["offset"].as_u64().is_some_and(|at| at >> 20 == i as u64)
                } else {
                    op["file"] == format!("/mnt/{}", name(i))
                }
            };
            let writes = case.ops.iter().filter(|op| op["op"] == "write");
            writes.filter(mine).cloned().collect()
        })
        .collect();
    for (i, (engine, sync, options)) in JOBS.iter().enumerate() {
        let mode = match *sync {
            "none" => "direct".to_owned(),
            sync => format!("direct+{sync}"),
        };
        if jobs[i].len() as u64 != requests(i) {
            wrong.push(format!("{}: {} writes", name(i), jobs[i].len()));
        }
        for op in &jobs[i] {
            let staged = op["submit_ns"].is_u64() && op["device_ns"].is_u64();
            let synced = op["sync_ns"].is_u64() == (op["fsyncs"] != 0);
            // vfat writes the sector of the directory that holds the file's times, and does not mark it as metadata.
            // vfat writes sectors of its directory and its table beside the data, unmarked, when a timestamp is due.
            let sectors = op["bio_bytes"]
                .as_u64()
                .expect("a number")
                .wrapping_sub(4096)
                / 512;
            let inode = fs == "vfat" && *sync != "none" && sectors <= 4;
            let right = op["engine"] == *engine
                && op["mode"] == mode
                && op["cache"] == "direct"
                && op["result"] == 4096
                && (op["bio_bytes"] == 4096 || inode)
                && staged
                && synced;
            if !right {
                wrong.push(format!("{engine} {sync} {options}: {op}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{fs}: {}\n{said}", wrong.join("\n"));
    jobs
}

/// Each op of the jobs that `of` picks by their sync must satisfy `right`.
fn all(jobs: &[Vec<Value>], of: impl Fn(&str, &str) -> bool, right: impl Fn(&Value) -> bool) {
    let mut seen = 0;
    for ((engine, sync, _), ops) in JOBS.iter().zip(jobs) {
        for op in ops.iter().filter(|_| of(engine, sync)) {
            assert!(right(op), "{engine} {sync}: {op}");
            seen += 1;
        }
    }
    assert!(seen > 0);
}

fn number(op: &Value, field: &str) -> u64 {
    op[field].as_u64().expect(field)
}

#[test]
fn xfs() {
    let jobs = run("xfs", "xfs_file_fsync");
    all(
        &jobs,
        |_, sync| sync == "none",
        |op| op["durability"] == "device-cache",
    );
    // One of the log's writes, by whomever, serves all that wait for it; who finds it on its way flushes by itself.
    all(
        &jobs,
        |_, sync| sync != "none",
        |op| op["durability"] == "durable",
    );
    all(
        &jobs,
        |_, sync| sync == "sync",
        |op| number(op, "fsyncs") == 1 && number(op, "commits") + number(op, "flushes") > 0,
    );
    all(
        &jobs,
        |_, sync| sync == "dsync",
        |op| number(op, "fua") == 1 || number(op, "fsyncs") == 1,
    );
}

#[test]
fn btrfs() {
    let jobs = run("btrfs", "btrfs_sync_file");
    let written = |op: &Value| number(op, "supers") > 0 && number(op, "flushes") > 0;
    all(
        &jobs,
        |_, sync| sync == "none",
        |op| op["durability"] == "uncommitted",
    );
    all(
        &jobs,
        |engine, sync| engine == "psync" && sync != "none",
        |op| op["durability"] == "durable" && written(op),
    );
    // Acknowledged without its fsync such a write is lost at a power cut, FUA or not.
    all(
        &jobs,
        |_, sync| sync == "dsync",
        |op| match number(op, "fsyncs") {
            0 => op["durability"] == "uncommitted" && number(op, "fua") == 1,
            _ => op["durability"] == if written(op) { "durable" } else { "unknown" },
        },
    );
    all(
        &jobs,
        |_, sync| sync == "sync",
        |op| op["durability"] == if written(op) { "durable" } else { "unknown" },
    );
}

#[test]
fn vfat() {
    let jobs = run("vfat", "fat_file_fsync");
    all(
        &jobs,
        |_, sync| sync == "none",
        |op| op["durability"] == "device-cache",
    );
    // What another fsync of the filesystem has in flight is not waited for.
    all(
        &jobs,
        |_, sync| sync != "none",
        |op| {
            op["durability"] == "unknown" && number(op, "fsyncs") == 1 && number(op, "flushes") == 1
        },
    );
}

#[test]
fn the_disk_itself() {
    let jobs = run("none", "blkdev_fsync");
    all(
        &jobs,
        |_, sync| sync == "none",
        |op| op["durability"] == "device-cache",
    );
    all(
        &jobs,
        |_, sync| sync != "none",
        |op| op["durability"] == "durable",
    );
    // What is not synchronous has FUA and no fsync.
    all(
        &jobs,
        |engine, sync| engine != "psync" && sync != "none",
        |op| number(op, "fua") == 1 && number(op, "fsyncs") == 0,
    );
}

/// What fsync sends and what a worker sends later, of two files of another length each; and of one that was written past
/// the page cache, nothing.
#[test]
fn writeback_is_counted_by_file() {
    let script = r#"
odio-trace run --json -- sh -c '
    dd if=/dev/zero of=later bs=4k count=37
    dd if=/dev/zero of=fsynced bs=4k count=41 conv=fsync
    dd if=/dev/zero of=direct bs=4k count=23 oflag=direct
    sync
    stat -c "%i %n" later fsynced direct >/tmp/inodes' 2>/dev/null || exit 90
cat /tmp/inodes
"#;
    for fs in ["ext4", "xfs"] {
        let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let options = [
            "--kernel",
            "6.1",
            "--fs",
            fs,
            "--timeout",
            "900",
            "--add",
            "/usr/bin/dd",
        ];
        let output = Run::new(&options, &["sh", "-c", script]).output();
        let printed = String::from_utf8_lossy(&output.stdout);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{said}");
        let (lines, inodes): (Vec<&str>, Vec<&str>) =
            printed.lines().partition(|line| line.starts_with('{'));
        let lines: Vec<Value> = lines
            .iter()
            .map(|line| serde_json::from_str(line).expect(line))
            .collect();
        let of = |name: &str| -> Vec<&Value> {
            let inode = inodes
                .iter()
                .filter_map(|line| line.split_once(' '))
                .find(|(_, file)| *file == name)
                .map(|(inode, _)| inode.parse::<u64>().expect("an inode"));
            let mine = |line: &&Value| line["type"] == "writeback" && line["ino"].as_u64() == inode;
            lines.iter().filter(mine).collect()
        };
        let [later] = of("later")[..] else {
            panic!("{fs}: {printed}")
        };
        assert_eq!(later["bytes"], 37 * 4096, "{fs}: {later}");
        assert_eq!(later["bios_in_ops"], 0, "{fs}: {later}");
        let [fsynced] = of("fsynced")[..] else {
            panic!("{fs}: {printed}")
        };
        assert_eq!(fsynced["bytes"], 41 * 4096, "{fs}: {fsynced}");
        assert_eq!(fsynced["bios_in_ops"], fsynced["bios"], "{fs}: {fsynced}");
        assert!(of("direct").is_empty(), "{fs}: {printed}");
        let summary = lines.last().expect("a summary");
        assert_eq!(summary["lost"], 0, "{summary}");
    }
}

/// UDF's writes are in no list; its reads are the page cache's own, which is.
#[test]
fn a_filesystem_that_is_not_watched_is_told() {
    let script = r#"
mkudffs /dev/nvme0n1 >/dev/null && mkdir /tmp/udf && mount -t udf /dev/nvme0n1 /tmp/udf || exit 90
odio-trace run --json -- sh -c 'dd if=/dev/zero of=/tmp/udf/file bs=4k count=3; cat /proc/self/status >/tmp/else' \
    2>/dev/null | tail -n 1
odio-trace run --json -- sh -c 'cat /tmp/udf/file /proc/self/status >/tmp/else' 2>/dev/null | tail -n 1
mkdir /sys/fs/cgroup/traced
odio-trace attach --json --cgroup /sys/fs/cgroup/traced >/tmp/attached 2>/tmp/said &
until grep -q tracing /tmp/said; do usleep 100000; kill -0 $! || exit 91; done
sh -c 'echo $$ >/sys/fs/cgroup/traced/cgroup.procs; exec dd if=/dev/zero of=/tmp/udf/file bs=4k count=3' 2>/dev/null
kill -INT $!
wait $!
tail -n 1 /tmp/attached
"#;
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let mut options = vec!["--kernel", "6.1", "--fs", "none", "--module", "udf"];
    options.extend(["--timeout", "900", "--add", "/usr/sbin/mkudffs"]);
    let output = Run::new(&options, &["sh", "-c", script]).output();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    let printed = String::from_utf8_lossy(&output.stdout);
    let runs: Vec<Value> = printed
        .lines()
        .map(|line| serde_json::from_str(line).expect(line))
        .collect();
    let [written, read, of_cgroup] = &runs[..] else {
        panic!("{printed}\n{said}")
    };
    for run in [written, of_cgroup] {
        let udf = serde_json::json!([{"fs": "udf", "opens": 1}]);
        assert_eq!(run["unwatched"], udf, "{run}");
    }
    let gap = "1 file opened on udf, whose requests are not watched";
    assert!(
        written["gaps"].as_array().unwrap().contains(&gap.into()),
        "{written}"
    );
    assert_eq!(read["unwatched"], serde_json::json!([]), "{read}");
}
