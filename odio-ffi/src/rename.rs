//! # Durable rename of an odio_file

use std::ffi::{CStr, OsStr, c_char, c_int};
use std::os::unix::ffi::OsStrExt;

use odio_core::error::{Error, RenameStep};

use crate::file::odio_file;
use crate::panic::guard;
use crate::required;

/// The step at which a durable rename failed.
#[repr(C)]
pub enum odio_rename_step {
    /// None: everything went well.
    ODIO_RENAME_STEP_NONE = 0,
    /// Finding the file under its old name, and both directories. Nothing was renamed.
    ODIO_RENAME_STEP_PREPARE = 1,
    /// Syncing the file. Nothing was renamed.
    ODIO_RENAME_STEP_SYNC_FILE = 2,
    /// The rename itself. Nothing was renamed.
    ODIO_RENAME_STEP_RENAME = 3,
    /// Syncing the directory of the new name. The file has that name, but a crash may bring back the old one.
    ODIO_RENAME_STEP_SYNC_NEW_DIRECTORY = 4,
    /// Syncing the directory of the old name. The file has the new name, but after a crash may have both.
    ODIO_RENAME_STEP_SYNC_OLD_DIRECTORY = 5,
}

fn number(step: RenameStep) -> u32 {
    (match step {
        RenameStep::Prepare => odio_rename_step::ODIO_RENAME_STEP_PREPARE,
        RenameStep::SyncFile => odio_rename_step::ODIO_RENAME_STEP_SYNC_FILE,
        RenameStep::Rename => odio_rename_step::ODIO_RENAME_STEP_RENAME,
        RenameStep::SyncNewDirectory => odio_rename_step::ODIO_RENAME_STEP_SYNC_NEW_DIRECTORY,
        RenameStep::SyncOldDirectory => odio_rename_step::ODIO_RENAME_STEP_SYNC_OLD_DIRECTORY,
    }) as u32
}

/// Syncs the file as odio_file_sync() does, renames it to `to`, which is replaced if it is there, and syncs both
/// directories, the new one first. After a crash at any moment `to` is the old file of that name or the whole new one. A
/// filesystem without a journal, such as vfat, keeps that only where the crash does not come during the call.
///
/// The old name is the path of the open or of the last odio_file_rename(), relative to the working directory of now
/// where it is relative. The file is looked for there first; nobody else may move it meanwhile. The sync covers writes
/// that were acknowledged before. Where both names are one file already, rename(2) does nothing and both stay.
///
/// `step` may be NULL; otherwise `*step` is an odio_rename_step: the one that failed, or 0.
///
/// Returns 0 or a negative errno of fsync(2), open(2) or rename(2), among them -EXDEV for a name on another filesystem
/// or mount; also the errno of a failed sync of this file that nobody has acknowledged, -ESTALE where the old name
/// leads to another file by now, -ELOOP where it is a symbolic link, and -EINVAL for a block device. A retry of a
/// failed directory sync can falsely succeed. Any thread.
///
/// # Safety
///
/// `file` is an open handle, `to` ends in NUL, and `step` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn odio_file_rename(
    file: *const odio_file,
    to: *const c_char,
    step: *mut u32,
) -> c_int {
    let tell = |value| {
        if !step.is_null() {
            // SAFETY: not null, and writable as the caller promises.
            unsafe { step.write(value) };
        }
    };
    guard(|| {
        tell(odio_rename_step::ODIO_RENAME_STEP_PREPARE as u32);
        required!(file);
        required!(to);
        // SAFETY: not null, and NUL-terminated as the caller promises.
        let to = OsStr::from_bytes(unsafe { CStr::from_ptr(to) }.to_bytes());
        // SAFETY: an open handle, as the caller promises.
        let renamed = unsafe { &(*file).file }.rename(to);
        if let Err(Error::Rename { step, .. }) = renamed {
            tell(number(step));
        }
        renamed?;
        tell(odio_rename_step::ODIO_RENAME_STEP_NONE as u32);
        Ok(0)
    })
}
