//! # Space of a file
//!
//! Allocates, frees, zeroes and cuts, with fallocate(2) and ftruncate(2). Writes no data of the caller's, so the modes
//! say nothing about it: none of this is durable before a sync, in any mode.

use std::os::fd::AsFd;

use super::File;
use super::check::check_range;
use crate::error::{Errno, Error, Op};
use crate::sys::file as sys;

impl File {
    /// Allocates blocks for `length` bytes from `offset` and extends the file's size over them. New blocks read as
    /// zeros, old ones keep their data, and blocks that the range covers in part are allocated whole.
    pub fn allocate(&self, offset: u64, length: u64) -> Result<(), Error> {
        self.change(Op::Allocate, 0, offset, length)
    }

    /// As [`File::allocate`], but the size stays. What lies past it cannot be read until a write or
    /// [`File::truncate`] extends the file, and a truncate to the size that the file has may free it again.
    pub fn allocate_keep_size(&self, offset: u64, length: u64) -> Result<(), Error> {
        let flags = libc::FALLOC_FL_KEEP_SIZE;
        self.change(Op::AllocateKeepSize, flags, offset, length)
    }

    /// Frees the blocks of a range, which then reads as zeros; the size stays. Blocks that the range covers in part
    /// stay allocated and their part is zeroed, through the page cache even in a direct mode. A block device has to
    /// be given whole logical blocks.
    pub fn punch_hole(&self, offset: u64, length: u64) -> Result<(), Error> {
        // The kernel takes one only with the other.
        let flags = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
        self.change(Op::PunchHole, flags, offset, length)
    }

    /// Makes a range read as zeros and allocates it, mostly without writing them, and extends the size over it.
    /// Blocks that the range covers in part have their part zeroed, through the page cache even in a direct mode. A
    /// block device has to be given whole logical blocks.
    pub fn zero_range(&self, offset: u64, length: u64) -> Result<(), Error> {
        let flags = libc::FALLOC_FL_ZERO_RANGE;
        self.change(Op::ZeroRange, flags, offset, length)
    }

    /// Cuts the file to `size` bytes, or extends it to there with a hole. The rest of the last block is zeroed,
    /// through the page cache even in a direct mode. A block device keeps its size.
    ///
    /// Where the size is no multiple of the filesystem's block, extend the file only while no queued direct write is in
    /// flight to its last block: `ext4_setattr` (6.18) zeroes the rest of that block without waiting for it, and
    /// writeback may put its old content back.
    pub fn truncate(&self, size: u64) -> Result<(), Error> {
        self.check_writable(Op::Truncate)?;
        check_range(size, 0)?;
        let _held = self.lock_range(size, u64::MAX)?;
        sys::truncate(self.as_fd(), size).map_err(|errno| Error::Truncate {
            size,
            errno,
            why: match (errno.0, self.limits().filesystem) {
                (libc::EINVAL, None) => "the size of a block device is the device's".to_owned(),
                _ => why(errno).to_owned(),
            },
        })
    }

    fn change(&self, op: Op, flags: i32, offset: u64, length: u64) -> Result<(), Error> {
        self.check_writable(op)?;
        check_range(offset, length)?;
        // Beside one that patches a block, what was freed or zeroed could come back.
        let _held = self.lock_range(offset, length)?;
        sys::fallocate(self.as_fd(), flags, offset, length).map_err(|errno| Error::Space {
            op,
            offset,
            length,
            errno,
            why: self.why_not(op, errno, length),
        })
    }

    fn why_not(&self, op: Op, errno: Errno, length: u64) -> String {
        let limits = self.limits();
        match errno.0 {
            libc::EOPNOTSUPP
                if limits.filesystem.is_none()
                    && matches!(op, Op::Allocate | Op::AllocateKeepSize) =>
            {
                "a block device has all of its blocks; there is nothing to allocate".to_owned()
            }
            libc::EOPNOTSUPP => format!(
                "{} has no {op} ({})",
                limits.filesystem_name(),
                fallocate_name(op)
            ),
            libc::EINVAL if length == 0 => "the range holds no byte".to_owned(),
            libc::EINVAL if limits.filesystem.is_none() => match limits.logical_block {
                Some(block) => format!(
                    "a block device takes ranges inside of it, in logical blocks of {} bytes (source: {})",
                    block.value, block.source
                ),
                None => {
                    "a block device takes ranges inside of it, in whole logical blocks".to_owned()
                }
            },
            _ => why(errno).to_owned(),
        }
    }
}

/// The flag of fallocate(2), to be looked up.
fn fallocate_name(op: Op) -> &'static str {
    match op {
        Op::AllocateKeepSize => "FALLOC_FL_KEEP_SIZE",
        Op::PunchHole => "FALLOC_FL_PUNCH_HOLE",
        Op::ZeroRange => "FALLOC_FL_ZERO_RANGE",
        _ => "fallocate without flags",
    }
}

fn why(errno: Errno) -> &'static str {
    match errno.0 {
        libc::EFBIG => "past the largest file that the filesystem or RLIMIT_FSIZE allows",
        libc::EPERM => "the file is immutable, append-only or sealed",
        libc::ETXTBSY => "it is a program that is running, or a swap file",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::MetadataExt;

    use super::*;
    use crate::file::OpenOptions;
    use crate::testing::{directory, fresh, mode, options};

    /// Bytes that the filesystem has allocated for the file.
    fn allocated(file: &File) -> u64 {
        fs::metadata(file.path()).unwrap().blocks() * 512
    }

    fn filled(file: &File, length: usize) {
        let mut buffer = file.buffer(length).unwrap();
        buffer.fill(7);
        file.write_at(&buffer, 0).unwrap();
        file.sync(crate::contract::SyncKind::Full).unwrap();
    }

    #[test]
    fn allocation_extends_the_size_or_keeps_it_as_asked() {
        let directory = directory();
        let file = fresh(&directory, mode("direct"));
        file.allocate_keep_size(0, 1 << 20).unwrap();
        assert_eq!(file.size().unwrap(), 0);
        assert!(allocated(&file) >= 1 << 20);
        file.allocate(0, 8192).unwrap();
        assert_eq!(file.size().unwrap(), 8192);
        file.truncate(0).unwrap();
        assert_eq!(allocated(&file), 0);
    }

    #[test]
    fn a_hole_frees_whole_blocks_and_zeroes_the_rest_of_the_range() {
        let directory = directory();
        let file = fresh(&directory, mode("direct"));
        filled(&file, 65536);
        let before = allocated(&file);
        file.punch_hole(4096 + 100, 32768).unwrap();
        assert_eq!(file.size().unwrap(), 65536);
        // Of nine blocks two are covered in part.
        assert_eq!(before - allocated(&file), 7 * 4096);
        let mut back = file.buffer(65536).unwrap();
        assert_eq!(file.read_at(&mut back, 0).unwrap(), 65536);
        for (at, &byte) in back.iter().enumerate() {
            let inside = (4196..4196 + 32768).contains(&at);
            assert_eq!(byte, if inside { 0 } else { 7 }, "byte {at}");
        }
    }

    #[test]
    fn a_zeroed_range_is_zero_allocated_and_inside_the_size() {
        let directory = directory();
        let file = fresh(&directory, mode("direct"));
        filled(&file, 8192);
        file.zero_range(100, 16384 - 100).unwrap();
        assert_eq!(file.size().unwrap(), 16384);
        assert!(allocated(&file) >= 16384);
        let content = fs::read(file.path()).unwrap();
        assert!(content[..100].iter().all(|&byte| byte == 7));
        assert!(content[100..].iter().all(|&byte| byte == 0));
    }

    #[test]
    fn truncate_cuts_and_extends_with_zeros() {
        let directory = directory();
        let file = fresh(&directory, mode("direct"));
        filled(&file, 8192);
        file.truncate(5000).unwrap();
        file.truncate(10_000).unwrap();
        let content = fs::read(file.path()).unwrap();
        assert_eq!(content.len(), 10_000);
        assert!(content[..5000].iter().all(|&byte| byte == 7));
        assert!(content[5000..].iter().all(|&byte| byte == 0));
    }

    #[test]
    fn what_the_filesystem_lacks_is_named() {
        let directory = tempfile::tempdir_in("/dev/shm").unwrap();
        let file = options(mode("buffered"))
            .open(directory.path().join("file"))
            .unwrap();
        let error = file.zero_range(0, 4096).unwrap_err();
        assert_eq!(error.errno(), Errno(libc::EOPNOTSUPP));
        assert_eq!(
            error.to_string(),
            "zero range of 4096 bytes at offset 0: EOPNOTSUPP, Operation not supported; \
             tmpfs has no zero range (FALLOC_FL_ZERO_RANGE)"
        );
        // It is the call that tmpfs lacks, not the filesystem that odio looks at.
        file.allocate(0, 8192).unwrap();
        file.punch_hole(0, 4096).unwrap();
    }

    #[test]
    fn ranges_that_mean_nothing_are_refused() {
        let directory = directory();
        let file = fresh(&directory, mode("direct"));
        let error = file.punch_hole(4096, 0).unwrap_err();
        assert_eq!(error.errno(), Errno(libc::EINVAL));
        assert!(error.to_string().contains("holds no byte"), "{error}");
        for error in [
            file.allocate_keep_size(u64::MAX, 1).unwrap_err(),
            file.zero_range(i64::MAX as u64, 1).unwrap_err(),
            file.truncate(1 << 63).unwrap_err(),
        ] {
            assert!(error.to_string().contains("kernel loff_t"), "{error}");
        }
        let error = file.truncate(i64::MAX as u64).unwrap_err();
        assert_eq!(error.errno(), Errno(libc::EFBIG));
        assert!(error.to_string().contains("largest file"), "{error}");
    }

    #[test]
    fn a_file_opened_for_reading_keeps_its_space() {
        let directory = directory();
        let path = directory.path().join("file");
        fs::write(&path, "x").unwrap();
        let file = OpenOptions::new(mode("buffered")).open(&path).unwrap();
        for error in [
            file.allocate(0, 4096).unwrap_err(),
            file.allocate_keep_size(0, 4096).unwrap_err(),
            file.punch_hole(0, 1).unwrap_err(),
            file.zero_range(0, 1).unwrap_err(),
            file.truncate(0).unwrap_err(),
        ] {
            assert_eq!(error.errno(), Errno(libc::EBADF), "{error}");
        }
        assert_eq!(fs::read(&path).unwrap(), b"x");
    }
}
