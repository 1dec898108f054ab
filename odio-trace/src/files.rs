//! # Which file and device a record means
//!
//! Puts together what the programs send once per file (the names up to the root of its filesystem) with where
//! that filesystem is mounted, and what its device is.

use std::collections::HashMap;

use odio_trace_common::FileRecord;

use crate::{
    kernel::{Dev, Kernel},
    verdict::Place,
};

/// Names and places learnt so far.
pub(crate) struct Files<'a> {
    kernel: &'a Kernel,
    names: HashMap<(u32, u64), String>,
    places: HashMap<(u32, bool), Place>,
}

impl<'a> Files<'a> {
    pub(crate) fn new(kernel: &'a Kernel) -> Self {
        Self {
            kernel,
            names: HashMap::new(),
            places: HashMap::new(),
        }
    }

    /// Learns a name.
    pub(crate) fn learn(&mut self, record: &FileRecord) {
        const S_IFMT: u32 = 0o170_000;
        const S_IFBLK: u32 = 0o060_000;
        let used = record.names.len().min(record.names_len as usize);
        let mut names: Vec<String> = record.names[..used]
            .split(|&b| b == 0)
            .filter(|name| !name.is_empty() && *name != b"/")
            .map(|name| String::from_utf8_lossy(name).into_owned())
            .collect();
        names.reverse();
        let inside = names.join("/");
        // A block device's node lies in devtmpfs, whatever device it stands for.
        let mount = if record.mode & S_IFMT == S_IFBLK {
            Some("/dev".to_owned())
        } else {
            self.kernel.mount_point(Dev::from_kernel(record.dev))
        };
        let path = match mount {
            _ if record.truncated != 0 => format!(".../{inside}"),
            Some(mount) => format!("{}/{inside}", mount.trim_end_matches('/')),
            None => inside,
        };
        self.names.insert((record.dev, record.ino), path);
    }

    /// The path of a file, where its name was seen.
    pub(crate) fn name(&self, dev: u32, ino: u64) -> Option<String> {
        self.names.get(&(dev, ino)).cloned()
    }

    /// What a file lies on.
    pub(crate) fn place(&mut self, dev: u32, block_device: bool) -> Place {
        let kernel = self.kernel;
        self.places
            .entry((dev, block_device))
            .or_insert_with(|| {
                let dev = Dev::from_kernel(dev);
                let cache = kernel.write_cache(dev);
                Place {
                    fs: if block_device {
                        None
                    } else {
                        kernel.fs_type(dev)
                    },
                    block_device,
                    read_only: !block_device && kernel.read_only(dev),
                    volatile_cache: cache.volatile,
                    fua: cache.fua,
                }
            })
            .clone()
    }
}

#[cfg(test)]
mod tests {
    use bytemuck::Zeroable;

    use super::*;
    use crate::kernel::canned;

    /// The ext4 filesystem of the canned kernel.
    const EXT4: u32 = 259 << 20 | 2;

    fn record(names: &[u8], mode: u32, truncated: u32) -> FileRecord {
        let mut record = FileRecord {
            dev: EXT4,
            ino: 12,
            names_len: names.len() as u32,
            truncated,
            mode,
            ..FileRecord::zeroed()
        };
        record.names[..names.len()].copy_from_slice(names);
        record
    }

    fn name(record: &FileRecord) -> String {
        let kernel = Kernel::survey(&canned("6.1"), &[]);
        let mut files = Files::new(&kernel);
        files.learn(record);
        files.name(record.dev, record.ino).unwrap()
    }

    const REGULAR: u32 = 0o100_644;

    /// Where the canned kernel has its ext4 filesystem.
    fn mount() -> String {
        Kernel::survey(&canned("6.1"), &[])
            .mount_point(Dev::from_kernel(EXT4))
            .unwrap()
    }

    #[test]
    fn names_go_from_the_file_to_the_root_of_its_mount() {
        let path = name(&record(b"file\0dir\0/\0", REGULAR, 0));
        assert_eq!(path, format!("{}/dir/file", mount()));
        assert!(mount().contains(' '), "{:?}", mount());
    }

    #[test]
    fn a_path_that_did_not_fit_says_so() {
        assert_eq!(name(&record(b"file\0dir\0", REGULAR, 1)), ".../dir/file");
    }

    #[test]
    fn odd_bytes_are_kept_or_replaced_but_never_dropped() {
        let path = name(&record(b"a\xffb\nc\0/\0", REGULAR, 0));
        assert_eq!(path, format!("{}/a\u{fffd}b\nc", mount()));
    }

    #[test]
    fn a_length_past_the_record_is_cut() {
        let mut record = record(b"file\0/\0", REGULAR, 0);
        record.names_len = u32::MAX;
        assert_eq!(name(&record), format!("{}/file", mount()));
    }

    #[test]
    fn a_block_device_is_named_by_its_node() {
        assert_eq!(name(&record(b"nvme0n1\0/\0", 0o060_660, 0)), "/dev/nvme0n1");
    }

    #[test]
    fn a_filesystem_that_is_not_mounted_here_gives_the_bare_path() {
        let mut elsewhere = record(b"file\0dir\0/\0", REGULAR, 0);
        elsewhere.dev = 4000 << 20;
        assert_eq!(name(&elsewhere), "dir/file");
    }

    #[test]
    fn places_are_told_apart() {
        let kernel = Kernel::survey(&canned("6.1"), &[]);
        let mut files = Files::new(&kernel);
        let place = files.place(EXT4, false);
        assert_eq!(place.fs.as_deref(), Some("ext4"));
        assert_eq!(place.volatile_cache, Some(true));
        assert!(!place.block_device && !place.read_only);
        let raw = files.place(EXT4, true);
        assert!(raw.block_device && raw.fs.is_none());
        assert_eq!(files.place(4000 << 20, false).volatile_cache, None);
    }
}
