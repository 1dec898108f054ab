//! # Fresh filesystems and devices for a test
//!
//! Makes an image in memory, mounts it in a namespace of its own, and runs a shell script there. Wants root.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use crate::{libodio, run, succeed};

/// What a test's files are on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// ext4 on a loop device.
    Ext4,
    /// XFS on a loop device.
    Xfs,
    /// btrfs on a loop device.
    Btrfs,
    /// tmpfs.
    Tmpfs,
    /// A loop device itself.
    BlockDevice,
}

impl Place {
    /// As the kernel calls it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Place::Ext4 => "ext4",
            Place::Xfs => "xfs",
            Place::Btrfs => "btrfs",
            Place::Tmpfs => "tmpfs",
            Place::BlockDevice => "block device",
        }
    }

    /// Why this place cannot be had here, or `None`.
    #[must_use]
    pub fn missing(self) -> Option<String> {
        let tool = match self {
            Place::Ext4 => "mkfs.ext4",
            Place::Xfs => "mkfs.xfs",
            Place::Btrfs => "mkfs.btrfs",
            Place::Tmpfs | Place::BlockDevice => return None,
        };
        let known = fs::read_to_string("/proc/filesystems").unwrap_or_default();
        if !known.split_whitespace().any(|name| name == self.name()) {
            return Some(format!("this kernel has no {}", self.name()));
        }
        let made = Command::new(tool).arg("-V").output();
        made.is_err().then(|| format!("there is no {tool}"))
    }

    /// XFS wants 300 MiB and btrfs 109; images are sparse.
    fn size(self) -> u64 {
        match self {
            Place::Xfs => 320 << 20,
            _ => 128 << 20,
        }
    }

    fn make(self, image: &Path) {
        let words: &[&str] = match self {
            Place::Ext4 => &["mkfs.ext4", "-qF"],
            Place::Xfs => &["mkfs.xfs", "-q"],
            Place::Btrfs => &["mkfs.btrfs", "-q"],
            Place::Tmpfs | Place::BlockDevice => return,
        };
        succeed(Command::new(words[0]).args(&words[1..]).arg(image));
    }

    /// Runs a shell script with `$at` a fresh directory or device of this kind, and `$1` on the `words`.
    ///
    /// # Panics
    ///
    /// Where no image can be made.
    #[must_use]
    pub fn run(self, script: &str, words: &[&str]) -> Output {
        let setup = match self {
            Place::Tmpfs => "mount -t tmpfs -o size=128m none \"$room/at\"\nat=$room/at",
            Place::BlockDevice => {
                "at=$(losetup --find --show \"$room/image\")\ntrap 'losetup -d \"$at\"' EXIT"
            }
            _ => "mount -o loop \"$room/image\" \"$room/at\"\nat=$room/at",
        };
        in_memory(&format!("{setup}\n{script}"), words, |room| {
            let image = room.join("image");
            fs::File::create(&image)
                .and_then(|file| file.set_len(self.size()))
                .expect("an image in /dev/shm");
            fs::create_dir(room.join("at")).expect("a directory in /dev/shm");
            self.make(&image);
        })
    }
}

/// Runs a shell script, as root, in a mount namespace of its own, with `$room` a new directory in memory that `prepare`
/// has filled, and `$1` on the `words`. What hangs is killed after five minutes, with a status of 137.
///
/// # Panics
///
/// Where there is no `/dev/shm`, or a tool is missing.
#[must_use]
pub fn in_memory(script: &str, words: &[&str], prepare: impl FnOnce(&Path)) -> Output {
    let room = tempfile::tempdir_in("/dev/shm").expect("a directory in /dev/shm");
    prepare(room.path());
    let script = format!("set -eu; room=$0\n{script}");
    let mut timeout = Command::new("timeout");
    timeout
        .args(["--signal=KILL", "300", "unshare", "--mount"])
        .args(["bash", "-c", &script])
        .arg(room.path())
        .args(words)
        .env("LD_LIBRARY_PATH", &libodio().directory);
    run(&mut timeout)
}
