//! # Errors
//!
//! An error carries an errno for the caller's program and a message for the person who reads it: the value that was
//! refused, the limit, and where the limit came from. This module makes no system call.

use std::fmt;
use std::path::PathBuf;

use crate::flags::Flags;
use crate::limits::Source;
use crate::mode::Engine;

/// A positive Linux error number.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Errno(pub i32);

impl Errno {
    /// The number of the calling thread's last failed system call.
    pub(crate) fn last() -> Errno {
        Errno(
            std::io::Error::last_os_error()
                .raw_os_error()
                .unwrap_or(libc::EIO),
        )
    }

    /// The symbolic name, for the numbers that file I/O meets.
    pub const fn name(self) -> Option<&'static str> {
        Some(match self.0 {
            libc::EPERM => "EPERM",
            libc::ENOENT => "ENOENT",
            libc::EINTR => "EINTR",
            libc::EIO => "EIO",
            libc::ENXIO => "ENXIO",
            libc::E2BIG => "E2BIG",
            libc::EBADF => "EBADF",
            libc::ECHILD => "ECHILD",
            libc::EDEADLK => "EDEADLK",
            libc::EAGAIN => "EAGAIN",
            libc::ENOMEM => "ENOMEM",
            libc::EACCES => "EACCES",
            libc::EFAULT => "EFAULT",
            libc::ENOTBLK => "ENOTBLK",
            libc::EBUSY => "EBUSY",
            libc::EEXIST => "EEXIST",
            libc::ENODEV => "ENODEV",
            libc::ENOTDIR => "ENOTDIR",
            libc::EISDIR => "EISDIR",
            libc::EINVAL => "EINVAL",
            libc::ENFILE => "ENFILE",
            libc::EMFILE => "EMFILE",
            libc::ETXTBSY => "ETXTBSY",
            libc::EFBIG => "EFBIG",
            libc::ENOSPC => "ENOSPC",
            libc::EROFS => "EROFS",
            libc::ENAMETOOLONG => "ENAMETOOLONG",
            libc::ENOSYS => "ENOSYS",
            libc::ELOOP => "ELOOP",
            libc::EOVERFLOW => "EOVERFLOW",
            libc::EOPNOTSUPP => "EOPNOTSUPP",
            libc::ETIMEDOUT => "ETIMEDOUT",
            libc::EDQUOT => "EDQUOT",
            libc::ECANCELED => "ECANCELED",
            libc::EXDEV => "EXDEV",
            libc::ESTALE => "ESTALE",
            _ => return None,
        })
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = std::io::Error::from_raw_os_error(self.0).to_string();
        match self.name() {
            // The standard text ends in "(os error N)", which the name replaces.
            Some(name) => write!(
                f,
                "{name}, {}",
                text.split(" (os error").next().unwrap_or(&text)
            ),
            None => f.write_str(&text),
        }
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "Errno({})", self.0),
        }
    }
}

/// A part of a request that direct I/O wants aligned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aligned {
    /// The address of the memory.
    Address(usize),
    /// The position in the file, in bytes.
    Offset(u64),
    /// The number of bytes.
    Length(usize),
}

impl Aligned {
    pub(crate) const fn value(self) -> u64 {
        match self {
            Aligned::Address(value) | Aligned::Length(value) => value as u64,
            Aligned::Offset(value) => value,
        }
    }

    /// The largest power of two that divides the value, which is what the caller has to compare with the limit.
    fn has(self) -> u64 {
        1 << self.value().trailing_zeros().min(63)
    }
}

impl fmt::Display for Aligned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Aligned::Address(value) => write!(f, "buffer address {value:#x}"),
            Aligned::Offset(value) => write!(f, "offset {value}"),
            Aligned::Length(value) => write!(f, "length {value}"),
        }
    }
}

/// What a file request was, for messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// A positional read.
    Read,
    /// A positional write.
    Write,
    /// fdatasync.
    DataSync,
    /// fsync.
    FullSync,
    /// sync_file_range.
    SyncRange,
    /// fallocate that extends the size.
    Allocate,
    /// fallocate that keeps the size.
    AllocateKeepSize,
    /// fallocate that frees a range.
    PunchHole,
    /// fallocate that zeroes a range.
    ZeroRange,
    /// ftruncate.
    Truncate,
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Op::Read => "read",
            Op::Write => "write",
            Op::DataSync => "data sync",
            Op::FullSync => "full sync",
            Op::SyncRange => "sync range",
            Op::Allocate => "allocate",
            Op::AllocateKeepSize => "keep-size allocate",
            Op::PunchHole => "punch hole",
            Op::ZeroRange => "zero range",
            Op::Truncate => "truncate",
        })
    }
}

/// The steps of a durable rename, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RenameStep {
    /// Finding the file under its old name, and both directories.
    Prepare,
    /// Syncing the file.
    SyncFile,
    /// The rename itself.
    Rename,
    /// Syncing the directory of the new name.
    SyncNewDirectory,
    /// Syncing the directory of the old name.
    SyncOldDirectory,
}

impl RenameStep {
    /// Whether the file has its new name when this step fails.
    pub const fn renamed(self) -> bool {
        matches!(
            self,
            RenameStep::SyncNewDirectory | RenameStep::SyncOldDirectory
        )
    }

    const fn outcome(self) -> &'static str {
        match self {
            RenameStep::SyncNewDirectory => {
                "the file has its new name, but a crash may bring back the old one"
            }
            RenameStep::SyncOldDirectory => {
                "the file has its new name, but after a crash it may have the old one as well"
            }
            _ => "nothing was renamed",
        }
    }
}

impl fmt::Display for RenameStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RenameStep::Prepare => "finding the names",
            RenameStep::SyncFile => "syncing the file",
            RenameStep::Rename => "renaming",
            RenameStep::SyncNewDirectory => "syncing the new directory",
            RenameStep::SyncOldDirectory => "syncing the old directory",
        })
    }
}

/// Everything that can go wrong here.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A word that names no mode, engine, cache or sync.
    #[error("{what} \"{text}\" is not known; known are: {known}")]
    Spelling {
        /// What was being read.
        what: &'static str,
        /// What was there.
        text: String,
        /// What could have been there.
        known: String,
    },

    /// A request that direct I/O cannot carry. No system call was made for it.
    #[error("{part} is a multiple of {}; {needed} is needed; source: {source_of_limit}", part.has())]
    Misaligned {
        /// The part of the request, with its value.
        part: Aligned,
        /// What it has to be a multiple of.
        needed: u32,
        /// Where that number came from.
        source_of_limit: Source,
    },

    /// A request that reaches past what the kernel can address. No system call was made for it.
    #[error("{what} {value} is too large; at most {limit}; source: {source_of_limit}")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// Its value.
        value: u64,
        /// The largest one allowed.
        limit: u64,
        /// Where the limit comes from.
        source_of_limit: &'static str,
    },

    /// A queue in a child of the process that made it. No system call was made for it.
    #[error("this queue was made before a fork, in the parent process, and works only there")]
    Forked,

    /// A call that would have to wait for a request which this thread has queued and not collected.
    #[error(
        "a request of this file that this thread has queued, and whose completion it has not collected, is in the way; collect it first (EDEADLK)"
    )]
    Deadlock,

    /// A parameter outside its range.
    #[error("{0}")]
    Invalid(String),

    /// The file could not be opened.
    #[error("cannot open {}: {errno}{}", path.display(), because(why))]
    Open {
        /// The path as given.
        path: PathBuf,
        /// What the kernel said.
        errno: Errno,
        /// More about it, or empty.
        why: String,
    },

    /// Direct I/O was required and this file cannot do it.
    #[error("no direct I/O on {}: {why} ({errno})", path.display())]
    NoDirect {
        /// The path as given.
        path: PathBuf,
        /// What the kernel said, or would say.
        errno: Errno,
        /// How that was found out.
        why: String,
    },

    /// A write, or a change of size or space, on a file that was opened for reading.
    #[error("{op} on a file that was opened for reading only (EBADF)")]
    ReadOnly {
        /// What was tried.
        op: Op,
    },

    /// A request failed in the kernel.
    #[error("{op} of {length} bytes at offset {offset}: {errno}; {moved} bytes were moved")]
    Io {
        /// The request.
        op: Op,
        /// Where it began, in bytes.
        offset: u64,
        /// How many bytes were asked for.
        length: u64,
        /// How many bytes were moved before the failure.
        moved: u64,
        /// What the kernel said.
        errno: Errno,
    },

    /// A flag of one request that this kernel or this file has not.
    #[error("{flag} is not to be had here: {why} (EOPNOTSUPP)")]
    NoFlag {
        /// The flag.
        flag: Flags,
        /// Who has none, and how that was found out.
        why: String,
    },

    /// A request that cannot be one atomic write.
    #[error("an atomic write: {what} {value}; {rule} {limit}; source: {source_of_limit}")]
    NotAtomic {
        /// What is wrong.
        what: &'static str,
        /// Its value.
        value: u64,
        /// What it has to be, in words that go on with the limit.
        rule: &'static str,
        /// The limit.
        limit: u64,
        /// Where the limit comes from.
        source_of_limit: Source,
    },

    /// A part of a file could not be pushed out to its device. The file remembers it.
    #[error(
        "sync range of {length} bytes at offset {offset}: {errno}; what was written since the last good sync may be \
         lost, write it again"
    )]
    SyncRange {
        /// Where the range begins, in bytes.
        offset: u64,
        /// How long it is, in bytes.
        length: u64,
        /// What the kernel said.
        errno: Errno,
    },

    /// Space could not be allocated, freed or zeroed.
    #[error("{op} of {length} bytes at offset {offset}: {errno}{}", because(why))]
    Space {
        /// What was tried.
        op: Op,
        /// Where the range begins, in bytes.
        offset: u64,
        /// How long the range is, in bytes.
        length: u64,
        /// What the kernel said.
        errno: Errno,
        /// What the filesystem lacks or the limit that was passed, or empty.
        why: String,
    },

    /// A durable rename failed, at one of its steps.
    #[error(
        "durable rename of {} to {}: {step} failed: {errno}{}; {}",
        from.display(), to.display(), because(why), step.outcome()
    )]
    Rename {
        /// The old path.
        from: PathBuf,
        /// The new path.
        to: PathBuf,
        /// The step that failed.
        step: RenameStep,
        /// What the kernel said.
        errno: Errno,
        /// More about it, or empty.
        why: String,
    },

    /// The size could not be set.
    #[error("truncate to {size} bytes: {errno}{}", because(why))]
    Truncate {
        /// The size asked for, in bytes.
        size: u64,
        /// What the kernel said.
        errno: Errno,
        /// More about it, or empty.
        why: String,
    },

    /// The kernel moved fewer bytes than asked for, stopped at a place where direct I/O cannot go on, and it is not
    /// the end of the file.
    #[error(
        "{op} of {length} bytes at offset {offset} stopped after {moved} bytes, which is neither the end of the file \
         nor a multiple of {needed} (source: {source_of_limit})"
    )]
    Stopped {
        /// The request.
        op: Op,
        /// Where it began, in bytes.
        offset: u64,
        /// How many bytes were asked for.
        length: u64,
        /// How many bytes were moved.
        moved: u64,
        /// The alignment at which it could have gone on.
        needed: u32,
        /// Where that number came from.
        source_of_limit: Source,
    },

    /// A sync failed just now. The file remembers it.
    #[error(
        "{op} failed: {errno}; what was written since the last good sync may be lost, write it again"
    )]
    Sync {
        /// Which sync.
        op: Op,
        /// What the kernel said.
        errno: Errno,
    },

    /// An earlier sync failed and nobody has acknowledged it; the kernel was not asked again, for it could falsely
    /// say yes.
    #[error(
        "an earlier sync of this file failed: {errno}; acknowledge it, write the lost data again, then sync"
    )]
    SyncStuck {
        /// What the kernel said then.
        errno: Errno,
    },

    /// The queue is full. The request was not accepted.
    #[error("the queue holds {depth} requests, its depth; collect completions first (EAGAIN)")]
    QueueFull {
        /// How many requests the queue holds at most.
        depth: u32,
    },

    /// The engine could not be set up.
    #[error("cannot set up {engine}: {errno}{}", because(why))]
    Setup {
        /// Which engine.
        engine: Engine,
        /// What the kernel said.
        errno: Errno,
        /// The likely cause and the way out, or empty.
        why: String,
    },

    /// Another system call failed.
    #[error("{call}: {errno}")]
    System {
        /// The system call.
        call: &'static str,
        /// What the kernel said.
        errno: Errno,
    },
}

fn because(why: &str) -> String {
    if why.is_empty() {
        String::new()
    } else {
        format!("; {why}")
    }
}

impl Error {
    /// The error number that a C caller gets.
    pub fn errno(&self) -> Errno {
        match self {
            Error::Spelling { .. }
            | Error::Misaligned { .. }
            | Error::TooLarge { .. }
            | Error::NotAtomic { .. }
            | Error::Invalid(_) => Errno(libc::EINVAL),
            Error::Forked => Errno(libc::ECHILD),
            Error::Deadlock => Errno(libc::EDEADLK),
            Error::ReadOnly { .. } => Errno(libc::EBADF),
            Error::NoFlag { .. } => Errno(libc::EOPNOTSUPP),
            Error::Stopped { .. } => Errno(libc::EIO),
            Error::QueueFull { .. } => Errno(libc::EAGAIN),
            Error::Open { errno, .. }
            | Error::NoDirect { errno, .. }
            | Error::Io { errno, .. }
            | Error::SyncRange { errno, .. }
            | Error::Space { errno, .. }
            | Error::Truncate { errno, .. }
            | Error::Rename { errno, .. }
            | Error::Sync { errno, .. }
            | Error::SyncStuck { errno }
            | Error::Setup { errno, .. }
            | Error::System { errno, .. } => *errno,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misalignment_names_value_limit_and_source() {
        let error = Error::Misaligned {
            part: Aligned::Address(0x7f00_0200),
            needed: 4096,
            source_of_limit: Source::StatxDioalign,
        };
        assert_eq!(
            error.to_string(),
            "buffer address 0x7f000200 is a multiple of 512; 4096 is needed; source: statx DIOALIGN"
        );
        assert_eq!(error.errno(), Errno(libc::EINVAL));
    }

    #[test]
    fn an_errno_says_its_name_and_its_meaning() {
        assert_eq!(
            Errno(libc::ENOSPC).to_string(),
            "ENOSPC, No space left on device"
        );
        assert_eq!(
            Errno(libc::ENOTTY).to_string(),
            "Inappropriate ioctl for device (os error 25)"
        );
    }
}
