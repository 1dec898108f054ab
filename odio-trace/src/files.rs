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
                Place {
                    fs: if block_device {
                        None
                    } else {
                        kernel.fs_type(dev)
                    },
                    block_device,
                    read_only: !block_device && kernel.read_only(dev),
                    volatile_cache: kernel.volatile_cache(dev),
                }
            })
            .clone()
    }
}
