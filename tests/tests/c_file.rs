//! # What a file can do beside I/O, from C
//!
//! Space, explanation, and names that survive a crash. Each C program runs bare and under valgrind, on the filesystem
//! that holds the build; /dev/shm is a tmpfs.

use std::fs;
use std::path::{Path, PathBuf};

use odio_tests::{Link, command, compile, everything, run, scratch, succeed};

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
    fs::write(&file, [1; 8192]).unwrap();
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

/// A directory with `old/` and `new/target`, and the line of `rename.c` for them.
fn rename_line() -> (tempfile::TempDir, PathBuf, [PathBuf; 2]) {
    let directory = scratch();
    let program = compile("tests/c/rename.c", Link::Shared, &[], directory.path());
    let at = |name| directory.path().join(name);
    let paths = [at("old/file"), at("new/target")];
    for directory in [at("old"), at("new")] {
        fs::create_dir(directory).unwrap();
    }
    fs::write(&paths[1], "old").unwrap();
    (directory, program, paths)
}

#[test]
fn a_durable_rename_syncs_file_and_both_directories_in_order() {
    for valgrind in [false, true] {
        let (directory, program, [old, new]) = rename_line();
        let log = directory.path().join("log");
        // -y shows the path of each descriptor.
        let trace = ["strace", "-y", "-o", text(&log), "--trace=fsync,/^renameat"];
        let tool = if valgrind { &VALGRIND[..] } else { &trace };
        let printed = succeed(&mut command(tool, &program, &[text(&old), text(&new)]));
        assert_eq!(printed, "0 0 \n");
        assert_eq!(fs::read(&new).unwrap(), b"new");
        assert!(!old.exists());
        if valgrind {
            continue;
        }
        let log = fs::read_to_string(&log).unwrap();
        let calls: Vec<_> = log.lines().filter(|line| line.contains("= 0")).collect();
        let expected = [
            ("fsync(", "/old/file>"),
            ("fsync(", "/old>"),
            ("fsync(", "/old/file>"),
            ("renameat", "\"target\""),
            ("fsync(", "/new>"),
            ("fsync(", "/old>"),
        ];
        assert_eq!(calls.len(), expected.len(), "{log}");
        for (call, (name, of)) in calls.iter().zip(expected) {
            assert!(call.starts_with(name) && call.contains(of), "{log}");
        }
    }
}

#[test]
fn a_rename_that_fails_says_at_which_step_and_on_which_side() {
    for (rule, expected, renamed) in [
        ("fsync:error=EIO:when=3", "-5 2 ", false),
        ("/^renameat:error=ENOSPC", "-28 3 ", false),
        ("fsync:error=EIO:when=4", "-5 4 ", true),
        ("fsync:error=EIO:when=5", "-5 5 ", true),
    ] {
        let (directory, program, [old, new]) = rename_line();
        let log = directory.path().join("log");
        let inject = format!("--inject={rule}");
        let tool = ["strace", "-o", text(&log), &inject];
        let printed = succeed(&mut command(&tool, &program, &[text(&old), text(&new)]));
        assert!(printed.starts_with(expected), "{rule}: {printed}");
        let outcome = if renamed {
            "the file has its new name, but"
        } else {
            "nothing was renamed"
        };
        assert!(printed.contains(outcome), "{rule}: {printed}");
        assert_eq!(old.exists(), !renamed, "{rule}");
        let content = if renamed { "new" } else { "old" };
        assert_eq!(fs::read_to_string(&new).unwrap(), content, "{rule}");
    }
}

#[test]
fn a_durable_creation_that_fails_leaves_no_file() {
    for (rule, why) in [
        ("fsync:error=EIO:when=1", "the new file could not be synced"),
        ("fsync:error=EIO:when=2", "the directory that holds"),
    ] {
        let (directory, program, [old, new]) = rename_line();
        let log = directory.path().join("log");
        let inject = format!("--inject={rule}");
        let tool = ["strace", "-o", text(&log), &inject];
        let output = run(&mut command(&tool, &program, &[text(&old), text(&new)]));
        let said = everything(&output);
        assert_eq!(output.status.code(), Some(2), "{rule}: {said}");
        assert!(said.contains(why), "{rule}: {said}");
        assert!(!old.exists(), "{rule}");
    }
}

#[test]
fn a_mode_that_is_durable_makes_new_files_durable_and_the_others_do_not() {
    let directory = scratch();
    let source = "examples-c/write_modes.c";
    let program = compile(source, Link::Shared, &[], directory.path());
    let log = directory.path().join("log");
    for (mode, syncs) in [("direct+dsync", 1), ("buffered+sync", 1), ("direct", 0)] {
        let file = directory.path().join(mode);
        let tool = ["strace", "-y", "-f", "-o", text(&log), "--trace=fsync"];
        for count in [syncs, 0] {
            // The second time the file is there.
            succeed(&mut command(
                &tool,
                &program,
                &[text(&file), mode, "psync", "1"],
            ));
            let log = fs::read_to_string(&log).unwrap();
            let of_directory = format!("{}>)", text(directory.path()));
            assert_eq!(log.matches(&of_directory).count(), count, "{mode}: {log}");
        }
    }
}
