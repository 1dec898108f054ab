//! # What the unit tests share

use crate::file::{File, OpenOptions};
use crate::mode::Mode;

/// A directory on the disk that holds the build, because `/tmp` may be a tmpfs.
pub(crate) fn directory() -> tempfile::TempDir {
    let build = std::env::current_exe().unwrap();
    tempfile::tempdir_in(build.parent().unwrap()).unwrap()
}

/// A new, empty file in `mode`, open for writing.
pub(crate) fn fresh(directory: &tempfile::TempDir, mode: Mode) -> File {
    options(mode).open(directory.path().join("file")).unwrap()
}

pub(crate) fn options(mode: Mode) -> OpenOptions {
    OpenOptions::new(mode).write(true).create(true)
}

pub(crate) fn mode(text: &str) -> Mode {
    text.parse().unwrap()
}

/// Numbers that look random and are the same for the same seed (splitmix64).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to `limit` - 1.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    /// Runs `body` with `count` seeds; a case that fails says its seed. ODIO_SEED runs that case alone.
    pub(crate) fn cases(count: u64, body: impl Fn(&mut Random)) {
        struct Say(u64);
        impl Drop for Say {
            fn drop(&mut self) {
                if std::thread::panicking() {
                    eprintln!("the case of ODIO_SEED={} failed", self.0);
                }
            }
        }
        let one = std::env::var("ODIO_SEED")
            .ok()
            .map(|seed| seed.parse().unwrap());
        for seed in one.map_or(0..count, |seed: u64| seed..seed + 1) {
            let _say = Say(seed);
            body(&mut Random::new(seed));
        }
    }
}
