//! # What a mode promises on a file
//!
//! One table of promises, read by the library that keeps them and by whoever checks that they were kept. Pure values:
//! this module makes no system call.

use crate::limits::{Filesystem, Limits, Sourced};
use crate::mode::{Cache, Engine, Mode, Sync, spelled};

/// What a request lands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Situation {
    /// `overwrite`: a write onto blocks that hold data.
    Overwrite,
    /// `unwritten`: a write onto blocks that are allocated and hold none (fallocate).
    Unwritten,
    /// `append`: a write past the end of the file.
    Append,
    /// `hole`: a write inside the file where no block is allocated.
    Hole,
    /// `read`: a read.
    Read,
}

/// Where a write is at the moment it is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Durability {
    /// `page-cache`: in memory only.
    PageCache,
    /// `device-cache`: in the volatile cache of the device.
    DeviceCache,
    /// `uncommitted`: the data left the page cache, but the metadata needed to find it after a crash is not committed.
    Uncommitted,
    /// `durable`: found again after a power cut.
    Durable,
    /// `unknown`: what was seen does not decide it.
    Unknown,
}

impl Situation {
    /// Every situation.
    pub const ALL: [Situation; 5] = [
        Situation::Overwrite,
        Situation::Unwritten,
        Situation::Append,
        Situation::Hole,
        Situation::Read,
    ];

    /// The spelling.
    pub const fn name(self) -> &'static str {
        match self {
            Situation::Overwrite => "overwrite",
            Situation::Unwritten => "unwritten",
            Situation::Append => "append",
            Situation::Hole => "hole",
            Situation::Read => "read",
        }
    }
}

impl Durability {
    /// Every durability.
    pub const ALL: [Durability; 5] = [
        Durability::PageCache,
        Durability::DeviceCache,
        Durability::Uncommitted,
        Durability::Durable,
        Durability::Unknown,
    ];

    /// The spelling, for example `page-cache`.
    pub const fn name(self) -> &'static str {
        match self {
            Durability::PageCache => "page-cache",
            Durability::DeviceCache => "device-cache",
            Durability::Uncommitted => "uncommitted",
            Durability::Durable => "durable",
            Durability::Unknown => "unknown",
        }
    }
}

spelled!(Situation, "situation");
spelled!(Durability, "durability");

/// Which sync ends a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SyncKind {
    /// fdatasync: the data and the metadata needed to find it.
    Data,
    /// fsync: the data and all metadata.
    Full,
}

/// How the kernel may copy direct requests of whole blocks through the page cache without saying so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Fallback {
    situations: &'static [Situation],
    why: &'static str,
}

impl Fallback {
    /// The part of [`Limits::fallback_risk`] that is known by situation and of this machine's own devices.
    fn of(limits: &Limits) -> Option<Fallback> {
        use Situation::{Append, Hole, Overwrite, Unwritten};
        let situations: &'static [Situation] = match limits.filesystem? {
            // An append gets its block in ext4_iomap_alloc, because nobody reads past the end meanwhile.
            Filesystem::EXT4 if limits.without_extents => &[Hole],
            // Reads stay direct (btrfs_direct_read).
            Filesystem::BTRFS if limits.checksums != Some(false) => {
                &[Overwrite, Unwritten, Append, Hole]
            }
            // fat_direct_IO and exfat_direct_IO leave what lies past the written size to the page cache.
            Filesystem {
                magic: 0x4d44 | 0x2011_bab0,
            } => &[Append],
            _ => return None,
        };
        let why = limits.fallback_risk()?;
        Some(Fallback { situations, why })
    }
}

/// Where a write may be of which nothing is promised.
const ANYWHERE: &[Durability] = &[
    Durability::PageCache,
    Durability::Uncommitted,
    Durability::DeviceCache,
    Durability::Durable,
];

/// What a mode promises on one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contract {
    /// The mode.
    pub mode: Mode,
    /// Memory alignment of a request, in bytes; `None` where the mode asks for none.
    pub memory_align: Option<Sourced<u32>>,
    /// Alignment of a request's offset, in bytes; `None` where the mode asks for none.
    pub offset_align: Option<Sourced<u32>>,
    /// Alignment of a request's length, in bytes; `None` where the mode asks for none.
    pub length_align: Option<Sourced<u32>>,
    /// Why nothing is promised to be durable on this file, not even after a sync; `None` where it is promised
    /// ([`Limits::no_promise`]).
    pub no_promise: Option<&'static str>,
    breaks_sync: bool,
    breaks_asynchronous_sync: bool,
    fallback: Option<Fallback>,
    in_memory: bool,
    tried: bool,
}

impl Contract {
    /// The contract of `mode` on a file with these limits.
    pub fn of(mode: Mode, limits: &Limits) -> Contract {
        let direct = mode.cache == Cache::Direct;
        Contract {
            mode,
            memory_align: direct.then_some(limits.memory_align),
            offset_align: direct.then_some(limits.offset_align),
            length_align: direct.then_some(limits.length_align),
            no_promise: limits.no_promise(),
            breaks_sync: limits.breaks_sync(),
            breaks_asynchronous_sync: limits.breaks_asynchronous_sync(),
            fallback: Fallback::of(limits).filter(|_| direct),
            in_memory: limits.filesystem.is_some_and(Filesystem::is_memory),
            tried: limits.is_tried(),
        }
    }

    /// The cache that every request passes or avoids. Under `direct` a silent fallback to the page cache is a breach,
    /// but where [`Contract::fallback`] tells of it.
    pub fn cache(&self) -> Cache {
        self.mode.cache
    }

    /// Why the kernel may copy a direct request of whole blocks through the page cache in this situation, on a file
    /// like this; `None` where it is held to direct I/O, and in buffered modes.
    pub fn fallback(&self, situation: Situation) -> Option<&'static str> {
        let fallback = self.fallback?;
        fallback
            .situations
            .contains(&situation)
            .then_some(fallback.why)
    }

    /// The states in which a write in `situation` may be when it is acknowledged. Stronger than promised is always
    /// allowed. Of a read, nothing is promised; and where [`Contract::no_promise`] says why, no sync makes a write durable.
    pub fn allowed(&self, situation: Situation) -> &'static [Durability] {
        if self.in_memory {
            return &[Durability::PageCache];
        }
        if !self.tried {
            return ANYWHERE;
        }
        let cache = match self.fallback(situation) {
            Some(_) => Cache::Buffered,
            None => self.mode.cache,
        };
        match (self.mode.sync, cache) {
            (Sync::Dsync | Sync::Sync, _) if self.no_promise.is_none() => &[Durability::Durable],
            // It has left the page cache, for all that.
            (Sync::Dsync | Sync::Sync, _) | (Sync::None, Cache::Direct) => &[
                Durability::Uncommitted,
                Durability::DeviceCache,
                Durability::Durable,
            ],
            (Sync::None, Cache::Buffered) => ANYWHERE,
        }
    }

    /// Whether a write in `situation`, seen in that state at its acknowledgement, keeps the contract.
    /// `None` where that is not decided: the state is unknown. A read promises nothing about durability.
    pub fn permits(&self, situation: Situation, seen: Durability) -> Option<bool> {
        match (situation, seen) {
            (Situation::Read, _) => Some(true),
            (_, Durability::Unknown) => None,
            _ => Some(self.allowed(situation).contains(&seen)),
        }
    }

    /// The sync that odio itself adds to a write before it reports its completion, because the kernel acknowledges
    /// such a write too early on this filesystem. [`Engine::Psync`] stands for calls on the caller's thread as well.
    pub fn finishing_sync(&self, engine: Engine) -> Option<SyncKind> {
        let asynchronous = self.mode.cache == Cache::Direct && engine != Engine::Psync;
        let affected = self.breaks_sync || (asynchronous && self.breaks_asynchronous_sync);
        match self.mode.sync {
            Sync::Dsync if affected => Some(SyncKind::Data),
            Sync::Sync if affected => Some(SyncKind::Full),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contract(mode: &str, filesystem: Filesystem) -> Contract {
        Contract::of(mode.parse().unwrap(), &Limits::example(filesystem))
    }

    #[test]
    fn each_mode_allows_exactly_what_it_promises() {
        use Durability::*;
        let table: [(&str, &[Durability]); 6] = [
            ("direct", &[DeviceCache, Uncommitted, Durable]),
            ("direct+dsync", &[Durable]),
            ("direct+sync", &[Durable]),
            ("buffered", &[PageCache, DeviceCache, Uncommitted, Durable]),
            ("buffered+dsync", &[Durable]),
            ("buffered+sync", &[Durable]),
        ];
        for (mode, allowed) in table {
            let contract = contract(mode, Filesystem::EXT4);
            for seen in [PageCache, DeviceCache, Uncommitted, Durable] {
                for situation in [
                    Situation::Overwrite,
                    Situation::Unwritten,
                    Situation::Append,
                    Situation::Hole,
                ] {
                    let expected = Some(allowed.contains(&seen));
                    assert_eq!(
                        contract.permits(situation, seen),
                        expected,
                        "{mode} {situation} {seen}"
                    );
                }
            }
        }
    }

    #[test]
    fn without_a_journal_no_mode_of_ext4_promises_more_than_without_a_sync() {
        use Durability::*;
        let limits = Limits {
            shows_journal: false,
            ..Limits::example(Filesystem::EXT4)
        };
        for mode in Mode::ALL {
            let contract = Contract::of(mode, &limits);
            assert!(contract.no_promise.is_some());
            let seen = |seen| contract.permits(Situation::Overwrite, seen);
            assert_eq!(
                [DeviceCache, Uncommitted, Durable].map(seen),
                [Some(true); 3]
            );
            let plain = mode == "buffered".parse().unwrap();
            assert_eq!(seen(PageCache), Some(plain), "{mode}");
        }
    }

    #[test]
    fn a_direct_write_may_be_in_the_page_cache_only_where_a_fallback_is_told() {
        use Situation::{Append, Overwrite, Read};
        let vfat = Filesystem::VFAT;
        let direct = contract("direct", vfat);
        assert!(direct.fallback(Append).unwrap().contains("vfat"));
        assert_eq!(
            (direct.fallback(Overwrite), direct.fallback(Read)),
            (None, None)
        );
        assert_eq!(direct.permits(Append, Durability::PageCache), Some(true));
        assert_eq!(
            direct.permits(Overwrite, Durability::PageCache),
            Some(false)
        );
        // What is asked to be durable is so, whichever way it takes.
        let dsync = contract("direct+dsync", vfat);
        assert_eq!(dsync.permits(Append, Durability::PageCache), Some(false));
        assert_eq!(contract("buffered", vfat).fallback(Append), None);
        assert_eq!(contract("direct", Filesystem::XFS).fallback(Append), None);

        let mut limits = Limits::example(Filesystem::BTRFS);
        let of =
            |limits: &Limits| Contract::of("direct".parse().unwrap(), limits).fallback(Overwrite);
        assert!(of(&limits).unwrap().contains("checksums"));
        limits.checksums = Some(false);
        assert_eq!(of(&limits), None);
    }

    #[test]
    fn where_no_power_was_cut_a_write_may_be_anywhere() {
        use Durability::*;
        let filesystems = [
            Filesystem::OVERLAYFS,
            Filesystem::F2FS,
            Filesystem { magic: 1 },
        ];
        for filesystem in filesystems {
            for mode in Mode::ALL {
                let contract = Contract::of(mode, &Limits::example(filesystem));
                assert!(contract.no_promise.is_some(), "{filesystem}");
                for seen in [PageCache, DeviceCache, Uncommitted, Durable] {
                    let permitted = contract.permits(Situation::Overwrite, seen);
                    assert_eq!(permitted, Some(true), "{filesystem} {mode} {seen}");
                }
            }
        }
    }

    #[test]
    fn nothing_is_durable_in_memory() {
        for mode in ["buffered", "buffered+sync"] {
            let contract = contract(mode, Filesystem::TMPFS);
            let seen = |state| contract.permits(Situation::Append, state);
            assert_eq!(seen(Durability::PageCache), Some(true));
            assert_eq!(seen(Durability::Durable), Some(false));
        }
    }

    #[test]
    fn unknown_is_never_a_pass() {
        for mode in Mode::ALL {
            let contract = Contract::of(mode, &Limits::example(Filesystem::EXT4));
            assert_eq!(
                contract.permits(Situation::Append, Durability::Unknown),
                None
            );
        }
    }

    #[test]
    fn only_vfat_btrfs_and_what_may_hide_it_need_a_sync_of_our_own() {
        let of = |mode, filesystem, engine| contract(mode, filesystem).finishing_sync(engine);
        for engine in [Engine::Libaio, Engine::IoUring] {
            assert_eq!(
                of("direct+dsync", Filesystem::BTRFS, engine),
                Some(SyncKind::Data)
            );
            assert_eq!(
                of("direct+sync", Filesystem::BTRFS, engine),
                Some(SyncKind::Full)
            );
            assert_eq!(
                of("direct+sync", Filesystem::OVERLAYFS, engine),
                Some(SyncKind::Full)
            );
            assert_eq!(of("direct", Filesystem::BTRFS, engine), None);
            assert_eq!(of("buffered+dsync", Filesystem::BTRFS, engine), None);
            assert_eq!(of("direct+dsync", Filesystem::EXT4, engine), None);
        }
        assert_eq!(of("direct+dsync", Filesystem::BTRFS, Engine::Psync), None);
        for engine in Engine::ALL {
            let of = |mode| of(mode, Filesystem::VFAT, engine);
            assert_eq!(of("direct+dsync"), Some(SyncKind::Data));
            assert_eq!(of("buffered+sync"), Some(SyncKind::Full));
            assert_eq!((of("direct"), of("buffered")), (None, None));
        }
    }

    #[test]
    fn buffered_modes_ask_for_no_alignment() {
        assert_eq!(
            contract("buffered+sync", Filesystem::EXT4).memory_align,
            None
        );
        let align = contract("direct", Filesystem::EXT4).memory_align;
        assert_eq!(align.map(|align| align.value), Some(512));
    }

    #[test]
    fn spellings_are_the_documented_ones() {
        assert_eq!(
            Durability::ALL.map(Durability::name),
            [
                "page-cache",
                "device-cache",
                "uncommitted",
                "durable",
                "unknown"
            ]
        );
        assert_eq!(
            Situation::ALL.map(Situation::name),
            ["overwrite", "unwritten", "append", "hole", "read"]
        );
    }
}
