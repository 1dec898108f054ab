//! What is noted of files that are opened.

/// How the filesystem of opened files reads and writes: all files with the same answers are counted together.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OpenedKey {
    /// Address of `f_op->read_iter`, 0 where it has none.
    pub read_iter: u64,
    /// Address of `f_op->write_iter`, 0 where it has none.
    pub write_iter: u64,
    /// `s_magic`: what kind of filesystem, as statfs(2) has it in `f_type`.
    pub magic: u64,
    /// `s_dev`, as in [`OpRecord::dev`](crate::OpRecord::dev).
    pub dev: u32,
    /// What it was opened for: the bits of `O_ACCMODE` in `f_flags`.
    pub access: u32,
}

// SAFETY: `#[repr(C)]`, integers only, no padding.
#[cfg(feature = "user")]
unsafe impl aya::Pod for OpenedKey {}
