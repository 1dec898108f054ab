//! # Which file and device a record means
//!
//! Puts together what the programs send once per file (the names up to the root of its filesystem) with where the
//! process that opened it has that filesystem mounted, and what its device is.
//!
//! A file is named by the path it was opened by, as its process sees it, at the first op on it: one that is renamed
//! later keeps its old name here, and of several hard links it is the one that was opened. Mounts are looked up when
//! the name arrives, and all anew once what was mounted then is not, and another may have its number. Where the process
//! is gone by then, or its mount is in no table (a private one, such as the layers of an overlay), the path is the one
//! through another mount of the filesystem that the process or the tracer sees; where there is none, the path inside the
//! filesystem, which does not begin with a slash.

use std::{cell::Cell, collections::HashMap, rc::Rc};

use odio_trace_common::{FileRecord, OpFlags, OpRecord, WritebackKey};
use tracing::warn;

use crate::{
    kernel::{
        Dev, Kernel, Mounts, Storage,
        view::{Inside, Sight, below},
    },
    recent::Recent,
    verdict::Place,
};

/// The path of a file.
#[derive(Debug)]
pub(crate) struct Name {
    /// As text, with U+FFFD for what is none.
    pub(crate) path: Rc<str>,
    /// The path itself, where the text does not hold it.
    pub(crate) bytes: Option<Vec<u8>>,
    /// It was in no folder any more when it was first seen.
    pub(crate) deleted: bool,
    directory: bool,
    block_device: bool,
    /// The type of its filesystem, as the kernel had it with the name; of a block device, that of its node.
    fs: Option<Rc<str>>,
    /// When it was asked for last, as the number of the question.
    asked: Cell<u64>,
}

impl Name {
    /// The type of the file's filesystem: what came with the name is of that moment. A table of mounts has more than
    /// that where there is a subtype, `fuse.sshfs`.
    fn fs(&self, mounted: Option<Rc<str>>) -> Option<Rc<str>> {
        let Some(fs) = &self.fs else {
            return mounted;
        };
        let is_subtype = |of: &Rc<str>| {
            of.strip_prefix(&**fs)
                .is_some_and(|sub| sub.starts_with('.'))
        };
        Some(mounted.filter(is_subtype).unwrap_or_else(|| fs.clone()))
    }
}

/// The type of a file's filesystem, if it was seen.
fn fs_type(record: &FileRecord) -> Option<Rc<str>> {
    let name = record.fs.split(|&byte| byte == 0).next()?;
    let name = std::str::from_utf8(name).ok()?;
    (!name.is_empty()).then(|| name.into())
}

/// What is known of the file of an op.
#[derive(Debug)]
pub(crate) struct Subject {
    /// `None` where it was not seen.
    pub(crate) name: Option<Rc<Name>>,
    pub(crate) place: Place,
}

/// A file as it was opened: device, inode, generation, mount.
type Key = (u32, u64, u32, u32);

// The types of a file in `i_mode`: inode(7).
const S_IFMT: u32 = 0o170_000;
const S_IFBLK: u32 = 0o060_000;
const S_IFDIR: u32 = 0o040_000;

/// Most names that are kept: more than the programs remember to have sent, so that what is dropped here comes again.
const MOST_NAMES: usize = 1 << 16;

/// Names and places learnt so far.
pub(crate) struct Files<'a> {
    kernel: &'a Kernel,
    /// The tracer's own mounts, if any went since the kernel was looked at.
    ours: Option<Mounts>,
    /// How many mounts were gone when `ours`, `views` and `places` began to be filled.
    since: u32,
    /// How many were when a name was sent last.
    gone: u32,
    names: HashMap<Key, Rc<Name>>,
    /// Some were dropped.
    forgotten: bool,
    /// Names asked for so far.
    asked: u64,
    places: HashMap<(u32, bool), Place>,
    /// Of files, and whether they are block devices.
    recent: Recent<(Key, bool), Subject>,
    own: Option<Sight>,
    views: HashMap<Sight, Mounts>,
    /// What a process saw when it was last looked at.
    sights: HashMap<u32, Sight>,
    /// It was told that one may not be looked at.
    denied: bool,
}

impl<'a> Files<'a> {
    pub(crate) fn new(kernel: &'a Kernel) -> Self {
        Self {
            kernel,
            ours: None,
            since: 0,
            gone: 0,
            names: HashMap::new(),
            forgotten: false,
            asked: 0,
            places: HashMap::new(),
            recent: Recent::default(),
            own: Sight::of(kernel.root(), std::process::id()).ok(),
            views: HashMap::new(),
            sights: HashMap::new(),
            denied: false,
        }
    }

    /// Lets go of all that was seen of mounts where one of them is gone, and a file's mount has its number now.
    fn forget_older(&mut self, record: &FileRecord) {
        self.gone = self.gone.max(record.mounts_gone);
        if record.mount_since <= self.since {
            return;
        }
        self.since = self.gone;
        self.ours = Some(Mounts::read(self.kernel.root()).unwrap_or_default());
        self.views.clear();
        self.places.clear();
    }

    fn ours(&self) -> Option<&Mounts> {
        self.ours.as_ref().or(self.kernel.mounts.as_ref().ok())
    }

    /// Learns a name.
    pub(crate) fn learn(&mut self, record: &FileRecord) {
        self.forget_older(record);
        let used = record.names.len().min(record.names_len as usize);
        let mut names: Vec<&[u8]> = record.names[..used]
            .split(|&b| b == 0)
            .filter(|name| !name.is_empty() && *name != b"/")
            .collect();
        names.reverse();
        let inside = names.join(&b'/');
        let path = if record.truncated != 0 {
            [b".../", &inside[..]].concat()
        } else {
            self.path(record, &inside).unwrap_or(inside)
        };
        if self.names.len() >= MOST_NAMES {
            let mut ages: Vec<u64> = self.names.values().map(|name| name.asked.get()).collect();
            let (_, &mut median, _) = ages.select_nth_unstable(MOST_NAMES / 2);
            self.names.retain(|_, name| name.asked.get() > median);
            self.forgotten = true;
        }
        let (path, bytes) = match String::from_utf8(path) {
            Ok(text) => (text, None),
            Err(error) => {
                let bytes = error.into_bytes();
                (String::from_utf8_lossy(&bytes).into_owned(), Some(bytes))
            }
        };
        let name = Name {
            path: path.into(),
            bytes,
            deleted: record.deleted != 0,
            directory: record.mode & S_IFMT == S_IFDIR,
            block_device: record.mode & S_IFMT == S_IFBLK,
            fs: fs_type(record),
            asked: self.asked.into(),
        };
        self.names.insert(
            (record.dev, record.ino, record.generation, record.mount),
            name.into(),
        );
        self.recent.clear();
        // Now, because the device may be gone when the ops arrive, which are sent less soon.
        let ours = self.ours.as_ref().or(self.kernel.mounts.as_ref().ok());
        let storage = Storage::by(self.kernel.root(), ours);
        let (dev, views) = (Dev::from_kernel(record.dev), &self.views);
        let block_device = record.mode & S_IFMT == S_IFBLK;
        self.places
            .entry((record.dev, block_device))
            .or_insert_with(|| place(storage, views, dev, block_device));
    }

    /// The path as the process sees it, or failing that as the tracer does.
    fn path(&mut self, record: &FileRecord, inside: &[u8]) -> Option<Vec<u8>> {
        let file = Inside {
            dev: Dev::from_kernel(record.dev),
            mount: record.mount,
            path: inside,
        };
        // The node of a block device lies on another filesystem than the device it stands for.
        let node = record.mode & S_IFMT == S_IFBLK;
        let sight = self.look(record.tgid, record.mount);
        let theirs = sight.as_ref().and_then(|sight| self.views.get(sight));
        if let Some(path) = theirs.and_then(|mounts| mounts.path(file)) {
            return Some(path);
        }
        let ours = self.ours();
        if let Some(path) = ours.and_then(|mounts| mounts.path(file)) {
            // A chroot: its own table leaves out the mount that its root lies on.
            return Some(match (&sight, &self.own) {
                (Some(Sight::Shared(space, root)), Some(Sight::Shared(own, _))) if space == own => {
                    below(root, path)
                }
                _ => path,
            });
        }
        if let Some(path) = self.views.values().find_map(|mounts| mounts.path(file)) {
            return Some(path);
        }
        if node {
            return Some([b"/dev/", inside].concat());
        }
        theirs
            .and_then(|mounts| mounts.some_path(file))
            .or_else(|| ours.and_then(|mounts| mounts.some_path(file)))
    }

    /// Sees to it that what a process sees is known, with this mount if it can be.
    fn look(&mut self, process: u32, mount: u32) -> Option<Sight> {
        /// Processes come and go; the tables of those that are gone are let go of as well.
        const MOST: usize = 256;
        let root = self.kernel.root();
        let sight = Sight::of(root, process);
        if let Ok(Sight::Own(_)) = sight
            && !std::mem::replace(&mut self.denied, true)
        {
            warn!(
                "the root of process {process} may not be looked at (CAP_SYS_PTRACE lets it be): paths below another \
                 root than the tracer's are shown in full"
            );
        }
        let Ok(sight) = sight else {
            return self.sights.get(&process).cloned();
        };
        let known = self
            .views
            .get(&sight)
            .is_some_and(|mounts| mounts.of_id(mount).is_some());
        if !known {
            if self.views.len() >= MOST {
                self.views.clear();
            }
            if let Ok(mounts) = Mounts::of_process(root, process) {
                self.views.insert(sight.clone(), mounts);
            }
        }
        if self.sights.len() >= 16 * MOST {
            self.sights.clear();
        }
        self.sights.insert(process, sight.clone());
        Some(sight)
    }

    /// Every file's names, one for each mount it was opened by; of no file where some were dropped.
    pub(crate) fn names(&self) -> HashMap<WritebackKey, Vec<Rc<Name>>> {
        let mut files: HashMap<_, Vec<_>> = HashMap::new();
        for (&(dev, ino, generation, _), name) in self.names.iter().filter(|_| !self.forgotten) {
            let file = WritebackKey::new(dev, ino, generation, name.block_device);
            files.entry(file).or_default().push(name.clone());
        }
        files
    }

    /// What the file of an op is.
    pub(crate) fn of(&mut self, op: &OpRecord) -> &Subject {
        let ours = self.ours.as_ref().or(self.kernel.mounts.as_ref().ok());
        let storage = Storage::by(self.kernel.root(), ours);
        let (names, places, views) = (&self.names, &mut self.places, &self.views);
        let key = (op.dev, op.ino, op.generation, op.mount);
        let block_device = op.flags & OpFlags::BLOCK_DEVICE != 0;
        let is = |known: &(Key, bool)| *known == (key, block_device);
        let subject = self.recent.get(op.ino, is, || {
            let name = names.get(&key).cloned();
            let place = places
                .entry((op.dev, block_device))
                .or_insert_with(|| place(storage, views, Dev::from_kernel(op.dev), block_device));
            let mut place = place.clone();
            if let Some(name) = &name {
                place.directory = Some(name.directory);
                place.fs = (!block_device).then(|| name.fs(place.fs)).flatten();
            }
            ((key, block_device), Subject { name, place })
        });
        if let Some(name) = &subject.name {
            self.asked += 1;
            name.asked.set(self.asked);
        }
        subject
    }
}

/// What files on a device lie on.
fn place(
    storage: Storage<'_>,
    views: &HashMap<Sight, Mounts>,
    dev: Dev,
    block_device: bool,
) -> Place {
    let cache = storage.write_cache(dev);
    // Mounted only where a traced process sees it, or since the tracer looked.
    let elsewhere = || {
        let mut mounts = views.values().flat_map(|mounts| mounts.of_dev(dev));
        mounts.next().map(|mount| mount.fs.as_str())
    };
    Place {
        fs: if block_device {
            None
        } else {
            storage.fs_type(dev).or_else(elsewhere).map(Into::into)
        },
        block_device,
        directory: None,
        read_only: !block_device && storage.read_only(dev),
        journal: storage.journal(dev),
        volatile_cache: cache.volatile,
        fua: cache.fua,
        requests: cache.requests,
    }
}

#[cfg(test)]
mod tests {
    use bytemuck::Zeroable;

    use super::*;
    use crate::kernel::{Root, canned};

    /// The ext4 filesystem of the canned kernel.
    const EXT4: u32 = 259 << 20 | 2;

    fn record(names: &[u8], mode: u32, truncated: u32) -> FileRecord {
        let mut record = FileRecord {
            dev: EXT4,
            ino: 12,
            tgid: 4_000_000,
            names_len: names.len() as u32,
            truncated,
            mode,
            ..FileRecord::zeroed()
        };
        record.names[..names.len()].copy_from_slice(names);
        record
    }

    /// An op on the file of a record.
    fn op(of: &FileRecord) -> OpRecord {
        OpRecord {
            dev: of.dev,
            ino: of.ino,
            generation: of.generation,
            mount: of.mount,
            ..OpRecord::zeroed()
        }
    }

    fn name(record: &FileRecord) -> (String, Option<Vec<u8>>) {
        let kernel = Kernel::survey(&canned("6.1"), &[]);
        let mut files = Files::new(&kernel);
        files.learn(record);
        let name = files.of(&op(record)).name.as_ref().unwrap();
        (name.path.to_string(), name.bytes.clone())
    }

    fn text(record: &FileRecord) -> String {
        let (text, bytes) = name(record);
        assert_eq!(bytes, None);
        text
    }

    const REGULAR: u32 = 0o100_644;

    /// Where the canned kernel has its ext4 filesystem.
    fn mount() -> String {
        let mounts = Mounts::read(&canned("6.1")).unwrap();
        let mount = mounts.of_dev(Dev::from_kernel(EXT4)).next().unwrap();
        mount.point.to_str().unwrap().to_owned()
    }

    #[test]
    fn names_go_from_the_file_to_the_root_of_its_mount() {
        let path = text(&record(b"file\0dir\0/\0", REGULAR, 0));
        assert_eq!(path, format!("{}/dir/file", mount()));
        assert!(mount().contains(' '), "{:?}", mount());
    }

    #[test]
    fn a_path_that_did_not_fit_says_so() {
        assert_eq!(text(&record(b"file\0dir\0", REGULAR, 1)), ".../dir/file");
    }

    #[test]
    fn odd_bytes_are_shown_replaced_and_kept_beside() {
        let (path, bytes) = name(&record(b"a\xffb\nc\0/\0", REGULAR, 0));
        assert_eq!(path, format!("{}/a\u{fffd}b\nc", mount()));
        let kept = [mount().as_bytes(), b"/a\xffb\nc"].concat();
        assert_eq!(bytes, Some(kept));
    }

    #[test]
    fn a_length_past_the_record_is_cut() {
        let mut record = record(b"file\0/\0", REGULAR, 0);
        record.names_len = u32::MAX;
        assert_eq!(text(&record), format!("{}/file", mount()));
    }

    #[test]
    fn a_block_device_is_named_by_its_node() {
        assert_eq!(text(&record(b"nvme0n1\0/\0", 0o060_660, 0)), "/dev/nvme0n1");
    }

    #[test]
    fn a_filesystem_that_is_not_mounted_here_gives_the_bare_path() {
        let mut elsewhere = record(b"file\0dir\0/\0", REGULAR, 0);
        elsewhere.dev = 4000 << 20;
        assert_eq!(text(&elsewhere), "dir/file");
    }

    #[test]
    fn one_inode_under_two_mounts_and_after_its_reuse_has_three_names() {
        let kernel = Kernel::survey(&canned("6.1"), &[]);
        let mut files = Files::new(&kernel);
        let first = record(b"first\0/\0", REGULAR, 0);
        let again = FileRecord {
            generation: 2,
            deleted: 1,
            ..record(b"again\0/\0", REGULAR, 0)
        };
        let other = FileRecord {
            mount: 4_000_000,
            ..record(b"other\0/\0", REGULAR, 0)
        };
        for record in [&first, &again, &other] {
            files.learn(record);
        }
        for (record, ends, deleted) in [
            (&first, "/first", false),
            (&again, "/again", true),
            (&other, "/other", false),
        ] {
            let name = files.of(&op(record)).name.as_ref().unwrap();
            assert_eq!(name.deleted, deleted);
            assert!(name.path.ends_with(ends), "{name:?}");
        }
    }

    #[test]
    fn places_are_told_apart() {
        let kernel = Kernel::survey(&canned("6.1"), &[]);
        let mut files = Files::new(&kernel);
        let on = |dev, flags| OpRecord {
            dev,
            flags,
            ..OpRecord::zeroed()
        };
        let place = &files.of(&on(EXT4, 0)).place;
        assert_eq!(place.fs.as_deref(), Some("ext4"));
        assert_eq!(place.volatile_cache, Some(true));
        assert!(!place.block_device && !place.read_only);
        let raw = &files.of(&on(EXT4, OpFlags::BLOCK_DEVICE)).place;
        assert!(raw.block_device && raw.fs.is_none());
        let unknown = &files.of(&on(4000 << 20, 0)).place;
        assert_eq!(unknown.volatile_cache, None);
    }

    #[test]
    fn a_name_that_comes_late_is_taken_from_then_on() {
        let kernel = Kernel::survey(&canned("6.1"), &[]);
        let mut files = Files::new(&kernel);
        let record = record(b"dir\0/\0", S_IFDIR, 0);
        let subject = files.of(&op(&record));
        assert!(subject.name.is_none() && subject.place.directory.is_none());
        files.learn(&record);
        let subject = files.of(&op(&record));
        assert!(subject.name.is_some());
        assert_eq!(subject.place.directory, Some(true));
    }

    #[test]
    fn a_mount_that_has_the_number_of_one_that_is_gone_is_looked_at_anew() {
        let dir = tempfile::tempdir().unwrap();
        let mounted = |at: &str, fs: &str| {
            let table = dir.path().join("proc/self/mountinfo");
            std::fs::create_dir_all(table.parent().unwrap()).unwrap();
            std::fs::write(table, format!("36 1 259:2 / {at} rw - {fs} /dev/x rw\n")).unwrap();
        };
        mounted("/a", "ext4");
        let kernel = Kernel::survey(&Root::at(dir.path()), &[]);
        let mut files = Files::new(&kernel);
        let mut shown = |mounts_gone, mount_since| {
            let record = FileRecord {
                mount: 36,
                mounts_gone,
                mount_since,
                ..record(b"file\0/\0", REGULAR, 0)
            };
            files.learn(&record);
            let subject = files.of(&op(&record));
            let path = subject.name.as_ref().unwrap().path.to_string();
            (path, subject.place.fs.as_deref().map(str::to_owned))
        };
        assert_eq!(shown(0, 0), ("/a/file".into(), Some("ext4".into())));
        mounted("/b", "vfat");
        // Others went, this one did not.
        assert_eq!(shown(3, 0), ("/a/file".into(), Some("ext4".into())));
        assert_eq!(shown(4, 4), ("/b/file".into(), Some("vfat".into())));
        mounted("/c", "xfs");
        assert_eq!(shown(5, 4), ("/b/file".into(), Some("vfat".into())));
    }

    #[test]
    fn a_device_is_looked_at_when_its_first_name_arrives() {
        let dir = tempfile::tempdir().unwrap();
        let device = dir.path().join("sys/dev/block/259:2");
        let queue = device.join("queue");
        std::fs::create_dir_all(&queue).unwrap();
        std::fs::write(device.join("uevent"), "DEVNAME=x\n").unwrap();
        std::fs::write(queue.join("write_cache"), "write back\n").unwrap();
        let kernel = Kernel::survey(&Root::at(dir.path()), &[]);
        let mut files = Files::new(&kernel);
        let record = record(b"file\0/\0", REGULAR, 0);
        files.learn(&record);
        std::fs::remove_dir_all(&device).unwrap();
        let place = &files.of(&op(&record)).place;
        assert_eq!(place.volatile_cache, Some(true));
    }

    #[test]
    fn the_filesystem_is_the_one_that_came_with_the_name() {
        let kernel = Kernel::survey(&canned("6.1"), &[]);
        let mut files = Files::new(&kernel);
        let mut fs = |name: &[u8], mode| {
            let mut record = record(b"file\0/\0", mode, 0);
            record.fs[..name.len()].copy_from_slice(name);
            files.learn(&record);
            let block_device = mode & S_IFMT == S_IFBLK;
            let on = OpRecord {
                flags: if block_device {
                    OpFlags::BLOCK_DEVICE
                } else {
                    0
                },
                ..op(&record)
            };
            files.of(&on).place.fs.as_deref().map(str::to_owned)
        };
        assert_eq!(fs(b"vfat", REGULAR), Some("vfat".into()));
        assert_eq!(fs(b"", REGULAR), Some("ext4".into()));
        assert_eq!(fs(b"devtmpfs", S_IFBLK), None);
        let of = |mounted: &str| {
            let name = Name {
                path: "".into(),
                bytes: None,
                deleted: false,
                directory: false,
                block_device: false,
                fs: Some("fuse".into()),
                asked: 0.into(),
            };
            name.fs(Some(mounted.into())).unwrap().to_string()
        };
        assert_eq!(of("fuse.sshfs"), "fuse.sshfs");
        assert_eq!(of("fuseblk"), "fuse");
    }

    #[test]
    fn of_too_many_names_those_asked_for_last_stay() {
        let kernel = Kernel::survey(&canned("6.1"), &[]);
        let mut files = Files::new(&kernel);
        let learn = |files: &mut Files<'_>, ino| {
            // Its mount is not looked for.
            let truncated = record(b"file\0", REGULAR, 1);
            files.learn(&FileRecord { ino, ..truncated });
        };
        let known = |files: &mut Files<'_>, ino| {
            let dev = EXT4;
            let op = OpRecord {
                dev,
                ino,
                ..OpRecord::zeroed()
            };
            files.of(&op).name.is_some()
        };
        // Only the first is kept where it is, among the recent answers.
        let inos = (0..MOST_NAMES as u64).map(|i| if i == 0 { 0 } else { 512 * i + 1 });
        inos.clone().for_each(|ino| learn(&mut files, ino));
        assert!(inos.clone().all(|ino| known(&mut files, ino)));
        assert!(known(&mut files, 0));
        learn(&mut files, 2);
        assert!(known(&mut files, 0) && known(&mut files, 2));
        assert!(!known(&mut files, 513));
    }

    /// What is written back is of a file, whichever mounts it was opened by, and of a device, whichever node.
    #[test]
    fn a_file_has_a_name_for_each_mount() {
        let kernel = Kernel::survey(&canned("6.1"), &[]);
        let mut files = Files::new(&kernel);
        let one = record(b"a\0", REGULAR, 0);
        files.learn(&one);
        files.learn(&FileRecord { mount: 99, ..one });
        files.learn(&FileRecord {
            generation: 5,
            ..record(b"b\0", REGULAR, 0)
        });
        files.learn(&record(b"nvme\0", S_IFBLK | 0o600, 0));
        let names = files.names();
        let of = |ino, generation, block| {
            let key = WritebackKey::new(EXT4, ino, generation, block);
            names.get(&key).map_or(0, Vec::len)
        };
        assert_eq!(of(12, 5, false), 1);
        assert_eq!(of(12, 6, false), 0);
        assert_eq!(of(77, 0, true), 1);
        // The node took the first one's key.
        assert_eq!(of(12, 0, false), 1);
        drop(names);
        for ino in 0..=MOST_NAMES as u64 {
            files.learn(&FileRecord { ino, ..one });
        }
        assert!(files.names().is_empty(), "of some the name may be gone");
    }
}
