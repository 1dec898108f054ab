//! # What is refused before any system call
//!
//! Alignment, ranges and flags. The one call made here is the read that finds out, once per file, whether a flag is
//! there.

use std::sync::atomic::{AtomicU8, Ordering};

use super::File;
use crate::buffer::Buffer;
use crate::error::{Aligned, Errno, Error, Op};
use crate::flags::Flags;
use crate::limits::Sourced;
use crate::mode::Cache;
use crate::sys::file as sys;

/// What is known of the flags that can be asked about only by using them.
#[derive(Debug, Default)]
pub(super) struct Support {
    nowait: AtomicU8,
    dontcache: AtomicU8,
}

const THERE: u8 = 1;
const NOT_THERE: u8 = 2;

impl File {
    /// The most vectors of one request: the kernel's `UIO_MAXIOV`, which is IOV_MAX.
    pub const MAX_VECTORS: usize = 1024;

    fn check_aligned<const N: usize>(
        &self,
        parts: [(Aligned, Sourced<u32>); N],
    ) -> Result<(), Error> {
        if self.mode().cache == Cache::Buffered {
            return Ok(());
        }
        for (part, limit) in parts {
            if !part.value().is_multiple_of(u64::from(limit.value)) {
                return Err(Error::Misaligned {
                    part,
                    needed: limit.value,
                    source_of_limit: limit.source,
                });
            }
        }
        Ok(())
    }

    /// Refuses a vectored request that cannot be carried, be it by a copy on a file that bounces, before any system call
    /// but the one that finds out about a flag. Gives its length in bytes.
    pub(crate) fn check_vectors(
        &self,
        op: Op,
        vectors: &[libc::iovec],
        offset: u64,
        flags: Flags,
    ) -> Result<usize, Error> {
        let length = self.check_shape(op, vectors, offset)?;
        // A request that must not wait cannot wait for a block, and an atomic one has its own rules for the copy's shape.
        if !self.is_bounce() || flags.has(Flags::NOWAIT) || flags.has(Flags::ATOMIC) {
            self.check_vector_alignment(op, vectors, offset)?;
        } else {
            self.check_whole_blocks(op, offset, length)?;
        }
        self.check_flags(op, flags)?;
        if flags.has(Flags::ATOMIC) {
            self.check_atomic(length, offset, vectors.len())?;
        }
        Ok(length)
    }

    /// The part of [`File::check_vectors`] that has nothing to do with alignment or flags.
    fn check_shape(&self, op: Op, vectors: &[libc::iovec], offset: u64) -> Result<usize, Error> {
        if op == Op::Write {
            self.check_writable(op)?;
        }
        let too_large = |what, value, limit, source_of_limit| Error::TooLarge {
            what,
            value,
            limit,
            source_of_limit,
        };
        if vectors.len() > Self::MAX_VECTORS {
            let (count, limit) = (vectors.len() as u64, Self::MAX_VECTORS as u64);
            return Err(too_large("number of vectors", count, limit, "IOV_MAX"));
        }
        // The kernel would say so, but not of a request that goes through a copy.
        let nowhere = |each: &libc::iovec| each.iov_base.is_null() && each.iov_len > 0;
        if let Some(at) = vectors.iter().position(nowhere) {
            return Err(Error::Invalid(format!("vectors[{at}].iov_base is NULL")));
        }
        let length = vectors
            .iter()
            .fold(0_u64, |sum, each| sum.saturating_add(each.iov_len as u64));
        if length > Buffer::MAX as u64 {
            let limit = Buffer::MAX as u64;
            return Err(too_large(
                "length of all vectors",
                length,
                limit,
                "kernel MAX_RW_COUNT",
            ));
        }
        check_range(offset, length)?;
        Ok(length as usize)
    }

    /// Refuses a request through a copy whose last block ends where the kernel cannot address it.
    pub(super) fn check_whole_blocks(
        &self,
        op: Op,
        offset: u64,
        length: usize,
    ) -> Result<(), Error> {
        let step = match op {
            Op::Read => self.read_step(),
            _ => self.step(),
        };
        let end = (offset + length as u64).next_multiple_of(step as u64);
        check_range(offset, if length > 0 { end - offset } else { 0 })
    }

    /// Refuses what direct I/O cannot carry. Pieces of no bytes may be anywhere.
    pub(crate) fn check_vector_alignment(
        &self,
        op: Op,
        vectors: &[libc::iovec],
        offset: u64,
    ) -> Result<(), Error> {
        let limits = self.limits();
        let (position, length) = match op {
            Op::Read => (limits.read_offset_align, limits.read_offset_align),
            _ => (limits.offset_align, limits.length_align),
        };
        self.check_aligned([(Aligned::Offset(offset), position)])?;
        for each in vectors.iter().filter(|each| each.iov_len > 0) {
            self.check_aligned([
                (
                    Aligned::Address(each.iov_base as usize),
                    limits.memory_align,
                ),
                (Aligned::Length(each.iov_len), length),
            ])?;
        }
        Ok(())
    }

    /// Refuses flags that mean nothing for `op` or that this file or this kernel cannot honour, with the reason. The
    /// first time NOWAIT or DONTCACHE is asked for, one block is read with it to find out.
    pub(crate) fn check_flags(&self, op: Op, flags: Flags) -> Result<(), Error> {
        if flags.is_empty() {
            return Ok(());
        }
        if op == Op::Read {
            const OF_WRITES: [Flags; 5] = [
                Flags::DSYNC,
                Flags::SYNC,
                Flags::ATOMIC,
                Flags::THEN_DATASYNC,
                Flags::THEN_SYNC,
            ];
            if let Some(flag) = OF_WRITES.into_iter().find(|&each| flags.has(each)) {
                return Err(Error::Invalid(format!("{flag} means nothing for a read")));
            }
        }
        if flags.has(Flags::NOWAIT) && flags.then().is_some() {
            return Err(Error::Invalid(format!(
                "{flags} contradict each other: a sync waits"
            )));
        }
        if flags.has(Flags::ATOMIC) {
            let none = |why: &str| {
                Err(Error::NoFlag {
                    flag: Flags::ATOMIC,
                    why: why.to_owned(),
                })
            };
            if self.mode().cache == Cache::Buffered {
                return none("the file is buffered, and only direct writes are atomic");
            }
            if self.limits().atomic_write.is_none() {
                return none(
                    "statx WRITE_ATOMIC names no length; it takes Linux 6.11, and a filesystem and a device that can",
                );
            }
        }
        let support = &self.inner.support;
        for (flag, cell, since) in [
            (Flags::NOWAIT, &support.nowait, "Linux 4.14"),
            (Flags::DONTCACHE, &support.dontcache, "Linux 6.14"),
        ] {
            if flags.has(flag) && !self.has_flag(flag, cell)? {
                return Err(Error::NoFlag {
                    flag,
                    why: format!(
                        "a read with it was answered so; it takes {since}, and {} may have none",
                        self.limits().filesystem_name()
                    ),
                });
            }
        }
        Ok(())
    }

    /// Refuses what could not be one atomic write. [`File::check_flags`] comes first.
    pub(super) fn check_atomic(
        &self,
        length: usize,
        offset: u64,
        segments: usize,
    ) -> Result<(), Error> {
        let Some(unit) = self.limits().atomic_write else {
            return Ok(());
        };
        let (length, segments) = (length as u64, segments as u64);
        let (min, max) = (u64::from(unit.value.min), u64::from(unit.value.max));
        for (wrong, what, value, rule, limit) in [
            (length < min, "length", length, "it is at least", min),
            (length > max, "length", length, "it is at most", max),
            (
                !length.is_power_of_two(),
                "length",
                length,
                "it is a power of two, at most",
                max,
            ),
            (
                !offset.is_multiple_of(length.max(1)),
                "offset",
                offset,
                "it is a multiple of the length,",
                length,
            ),
            (
                segments > u64::from(unit.value.segments),
                "number of vectors",
                segments,
                "it is at most",
                unit.value.segments.into(),
            ),
        ] {
            if wrong {
                return Err(Error::NotAtomic {
                    what,
                    value,
                    rule,
                    limit,
                    source_of_limit: unit.source,
                });
            }
        }
        Ok(())
    }

    /// Whether reads take `flag`. `cell` keeps the answer; two threads that ask at once both find it out.
    fn has_flag(&self, flag: Flags, cell: &AtomicU8) -> Result<bool, Error> {
        match cell.load(Ordering::Relaxed) {
            THERE => return Ok(true),
            NOT_THERE => return Ok(false),
            _ => {}
        }
        let length = self.read_step();
        let mut buffer = self.buffer(length)?;
        let result = sys::read_with(self.fd(), &mut buffer, 0, flag.kernel());
        // Any other failure is about the block or the moment.
        let there = !matches!(
            result,
            Err(Errno(libc::EOPNOTSUPP | libc::EINVAL | libc::ENOSYS))
        );
        cell.store(if there { THERE } else { NOT_THERE }, Ordering::Relaxed);
        Ok(there)
    }

    pub(crate) fn check_writable(&self, op: Op) -> Result<(), Error> {
        if self.inner.writable {
            Ok(())
        } else {
            Err(Error::ReadOnly { op })
        }
    }
}

/// The kernel addresses a file with a signed 64-bit offset.
pub(super) fn check_range(offset: u64, length: u64) -> Result<(), Error> {
    let limit = i64::MAX as u64;
    match offset.checked_add(length) {
        Some(end) if end <= limit => Ok(()),
        end => Err(Error::TooLarge {
            what: "end of the request",
            value: end.unwrap_or(u64::MAX),
            limit,
            source_of_limit: "kernel loff_t",
        }),
    }
}
