//! Writeback: data that a traced process left in the page cache, on its way to the device.
//!
//! Whoever sends it, mostly a worker that flushes for all, its bios point at pages, and those at the file. Counted by
//! file, for files into which a traced process was seen to copy: what is mapped and written to is not seen.

use odio_trace_common::{Loss, OpRecord, WritebackKey, WritebackRecord};

use crate::{
    config::offset,
    file,
    maps::{WRITEBACK, add, lose},
    op,
    read::{ByHelper, field},
};

/// A `struct page` keeps a tag in the low bits of these words: of what leads to its head, and of what is no file's.
const TAIL: u64 = 1;
const NOT_A_FILE: u64 = 3;

/// A write of a traced process copies to the page cache of its file.
#[inline(always)]
pub(crate) fn expect(state: &OpRecord) {
    let key = WritebackKey::new(state.dev, state.ino, state.generation, file::is_block_device(state));
    if WRITEBACK.get_ptr(&key).is_some() {
        return;
    }
    // SAFETY: integers; zero is a valid value.
    let none = unsafe { core::mem::zeroed::<WritebackRecord>() };
    // Of two that try at once, one finds it there.
    if WRITEBACK.insert(&key, &none, u64::from(aya_ebpf::bindings::BPF_NOEXIST)).is_err()
        && WRITEBACK.get_ptr(&key).is_none()
    {
        lose(Loss::OpsFull);
    }
}

/// A write of `size` bytes goes to the block layer, in an op or not. True if it was counted.
#[inline(always)]
pub(crate) fn bio(bio: u64, size: u32, fua: bool, in_op: bool) -> bool {
    let Some(key) = file_of(bio) else { return false };
    let Some(record) = WRITEBACK.get_ptr_mut(&key) else { return false };
    let now = op::now();
    // SAFETY: a live element, whose words are only added to or, where a race costs nothing but nanoseconds, set.
    unsafe {
        if (*record).first_ns == 0 {
            (*record).first_ns = now;
        }
        (*record).last_ns = now;
        add(&raw mut (*record).bios, 1);
        add(&raw mut (*record).bytes, u64::from(size));
        if fua {
            add(&raw mut (*record).fua, 1);
        }
        if in_op {
            add(&raw mut (*record).bios_in_ops, 1);
        }
    }
    true
}

/// The file whose page cache the bio's first page belongs to.
#[inline(always)]
fn file_of(bio: u64) -> Option<WritebackKey> {
    let mut page: u64 = field(field(bio, offset!(bio_io_vec))?, offset!(bio_vec_page))?;
    let head: u64 = field(page, offset!(page_compound_head))?;
    if head & TAIL != 0 {
        page = head_of(page, head - TAIL);
    }
    let mapping: u64 = field(page, offset!(page_mapping))?;
    if mapping == 0 || mapping & NOT_A_FILE != 0 {
        return None;
    }
    let inode: u64 = field(mapping, offset!(address_space_host))?;
    let generation = field(inode, offset!(inode_generation)).unwrap_or(0);
    file::identify::<ByHelper>(inode).map(|(dev, ino, block)| WritebackKey::new(dev, ino, generation, block))
}

/// The head of a tail page: what the page points at, or where a page is a power of two long, as many high bits of its
/// own address as there are in a mask (`compound_info` of 7.2, `compound_info_has_mask`). No pointer at a page looks so.
#[inline(always)]
fn head_of(page: u64, leads: u64) -> u64 {
    if leads.wrapping_neg().is_power_of_two() { page & leads } else { leads }
}
