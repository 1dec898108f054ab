//! # What a queue remembers of a request
//!
//! And the arithmetic of how far it is. Pure values.

use std::ptr;

use crate::buffer::Buffer;
use crate::contract::SyncKind;
use crate::file::File;
use crate::flags::Flags;

/// How far a slot's request is.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    #[default]
    Idle,
    Reading,
    Writing,
    Syncing,
    /// All of the write was acknowledged by the kernel, and is being synced before it is reported.
    Finishing,
    /// Done; `result` waits to be collected.
    Ready,
}

/// What the queue remembers of a request until its completion has been collected.
pub(super) struct Slot {
    pub(super) stage: Stage,
    pub(super) flags: Flags,
    pub(super) cancelled: bool,
    /// The sync that ends a write.
    pub(super) then: Option<SyncKind>,
    pub(super) user_data: u64,
    pub(super) file: Option<File>,
    pub(super) buffer: Option<Buffer>,
    /// Null for a vectored request, whose pieces are in the queue's table.
    pub(super) address: *mut u8,
    /// Pieces of a vectored request that are not moved yet.
    pub(super) vectors: u32,
    pub(super) offset: u64,
    pub(super) length: u32,
    /// Where the attempt began that is with the engine, from the beginning of the request.
    pub(super) from: u32,
    /// How many bytes are known to have moved.
    pub(super) moved: u32,
    /// Bytes, or a negative errno.
    pub(super) result: i32,
    /// When it was taken in, in nanoseconds; 0 where that is not measured.
    pub(super) begun: u64,
}

// SAFETY: the address is only handed on to the engine; who owns the memory is said where it comes in.
unsafe impl Send for Slot {}

impl Slot {
    pub(super) const EMPTY: Slot = Slot {
        stage: Stage::Idle,
        flags: Flags::NONE,
        cancelled: false,
        then: None,
        user_data: 0,
        file: None,
        buffer: None,
        address: ptr::null_mut(),
        vectors: 0,
        offset: 0,
        length: 0,
        from: 0,
        moved: 0,
        result: 0,
        begun: 0,
    };
}

/// What to do after an attempt that ended well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// All of it is done.
    Whole,
    /// So many bytes moved and no more will.
    Short(u32),
    /// Go on from here, an aligned distance from the beginning.
    From(u32),
    /// The kernel makes no way and the file does not end here.
    Stuck,
}

/// What follows on an attempt from `from` that moved `moved` bytes, of a request of `length` bytes of which `before`
/// had moved. `step` is what a place to go on must be a multiple of; `ends` says whether the file ends at or before the
/// given distance, and is asked only where that decides.
pub(super) fn next(
    length: u32,
    from: u32,
    before: u32,
    moved: u32,
    step: u32,
    ends: impl FnOnce(u32) -> bool,
) -> Next {
    let reached = from + moved;
    if reached >= length {
        return Next::Whole;
    }
    // An attempt begun before what had moved already may fall short of it.
    let known = reached.max(before);
    if ends(known) {
        return Next::Short(known);
    }
    if reached <= before {
        return Next::Stuck;
    }
    Next::From(reached - reached % step)
}

/// Drops `skip` bytes from the front of a list of pieces, in place. Returns the pieces that are left and where they begin.
pub(super) fn skip(vectors: &mut [libc::iovec], mut skip: usize) -> usize {
    let mut first = 0;
    while first < vectors.len() && skip >= vectors[first].iov_len {
        skip -= vectors[first].iov_len;
        first += 1;
    }
    if let Some(vector) = vectors.get_mut(first) {
        vector.iov_base = vector.iov_base.cast::<u8>().wrapping_add(skip).cast();
        vector.iov_len -= skip;
    }
    first
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_goes_on_where_it_is_aligned() {
        let never = |_| false;
        assert_eq!(next(8192, 0, 0, 8192, 512, never), Next::Whole);
        assert_eq!(next(8192, 0, 0, 4096, 512, never), Next::From(4096));
        assert_eq!(next(8192, 0, 0, 4100, 512, never), Next::From(4096));
        assert_eq!(next(8192, 4096, 4100, 100, 512, never), Next::From(4096));
        assert_eq!(next(8192, 4096, 4100, 4, 512, never), Next::Stuck);
        assert_eq!(next(8192, 4096, 4100, 0, 512, never), Next::Stuck);
        assert_eq!(next(8192, 0, 0, 0, 1, never), Next::Stuck);
        assert_eq!(next(100, 0, 0, 33, 1, never), Next::From(33));
    }

    #[test]
    fn the_end_of_the_file_ends_a_read_with_all_that_moved() {
        let at = |end| move |distance: u32| distance >= end;
        assert_eq!(next(8192, 0, 0, 4100, 512, at(4100)), Next::Short(4100));
        assert_eq!(next(8192, 0, 0, 0, 512, at(0)), Next::Short(0));
        // The second attempt found the file shorter than the first had.
        assert_eq!(next(8192, 4096, 4100, 0, 512, at(4096)), Next::Short(4100));
    }

    #[test]
    fn pieces_are_dropped_from_the_front() {
        let mut memory = [0u8; 30];
        let base = memory.as_mut_ptr();
        let piece = |at: usize, length: usize| libc::iovec {
            iov_base: base.wrapping_add(at).cast(),
            iov_len: length,
        };
        for (bytes, first, left) in [
            (0, 0, Some((0, 10))),
            (4, 0, Some((4, 6))),
            (10, 2, Some((10, 5))),
            (12, 2, Some((12, 3))),
            (15, 3, Some((20, 10))),
            (25, 4, None),
        ] {
            let mut pieces = [piece(0, 10), piece(10, 0), piece(10, 5), piece(20, 10)];
            assert_eq!(skip(&mut pieces, bytes), first, "{bytes}");
            let now = pieces
                .get(first)
                .map(|piece| (piece.iov_base as usize - base as usize, piece.iov_len));
            assert_eq!(now, left, "{bytes}");
        }
    }
}
