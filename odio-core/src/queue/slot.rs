//! # What a queue remembers of a request
//!
//! Pure values.

use std::mem;
use std::ptr;

use super::hold::{Hold, Way};
use super::tables::Tables;
use crate::buffer::Buffer;
use crate::contract::SyncKind;
use crate::counters;
use crate::engine::Plain;
use crate::file::File;
use crate::flags::Flags;
use crate::resume::Resume;

/// No slot.
pub(super) const NONE: u32 = u32::MAX;

/// No result of the kernel.
pub(super) const NEVER: i32 = i32::MIN;

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

impl Stage {
    /// Of a read or a write: where its bytes are counted. By its number, because a choice takes more.
    #[inline(always)]
    pub(super) fn counter(self) -> usize {
        self as usize & 1
    }
}

const _: () = assert!(
    Stage::Reading as usize & 1 == counters::READ
        && Stage::Writing as usize & 1 == counters::WRITTEN
);

/// What the queue remembers of a request until its completion has been collected.
pub(super) struct Slot {
    pub(super) stage: Stage,
    pub(super) flags: Flags,
    pub(super) cancelled: bool,
    /// The sync that ends a write, or that the request is.
    pub(super) then: Option<SyncKind>,
    pub(super) user_data: u64,
    /// The queue's tables have it where it is `None`, at `known`.
    pub(super) file: Option<File>,
    pub(super) buffer: Option<Buffer>,
    /// Null for a vectored request, whose pieces are in the queue's table.
    pub(super) address: *mut u8,
    /// Pieces of a vectored request that are not moved yet.
    pub(super) vectors: u32,
    pub(super) offset: u64,
    /// As `expected` says, where that is not [`NEVER`].
    pub(super) length: u32,
    /// The result that ends the request at once: all of a transfer that nothing follows. [`NEVER`] where every result
    /// is to be looked at.
    pub(super) expected: i32,
    /// How many bytes are known to have moved; [`crate::resume::Resume`] says where the next attempt begins.
    pub(super) moved: u32,
    /// Bytes, or a negative errno.
    pub(super) result: i32,
    pub(super) way: Way,
    pub(super) hold: Hold,
    /// The first of the syncs that end with this one, or [`NONE`].
    pub(super) follower: u32,
    /// When it was taken in, in nanoseconds; 0 where that is not measured.
    pub(super) begun: u64,
    /// The place of its file in the queue's tables, where `file` is `None`.
    pub(super) known: u32,
    /// Of a free slot: the next free one, or [`NONE`].
    pub(super) next: u32,
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
        expected: NEVER,
        moved: 0,
        result: 0,
        way: Way::Plain,
        hold: Hold::Nothing,
        follower: NONE,
        begun: 0,
        known: NONE,
        next: NONE,
    };

    /// Takes in a transfer that needs nothing out of the ordinary, on a file of its own; returns the next free slot. The rest
    /// of a free slot is as [`Slot::clear`] left it.
    #[inline(always)]
    pub(super) fn take(&mut self, file: &File, plain: Plain, user_data: u64) -> u32 {
        // A free slot has no file. Forgotten, because to drop nothing takes a look and room for a call.
        mem::forget(self.file.replace(file.clone()));
        self.take_either(plain, user_data)
    }

    /// As [`Slot::take`], on the file that the queue's tables keep at `place`. Not cloned: the count of a file is for all
    /// threads to change, and a change takes as long as the rest of this.
    #[inline(always)]
    pub(super) fn take_known(&mut self, place: u32, plain: Plain, user_data: u64) -> u32 {
        self.known = place;
        self.take_either(plain, user_data)
    }

    #[inline(always)]
    fn take_either(&mut self, plain: Plain, user_data: u64) -> u32 {
        self.stage = if plain.is_write {
            Stage::Writing
        } else {
            Stage::Reading
        };
        self.user_data = user_data;
        self.address = plain.address;
        self.offset = plain.offset;
        self.expected = plain.length as i32;
        self.next
    }

    /// Lets the outside see a request that is taken in: its user data, its descriptor, what it is, where and how long.
    #[inline(always)]
    pub(super) fn submit_probe(&self, file: &File) {
        probe::probe_lazy!(
            odio,
            submit,
            self.user_data,
            file.fd(),
            self.stage as u8,
            self.offset,
            self.whole()
        );
    }

    /// Makes it free after its completion was collected. What a request out of the ordinary may have set is set back, so
    /// that one that needs nothing of it need not.
    pub(super) fn clear(&mut self, next: u32) -> Option<Buffer> {
        self.stage = Stage::Idle;
        self.flags = Flags::NONE;
        self.cancelled = false;
        self.then = None;
        self.way = Way::Plain;
        self.vectors = 0;
        self.moved = 0;
        self.next = next;
        self.buffer.take()
    }

    /// How long the transfer is.
    #[inline(always)]
    fn whole(&self) -> u32 {
        match self.expected {
            NEVER => self.length,
            all => all as u32,
        }
    }

    /// Completes what [`Slot::take`] and [`Slot::take_known`] leave out.
    pub(super) fn complete(&mut self, tables: &Tables) {
        self.length = self.whole();
        self.own_file(tables);
    }

    /// Has the slot keep the file itself, where the queue's tables do.
    pub(super) fn own_file(&mut self, tables: &Tables) {
        if self.file.is_none() {
            self.file = tables.file_at(self.known).cloned();
        }
    }

    /// How far the transfer is.
    pub(super) fn resume(&self) -> Resume {
        let step = match (&self.file, self.stage) {
            (None, _) => 1,
            (Some(file), Stage::Reading) => file.read_step(),
            (Some(file), _) => file.step(),
        };
        Resume::at(self.length as usize, step, self.moved as usize)
    }
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
