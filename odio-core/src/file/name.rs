//! # Names that survive a crash
//!
//! A name is in its directory, and durable when the directory was synced after it was made. This module makes new
//! names durable, and renames so that after a crash one of the two names leads to the whole file.

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::{File, finish_sync};
use crate::contract::SyncKind;
use crate::error::{Errno, Error, RenameStep};
use crate::limits::Limits;
use crate::sys::file as sys;

/// Where a name is: the open directory, and the last part of the path.
struct Place {
    directory: OwnedFd,
    name: CString,
}

/// The step of a rename that failed, what the kernel said, and more about it, or nothing.
type Failure = (RenameStep, Errno, String);

impl Place {
    fn of(path: &Path) -> Result<Place, Errno> {
        let bytes = path.as_os_str().as_bytes();
        // Slashes at the end stay with the name, so that the kernel refuses them as it does elsewhere.
        let end = bytes
            .iter()
            .rposition(|&byte| byte != b'/')
            .map_or(0, |last| last + 1);
        let (directory, name) = match bytes[..end].iter().rposition(|&byte| byte == b'/') {
            Some(slash) => (&bytes[..=slash], &bytes[slash + 1..]),
            None => (&b"."[..], bytes),
        };
        let c_string = |bytes| CString::new(bytes).map_err(|_| Errno(libc::EINVAL));
        let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC;
        Ok(Place {
            directory: sys::open(&c_string(directory)?, flags, 0)?,
            name: c_string(name)?,
        })
    }

    fn sync(&self, limits: &Limits) -> Result<(), Errno> {
        let directory = self.directory.as_raw_fd();
        sys::fsync(directory)?;
        finish_sync(directory, limits)
    }
}

/// Makes the name of the file that was just made durable. Fails where `path` leads to another file by now: what was
/// synced then would not be the directory that holds the new one.
pub(super) fn sync_name(path: &Path, made: &sys::Stat, limits: &Limits) -> Result<(), Error> {
    let failed = |errno, why: &str| Error::Open {
        path: path.to_owned(),
        errno,
        why: why.to_owned(),
    };
    let not_synced = |errno| {
        failed(
            errno,
            "the directory that holds the new file could not be synced",
        )
    };
    let place = Place::of(path).map_err(not_synced)?;
    match sys::stat_name(place.directory.as_fd(), &place.name) {
        Ok(there) if there.is(made) => place.sync(limits).map_err(not_synced),
        _ => Err(failed(
            Errno(libc::ESTALE),
            "the new file was moved before its name was durable",
        )),
    }
}

impl File {
    /// Syncs the file, renames it to `to`, which is replaced if it is there, and syncs both directories, the new one
    /// first. After a crash at any moment `to` is the old file of that name or the whole new one. A filesystem without a
    /// journal, such as vfat, keeps that only where the crash does not come during the call.
    ///
    /// The sync covers writes that were acknowledged before; a failed one that nobody acknowledged stops the rename.
    /// The file has to be where [`File::path`] says, which then is `to`. The error says which step failed:
    /// [`RenameStep::renamed`] tells on which side of the rename.
    pub fn rename(&self, to: impl AsRef<Path>) -> Result<(), Error> {
        let to = to.as_ref();
        loop {
            let from = self.path();
            match self.rename_from(&from, to) {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err((RenameStep::Prepare, ..)) if self.path() != from => {}
                Err((step, errno, why)) => {
                    let to = to.to_owned();
                    return Err(Error::Rename {
                        from,
                        to,
                        step,
                        errno,
                        why,
                    });
                }
            }
        }
    }

    /// The steps of [`File::rename`]; false, with nothing renamed, where another thread has renamed the file meanwhile.
    fn rename_from(&self, from: &Path, to: &Path) -> Result<bool, Failure> {
        let failed = |step| move |errno: Errno| (step, errno, String::new());
        // Both directories are held open from here on: what is synced in the end is where the names were changed.
        let old = self.find(from)?;
        let new = Place::of(to).map_err(failed(RenameStep::Prepare))?;
        // Through this handle, which remembers a lost write that the kernel would report no second time.
        self.sync(SyncKind::Full)
            .map_err(|error| (RenameStep::SyncFile, error.errno(), error.to_string()))?;
        // Locked no sooner: the sync may wait for one that another thread has in flight, and that thread may ask for the
        // path before it collects.
        let mut path = self.lock_path();
        if *path != from {
            return Ok(false);
        }
        sys::rename(
            old.directory.as_fd(),
            &old.name,
            new.directory.as_fd(),
            &new.name,
        )
        .map_err(|errno| {
            let why = match errno.0 {
                libc::EXDEV => "the two names are on different filesystems or mounts",
                _ => "",
            };
            (RenameStep::Rename, errno, why.to_owned())
        })?;
        *path = to.to_owned();
        drop(path);

        // On vfat both are syncs of the whole filesystem, and have to be: where a name leads that replaces another is
        // written with the file, not with the directory (vfat_rename, seen on 6.1: the old file was under the new name
        // after a power cut).
        new.sync(self.limits())
            .map_err(failed(RenameStep::SyncNewDirectory))?;
        old.sync(self.limits())
            .map_err(failed(RenameStep::SyncOldDirectory))?;
        Ok(true)
    }

    /// Where the file is, provided that `path` still leads to this very file and not to a link to it.
    fn find(&self, path: &Path) -> Result<Place, Failure> {
        let refused = |errno, why: &str| (RenameStep::Prepare, Errno(errno), why.to_owned());
        let place = Place::of(path).map_err(|errno| refused(errno.0, ""))?;
        let there = sys::stat_name(place.directory.as_fd(), &place.name)
            .map_err(|errno| refused(errno.0, ""))?;
        let here = sys::stat(self.as_fd()).map_err(|errno| refused(errno.0, "fstat"))?;
        match there.kind() {
            libc::S_IFREG if there.is(&here) => Ok(place),
            libc::S_IFLNK => Err(refused(
                libc::ELOOP,
                "the old name is a symbolic link, and the link would be renamed",
            )),
            libc::S_IFBLK => Err(refused(libc::EINVAL, "it is a block device")),
            _ => Err(refused(
                libc::ESTALE,
                "the old name leads to another file by now",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::thread;

    use super::*;
    use crate::testing::{directory, fresh, mode, options};

    fn step(error: &Error) -> RenameStep {
        match error {
            Error::Rename { step, .. } => *step,
            other => panic!("{other}"),
        }
    }

    #[test]
    fn the_file_is_there_whole_under_its_new_name_and_under_no_other() {
        let directory = directory();
        let (other, target) = (
            directory.path().join("other"),
            directory.path().join("other/b"),
        );
        fs::create_dir(&other).unwrap();
        fs::write(&target, "old").unwrap();
        let file = fresh(&directory, mode("buffered"));
        file.write_at(b"new", 0).unwrap();
        let before = file.path();
        file.rename(&target).unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"new");
        assert!(!before.exists());
        assert_eq!(file.path(), target);
        // And on from there, within one directory.
        file.rename(other.join("c")).unwrap();
        assert_eq!(fs::read(other.join("c")).unwrap(), b"new");
        assert!(!target.exists());
    }

    #[test]
    fn a_name_that_is_not_this_file_any_more_is_left_alone() {
        let directory = directory();
        let (path, to) = (directory.path().join("file"), directory.path().join("to"));
        let file = fresh(&directory, mode("direct"));
        fs::remove_file(&path).unwrap();
        assert_eq!(file.rename(&to).unwrap_err().errno(), Errno(libc::ENOENT));
        fs::write(&path, "somebody else's").unwrap();
        let error = file.rename(&to).unwrap_err();
        assert_eq!(error.errno(), Errno(libc::ESTALE));
        assert_eq!(step(&error), RenameStep::Prepare);
        assert_eq!(fs::read(&path).unwrap(), b"somebody else's");

        let link = directory.path().join("link");
        symlink(&path, &link).unwrap();
        let through = options(mode("buffered")).open(&link).unwrap();
        assert_eq!(through.rename(&to).unwrap_err().errno(), Errno(libc::ELOOP));
        assert!(link.is_symlink() && !to.exists());
    }

    #[test]
    fn a_name_that_leads_elsewhere_is_not_called_durable() {
        let directory = directory();
        let file = fresh(&directory, mode("direct"));
        let made = sys::stat(file.as_fd()).unwrap();
        sync_name(&file.path(), &made, file.limits()).unwrap();
        // As where the directory was replaced by another of the same name.
        fs::rename(file.path(), directory.path().join("moved")).unwrap();
        for another in [false, true] {
            if another {
                fs::write(file.path(), "somebody else's").unwrap();
            }
            let error = sync_name(&file.path(), &made, file.limits()).unwrap_err();
            assert_eq!(error.errno(), Errno(libc::ESTALE), "{error}");
        }
    }

    #[test]
    fn a_lost_write_stops_the_rename() {
        let directory = directory();
        let file = fresh(&directory, mode("direct"));
        file.note_sync(Err(Errno(libc::EIO))).unwrap_err();
        let to = directory.path().join("to");
        let error = file.rename(&to).unwrap_err();
        assert_eq!(
            (step(&error), error.errno()),
            (RenameStep::SyncFile, Errno(libc::EIO))
        );
        assert!(error.to_string().contains("nothing was renamed"), "{error}");
        assert!(file.path().exists() && !to.exists());
        file.acknowledge_sync_error();
        file.rename(&to).unwrap();
    }

    #[test]
    fn who_holds_up_the_sync_of_a_rename_can_ask_for_the_path_and_rename_first() {
        let directory = directory();
        let file = fresh(&directory, mode("direct"));
        let inside = |name: &str| directory.path().join(name);
        thread::scope(|scope| {
            let turn = file.sync_turn(None).unwrap();
            let renaming = scope.spawn(|| file.rename(inside("second")));
            while file.inner.syncing.held_or_waited_for() < 2 {
                assert!(!renaming.is_finished());
                thread::yield_now();
            }
            // Were it locked, this thread would never let go of its turn.
            assert!(file.inner.path.try_lock().is_ok());
            fs::rename(inside("file"), inside("first")).unwrap();
            *file.lock_path() = inside("first");
            drop(turn);
            renaming.join().unwrap().unwrap();
        });
        assert_eq!(file.path(), inside("second"));
        assert!(inside("second").exists() && !inside("first").exists());
    }

    #[test]
    fn what_cannot_be_renamed_says_at_which_step() {
        let directory = directory();
        let file = fresh(&directory, mode("direct"));
        let inside = |name: &str| directory.path().join(name);
        fs::create_dir(inside("directory")).unwrap();
        for (to, at, errno) in [
            (inside("missing/to"), RenameStep::Prepare, libc::ENOENT),
            (inside("directory"), RenameStep::Rename, libc::EISDIR),
            (inside("to/"), RenameStep::Rename, libc::ENOTDIR),
            ("/dev/shm/to".into(), RenameStep::Rename, libc::EXDEV),
        ] {
            let error = file.rename(&to).unwrap_err();
            assert_eq!((step(&error), error.errno()), (at, Errno(errno)), "{error}");
        }
        assert!(file.path().exists());
    }

    #[test]
    fn a_place_is_a_directory_and_a_name() {
        for (path, name) in [("/tmp", "tmp"), ("//tmp///", "tmp///"), ("a", "a")] {
            let place = Place::of(Path::new(path)).unwrap();
            assert_eq!(place.name.to_str().unwrap(), name);
            let expected = if name == "a" { "." } else { "/" };
            let opened = fs::read_link(format!("/proc/self/fd/{}", place.directory.as_raw_fd()));
            assert_eq!(opened.unwrap(), fs::canonicalize(expected).unwrap());
        }
    }
}
