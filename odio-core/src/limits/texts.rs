//! # Texts of the kernel

use super::Device;

/// Whether the ext4 on a device is, by mountinfo, mounted so that the journal takes the data of all files.
pub(crate) fn has_data_journal(mounts: &str, device: Device) -> bool {
    let device = device.to_string();
    mounts.lines().any(|line| {
        let (mount, filesystem) = line.split_once(" - ").unwrap_or_default();
        let mut options = filesystem.split(' ').nth(2).unwrap_or_default().split(',');
        mount.split(' ').nth(2) == Some(&device) && options.any(|option| option == "data=journal")
    })
}

/// The number that a file of the queue's directory holds.
pub(crate) fn number(text: &str) -> Option<u32> {
    text.trim().parse().ok()
}

/// What `write_cache` says; `None`: nothing that is known.
pub(crate) fn is_volatile(text: &str) -> Option<bool> {
    match text.trim() {
        "write back" => Some(true),
        "write through" => Some(false),
        _ => None,
    }
}

/// The alignment in bytes of which `dma_alignment` is the mask.
pub(crate) fn dma_alignment(text: &str) -> Option<u32> {
    number(text)?.checked_add(1)
}
