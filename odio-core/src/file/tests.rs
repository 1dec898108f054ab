//! # Tests of opening and of positional I/O, on real files

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;
use crate::limits::{Filesystem, Source};
use crate::testing::{directory, fresh, mode, options};

/// O_DIRECT, O_DSYNC and O_SYNC as the kernel has them for this descriptor.
fn kernel_flags(file: &File) -> i32 {
    let text = fs::read_to_string(format!("/proc/self/fdinfo/{}", file.fd())).unwrap();
    let flags = text
        .lines()
        .find_map(|line| line.strip_prefix("flags:"))
        .unwrap();
    i32::from_str_radix(flags.trim(), 8).unwrap() & (libc::O_DIRECT | libc::O_SYNC | libc::O_DSYNC)
}

#[test]
fn each_mode_is_what_the_kernel_has() {
    let directory = directory();
    for mode in Mode::ALL {
        let file = fresh(&directory, mode);
        let direct = if mode.cache == Cache::Direct {
            libc::O_DIRECT
        } else {
            0
        };
        let sync = match mode.sync {
            Sync::None => 0,
            Sync::Dsync => libc::O_DSYNC,
            Sync::Sync => libc::O_SYNC,
        };
        assert_eq!(kernel_flags(&file), direct | sync, "{mode}");
        assert_eq!(file.mode(), mode);
    }
}

#[test]
fn what_was_written_is_read_back_in_each_mode() {
    let directory = directory();
    for (number, mode) in Mode::ALL.into_iter().enumerate() {
        let file = fresh(&directory, mode);
        let mut buffer = file.buffer(8192).unwrap();
        buffer.fill(number as u8 + 1);
        file.write_at(&buffer, 4096).unwrap();
        file.sync(SyncKind::Data).unwrap();
        file.sync(SyncKind::Full).unwrap();
        assert_eq!(file.size().unwrap(), 12288);
        let mut back = file.buffer(8192).unwrap();
        assert_eq!(file.read_at(&mut back, 4096).unwrap(), 8192);
        assert_eq!(&back[..], &buffer[..], "{mode}");
    }
}

#[test]
fn a_direct_read_stops_at_an_unaligned_end_of_file_and_nowhere_else() {
    let directory = directory();
    let path = directory.path().join("tail");
    fs::write(&path, vec![9; 10_000]).unwrap();
    let file = OpenOptions::new(mode("direct")).open(&path).unwrap();
    let mut buffer = file.buffer(16384).unwrap();
    assert_eq!(file.read_at(&mut buffer, 0).unwrap(), 10_000);
    assert!(buffer[..10_000].iter().all(|&byte| byte == 9));
    assert_eq!(file.read_at(&mut buffer, 8192).unwrap(), 10_000 - 8192);
    assert_eq!(file.read_at(&mut buffer[..8192], 0).unwrap(), 8192);
    assert_eq!(file.read_at(&mut buffer, 1 << 20).unwrap(), 0);
}

#[test]
fn misaligned_requests_are_refused_by_name() {
    let directory = directory();
    let file = fresh(&directory, mode("direct"));
    let limits = file.limits();
    let (memory, offset) = (limits.memory_align, limits.offset_align);
    let mut buffer = Buffer::new(16384, 4096).unwrap();
    let unit = offset.value as usize;

    let cases = [
        (
            file.read_at(&mut buffer[1..unit + 1], 0).unwrap_err(),
            "buffer address",
            memory,
        ),
        (
            file.write_at(&buffer[..unit], 100).unwrap_err(),
            "offset 100 is a multiple of 4;",
            offset,
        ),
        (
            file.write_at(&buffer[..100], 0).unwrap_err(),
            "length 100 is a multiple of 4;",
            limits.length_align,
        ),
    ];
    for (error, word, limit) in cases {
        let text = error.to_string();
        assert_eq!(error.errno(), Errno(libc::EINVAL));
        assert!(text.contains(word), "{text}");
        assert!(
            text.ends_with(&format!(
                "; {} is needed; source: {}",
                limit.value, limit.source
            )),
            "{text}"
        );
    }
    assert_eq!(file.size().unwrap(), 0);
}

#[test]
fn buffered_modes_take_any_alignment() {
    let directory = directory();
    let file = fresh(&directory, mode("buffered"));
    file.write_at(b"three", 3).unwrap();
    let mut back = [0; 5];
    assert_eq!(file.read_at(&mut back, 3).unwrap(), 5);
    assert_eq!(&back, b"three");
}

#[test]
fn requests_past_the_last_offset_are_refused() {
    let directory = directory();
    let file = fresh(&directory, mode("buffered"));
    for offset in [u64::MAX, i64::MAX as u64] {
        let error = file.write_at(b"x", offset).unwrap_err();
        assert!(error.to_string().contains("kernel loff_t"), "{error}");
    }
}

#[test]
fn what_cannot_be_opened_says_why() {
    let directory = directory();
    let at = |name: &str| directory.path().join(name);
    let fifo = std::ffi::CString::new(at("fifo").to_str().unwrap()).unwrap();
    // SAFETY: the path ends in NUL.
    assert_eq!(unsafe { libc::mkfifo(fifo.as_ptr(), 0o600) }, 0);
    symlink("loop", at("loop")).unwrap();
    for (path, errno, word) in [
        (at("missing"), libc::ENOENT, "missing"),
        (at("."), libc::EISDIR, "regular files and block devices"),
        (at("fifo"), libc::EINVAL, "neither a regular file"),
        ("/dev/null".into(), libc::EINVAL, "neither a regular file"),
        (at("loop"), libc::ELOOP, "loop"),
        (at("a\0b"), libc::EINVAL, "NUL"),
    ] {
        let error = OpenOptions::new(mode("direct")).open(&path).unwrap_err();
        assert_eq!(error.errno(), Errno(errno), "{error}");
        assert!(error.to_string().contains(word), "{error}");
    }
}

#[test]
fn options_that_contradict_each_other_are_refused() {
    let new = || OpenOptions::new(mode("buffered"));
    for (options, word) in [
        (new().create(true), "create wants write"),
        (new().write(true).exclusive(true), "exclusive wants create"),
        (new().truncate(true), "truncate wants write"),
        (new().permissions(0o4755), "permission bits"),
    ] {
        let error = options.open("/nonexistent").unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    }
}

#[test]
fn exclusive_refuses_a_file_that_is_there_and_truncate_empties_it() {
    let directory = directory();
    let path = directory.path().join("file");
    fs::write(&path, "old").unwrap();
    let error = options(mode("direct"))
        .exclusive(true)
        .open(&path)
        .unwrap_err();
    assert_eq!(error.errno(), Errno(libc::EEXIST));
    assert_eq!(
        options(mode("direct")).open(&path).unwrap().size().unwrap(),
        3
    );
    assert_eq!(
        options(mode("direct"))
            .truncate(true)
            .open(&path)
            .unwrap()
            .size()
            .unwrap(),
        0
    );
}

#[test]
fn a_new_file_gets_the_permissions_asked_for() {
    let directory = directory();
    let path = directory.path().join("file");
    options(mode("direct"))
        .permissions(0o600)
        .open(&path)
        .unwrap();
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
}

#[test]
fn tmpfs_is_never_direct_and_a_refusal_leaves_nothing_behind() {
    let directory = tempfile::tempdir_in("/dev/shm").unwrap();
    let (new, old) = (directory.path().join("new"), directory.path().join("old"));
    fs::write(&old, "keep").unwrap();

    let error = options(mode("direct")).open(&new).unwrap_err();
    assert_eq!(error.errno(), Errno(libc::EINVAL));
    assert!(error.to_string().contains("tmpfs"), "{error}");
    assert!(!new.exists());
    options(mode("direct"))
        .truncate(true)
        .open(&old)
        .unwrap_err();
    assert_eq!(fs::read(&old).unwrap(), b"keep");

    let file = options(mode("direct+dsync"))
        .fall_back(true)
        .open(&new)
        .unwrap();
    assert_eq!(file.mode(), mode("buffered+dsync"));
    assert!(
        file.reason()
            .starts_with("buffered: direct was preferred, but tmpfs"),
        "{}",
        file.reason()
    );
    assert_eq!(kernel_flags(&file), libc::O_DSYNC);
    file.write_at(b"unaligned", 1).unwrap();
}

#[test]
fn the_reason_says_how_direct_was_proven() {
    let directory = directory();
    let file = fresh(&directory, mode("direct"));
    assert!(
        file.reason().contains("empty, so no read could prove it"),
        "{}",
        file.reason()
    );
    file.write_at(&file.buffer(4096).unwrap(), 0).unwrap();
    let file = fresh(&directory, mode("direct"));
    let unit = file.limits().offset_align.value;
    assert!(
        file.reason()
            .contains(&format!("a read of {unit} bytes went through")),
        "{}",
        file.reason()
    );
}

#[test]
fn limits_agree_with_the_sources_they_name() {
    let directory = directory();
    let file = fresh(&directory, mode("direct"));
    let limits = file.limits();
    assert_ne!(limits.filesystem, Some(Filesystem::TMPFS));
    let device = limits.device.expect("the build is on a disk");
    let queue = format!("/sys/dev/block/{device}/queue");
    let queue = if fs::exists(&queue).unwrap() {
        queue
    } else {
        format!("/sys/dev/block/{device}/../queue")
    };
    let read = |name| {
        fs::read_to_string(format!("{queue}/{name}"))
            .unwrap()
            .trim()
            .to_owned()
    };
    let logical = limits.logical_block.unwrap();
    assert_eq!(
        (logical.value.to_string(), logical.source),
        (read("logical_block_size"), Source::SysfsQueue)
    );
    assert_eq!(
        limits.physical_block.unwrap().value.to_string(),
        read("physical_block_size")
    );
    assert_eq!(
        limits.volatile_cache.unwrap().value,
        read("write_cache") == "write back"
    );
    assert_eq!(limits.fua.unwrap().value, read("fua") == "1");
}

#[test]
fn a_file_opened_for_reading_is_not_written() {
    let directory = directory();
    let path = directory.path().join("file");
    fs::write(&path, "x").unwrap();
    let file = OpenOptions::new(mode("buffered")).open(&path).unwrap();
    let error = file.write_at(b"y", 0).unwrap_err();
    assert_eq!(error.errno(), Errno(libc::EBADF));
    assert_eq!(fs::read(&path).unwrap(), b"x");
}

#[test]
fn allocated_space_reads_as_zeros() {
    let directory = directory();
    let file = fresh(&directory, mode("direct"));
    file.allocate(0, 8192).unwrap();
    let mut buffer = file.buffer(16384).unwrap();
    buffer.fill(1);
    assert_eq!(file.read_at(&mut buffer, 0).unwrap(), 8192);
    assert!(buffer[..8192].iter().all(|&byte| byte == 0));
}

#[test]
fn a_failed_sync_sticks_until_it_is_acknowledged() {
    let directory = directory();
    let file = fresh(&directory, mode("direct"));
    assert_eq!(file.note_sync(Err(Errno(libc::EIO))), Err(Errno(libc::EIO)));
    // One that ended well beside it has not ended well, and the first failure is kept.
    assert_eq!(file.note_sync(Ok(())), Err(Errno(libc::EIO)));
    assert_eq!(
        file.note_sync(Err(Errno(libc::ENOSPC))),
        Err(Errno(libc::ENOSPC))
    );
    for error in [
        file.sync(SyncKind::Data).unwrap_err(),
        file.clone().sync(SyncKind::Full).unwrap_err(),
        file.clone().close().unwrap_err(),
    ] {
        assert!(
            matches!(
                error,
                Error::SyncStuck {
                    errno: Errno(libc::EIO)
                }
            ),
            "{error}"
        );
    }
    assert_eq!(file.acknowledge_sync_error(), Some(Errno(libc::EIO)));
    assert_eq!(file.acknowledge_sync_error(), None);
    file.sync(SyncKind::Full).unwrap();
    file.close().unwrap();
}

#[test]
fn a_lost_write_sticks_only_where_the_write_was_also_a_sync() {
    let directory = directory();
    for (name, errno, sticks) in [
        ("direct+dsync", libc::EIO, true),
        ("buffered+sync", libc::EIO, true),
        ("direct+dsync", libc::ENOSPC, false),
        ("direct", libc::EIO, false),
    ] {
        let file = fresh(&directory, mode(name));
        file.note_write_error(Errno(errno), crate::flags::Flags::NONE);
        assert_eq!(file.sync(SyncKind::Full).is_err(), sticks, "{name} {errno}");
    }
}
