//! # What a file can do beside I/O, from C
//!
//! Space, explanation, and names that survive a crash. Each C program runs bare and under valgrind, on the filesystem
//! that holds the build; /dev/shm is a tmpfs. The tests that make a loop device want root and are run with `--ignored`.

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
fn pieces_of_memory_and_flags_of_one_request() {
    let directory = scratch();
    let memory = tempfile::tempdir_in("/dev/shm").unwrap();
    let program = compile("tests/c/vectors.c", Link::Shared, &[], directory.path());
    let (file, other) = (directory.path().join("file"), memory.path().join("file"));
    for tool in [&[][..], &VALGRIND] {
        succeed(&mut command(tool, &program, &[text(&file), text(&other)]));
    }
}

/// What strace saw of these calls while `tests/c/vectors.c` ran under it, and the program's words.
fn vectors_traced(calls: &str, inject: &[&str], status: i32) -> (String, String) {
    let directory = scratch();
    let memory = tempfile::tempdir_in("/dev/shm").unwrap();
    let program = compile("tests/c/vectors.c", Link::Shared, &[], directory.path());
    let (file, other) = (directory.path().join("file"), memory.path().join("file"));
    let log = directory.path().join("log");
    let trace = format!("--trace={calls}");
    let tool = [&["strace", "-o", text(&log), &trace][..], inject].concat();
    let output = run(&mut command(&tool, &program, &[text(&file), text(&other)]));
    assert_eq!(
        output.status.code(),
        Some(status),
        "{}",
        everything(&output)
    );
    (fs::read_to_string(&log).unwrap(), everything(&output))
}

#[test]
fn a_write_with_a_closing_sync_is_both_calls_and_a_failure_of_the_sync_sticks() {
    let calls = "pwritev2,fdatasync,sync_file_range";
    let (log, _) = vectors_traced(calls, &[], 0);
    let lines: Vec<_> = log.lines().collect();
    assert!(
        lines[0].starts_with("pwritev2(") && lines[0].ends_with(", 2, 4096, 0) = 12288"),
        "{log}"
    );
    assert!(lines[1].starts_with("fdatasync("), "{log}");
    assert!(lines[2].contains("RWF_DSYNC) = 12288"), "{log}");
    let whole = "SYNC_FILE_RANGE_WAIT_BEFORE|SYNC_FILE_RANGE_WRITE|SYNC_FILE_RANGE_WAIT_AFTER";
    assert!(log.contains(&format!("3, 10000, {whole}) = 0")), "{log}");

    let (_, said) = vectors_traced(calls, &["--inject=fdatasync:error=EIO"], 1);
    assert!(said.contains("data sync failed: EIO"), "{said}");
    let (_, said) = vectors_traced(calls, &["--inject=sync_file_range:error=EIO:when=1"], 1);
    assert!(
        said.contains("sync range of 10000 bytes at offset 3: EIO"),
        "{said}"
    );
}

#[test]
fn a_vectored_write_that_stops_short_goes_on_where_it_is_aligned() {
    // The kernel is said to have written 5000 bytes, so the last whole block is 4096.
    let (log, _) = vectors_traced(
        "pwritev2,pwrite64",
        &["--inject=pwritev2:retval=5000:when=1"],
        0,
    );
    let lines: Vec<_> = log.lines().collect();
    assert!(lines[0].contains("= 5000 (INJECTED)"), "{log}");
    // The step is what the file asks for, which divides 4096.
    let at = lines[1]
        .rsplit(", ")
        .nth(1)
        .unwrap()
        .parse::<u64>()
        .unwrap();
    assert!(
        lines[1].starts_with("pwritev2(") && (8192..=4096 + 5000).contains(&at),
        "{log}"
    );
    assert!(at % 512 == 0, "{log}");
}

#[test]
fn unaligned_requests_bounce_where_that_was_asked_for() {
    let directory = scratch();
    let program = compile("tests/c/bounce.c", Link::Shared, &[], directory.path());
    let (file, log) = (directory.path().join("file"), directory.path().join("log"));
    let trace = [
        "strace",
        "-o",
        text(&log),
        "--trace=openat,pwrite64,sync_file_range",
    ];
    for tool in [&[][..], &VALGRIND, &trace] {
        let _ = fs::remove_file(&file);
        succeed(&mut command(tool, &program, &[text(&file)]));
    }
    // Each write through the page cache is pushed out, by the descriptor that wrote it and as far as it wrote.
    let log = fs::read_to_string(&log).unwrap();
    let lines: Vec<_> = log.lines().collect();
    let buffered: Vec<_> = lines
        .iter()
        .filter(|line| line.contains("/proc/self/fd/") && !line.contains("O_DIRECT"))
        .map(|line| line.rsplit("= ").next().unwrap())
        .collect();
    let tails: Vec<_> = lines
        .windows(2)
        .filter_map(|pair| {
            let (fd, rest) = pair[0].strip_prefix("pwrite64(")?.split_once(", ")?;
            buffered.contains(&fd).then_some((fd, rest, pair[1]))
        })
        .collect();
    assert!(!tails.is_empty(), "{log}");
    for (fd, written, next) in tails {
        let (written, moved) = written.split_once(") = ").unwrap();
        let offset = written.rsplit(", ").next().unwrap();
        let push = format!("sync_file_range({fd}, {offset}, {moved}, SYNC_FILE_RANGE_WAIT_BEFORE|");
        assert!(next.starts_with(&push), "{log}");
    }
}

/// Runs `script` with a loop device on a fresh image of 8 MiB as `$1`, in a mount namespace of its own.
fn on_loop_device(script: &str, words: &[&str]) -> std::process::Output {
    let directory = scratch();
    let image = directory.path().join("image");
    fs::File::create(&image).unwrap().set_len(8 << 20).unwrap();
    let script = format!(
        r#"device=$(losetup -f --show "$1") || exit 77
        trap 'losetup -d "$device"' EXIT
        shift; set -- "$device" "$@"
        {script}"#
    );
    let mut unshare = std::process::Command::new("unshare");
    unshare
        .args(["--mount", "sh", "-c", &script, "sh"])
        .arg(&image)
        .args(words);
    run(unshare.env("LD_LIBRARY_PATH", &odio_tests::libodio().directory))
}

#[test]
#[ignore = "makes a loop device: wants root"]
fn a_block_device_is_written_punched_zeroed_and_held() {
    let directory = scratch();
    let program = compile("tests/c/device.c", Link::Shared, &[], directory.path());
    let script = r#""$2" "$1" free && mkfs.ext4 -qF "$1" && mkdir "$3" && mount "$1" "$3" || exit 1
        "$2" "$1" mounted; status=$?; umount "$3"; exit $status"#;
    let mount = directory.path().join("mount");
    let output = on_loop_device(script, &[text(&program), text(&mount)]);
    assert!(output.status.success(), "{}", everything(&output));
}

#[test]
#[ignore = "mounts a filesystem: wants root"]
fn a_file_on_overlayfs_that_ended_buffered_says_why() {
    let directory = scratch();
    let program = compile("tests/c/open_file.c", Link::Shared, &[], directory.path());
    let script = r#"mkfs.ext4 -qF "$1" && mkdir "$3" && mount -o data=journal "$1" "$3" || exit 1
        cd "$3" && mkdir lower upper work all && echo x > lower/file
        mount -t overlay -o lowerdir=lower,upperdir=upper,workdir=work overlay all || exit 1
        "$2" all/file direct preferred; status=$?
        umount all; cd /; umount "$3"; exit $status"#;
    let mount = directory.path().join("mount");
    let output = on_loop_device(script, &[text(&program), text(&mount)]);
    let said = everything(&output);
    assert!(output.status.success(), "{said}");
    assert!(
        said.contains("buffered: direct was preferred, but "),
        "{said}"
    );
    assert!(
        said.contains("overlayfs: the filesystem beneath it cannot"),
        "{said}"
    );
}

#[test]
#[ignore = "mounts a filesystem: wants root"]
fn a_file_on_overlayfs_is_promised_nothing() {
    let directory = scratch();
    let program = compile("tests/c/explain.c", Link::Shared, &[], directory.path());
    let script = r#"mkfs.ext4 -qF "$1" && mkdir "$3" && mount "$1" "$3" || exit 1
        cd "$3" && mkdir lower upper work all && head -c 8192 /dev/zero >lower/file
        mount -t overlay -o lowerdir=lower,upperdir=upper,workdir=work,volatile overlay all || exit 1
        "$2" all/file && "$2" lower/file; status=$?
        umount all; cd /; umount "$3"; exit $status"#;
    let mount = directory.path().join("mount");
    let output = on_loop_device(script, &[text(&program), text(&mount)]);
    let said = everything(&output);
    assert!(output.status.success(), "{said}");
    let promises: Vec<_> = said
        .lines()
        .filter_map(|line| line.strip_prefix("an acknowledged write: "))
        .collect();
    assert!(promises[0].starts_with("may be page-cache ("), "{said}");
    assert!(
        promises[0].contains("; overlayfs does not show what it stands on"),
        "{said}"
    );
    assert!(promises[1].starts_with("is durable ("), "{said}");
}

#[test]
fn an_open_file_is_explained_whole() {
    let directory = scratch();
    let program = compile("tests/c/explain.c", Link::Shared, &[], directory.path());
    let file = directory.path().join("file");
    fs::write(&file, [1; 8192]).unwrap();
    for tool in [&[][..], &VALGRIND] {
        let said = succeed(&mut command(tool, &program, &[text(&file)]));
        // The tree may be on an ext4 without a journal, in a container, or on a filesystem that is seldom.
        let promised_nothing = [
            ("; no journal of this ext4 is shown", "may be device-cache"),
            ("; overlayfs does not show", "may be page-cache"),
            ("; it is for the server to keep", "may be page-cache"),
            ("; odio was tried with power cuts on", "may be page-cache"),
        ];
        let promise = promised_nothing
            .iter()
            .find(|(why, _)| said.contains(why))
            .map_or(
                "is durable (found again after a power cut)",
                |(_, promise)| promise,
            );
        for (name, part) in [
            ("path", text(&file)),
            ("mode asked", "direct+dsync"),
            ("mode got", "direct+dsync"),
            ("reason", "direct: O_DIRECT is set and a read of"),
            ("opened for", "reading"),
            ("memory alignment", "; source: "),
            ("offset alignment", "; source: "),
            ("length alignment", "; source: "),
            ("an acknowledged write", promise),
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
