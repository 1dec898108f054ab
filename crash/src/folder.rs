//! # The files of a folder
//!
//! What there is below the folder that a filesystem is mounted in, and what there is to write to.

use std::{
    fs,
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use crate::case::Files;

/// What mkfs.ext4 makes; fsck(8) alone puts something there.
const NOT_OURS: &str = "lost+found";

/// All files, in folders as well, with their contents; where they `may_end_early`, as far as can be read.
pub(crate) fn read(folder: &Path, may_end_early: bool) -> io::Result<Files> {
    let mut files = Files::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(inside) = folders.pop() {
        for entry in fs::read_dir(folder.join(&inside))? {
            let entry = entry?;
            let name = inside.join(entry.file_name());
            if !entry.file_type()?.is_dir() {
                let bytes = contents(&entry.path(), may_end_early)?;
                files.insert(name.to_string_lossy().into_owned(), bytes);
            } else if name != Path::new(NOT_OURS) {
                folders.push(name);
            }
        }
    }
    Ok(files)
}

fn contents(path: &Path, may_end_early: bool) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = fs::File::open(path)?.read_to_end(&mut bytes);
    match read {
        // What was read before stays.
        Err(error) if may_end_early && error.raw_os_error() == Some(libc::EIO) => Ok(bytes),
        other => other.map(|_| bytes),
    }
}

/// Where the files of a workload are.
#[derive(Debug)]
pub(crate) enum Room {
    Folder(PathBuf),
    /// The one file is the disk itself.
    Disk(PathBuf),
}

impl Room {
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        match self {
            Room::Folder(folder) => folder.join(name),
            Room::Disk(disk) => disk.clone(),
        }
    }

    pub(crate) fn is_disk(&self) -> bool {
        matches!(self, Room::Disk(_))
    }

    /// Number of the filesystem's device, as `MAJOR:MINOR`, or of the disk. Not what stat(2) tells of a file: in btrfs each
    /// subvolume has a number of its own.
    pub(crate) fn dev(&self) -> io::Result<String> {
        match self {
            Room::Folder(folder) => {
                let mounts = fs::read_to_string("/proc/self/mountinfo")?;
                let mounted = mounts.lines().rev().find_map(|line| mounted(line, folder));
                mounted.ok_or_else(|| io::Error::other("the folder is no mount point"))
            }
            Room::Disk(disk) => {
                let dev = fs::metadata(disk)?.rdev();
                let (major, minor) = (rustix::fs::major(dev), rustix::fs::minor(dev));
                Ok(format!("{major}:{minor}"))
            }
        }
    }
}

/// The device of a line of mountinfo, where that is of this mount point: proc_pid_mountinfo(5).
fn mounted(line: &str, at: &Path) -> Option<String> {
    let mut words = line.split(' ').skip(2);
    let dev = words.next()?;
    (words.nth(1)? == at.to_str()?).then(|| dev.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_its_files_and_those_of_its_folders() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["other", "other/empty", NOT_OURS] {
            fs::create_dir(at(name)).unwrap();
        }
        for (name, bytes) in [("data", "1"), ("other/made", ""), ("lost+found/5", "2")] {
            fs::write(at(name), bytes).unwrap();
        }
        let found = read(folder.path(), false).unwrap();
        let wanted = [("data", "1"), ("other/made", "")];
        let wanted = wanted.map(|(name, bytes)| (name.to_owned(), bytes.into()));
        assert_eq!(found, wanted.into());
        assert!(read(&at("missing"), false).is_err());
    }

    #[test]
    fn the_device_of_a_mount_point_is_in_mountinfo() {
        let line = "29 1 0:27 / /tmp/at rw,noatime - btrfs /dev/dm-0 rw";
        assert_eq!(mounted(line, Path::new("/tmp/at")).as_deref(), Some("0:27"));
        assert_eq!(mounted(line, Path::new("/tmp")), None);
        assert_eq!(mounted("29 1", Path::new("/tmp")), None);
    }
}
