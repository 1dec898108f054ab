//! # libodio on other kernels than the host's
//!
//! The conformance program, and what needs a kernel or a device of its own, in `odio-trace vm`. Kernels that are not in
//! the machine's package lists are skipped; `ODIO_ALL_KERNELS=1` asks for every kernel on every filesystem.

use std::path::Path;

use odio_tests::{
    Link, command, compile, compile_parts, everything, root, scratch, succeed, vm::Run,
};

/// The other files of the conformance program.
const PARTS: [&str; 5] = [
    "tests/c/conformance_transfer.c",
    "tests/c/conformance_queue.c",
    "tests/c/conformance_rules.c",
    "tests/c/conformance_more.c",
    "tests/c/subject.c",
];
const ENGINES: [&str; 3] = ["psync", "libaio", "io_uring"];

/// Runs `script` of `tests/guest` with `words`, of which those that are files come along, as does what `carry` names.
/// Gives what it printed, or `None`, and says so, where the kernel cannot be had.
fn in_guest(
    kernel: &str,
    fs: &str,
    options: &[&str],
    carry: &[&str],
    script: &str,
    words: &[&str],
) -> Option<String> {
    let script = root().join("tests/guest").join(script);
    let script = script.to_str().expect("UTF-8");
    let mut all = vec!["--kernel", kernel, "--fs", fs, "--timeout", "600"];
    all.extend(options);
    let files = words.iter().filter(|word| Path::new(word).is_file());
    for path in carry.iter().chain([&script]).chain(files) {
        all.extend(["--add", path]);
    }
    let mut command = vec!["sh", script];
    command.extend(words);
    let output = Run::new(&all, &command).output();
    let text = everything(&output);
    if output.status.code() == Some(125) && text.contains("cannot be had through apt") {
        odio_tests::skip(&format!(
            "the package lists have no Linux {kernel} that can be booted"
        ));
        return None;
    }
    assert!(output.status.success(), "{kernel} {fs}: {text}");
    print!("{text}");
    Some(String::from_utf8(output.stdout).expect("UTF-8"))
}

/// A C program of one file.
fn built(source: &str, flags: &[&str], directory: &Path) -> String {
    let program = compile(source, Link::Static, flags, directory);
    program.to_str().expect("UTF-8").to_owned()
}

fn count(text: &str, line: &str) -> usize {
    text.lines().filter(|each| *each == line).count()
}

/// Every engine in every mode. `place` is a filesystem, or `none` for the disk.
fn conforms(kernel: &str, place: &str) {
    let directory = scratch();
    let program = compile_parts(
        "tests/c/conformance.c",
        &PARTS,
        Link::Static,
        &[],
        directory.path(),
    );
    let names = succeed(&mut command(&[], &program, &["--list"]));
    let at = if place == "none" { "disk" } else { "/mnt" };
    let words = [program.to_str().expect("UTF-8"), at];
    let Some(text) = in_guest(kernel, place, &[], &[], "conformance.sh", &words) else {
        return;
    };
    let release = text.lines().next().unwrap_or_default();
    assert!(release.starts_with(&format!("{kernel}.")), "{release}");
    let name = if place == "none" {
        "block device"
    } else {
        place
    };
    let mut runs = 0;
    for engine in ENGINES {
        for cache in ["direct", "buffered"] {
            for sync in ["none", "dsync", "sync"] {
                let line = format!("== {engine} {cache} {sync} 0");
                assert_eq!(count(&text, &line), 1, "{kernel} {place}: no {line:?}");
                runs += 1;
            }
        }
    }
    for cache in ["direct: ", "buffered: asked for"] {
        let on = format!("on {name}: {cache}");
        let found = text.lines().filter(|line| line.starts_with(&on)).count();
        assert_eq!(found, runs / 2, "{kernel}: {on}");
    }
    assert!(names.lines().count() > 15, "{names}");
    for name in names.lines() {
        let found = count(&text, &format!("{name}: ok"));
        assert_eq!(found, runs, "{kernel} {place}: {name}");
    }
}

#[test]
fn it_conforms_on_linux_6_1_and_xfs() {
    conforms("6.1", "xfs");
}

/// Where a sync of libodio's own follows each durable write, whatever the engine.
#[test]
fn it_conforms_on_linux_6_1_and_vfat() {
    conforms("6.1", "vfat");
}

#[test]
fn it_conforms_on_linux_6_1_and_a_raw_disk() {
    conforms("6.1", "none");
}

#[test]
fn it_conforms_on_linux_6_12_and_ext4() {
    conforms("6.12", "ext4");
}

#[test]
fn it_conforms_on_linux_6_12_and_btrfs() {
    conforms("6.12", "btrfs");
}

#[test]
fn it_conforms_on_every_kernel_and_filesystem() {
    if std::env::var_os("ODIO_ALL_KERNELS").is_none() {
        odio_tests::skip("takes half an hour; ODIO_ALL_KERNELS=1 asks for it");
        return;
    }
    for kernel in ["5.10", "6.1", "6.12"] {
        for place in ["ext4", "xfs", "btrfs", "vfat", "none"] {
            conforms(kernel, place);
        }
    }
}

/// IOPOLL on queues that are polled, SQPOLL, and batches that the kernel refuses in part.
fn polls(kernel: &str, place: &str) {
    let directory = scratch();
    let programs = ["iopoll", "sqpoll", "refused"]
        .map(|name| built(&format!("tests/c/{name}.c"), &[], directory.path()));
    let words = programs.each_ref().map(String::as_str);
    let options = ["--module", "nvme poll_queues=1"];
    let Some(text) = in_guest(kernel, place, &options, &[], "polled.sh", &words) else {
        return;
    };
    assert_eq!(count(&text, "polled: 129"), 1, "{text}");
    assert_eq!(count(&text, "== iopoll 0"), 1, "{text}");
    assert_eq!(count(&text, "== hits 1"), 1, "{text}");
    assert_eq!(count(&text, "sqpoll: 3 rounds"), 1, "{text}");
    assert_eq!(count(&text, "== sqpoll 0"), 1, "{text}");
    assert_eq!(count(&text, "refused: ok"), ENGINES.len(), "{text}");
    assert_eq!(count(&text, "== refused 0"), ENGINES.len(), "{text}");
}

#[test]
fn polled_queues_carry_requests_on_linux_6_1_and_ext4() {
    polls("6.1", "ext4");
}

#[test]
fn polled_queues_carry_requests_on_linux_6_12_and_a_raw_disk() {
    polls("6.12", "none");
}

/// io_uring_enter takes no timeout there, and stops at a request that is refused.
#[test]
fn polled_queues_carry_requests_on_linux_5_10() {
    polls("5.10", "none");
}

/// A disk that scsi_debug makes: it writes 2 to 1024 blocks of 512 bytes atomically, and has no poll queues.
#[test]
fn atomic_writes_reach_the_device_and_others_reach_no_system_call() {
    let directory = scratch();
    let programs = ["atomic", "iopoll", "chosen"]
        .map(|name| built(&format!("tests/c/{name}.c"), &[], directory.path()));
    let words = programs.each_ref().map(String::as_str);
    let options = [
        "--module",
        "scsi_debug atomic_wr=1 dev_size_mb=32",
        "--module",
        "sd_mod",
    ];
    let carry = ["/usr/bin/strace"];
    let Some(text) = in_guest("6.12", "none", &options, &carry, "atomic.sh", &words) else {
        return;
    };
    let mut lines = text.lines();
    let unit = lines.next().unwrap_or_default();
    let max = lines.next().unwrap_or_default();
    assert_eq!(unit, "1024", "{text}");
    let bytes: u64 = max.parse().expect("a number");
    let limits = format!("limits {unit} {max} 1 statx WRITE_ATOMIC");
    assert_eq!(count(&text, &limits), 2, "{text}");
    for way in ["file", "psync", "libaio", "io_uring"] {
        for line in [
            format!("{way} {unit} 0 1 {unit} "),
            format!("{way} {max} {max} 1 {max} "),
        ] {
            assert_eq!(count(&text, &line), 1, "{line}: {text}");
        }
        // Each was refused when it was tried, and again when it was traced.
        for (request, rule) in [
            ("512 0 1", "length 512; it is at least 1024".to_owned()),
            (
                &format!("{} 0 1", 2 * bytes),
                format!("length {}; it is at most {max}", 2 * bytes),
            ),
            (
                &format!("{} 0 1", bytes - 512),
                format!("length {}; it is a power of two", bytes - 512),
            ),
            (
                &format!("{max} {} 1", bytes / 2),
                format!("offset {}; it is a multiple of the length", bytes / 2),
            ),
            (
                &format!("{max} 0 2"),
                "number of vectors 2; it is at most 1".to_owned(),
            ),
        ] {
            let start = format!("{way} {request} -22 ");
            let found: Vec<&str> = text
                .lines()
                .filter(|line| line.starts_with(&start))
                .collect();
            assert_eq!(found.len(), 2, "{start}: {text}");
            for line in found {
                assert!(line.contains(&rule), "{rule}: {line}");
                assert!(line.ends_with("source: statx WRITE_ATOMIC"), "{line}");
            }
        }
    }
    assert_eq!(count(&text, "== all 0"), 1, "{text}");
    assert_eq!(count(&text, "== atomic 8"), 1, "{text}");
    assert_eq!(count(&text, "== refused 0"), 1, "{text}");
    // Twice for each of five requests, in four ways; and nothing between.
    assert_eq!(count(&text, "== calls 40"), 1, "{text}");
    assert!(!text.contains("== between"), "{text}");

    let refused = text.lines().find(|line| line.starts_with("refused: "));
    let refused = refused.unwrap_or_else(|| panic!("{text}"));
    assert!(
        refused.contains("the device has no poll queues") && refused.contains("sysfs queue limits"),
        "{refused}"
    );
    assert_eq!(count(&text, "== iopoll 0"), 1, "{text}");

    // The last: with io_uring, and with it switched off.
    let chosen: Vec<&str> = text
        .lines()
        .rev()
        .filter(|line| !line.starts_with("== "))
        .take(2)
        .collect();
    assert_eq!(count(&text, "== chosen 0"), 2, "{text}");
    assert!(chosen[1].starts_with("3 io_uring: "), "{}", chosen[1]);
    assert!(
        chosen[0].starts_with("2 libaio: ")
            && chosen[0].contains("sysctl kernel.io_uring_disabled is 2"),
        "{}",
        chosen[0]
    );
}

/// On a disk that takes its time, so that a write is still under way when the call that hands it over returns.
fn finishes(kernel: &str) {
    const WRITES: u64 = 7;
    let directory = scratch();
    let program = built(
        "tests/c/finishing.c",
        &["-Wl,--no-as-needed", "-luring"],
        directory.path(),
    );
    let options = [
        "--module",
        "scsi_debug dev_size_mb=192 delay=0",
        "--module",
        "sd_mod",
    ];
    let carry = ["/usr/bin/chattr", "/usr/sbin/mkfs.btrfs"];
    let words = [&*program];
    let Some(text) = in_guest(kernel, "btrfs", &options, &carry, "finishing.sh", &words) else {
        return;
    };
    for file in ["summed", "plain"] {
        for engine in ["libaio", "io_uring"] {
            for way in ["kernel", "none", "mode", "flag"] {
                let start = format!("{file} {engine} {way} 0 ");
                let line = text.lines().find_map(|line| line.strip_prefix(&start));
                let line = line.unwrap_or_else(|| panic!("{start}: {text}"));
                let (calls, added) = line.split_once(" added ").expect("calls and syncs");
                let (calls, added): (u64, u64) = (calls.parse().unwrap(), added.parse().unwrap());
                let is_odio = matches!(way, "mode" | "flag");
                assert_eq!(added, if is_odio { WRITES } else { 0 }, "{start}{line}");
                match way {
                    // A file without checksums is really written directly, and the kernel leaves the sync out.
                    "kernel" if file == "plain" => assert!(calls < WRITES, "{start}{line}"),
                    "none" => assert_eq!(calls, 0, "{start}{line}"),
                    "kernel" => {}
                    _ => assert!(calls >= WRITES, "{start}{line}"),
                }
            }
        }
    }
}

#[test]
fn a_durable_write_to_btrfs_is_followed_by_a_sync_on_linux_6_1() {
    finishes("6.1");
}

#[test]
fn a_durable_write_to_btrfs_is_followed_by_a_sync_on_linux_6_12() {
    finishes("6.12");
}
