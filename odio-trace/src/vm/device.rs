//! # The disk of a VM
//!
//! What a disk says of its cache decides what an acknowledged write needs: nothing, FUA, or a flush.

use clap::ValueEnum;

/// A kind of disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Device {
    /// NVMe with a write-back cache and FUA.
    #[default]
    Nvme,
    /// virtio with a write-back cache; virtio has no FUA, so the kernel flushes after each write that asks for it.
    Virtio,
    /// virtio without a volatile cache: what is written is on the medium.
    WriteThrough,
}

impl Device {
    /// What QEMU calls it, with what is asked of it.
    pub(crate) fn qemu(self) -> &'static str {
        match self {
            Self::Nvme => "nvme",
            Self::Virtio => "virtio-blk-pci,write-cache=on",
            Self::WriteThrough => "virtio-blk-pci,write-cache=off",
        }
    }

    /// The kernel modules that it needs where they are not built in.
    pub(crate) fn modules(self) -> &'static [&'static str] {
        match self {
            Self::Nvme => &[],
            Self::Virtio | Self::WriteThrough => &["virtio_blk"],
        }
    }

    /// Where the guest finds the serial numbers of such disks: a pattern below a disk of /sys/block.
    pub(crate) fn serials(self) -> &'static str {
        match self {
            Self::Nvme => "/sys/block/nvme*/device/serial",
            Self::Virtio | Self::WriteThrough => "/sys/block/vd*/serial",
        }
    }
}
