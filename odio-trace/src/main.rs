//! # odio-trace: which kernel path each I/O really took

/// What this kernel is. Reads `/proc`, `/sys` and tracefs; writes nothing.
mod kernel;
/// A throwaway VM with a chosen kernel and filesystem.
mod vm;

fn main() {}
