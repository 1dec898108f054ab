//! # What a failed sync makes of later ones
//!
//! The kernel tells of a lost write once, and drops what it could not write: the next sync of the file ends well and has
//! flushed the device, while the data is nowhere. Pure.

use std::collections::HashSet;

use odio_core::contract::Durability;

use crate::{kernel::Dev, op::Op};

/// Files of which a sync failed.
#[derive(Debug, Default)]
pub(crate) struct Lost(HashSet<(Dev, u64)>);

impl Lost {
    /// Takes note of a sync that failed, and takes the word of a later one of that file back.
    pub(crate) fn hold(&mut self, op: &mut Op) {
        let file = (op.dev, op.ino);
        if is_failed_sync(op) {
            self.0.insert(file);
        } else if op.op == "sync"
            && op.durability == Some(Durability::Durable.name())
            && self.0.contains(&file)
        {
            op.durability = Some(Durability::Unknown.name());
            op.why =
                "an earlier sync of this file failed: what was written before that may be lost, \
                      which the kernel told then and does not tell again"
                    .into();
        }
    }
}

/// A write that ran an fsync and failed may have been told of another write's loss.
fn is_failed_sync(op: &Op) -> bool {
    // These speak of the call alone.
    let is_of_the_call = [libc::EINVAL, libc::EINTR, libc::EAGAIN].map(|errno| -i64::from(errno));
    op.acknowledged
        && op.result < 0
        && !is_of_the_call.contains(&op.result)
        && (op.op == "sync" || op.fsyncs > 0)
}
