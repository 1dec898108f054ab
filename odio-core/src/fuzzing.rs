//! # What the fuzzers call
//!
//! What a kernel says of a file and its device, as numbers of statx(2) and others and as texts of sysfs. Takes any bytes, and
//! panics where an answer breaks a rule that the rest of this crate goes by.

use crate::limits::{
    Device, Filesystem, Source, Sourced,
    alignment::{Evidence, alignment, overwrite_align, read_offset_align},
    texts::{dma_alignment, has_data_journal, is_volatile, number},
};

/// Bytes in front of the texts.
const NUMBERS: usize = 1 + 4 * 6;

/// The first byte says which sources there are; numbers follow, then texts, each ended by a zero.
pub fn limits(bytes: &[u8]) {
    let Some((numbers, texts)) = bytes.split_at_checked(NUMBERS) else {
        return;
    };
    let has = |bit: u8| numbers[0] & (1 << bit) != 0;
    let word = |i: usize| {
        let at = 1 + 4 * i;
        u32::from_le_bytes(numbers[at..at + 4].try_into().expect("4 bytes"))
    };
    let texts = String::from_utf8_lossy(texts);
    let mut texts = texts.split('\0');
    let mut text = || texts.next().unwrap_or_default();
    let block = |text: &str| Some(Sourced::new(number(text)?, Source::SysfsQueue));
    let (dma, logical_block, physical_block) = (text(), block(text()), block(text()));
    let filesystems = [
        Filesystem::EXT4,
        Filesystem::XFS,
        Filesystem::BTRFS,
        Filesystem::F2FS,
    ];
    let (memory, offset) = alignment(Evidence {
        statx: has(0).then(|| (word(0), word(1))),
        xfs: has(1).then(|| (word(2), word(3))),
        is_device: has(2),
        dma: dma_alignment(dma),
        logical_block,
        filesystem: has(3).then(|| filesystems[usize::from(numbers[0] >> 6)]),
        filesystem_block: has(4).then(|| word(4)),
    });
    for align in [memory, offset] {
        assert!(align.value.is_power_of_two(), "{align:?}");
    }
    let read = read_offset_align(has(5).then(|| word(5)), offset);
    assert!(read.value.is_power_of_two() && read.value <= offset.value);
    let filesystem_block = block(text());
    let whole = overwrite_align(filesystem_block, physical_block);
    let largest = filesystem_block.into_iter().chain(physical_block);
    assert_eq!(
        whole.map(|whole| whole.value),
        largest.map(|each| each.value).max()
    );
    let cache = text();
    assert!(is_volatile(cache).is_none() || cache.contains("write "));
    let mounts = text();
    let device = Device { major: 8, minor: 1 };
    if has_data_journal(mounts, device) {
        assert!(mounts.contains("data=journal") && mounts.contains("8:1"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_that_are_nonsense_are_no_alignment() {
        for value in [0u32, 3, u32::MAX] {
            for which in 0..=u8::MAX {
                let mut bytes = vec![which];
                for _ in 0..6 {
                    bytes.extend(value.to_le_bytes());
                }
                let texts = [
                    "4294967295",
                    "513",
                    "-1",
                    " 512\n",
                    "write back\n",
                    "1 2 8:1 / / rw - ext4 /dev/a rw,data=journal",
                ];
                bytes.extend(texts.join("\0").into_bytes());
                limits(&bytes);
            }
        }
    }
}
