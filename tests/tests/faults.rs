//! # Faults that are real
//!
//! One C program under filesystems that are full, devices that fail or stall, limits, filters, signals, and another
//! process that truncates. Images are in memory, under loop devices; those tests want root and are run with
//! `--ignored`. The device mapper's are in a VM.

use std::path::{Path, PathBuf};
use std::process::Command;

use odio_tests::place::{Place, in_memory};
use odio_tests::vm::Run;
use odio_tests::{Link, command, compile, everything, faults, root, run, scratch, succeed};

const ENGINES: [&str; 3] = ["psync", "libaio", "io_uring"];
const CACHES: [&str; 2] = ["direct", "buffered"];

fn program(directory: &Path) -> PathBuf {
    faults::program(Link::Shared, directory)
}

fn text(path: &Path) -> &str {
    path.to_str().expect("the build directory is UTF-8")
}

/// Everything that `script` printed, which ended well and has `count` lines of `FAULT: ok`.
fn assert_ok(output: &std::process::Output, fault: &str, count: usize) {
    let said = everything(output);
    assert!(output.status.success(), "{said}");
    let ok = format!("{fault}: ok");
    let found = said.lines().filter(|line| **line == ok).count();
    assert_eq!(found, count, "{said}");
}

/// A fault that the program makes itself, on the filesystem of the build.
fn on_the_filesystem_of_the_build(fault: &str) {
    let directory = scratch();
    let program = program(directory.path());
    for engine in ENGINES {
        for cache in ["preferred", "buffered"] {
            let line = [fault, text(directory.path()), engine, cache, "none"];
            let output = run(&mut command(&[], &program, &line));
            assert_ok(&output, fault, 1);
        }
    }
}

#[test]
fn a_file_that_another_process_truncates_is_read_to_its_end_and_no_further() {
    on_the_filesystem_of_the_build("truncated");
}

#[test]
fn signals_interrupt_nothing_that_is_seen() {
    on_the_filesystem_of_the_build("storm");
}

fn gets_full(place: Place, caches: &[&str]) {
    if let Some(why) = place.missing() {
        odio_tests::skip(&why);
        return;
    }
    let directory = scratch();
    let program = program(directory.path());
    // All but about 8 MiB is taken by a file that the program removes.
    let script = r#"
        free=$(stat -f -c '%a * %S' "$at")
        fallocate -l $((free - (8 << 20))) "$at/ballast"
        "$1" full "$at" "$2" "$3" "$4" "$at/ballast" ENOSPC"#;
    for cache in caches {
        for engine in ENGINES {
            // A fresh one each time: XFS gives space back only some time after a file was removed.
            for sync in ["none", "dsync"] {
                let words = [text(&program), engine, cache, sync];
                assert_ok(&place.run(script, &words), "full", 1);
            }
        }
    }
}

#[test]
#[ignore = "mounts ext4: wants root"]
fn a_full_ext4_is_told_to_the_requests_that_met_it() {
    gets_full(Place::Ext4, &CACHES);
}

#[test]
#[ignore = "mounts XFS: wants root"]
fn a_full_xfs_is_told_to_the_requests_that_met_it() {
    gets_full(Place::Xfs, &CACHES);
}

#[test]
#[ignore = "mounts a tmpfs: wants root"]
fn a_full_tmpfs_is_told_to_the_requests_that_met_it() {
    gets_full(Place::Tmpfs, &["buffered"]);
}

#[test]
#[ignore = "sets up a loop device: wants root"]
fn a_failing_device_is_told_to_the_right_requests_and_its_failed_sync_sticks() {
    let directory = scratch();
    let program = program(directory.path());
    // The image is cut after the device was made, so reads beyond fail; and it lies on a full tmpfs, so writes do.
    let script = r#"
        mkdir "$room/small"
        mount -t tmpfs -o size=8m none "$room/small"
        truncate -s 16M "$room/small/image"
        dd if=/dev/zero of="$room/small/image" bs=1M count=4 conv=notrunc status=none
        at=$(losetup --find --show "$room/small/image")
        trap 'losetup -d "$at"' EXIT
        truncate -s 4M "$room/small/image"
        dd if=/dev/zero of="$room/small/ballast" bs=4k status=none 2>/dev/null || true
        for engine in psync libaio io_uring; do
            for cache in direct buffered; do
                for sync in none dsync sync; do
                    echo "== $engine $cache $sync"
                    "$1" failing "$at" $engine $cache $sync 4194304 ENOSPC
                done
            done
        done"#;
    let output = in_memory(script, &[text(&program)], |_| ());
    assert_ok(&output, "failing", 18);
}

fn device_mapper(kernel: &str) {
    let directory = scratch();
    let program = faults::program(Link::Static, directory.path());
    let script = root().join("tests/guest/failing.sh");
    let options = [
        "--kernel",
        kernel,
        "--fs",
        "none",
        "--module",
        "dm-mod",
        "--module",
        "dm-flakey",
        "--add",
        "/usr/sbin/dmsetup",
        "--add",
        text(&program),
        "--add",
        text(&script),
    ];
    let vm = Run::new(&options, &["sh", text(&script), text(&program)]);
    let output = vm.output();
    assert_ok(&output, "failing", 18);
    assert_ok(&output, "flushing", 6);
}

#[test]
fn a_device_mapper_that_fails_is_told_to_the_right_requests_too_on_6_1() {
    device_mapper("6.1");
}

#[test]
fn a_device_mapper_that_fails_is_told_to_the_right_requests_too_on_6_12() {
    device_mapper("6.12");
}

#[test]
#[ignore = "mounts ext4 and freezes it: wants root"]
fn waits_end_in_time_and_freeing_waits_where_a_device_stalls() {
    let directory = scratch();
    let program = program(directory.path());
    // A device whose image is a file of the filesystem that gets frozen.
    let script = r#"
        fallocate -l 16M "$at/image"
        device=$(losetup --find --show "$at/image")
        trap 'losetup -d "$device"' EXIT
        for line in "psync none" "psync dsync" "libaio none" "io_uring none" "io_uring dsync"; do
            set -- "$1" $line
            echo "== $2 $3"
            "$1" stalled "$device" "$2" direct "$3" "$at" steady
        done"#;
    let output = Place::Ext4.run(script, &[text(&program)]);
    assert_ok(&output, "stalled", 5);
}

/// What `faults engine` printed for one engine under `tool`.
fn engine(tool: &[&str], program: &Path, engine: &str) -> String {
    let line = ["engine", "/", engine, "buffered", "none"];
    succeed(&mut command(tool, program, &line))
}

#[test]
fn io_uring_forbidden_by_seccomp_says_so_and_the_others_go_on() {
    let directory = scratch();
    let program = program(directory.path());
    let forbid = compile("tests/c/forbid.c", Link::Shared, &[], directory.path());
    for (number, reasons) in [
        ("1", ["EPERM", "seccomp"]),
        ("38", ["ENOSYS", "seccomp hides it"]),
    ] {
        let tool = [text(&forbid), number];
        let said = engine(&tool, &program, "io_uring");
        assert!(said.starts_with(&format!("-{number} ")), "{said}");
        for reason in reasons {
            assert!(said.contains(reason), "{said}");
        }
        for other in ["psync", "libaio"] {
            assert_eq!(engine(&tool, &program, other), "0 \nengine: ok\n");
            let line = ["storm", text(directory.path()), other, "buffered", "none"];
            assert_ok(&run(&mut command(&tool, &program, &line)), "storm", 1);
        }
    }
}

#[test]
fn no_locked_memory_is_no_limit_or_is_named() {
    let directory = scratch();
    let program = program(directory.path());
    let prlimit = ["prlimit", "--memlock=0:0"];
    // Root is above the limit unless it gives up the capability.
    let powerless = ["setpriv", "--inh-caps=-all", "--bounding-set=-all"];
    let is_root = succeed(Command::new("id").arg("-u")).trim() == "0";
    let tool = match is_root {
        true => [&prlimit[..], &powerless].concat(),
        false => prlimit.to_vec(),
    };
    // Kernels differ in whether a ring is charged to the limit: those before 5.12 and again 6.18 do.
    let said = engine(&tool, &program, "io_uring");
    let refused = said.starts_with("-12 ") && said.contains("RLIMIT_MEMLOCK");
    println!("io_uring without locked memory: {said}");
    assert!(said.starts_with("0 ") || refused, "{said}");
    for engine in ["psync", "libaio", "io_uring"] {
        if engine == "io_uring" && refused {
            continue;
        }
        let at = directory.path().join(engine);
        std::fs::create_dir(&at).expect("a directory");
        let line = ["truncated", text(&at), engine, "preferred", "none"];
        assert_ok(&run(&mut command(&tool, &program, &line)), "truncated", 1);
    }
}
