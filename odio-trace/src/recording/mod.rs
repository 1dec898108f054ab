//! # Recordings: a run kept in one file
//!
//! A recording holds what a report needs, on any machine and without privilege: what the kernel was, which probes were
//! planned and which were there, the devices and filesystems that were touched, every op, and how the run ended.
//!
//! ## The format, versions 1 to 3
//!
//! gzip (RFC 1952, one member, whose checksum covers all of it) of lines of JSON, each an object with a `type`:
//!
//! 1. `recording`: the [`Header`], first and once. `version` says how the rest is to be read.
//! 2. `device`: what a filesystem or device is, before the first op on it ([`Device`]).
//! 3. `op`: as `run --json` prints it, in the order of the acknowledgements. Since version 2 each is followed by its `step`s,
//!    as many as it says.
//! 4. `writeback`, since version 3: as `run --json` prints it, one for each file that was written back.
//! 5. `summary`: as `run --json` prints it.
//! 6. `end`: how many ops there were, and since version 3 how the command ended. Nothing comes after it.
//!
//! A recording without its `end` was cut off: what it holds is true, but what came after is not known. It has text and
//! numbers only, so the machine's byte order is nowhere in it. No line is longer than [`LONGEST`], none of an op, step or
//! device than [`LONGEST_OP`].
//!
//! It is written to `FILE.partial` and becomes `FILE` when it is whole. A tracer that is killed leaves `FILE.partial`,
//! which can be read, up to what was passed on at most [`write::PASS_ON`] before.

mod header;
pub(crate) mod partial;
mod read;
pub(crate) mod write;

pub(crate) use header::{Device, Header};
pub(crate) use read::{End, Error, Line, read};
pub(crate) use write::Recorder;

/// The version that is written, and the newest that is read.
const VERSION: u32 = 3;

/// The first version with steps.
const WITH_STEPS: u32 = 2;

/// The first version with what was written back, and with the command's status.
const WITH_WRITEBACK: u32 = 3;

/// Bytes of the longest line: a summary that counts the hits of many processes.
const LONGEST: u64 = 8 << 20;

/// Bytes of the longest line of an op: a path of 4 KiB, each byte of which JSON may spell in six, and as digits. Also of
/// a step: 64 calls with names of 512 bytes.
const LONGEST_OP: usize = 64 << 10;

/// More filesystems and devices than a machine has.
const MOST_DEVICES: usize = 1 << 16;

/// The last line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
struct EndMark {
    ops: u64,
    /// Of the command, as a shell says it; null where there was none, or it went on.
    #[serde(default)]
    status: Option<u8>,
}

#[cfg(test)]
mod tests;
