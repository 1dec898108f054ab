//! # Where tracefs is
//!
//! Finds where it and debugfs are mounted. It mounts nothing: that is for whoever runs odio-trace.

use std::path::{Path, PathBuf};

use super::mounts::Mounts;
use super::root::{Root, Seen, Unseen, Why};

/// Where the kernel's own documentation mounts it.
const USUAL: &str = "/sys/kernel/tracing";

/// A mounted tracefs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tracefs {
    /// Its mount point.
    pub(crate) point: PathBuf,
}

impl Tracefs {
    /// Looks for tracefs among the mounts: the usual place first, then any other, then below debugfs, which mounts it
    /// by itself when looked at.
    pub(crate) fn find(root: &Root, mounts: &Seen<Mounts>) -> Seen<Self> {
        let mounts = mounts.as_ref().map_err(Clone::clone)?;
        let own = || mounts.of_fs("tracefs").map(|m| m.point.clone());
        let usual = own().find(|point| point == Path::new(USUAL));
        let below_debugfs = || {
            mounts
                .of_fs("debugfs")
                .map(|m| m.point.join("tracing"))
                .find(|point| root.exists(point.join("events")) == Ok(true))
        };
        usual
            .or_else(|| own().next())
            .or_else(below_debugfs)
            .map(|point| Self { point })
            .ok_or_else(|| Unseen::new(USUAL, Why::NotMounted("tracefs")))
    }

    /// The path of a file in it.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.point.join(name)
    }
}

/// Where debugfs is mounted.
pub(crate) fn debugfs(mounts: &Seen<Mounts>) -> Seen<PathBuf> {
    mounts
        .as_ref()
        .map_err(Clone::clone)?
        .of_fs("debugfs")
        .last()
        .map(|m| m.point.clone())
        .ok_or_else(|| Unseen::new("/sys/kernel/debug", Why::NotMounted("debugfs")))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn tree(mountinfo: &str) -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("proc/self")).unwrap();
        fs::write(dir.path().join("proc/self/mountinfo"), mountinfo).unwrap();
        let root = Root::at(dir.path());
        (dir, root)
    }

    fn find(root: &Root) -> Seen<Tracefs> {
        Tracefs::find(root, &Mounts::read(root))
    }

    #[test]
    fn not_mounted_is_said_so() {
        let (_dir, root) = tree("1 0 8:1 / / rw - ext4 a rw\n");
        let error = find(&root).unwrap_err();
        assert_eq!(error.why, Why::NotMounted("tracefs"));
        assert_eq!(
            error.to_string(),
            "/sys/kernel/tracing: tracefs is not mounted there"
        );
        let error = debugfs(&Mounts::read(&root)).unwrap_err();
        assert_eq!(error.why, Why::NotMounted("debugfs"));
    }

    #[test]
    fn the_usual_place_wins_and_debugfs_comes_last() {
        let (_dir, root) = tree(
            "1 0 0:7 / /sys/kernel/debug rw - debugfs d rw\n\
             2 0 0:8 / /odd rw - tracefs t rw\n\
             3 0 0:8 / /sys/kernel/tracing rw - tracefs t rw\n",
        );
        assert_eq!(find(&root).unwrap().point, Path::new(USUAL));
        let (_dir, root) = tree("2 0 0:8 / /odd rw - tracefs t rw\n");
        assert_eq!(find(&root).unwrap().point, Path::new("/odd"));

        let (dir, root) = tree("1 0 0:7 / /sys/kernel/debug rw - debugfs d rw\n");
        assert!(find(&root).is_err());
        fs::create_dir_all(dir.path().join("sys/kernel/debug/tracing/events")).unwrap();
        assert_eq!(
            find(&root).unwrap().point,
            Path::new("/sys/kernel/debug/tracing")
        );
    }
}
