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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::tests::op;

    fn sync(ino: u64, result: i64) -> Op {
        let durability = (result >= 0).then(|| Durability::Durable.name());
        Op {
            op: "sync",
            result,
            durability,
            ..op(ino)
        }
    }

    fn held(lost: &mut Lost, mut op: Op) -> Option<String> {
        lost.hold(&mut op);
        op.durability.map(|durability| durability.to_string())
    }

    #[test]
    fn a_sync_after_a_failed_one_says_nothing() {
        let durable = Some("durable".to_owned());
        let mut lost = Lost::default();
        assert_eq!(held(&mut lost, sync(1, 0)), durable);
        assert_eq!(held(&mut lost, sync(1, i64::from(-libc::EIO))), None);
        let unknown = Some("unknown".to_owned());
        for _ in 0..2 {
            assert_eq!(held(&mut lost, sync(1, 0)), unknown);
        }
        // A write past the cache is durable by itself, and another file's sync by its own.
        assert_eq!(held(&mut lost, op(1)), durable);
        assert_eq!(held(&mut lost, sync(2, 0)), durable);
    }

    #[test]
    fn a_call_that_did_nothing_loses_nothing() {
        let mut lost = Lost::default();
        for errno in [libc::EINVAL, libc::EINTR, libc::EAGAIN] {
            held(&mut lost, sync(1, i64::from(-errno)));
        }
        assert_eq!(held(&mut lost, sync(1, 0)), Some("durable".to_owned()));
    }

    #[test]
    fn a_write_whose_own_fsync_failed_counts_too() {
        let mut lost = Lost::default();
        let failed = Op {
            result: i64::from(-libc::EIO),
            fsyncs: 1,
            durability: None,
            ..op(1)
        };
        held(&mut lost, failed);
        assert_eq!(held(&mut lost, sync(1, 0)), Some("unknown".to_owned()));
    }
}
