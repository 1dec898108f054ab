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

#[test]
fn an_open_file_is_explained_whole() {
    let directory = scratch();
    let program = compile("tests/c/explain.c", Link::Shared, &[], directory.path());
    let file = directory.path().join("file");
    std::fs::write(&file, [1; 8192]).unwrap();
    for tool in [&[][..], &VALGRIND] {
        let said = succeed(&mut command(tool, &program, &[text(&file)]));
        for (name, part) in [
            ("path", text(&file)),
            ("mode asked", "direct+dsync"),
            ("mode got", "direct+dsync"),
            ("reason", "direct: O_DIRECT is set and a read of"),
            ("opened for", "reading"),
            ("memory alignment", "; source: "),
            ("offset alignment", "; source: "),
            ("length alignment", "; source: "),
            ("an acknowledged write", "is durable"),
            ("volatile write cache", ""),
            ("FUA", ""),
            ("finishing sync", ""),
            ("failed sync", "none"),
        ] {
            let line = said
                .lines()
                .find(|line| line.starts_with(&format!("{name}: ")));
            assert!(
                line.is_some_and(|line| line.contains(part)),
                "{name}: {said}"
            );
        }
    }
}
