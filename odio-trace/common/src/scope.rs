//! Which processes are traced: what the user side tells the programs before they are loaded.

use crate::COMM_LEN;

/// How the programs tell a traced process from others.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScopeBy {
    /// It stands in the table of traced processes, or is the child of one that does.
    Process = 0,
    /// As `Process`; a process that takes one of the wanted names is put into the table.
    Name = 1,
    /// It is in the wanted cgroup or below.
    Cgroup = 2,
}

/// What the scope of a session is; by default the processes that are put into the table, from their beginning.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct ScopeConfig {
    /// [`ScopeBy`].
    pub by: u32,
    /// The tracer, which is never traced: what it writes would be its own next op.
    pub own: u32,
    /// 1 where processes may be taken up that ran before, and so may be in the middle of a request.
    pub late: u32,
}

// SAFETY: `#[repr(C)]`, integers only, no padding.
#[cfg(feature = "user")]
unsafe impl aya::Pod for ScopeConfig {}

/// A task's name as the kernel keeps it: cut to 15 bytes, the rest NUL.
#[must_use]
pub fn comm(name: &[u8]) -> [u8; COMM_LEN] {
    let mut comm = [0; COMM_LEN];
    let kept = name.len().min(COMM_LEN - 1);
    comm[..kept].copy_from_slice(&name[..kept]);
    comm
}
