//! # Alignment, out of what the sources say

use super::{Filesystem, Source, Sourced};

/// What the sources said about alignment; separate from asking them, so that the choice can be tested.
pub(crate) struct Evidence {
    pub(crate) statx: Option<(u32, u32)>,
    pub(crate) xfs: Option<(u32, u32)>,
    pub(crate) is_device: bool,
    pub(crate) dma: Option<u32>,
    pub(crate) logical_block: Option<Sourced<u32>>,
    pub(crate) filesystem: Option<Filesystem>,
    pub(crate) filesystem_block: Option<u32>,
}

/// Memory and offset alignment, from the best source there is. Both are powers of two, which all that is done with them
/// goes by; a source that says something else, as zero, is passed over.
pub(crate) fn alignment(evidence: Evidence) -> (Sourced<u32>, Sourced<u32>) {
    for (pair, source) in [
        (evidence.statx, Source::StatxDioalign),
        (evidence.xfs, Source::XfsDioinfo),
    ] {
        if let Some((memory, offset)) = pair
            && memory.is_power_of_two()
            && offset.is_power_of_two()
        {
            return (Sourced::new(memory, source), Sourced::new(offset, source));
        }
    }
    // These two want whole blocks of the filesystem, and copy through the page cache otherwise.
    let whole_blocks = matches!(
        evidence.filesystem,
        Some(Filesystem::BTRFS | Filesystem::F2FS)
    );
    if let Some(block) = evidence.filesystem_block
        && whole_blocks
        && block.is_power_of_two()
    {
        let block = Sourced::new(block, Source::Statfs);
        return (block, block);
    }
    if let Some(logical) = evidence.logical_block
        && logical.value.is_power_of_two()
    {
        // Only the block device's own path checks memory by the DMA mask; fs/direct-io.c wants logical blocks.
        let memory = match evidence.dma {
            Some(dma) if evidence.is_device && dma.is_power_of_two() => {
                Sourced::new(dma, Source::SysfsQueue)
            }
            _ => logical,
        };
        return (memory, logical);
    }
    let assumed = Sourced::new(4096, Source::Assumed);
    (assumed, assumed)
}

/// What reads want, where that is said and is not more than what writes want.
pub(crate) fn read_offset_align(told: Option<u32>, offset_align: Sourced<u32>) -> Sourced<u32> {
    match told {
        Some(value) if value.is_power_of_two() && value <= offset_align.value => {
            Sourced::new(value, Source::StatxReadAlign)
        }
        _ => offset_align,
    }
}

/// The larger of two blocks, each of which would be read first if it were written in part.
pub(crate) fn overwrite_align(
    filesystem: Option<Sourced<u32>>,
    device: Option<Sourced<u32>>,
) -> Option<Sourced<u32>> {
    match (filesystem, device) {
        (Some(filesystem), Some(device)) if device.value > filesystem.value => Some(device),
        (filesystem, device) => filesystem.or(device),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evidence() -> Evidence {
        Evidence {
            statx: None,
            xfs: None,
            is_device: false,
            dma: None,
            logical_block: None,
            filesystem: Some(Filesystem::EXT4),
            filesystem_block: Some(4096),
        }
    }

    fn pair(memory: u32, offset: u32, source: Source) -> (Sourced<u32>, Sourced<u32>) {
        (Sourced::new(memory, source), Sourced::new(offset, source))
    }

    #[test]
    fn a_read_may_want_less_than_a_write_but_never_more() {
        let write = Sourced::new(4096, Source::StatxDioalign);
        let read = Sourced::new(512, Source::StatxReadAlign);
        assert_eq!(read_offset_align(Some(512), write), read);
        for told in [None, Some(0), Some(8192), Some(513)] {
            assert_eq!(read_offset_align(told, write), write);
        }
    }

    #[test]
    fn an_overwrite_covers_the_larger_of_both_blocks() {
        let filesystem = Some(Sourced::new(4096, Source::Statfs));
        let of = |value| Some(Sourced::new(value, Source::SysfsQueue));
        assert_eq!(overwrite_align(filesystem, of(512)), filesystem);
        assert_eq!(overwrite_align(filesystem, of(16384)), of(16384));
        assert_eq!(overwrite_align(None, of(512)), of(512));
        assert_eq!(overwrite_align(filesystem, None), filesystem);
    }

    #[test]
    fn statx_wins_over_everything() {
        let told = Evidence {
            statx: Some((4, 512)),
            xfs: Some((8, 1024)),
            logical_block: Some(Sourced::new(4096, Source::SysfsQueue)),
            ..evidence()
        };
        assert_eq!(alignment(told), pair(4, 512, Source::StatxDioalign));
    }

    #[test]
    fn xfs_is_asked_where_statx_is_silent() {
        let told = Evidence {
            xfs: Some((512, 4096)),
            ..evidence()
        };
        assert_eq!(alignment(told), pair(512, 4096, Source::XfsDioinfo));
    }

    #[test]
    fn a_filesystem_without_statx_goes_by_logical_blocks_even_for_memory() {
        let told = Evidence {
            logical_block: Some(Sourced::new(4096, Source::SysfsQueue)),
            dma: Some(4),
            ..evidence()
        };
        assert_eq!(alignment(told), pair(4096, 4096, Source::SysfsQueue));
    }

    #[test]
    fn a_block_device_goes_by_its_dma_mask_for_memory() {
        let told = Evidence {
            is_device: true,
            filesystem: None,
            logical_block: Some(Sourced::new(512, Source::Blksszget)),
            dma: Some(4),
            ..evidence()
        };
        assert_eq!(
            alignment(told),
            (
                Sourced::new(4, Source::SysfsQueue),
                Sourced::new(512, Source::Blksszget)
            )
        );
    }

    #[test]
    fn btrfs_goes_by_its_own_blocks() {
        let told = Evidence {
            filesystem: Some(Filesystem::BTRFS),
            logical_block: Some(Sourced::new(512, Source::SysfsQueue)),
            ..evidence()
        };
        assert_eq!(alignment(told), pair(4096, 4096, Source::Statfs));
    }

    #[test]
    fn what_is_no_power_of_two_is_no_alignment() {
        let told = |statx, xfs, logical| Evidence {
            statx: Some(statx),
            xfs: Some(xfs),
            is_device: true,
            dma: Some(3),
            logical_block: Some(Sourced::new(logical, Source::Blksszget)),
            filesystem: Some(Filesystem::BTRFS),
            filesystem_block: Some(5000),
        };
        for (evidence, expected) in [
            (told((512, 520), (0, 512), 520), (4096, Source::Assumed)),
            (told((3, 512), (512, 520), 512), (512, Source::Blksszget)),
            (told((0, 0), (512, 512), 520), (512, Source::XfsDioinfo)),
        ] {
            let (align, source) = expected;
            assert_eq!(alignment(evidence), pair(align, align, source));
        }
    }

    #[test]
    fn without_a_source_it_assumes_a_page_and_says_so() {
        assert_eq!(alignment(evidence()), pair(4096, 4096, Source::Assumed));
    }
}
