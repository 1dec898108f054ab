//! # The folders as a process sees them
//!
//! A process in a container has mounts of its own, and a process in a chroot a root of its own. The name of a file
//! inside its filesystem becomes the path that this process knows through the mount it was opened by.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::dev::Dev;
use super::mounts::{Mount, Mounts};
use super::root::{Root, Seen};

/// Which processes share a view: those of one mount namespace with one root.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Sight {
    /// Their mount namespace, and the root as the reader sees it.
    Shared(PathBuf, PathBuf),
    /// What a process sees may not be looked at by this user: taken for a view of its own.
    Own(u32),
}

impl Sight {
    /// What a process sees; an error where it is gone.
    pub(crate) fn of(root: &Root, process: u32) -> Seen<Self> {
        use super::root::Why;
        let link = |name| root.link(format!("/proc/{process}/{name}"));
        match (link("ns/mnt"), link("root")) {
            (Ok(namespace), Ok(root)) => Ok(Self::Shared(namespace, root)),
            (Err(unseen), _) | (_, Err(unseen)) => match unseen.why {
                Why::Denied | Why::Refused => Ok(Self::Own(process)),
                _ => Err(unseen),
            },
        }
    }
}

/// Where the kernel says a file is: its filesystem, the mount it was opened through (0: not known), and its path
/// inside the filesystem, without a leading slash.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Inside<'a> {
    pub(crate) dev: Dev,
    pub(crate) mount: u32,
    pub(crate) path: &'a [u8],
}

impl Mounts {
    /// The path through the very mount that the file was opened by.
    pub(crate) fn path(&self, file: Inside<'_>) -> Option<Vec<u8>> {
        self.of_id(file.mount)?.path(file.path)
    }

    /// The path through any mount of the file's filesystem that shows it; the one that shows most of it.
    pub(crate) fn some_path(&self, file: Inside<'_>) -> Option<Vec<u8>> {
        self.of_dev(file.dev)
            .filter_map(|mount| Some((mount, mount.path(file.path)?)))
            .min_by_key(|(mount, _)| mount.root.as_os_str().len())
            .map(|(_, path)| path)
    }
}

impl Mount {
    /// The path of what lies at `inside` of its filesystem; `None` where it lies outside of what is mounted.
    fn path(&self, inside: &[u8]) -> Option<Vec<u8>> {
        let mut path = self.point.as_os_str().as_bytes().to_vec();
        let root = self.root.as_os_str().as_bytes();
        let root = root.strip_prefix(b"/").unwrap_or(root);
        let rest = match inside.strip_prefix(root)? {
            // The very file or folder is mounted.
            [] => return Some(path),
            rest if root.is_empty() => rest,
            [b'/', rest @ ..] => rest,
            _ => return None,
        };
        if path.last() != Some(&b'/') {
            path.push(b'/');
        }
        path.extend_from_slice(rest);
        Some(path)
    }
}

/// A path that this process sees, as one sees it whose root is the folder `root`.
pub(crate) fn below(root: &Path, path: Vec<u8>) -> Vec<u8> {
    let root = root.as_os_str().as_bytes();
    match path.strip_prefix(root) {
        Some(b"") => b"/".to_vec(),
        Some(rest) if root != b"/" && rest.first() == Some(&b'/') => rest.to_vec(),
        _ => path,
    }
}

#[cfg(test)]
mod tests {
    use super::super::canned;
    use super::*;

    fn mounts(text: &str) -> Mounts {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("proc/7")).unwrap();
        std::fs::write(dir.path().join("proc/7/mountinfo"), text).unwrap();
        Mounts::of_process(&Root::at(dir.path()), 7).unwrap()
    }

    fn file(mount: u32, path: &str) -> Inside<'_> {
        Inside {
            dev: "8:1".parse().unwrap(),
            mount,
            path: path.as_bytes(),
        }
    }

    const TABLE: &str = "20 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
        21 20 8:1 /srv/db /data rw - ext4 /dev/sda1 rw\n\
        22 20 8:1 /etc/one /etc/two rw - ext4 /dev/sda1 rw\n\
        23 20 8:2 /@home /home rw - btrfs /dev/sdb rw\n";

    #[test]
    fn a_bind_mount_gives_the_path_under_its_own_point() {
        let mounts = mounts(TABLE);
        let path = |id, inside| {
            mounts
                .path(file(id, inside))
                .map(|p| String::from_utf8(p).unwrap())
        };
        assert_eq!(path(20, "srv/db/f").unwrap(), "/srv/db/f");
        assert_eq!(path(21, "srv/db/a/f").unwrap(), "/data/a/f");
        // A file by itself can be mounted.
        assert_eq!(path(22, "etc/one").unwrap(), "/etc/two");
        assert_eq!(path(23, "@home/me/f").unwrap(), "/home/me/f");
        // The folder that is mounted.
        assert_eq!(path(20, "").unwrap(), "/");
        assert_eq!(path(21, "srv/db").unwrap(), "/data");
        // Moved out of what is mounted, and a name that only begins alike.
        assert_eq!(path(21, "srv/f"), None);
        assert_eq!(path(21, "srv/db2/f"), None);
        assert_eq!(path(99, "srv/db/f"), None);
    }

    #[test]
    fn without_its_mount_a_file_is_named_through_the_one_that_shows_most() {
        let mounts = mounts(TABLE);
        assert_eq!(mounts.some_path(file(0, "srv/db/f")).unwrap(), b"/srv/db/f");
        let only_sub = self::mounts("21 20 8:1 /srv/db /data rw - ext4 /dev/sda1 rw\n");
        assert_eq!(only_sub.some_path(file(0, "srv/db/f")).unwrap(), b"/data/f");
        assert_eq!(only_sub.some_path(file(0, "srv/f")), None);
    }

    #[test]
    fn a_path_below_another_root() {
        let below = |root: &str, path: &str| below(Path::new(root), path.into());
        assert_eq!(below("/jail", "/jail/f"), b"/f");
        assert_eq!(below("/jail", "/jail2/f"), b"/jail2/f");
        assert_eq!(below("/jail", "/jail"), b"/");
        assert_eq!(below("/", "/jail/f"), b"/jail/f");
    }

    #[test]
    fn a_process_that_is_gone_has_no_view() {
        assert!(Sight::of(&canned("6.1"), 4_000_000).is_err());
        assert!(Sight::of(&Root::system(), std::process::id()).is_ok());
    }
}
