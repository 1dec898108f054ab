//! # The log of dm-log-writes
//!
//! Reads what the kernel's `dm-log-writes` target wrote to its log device (drivers/md/dm-log-writes.c): a super block,
//! then entries, each a sector with a header and, where it carries data, the data. Sectors are as large as the logical
//! block of the disk whose writes are logged.

use std::io::Read;

use anyhow::{Context, Result, bail, ensure};

/// "jsfwshr" as the kernel has it.
const MAGIC: u64 = 0x006a_7366_7773_6872;
const VERSION: u64 = 1;
/// Bytes of the super block that are read before the size of a sector is known.
const SMALLEST_SECTOR: u32 = 512;
const HEADER: usize = 32;
/// Larger than what a bio carries; a header that says more is no header.
const MOST_SECTORS: u64 = 1 << 20;

/// What an entry is besides its data, as the kernel's bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Flags(pub(crate) u64);

impl Flags {
    /// What completed before it was flushed before it.
    pub(crate) const FLUSH: Flags = Flags(1);
    /// The data went past the cache.
    pub(crate) const FUA: Flags = Flags(1 << 1);
    pub(crate) const DISCARD: Flags = Flags(1 << 2);
    /// A text that a program put there.
    pub(crate) const MARK: Flags = Flags(1 << 3);
    const METADATA: Flags = Flags(1 << 4);

    pub(crate) fn has(self, other: Flags) -> bool {
        self.0 & other.0 != 0
    }

    /// `FLUSH|FUA`, or `-`.
    pub(crate) fn names(self) -> String {
        let names = [
            (Flags::FLUSH, "FLUSH"),
            (Flags::FUA, "FUA"),
            (Flags::DISCARD, "DISCARD"),
            (Flags::MARK, "MARK"),
            (Flags::METADATA, "METADATA"),
        ];
        let set: Vec<_> = names
            .into_iter()
            .filter(|(flag, _)| self.has(*flag))
            .map(|(_, name)| name)
            .collect();
        match set.is_empty() {
            true => "-".to_owned(),
            false => set.join("|"),
        }
    }
}

/// One request, or a mark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Where, in the log's sectors.
    pub(crate) sector: u64,
    pub(crate) sectors: u64,
    pub(crate) flags: Flags,
    /// The sectors' bytes; of a mark, its text; of a discard, none.
    pub(crate) data: Vec<u8>,
}

impl Entry {
    /// The text of a mark.
    pub(crate) fn mark(&self) -> Option<&str> {
        self.flags
            .has(Flags::MARK)
            .then(|| str::from_utf8(&self.data).unwrap_or_default())
    }
}

/// A log as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Log {
    /// Bytes of a sector.
    pub(crate) sector: u32,
    pub(crate) entries: Vec<Entry>,
}

impl Log {
    /// Reads a log device, or a copy of it, from its first byte.
    pub(crate) fn read(mut from: impl Read) -> Result<Log> {
        let mut first = vec![0; SMALLEST_SECTOR as usize];
        from.read_exact(&mut first).context("the super block")?;
        let magic = u64_at(&first, 0);
        ensure!(magic == MAGIC, "no log of dm-log-writes: magic {magic:#x}");
        let version = u64_at(&first, 8);
        ensure!(
            version == VERSION,
            "version {version} of the log is not known"
        );
        let count = u64_at(&first, 16);
        let sector = u32_at(&first, 24);
        ensure!(
            sector.is_power_of_two() && (SMALLEST_SECTOR..=65536).contains(&sector),
            "sectors of {sector} bytes"
        );
        let mut rest = vec![0; (sector - SMALLEST_SECTOR) as usize];
        from.read_exact(&mut rest).context("the super block")?;
        let entries = (0..count)
            .map(|i| entry(&mut from, sector as usize).with_context(|| format!("entry {i}")))
            .collect::<Result<_>>()?;
        Ok(Log { sector, entries })
    }

    /// The log as the kernel writes it.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let sector = self.sector as usize;
        let mut bytes = Vec::new();
        for number in [MAGIC, VERSION, self.entries.len() as u64] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend(self.sector.to_le_bytes());
        bytes.resize(sector, 0);
        for entry in &self.entries {
            let start = bytes.len();
            let mark = entry.flags.has(Flags::MARK);
            let data_len = if mark { entry.data.len() as u64 } else { 0 };
            for number in [entry.sector, entry.sectors, entry.flags.0, data_len] {
                bytes.extend(number.to_le_bytes());
            }
            if mark {
                bytes.extend(&entry.data);
            }
            bytes.resize(start + sector, 0);
            if !mark {
                bytes.extend(&entry.data);
            }
        }
        bytes
    }

    /// The first entry that is not of a disk of so many bytes.
    pub(crate) fn beyond(&self, disk: u64) -> Option<usize> {
        let end = |entry: &Entry| (entry.sector + entry.sectors) * u64::from(self.sector);
        self.entries.iter().position(|entry| end(entry) > disk)
    }

    /// Where the first mark with this text is.
    pub(crate) fn find(&self, mark: &str) -> Option<usize> {
        self.entries
            .iter()
            .position(|entry| entry.mark() == Some(mark))
    }
}

fn entry(from: &mut impl Read, sector: usize) -> Result<Entry> {
    let mut header = vec![0; sector];
    from.read_exact(&mut header)?;
    let flags = Flags(u64_at(&header, 16));
    let sectors = u64_at(&header, 8);
    let data_len = u64_at(&header, 24);
    ensure!(flags.0 >> 5 == 0, "flags {:#x} are not known", flags.0);
    ensure!(
        sectors <= MOST_SECTORS || flags.has(Flags::DISCARD),
        "{sectors} sectors"
    );
    let first = u64_at(&header, 0);
    let end = first
        .checked_add(sectors)
        .and_then(|end| end.checked_mul(sector as u64));
    ensure!(end.is_some(), "sectors past the end of any disk");
    let data = if flags.has(Flags::MARK) {
        ensure!(sectors == 0, "a mark of {sectors} sectors");
        match header.get(HEADER..HEADER.saturating_add(data_len as usize)) {
            Some(text) => text.to_vec(),
            None => bail!("a mark of {data_len} bytes"),
        }
    } else {
        ensure!(data_len == 0, "{data_len} bytes that are no mark");
        let length = match flags.has(Flags::DISCARD) {
            true => 0,
            false => sectors * sector as u64,
        };
        // Room is made for what is there, and not for what a header says.
        let mut data = Vec::new();
        from.take(length).read_to_end(&mut data)?;
        ensure!(data.len() as u64 == length, "the log ends within its data");
        data
    };
    Ok(Entry {
        sector: first,
        sectors,
        flags,
        data,
    })
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example(sector: u32) -> Log {
        let data = |n: usize, byte: u8| vec![byte; n * sector as usize];
        let entry = |sector, sectors, flags, data| Entry {
            sector,
            sectors,
            flags: Flags(flags),
            data,
        };
        Log {
            sector,
            entries: vec![
                entry(8, 2, 0, data(2, 1)),
                entry(0, 0, 1, vec![]),
                entry(99, 1, 2 | 16, data(1, 2)),
                entry(1 << 40, 1 << 30, 4, vec![]),
                entry(0, 0, 8, b"ack 7".to_vec()),
            ],
        }
    }

    #[test]
    fn what_the_kernel_writes_is_read() {
        for sector in [512, 4096] {
            let log = example(sector);
            let mut bytes = log.bytes();
            // What an earlier log left behind the end.
            bytes.extend([0xff; 5000]);
            assert_eq!(Log::read(&bytes[..]).unwrap(), log);
        }
    }

    /// Byte for byte, so that reading and writing cannot be wrong together.
    #[test]
    fn the_bytes_are_where_the_kernel_has_them() {
        let bytes = example(512).bytes();
        assert_eq!(&bytes[..8], b"rhswfsj\0");
        assert_eq!((bytes[8], bytes[16], bytes[25]), (1, 5, 2));
        // The first header, its two sectors, then the flush.
        assert_eq!((bytes[512], bytes[520], bytes[528]), (8, 2, 0));
        assert_eq!(bytes[1024..2048], [1; 1024]);
        assert_eq!((bytes[2048 + 8], bytes[2048 + 16]), (0, 1));
        let mark = bytes.len() - 512;
        assert_eq!((bytes[mark + 16], bytes[mark + 24]), (8, 5));
        assert_eq!(&bytes[mark + 32..mark + 38], b"ack 7\0");
    }

    #[test]
    fn marks_are_found_by_their_text() {
        let log = example(512);
        assert_eq!(log.find("ack 7"), Some(4));
        assert_eq!(log.find("ack"), None);
    }

    #[test]
    fn what_is_no_log_is_refused() {
        let bytes = example(512).bytes();
        let refused = |at: usize, byte: u8| {
            let mut bytes = bytes.clone();
            bytes[at] = byte;
            format!("{:#}", Log::read(&bytes[..]).unwrap_err())
        };
        assert!(refused(0, 0).contains("magic"));
        assert!(refused(8, 2).contains("version 2"));
        assert!(refused(24, 1).contains("sectors of 513"));
        assert!(refused(512 + 17, 1).contains("entry 0: flags"));
        assert!(refused(512 + 11, 1).contains("entry 0: 16777218 sectors"));
        assert!(refused(512 + 7, 0x80).contains("entry 0: sectors past the end"));
        let mark = bytes.len() - 512;
        assert!(refused(mark + 8, 1).contains("entry 4: a mark of 1 sectors"));
        assert!(refused(mark + 25, 2).contains("entry 4: a mark of 517"));
        let short = Log::read(&bytes[..bytes.len() - 1]).unwrap_err();
        assert!(format!("{short:#}").contains("entry 4"));
    }

    /// A header may say 64 GiB; the log that follows has what it has.
    #[test]
    fn no_room_is_made_for_what_is_not_there() {
        let mut log = example(65536);
        log.entries.truncate(1);
        let mut bytes = log.bytes();
        bytes[65536 + 8..65536 + 16].copy_from_slice(&MOST_SECTORS.to_le_bytes());
        let error = Log::read(&bytes[..]).unwrap_err();
        assert!(format!("{error:#}").contains("ends within its data"));
    }

    #[test]
    fn what_lies_past_the_disk_is_found() {
        let log = example(512);
        assert_eq!(log.beyond(100 * 512), Some(3));
        assert_eq!(log.beyond(100 * 512 - 1), Some(2));
        assert_eq!(log.beyond(u64::MAX), None);
    }

    #[test]
    fn flags_have_names() {
        assert_eq!(Flags(0).names(), "-");
        assert_eq!(Flags(1 | 2 | 16).names(), "FLUSH|FUA|METADATA");
    }
}
