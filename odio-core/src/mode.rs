//! # Cache, sync and engine, as asked for
//!
//! Pure values: this module makes no system call. The spellings are the ones every other part of odio prints and reads.

/// Where the bytes pass through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Cache {
    /// `direct`: between the caller's memory and the device (`O_DIRECT`).
    Direct,
    /// `buffered`: through the page cache.
    Buffered,
}

/// What an acknowledged write has already been through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Sync {
    /// `none`: nothing is promised until a sync request.
    None,
    /// `dsync`: each write ends as if by fdatasync (`O_DSYNC`).
    Dsync,
    /// `sync`: each write ends as if by fsync (`O_SYNC`).
    Sync,
}

/// Cache and sync together, written `direct`, `direct+dsync`, ..., `buffered+sync`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mode {
    /// Where the bytes pass through.
    pub cache: Cache,
    /// What an acknowledged write has already been through.
    pub sync: Sync,
}

/// The kernel interface that carries the requests of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Engine {
    /// `psync`: pread and pwrite on worker threads.
    Psync,
    /// `libaio`: io_submit and io_getevents, without the library of that name.
    Libaio,
    /// `io_uring`: a submission and a completion ring shared with the kernel.
    IoUring,
}

impl Cache {
    /// Every cache kind.
    pub const ALL: [Cache; 2] = [Cache::Direct, Cache::Buffered];

    /// The spelling, `direct` or `buffered`.
    pub const fn name(self) -> &'static str {
        match self {
            Cache::Direct => "direct",
            Cache::Buffered => "buffered",
        }
    }
}

impl Sync {
    /// Every sync kind.
    pub const ALL: [Sync; 3] = [Sync::None, Sync::Dsync, Sync::Sync];

    /// The spelling, `none`, `dsync` or `sync`.
    pub const fn name(self) -> &'static str {
        match self {
            Sync::None => "none",
            Sync::Dsync => "dsync",
            Sync::Sync => "sync",
        }
    }
}

impl Mode {
    /// Every mode, direct ones first.
    pub const ALL: [Mode; 6] = [
        Mode::new(Cache::Direct, Sync::None),
        Mode::new(Cache::Direct, Sync::Dsync),
        Mode::new(Cache::Direct, Sync::Sync),
        Mode::new(Cache::Buffered, Sync::None),
        Mode::new(Cache::Buffered, Sync::Dsync),
        Mode::new(Cache::Buffered, Sync::Sync),
    ];

    /// Puts a mode together.
    pub const fn new(cache: Cache, sync: Sync) -> Mode {
        Mode { cache, sync }
    }

    /// The spelling, for example `direct+dsync`.
    pub const fn name(self) -> &'static str {
        match (self.cache, self.sync) {
            (Cache::Direct, Sync::None) => "direct",
            (Cache::Direct, Sync::Dsync) => "direct+dsync",
            (Cache::Direct, Sync::Sync) => "direct+sync",
            (Cache::Buffered, Sync::None) => "buffered",
            (Cache::Buffered, Sync::Dsync) => "buffered+dsync",
            (Cache::Buffered, Sync::Sync) => "buffered+sync",
        }
    }
}

impl Engine {
    /// Every engine.
    pub const ALL: [Engine; 3] = [Engine::Psync, Engine::Libaio, Engine::IoUring];

    /// The spelling, `psync`, `libaio` or `io_uring`.
    pub const fn name(self) -> &'static str {
        match self {
            Engine::Psync => "psync",
            Engine::Libaio => "libaio",
            Engine::IoUring => "io_uring",
        }
    }
}

/// Display and FromStr for a type with `ALL` and `name`.
macro_rules! spelled {
    ($type:ident, $what:literal) => {
        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.name())
            }
        }

        impl std::str::FromStr for $type {
            type Err = $crate::error::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::ALL
                    .into_iter()
                    .find(|each| each.name() == text)
                    .ok_or_else(|| $crate::error::Error::Spelling {
                        what: $what,
                        text: text.to_owned(),
                        known: Self::ALL.map(Self::name).join(", "),
                    })
            }
        }
    };
}

pub(crate) use spelled;

spelled!(Cache, "cache");
spelled!(Sync, "sync");
spelled!(Mode, "mode");
spelled!(Engine, "engine");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_are_the_documented_ones() {
        assert_eq!(
            Mode::ALL.map(|mode| mode.to_string()),
            [
                "direct",
                "direct+dsync",
                "direct+sync",
                "buffered",
                "buffered+dsync",
                "buffered+sync"
            ]
        );
        assert_eq!(
            Engine::ALL.map(Engine::name),
            ["psync", "libaio", "io_uring"]
        );
        assert_eq!(Sync::ALL.map(Sync::name), ["none", "dsync", "sync"]);
        assert_eq!(Cache::ALL.map(Cache::name), ["direct", "buffered"]);
    }

    #[test]
    fn every_spelling_reads_back() {
        for mode in Mode::ALL {
            assert_eq!(mode.to_string().parse::<Mode>().unwrap(), mode);
        }
        for engine in Engine::ALL {
            assert_eq!(engine.to_string().parse::<Engine>().unwrap(), engine);
        }
    }

    #[test]
    fn an_unknown_spelling_is_refused_with_the_known_ones() {
        let error = "direct+fsync".parse::<Mode>().unwrap_err().to_string();
        assert!(error.contains("direct+fsync"), "{error}");
        assert!(error.contains("buffered+sync"), "{error}");
    }
}
