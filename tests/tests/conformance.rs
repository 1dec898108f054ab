//! # Conformance to odio.h
//!
//! One C program against the header, for every engine, cache and sync, on each filesystem and on a block device. The
//! tests that mount want root and are run with `--ignored`; they need mkfs.ext4, mkfs.xfs and mkfs.btrfs.

use std::path::{Path, PathBuf};

use odio_tests::place::Place;
use odio_tests::{Link, command, compile_parts, everything, scratch, succeed};

const ENGINES: [&str; 3] = ["psync", "libaio", "io_uring"];
const CACHES: [&str; 3] = ["direct", "preferred", "buffered"];
const SYNCS: [&str; 3] = ["none", "dsync", "sync"];
/// The other files of the program.
const PARTS: [&str; 5] = [
    "tests/c/conformance_transfer.c",
    "tests/c/conformance_queue.c",
    "tests/c/conformance_rules.c",
    "tests/c/conformance_more.c",
    "tests/c/subject.c",
];

/// Builds the program. Returns it and the names of its cases.
fn program(directory: &Path) -> (PathBuf, Vec<String>) {
    let program = compile_parts(
        "tests/c/conformance.c",
        &PARTS,
        Link::Shared,
        &[],
        directory,
    );
    let names = succeed(&mut command(&[], &program, &["--list"]));
    let names: Vec<String> = names.lines().map(str::to_owned).collect();
    assert!(names.len() > 15, "{names:?}");
    (program, names)
}

/// One run printed each case and their number, and nothing was left out.
fn assert_all_cases(printed: &str, names: &[String], line: &str) {
    for name in names {
        let ok = format!("{name}: ok");
        let count = printed.lines().filter(|line| **line == ok).count();
        assert_eq!(count, 1, "{line}: {name}: {printed}");
    }
    let last = format!("{} cases ok", names.len());
    assert_eq!(printed.lines().last(), Some(&*last), "{line}: {printed}");
}

fn conforms_on(place: Place) {
    if let Some(why) = place.missing() {
        odio_tests::skip(&why);
        return;
    }
    let directory = scratch();
    let (program, names) = program(directory.path());
    let script = r#"
        for engine in psync libaio io_uring; do
            for cache in direct preferred buffered; do
                for sync in none dsync sync; do
                    echo "== $engine $cache $sync"
                    "$1" "$at" "$engine" "$cache" "$sync"
                done
            done
        done"#;
    let output = place.run(script, &[program.to_str().expect("UTF-8")]);
    let text = everything(&output);
    // What went well before is of no use then.
    let last = text.rsplit("\n== ").next().unwrap_or(&text);
    assert!(
        output.status.success(),
        "{}: {}: {last}",
        place.name(),
        output.status
    );

    let printed = String::from_utf8(output.stdout).expect("UTF-8");
    let mut runs = printed.split("== ").skip(1);
    for engine in ENGINES {
        for cache in CACHES {
            for sync in SYNCS {
                let line = format!("{engine} {cache} {sync}");
                let run = runs.next().unwrap_or_else(|| panic!("{line}: {text}"));
                let run = run.strip_prefix(&line).expect("runs come in order");
                if place == Place::Tmpfs && cache == "direct" {
                    let refused = run.trim();
                    assert!(
                        refused.starts_with("direct refused: no direct I/O"),
                        "{run}"
                    );
                    assert!(refused.contains("tmpfs"), "{run}");
                    assert_eq!(refused.lines().count(), 1, "{run}");
                    continue;
                }
                // The fallback of tmpfs is no fallback elsewhere.
                let got = match (place, cache) {
                    (Place::Tmpfs, "preferred") => "buffered: direct was preferred, but ",
                    (_, "buffered") => "buffered: asked for",
                    _ => "direct: ",
                };
                let on = format!("on {}: {got}", place.name());
                assert!(run.trim().starts_with(&on), "{line}: no {on:?}: {run}");
                assert_all_cases(run, &names, &line);
            }
        }
    }
    println!("{}: {} cases in 27 modes", place.name(), names.len());
}

#[test]
fn on_the_filesystem_of_the_build() {
    let directory = scratch();
    let (program, names) = program(directory.path());
    let at = directory.path().to_str().expect("UTF-8");
    for engine in ENGINES {
        for cache in ["preferred", "buffered"] {
            let line = [at, engine, cache, "none"];
            let printed = succeed(&mut command(&[], &program, &line));
            assert_all_cases(&printed, &names, &line.join(" "));
        }
    }
}

#[test]
#[ignore = "mounts ext4: wants root"]
fn on_ext4() {
    conforms_on(Place::Ext4);
}

#[test]
#[ignore = "mounts XFS: wants root"]
fn on_xfs() {
    conforms_on(Place::Xfs);
}

#[test]
#[ignore = "mounts btrfs: wants root"]
fn on_btrfs() {
    conforms_on(Place::Btrfs);
}

#[test]
#[ignore = "mounts a tmpfs: wants root"]
fn on_tmpfs() {
    conforms_on(Place::Tmpfs);
}

#[test]
#[ignore = "sets up a loop device: wants root"]
fn on_a_block_device() {
    conforms_on(Place::BlockDevice);
}
