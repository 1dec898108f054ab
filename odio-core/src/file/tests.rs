//! # Tests of opening and of positional I/O, on real files

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;
use crate::flags::Flags;
use crate::limits::{Filesystem, Source};
use crate::mode::{Cache, Sync};
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
    // A new file behind a link would have its name in another directory than the one that is synced.
    symlink("nowhere", at("link")).unwrap();
    let error = options(mode("direct")).open(at("link")).unwrap_err();
    assert_eq!(error.errno(), Errno(libc::EEXIST), "{error}");
    assert!(error.to_string().contains("symbolic link"), "{error}");
    assert!(!at("nowhere").exists());
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
    let largest = read("max_sectors_kb").parse::<u32>().unwrap() * 1024;
    assert_eq!(limits.max_size.unwrap().value, largest);
    assert_eq!(limits.poll_queues.unwrap().value, read("io_poll") == "1");
    let preferred = limits.preferred_size.unwrap();
    match preferred.source {
        Source::SysfsQueue => assert_eq!(preferred.value.to_string(), read("optimal_io_size")),
        _ => {
            use std::os::unix::fs::MetadataExt;
            assert_eq!(read("optimal_io_size"), "0");
            assert_eq!(preferred.source, Source::StatxBlksize);
            let block = fs::metadata(file.path()).unwrap().blksize();
            assert_eq!(u64::from(preferred.value), block);
        }
    }
    let (read_align, write_align) = (limits.read_offset_align, limits.offset_align);
    assert!(write_align.value.is_multiple_of(read_align.value));
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
        // As a device says that a block is unreadable, or that it cannot be reached.
        ("direct+dsync", libc::ENODATA, true),
        ("buffered+dsync", libc::ENOLINK, true),
        ("direct+dsync", libc::ENOSPC, false),
        ("buffered+dsync", libc::ENOSPC, false),
        ("direct+dsync", libc::EINVAL, false),
        ("buffered+dsync", libc::EFBIG, false),
        ("direct", libc::EIO, false),
    ] {
        let file = fresh(&directory, mode(name));
        file.note_write_error(Errno(errno), crate::flags::Flags::NONE);
        assert_eq!(file.sync(SyncKind::Full).is_err(), sticks, "{name} {errno}");
    }
}

/// Memory in pieces of these lengths, one after the other.
fn pieces(buffer: &mut Buffer, lengths: &[usize]) -> Vec<libc::iovec> {
    let mut rest = &mut buffer[..];
    let mut list = Vec::new();
    for &length in lengths {
        let (piece, after) = rest.split_at_mut(length);
        list.push(transfer::vector(piece.as_mut_ptr(), length));
        rest = after;
    }
    list
}

#[test]
fn pieces_are_written_and_read_in_their_order() {
    let directory = directory();
    for mode in Mode::ALL {
        let file = fresh(&directory, mode);
        let mut buffer = file.buffer(16384).unwrap();
        for (at, byte) in buffer.iter_mut().enumerate() {
            *byte = (at % 251) as u8;
        }
        let mut list = pieces(&mut buffer, &[4096, 0, 8192, 4096]);
        list.swap(0, 3);
        // SAFETY: the pieces are of a buffer that lives on.
        let written = unsafe { file.writev_raw(&list, 4096, Flags::THEN_DATASYNC) };
        assert_eq!(written.unwrap(), 16384, "{mode}");
        let content = fs::read(file.path()).unwrap();
        assert_eq!(content[4096..8192], buffer[12288..], "{mode}");
        assert_eq!(content[8192..16384], buffer[4096..12288], "{mode}");
        assert_eq!(content[16384..], buffer[..4096], "{mode}");

        let mut back = file.buffer(32768).unwrap();
        let mut into = pieces(&mut back, &[8192, 4096, 8192]);
        into.swap(0, 2);
        // SAFETY: as above.
        let read = unsafe { file.readv_raw(&into, 4096, Flags::NONE) };
        // 16384 bytes and then the end of the file.
        assert_eq!(read.unwrap(), 16384, "{mode}");
        assert_eq!(back[12288..20480], content[4096..12288], "{mode}");
        assert_eq!(back[8192..12288], content[12288..16384], "{mode}");
        assert_eq!(back[..4096], content[16384..], "{mode}");
    }
}

#[test]
fn each_piece_is_held_to_the_alignment() {
    let directory = directory();
    let file = fresh(&directory, mode("direct"));
    let mut buffer = file.buffer(16384).unwrap();
    let base = buffer.as_mut_ptr();
    let unit = file.limits().offset_align.value as usize;
    let at = |from: usize, length| transfer::vector(base.wrapping_add(from), length);
    let several = vec![at(0, unit); 1025];
    let whole = at(0, 4096);
    for (list, offset, word) in [
        (&[whole, at(1, unit)][..], 0, "buffer address"),
        (&[whole, at(4096, 100)], 0, "length 100 is a multiple of 4;"),
        (&[whole], 100, "offset 100 is a multiple of 4;"),
        (
            &several,
            0,
            "number of vectors 1025 is too large; at most 1024",
        ),
        (&[at(0, 1 << 31)], 0, "MAX_RW_COUNT"),
        (&[at(0, usize::MAX), whole], 0, "MAX_RW_COUNT"),
        (&[whole], u64::MAX, "loff_t"),
    ] {
        // SAFETY: refused before any of it is looked at.
        let error = unsafe { file.writev_raw(list, offset, Flags::NONE) }.unwrap_err();
        assert_eq!(error.errno(), Errno(libc::EINVAL), "{error}");
        assert!(error.to_string().contains(word), "{word}: {error}");
    }
    // A piece of no bytes may be anywhere.
    // SAFETY: it holds nothing.
    let result = unsafe { file.writev_raw(&[at(1, 0), whole], 0, Flags::NONE) };
    assert_eq!(result.unwrap(), 4096);
}

#[test]
fn flags_that_mean_nothing_are_refused() {
    let directory = directory();
    let file = fresh(&directory, mode("direct"));
    for (op, flags, word) in [
        (Op::Read, Flags::DSYNC, "DSYNC means nothing for a read"),
        (Op::Read, Flags::NOWAIT | Flags::SYNC, "SYNC means nothing"),
        (Op::Read, Flags::ATOMIC, "ATOMIC means nothing for a read"),
        (Op::Read, Flags::THEN_SYNC, "THEN_SYNC means nothing"),
        (Op::Read, Flags::THEN_DATASYNC, "THEN_DATASYNC means"),
        (Op::Write, Flags::NOWAIT | Flags::THEN_SYNC, "contradict"),
    ] {
        let error = file.check_flags(op, flags).unwrap_err();
        assert_eq!(error.errno(), Errno(libc::EINVAL), "{error}");
        assert!(error.to_string().contains(word), "{error}");
    }
    file.check_flags(Op::Write, Flags::DSYNC | Flags::THEN_SYNC)
        .unwrap();
}

#[test]
fn nowait_is_one_call_and_reports_what_it_got() {
    let directory = directory();
    let file = fresh(&directory, mode("direct"));
    let mut buffer = file.buffer(8192).unwrap();
    file.write_at(&buffer[..4096], 0).unwrap();
    let list = pieces(&mut buffer, &[8192]);
    // SAFETY: the pieces are of a buffer that lives on.
    let read = unsafe { file.readv_raw(&list, 0, Flags::NOWAIT) };
    assert!(
        matches!(&read, Ok(4096)) || matches!(&read, Err(error) if error.errno().0 == libc::EAGAIN),
        "{read:?}"
    );
    // Allocating a block takes a transaction, for which ext4 and xfs would have to wait.
    // SAFETY: as above.
    let written = unsafe { file.writev_raw(&list, 1 << 20, Flags::NOWAIT) };
    match written {
        Ok(moved) => assert!(moved > 0),
        Err(error) => {
            assert_eq!(error.errno(), Errno(libc::EAGAIN), "{error}");
            assert_eq!(file.size().unwrap(), 4096);
        }
    }
}

#[test]
fn a_flag_that_the_filesystem_has_not_is_refused_with_the_reason() {
    let directory = tempfile::tempdir_in("/dev/shm").unwrap();
    let file = options(mode("buffered"))
        .open(directory.path().join("file"))
        .unwrap();
    // tmpfs has no DONTCACHE (shmem_file_operations, seen in 6.18), and older kernels have it nowhere.
    for _ in 0..2 {
        let error = file.check_flags(Op::Write, Flags::DONTCACHE).unwrap_err();
        assert_eq!(error.errno(), Errno(libc::EOPNOTSUPP), "{error}");
        assert!(error.to_string().contains("tmpfs may have none"), "{error}");
    }
    let error = file.check_flags(Op::Write, Flags::ATOMIC).unwrap_err();
    assert_eq!(error.errno(), Errno(libc::EOPNOTSUPP), "{error}");
    assert!(error.to_string().contains("buffered"), "{error}");
}

#[test]
fn an_atomic_write_keeps_to_its_limits() {
    use crate::limits::{AtomicWrite, Sourced};
    let directory = directory();
    let mut file = fresh(&directory, mode("direct"));
    let unit = AtomicWrite {
        min: 4096,
        max: 16384,
        segments: 1,
    };
    let limits = &mut Arc::get_mut(&mut file.inner).unwrap().limits;
    limits.atomic_write = None;
    let error = file.check_flags(Op::Write, Flags::ATOMIC).unwrap_err();
    assert_eq!(error.errno(), Errno(libc::EOPNOTSUPP), "{error}");
    assert!(error.to_string().contains("WRITE_ATOMIC"), "{error}");

    let limits = &mut Arc::get_mut(&mut file.inner).unwrap().limits;
    limits.atomic_write = Some(Sourced::new(unit, Source::StatxWriteAtomic));
    let mut buffer = file.buffer(65536).unwrap();
    for (lengths, offset, words) in [
        (&[2048][..], 0, "length 2048; it is at least 4096"),
        (&[32768], 0, "length 32768; it is at most 16384"),
        (&[12288], 0, "length 12288; it is a power of two"),
        (
            &[8192],
            4096,
            "offset 4096; it is a multiple of the length, 8192",
        ),
        (&[4096, 4096], 0, "number of vectors 2; it is at most 1"),
    ] {
        let list = pieces(&mut buffer, lengths);
        // SAFETY: the pieces are of a buffer that lives on.
        let error = unsafe { file.writev_raw(&list, offset, Flags::ATOMIC) }.unwrap_err();
        assert_eq!(error.errno(), Errno(libc::EINVAL), "{error}");
        let text = error.to_string();
        assert!(text.contains(words), "{text}");
        assert!(text.ends_with("; source: statx WRITE_ATOMIC"), "{text}");
    }
    assert_eq!(file.counters().submitted, 0);
    file.check_atomic(8192, 8192, 1).unwrap();
}

#[test]
fn a_lost_write_sticks_where_its_flag_made_it_a_sync() {
    let directory = directory();
    for (name, errno, flags, sticks) in [
        ("direct", libc::EIO, Flags::DSYNC, true),
        ("direct", libc::ETIMEDOUT, Flags::SYNC, true),
        ("direct", libc::EIO, Flags::NOWAIT, false),
        // Its sync tells for itself.
        ("direct", libc::EIO, Flags::THEN_SYNC, false),
        // The room may have been missing for what the page cache held.
        ("buffered", libc::ENOSPC, Flags::DSYNC, true),
        ("buffered", libc::EDQUOT, Flags::SYNC, true),
        ("direct", libc::ENOSPC, Flags::DSYNC, false),
    ] {
        let file = fresh(&directory, mode(name));
        file.note_write_error(Errno(errno), flags);
        assert_eq!(file.check_sync().is_err(), sticks, "{name} {errno} {flags}");
    }
}

#[test]
fn a_write_that_is_to_be_synced_is_not_begun_while_a_failure_sticks() {
    let directory = directory();
    let file = fresh(&directory, mode("direct"));
    file.note_sync(Err(Errno(libc::EIO))).unwrap_err();
    let mut buffer = file.buffer(4096).unwrap();
    let list = pieces(&mut buffer, &[4096]);
    // SAFETY: the pieces are of a buffer that lives on.
    let error = unsafe { file.writev_raw(&list, 0, Flags::THEN_SYNC) }.unwrap_err();
    assert!(matches!(error, Error::SyncStuck { .. }), "{error}");
    assert_eq!(file.size().unwrap(), 0);
}

#[test]
fn a_range_is_pushed_out_and_a_stuck_failure_is_told() {
    let directory = directory();
    let file = fresh(&directory, mode("buffered"));
    file.write_at(&[1; 10_000], 0).unwrap();
    file.sync_range(100, 5000).unwrap();
    file.sync_range(0, 0).unwrap();
    let error = file.sync_range(u64::MAX, 1).unwrap_err();
    assert!(error.to_string().contains("loff_t"), "{error}");
    file.note_sync(Err(Errno(libc::EIO))).unwrap_err();
    assert!(file.sync_range(0, 0).is_err());
}

#[test]
fn what_was_done_is_counted() {
    let directory = directory();
    let file = fresh(&directory, mode("direct"));
    let mut buffer = file.buffer(8192).unwrap();
    file.write_at(&buffer, 0).unwrap();
    file.read_at(&mut buffer, 0).unwrap();
    // Stopped by the end of the file.
    file.read_at(&mut buffer, 4096).unwrap();
    file.sync(SyncKind::Data).unwrap();
    file.write_at(&buffer, 1).unwrap_err();
    let list = [transfer::vector(
        std::ptr::without_provenance_mut(4096),
        4096,
    )];
    // SAFETY: nothing is mapped there, and the kernel refuses to write.
    unsafe { file.readv_raw(&list, 0, Flags::NONE) }.unwrap_err();
    let expected = Counters {
        submitted: 5,
        completed: 5,
        failed: 1,
        bytes_read: 8192 + 4096,
        bytes_written: 8192,
        ..Counters::default()
    };
    assert_eq!(file.counters(), expected);
}
