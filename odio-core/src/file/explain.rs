//! # An open file, for a person to read
//!
//! Puts into words what opening found out, on whose word, and what the mode promises. Makes no system call.

use std::fmt::{Display, Write};

use super::File;
use crate::contract::{Durability, Situation, SyncKind};
use crate::limits::{AtomicWrite, Proof, Sourced};
use crate::mode::{Cache, Engine, Mode};

/// What a write may land on.
const WRITES: [Situation; 4] = [
    Situation::Overwrite,
    Situation::Unwritten,
    Situation::Append,
    Situation::Hole,
];

impl File {
    /// Everything known of the file: path, the mode asked for and the one it got with the reason, each limit and
    /// device fact with its source, where a write is when it is acknowledged, and the sync that odio adds of its own.
    /// One fact a line, for a person; the wording may change between versions.
    pub fn explain(&self) -> String {
        let limits = self.limits();
        let mut text = String::new();
        let mut line = |name: &str, value: &dyn Display| {
            // A String takes whatever is written to it.
            let _ = writeln!(text, "{name}: {value}");
        };
        // Quoted, so that a path with a line break in it cannot speak for odio.
        line("path", &format_args!("{:?}", self.path()));
        line("mode asked", &self.asked());
        line("mode got", &self.mode());
        line("reason", &self.reason());
        line("direct I/O", &proof(limits.proof));
        line(
            "opened for",
            &if self.inner.writable {
                "reading and writing"
            } else {
                "reading"
            },
        );
        line("filesystem", &limits.filesystem_name());
        match limits.device {
            Some(device) => line("device", &device),
            None => line("device", &"not known: the filesystem does not show it"),
        }

        if self.mode().cache == Cache::Direct {
            line("memory alignment", &bytes(Some(limits.memory_align)));
            line("offset alignment", &bytes(Some(limits.offset_align)));
            line("length alignment", &bytes(Some(limits.length_align)));
            line("read alignment", &bytes(Some(limits.read_offset_align)));
            let bounce = if self.is_bounce() {
                "served through an aligned copy"
            } else {
                "refused"
            };
            line("unaligned requests", &bounce);
        } else {
            line("alignment", &"any: the file is buffered");
        }
        line("logical block", &bytes(limits.logical_block));
        line("physical block", &bytes(limits.physical_block));
        line("overwrite alignment", &bytes(limits.overwrite_align));
        line("preferred size", &bytes(limits.preferred_size));
        line("largest request", &bytes(limits.max_size));
        line("atomic write", &atomic_write(limits.atomic_write));
        line("poll queues", &yes_or_no(limits.poll_queues));
        line("volatile write cache", &yes_or_no(limits.volatile_cache));
        line("FUA", &yes_or_no(limits.fua));

        line("fallback", &self.fallback());
        line("an acknowledged write", &self.promise());
        line("finishing sync", &self.finishing_sync());
        if limits.breaks_sync() {
            line(
                "each sync",
                &"one of the whole filesystem (syncfs): the kernel takes what another sync has in flight for done here",
            );
        }
        line(
            "failed sync",
            &match self.check_sync() {
                Ok(()) => "none".to_owned(),
                Err(error) => error.to_string(),
            },
        );
        text
    }

    fn asked(&self) -> String {
        let asked = self.inner.asked;
        if self.inner.fall_back && asked.cache == Cache::Direct {
            let instead = Mode::new(Cache::Buffered, asked.sync);
            format!("{asked}, or {instead} where direct cannot be had")
        } else {
            asked.to_string()
        }
    }

    fn fallback(&self) -> String {
        let contract = self.contract();
        let may: Vec<_> = Situation::ALL
            .into_iter()
            .filter_map(|situation| Some((situation, contract.fallback(situation)?)))
            .collect();
        let Some(&(_, why)) = may.first() else {
            return "none is known of requests of whole blocks".to_owned();
        };
        let situations: Vec<_> = may.iter().map(|(situation, _)| situation.name()).collect();
        format!("possible on {}: {why}", situations.join(", "))
    }

    fn promise(&self) -> String {
        let contract = self.contract();
        let states: Vec<_> = Durability::ALL
            .into_iter()
            .filter(|state| {
                WRITES
                    .iter()
                    .any(|&situation| contract.allowed(situation).contains(state))
            })
            .map(|state| format!("{state} ({})", meaning(state)))
            .collect();
        match (states.as_slice(), contract.no_promise) {
            ([only], None) => format!("is {only}"),
            (_, None) => format!(
                "may be {}; sync the file to make it durable",
                states.join(", or ")
            ),
            (_, Some(why)) => format!("may be {}; {why}", states.join(", or ")),
        }
    }

    fn finishing_sync(&self) -> String {
        let added: Vec<_> = Engine::ALL
            .into_iter()
            .filter_map(|engine| Some((engine, self.contract().finishing_sync(engine)?)))
            .collect();
        let Some(&(_, kind)) = added.first() else {
            return "none".to_owned();
        };
        let engines: Vec<_> = added.iter().map(|(engine, _)| engine.name()).collect();
        let call = match kind {
            SyncKind::Data => "fdatasync",
            SyncKind::Full => "fsync",
        };
        format!(
            "{call} by odio after each write of {} and before its completion, because the kernel acknowledges such a \
             write too early on {}",
            engines.join(" and "),
            self.limits().filesystem_name()
        )
    }
}

fn meaning(state: Durability) -> &'static str {
    match state {
        Durability::PageCache => "in memory only, lost at a crash",
        Durability::DeviceCache => "in the volatile cache of the device, lost at a power cut",
        Durability::Uncommitted => {
            "out of the page cache, but the metadata needed to find it is not committed"
        }
        Durability::Durable => "found again after a power cut",
        Durability::Unknown => "not decided by what is known",
    }
}

fn bytes(fact: Option<Sourced<u32>>) -> String {
    fact.map_or_else(not_known, |fact| {
        format!("{} bytes; source: {}", fact.value, fact.source)
    })
}

fn yes_or_no(fact: Option<Sourced<bool>>) -> String {
    fact.map_or_else(not_known, |fact| {
        let word = if fact.value { "yes" } else { "no" };
        format!("{word}; source: {}", fact.source)
    })
}

fn atomic_write(fact: Option<Sourced<AtomicWrite>>) -> String {
    fact.map_or_else(
        || "none, as far as is known".to_owned(),
        |Sourced { value, source }| {
            let AtomicWrite { min, max, segments } = value;
            format!("{min} to {max} bytes from at most {segments} vectors; source: {source}")
        },
    )
}

fn proof(proof: Proof) -> String {
    match proof {
        Proof::Buffered => "none: the file is buffered".to_owned(),
        Proof::Read(bytes) => format!("proven by a read of {bytes} bytes"),
        Proof::Empty => "not proven: the file was empty when it was opened".to_owned(),
        Proof::ReadFailed => "not proven: its first block could not be read".to_owned(),
    }
}

fn not_known() -> String {
    "not known".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Errno;
    use crate::limits::{Filesystem, Source};
    use crate::testing::{directory, fresh, mode, options};

    /// What is said after `name`, once.
    fn said(file: &File, name: &str) -> String {
        let text = file.explain();
        let mut found = text
            .lines()
            .filter_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        let value = found.next().unwrap_or_else(|| panic!("{name} in {text}"));
        assert_eq!(found.next(), None, "{name} in {text}");
        value.to_owned()
    }

    #[test]
    fn every_fact_is_there_with_its_source() {
        let directory = directory();
        let file = fresh(&directory, mode("direct+dsync"));
        let limits = file.limits();
        assert!(said(&file, "path").contains("/file\""));
        assert_eq!(said(&file, "mode asked"), "direct+dsync");
        assert_eq!(said(&file, "mode got"), "direct+dsync");
        assert_eq!(said(&file, "reason"), file.reason());
        assert_eq!(said(&file, "opened for"), "reading and writing");
        assert_eq!(said(&file, "filesystem"), limits.filesystem_name());
        for (name, limit) in [
            ("memory alignment", Some(limits.memory_align)),
            ("offset alignment", Some(limits.offset_align)),
            ("length alignment", Some(limits.length_align)),
            ("read alignment", Some(limits.read_offset_align)),
            ("overwrite alignment", limits.overwrite_align),
            ("preferred size", limits.preferred_size),
            ("largest request", limits.max_size),
            ("logical block", limits.logical_block),
            ("physical block", limits.physical_block),
        ] {
            let expected = match limit {
                Some(limit) => format!("{} bytes; source: {}", limit.value, limit.source),
                None => "not known".to_owned(),
            };
            assert_eq!(said(&file, name), expected, "{name}");
        }
        for (name, fact) in [
            ("volatile write cache", limits.volatile_cache),
            ("FUA", limits.fua),
            ("poll queues", limits.poll_queues),
        ] {
            let expected = match fact {
                Some(fact) if fact.value => format!("yes; source: {}", fact.source),
                Some(fact) => format!("no; source: {}", fact.source),
                None => "not known".to_owned(),
            };
            assert_eq!(said(&file, name), expected, "{name}");
        }
    }

    #[test]
    fn what_was_proven_of_direct_is_said() {
        let directory = directory();
        let file = fresh(&directory, mode("direct"));
        assert!(said(&file, "direct I/O").starts_with("not proven: the file was empty"));
        file.write_at(&file.buffer(4096).unwrap(), 0).unwrap();
        let file = fresh(&directory, mode("direct"));
        let unit = file.limits().offset_align.value;
        assert_eq!(file.limits().proof, Proof::Read(unit));
        let expected = format!("proven by a read of {unit} bytes");
        assert_eq!(said(&file, "direct I/O"), expected);
        let file = fresh(&directory, mode("buffered"));
        assert_eq!(said(&file, "direct I/O"), "none: the file is buffered");
    }

    #[test]
    fn an_atomic_write_is_told_whole() {
        let unit = AtomicWrite {
            min: 4096,
            max: 65536,
            segments: 1,
        };
        let told = Some(Sourced::new(unit, Source::StatxWriteAtomic));
        assert_eq!(
            atomic_write(told),
            "4096 to 65536 bytes from at most 1 vectors; source: statx WRITE_ATOMIC"
        );
    }

    #[test]
    fn each_mode_says_every_state_that_its_contract_allows_and_no_other() {
        let directory = directory();
        for mode in Mode::ALL {
            let file = fresh(&directory, mode);
            let promise = said(&file, "an acknowledged write");
            for state in Durability::ALL {
                assert_eq!(
                    promise.contains(&format!("{state} (")),
                    file.contract()
                        .allowed(Situation::Overwrite)
                        .contains(&state),
                    "{mode}: {promise}"
                );
            }
        }
    }

    #[test]
    fn where_nothing_is_promised_that_is_said() {
        let directory = directory();
        let mut file = fresh(&directory, mode("direct+dsync"));
        file.pretend_filesystem(Filesystem::EXT4);
        assert_eq!(
            said(&file, "an acknowledged write"),
            "is durable (found again after a power cut)"
        );
        file.pretend_filesystem(Filesystem::TMPFS);
        let promise = said(&file, "an acknowledged write");
        assert!(promise.starts_with("may be page-cache"), "{promise}");
        assert!(
            promise.contains("no sync makes anything durable"),
            "{promise}"
        );
    }

    #[test]
    fn a_fallback_that_may_come_is_said_with_what_it_costs() {
        let directory = directory();
        let mut file = fresh(&directory, mode("direct"));
        file.pretend_filesystem(Filesystem::XFS);
        assert!(said(&file, "fallback").starts_with("none is known"));
        assert!(!said(&file, "an acknowledged write").contains("page-cache"));
        file.pretend_filesystem(Filesystem { magic: 0x4d44 });
        let fallback = said(&file, "fallback");
        assert!(
            fallback.starts_with("possible on append: vfat"),
            "{fallback}"
        );
        assert!(said(&file, "an acknowledged write").contains("page-cache"));
    }

    #[test]
    fn the_sync_that_odio_adds_is_said_where_it_adds_one() {
        let directory = directory();
        let mut file = fresh(&directory, mode("direct+sync"));
        file.pretend_filesystem(Filesystem::EXT4);
        assert_eq!(said(&file, "finishing sync"), "none");
        file.pretend_filesystem(Filesystem::BTRFS);
        let sync = said(&file, "finishing sync");
        assert!(
            sync.starts_with("fsync by odio after each write of libaio and io_uring"),
            "{sync}"
        );
        assert!(sync.ends_with("too early on btrfs"), "{sync}");
    }

    #[test]
    fn a_fallback_a_line_break_and_a_failed_sync_are_told() {
        let directory = tempfile::tempdir_in("/dev/shm").unwrap();
        let file = options(mode("direct+dsync"))
            .fall_back(true)
            .open(directory.path().join("a\nmode got: direct"))
            .unwrap();
        assert_eq!(
            said(&file, "mode asked"),
            "direct+dsync, or buffered+dsync where direct cannot be had"
        );
        assert_eq!(said(&file, "mode got"), "buffered+dsync");
        assert!(said(&file, "reason").contains("tmpfs"));
        assert!(said(&file, "alignment").starts_with("any"));
        assert_eq!(said(&file, "failed sync"), "none");
        file.note_sync(Err(Errno(libc::EIO))).unwrap_err();
        assert!(said(&file, "failed sync").contains("EIO"));
    }
}
