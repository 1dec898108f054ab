//! # odio-trace against tracefs: two counts of the same run must be equal
//!
//! Workloads that nobody here wrote (GNU dd, fio), and the project's own matrix, run in the VM under both. The number
//! of requests is another prime for each, so that a count that belongs to something else shows.

use odio_tests::{
    truth::{Case, Guest},
    vm::Run,
};
use serde_json::Value;

/// Bytes of every request.
const BLOCK: u64 = 4096;

/// Requests of each row of the matrix.
const MATRIX: u64 = 31;

/// A call of GNU dd on a file of its own.
struct Dd {
    name: &'static str,
    /// Whether it writes over blocks that are there.
    overwrite: bool,
    arguments: &'static str,
    requests: u64,
    mode: &'static str,
    expect: Expect,
}

/// What Linux 6.1 does with each request of a case, on ext4 and a disk with a volatile cache and FUA.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Expect {
    /// The data goes out and nothing more.
    Data(&'static str),
    /// The data goes out with FUA, and that is all: a pure overwrite needs no fsync.
    Fua,
    /// The data goes out, and an fsync follows it.
    Fsync,
    /// Nothing goes out.
    PageCache,
    /// A read.
    Read,
}

const DD: &[Dd] = &[
    dd(
        "dd-direct",
        "oflag=direct",
        23,
        "direct",
        Expect::Data("uncommitted"),
    ),
    dd(
        "dd-direct-dsync",
        "oflag=direct,dsync",
        29,
        "direct+dsync",
        Expect::Fsync,
    ),
    dd(
        "dd-direct-sync",
        "oflag=direct,sync",
        31,
        "direct+sync",
        Expect::Fsync,
    ),
    dd("dd-buffered", "", 37, "buffered", Expect::PageCache),
    dd(
        "dd-buffered-dsync",
        "oflag=dsync",
        41,
        "buffered+dsync",
        Expect::Fsync,
    ),
    dd(
        "dd-buffered-sync",
        "oflag=sync",
        43,
        "buffered+sync",
        Expect::Fsync,
    ),
    dd("dd-fsync", "conv=fsync", 47, "buffered", Expect::PageCache),
    over(
        "dd-over",
        "oflag=direct",
        53,
        "direct",
        Expect::Data("device-cache"),
    ),
    over(
        "dd-over-dsync",
        "oflag=direct,dsync",
        59,
        "direct+dsync",
        Expect::Fua,
    ),
    over(
        "dd-over-sync",
        "oflag=direct,sync",
        61,
        "direct+sync",
        Expect::Fsync,
    ),
];

const fn dd(
    name: &'static str,
    arguments: &'static str,
    requests: u64,
    mode: &'static str,
    expect: Expect,
) -> Dd {
    Dd {
        name,
        overwrite: false,
        arguments,
        requests,
        mode,
        expect,
    }
}

const fn over(
    name: &'static str,
    arguments: &'static str,
    requests: u64,
    mode: &'static str,
    expect: Expect,
) -> Dd {
    Dd {
        overwrite: true,
        ..dd(name, arguments, requests, mode, expect)
    }
}

impl Dd {
    fn prepare(&self) -> String {
        if self.overwrite {
            format!("written {} {}\n", self.name, self.requests)
        } else {
            String::new()
        }
    }

    fn command(&self) -> String {
        let keep = if self.overwrite { "conv=notrunc" } else { "" };
        format!(
            "dd if=/dev/zero of={} bs=4k count={} {keep} {} 2>/dev/null\n",
            self.name, self.requests, self.arguments
        )
    }
}

/// A job of fio on files of its own, which are overwritten or read.
struct Fio {
    name: String,
    engine: &'static str,
    mode: String,
    options: String,
    /// How many processes or threads run it, each on its own file.
    copies: u64,
    requests: u64,
    expect: Expect,
}

/// Every mode and engine one at a time, the asynchronous ones eight at a time as well, and a few more.
fn fio() -> Vec<Fio> {
    let mut primes = [
        23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103, 107, 109,
        113, 127, 131,
    ]
    .into_iter();
    let mut jobs = Vec::new();
    let mut job = |name: &str, engine, sync: &str, copies, options: &str| {
        let cache = if options.contains("direct=0") {
            "buffered"
        } else {
            "direct"
        };
        jobs.push(Fio {
            name: format!("fio-{name}"),
            engine,
            mode: match sync {
                "none" => cache.to_owned(),
                _ => format!("{cache}+{sync}"),
            },
            options: format!("sync={sync}\n{options}"),
            copies,
            requests: primes.next().expect("a prime"),
            expect: match (options.contains("rw=randread"), cache, sync) {
                (true, ..) => Expect::Read,
                (_, "buffered", "none") => Expect::PageCache,
                (_, "direct", "none") => Expect::Data("device-cache"),
                (_, "direct", "dsync") => Expect::Fua,
                _ => Expect::Fsync,
            },
        });
    };
    for engine in ["psync", "libaio", "io_uring"] {
        for sync in ["none", "dsync", "sync"] {
            job(&format!("{engine}-{sync}"), engine, sync, 1, "");
            if engine != "psync" {
                job(
                    &format!("{engine}-{sync}-8"),
                    engine,
                    sync,
                    1,
                    "iodepth=8\n",
                );
            }
        }
        job(&format!("{engine}-fsync"), engine, "none", 1, "fsync=1\n");
    }
    job("random", "libaio", "dsync", 1, "rw=randwrite\niodepth=4\n");
    job("threads", "libaio", "sync", 3, "thread\niodepth=2\n");
    job("processes", "io_uring", "dsync", 3, "iodepth=2\n");
    job("buffered", "psync", "none", 1, "direct=0\n");
    for (name, options) in [
        ("read", "rw=randread\niodepth=8\n"),
        // A page that is not there yet makes io_uring queue the request, and try it again.
        ("buffered-read", "rw=randread\niodepth=8\ndirect=0\n"),
    ] {
        job(name, "io_uring", "none", 1, options);
    }
    jobs
}

impl Fio {
    fn files(&self) -> impl Iterator<Item = String> {
        (0..self.copies).map(|copy| format!("{}.{copy}.0", self.name))
    }

    fn prepare(&self) -> String {
        self.files()
            .map(|file| format!("written {file} {}\n", self.requests))
            .collect()
    }

    fn section(&self) -> String {
        format!(
            "[{}]\nstonewall\nioengine={}\nsize={}\nnumjobs={}\n{}\n",
            self.name,
            self.engine,
            self.requests * BLOCK,
            self.copies,
            self.options
        )
    }
}

fn script(jobs: &[Fio]) -> String {
    let prepare: String = DD
        .iter()
        .map(Dd::prepare)
        .chain(jobs.iter().map(Fio::prepare))
        .collect();
    let calls: String = DD.iter().map(Dd::command).collect();
    let sections: String = jobs.iter().map(Fio::section).collect();
    let functions = include_str!("../guest/truth.sh");
    // `wait` keeps the shell a process of its own: it would become the last command.
    format!(
        r#"{functions}
count_with_tracefs ext4_sync_file jbd2_log_wait_commit
{prepare}
cat >$ROOM/jobs.fio <<'END'
[global]
bs=4k
direct=1
rw=write
disk_util=0
{sections}
END
trace dd run --json -- sh -c '{calls}wait'
trace misaligned run --json -- dd if=/dev/zero of=misaligned bs=1000 count=3 oflag=direct
trace fio run --json -- fio --output-format=json --output=$REPORT $ROOM/jobs.fio
trace matrix matrix --json --requests {MATRIX}
tell_misses
"#
    )
}

#[test]
fn odio_trace_counts_what_tracefs_counts() {
    let jobs = fio();
    let fio = "/usr/bin/fio";
    let dd = "/usr/bin/dd";
    let output = Run::new(
        &[
            "--kernel",
            "6.1",
            "--fs",
            "ext4",
            "--timeout",
            "900",
            "--add",
            fio,
            "--add",
            dd,
        ],
        &["sh", "-c", &script(&jobs)],
    )
    .output();
    let said = String::from_utf8_lossy(&output.stderr);
    let printed = String::from_utf8_lossy(&output.stdout);
    if let Some(file) = std::env::var_os("ODIO_TRUTH_OUTPUT") {
        std::fs::write(file, &*output.stdout).unwrap();
    }
    assert_eq!(output.status.code(), Some(0), "{said}");
    let guest = Guest::read(&printed);

    let mut wrong = guest.misses();
    let mut case = |name: &str, status: i64| {
        let case = guest.case(name);
        wrong.extend(case.differences().iter().map(|d| format!("{name}: {d}")));
        if case.status != status {
            wrong.push(format!("{name}: status {}", case.status));
        }
        case
    };
    let (dd, fio) = (case("dd", 0), case("fio", 0));
    let (misaligned, matrix) = (case("misaligned", 1), case("matrix", 0));
    check_dd(&dd, &mut wrong);
    check_fio(&fio, &jobs, &mut wrong);
    check_misaligned(&misaligned, &mut wrong);
    check_matrix(&matrix, &mut wrong);
    assert!(wrong.is_empty(), "{}\n{said}", wrong.join("\n"));
}

fn check_dd(case: &Case, wrong: &mut Vec<String>) {
    for dd in DD {
        let ops = ops(case, "write", std::iter::once(dd.name.to_owned()));
        if ops.len() as u64 != dd.requests {
            wrong.push(format!("{}: {} writes", dd.name, ops.len()));
        }
        for op in ops {
            check(op, dd.name, "psync", dd.mode, dd.expect, wrong);
        }
    }
    let [sync] = case.on_disk("sync").collect::<Vec<_>>()[..] else {
        wrong.push("conv=fsync is not one sync".to_owned());
        return;
    };
    if sync["file"] != "/mnt/dd-fsync" || sync["durability"] != "durable" {
        wrong.push(format!("conv=fsync: {sync}"));
    }
}

fn check_fio(case: &Case, jobs: &[Fio], wrong: &mut Vec<String>) {
    let report: Value = serde_json::from_str(case.report.as_deref().expect("fio's report"))
        .expect("fio's report is JSON");
    for job in jobs {
        let kind = if job.expect == Expect::Read {
            "read"
        } else {
            "write"
        };
        let reported = report["jobs"].as_array().expect("jobs");
        let own = || {
            reported
                .iter()
                .filter(|j| j["jobname"] == job.name.as_str())
        };
        let total = |what: &str, field: &str| -> u64 {
            own().filter_map(|j| j[what][field].as_u64()).sum()
        };
        let requests = ops(case, kind, job.files());
        let bytes: u64 = requests.iter().filter_map(|op| op["result"].as_u64()).sum();
        let syncs = ops(case, "sync", job.files()).len() as u64;
        for (what, odio_trace, fio) in [
            ("requests", requests.len() as u64, job.requests * job.copies),
            ("requests", requests.len() as u64, total(kind, "total_ios")),
            ("bytes", bytes, total(kind, "io_bytes")),
            ("syncs", syncs, total("sync", "total_ios")),
        ] {
            if odio_trace != fio {
                let name = &job.name;
                wrong.push(format!(
                    "{name}: {what}: odio-trace {odio_trace}, fio {fio}"
                ));
            }
        }
        for op in requests {
            check(op, &job.name, job.engine, &job.mode, job.expect, wrong);
        }
    }
}

/// Ops of one kind on these files.
fn ops<'a>(case: &'a Case, kind: &'a str, files: impl Iterator<Item = String>) -> Vec<&'a Value> {
    let files: Vec<String> = files.map(|file| format!("/mnt/{file}")).collect();
    case.on_disk(kind)
        .filter(|op| files.iter().any(|file| op["file"] == file.as_str()))
        .collect()
}

/// Holds one op against what the kernel is known to do.
fn check(
    op: &Value,
    name: &str,
    engine: &str,
    mode: &str,
    expect: Expect,
    wrong: &mut Vec<String>,
) {
    let cache = mode.split('+').next().expect("a cache");
    let number = |field: &str| op[field].as_u64().unwrap_or(u64::MAX);
    let counts = ["bios", "fua", "fua_issued", "fsyncs", "vfs_fsyncs"].map(number);
    // A commit that another fsync had already made leaves only the flush.
    let barriers = number("commits") + number("flushes");
    let (counted, settled, durability): (_, _, Option<&str>) = match expect {
        Expect::Data(durability) => ([1, 0, 0, 0, 0], barriers == 0, Some(durability)),
        Expect::Fua => ([1, 1, 1, 0, 0], barriers == 0, Some("durable")),
        Expect::Fsync => ([1, 0, 0, 1, 1], barriers > 0, Some("durable")),
        Expect::PageCache => ([0, 0, 0, 0, 0], barriers == 0, Some("page-cache")),
        // Read ahead makes one bio for several requests.
        Expect::Read if cache == "buffered" => ([counts[0], 0, 0, 0, 0], barriers == 0, None),
        Expect::Read => ([1, 0, 0, 0, 0], barriers == 0, None),
    };
    // How fast the device was decides whether an asynchronous request is queued, and who then runs its fsync.
    let completed = match (engine, op["completion"].as_str(), op["fsync_by"].as_str()) {
        ("psync", Some("waited"), by) => by == Some(if counts[3] > 0 { "caller" } else { "none" }),
        ("psync", ..) => false,
        (_, Some("queued"), by) => by == Some(if counts[3] > 0 { "kworker" } else { "none" }),
        (_, Some("inline"), by) => by == Some("none"),
        (_, Some("waited"), by) => by == Some("caller"),
        _ => false,
    };
    let right = op["engine"] == engine
        && op["mode"] == mode
        && op["cache"] == cache
        && op["durability"].as_str() == durability
        && number("result") == BLOCK
        && (number("bio_bytes") == counts[0] * BLOCK
            || (expect == Expect::Read && cache == "buffered"))
        && counts == counted
        && settled
        && completed;
    if !right {
        wrong.push(format!("{name}: {op}"));
    }
}

/// The kernel refuses the request and sends nothing; dd ends with its own status.
fn check_misaligned(case: &Case, wrong: &mut Vec<String>) {
    let ops: Vec<&Value> = case.on_disk("write").collect();
    let einval = |op: &Value| op["result"] == -22 && op["bios"] == 0 && op["durability"].is_null();
    if ops.len() != 1 || !ops.iter().all(|op| einval(op)) || case.data_bios() != 0 {
        wrong.push(format!("misaligned: {ops:?}"));
    }
}

fn check_matrix(case: &Case, wrong: &mut Vec<String>) {
    if case.ops.len() != 6 * 3 * 5 {
        wrong.push(format!("matrix: {} rows", case.ops.len()));
    }
    for row in &case.ops {
        let text = |field: &str| row[field].as_str().unwrap_or_default();
        let (engine, situation) = (text("engine"), text("situation"));
        let direct = text("mode").starts_with("direct");
        // What depends on timing is a set; the ones that do not are these.
        let allowed: &[&str] = match (engine, situation) {
            ("psync", _) => &["waited"],
            ("libaio", "append") if direct => &["waited"],
            ("io_uring", "append") => &["punted"],
            ("io_uring", "unwritten" | "hole") => &["punted", "punted, queued"],
            ("io_uring", "overwrite") if !direct => &["punted"],
            _ => &["queued", "inline", "waited"],
        };
        let completed = text("completions").split('|').all(|c| allowed.contains(&c));
        let (fsyncs, fua) = match (text("mode"), situation) {
            (_, "read") | ("direct" | "buffered", _) => (0, 0),
            ("direct+dsync", "overwrite") => (0, 1),
            _ => (1, 0),
        };
        if row["type"] != "row"
            || row["requests"] != MATRIX
            || row["verdict"] != "PASS"
            || row["fsyncs"] != fsyncs
            || row["fua"] != fua
            || row["fua_issued"] != fua
            || !completed
        {
            wrong.push(format!("matrix: {row}"));
        }
    }
}
