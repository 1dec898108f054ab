//! # What a file can do beside I/O, from C
//!
//! Space, explanation, and names that survive a crash. Each C program runs bare and under valgrind, on the filesystem
//! that holds the build; /dev/shm is a tmpfs.

use std::path::Path;

use odio_tests::{Link, command, compile, scratch, succeed};

const VALGRIND: [&str; 4] = [
    "valgrind",
    "--quiet",
    "--leak-check=full",
    "--error-exitcode=99",
];

fn text(path: &Path) -> &str {
    path.to_str().expect("the build directory is UTF-8")
}

#[test]
fn space_is_allocated_freed_zeroed_and_cut() {
    let directory = scratch();
    let memory = tempfile::tempdir_in("/dev/shm").unwrap();
    let program = compile("tests/c/space.c", Link::Shared, &[], directory.path());
    let (file, other) = (directory.path().join("file"), memory.path().join("file"));
    for tool in [&[][..], &VALGRIND] {
        succeed(&mut command(tool, &program, &[text(&file), text(&other)]));
    }
}
