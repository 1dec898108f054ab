//! What a recording says of the machine it is from.

use std::{collections::BTreeMap, path::Path};

use serde::{Deserialize, Serialize};

use super::{VERSION, WITH_WRITEBACK};
use crate::{
    kernel::{Dev, Kernel, config},
    output::{summary::Unseen, text::printable},
    plan::{self, Plan},
};

/// The first line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Header {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) version: u32,
    /// Version of the tool that wrote it.
    pub(crate) tracer: String,
    /// What the doctor says of the kernel first, by name.
    pub(crate) kernel: BTreeMap<String, String>,
    /// Where the kernel's configuration was read, and the options that bear on tracing; null where it was not seen.
    pub(crate) config: Option<Configured>,
    /// Functions that tell the probes what an object is, and whether this kernel shows each one's address.
    pub(crate) symbols: BTreeMap<String, bool>,
    /// Every function that a probe may go to, and whether it could here.
    pub(crate) functions: BTreeMap<String, String>,
    /// Members of structures that this kernel does not have.
    pub(crate) absent_members: Vec<String>,
    /// The plan: what became of it is in the summary.
    pub(crate) planned: Vec<Planned>,
    pub(crate) not_planned: Vec<Unseen>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Configured {
    pub(crate) source: String,
    pub(crate) options: BTreeMap<String, bool>,
}

/// A probe that was to be attached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Planned {
    pub(crate) hook: String,
    pub(crate) kind: String,
    pub(crate) target: String,
}

impl Header {
    /// Whether what was written back, and how the command ended, is in the recording.
    pub(crate) fn has_writeback(&self) -> bool {
        self.version >= WITH_WRITEBACK
    }

    pub(super) fn of(kernel: &Kernel, plan: &Plan) -> Self {
        Self {
            kind: "recording".into(),
            version: VERSION,
            tracer: env!("CARGO_PKG_VERSION").into(),
            kernel: kernel
                .facts()
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
            config: kernel.config.as_ref().ok().map(|config| Configured {
                source: config.source.display().to_string(),
                options: config::KEYS
                    .iter()
                    .map(|key| ((*key).to_owned(), config.on(key)))
                    .collect(),
            }),
            symbols: plan::SYMBOLS
                .iter()
                .map(|name| ((*name).to_owned(), kernel.address(name).is_some()))
                .collect(),
            functions: plan::functions()
                .map(|name| (name.to_owned(), kernel.kprobe(name).to_string()))
                .collect(),
            absent_members: kernel.absent_members(),
            planned: plan
                .probes
                .iter()
                .map(|probe| Planned {
                    hook: probe.hook.name().into(),
                    kind: probe.kind.name().into(),
                    target: probe.target.clone(),
                })
                .collect(),
            not_planned: plan.missing.iter().map(Unseen::from).collect(),
        }
    }
}

/// What a filesystem or block device is, as the kernel says. What it does not say is null.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Device {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    /// As in the ops.
    pub(crate) dev: Dev,
    pub(crate) fs: Option<String>,
    pub(crate) mount: Option<String>,
    pub(crate) read_only: bool,
    /// The block device, or several of btrfs.
    pub(crate) device: Option<String>,
    /// The whole disk of a partition.
    pub(crate) disk: Option<String>,
    /// `write-back` or `write-through`.
    pub(crate) write_cache: Option<String>,
    pub(crate) fua: Option<bool>,
    /// In bytes.
    pub(crate) logical_block_size: Option<u32>,
    pub(crate) physical_block_size: Option<u32>,
}

impl Device {
    /// For a person, in one line: `259:3 ext4 at /mnt, nvme0n1p1 (write-back, FUA)`.
    pub(crate) fn words(&self) -> String {
        let mut words = self.dev.to_string();
        if let Some(fs) = &self.fs {
            words += &format!(" {fs}");
        }
        if let Some(mount) = &self.mount {
            words += &format!(" at {mount}");
        }
        if self.read_only {
            words += ", read-only";
        }
        match &self.device {
            Some(device) => {
                let cache = self.write_cache.as_deref().unwrap_or("cache not known");
                let fua = match self.fua {
                    Some(true) => "FUA",
                    Some(false) => "no FUA",
                    None => "FUA not known",
                };
                words += &format!(", on {device} ({cache}, {fua})");
            }
            None => words += ", no block device of its own",
        }
        printable(&words)
    }

    pub(super) fn of(kernel: &Kernel, dev: Dev) -> Self {
        let storage = kernel.storage();
        let devices = storage.devices(dev);
        let cache = storage.write_cache(dev);
        let names: Vec<&str> = devices.iter().map(|block| block.name.as_str()).collect();
        // Sizes are those of a device; of several each has its own.
        let one = match devices.as_slice() {
            [one] => Some(one),
            _ => None,
        };
        Self {
            kind: "device".into(),
            dev,
            fs: storage.fs_type(dev).map(Into::into),
            mount: kernel.mounts.as_ref().ok().and_then(|mounts| {
                let mut mounts = mounts.of_dev(dev);
                let whole = mounts.find(|mount| mount.root == Path::new("/"))?;
                Some(whole.point.to_string_lossy().into_owned())
            }),
            read_only: storage.read_only(dev),
            device: (!names.is_empty()).then(|| names.join(", ")),
            disk: one.and_then(|block| block.disk.clone()),
            write_cache: cache.volatile.map(|volatile| {
                if volatile {
                    "write-back"
                } else {
                    "write-through"
                }
                .into()
            }),
            fua: cache.fua,
            logical_block_size: one.and_then(|block| block.logical_block_size),
            physical_block_size: one.and_then(|block| block.physical_block_size),
        }
    }
}
