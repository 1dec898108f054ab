//! # The conformance program under memory checkers
//!
//! valgrind's memcheck sees the library and the program, and AddressSanitizer the program and every allocation. Both
//! run on the filesystem of the build. There are no suppressions.

use std::path::{Path, PathBuf};
use std::process::Command;

use odio_tests::{Link, command, compile_parts, scratch, succeed};

const ENGINES: [&str; 3] = ["psync", "libaio", "io_uring"];
const PARTS: [&str; 5] = [
    "tests/c/conformance_transfer.c",
    "tests/c/conformance_queue.c",
    "tests/c/conformance_rules.c",
    "tests/c/conformance_more.c",
    "tests/c/subject.c",
];

fn program(link: Link, flags: &[&str], directory: &Path) -> PathBuf {
    compile_parts("tests/c/conformance.c", &PARTS, link, flags, directory)
}

/// Every case passes under `tool`, for each engine.
fn conforms(tool: &[&str], program: &Path, directory: &Path, words: &[&str]) {
    let at = directory.to_str().expect("UTF-8");
    for engine in ENGINES {
        for cache in ["preferred", "buffered"] {
            let line = [&[at, engine, cache, "none"], words].concat();
            let printed = succeed(&mut command(tool, program, &line));
            let last = printed.lines().last().unwrap_or_default();
            assert!(last.ends_with(" cases ok"), "{engine} {cache}: {printed}");
        }
    }
}

#[test]
fn memcheck_finds_nothing() {
    let directory = scratch();
    let program = program(Link::Shared, &[], directory.path());
    let tool = [
        "valgrind",
        // Without it a thread that never blocks may keep the others waiting for minutes.
        "--fair-sched=yes",
        "--quiet",
        "--leak-check=full",
        "--show-leak-kinds=definite,possible",
        "--error-exitcode=99",
    ];
    conforms(&tool, &program, directory.path(), &["quick"]);
}

#[test]
fn address_sanitizer_finds_nothing() {
    let directory = scratch();
    let flags = ["-fsanitize=address,undefined", "-fno-omit-frame-pointer"];
    let program = program(Link::Static, &flags, directory.path());
    // A build without it would find nothing either.
    let symbols = succeed(Command::new("nm").arg(&program));
    assert!(symbols.contains(" U __asan_report_load8"), "{symbols}");
    conforms(&[], &program, directory.path(), &[]);
}
