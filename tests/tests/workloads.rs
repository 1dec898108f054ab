//! # odio-trace beside programs that people really run
//!
//! SQLite with both of its journals, PostgreSQL and RocksDB, as Debian packs them, in the VM on ext4. Each runs under
//! strace and odio-trace at once: of every file, both must have counted the same reads, writes and syncs, and the same
//! bytes.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Command,
};

use odio_tests::{succeed, truth::Guest, vm::Run};
use serde_json::Value;

/// Transactions of each workload; primes, so that a count that belongs to something else shows.
const WAL: usize = 29;
const DELETE: usize = 31;
const POSTGRES: usize = 37;
const ROCKSDB: usize = 41;

/// What was done with one file: number and bytes of what went well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Done {
    reads: u64,
    read_bytes: u64,
    writes: u64,
    written_bytes: u64,
    syncs: u64,
}

type Files = BTreeMap<String, Done>;

/// Files that were renamed, by the name they have now: odio-trace calls a file as it was called at its first request.
#[derive(Default)]
struct Renamed(BTreeMap<String, String>);

impl Renamed {
    fn first_name<'a>(&'a self, path: &'a str) -> &'a str {
        self.0.get(path).map_or(path, String::as_str)
    }

    fn rename(&mut self, from: &str, to: &str, files: &Files) {
        let first = self.first_name(from).to_owned();
        self.unlink(from);
        self.unlink(to);
        if first != to && files.contains_key(&first) {
            self.0.insert(to.to_owned(), first);
        }
    }

    fn unlink(&mut self, path: &str) {
        self.0.remove(path);
    }
}

impl Done {
    fn add(&mut self, kind: &str, result: i64) {
        let bytes = result.cast_unsigned();
        match kind {
            "read" => {
                self.reads += 1;
                self.read_bytes += bytes;
            }
            "write" => {
                self.writes += 1;
                self.written_bytes += bytes;
            }
            "sync" => self.syncs += 1,
            other => panic!("{other}"),
        }
    }
}

/// The paths that a call names, in its order; what is relative begins at `base`.
fn named(arguments: &str, base: &str) -> Vec<String> {
    let quoted = arguments.split('"').skip(1).step_by(2);
    quoted
        .map(|path| Path::new(base).join(path))
        .map(|path| path.to_str().expect("UTF-8").to_owned())
        .collect()
}

/// What strace saw of the files below `folder`.
///
/// `12 pwrite64(3</mnt/a>, ""..., 4096, 0) = 4096`, or in two lines where another thread's came between:
/// `12 fdatasync(3</mnt/a> <unfinished ...>` and `12 <... fdatasync resumed>) = 0`.
fn seen_by_strace(calls: &str, folder: &str, base: &str) -> Files {
    let mut files = Files::new();
    let mut renamed = Renamed::default();
    let mut pending: BTreeMap<&str, (&str, &str)> = BTreeMap::new();
    for line in calls.lines() {
        let (thread, rest) = line.split_once(' ').expect("THREAD CALL");
        let rest = rest.trim_start();
        let (call, arguments) = match rest.strip_prefix("<... ") {
            Some(_) => pending.remove(thread).unwrap_or_else(|| panic!("{line}")),
            None => rest.split_once('(').unwrap_or_else(|| panic!("{line}")),
        };
        if rest.ends_with("<unfinished ...>") {
            pending.insert(thread, (call, arguments));
            continue;
        }
        let (_, result) = rest.rsplit_once("= ").unwrap_or_else(|| panic!("{line}"));
        let result = result.split(' ').next().expect("a result");
        let result: i64 = result.parse().unwrap_or_else(|_| panic!("{line}"));
        if result < 0 {
            continue;
        }
        if call.starts_with("rename") || call.starts_with("unlink") {
            match &named(arguments, base)[..] {
                [from, to] => renamed.rename(from, to, &files),
                [path] => renamed.unlink(path),
                other => panic!("{other:?}: {line}"),
            }
            continue;
        }
        let (_, path) = arguments.split_once('<').unwrap_or((arguments, ">"));
        let path = path.split('>').next().expect("a path");
        if Path::new(path).strip_prefix(folder).is_err() {
            continue;
        }
        let path = renamed.first_name(path);
        let kind = if call.contains("sync") {
            "sync"
        } else if call.contains("read") {
            "read"
        } else {
            "write"
        };
        files.entry(path.to_owned()).or_default().add(kind, result);
    }
    assert!(pending.is_empty(), "{pending:?}");
    files
}

/// What odio-trace saw of them.
fn seen_by_odio_trace(ops: &[Value], folder: &str) -> Files {
    let mut files = Files::new();
    for op in ops {
        let Some(path) = op["file"].as_str() else {
            continue;
        };
        let result = op["result"].as_i64().expect("a result");
        if Path::new(path).strip_prefix(folder).is_err() || result < 0 {
            continue;
        }
        files
            .entry(path.to_owned())
            .or_default()
            .add(op["op"].as_str().expect("a kind"), result);
    }
    files
}

/// Where Debian has the programs of PostgreSQL's newest version here.
fn postgres() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").expect("PostgreSQL is installed");
    versions
        .map(|version| version.expect("an entry").path().join("bin"))
        .filter(|path| path.join("postgres").exists())
        .max()
        .expect("a server of PostgreSQL is installed")
}

/// A new cluster below `folder`. PostgreSQL makes none as root, and needs no database of time zones for GMT.
fn cluster(binaries: &Path, folder: &Path) -> PathBuf {
    let cluster = folder.join("cluster");
    fs::create_dir(&cluster).expect("a folder");
    let initdb = binaries.join("initdb");
    let owner = fs::metadata("/proc/self").expect("/proc").uid();
    let mut init = if owner == 0 {
        succeed(Command::new("chown").arg("65534:65534").arg(&cluster));
        let mut init = Command::new("setpriv");
        init.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"])
            .arg(initdb);
        init
    } else {
        Command::new(initdb)
    };
    succeed(
        init.env("TZ", "GMT")
            .args(["--no-sync", "--username=postgres", "--auth=trust"])
            .args(["--locale=C", "--encoding=UTF8", "--pgdata"])
            .arg(&cluster)
            .current_dir("/"),
    );
    cluster
}

/// One workload of the guest.
struct Seen {
    /// What the program printed.
    said: String,
    ops: Vec<Value>,
}

impl Seen {
    /// The requests of this kind to files whose names end so.
    fn of(&self, kind: &str, end: &str) -> impl Iterator<Item = &Value> {
        self.ops.iter().filter(move |op| {
            op["op"] == kind && op["file"].as_str().is_some_and(|path| path.ends_with(end))
        })
    }

    /// There were so many syncs of these files or more, and after each its data was durable.
    fn synced(&self, end: &str, least: usize, wrong: &mut Vec<String>) {
        let syncs = self.of("sync", end).count();
        let durable = |op: &&Value| op["durability"] == "durable";
        if syncs < least || self.of("sync", end).filter(durable).count() != syncs {
            let all: Vec<String> = self.of("sync", end).map(Value::to_string).collect();
            wrong.push(format!(
                "{end}: not {least} durable syncs: {}",
                all.join("\n")
            ));
        }
    }

    fn said(&self, what: &str, wrong: &mut Vec<String>) {
        if !self.said.contains(what) {
            wrong.push(format!("{what:?} was not said: {}", self.said));
        }
    }
}

/// Reads a workload's parts, and holds both accounts of it against each other.
fn hold(guest: &Guest, name: &str, folder: &str, base: &str, wrong: &mut Vec<String>) -> Seen {
    let said = guest.part(name, "said").to_owned();
    let status = guest.part(name, "status").trim();
    if status != "0" {
        wrong.push(format!("{name}: status {status}: {said}"));
    }
    let mut ops: Vec<Value> = guest
        .part(name, "json")
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{name}: {e}: {line}")))
        .collect();
    let summary = ops.pop().unwrap_or_default();
    for nothing in ["lost", "missed", "unattributed", "open"] {
        if summary[nothing] != 0 {
            wrong.push(format!(
                "{name}: {nothing}: {}: {}",
                summary[nothing], summary["losses"]
            ));
        }
    }
    let strace = seen_by_strace(guest.part(name, "calls"), folder, base);
    let odio_trace = seen_by_odio_trace(&ops, folder);
    let paths: std::collections::BTreeSet<&String> =
        strace.keys().chain(odio_trace.keys()).collect();
    for path in paths {
        let (theirs, ours) = (strace.get(path), odio_trace.get(path));
        if theirs != ours {
            wrong.push(format!(
                "{name}: {path}: strace {theirs:?}, odio-trace {ours:?}"
            ));
        }
    }
    Seen { said, ops }
}

#[test]
fn programs_are_counted_as_strace_counts_them() {
    let room = tempfile::tempdir().expect("a temporary folder");
    let binaries = postgres();
    let cluster = cluster(&binaries, room.path());
    let script = format!(
        "{}\nPOSTGRES={}\necho \"### all folder\"\npwd\nsqlite WAL {WAL}\nsqlite DELETE {DELETE}\n\
         rocksdb {ROCKSDB}\npostgres {} {POSTGRES}\n",
        include_str!("../guest/workloads.sh"),
        binaries.display(),
        cluster.display(),
    );
    let mut options = vec![
        "--kernel",
        "6.1",
        "--fs",
        "ext4",
        "--memory",
        "2048",
        "--timeout",
        "900",
    ];
    let programs: Vec<String> = ["postgres", "psql", "pgbench"]
        .iter()
        .map(|name| binaries.join(name).display().to_string())
        .chain(["strace", "sqlite3", "db_bench", "setpriv", "cp"].map(|n| format!("/usr/bin/{n}")))
        .chain([
            cluster.display().to_string(),
            binaries.with_file_name("lib").display().to_string(),
            format!("/usr/share/postgresql/{}", version(&binaries)),
        ])
        .collect();
    for path in &programs {
        options.extend(["--add", path]);
    }
    let output = Run::new(&options, &["sh", "-c", &script]).output();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    let guest = Guest::read(&String::from_utf8_lossy(&output.stdout));
    let folder = guest.part("all", "folder").trim();

    let mut wrong = Vec::new();
    let wrong = &mut wrong;
    let wal = hold(&guest, "sqlite-WAL", folder, folder, wrong);
    wal.said(&format!("wal\n{WAL}\n"), wrong);
    wal.synced("/WAL.db-wal", WAL, wrong);
    let delete = hold(&guest, "sqlite-DELETE", folder, folder, wrong);
    delete.said(&format!("delete\n{DELETE}\n"), wrong);
    delete.synced("/DELETE.db", DELETE, wrong);
    delete.synced("/DELETE.db-journal", 2 * DELETE, wrong);
    let rocksdb = hold(&guest, "rocksdb", folder, folder, wrong);
    rocksdb.synced(".log", ROCKSDB, wrong);
    let tables: Vec<&Value> = rocksdb.of("write", ".sst").collect();
    if tables.is_empty() || tables.iter().any(|op| op["cache"] != "direct") {
        wrong.push(format!("tables are not written directly: {tables:?}"));
    }
    let postgres = hold(
        &guest,
        "postgres",
        folder,
        &format!("{folder}/cluster"),
        wrong,
    );
    postgres.said(&format!("rows: {}\n", 2 * POSTGRES), wrong);
    // Two clients may share a sync of the log.
    let log: Vec<&Value> = postgres
        .of("sync", "")
        .filter(|op| {
            op["file"]
                .as_str()
                .is_some_and(|path| path.contains("/pg_wal/0"))
        })
        .collect();
    if log.len() < POSTGRES || log.iter().any(|op| op["durability"] != "durable") {
        wrong.push(format!("pg_wal: not {POSTGRES} durable syncs: {log:?}"));
    }
    assert!(wrong.is_empty(), "{}\n{said}", wrong.join("\n"));
}

/// `15`, of `/usr/lib/postgresql/15/bin`.
fn version(binaries: &Path) -> &str {
    binaries
        .parent()
        .and_then(Path::file_name)
        .and_then(|name| name.to_str())
        .expect("a version")
}
