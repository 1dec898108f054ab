//! What was opened, and what of it is told.

use super::*;
use crate::{
    kernel::canned,
    plan::{self, Probes},
};

const EXT4: u64 = 0xef53;
const FUSE: u64 = 0x6573_5546;
const TMPFS: u64 = 0x0102_1994;

fn kernel() -> Kernel {
    let names: Vec<&str> = plan::functions().collect();
    Kernel::survey(&canned("6.1"), &names)
}

fn address(kernel: &Kernel, name: &str) -> u64 {
    let symbols = kernel.symbols.as_ref().unwrap();
    symbols.exact(name).unwrap().next().unwrap().address
}

/// One file, opened for this on a filesystem that reads and writes with these functions.
fn opened(reads: u64, writes: u64, magic: u64, access: u32) -> (OpenedKey, u64) {
    let key = OpenedKey {
        read_iter: reads,
        write_iter: writes,
        magic,
        dev: 4000 << 20,
        access,
    };
    (key, 1)
}

#[test]
fn only_what_may_be_asked_and_is_not_watched_is_told() {
    let kernel = kernel();
    let probes = plan::make(&kernel, Probes::Kprobe, Ok(())).probes;
    let reads = address(&kernel, "ext4_file_read_iter");
    let writes = address(&kernel, "ext4_file_write_iter");
    let told = |files: &[(OpenedKey, u64)]| of(files, &kernel, &probes).unwrap();

    for access in [O_RDONLY, O_WRONLY, O_RDWR] {
        assert_eq!(told(&[opened(reads, writes, EXT4, access)]), []);
    }
    // Which of the two is asked depends on what it was opened for.
    let half = |access| opened(reads, 1, FUSE, access);
    assert_eq!(told(&[half(O_RDONLY)]), []);
    let fuse = |opens| Unwatched {
        fs: "filesystem 0x65735546".into(),
        opens,
    };
    assert_eq!(told(&[half(O_WRONLY)]), [fuse(1)]);
    assert_eq!(told(&[half(O_RDWR), half(O_WRONLY)]), [fuse(2)]);
    assert_eq!(told(&[opened(1, writes, FUSE, O_RDONLY)]), [fuse(1)]);
    assert_eq!(told(&[opened(0, 0, FUSE, O_RDWR)]), [fuse(1)]);
    // 3 is for ioctl(2) alone.
    assert_eq!(told(&[opened(0, 0, FUSE, 3)]), []);
    assert_eq!(told(&[opened(0, 0, TMPFS, O_RDWR)]), []);
}

#[test]
fn a_function_without_its_probe_does_not_count() {
    let kernel = kernel();
    let mut probes = plan::make(&kernel, Probes::Kprobe, Ok(())).probes;
    let file = opened(
        address(&kernel, "ext4_file_read_iter"),
        address(&kernel, "ext4_file_write_iter"),
        EXT4,
        O_RDWR,
    );
    probes.retain(|probe| probe.target != "ext4_file_write_iter");
    assert_eq!(of(&[file], &kernel, &probes).unwrap().len(), 1);
}

#[test]
fn hidden_addresses_tell_nothing() {
    let mut kernel = kernel();
    let file = [opened(1, 1, FUSE, O_RDWR)];
    assert_eq!(of(&file, &kernel, &[]).unwrap().len(), 1);
    kernel.symbols.as_mut().unwrap().addresses_hidden = true;
    assert_eq!(of(&file, &kernel, &[]), None);
}
