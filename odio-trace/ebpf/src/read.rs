//! Reading kernel memory.

use aya_ebpf::helpers::bpf_probe_read_kernel;

/// Reads a `T` at `base + offset`; `None` where the offset is absent or the memory is not there.
#[inline(always)]
pub(crate) fn field<T: Copy>(base: u64, offset: Option<u64>) -> Option<T> {
    let address = base.wrapping_add(offset?);
    // SAFETY: the helper checks the address and fails on a bad one.
    unsafe { bpf_probe_read_kernel(address as *const T) }.ok()
}

/// How a program may follow the pointers that its function was called with.
pub(crate) trait Reads {
    /// As [`field`]; `base` is an argument of the function, or was read through one by this.
    fn member<T: Copy>(base: u64, offset: Option<u64>) -> Option<T>;
}

/// By the helper: about ninety instructions for each member.
pub(crate) struct ByHelper;

impl Reads for ByHelper {
    #[inline(always)]
    fn member<T: Copy>(base: u64, offset: Option<u64>) -> Option<T> {
        field(base, offset)
    }
}

/// By a load. Only in an fentry: the verifier knows what its arguments point at, and holds each load against the
/// kernel's own types. What cannot be read comes as zero.
pub(crate) struct ByLoad;

impl Reads for ByLoad {
    #[inline(always)]
    fn member<T: Copy>(base: u64, offset: Option<u64>) -> Option<T> {
        let address = base.wrapping_add(offset?);
        // SAFETY: the verifier lets the program run only where this is a member of the structure; the kernel
        // catches a fault. Volatile, because others write to it at the same time.
        Some(unsafe { (address as *const T).read_volatile() })
    }
}
