//! # Power cuts
//!
//! `odio-crash` writes on a real filesystem, cuts the power at every block write, and must find what libodio said is
//! durable; and must not find it where it was not promised or the device lies.

use std::{collections::BTreeMap, fs, path::Path};

use odio_tests::crash::{lab, odio_crash};
use odio_tests::vm::Run;
use serde_json::Value;

const EXT4: Option<&str> = Some("/usr/sbin/mkfs.ext4");

/// One call of `odio-crash` in the VM.
#[derive(Default)]
struct Call {
    /// Cases by filesystem, mode, engine, workload and situation.
    checked: BTreeMap<String, Value>,
    violations: Vec<Value>,
    status: Option<i32>,
}

/// Makes each call in one VM; a call has a name and arguments.
fn calls(options: &[&str], calls: &[(&str, &str)]) -> BTreeMap<String, Call> {
    let program = odio_crash().display().to_string();
    let mut script = String::new();
    for (name, arguments) in calls {
        script += &format!("echo '### {name}'\n{program} {arguments}\necho \"status $?\"\n");
    }
    let mut with_program = options.to_vec();
    with_program.extend(["--add", &program]);
    let output = Run::new(&with_program, &["sh", "-c", &script]).output();
    let said = String::from_utf8_lossy(&output.stderr);
    let printed = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{said}\n{printed}");
    eprintln!("{said}");
    let mut found: BTreeMap<String, Call> = BTreeMap::new();
    let mut at = String::new();
    for line in printed.lines() {
        if let Some(name) = line.strip_prefix("### ") {
            at = name.to_owned();
            continue;
        }
        let call = found.entry(at.clone()).or_default();
        if let Some(status) = line.strip_prefix("status ") {
            call.status = status.parse().ok();
            continue;
        }
        let told: Value = serde_json::from_str(line).expect("JSON");
        match told["type"].as_str() {
            Some("checked") => {
                let name = ["filesystem", "mode", "engine", "workload", "situation"]
                    .map(|field| told["case"][field].as_str().expect("a name"))
                    .join(" ");
                assert!(call.checked.insert(name, told).is_none());
            }
            Some("violation") => call.violations.push(told),
            _ => panic!("{line}"),
        }
    }
    found
}

fn number(told: &Value, field: &str) -> u64 {
    told[field]
        .as_u64()
        .unwrap_or_else(|| panic!("{field}: {told}"))
}

/// Every case was tried on so many disks at least on which writes had to be, and they were.
fn assert_kept(call: &Call, expect: &str, cases: usize, least: u64) {
    assert_eq!(call.status, Some(0), "{:?}", call.violations);
    assert_eq!(call.checked.len(), cases);
    for (name, told) in &call.checked {
        assert_eq!(told["verdict"], "PASS", "{name}: {told}");
        assert_eq!(told["expect"], expect, "{name}: {told}");
        assert_eq!(number(told, "violations"), 0, "{name}: {told}");
        assert!(number(told, "obliged") >= least, "{name}: {told}");
    }
}

/// Every case failed.
fn assert_failed(call: &Call, cases: usize) {
    assert_eq!(call.status, Some(1));
    assert_eq!(call.checked.len(), cases);
    for (name, told) in &call.checked {
        assert_eq!(told["verdict"], "FAIL", "{name}: {told}");
        assert!(number(told, "violations") > 0, "{name}: {told}");
    }
}

/// Every case failed, and where it was told how, something was found that must not be.
fn assert_found(call: &Call, cases: usize, expected: &str, found: &str) {
    assert_failed(call, cases);
    let alike = |violation: &&Value| {
        violation["expected"] == expected
            && violation["found"]
                .as_str()
                .expect("words")
                .starts_with(found)
    };
    let violations = &call.violations;
    assert!(
        violations.iter().any(|violation| alike(&violation)),
        "{violations:?}"
    );
}

/// Every case failed by acknowledged writes that were not there, and by nothing else: a device that keeps its word breaks
/// no filesystem. One that does not may break anything.
fn assert_lost(call: &Call, cases: usize) {
    assert_failed(call, cases);
    for violation in &call.violations {
        assert!(violation["op"].is_u64(), "{violation}");
        let expected = violation["expected"].as_str().expect("words");
        assert!(expected.ends_with("or later"), "{violation}");
    }
}

fn ext4(kernel: &str) {
    let options = lab(kernel, &[], EXT4);
    let of = calls(
        &options,
        &[
            ("kept", "run --writes 6"),
            (
                "several at once",
                "run --depth 4 --writes 6 --situation append,unwritten --engine libaio,io_uring",
            ),
            (
                "all durable modes",
                "run --mode direct+sync,buffered+dsync,buffered+sync --engine io_uring --writes 3",
            ),
            (
                "by a sync",
                "run --mode direct,buffered --engine libaio --sync-every 2 --writes 5",
            ),
            (
                "no promise",
                "run --mode direct --situation append --expect durable --writes 6",
            ),
            (
                "no fsync",
                "run --mode direct,buffered --engine psync --sync-by nothing --sync-every 2 --writes 4",
            ),
            (
                "a lying device",
                "run --engine psync --ignore-flushes --writes 3",
            ),
            (
                "a lying device and syncs",
                "run --mode direct --engine io_uring --ignore-flushes --writes 3",
            ),
        ],
    );
    assert_kept(&of["kept"], "durable", 6, 10);
    assert_kept(&of["several at once"], "durable", 4, 10);
    assert_kept(&of["all durable modes"], "durable", 6, 3);
    assert_kept(&of["by a sync"], "synced", 4, 3);
    assert_lost(&of["no promise"], 3);
    assert_lost(&of["no fsync"], 4);
    assert_failed(&of["a lying device"], 2);
    assert_failed(&of["a lying device and syncs"], 2);
}

#[test]
fn ext4_of_6_1() {
    ext4("6.1");
}

#[test]
fn ext4_of_6_12() {
    ext4("6.12");
}

#[test]
fn xfs_and_a_disk_of_6_1() {
    let of = calls(
        &lab("6.1", &["xfs"], Some("/usr/sbin/mkfs.xfs")),
        &[
            ("xfs", "run --fs xfs --writes 5"),
            ("disk", "run --fs block --situation overwrite --writes 5"),
            (
                "no promise",
                "run --fs xfs --mode direct --engine psync --situation append --expect durable --writes 3",
            ),
            ("no append", "run --fs block --situation append --writes 3"),
        ],
    );
    assert_kept(&of["xfs"], "durable", 6, 5);
    assert_kept(&of["disk"], "durable", 3, 5);
    assert_lost(&of["no promise"], 1);
    let told = &of["no append"];
    assert_eq!(told.status, Some(3));
    for (name, told) in &told.checked {
        assert_eq!(told["verdict"], "INCONCLUSIVE", "{name}: {told}");
        assert!(told["why"].as_str().expect("words").contains("overwrite"));
    }
}

/// The kernel acknowledges an asynchronous O_DSYNC write of btrfs whose metadata was never written (iomap takes FUA on its
/// data for enough, and btrfs syncs only what is done within the call; `crash/btrfs-aio-dsync`); libodio's finishing sync
/// makes it true.
fn btrfs(kernel: &str, filesystems: &str, cases: usize) {
    let case = format!("run --fs {filesystems} --engine libaio --situation append --writes 6");
    let of = calls(
        &lab(kernel, &["btrfs"], Some("/usr/sbin/mkfs.btrfs")),
        &[("odio", &case), ("kernel", &format!("{case} --raw"))],
    );
    assert_kept(&of["odio"], "durable", cases, 10);
    assert_lost(&of["kernel"], cases);
}

#[test]
fn what_btrfs_of_6_1_loses_libodio_keeps() {
    btrfs("6.1", "btrfs,btrfs-nodatacow", 2);
}

/// With checksums it copies such a write through the page cache, and syncs it.
#[test]
fn what_btrfs_of_6_12_loses_libodio_keeps() {
    btrfs("6.12", "btrfs-nodatacow", 1);
}

/// The command that a violation is told with shows the same violation on the record that was kept.
#[test]
fn a_violation_is_repeated_from_its_record() {
    let room = tempfile::tempdir().expect("a temporary folder");
    let kept = room.path().display().to_string();
    let with_out = [&lab("6.1", &[], EXT4)[..], &["--out", &kept]].concat();
    let lost = "run --engine libaio --situation overwrite --ignore-flushes --writes 3";
    let first = calls(&with_out, &[("lost", lost)]);
    let violation = first["lost"]
        .violations
        .iter()
        .find(|violation| !["none", "all"].contains(&violation["state"].as_str().unwrap()))
        .expect("one on a random disk");

    let repeat = violation["repeat"].as_str().expect("a command");
    let (program, arguments) = repeat.split_once(' ').expect("arguments");
    assert_eq!(program, "odio-crash");
    let name = "ext4.direct+dsync.libaio.overwrite";
    let record = record(room.path(), name).display().to_string();
    let arguments = arguments.replace(name, &record);
    let with_record = [&lab("6.1", &[], None)[..], &["--add", &record]].concat();
    let second = calls(
        &with_record,
        &[
            ("again", &arguments),
            // Before the log begins there is nothing to cut.
            ("nowhere", &arguments.replace("--point ", "--point 1000")),
        ],
    );
    let again = &second["again"];
    assert_eq!(again.status, Some(1));
    assert!(again.violations.contains(violation), "{violation}");
    assert_eq!(number(again.checked.values().next().unwrap(), "images"), 1);
    let nowhere = &second["nowhere"];
    assert_eq!(nowhere.status, Some(3));
    assert_eq!(
        nowhere.checked.values().next().unwrap()["verdict"],
        "INCONCLUSIVE"
    );
}

/// The folder of this name, wherever below the other it is.
fn record(below: &Path, name: &str) -> std::path::PathBuf {
    let direct = below.join(name);
    if direct.is_dir() {
        return direct;
    }
    fs::read_dir(below)
        .expect("the folder that came back")
        .map(|entry| entry.expect("an entry").path().join(name))
        .find(|path| path.is_dir())
        .expect("a record was kept")
}

/// Files that are made and replaced, and writes to parts of blocks, the last of which the file ends in.
#[test]
fn names_and_unaligned_writes_on_ext4() {
    let options = lab("6.1", &[], EXT4);
    let of = calls(
        &options,
        &[
            (
                "made",
                "run --workload create --mode direct --engine psync --writes 3",
            ),
            (
                "replaced",
                "run --workload rename --mode buffered --engine psync --files 2 --writes 3",
            ),
            (
                "made in a durable mode",
                "run --workload create --mode direct+dsync --engine io_uring --writes 3",
            ),
            (
                "unaligned",
                "run --workload bounce --engine libaio,io_uring --depth 2 --writes 5",
            ),
            (
                "no sync of the folder",
                "run --workload create,rename --mode direct --engine psync --raw --writes 3",
            ),
            // Two hold a block at once, and one pads the end of the file.
            (
                "no range held",
                "run --workload bounce --situation overwrite --engine psync --raw --depth 4 --writes 8",
            ),
            (
                "padded",
                "run --workload bounce --situation append --engine psync --raw --writes 3",
            ),
        ],
    );
    assert_kept(&of["made"], "synced", 1, 10);
    assert_kept(&of["replaced"], "synced", 1, 20);
    assert_kept(&of["made in a durable mode"], "durable", 1, 10);
    assert_kept(&of["unaligned"], "durable", 4, 3);
    let lost = &of["no sync of the folder"];
    assert_found(lost, 2, "a file", "no file of this name");
    assert_found(
        lost,
        2,
        "the whole of generation 3 or later",
        "generation 0",
    );
    let lost = &of["no range held"];
    assert_found(lost, 1, "generation 4 or later", "generation 3");
    assert_found(&of["padded"], 1, "the end of the file", "zeros");
}

/// Of several files, a sync makes durable what was written to the one that it is of, by whichever call.
#[test]
fn a_sync_is_of_one_file_on_ext4() {
    let options = lab("6.1", &[], EXT4);
    let turns = "run --files 3 --mode direct,buffered --engine io_uring --depth 3 --sync-every 2 --writes 6";
    let by = [
        "queue-full",
        "file-data",
        "file-full",
        "then-data",
        "then-full",
    ];
    let by = by.map(|by| {
        let case =
            "run --mode buffered --engine psync --situation append --sync-every 2 --writes 4";
        (by, format!("{case} --sync-by {by}"))
    });
    let two =
        "run --files 2 --mode buffered --engine psync --situation append --sync-every 2 --writes 4";
    let of_any = format!("{two} --expect any-synced");
    let mut all = vec![("in turn", turns), ("of any", &of_any)];
    all.extend(by.iter().map(|(name, case)| (*name, case.as_str())));
    all.push((
        "of a range",
        "run --mode buffered --engine psync --sync-by range --sync-every 2 --writes 3",
    ));
    let of = calls(&options, &all);
    assert_kept(&of["in turn"], "synced", 4, 10);
    for (name, _) in &by {
        let expect = match name.starts_with("then") {
            true => "durable",
            false => "synced",
        };
        assert_kept(&of[*name], expect, 1, 10);
    }
    // What is expected of any file is promised of one alone, and of a range nothing is.
    assert_lost(&of["of any"], 1);
    assert_lost(&of["of a range"], 2);
}

/// On XFS the name of a file may be durable before anything that is in it.
#[test]
fn names_on_xfs() {
    let names = "run --fs xfs --workload create,rename --mode direct,buffered --engine psync";
    let raw = "run --fs xfs --workload rename --mode buffered --engine psync --raw";
    let of = calls(
        &lab("6.1", &["xfs"], Some("/usr/sbin/mkfs.xfs")),
        &[
            ("kept", &format!("{names} --files 2 --writes 4")),
            // The file is not synced, but the folder is.
            (
                "empty",
                &format!("{raw} --sync-every 1 --random 0 --writes 1"),
            ),
        ],
    );
    assert_kept(&of["kept"], "synced", 4, 5);
    let empty = "the end of the file";
    let whole = "the whole of generation 1 or later";
    assert_found(&of["empty"], 1, whole, empty);
    let nothing = |violation: &Value| violation["offset"] == 0 && violation["found"] == empty;
    let violations = &of["empty"].violations;
    assert!(violations.iter().any(nothing), "{violations:?}");
}

const VFAT: [&str; 4] = ["nls_cp437", "nls_ascii", "nls_utf8", "vfat"];

/// vfat writes where a name leads with the file and not with the folder: a rename is durable after a sync of all.
#[test]
fn names_on_vfat() {
    let names = "run --fs vfat --workload create,rename --mode buffered --engine psync";
    let of = calls(
        &lab("6.1", &VFAT, Some("/usr/sbin/mkfs.vfat")),
        &[("kept", &format!("{names} --files 2 --writes 4"))],
    );
    assert_kept(&of["kept"], "synced", 2, 5);
}

/// An fsync of vfat does not wait for what another one is writing. Without libodio's syncfs one of these seeds in two fails.
#[test]
fn appends_at_the_same_time_on_vfat() {
    let appends = "run --fs vfat --mode direct+dsync --engine psync --situation append --depth 4 --writes 8 --random 0";
    let seeds =
        ["1", "2", "3", "4", "5", "6"].map(|seed| (seed, format!("{appends} --seed {seed}")));
    let each: Vec<_> = seeds.iter().map(|(seed, call)| (*seed, &**call)).collect();
    let of = calls(&lab("6.1", &VFAT, Some("/usr/sbin/mkfs.vfat")), &each);
    assert_eq!(of.len(), seeds.len());
    for call in of.values() {
        assert_kept(call, "durable", 1, 8);
    }
}

/// Without a journal a file that gets more extents than its inode holds is lost whole where the power is cut in between, what
/// was durable before as well: why libodio promises nothing there.
#[test]
fn ext4_without_a_journal_keeps_nothing_for_certain() {
    let writes = "run --fs ext4-no-journal --mode buffered+dsync --engine psync --situation unwritten --writes 6";
    let of = calls(&lab("6.12", &["ext4"], EXT4), &[("unwritten", writes)]);
    let call = &of["unwritten"];
    assert_failed(call, 1);
    let lost = |violation: &Value| {
        violation["expected"]
            .as_str()
            .is_some_and(|expected| expected.ends_with("or later"))
            && violation["found"] == "the end of the file"
    };
    assert!(call.violations.iter().any(lost), "{:?}", call.violations);
}
