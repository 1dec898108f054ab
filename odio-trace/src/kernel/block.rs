//! # What a block device says of itself
//!
//! Reads sysfs. These are the device's claims and the administrator's settings, not proof: a drive may lie about its
//! cache, and `write_cache` can be overridden by writing to it.

use super::dev::Dev;
use super::root::{Root, Seen, Unseen, Why};

/// A block device. What this kernel does not tell is `None`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Block {
    /// `nvme0n1p1`.
    pub(crate) name: String,
    /// The whole disk, if this is a partition of it: its queue is where the rest comes from.
    pub(crate) disk: Option<String>,
    pub(crate) write_cache: Option<WriteCache>,
    /// Whether writes may carry FUA. Kernels 6.1 and 6.12 leave it on when `write_cache` is set to write through, where
    /// it has no effect.
    pub(crate) fua: Option<bool>,
    /// Whether its driver is given requests. A device without takes bios as they are: one that is made of others (dm,
    /// mostly md), or memory.
    pub(crate) requests: bool,
    /// In bytes: what offset and length of direct I/O are to be multiples of.
    pub(crate) logical_block_size: Option<u32>,
    /// In bytes: what the device writes without reading first.
    pub(crate) physical_block_size: Option<u32>,
    /// In bytes: what the address of a buffer is to be a multiple of, from the device's point of view. (The kernel
    /// writes it as a mask, one less.) Since 6.1.
    pub(crate) dma_alignment: Option<u32>,
}

/// Whether the kernel takes the device to have a volatile write cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WriteCache {
    /// Volatile: a completed write survives a power cut only after a flush, or with FUA.
    WriteBack,
    /// None, or one that keeps what it holds.
    WriteThrough,
}

impl WriteCache {
    /// From `queue/write_cache`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text.trim() {
            "write back" => Some(Self::WriteBack),
            "write through" => Some(Self::WriteThrough),
            _ => None,
        }
    }
}

/// A number of a device's queue.
fn number(text: &str) -> Option<u32> {
    text.trim().parse().ok()
}

/// From `queue/dma_alignment`, which is a mask.
pub(crate) fn dma_alignment(text: &str) -> Option<u32> {
    number(text)?
        .checked_add(1)
        .filter(|bytes| bytes.is_power_of_two())
}

/// What the kernel believes of the write cache under a filesystem. On several devices it is volatile where one is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Cache {
    pub(crate) volatile: Option<bool>,
    /// Whether a write may carry FUA to every device.
    pub(crate) fua: Option<bool>,
    /// Whether the driver of every device is given requests.
    pub(crate) requests: Option<bool>,
}

impl Cache {
    /// Of these devices together; nothing is known of none.
    pub(crate) fn of(devices: &[Block]) -> Self {
        let is = |device: &Block, cache| device.write_cache == Some(cache);
        Self {
            volatile: if devices.iter().any(|d| is(d, WriteCache::WriteBack)) {
                Some(true)
            } else {
                let none = devices.iter().all(|d| is(d, WriteCache::WriteThrough));
                (none && !devices.is_empty()).then_some(false)
            },
            fua: if devices.iter().any(|d| d.fua == Some(false)) {
                Some(false)
            } else {
                let every = devices.iter().all(|d| d.fua == Some(true));
                (every && !devices.is_empty()).then_some(true)
            },
            requests: (!devices.is_empty()).then(|| devices.iter().all(|d| d.requests)),
        }
    }
}

impl Block {
    /// The devices of the btrfs filesystem that has one of this name; `None` where sysfs does not tell.
    pub(crate) fn of_btrfs(root: &Root, name: &str) -> Option<Vec<Self>> {
        let filesystems = root.path("/sys/fs/btrfs").read_dir().ok()?;
        let devices = filesystems
            .flatten()
            .map(|filesystem| filesystem.path().join("devices"))
            .find(|devices| devices.join(name.replace('/', "!")).exists())?;
        devices
            .read_dir()
            .ok()?
            .map(|device| {
                let dev = std::fs::read_to_string(device.ok()?.path().join("dev")).ok()?;
                Self::read(root, dev.trim().parse().ok()?).ok()
            })
            .collect()
    }

    /// The device with this number. Filesystems without a device of their own (btrfs, tmpfs, NFS) have numbers that no
    /// block device has; those are `Why::Absent`.
    pub(crate) fn read(root: &Root, dev: Dev) -> Seen<Self> {
        let link = format!("/sys/dev/block/{dev}");
        // The links are relative, so they resolve below any root.
        let path = root
            .path(&link)
            .canonicalize()
            .map_err(|error| Unseen::io(&link, &error))?;
        let name_of = |path: &std::path::Path| {
            path.file_name()
                .map(|name| name.to_string_lossy().into_owned())
                // Device names with a slash have an exclamation mark in sysfs.
                .map(|name| name.replace('!', "/"))
                .ok_or_else(|| Unseen::garbled(&link, "it leads to no device"))
        };
        let name = name_of(&path)?;
        let (disk, whole) = if path.join("partition").exists() {
            let disk = path
                .parent()
                .ok_or_else(|| Unseen::garbled(&link, "a partition of no disk"))?;
            (Some(name_of(disk)?), disk)
        } else {
            (None, path.as_path())
        };
        let queue = whole.join("queue");
        if !queue.is_dir() {
            return Err(Unseen::new(format!("{link}/queue"), Why::Absent));
        }
        let text = |file: &str| std::fs::read_to_string(queue.join(file)).ok();
        let number = |file: &str| number(&text(file)?);
        Ok(Self {
            name,
            disk,
            write_cache: text("write_cache").and_then(|text| WriteCache::parse(&text)),
            fua: number("fua").map(|fua| fua != 0),
            // Its hardware queues, which only what takes requests has (`blk_mq_sysfs_register`).
            requests: whole.join("mq").is_dir(),
            logical_block_size: number("logical_block_size"),
            physical_block_size: number("physical_block_size"),
            dma_alignment: text("dma_alignment").and_then(|text| dma_alignment(&text)),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::super::canned;
    use super::*;

    fn dev(text: &str) -> Dev {
        text.parse().unwrap()
    }

    #[test]
    fn a_disk_with_a_write_cache() {
        let disk = Block::read(&canned("6.1"), dev("259:2")).unwrap();
        assert_eq!(
            disk,
            Block {
                name: "nvme0n1".into(),
                disk: None,
                write_cache: Some(WriteCache::WriteBack),
                fua: Some(true),
                requests: true,
                logical_block_size: Some(512),
                physical_block_size: Some(512),
                dma_alignment: Some(4),
            }
        );
    }

    #[test]
    fn a_partition_has_its_disks_queue() {
        let part = Block::read(&canned("6.1"), dev("259:3")).unwrap();
        assert_eq!(part.name, "nvme2n1p1");
        assert_eq!(part.disk.as_deref(), Some("nvme2n1"));
        assert_eq!(part.write_cache, Some(WriteCache::WriteBack));
        assert_eq!(part.dma_alignment, Some(4));
    }

    #[test]
    fn an_older_kernel_tells_less() {
        let disk = Block::read(&canned("5.10"), dev("259:0")).unwrap();
        assert_eq!(disk.dma_alignment, None);
        assert_eq!(disk.logical_block_size, Some(512));
    }

    #[test]
    fn a_mask_that_is_none_tells_nothing() {
        assert_eq!(dma_alignment("511\n"), Some(512));
        for text in ["4\n", "4294967295\n", "-1\n", "", "none\n"] {
            assert_eq!(dma_alignment(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_number_without_a_device_is_absent() {
        let error = Block::read(&canned("6.1"), dev("0:45")).unwrap_err();
        assert_eq!(error.why, Why::Absent);
        assert_eq!(error.to_string(), "/sys/dev/block/0:45 does not exist");
    }

    #[test]
    fn several_devices_are_as_safe_as_the_worst() {
        let disk = Block::read(&canned("6.1"), dev("259:2")).unwrap();
        let with = |write_cache, fua| Block {
            write_cache,
            fua,
            ..disk.clone()
        };
        let (back, through) = (Some(WriteCache::WriteBack), Some(WriteCache::WriteThrough));
        let cache = |devices: &[Block]| {
            let cache = Cache::of(devices);
            (cache.volatile, cache.fua)
        };
        assert_eq!(cache(&[]), (None, None));
        assert_eq!(cache(&[with(back, Some(true))]), (Some(true), Some(true)));
        let (safe, unsafe_one) = (with(through, Some(true)), with(back, Some(false)));
        assert_eq!(
            cache(&[safe.clone(), safe.clone()]),
            (Some(false), Some(true))
        );
        assert_eq!(
            cache(&[safe.clone(), unsafe_one.clone()]),
            (Some(true), Some(false))
        );
        assert_eq!(cache(&[safe.clone(), with(None, None)]), (None, None));
        let stacked = Block {
            requests: false,
            ..safe.clone()
        };
        assert_eq!(Cache::of(&[]).requests, None);
        assert_eq!(
            Cache::of(&[safe.clone(), safe.clone()]).requests,
            Some(true)
        );
        assert_eq!(Cache::of(&[safe, stacked]).requests, Some(false));
        assert_eq!(
            cache(&[with(None, None), unsafe_one]),
            (Some(true), Some(false))
        );
    }

    #[test]
    fn btrfs_lists_its_devices() {
        let dir = tempfile::tempdir().unwrap();
        let devices = dir.path().join("sys/fs/btrfs/0123/devices");
        fs::create_dir_all(&devices).unwrap();
        for (name, number, cache) in [
            ("sda", "8:0", "write through"),
            ("sdb", "8:16", "write back"),
        ] {
            let disk = dir.path().join("sys/block").join(name);
            fs::create_dir_all(disk.join("queue")).unwrap();
            fs::write(disk.join("dev"), format!("{number}\n")).unwrap();
            fs::write(disk.join("queue/write_cache"), cache).unwrap();
            symlink(&disk, devices.join(name)).unwrap();
            let numbers = dir.path().join("sys/dev/block");
            fs::create_dir_all(&numbers).unwrap();
            symlink(&disk, numbers.join(number)).unwrap();
        }
        let root = Root::at(dir.path());
        let found = Block::of_btrfs(&root, "sdb").unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!(Cache::of(&found).volatile, Some(true));
        assert_eq!(Block::of_btrfs(&root, "sdc"), None);
        // A device that is listed and not known leaves all unknown.
        fs::remove_file(dir.path().join("sys/dev/block/8:0")).unwrap();
        assert_eq!(Block::of_btrfs(&root, "sdb"), None);
    }

    #[test]
    fn what_is_not_understood_is_not_made_up() {
        let dir = tempfile::tempdir().unwrap();
        let queue = dir.path().join("sys/devices/cciss!c0d0/queue");
        fs::create_dir_all(&queue).unwrap();
        fs::create_dir_all(dir.path().join("sys/dev/block")).unwrap();
        symlink(
            "../../devices/cciss!c0d0",
            dir.path().join("sys/dev/block/104:0"),
        )
        .unwrap();
        let write = |file: &str, text: &str| fs::write(queue.join(file), text).unwrap();
        write("write_cache", "write sideways\n");
        write("fua", "0\n");
        write("dma_alignment", "4294967295\n");
        write("logical_block_size", "big\n");
        let disk = Block::read(&Root::at(dir.path()), dev("104:0")).unwrap();
        assert_eq!(disk.name, "cciss/c0d0");
        assert_eq!(disk.write_cache, None);
        assert_eq!(disk.fua, Some(false));
        assert!(!disk.requests);
        assert_eq!(disk.dma_alignment, None);
        assert_eq!(disk.logical_block_size, None);
        write("write_cache", "write through\n");
        let disk = Block::read(&Root::at(dir.path()), dev("104:0")).unwrap();
        assert_eq!(disk.write_cache, Some(WriteCache::WriteThrough));
        fs::remove_dir_all(&queue).unwrap();
        assert!(Block::read(&Root::at(dir.path()), dev("104:0")).is_err());
    }
}
