//! # A million requests, and none lost
//!
//! One C program sends mixed requests through every engine to filesystems and devices that are well, full and failing,
//! with signals, cancelled requests and files that are cut meanwhile. Wants root, and is run with `--ignored`.

use odio_tests::place::{Place, in_memory};
use odio_tests::{Link, compile_parts, everything, scratch};

/// How often the last line says that this happened.
fn number(text: &str, name: &str) -> u64 {
    let last = text.lines().last().expect("a last line");
    let at = last
        .split(", ")
        .find_map(|part| part.strip_prefix(name)?.strip_prefix(' '));
    let at = at.unwrap_or_else(|| panic!("no {name}: {text}"));
    at.parse().unwrap_or_else(|_| panic!("{name}: {text}"))
}

#[test]
#[ignore = "mounts filesystems and sets up loop devices: wants root"]
fn a_million_requests_with_faults_are_each_completed_once_and_verified() {
    if let Some(why) = Place::Ext4.missing() {
        odio_tests::skip(&why);
        return;
    }
    let directory = scratch();
    let program = compile_parts(
        "tests/c/million.c",
        &["tests/c/million_model.c"],
        Link::Shared,
        &["-O2"],
        directory.path(),
    );
    // The failing devices' images are cut after the devices were made, and lie on a full tmpfs.
    let script = r#"
        cd "$room"
        mkdir disk full memory full-memory small
        truncate -s 128M disk.image
        truncate -s 3M full.image
        mkfs.ext4 -qF disk.image
        mkfs.ext4 -qF -O ^has_journal full.image
        mount -o loop disk.image disk
        mount -o loop full.image full
        mount -t tmpfs -o size=64m none memory
        mount -t tmpfs -o size=2m none full-memory
        mount -t tmpfs -o size=10m none small

        devices=()
        trap 'for device in "${devices[@]}"; do losetup -d "$device"; done' EXIT
        attach() {
            truncate -s "$2" "$1"
            devices+=("$(losetup --find --show "$1")")
        }
        attach memory/device 16M
        for image in small/direct small/cached; do
            dd if=/dev/zero of=$image bs=1M count=4 status=none
            attach $image 8M
            truncate -s 4M $image
        done
        dd if=/dev/zero of=small/ballast bs=4k status=none 2>/dev/null || true

        "$1" --count 1000000 --seed "$2" disk:disk memory:memory device:"${devices[0]}" \
            full:full full-memory:full-memory \
            failing:"${devices[1]}":4194304 failing-cache:"${devices[2]}":4194304"#;
    // ODIO_SEED repeats a run that failed with another one.
    let seed = std::env::var("ODIO_SEED").unwrap_or_else(|_| "1".to_owned());
    let program = program.to_str().expect("UTF-8");
    let output = in_memory(script, &[program, &seed], |_| ());
    let text = everything(&output);
    assert!(output.status.success(), "seed {seed}: {text}");

    let text = String::from_utf8(output.stdout).expect("UTF-8");
    print!("{text}");
    for engine in ["psync: 333333", "libaio: 333333", "io_uring: 333334"] {
        assert!(text.contains(&format!("{engine} requests, ")), "{text}");
    }
    assert!(
        text.contains(": 1000000 requests, each completed once; "),
        "{text}"
    );
    // Each fault has happened; a run without it would prove nothing of it.
    for name in [
        "whole",
        "syncs",
        "ended early",
        "cancelled",
        "no space",
        "failed",
        "lost syncs",
        "signals",
    ] {
        assert!(number(&text, name) > 0, "{name}: {text}");
    }
}
