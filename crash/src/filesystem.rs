//! # Filesystems: made, mounted, unmounted

use std::{
    ffi::CString,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail, ensure};
use rustix::mount::{MountFlags, UnmountFlags};

/// A filesystem as it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Filesystem {
    pub(crate) name: &'static str,
    /// As mount(2) calls it; `None`: the disk itself.
    kind: Option<&'static str>,
    /// Of mkfs, beside those of its kind.
    arguments: &'static [&'static str],
    /// Of the mount.
    options: &'static str,
    /// Or writes no block in place. Without, the size of a file and where its blocks are come to the disk in no order:
    /// after a cut a file of vfat may be longer than what can be read of it (`fat_get_cluster`: EIO), and one that was
    /// about to be replaced may be anything.
    pub(crate) has_journal: bool,
    /// Bytes of the smallest disk that is of use.
    pub(crate) disk: u64,
}

/// Every filesystem that can be asked for.
pub(crate) const ALL: [Filesystem; 10] = [
    Filesystem {
        name: "ext4",
        kind: Some("ext4"),
        arguments: &[],
        options: "",
        has_journal: true,
        disk: 64 << 20,
    },
    Filesystem {
        name: "ext4-no-journal",
        kind: Some("ext4"),
        arguments: &["-O", "^has_journal"],
        options: "",
        has_journal: false,
        disk: 64 << 20,
    },
    Filesystem {
        name: "ext4-no-extents",
        kind: Some("ext4"),
        // The one wants the other.
        arguments: &["-O", "^extent,^64bit"],
        options: "",
        has_journal: true,
        disk: 64 << 20,
    },
    Filesystem {
        name: "ext4-data-journal",
        kind: Some("ext4"),
        arguments: &[],
        options: "data=journal",
        has_journal: true,
        disk: 64 << 20,
    },
    Filesystem {
        name: "xfs",
        kind: Some("xfs"),
        arguments: &[],
        options: "",
        has_journal: true,
        // mkfs.xfs makes none that is smaller.
        disk: 300 << 20,
    },
    Filesystem {
        name: "btrfs",
        kind: Some("btrfs"),
        arguments: &[],
        options: "nodiscard",
        has_journal: true,
        disk: 256 << 20,
    },
    Filesystem {
        name: "btrfs-nodatacow",
        kind: Some("btrfs"),
        arguments: &[],
        options: "nodiscard,nodatacow",
        has_journal: true,
        disk: 256 << 20,
    },
    Filesystem {
        name: "f2fs",
        kind: Some("f2fs"),
        arguments: &[],
        options: "nodiscard",
        has_journal: true,
        disk: 128 << 20,
    },
    Filesystem {
        name: "vfat",
        kind: Some("vfat"),
        arguments: &[],
        options: "",
        has_journal: false,
        disk: 64 << 20,
    },
    Filesystem {
        name: "block",
        kind: None,
        arguments: &[],
        options: "",
        has_journal: false,
        disk: 16 << 20,
    },
];

impl std::str::FromStr for Filesystem {
    type Err = String;

    fn from_str(text: &str) -> Result<Filesystem, String> {
        let known = || ALL.map(|each| each.name).join(", ");
        ALL.into_iter()
            .find(|each| each.name == text)
            .ok_or_else(|| format!("not one of {}", known()))
    }
}

impl Filesystem {
    /// Whether the file that is written is the disk itself.
    pub(crate) fn is_disk(self) -> bool {
        self.kind.is_none()
    }

    /// Makes it on the first `bytes` of a disk. Discards nothing: a RAM disk would give back its memory, another its
    /// old contents.
    pub(crate) fn make(self, disk: &Path, bytes: u64) -> Result<()> {
        let size = bytes.to_string();
        let kib = (bytes >> 10).to_string();
        let in_size = format!("size={bytes}");
        let sectors = (bytes >> 9).to_string();
        let arguments: &[&str] = match self.kind {
            None => return Ok(()),
            Some("ext4") => &[
                "-q",
                "-F",
                "-E",
                "nodiscard,lazy_itable_init=0,lazy_journal_init=0",
            ],
            Some("xfs") => &["-q", "-f", "-K", "-d", &in_size],
            Some("vfat") => &["-F", "32"],
            Some("f2fs") => &["-q", "-f", "-t", "0"],
            Some(_) => &["-q", "-f", "-K", "-b", &size],
        };
        let program = format!("mkfs.{}", self.kind.unwrap_or_default());
        let mut command = Command::new(&program);
        command
            .args(arguments)
            .args(self.arguments)
            .stdin(Stdio::null());
        command.arg(disk);
        match self.kind {
            Some("ext4") => command.arg(format!("{kib}k")),
            Some("vfat") => command.arg(kib),
            Some("f2fs") => command.arg(sectors),
            _ => &mut command,
        };
        let output = command.output().with_context(|| program.clone())?;
        ensure!(
            output.status.success(),
            "{program}: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(())
    }

    /// Mounts it; a disk that has none stays as it is.
    pub(crate) fn mount(self, disk: &Path, at: &Path, read_only: bool) -> Result<Mounted> {
        let Some(kind) = self.kind else {
            return Ok(Mounted { at: None });
        };
        let mut flags = MountFlags::NOATIME;
        // A file that f2fs recovers in a read-only mount cannot be read there: EROFS (seen in 6.1).
        if read_only && kind != "f2fs" {
            flags |= MountFlags::RDONLY;
        }
        let options = CString::new(self.options)?;
        rustix::mount::mount(disk, at, kind, flags, Some(options.as_c_str()))
            .with_context(|| format!("mount of {kind}"))?;
        let at = Some(at.to_owned());
        Ok(Mounted { at })
    }
}

/// A filesystem that is mounted until it is unmounted or dropped.
#[derive(Debug)]
pub(crate) struct Mounted {
    at: Option<PathBuf>,
}

impl Mounted {
    pub(crate) fn unmount(mut self) -> Result<()> {
        let Some(at) = self.at.take() else {
            return Ok(());
        };
        match rustix::mount::unmount(&at, UnmountFlags::empty()) {
            Ok(()) => Ok(()),
            Err(errno) => bail!("unmount of {}: {errno}", at.display()),
        }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if let Some(at) = &self.at {
            // An error is on its way already, and it is the one to be told.
            let _ = rustix::mount::unmount(at, UnmountFlags::empty());
        }
    }
}

/// A folder to mount in.
pub(crate) fn mount_point(name: &str) -> Result<PathBuf> {
    let at = std::env::temp_dir().join(format!("odio-crash-{name}"));
    fs::create_dir_all(&at).with_context(|| format!("{}", at.display()))?;
    Ok(at)
}
