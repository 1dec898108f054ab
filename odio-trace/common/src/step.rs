//! The steps of an op, one record each, where they are asked for.

use crate::COMM_LEN;

/// How much is told of steps.
#[repr(u32)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StepLevel {
    /// Nothing: the programs have no code for it once they are verified.
    #[default]
    Off = 0,
    /// A [`StepRecord`] for each.
    Steps = 1,
    /// A [`StackRecord`] for each.
    Stacks = 2,
}

/// What is told of steps, in a constant of its own.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct StepConfig {
    /// [`StepLevel`].
    pub level: u32,
    /// Bytes that may wait in the ring buffer before steps are lost: the rest is kept for the records of ops.
    pub room: u32,
}

// SAFETY: `#[repr(C)]`, integers only, no padding.
#[cfg(feature = "user")]
unsafe impl aya::Pod for StepConfig {}

/// Facts of a step, as bits of [`StepRecord::bits`]. Of a bio exactly one of the first five.
pub struct StepBits;

impl StepBits {
    /// A data bio in the op's own direction: counted in [`crate::OpRecord::bios`].
    pub const DATA: u32 = 1 << 0;
    /// A flush request: counted in [`crate::OpRecord::flushes`].
    pub const FLUSH: u32 = 1 << 1;
    /// A bio of metadata: counted in [`crate::OpRecord::meta_bios`].
    pub const META: u32 = 1 << 2;
    /// A superblock of btrfs: counted in [`crate::OpRecord::supers`].
    pub const SUPER: u32 = 1 << 3;
    /// A bio that is in none of the op's counts, such as a read for a write.
    pub const OTHER: u32 = 1 << 4;
    /// The bio has FUA.
    pub const FUA: u32 = 1 << 5;
    /// The bio has PREFLUSH.
    pub const PREFLUSH: u32 = 1 << 6;
    /// [`StepRecord::value`] is bytes, or a negative errno.
    pub const RESULT: u32 = 1 << 7;
}

/// One thing that a hook saw of an op.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct StepRecord {
    /// [`crate::RecordKind::Step`].
    pub kind: u32,
    /// [`crate::Hook`] as a number.
    pub hook: u32,
    /// When the op began, as in its record; with `op_tid` it says which op.
    pub begin_ns: u64,
    /// When the hook was hit: `bpf_ktime_get_ns`.
    pub ns: u64,
    /// Thread that asked for the op, as in its record.
    pub op_tid: u32,
    /// Process whose task was running: in an interrupt the one that was interrupted.
    pub tgid: u32,
    /// Thread that was running.
    pub tid: u32,
    /// Processor.
    pub cpu: u32,
    /// The function: [`function_id`], or an address within its first bytes; 0 where the hook does not tell.
    pub function: u64,
    /// Address of the object that the hook was handed, 0 for none. Only to tell objects apart.
    pub object: u64,
    /// Bytes of a bio, or as [`StepBits::RESULT`] says.
    pub value: i64,
    /// [`StepBits`].
    pub bits: u32,
    /// Bytes used in [`StackRecord::stack`], or the negative errno for which there is no stack.
    pub stack_bytes: i32,
    /// Name of the thread that was running.
    pub comm: [u8; COMM_LEN],
}

/// Most calls of a stack that are kept, those of the probe itself included.
pub const STACK_DEPTH: usize = 64;

/// A step with the calls that led to it.
#[repr(C)]
#[derive(Clone, Copy)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct StackRecord {
    /// The step.
    pub step: StepRecord,
    /// Addresses, from the probe outwards.
    pub stack: [u64; STACK_DEPTH],
}

/// What stands for a function by its name (FNV-1a), below every address of a kernel.
#[must_use]
pub const fn function_id(name: &str) -> u64 {
    let bytes = name.as_bytes();
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut i = 0;
    while i < bytes.len() {
        hash = (hash ^ bytes[i] as u64).wrapping_mul(0x0100_0000_01b3);
        i += 1;
    }
    hash >> 16
}
