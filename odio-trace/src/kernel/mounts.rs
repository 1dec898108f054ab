//! # What is mounted where
//!
//! Parses `/proc/PID/mountinfo`: the mounts of a process's mount namespace, as far as they lie below its root, in the
//! order they were made.
//! Filesystems are asked nothing, so a hung network mount cannot hang this.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use super::dev::Dev;
use super::root::{Root, Seen, Unseen};

/// The mount table.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Mounts(Vec<Mount>);

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mount {
    /// The kernel's number for it, of which no other mount has the same now.
    pub(crate) id: u32,
    /// The filesystem's device, as `super_block.s_dev` has it. A file on btrfs or overlayfs may say another in stat(2).
    pub(crate) dev: Dev,
    /// Which directory of the filesystem is mounted: not `/` for a bind mount or a subvolume.
    pub(crate) root: PathBuf,
    /// Where.
    pub(crate) point: PathBuf,
    /// `ext4`, `xfs`, `btrfs`, ...
    pub(crate) fs: String,
    /// What was given as its source: a device, or any word at all.
    pub(crate) source: PathBuf,
    /// Options of this mount, then of the filesystem: `rw`, `relatime`, `data=journal`. Defaults are mostly not shown.
    pub(crate) options: Vec<String>,
}

impl Mount {
    /// Whether an option is shown: `nobarrier`, `data=journal`.
    pub(crate) fn has(&self, option: &str) -> bool {
        self.options.iter().any(|o| o == option)
    }
}

impl Mounts {
    /// Those of this process.
    pub(crate) fn read(root: &Root) -> Seen<Self> {
        Self::of_process(root, "self")
    }

    /// Those of a process; its number, or `self`.
    pub(crate) fn of_process(root: &Root, process: impl std::fmt::Display) -> Seen<Self> {
        let file = format!("/proc/{process}/mountinfo");
        Self::parse(&root.bytes(&file)?, &file)
    }

    pub(crate) fn parse(bytes: &[u8], file: &str) -> Seen<Self> {
        bytes
            .split(|&b| b == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| {
                parse_line(line).ok_or_else(|| {
                    Unseen::garbled(
                        file,
                        format!("the line {:?}", String::from_utf8_lossy(line)),
                    )
                })
            })
            .collect::<Seen<Vec<_>>>()
            .map(Self)
    }

    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Mount> {
        self.0.iter()
    }

    /// The mount with this number.
    pub(crate) fn of_id(&self, id: u32) -> Option<&Mount> {
        self.0.iter().find(|m| m.id == id)
    }

    /// Where a filesystem is mounted: possibly several times, the latest last.
    pub(crate) fn of_dev(&self, dev: Dev) -> impl Iterator<Item = &Mount> {
        self.0.iter().filter(move |m| m.dev == dev)
    }

    /// The mounts of a source that is `same`.
    pub(crate) fn of_source<'a>(
        &'a self,
        same: impl Fn(&Path) -> bool + 'a,
    ) -> impl Iterator<Item = &'a Mount> {
        self.0.iter().filter(move |m| same(&m.source))
    }

    /// The mounts of one kind of filesystem.
    pub(crate) fn of_fs<'a>(&'a self, fs: &'a str) -> impl Iterator<Item = &'a Mount> {
        self.0.iter().filter(move |m| m.fs == fs)
    }

    /// The mount that an absolute path without symbolic links is on: the deepest mount point above it, and where
    /// several cover the same point, the one on top.
    pub(crate) fn of_path(&self, path: &Path) -> Option<&Mount> {
        self.0
            .iter()
            .filter(|m| path.starts_with(&m.point))
            // max_by_key returns the last of equals, which is the latest.
            .max_by_key(|m| m.point.as_os_str().len())
    }
}

/// `36 35 98:0 /root /point rw,noatime shared:1 ... - ext3 /dev/root rw,errors=continue`
fn parse_line(line: &[u8]) -> Option<Mount> {
    let mut words = line.split(|&b| b == b' ');
    let mut word = || words.next();
    let id = std::str::from_utf8(word()?).ok()?.parse().ok()?;
    let _parent = word()?;
    let dev = std::str::from_utf8(word()?).ok()?.parse().ok()?;
    let (root, point, options) = (path(word()?), path(word()?), word()?);
    // Any number of optional fields ends with a lone hyphen.
    while word()? != b"-" {}
    let (fs, source) = (text(word()?), path(word()?));
    // A filesystem without options of its own may leave the last word out.
    let own = word().unwrap_or_default();
    Some(Mount {
        id,
        dev,
        root,
        point,
        fs,
        source,
        options: [options, own]
            .iter()
            .flat_map(|list| list.split(|&b| b == b','))
            .filter(|o| !o.is_empty())
            .map(text)
            .collect(),
    })
}

fn path(word: &[u8]) -> PathBuf {
    OsString::from_vec(unescape(word)).into()
}

fn text(word: &[u8]) -> String {
    path(word).as_os_str().to_string_lossy().into_owned()
}

/// The kernel writes space, tab, newline and backslash (in options also comma and others) as three octal digits.
fn unescape(word: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(word.len());
    let mut rest = word;
    while let Some((&first, tail)) = rest.split_first() {
        if let ([b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', ..], true) =
            (rest, first == b'\\')
        {
            out.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
            rest = &rest[4..];
        } else {
            out.push(first);
            rest = tail;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt;

    use super::super::canned;
    use super::*;

    fn parse(text: &str) -> Mounts {
        Mounts::parse(text.as_bytes(), "mountinfo").unwrap()
    }

    #[test]
    fn a_device_is_found_where_it_is_mounted() {
        let mounts = Mounts::read(&canned("6.1")).unwrap();
        let dev = "259:2".parse().unwrap();
        let found: Vec<_> = mounts.of_dev(dev).collect();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].point, Path::new("/mnt/data disk"));
        assert_eq!(found[0].root, Path::new("/"));
        assert_eq!(found[0].source, Path::new("/dev/nvme0n1"));
        assert_eq!(found[0].fs, "ext4");
        assert!(found[0].has("nodelalloc") && found[0].has("relatime"));
        assert!(!found[0].has("data") && !found[0].has("nodelallo"));
        assert_eq!(mounts.of_dev("259:7".parse().unwrap()).count(), 0);
        assert_eq!(mounts.of_fs("tracefs").count(), 1);
        assert_eq!(mounts.iter().count(), 8);
    }

    #[test]
    fn optional_fields_may_be_none_or_many() {
        let mounts = parse(
            "36 35 98:0 /a /b rw,noatime shared:1 master:2 propagate_from:3 - ext3 /dev/root rw,errors=continue\n\
             37 35 98:1 / /c ro - xfs /dev/sdb rw\n\
             38 35 0:5 / /d ro - odd none \n\
             39 35 0:6 / /e ro - odd none\n",
        );
        let all: Vec<_> = mounts.iter().collect();
        assert_eq!(all[0].options, ["rw", "noatime", "rw", "errors=continue"]);
        assert_eq!(all[0].root, Path::new("/a"));
        assert_eq!(mounts.of_id(37), Some(all[1]));
        assert_eq!(mounts.of_id(35), None);
        assert_eq!(all[1].fs, "xfs");
        assert_eq!(all[2].options, ["ro"]);
        assert_eq!(all[3].options, ["ro"]);
    }

    #[test]
    fn octal_escapes_and_bytes_that_are_no_text() {
        assert_eq!(unescape(br"a\040b\011c\012d\134e"), b"a b\tc\nd\\e");
        assert_eq!(unescape(br"\134040"), br"\040");
        assert_eq!(unescape(br"\04"), br"\04");
        assert_eq!(unescape(br"\777"), br"\777");
        let mounts = Mounts::parse(
            b"1 0 8:1 / /\xff\\040x rw - ext4 /dev/sda1 rw\n",
            "mountinfo",
        )
        .unwrap();
        assert_eq!(
            mounts.iter().next().unwrap().point.as_os_str().as_bytes(),
            b"/\xff x"
        );
    }

    #[test]
    fn the_deepest_and_latest_mount_holds_a_path() {
        let mounts = parse(
            "1 0 8:1 / / rw - ext4 a rw\n\
             2 1 8:2 / /mnt rw - ext4 b rw\n\
             3 1 8:3 / /mnt rw - xfs c rw\n\
             4 1 8:4 / /mnt2 rw - xfs d rw\n",
        );
        let at = |path: &str| mounts.of_path(Path::new(path)).unwrap().dev.minor;
        assert_eq!(at("/mnt/f"), 3);
        assert_eq!(at("/mnt"), 3);
        assert_eq!(at("/mnt2/f"), 4);
        assert_eq!(at("/mnt22"), 1);
        assert_eq!(at("/etc"), 1);
    }

    #[test]
    fn a_line_cut_anywhere_is_an_error_or_a_mount() {
        let line = b"36 35 98:0 /a /b rw,noatime shared:1 - ext3 /dev/root rw";
        for end in 1..line.len() {
            let cut = Mounts::parse(&line[..end], "mountinfo");
            // From the source on there is enough to know the mount by.
            let enough = end > line.len() - "/dev/root rw".len() - 1;
            assert_eq!(cut.is_ok(), enough, "{:?}", &line[..end].escape_ascii());
        }
        let error = Mounts::parse(b"nonsense\n", "/proc/self/mountinfo")
            .unwrap_err()
            .to_string();
        assert!(error.contains("/proc/self/mountinfo") && error.contains("nonsense"));
    }
}
