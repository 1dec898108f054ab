//! # The tracer's verdicts held against power cuts
//!
//! Where odio-trace says `durable` no cut may take the write away, where it says anything less one must. The whole of it
//! is `make crash`; its rows are kept, and docs/durability.md is made of them. Here is a part of it, live.

use std::{collections::BTreeMap, fs, path::PathBuf, process::Command};

use odio_tests::crash::{lab, odio_crash};
use odio_tests::vm::{Run, odio_trace};
use odio_tests::{root, scratch, succeed};
use serde_json::Value;

fn lines(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

/// The kept rows, file by file in the order of their names.
fn kept() -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(root().join("crash/results"))
        .expect("the kept rows")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    files
}

#[test]
fn the_page_is_that_of_the_rows() {
    let made = succeed(Command::new(odio_crash()).arg("page").args(kept()));
    let page = fs::read_to_string(root().join("docs/durability.md")).expect("the page");
    let (_, behind) = page.split_once("begin -->\n").expect("the beginning");
    let (section, _) = behind.split_once("<!-- made").expect("the end");
    assert_eq!(section, made, "scripts/crash --page");
}

/// What the documentation says of the rows.
#[test]
fn the_rows_are_of_everything_and_none_is_contradicted() {
    let mut cases: BTreeMap<String, usize> = BTreeMap::new();
    let mut images = 0;
    for file in kept() {
        for row in lines(&fs::read_to_string(file).expect("rows")) {
            assert_eq!(row["verdict"], "PASS", "{row}");
            images += row["images"].as_u64().expect("a number");
            let kernel = row["kernel"].as_str().expect("a kernel");
            let series: Vec<&str> = kernel.split('.').take(2).collect();
            let filesystem = row["case"]["filesystem"].as_str().expect("a name");
            let place = format!("{} {filesystem}", series.join("."));
            *cases.entry(place).or_default() += 1;
        }
    }
    assert!(images >= 20_000, "{images}");
    let mut wanted = BTreeMap::new();
    for series in ["6.1", "6.12"] {
        // Modes by engines by situations, alone and together; files that are made, replaced and, in two situations,
        // written to in parts.
        for (filesystem, situations) in [
            ("ext4", 4),
            ("xfs", 4),
            ("btrfs", 4),
            ("btrfs-nodatacow", 4),
            ("vfat", 2),
            ("block", 1),
        ] {
            let others = if filesystem == "block" { 0 } else { 3 * 2 * 4 };
            let together = 3 * 3 * usize::min(situations, 2);
            wanted.insert(
                format!("{series} {filesystem}"),
                6 * 3 * situations + together + others,
            );
        }
    }
    assert_eq!(cases, wanted);
}

/// Cases of a filesystem under the tracer; what it said, each once, of writes behind which the power was cut.
fn said(kernel: &str, filesystem: &str, modules: &[&str], arguments: &str) -> Vec<String> {
    let room = scratch();
    let out = room.path().join("out");
    let (trace, crash) = (odio_trace(), odio_crash());
    let mkfs = format!("/usr/sbin/mkfs.{filesystem}");
    let text = |path: &PathBuf| path.to_str().expect("UTF-8").to_owned();
    let (trace, crash, out) = (text(&trace), text(&crash), text(&out));
    let mut options = lab(kernel, modules, Some(&mkfs));
    options.extend(["--out", &out]);
    for program in [&trace, &crash] {
        options.extend(["--add", program]);
    }
    let line = format!(
        "{trace} run --json --op write --op sync -- \
         sh -c '{crash} run --fs {filesystem} {arguments} >/out/cuts' >/out/trace"
    );
    let output = Run::new(&options, &["sh", "-c", &line]).output();
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{told}");
    let mut cross = Command::new(crash);
    cross.arg("cross");
    for (option, file) in [("--trace", "trace"), ("--cuts", "cuts")] {
        cross.arg(option).arg(format!("{out}/{file}"));
    }
    // It fails where one is contradicted, or nothing can be said.
    let rows = succeed(&mut cross);
    let mut said = Vec::new();
    for row in lines(&rows) {
        assert_eq!(row["verdict"], "PASS", "{row}");
        for group in row["groups"].as_array().expect("groups") {
            if group["cuts"].as_u64() > Some(0) {
                said.push(group["said"].as_str().expect("words").to_owned());
            } else {
                // There may be none behind the last writes, and of them alone something may be said.
                let last = row["case"]["depth"].as_u64().expect("a number");
                assert!(group["writes"].as_u64() <= Some(last), "{row}");
            }
        }
    }
    said.sort();
    said.dedup();
    said
}

#[test]
fn what_is_said_of_ext4_is_what_a_cut_leaves() {
    let arguments = "--mode direct,direct+dsync,buffered,buffered+sync --writes 3";
    let said = said("6.1", "ext4", &[], arguments);
    let all = ["device-cache", "durable", "page-cache", "uncommitted"];
    assert_eq!(said, all);
}

/// Four at a time, of which a flush may be of one and not of another.
#[test]
fn what_is_said_of_writes_that_are_in_flight_together_is_what_a_cut_leaves() {
    let arguments = "--mode direct,direct+dsync,buffered+dsync --depth 4 --writes 8 --random 1";
    let said = said("6.12", "ext4", &[], arguments);
    assert_eq!(said, ["device-cache", "durable", "uncommitted"]);
}

/// Whether a write is done within its call is up to the disk, and so whether btrfs syncs it or libodio does.
#[test]
fn what_is_said_of_btrfs_is_what_a_cut_leaves() {
    let arguments = "--mode direct,direct+dsync --engine libaio --situation append --writes 3";
    let said = said("6.1", "btrfs", &["btrfs"], arguments);
    let (durable, less): (Vec<_>, Vec<_>) = said.iter().partition(|said| said.ends_with("durable"));
    assert_eq!(less, ["uncommitted"]);
    assert!(!durable.is_empty());
}
