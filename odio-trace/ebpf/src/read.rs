//! Reading kernel memory.

use aya_ebpf::helpers::bpf_probe_read_kernel;

/// Reads a `T` at `base + offset`; `None` where the offset is absent or the memory is not there.
#[inline(always)]
pub(crate) fn field<T: Copy>(base: u64, offset: Option<u64>) -> Option<T> {
    let address = base.wrapping_add(offset?);
    // SAFETY: the helper checks the address and fails on a bad one.
    unsafe { bpf_probe_read_kernel(address as *const T) }.ok()
}
