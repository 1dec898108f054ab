//! # The crash lab
//!
//! Logs the block writes of a workload in their order, builds the disk as a power cut at each point could leave it, and
//! looks whether every write that was acknowledged as durable is there.

mod log;
mod replay;
mod rng;

fn main() {}
