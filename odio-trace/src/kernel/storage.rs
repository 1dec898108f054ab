//! # Which devices a filesystem lies on, by one table of mounts
//!
//! A table is of one moment: what is mounted later is not in it, and what is unmounted may have given its device to
//! another filesystem. Whose table it is, is the caller's choice. Reads sysfs.

use super::{Block, Cache, Dev, Mounts, Root};

/// What lies on what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Storage<'a> {
    root: &'a Root,
    mounts: Option<&'a Mounts>,
}

impl<'a> Storage<'a> {
    /// By these mounts, where any are known.
    pub(crate) fn by(root: &'a Root, mounts: Option<&'a Mounts>) -> Self {
        Self { root, mounts }
    }

    /// Type of the filesystem with this number.
    pub(crate) fn fs_type(self, dev: Dev) -> Option<&'a str> {
        Some(&self.mounts?.of_dev(dev).next()?.fs)
    }

    /// Whether a filesystem is mounted read-only wherever it is mounted.
    pub(crate) fn read_only(self, dev: Dev) -> bool {
        let Some(mounts) = self.mounts else {
            return false;
        };
        let mut of_dev = mounts.of_dev(dev).peekable();
        of_dev.peek().is_some() && of_dev.all(|mount| mount.has("ro"))
    }

    /// Whether the filesystem with this number, which ext4's driver has mounted, has a journal; `None` where the kernel
    /// does not show it, and of what is no ext4.
    pub(crate) fn journal(self, dev: Dev) -> Option<bool> {
        let name = Block::read(self.root, dev).ok()?.name.replace('/', "!");
        let task = self
            .root
            .text(format!("/sys/fs/ext4/{name}/journal_task"))
            .ok()?;
        // Number of its thread, or `<none>` (journal_task_show).
        Some(task.trim().parse::<u32>().is_ok())
    }

    /// What the kernel believes of the write cache under a filesystem, or of a block device.
    pub(crate) fn write_cache(self, dev: Dev) -> Cache {
        Cache::of(&self.devices(dev))
    }

    /// The block devices under a filesystem; empty where not all of them are known. btrfs has a number that no device
    /// has.
    pub(crate) fn devices(self, dev: Dev) -> Vec<Block> {
        if let Ok(block) = Block::read(self.root, dev) {
            return vec![block];
        }
        let of_btrfs = || {
            let mount = self.mounts?.of_dev(dev).next()?;
            let node = self.root.path(&mount.source).canonicalize().ok()?;
            let listed = mount.fs == "btrfs";
            listed.then(|| Block::of_btrfs(self.root, node.file_name()?.to_str()?))?
        };
        of_btrfs().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn ext4_shows_whether_it_has_a_journal() {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| dir.path().join(path);
        fs::create_dir_all(at("sys/dev/block")).unwrap();
        for (name, number, task) in [
            ("sda1", "8:1", Some("312\n")),
            ("sda2", "8:2", Some("<none>\n")),
            ("sda3", "8:3", None),
            ("cciss!c0d0", "104:0", Some("7\n")),
        ] {
            fs::create_dir_all(at("sys/block").join(name).join("queue")).unwrap();
            symlink(at("sys/block").join(name), at("sys/dev/block").join(number)).unwrap();
            let shown = at("sys/fs/ext4").join(name);
            if let Some(task) = task {
                fs::create_dir_all(&shown).unwrap();
                fs::write(shown.join("journal_task"), task).unwrap();
            }
        }
        let root = Root::at(dir.path());
        let journal = |dev: &str| Storage::by(&root, None).journal(dev.parse().unwrap());
        assert_eq!(journal("8:1"), Some(true));
        assert_eq!(journal("8:2"), Some(false));
        // Another driver's, or none.
        assert_eq!((journal("8:3"), journal("0:45")), (None, None));
        assert_eq!(journal("104:0"), Some(true));
    }
}
