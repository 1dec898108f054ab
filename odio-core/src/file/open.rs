//! # Opening
//!
//! Turns a mode into an open file, or into an error that leaves nothing behind. Asks for direct I/O, then reads a
//! block to see whether it is really there.

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::AtomicI32;
use std::sync::{Arc, Mutex};

use super::bounce::{Bounce, reopen};
use super::check::Support;
use super::name::sync_name;
use super::transfer::{Masks, takes_turns};
use super::{File, Inner};
use crate::buffer::Buffer;
use crate::contract::Contract;
use crate::error::{Errno, Error};
use crate::limits::{Limits, Proof, Source, Sourced};
use crate::mode::{Cache, Engine, Mode, Sync};
use crate::sys::file as sys;

/// How to open a file.
#[derive(Debug, Clone)]
pub struct OpenOptions {
    mode: Mode,
    fall_back: bool,
    write: bool,
    create: bool,
    exclusive: bool,
    truncate: bool,
    durable: bool,
    bounce: bool,
    shared_device: bool,
    permissions: u32,
}

/// What became of the wish for direct I/O.
struct Outcome {
    cache: Cache,
    reason: String,
}

impl OpenOptions {
    /// Opens an existing file for reading, in `mode`. A `direct` mode is required unless [`OpenOptions::fall_back`].
    pub fn new(mode: Mode) -> OpenOptions {
        OpenOptions {
            mode,
            fall_back: false,
            write: false,
            create: false,
            exclusive: false,
            truncate: false,
            durable: false,
            bounce: false,
            shared_device: false,
            permissions: 0o666,
        }
    }

    /// Takes `buffered` where `direct` cannot be had; [`File::mode`] and [`File::reason`] tell.
    pub fn fall_back(mut self, yes: bool) -> OpenOptions {
        self.fall_back = yes;
        self
    }

    /// Opens for reading and writing.
    pub fn write(mut self, yes: bool) -> OpenOptions {
        self.write = yes;
        self
    }

    /// Makes the file where there is none. Wants [`OpenOptions::write`].
    ///
    /// In a mode with `dsync` or `sync` the directory is synced too before open returns, so that a durable write is in
    /// a file that can be found. In the other modes that is [`OpenOptions::create_durably`]'s, or the caller's.
    pub fn create(mut self, yes: bool) -> OpenOptions {
        self.create = yes;
        self
    }

    /// Syncs a file that is made, and its directory, before open returns, in every mode: after a crash the file is
    /// there. A file that was there already is left as it is. Wants [`OpenOptions::create`].
    pub fn create_durably(mut self, yes: bool) -> OpenOptions {
        self.durable = yes;
        self
    }

    /// Serves requests that direct I/O cannot carry as they are through an aligned copy, instead of refusing them.
    ///
    /// A write to a part of a block reads the block and writes it whole, while no other write of this file or its
    /// clones has it. Other opens of the same file, in this program or another, are not kept out: what they write to
    /// such a block at the same time may be lost. The bytes in the block that the file ends in go through the page
    /// cache and are pushed out at once. Costs a second descriptor, opened through `/proc/self/fd`. Means nothing for a
    /// buffered file.
    pub fn bounce(mut self, yes: bool) -> OpenOptions {
        self.bounce = yes;
        self
    }

    /// Shares a block device with whoever uses it. A block device that is opened for writing is otherwise opened with
    /// `O_EXCL`: it fails with `EBUSY` where it is mounted or held by another, and keeps others out who ask the same,
    /// until the last clone and the last request in flight are gone. Costs a second descriptor. Means nothing for a
    /// regular file and for reading.
    pub fn shared_device(mut self, yes: bool) -> OpenOptions {
        self.shared_device = yes;
        self
    }

    /// Fails with `EEXIST` where there is a file already. Wants [`OpenOptions::create`].
    pub fn exclusive(mut self, yes: bool) -> OpenOptions {
        self.exclusive = yes;
        self
    }

    /// Empties a file once everything else about opening it has gone well. Wants [`OpenOptions::write`].
    pub fn truncate(mut self, yes: bool) -> OpenOptions {
        self.truncate = yes;
        self
    }

    /// The permission bits of a file that is made, before the umask; 0666 unless set.
    pub fn permissions(mut self, bits: u32) -> OpenOptions {
        self.permissions = bits;
        self
    }

    /// Opens a regular file or a block device. An open that fails leaves no new file and an old one untouched.
    pub fn open(&self, path: impl AsRef<Path>) -> Result<File, Error> {
        let path = path.as_ref();
        self.check()?;
        let failed = |errno, why: &str| Error::Open {
            path: path.to_owned(),
            errno,
            why: why.to_owned(),
        };
        let name = CString::new(path.as_os_str().as_bytes())
            .map_err(|_| failed(Errno(libc::EINVAL), "the path holds a NUL byte"))?;

        // Before open, because opening a FIFO waits and opening a device may act.
        if let Ok(stat) = sys::stat_path(&name) {
            check_kind(&stat).map_err(|(errno, why)| failed(errno, why))?;
        }
        let (fd, created) = self
            .open_plain(&name)
            .map_err(|errno| failed(errno, self.why(errno)))?;
        let stat = sys::stat(fd.as_fd()).map_err(|errno| failed(errno, "fstat"))?;
        let opened = check_kind(&stat)
            .and_then(|()| self.claim(&name, &stat))
            .map_err(|(errno, why)| failed(errno, why))
            .and_then(|claim| self.finish(fd, claim, &stat, path, created));
        if opened.is_err() && created && sys::stat_path(&name).is_ok_and(|now| now.is(&stat)) {
            // The error already there is the one to report.
            let _ = sys::unlink(&name);
        }
        opened
    }

    fn check(&self) -> Result<(), Error> {
        for (wrong, text) in [
            (
                self.create && !self.write,
                "create wants write: a new file that cannot be written has no use",
            ),
            (self.exclusive && !self.create, "exclusive wants create"),
            (self.durable && !self.create, "create durably wants create"),
            (self.truncate && !self.write, "truncate wants write"),
            (
                self.permissions & !0o777 != 0,
                "permissions hold more than the nine permission bits",
            ),
        ] {
            if wrong {
                return Err(Error::Invalid(text.to_owned()));
            }
        }
        Ok(())
    }

    /// Holds a device that is to be had alone, by a second descriptor that no request ever names.
    ///
    /// The kernel gives the device free with the last reference to an open file, and io_uring may keep one of a request
    /// for milliseconds after its completion (`io_wq_free_work`, seen in 6.18): a device that was closed would still be
    /// held where the claim went by the descriptor of the requests.
    fn claim(
        &self,
        name: &CString,
        stat: &sys::Stat,
    ) -> Result<Option<OwnedFd>, (Errno, &'static str)> {
        if stat.kind() != libc::S_IFBLK || !self.write || self.shared_device {
            return Ok(None);
        }
        let flags = libc::O_RDWR | libc::O_EXCL | libc::O_CLOEXEC | libc::O_NOCTTY;
        let claim = sys::open(name, flags, 0).map_err(|errno| (errno, self.why(errno)))?;
        match sys::stat(claim.as_fd()) {
            Ok(now) if now.is(stat) => Ok(Some(claim)),
            Ok(_) => {
                let why = "another file got this name while it was being opened";
                Err((Errno(libc::EAGAIN), why))
            }
            Err(errno) => Err((errno, "fstat")),
        }
    }

    /// Opens without O_DIRECT and O_TRUNC, and says whether the file is new.
    ///
    /// open(2) with O_CREAT|O_DIRECT makes the file first and refuses O_DIRECT after, with no way to tell whose file is
    /// left behind. So the flag is set on the open file instead (`do_dentry_open` and `setfl` make the same check).
    fn open_plain(&self, name: &CString) -> Result<(OwnedFd, bool), Errno> {
        let access = if self.write {
            libc::O_RDWR
        } else {
            libc::O_RDONLY
        };
        let flags = access | self.sync_flag() | libc::O_CLOEXEC | libc::O_NOCTTY;
        // Somebody else may make or remove the file between the two opens; after a few rounds that is their answer.
        let mut last = Errno(libc::EAGAIN);
        for _ in 0..16 {
            if !self.exclusive {
                match sys::open(name, flags, 0) {
                    Err(Errno(libc::ENOENT)) if self.create => {}
                    result => return result.map(|fd| (fd, false)),
                }
            }
            match sys::open(name, flags | libc::O_CREAT | libc::O_EXCL, self.permissions) {
                Err(Errno(libc::EEXIST)) if !self.exclusive => last = Errno(libc::EEXIST),
                result => return result.map(|fd| (fd, true)),
            }
        }
        Err(last)
    }

    fn why(&self, errno: Errno) -> &'static str {
        match errno.0 {
            libc::EACCES => "this user may not open it so, or may not enter a directory above it",
            libc::EBUSY => {
                "the block device is mounted or held by another (swap, RAID, LVM, O_EXCL); to write beside them anyway, \
                 ask for a shared device"
            }
            libc::EEXIST if !self.exclusive => {
                "the name is there and leads to no file: a symbolic link, behind which none is made, or a name that comes \
                 and goes"
            }
            libc::EROFS => "the filesystem is mounted read-only",
            libc::ETXTBSY => "it is a program that is running, or a swap file",
            _ => "",
        }
    }

    fn sync_flag(&self) -> i32 {
        match self.mode.sync {
            Sync::None => 0,
            Sync::Dsync => libc::O_DSYNC,
            Sync::Sync => libc::O_SYNC,
        }
    }

    /// What a direct file needs to serve unaligned requests.
    fn bounce_for(
        &self,
        fd: &OwnedFd,
        limits: &Limits,
        stat: &sys::Stat,
        path: &Path,
    ) -> Result<Bounce, Error> {
        let tail = if self.write && stat.kind() == libc::S_IFREG {
            let again = reopen(fd, self.sync_flag()).map_err(|errno| Error::Open {
                path: path.to_owned(),
                errno,
                why: "bounce wants the file a second time, through /proc/self/fd".to_owned(),
            })?;
            Some(again)
        } else {
            None
        };
        let block = limits
            .overwrite_align
            .map_or(0, |align| align.value as usize);
        Ok(Bounce::new(block.max(limits.step()) as u64, tail))
    }

    fn finish(
        &self,
        fd: OwnedFd,
        claim: Option<OwnedFd>,
        stat: &sys::Stat,
        path: &Path,
        created: bool,
    ) -> Result<File, Error> {
        let mut limits = Limits::read(fd.as_fd(), stat)?;
        let outcome = match self.mode.cache {
            Cache::Buffered => Outcome {
                cache: Cache::Buffered,
                reason: "buffered: asked for".to_owned(),
            },
            Cache::Direct => self.go_direct(&fd, &mut limits, path)?,
        };
        let bounce = if self.bounce && outcome.cache == Cache::Direct {
            Some(self.bounce_for(&fd, &limits, stat, path)?)
        } else {
            None
        };
        if self.truncate && stat.kind() == libc::S_IFREG {
            sys::truncate(fd.as_fd(), 0).map_err(|errno| Error::System {
                call: "ftruncate",
                errno,
            })?;
        }
        if created && self.durable {
            // The directory alone does not have to bring along what the new name leads to.
            sys::fsync(fd.as_raw_fd()).map_err(|errno| Error::Open {
                path: path.to_owned(),
                errno,
                why: "the new file could not be synced".to_owned(),
            })?;
        }
        if created && (self.durable || self.mode.sync != Sync::None) {
            sync_name(path, stat, &limits)?;
        }
        let mut masks = match outcome.cache {
            Cache::Direct => Masks::new(limits.read_step(), limits.step()),
            Cache::Buffered => Masks::new(1, 1),
        };
        if !self.write
            || bounce.is_some()
            || takes_turns(outcome.cache, self.mode.sync != Sync::None)
        {
            masks = masks.with_no_plain_write();
        }
        let mode = Mode::new(outcome.cache, self.mode.sync);
        let contract = Contract::of(mode, &limits);
        // What holds for one asynchronous engine holds for the other, and what holds for psync holds for all.
        if contract.finishing_sync(Engine::Psync).is_some() {
            masks = masks.with_no_plain_write();
        } else if contract.finishing_sync(Engine::IoUring).is_some() {
            masks = masks.with_no_plain_queued_write();
        }
        Ok(File {
            inner: Arc::new(Inner {
                fd,
                _claim: claim,
                path: Mutex::new(path.to_owned()),
                asked: self.mode,
                fall_back: self.fall_back,
                mode,
                reason: outcome.reason,
                writable: self.write,
                limits,
                masks,
                support: Support::default(),
                bounce,
                sync_error: AtomicI32::new(0),
                syncing: Default::default(),
                counters: Default::default(),
            }),
        })
    }

    /// Sets O_DIRECT and finds out whether it works; steps back to buffered where that is allowed.
    fn go_direct(&self, fd: &OwnedFd, limits: &mut Limits, path: &Path) -> Result<Outcome, Error> {
        let tried = match limits.refusal() {
            Some(why) => Err((Errno(libc::EINVAL), why)),
            None => try_direct(fd, limits),
        };
        let (errno, why) = match tried {
            Ok(proof) => {
                let risk = limits
                    .fallback_risk()
                    .map(|risk| format!("; but {risk}"))
                    .unwrap_or_default();
                let source = limits.offset_align.source;
                let reason =
                    format!("direct: O_DIRECT is set and {proof}; alignment from {source}{risk}");
                return Ok(Outcome {
                    cache: Cache::Direct,
                    reason,
                });
            }
            Err(refused) => refused,
        };
        if !self.fall_back {
            return Err(Error::NoDirect {
                path: path.to_owned(),
                errno,
                why,
            });
        }
        sys::set_direct(fd.as_fd(), false).map_err(|errno| Error::System {
            call: "fcntl(F_SETFL)",
            errno,
        })?;
        Ok(Outcome {
            cache: Cache::Buffered,
            reason: format!("buffered: direct was preferred, but {why} ({errno})"),
        })
    }
}

/// Sets O_DIRECT and reads with it. Gives what the read proved, or why there is no direct I/O.
fn try_direct(fd: &OwnedFd, limits: &mut Limits) -> Result<String, (Errno, String)> {
    sys::set_direct(fd.as_fd(), true).map_err(|errno| {
        (
            errno,
            format!(
                "{} does not take O_DIRECT{}",
                limits.filesystem_name(),
                limits.likely_cause()
            ),
        )
    })?;
    prove(limits, |memory, length| probe(fd, memory, length))
}

/// The part of [`try_direct`] that reads, by `read`, which is given the alignment of the memory and the length.
fn prove(
    limits: &mut Limits,
    mut read: impl FnMut(usize, usize) -> Result<usize, Errno>,
) -> Result<String, (Errno, String)> {
    let (memory, offset) = (limits.memory_align.value, limits.offset_align.value);
    let mut result = read(memory as usize, offset as usize);
    // EINVAL may also mean that a source named too small an alignment, so a page is tried before giving up.
    let page = 4096.max(memory).max(offset);
    if result == Err(Errno(libc::EINVAL)) && page > memory.min(offset) {
        result = read(page as usize, page as usize);
        if !matches!(result, Err(Errno(libc::EINVAL | libc::EOPNOTSUPP))) {
            let proven = Sourced::new(page, Source::ProbeRead);
            (
                limits.memory_align,
                limits.offset_align,
                limits.length_align,
                limits.read_offset_align,
            ) = (proven, proven, proven, proven);
        }
    }
    match result {
        Ok(0) => {
            limits.proof = Proof::Empty;
            Ok("the file is empty, so no read could prove it".to_owned())
        }
        Ok(bytes) => {
            limits.proof = Proof::Read(bytes as u32);
            Ok(format!("a read of {bytes} bytes went through"))
        }
        Err(errno @ Errno(libc::EINVAL | libc::EOPNOTSUPP)) => Err((
            errno,
            format!(
                "O_DIRECT could be set, but an aligned read of {page} bytes failed{}",
                limits.likely_cause()
            ),
        )),
        // Any other failure is about this block or this moment, not about direct I/O.
        Err(errno) => {
            limits.proof = Proof::ReadFailed;
            Ok(format!(
                "a read of its first block failed for another reason ({errno})"
            ))
        }
    }
}

/// Reads one unit at offset 0 into memory that is a multiple of `memory` and of nothing larger.
fn probe(fd: &OwnedFd, memory: usize, length: usize) -> Result<usize, Errno> {
    let mut buffer = Buffer::new(length + memory, memory * 2).map_err(|error| error.errno())?;
    sys::read(fd.as_raw_fd(), &mut buffer[memory..], 0)
}

fn check_kind(stat: &sys::Stat) -> Result<(), (Errno, &'static str)> {
    match stat.kind() {
        libc::S_IFREG | libc::S_IFBLK => Ok(()),
        libc::S_IFDIR => Err((
            Errno(libc::EISDIR),
            "odio opens regular files and block devices",
        )),
        _ => Err((
            Errno(libc::EINVAL),
            "it is neither a regular file nor a block device",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Filesystem;

    /// What became of the limits where a kernel answers the first read and the second so.
    fn proven(first: Result<usize, Errno>, second: Result<usize, Errno>) -> (bool, Limits) {
        let mut limits = Limits::example(Filesystem::EXT4);
        limits.proof = Proof::Buffered;
        let mut answers = [((512, 512), first), ((4096, 4096), second)].into_iter();
        let direct = prove(&mut limits, |memory, length| {
            let (asked, answer) = answers.next().unwrap();
            assert_eq!((memory, length), asked);
            answer
        });
        (direct.is_ok(), limits)
    }

    #[test]
    fn an_alignment_is_said_to_be_proven_where_a_read_with_it_was_not_refused() {
        let einval = Err(Errno(libc::EINVAL));
        let eio = Err(Errno(libc::EIO));
        let unused = Ok(usize::MAX);
        let told = Sourced::new(512, Source::StatxDioalign);
        let page = Sourced::new(4096, Source::ProbeRead);
        for (first, second, direct, align, proof) in [
            (Ok(512), unused, true, told, Proof::Read(512)),
            (Ok(0), unused, true, told, Proof::Empty),
            (eio, unused, true, told, Proof::ReadFailed),
            (einval, Ok(4096), true, page, Proof::Read(4096)),
            (einval, Ok(0), true, page, Proof::Empty),
            (einval, eio, true, page, Proof::ReadFailed),
            (einval, einval, false, told, Proof::Buffered),
        ] {
            let (is_direct, limits) = proven(first, second);
            assert_eq!(is_direct, direct, "{first:?} {second:?}");
            assert_eq!(limits.proof, proof, "{first:?} {second:?}");
            for limit in [
                limits.memory_align,
                limits.offset_align,
                limits.length_align,
                limits.read_offset_align,
            ] {
                assert_eq!(limit, align, "{first:?} {second:?}");
            }
        }
    }
}
