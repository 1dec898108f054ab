//! # Flags of one request
//!
//! What a single read or write asks for beyond its file's mode. Pure values: this module makes no system call.

use std::fmt;
use std::ops::BitOr;

use crate::contract::SyncKind;

/// What one read or write asks for beyond the mode of its file.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Flags(u32);

impl Flags {
    /// Nothing more.
    pub const NONE: Flags = Flags(0);
    /// This write as in a mode with `dsync`: `RWF_DSYNC`, Linux 4.7.
    pub const DSYNC: Flags = Flags(1);
    /// This write as in a mode with `sync`: `RWF_SYNC`, Linux 4.7.
    pub const SYNC: Flags = Flags(2);
    /// Fail with `EAGAIN` rather than wait for a lock, a transaction or memory: `RWF_NOWAIT`, Linux 4.14. The bytes
    /// that could be moved without waiting are reported, so fewer than asked for do not mean the end of the file.
    pub const NOWAIT: Flags = Flags(4);
    /// This write is there whole or not at all after a power cut: `RWF_ATOMIC`, Linux 6.11, within the limits of the
    /// file.
    pub const ATOMIC: Flags = Flags(8);
    /// Drop the page cache's copy when it has been written or read: `RWF_DONTCACHE`, Linux 6.14; for buffered files.
    pub const DONTCACHE: Flags = Flags(16);
    /// All of this write, and then an fdatasync, as one request with one result.
    pub const THEN_DATASYNC: Flags = Flags(32);
    /// All of this write, and then an fsync, as one request with one result.
    pub const THEN_SYNC: Flags = Flags(64);

    /// Every flag.
    pub const ALL: [Flags; 7] = [
        Flags::DSYNC,
        Flags::SYNC,
        Flags::NOWAIT,
        Flags::ATOMIC,
        Flags::DONTCACHE,
        Flags::THEN_DATASYNC,
        Flags::THEN_SYNC,
    ];

    /// From the numbers above; `None` where a bit is not among them.
    pub const fn from_bits(bits: u32) -> Option<Flags> {
        if bits < 128 { Some(Flags(bits)) } else { None }
    }

    /// The numbers above.
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Whether nothing is asked for.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether all of `other` is here.
    pub const fn has(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }

    /// The sync that ends the request, if any.
    pub const fn then(self) -> Option<SyncKind> {
        if self.has(Flags::THEN_SYNC) {
            Some(SyncKind::Full)
        } else if self.has(Flags::THEN_DATASYNC) {
            Some(SyncKind::Data)
        } else {
            None
        }
    }

    /// The kernel's `RWF_` bits.
    pub(crate) const fn kernel(self) -> i32 {
        // uapi/linux/fs.h; libc does not name the newer ones.
        const PAIRS: [(Flags, i32); 5] = [
            (Flags::DSYNC, 0x02),
            (Flags::SYNC, 0x04),
            (Flags::NOWAIT, 0x08),
            (Flags::ATOMIC, 0x40),
            (Flags::DONTCACHE, 0x80),
        ];
        let (mut bits, mut at) = (0, 0);
        while at < PAIRS.len() {
            if self.has(PAIRS[at].0) {
                bits |= PAIRS[at].1;
            }
            at += 1;
        }
        bits
    }

    const fn name(self) -> &'static str {
        match self {
            Flags::DSYNC => "DSYNC",
            Flags::SYNC => "SYNC",
            Flags::NOWAIT => "NOWAIT",
            Flags::ATOMIC => "ATOMIC",
            Flags::DONTCACHE => "DONTCACHE",
            Flags::THEN_DATASYNC => "THEN_DATASYNC",
            _ => "THEN_SYNC",
        }
    }
}

impl BitOr for Flags {
    type Output = Flags;

    fn bitor(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }
}

impl fmt::Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = Flags::ALL
            .into_iter()
            .filter(|&each| self.has(each))
            .map(Flags::name)
            .collect();
        f.pad(&names.join("+"))
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Flags({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_flag_has_a_bit_of_its_own_and_a_name() {
        let mut seen = 0;
        for flag in Flags::ALL {
            assert_eq!(flag.bits().count_ones(), 1);
            assert_eq!(seen & flag.bits(), 0, "{flag}");
            seen |= flag.bits();
        }
        assert_eq!(Flags::from_bits(seen), Some(Flags(seen)));
        assert_eq!(Flags::from_bits(seen + 1), None);
        assert_eq!((Flags::DSYNC | Flags::NOWAIT).to_string(), "DSYNC+NOWAIT");
    }

    #[test]
    fn the_kernel_is_told_its_own_bits_and_nothing_of_ours() {
        assert_eq!(Flags::DSYNC.kernel(), libc::RWF_DSYNC);
        assert_eq!(Flags::SYNC.kernel(), libc::RWF_SYNC);
        assert_eq!(Flags::NOWAIT.kernel(), libc::RWF_NOWAIT);
        assert_eq!((Flags::ATOMIC | Flags::DONTCACHE).kernel(), 0xc0);
        assert_eq!((Flags::THEN_DATASYNC | Flags::THEN_SYNC).kernel(), 0);
    }

    #[test]
    fn the_stronger_of_two_closing_syncs_is_the_one() {
        assert_eq!(Flags::NONE.then(), None);
        assert_eq!(Flags::THEN_DATASYNC.then(), Some(SyncKind::Data));
        assert_eq!(
            (Flags::THEN_DATASYNC | Flags::THEN_SYNC).then(),
            Some(SyncKind::Full)
        );
    }
}
