//! # Files whose requests nobody sees
//!
//! An op begins where a filesystem's own function for reads or writes is entered, and only functions that are known by
//! name have a probe. What traced processes opened is held against those, so that requests elsewhere do not pass in
//! silence. Pure.

use std::collections::BTreeMap;

use odio_trace_common::{Hook, OpenedKey};
use serde::{Deserialize, Serialize};

use crate::{
    kernel::{Dev, Kernel, Symbols},
    plan::Probe,
};

/// Filesystems whose files are no data on a device: what they are asked is answered by the kernel, or is in memory.
/// Nor overlayfs, which passes requests on to layers below that are watched or not: that is not looked at. From
/// linux/magic.h.
const NO_STORAGE: &[u64] = &[
    0x0000_1cd1, // devpts
    0x0000_9fa0, // proc
    0x0027_e0eb, // cgroup
    0x0102_1994, // tmpfs, devtmpfs, and what memfd_create(2) makes
    0x0904_1934, // anonymous inodes
    0x1980_0202, // mqueue
    0x4249_4e4d, // binfmt_misc
    0x6165_676c, // pstore
    0x6265_6570, // configfs
    0x6265_6572, // sysfs
    0x6367_7270, // cgroup2
    0x6462_6720, // debugfs
    0x6e73_6673, // nsfs
    0x7363_6673, // securityfs
    0x7472_6163, // tracefs
    0x794c_7630, // overlayfs
    0x8584_58f6, // ramfs
    0x9584_58f6, // hugetlbfs
    0xcafe_4a11, // bpf
    0xde5e_81e4, // efivarfs
    0xf97c_ff8c, // selinuxfs
];

const O_RDONLY: u32 = 0;
const O_WRONLY: u32 = 1;
const O_RDWR: u32 = 2;

/// Files of one filesystem that were opened and are not watched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Unwatched {
    /// Type of filesystem as mounted, or its number in statfs(2).
    pub(crate) fs: String,
    /// How often one of its files was opened.
    pub(crate) opens: u64,
}

/// What of `opened` is not watched by these probes; `None` where that cannot be told, because addresses are hidden.
pub(crate) fn of(
    opened: &[(OpenedKey, u64)],
    kernel: &Kernel,
    attached: &[Probe],
) -> Option<Vec<Unwatched>> {
    let symbols = match &kernel.symbols {
        Ok(symbols) if !symbols.addresses_hidden => symbols,
        _ => return None,
    };
    let mut all: BTreeMap<String, u64> = BTreeMap::new();
    for (key, files) in opened {
        let reads = [O_RDONLY, O_RDWR].contains(&key.access);
        let writes = [O_WRONLY, O_RDWR].contains(&key.access);
        let watched = |hook, address| is_watched(symbols, attached, hook, address);
        let seen = (!reads || watched(Hook::ReadBegin, key.read_iter))
            && (!writes || watched(Hook::WriteBegin, key.write_iter));
        if seen || NO_STORAGE.contains(&key.magic) {
            continue;
        }
        let fs = kernel.storage().fs_type(Dev::from_kernel(key.dev));
        let fs = fs.map_or_else(|| format!("filesystem {:#x}", key.magic), Into::into);
        *all.entry(fs).or_default() += files;
    }
    let each = all.into_iter();
    Some(each.map(|(fs, opens)| Unwatched { fs, opens }).collect())
}

fn is_watched(symbols: &Symbols, attached: &[Probe], hook: Hook, address: u64) -> bool {
    let mut probes = attached.iter().filter(|probe| probe.hook == hook);
    probes.any(|probe| {
        symbols
            .exact(&probe.target)
            .is_some_and(|mut all| all.any(|symbol| symbol.address == address))
    })
}

#[cfg(test)]
mod tests;
