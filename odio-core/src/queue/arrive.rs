//! # What becomes of a result
//!
//! An engine's result ends a request, or makes it go on: the rest of a transfer, or the sync that closes a write.

use std::ptr;

use super::hold::Hold;
use super::slot::{self, Slot, Stage};
use super::tables::Tables;
use super::{Queue, event};
use crate::contract::SyncKind;
use crate::counters;
use crate::engine::{Kind, Memory, Request};
use crate::error::Errno;
use crate::file::File;
use crate::flags::Flags;
use crate::resume::Next;

impl Queue {
    /// Takes in what the engine has given back. True where a request goes on.
    #[inline(never)]
    pub(super) fn look_at_arrivals(&mut self) -> bool {
        let mut arrivals = std::mem::take(&mut self.arrivals);
        let mut goes_on = false;
        for (number, result) in arrivals.drain(..) {
            goes_on |= self.arrive_otherwise(number, result);
        }
        // Back in its place, with its room.
        self.arrivals = arrivals;
        goes_on
    }

    #[inline(never)]
    fn arrive_otherwise(&mut self, number: u32, result: i32) -> bool {
        let slot = &mut self.slots[number as usize];
        slot.complete(&self.tables);
        if result == slot.expected {
            self.end(number, result);
            return false;
        }
        let file = slot.file.as_ref().expect("a slot in use has a file");
        let outcome = u32::try_from(result).map_err(|_| Errno(-result));
        match (slot.stage, outcome) {
            (Stage::Idle | Stage::Ready, _) => unreachable!("an engine reports a request once"),
            // No sync has been done then, and nothing that it would have reported is gone. io_uring cancels what it has
            // no worker for: a signal can keep it from making the first one (`io_wq_enqueue`, seen in 6.18).
            (
                Stage::Syncing | Stage::Finishing,
                Err(Errno(libc::ECANCELED | libc::EINTR | libc::EAGAIN)),
            ) => {
                let kind = slot.then.expect("a sync has a kind");
                self.counters.resumed += 1;
                counters::add(&file.count().resumed, 1);
                self.stage_sync(number, kind);
                true
            }
            (Stage::Syncing, _) => {
                let result = negative(file.note_sync(outcome.map(drop)).map(|()| 0));
                self.end(number, result);
                false
            }
            (Stage::Finishing, _) => {
                let length = slot.length;
                let result = negative(file.note_sync(outcome.map(drop)).map(|()| length));
                self.end(number, result);
                false
            }
            (_, Err(Errno(libc::EAGAIN | libc::EINTR | libc::ECANCELED))) if slot.cancelled => {
                self.end(number, -libc::ECANCELED);
                false
            }
            // Before anything moved, and not for want of waiting. Cancelled, but not by us: as for syncs.
            (_, Err(Errno(libc::EAGAIN | libc::EINTR | libc::ECANCELED)))
                if !slot.flags.has(Flags::NOWAIT) =>
            {
                self.counters.resumed += 1;
                counters::add(&file.count().resumed, 1);
                self.stage_rest(number);
                true
            }
            (stage, Err(errno)) => {
                let mut errno = errno;
                if stage == Stage::Writing {
                    errno = file.write_errno(errno);
                    file.note_write_error(errno, slot.flags);
                }
                self.end(number, -errno.0);
                false
            }
            (_, Ok(moved)) => self.moved(number, moved),
        }
    }

    /// Takes in that an attempt moved so many bytes.
    fn moved(&mut self, number: u32, moved: u32) -> bool {
        let slot = &mut self.slots[number as usize];
        let file = slot.file.as_ref().expect("a slot in use has a file");
        let reading = slot.stage == Stage::Reading;
        let mut resume = slot.resume();
        let before = resume.from();
        let next = resume.moved(moved as usize);
        let done = resume.done() as u32;
        slot.moved = done;
        // What is left of it is never all of it.
        slot.expected = slot::NEVER;
        let is_doubtful = if reading {
            next != Next::Done
        } else {
            file.takes_turns(slot.flags)
        };
        if is_doubtful && file.is_gone() {
            let errno = Errno(libc::ENODEV);
            if !reading {
                file.note_write_error(errno, slot.flags);
            }
            self.end(number, -errno.0);
            return false;
        }
        if next == Next::Done {
            return self.whole(number);
        }
        let nowait = slot.flags.has(Flags::NOWAIT);
        // Asked for at each short read: going on at the end of a file would only bring the same bytes once more. A file
        // whose size cannot be asked for does not end here.
        let ends = || {
            file.size()
                .is_ok_and(|size| slot.offset + u64::from(done) >= size)
        };
        // Where nothing moved the file ended there at that moment; it may have grown since.
        if nowait || (reading && (moved == 0 || ends())) {
            // With NOWAIT a write may be in part; that part is what the closing sync is for.
            if !reading && done > 0 {
                slot.length = done;
                return self.whole(number);
            }
            self.end(number, done as i32);
            return false;
        }
        if slot.cancelled {
            self.end(number, -libc::ECANCELED);
            return false;
        }
        // An atomic write is all or nothing, and a second part would be no part of the first.
        if next == Next::Stuck || slot.flags.has(Flags::ATOMIC) {
            self.end(number, -libc::EIO);
            return false;
        }
        self.counters.resumed += 1;
        counters::add(&file.count().resumed, 1);
        if slot.vectors > 0 {
            self.skip_pieces(number, resume.from() - before);
        }
        self.stage_rest(number);
        true
    }

    /// Takes in that all of a transfer is done.
    fn whole(&mut self, number: u32) -> bool {
        let slot = &self.slots[number as usize];
        match slot.then {
            Some(kind) => self.close_write(number, kind),
            None => {
                self.end(number, slot.length as i32);
                false
            }
        }
    }

    /// Drops what has moved from the front of a slot's pieces.
    fn skip_pieces(&mut self, number: u32, bytes: usize) {
        let count = self.slots[number as usize].vectors as usize;
        let pieces = self.pieces(number);
        let first = slot::skip(&mut pieces[..count], bytes);
        pieces.copy_within(first..count, 0);
        self.slots[number as usize].vectors = (count - first) as u32;
    }

    /// Stages a request from where it is to be taken up.
    pub(super) fn stage_rest(&mut self, number: u32) {
        let slot = &self.slots[number as usize];
        if slot.stage == Stage::Syncing {
            unreachable!("a sync is not interrupted");
        }
        let file = slot.file.as_ref().expect("a slot in use has a file");
        let from = slot.resume().from() as u32;
        let memory = if slot.vectors > 0 {
            Memory::Vector {
                vectors: ptr::null(),
                count: slot.vectors,
            }
        } else {
            let address = slot.address.wrapping_add(from as usize);
            let length = slot.length - from;
            Memory::Plain {
                address,
                length,
                registered: self.tables.memory(address, length as usize),
            }
        };
        let mut request = Request {
            kind: if slot.stage == Stage::Writing {
                Kind::Write
            } else {
                Kind::Read
            },
            fd: file.fd(),
            registered: self.tables.file(file),
            memory,
            offset: slot.offset + u64::from(from),
            flags: slot.flags.kernel(),
        };
        if let Memory::Vector { vectors, .. } = &mut request.memory {
            *vectors = self.pieces(number).as_ptr();
        }
        self.goes_to_engine();
        // SAFETY: the slot keeps the file open, its pieces stay in the queue's region, and whoever handed the memory in
        // keeps it until the completion.
        unsafe { self.driver().stage(number, request) };
    }

    /// Goes on with the sync that closes a write.
    pub(super) fn close_write(&mut self, number: u32, kind: SyncKind) -> bool {
        let slot = &mut self.slots[number as usize];
        slot.stage = Stage::Finishing;
        if slot.flags.then().is_none() {
            self.counters.finishing_syncs += 1;
            let file = slot.file.as_ref().expect("a slot in use has a file");
            counters::add(&file.count().finishing_syncs, 1);
        }
        let slot = &mut self.slots[number as usize];
        slot.then = Some(kind);
        self.hold(number);
        true
    }

    /// Ends a request: its completion waits to be collected from now on.
    pub(super) fn end(&mut self, number: u32, result: i32) {
        let slot = &mut self.slots[number as usize];
        let bytes = u64::try_from(result).unwrap_or(0);
        complete_probe(slot, &self.tables, result);
        let file = slot.file.take().expect("a slot in use has a file");
        let shared = file.count();
        match slot.stage {
            Stage::Reading => {
                self.moved[counters::READ] += bytes;
                counters::add(&shared.moved[counters::READ], bytes);
            }
            Stage::Writing | Stage::Finishing => {
                self.moved[counters::WRITTEN] += bytes;
                counters::add(&shared.moved[counters::WRITTEN], bytes);
            }
            _ => {}
        }
        counters::add(&shared.ended, 1);
        if result < 0 {
            self.counters.failed += 1;
            counters::add(&shared.failed, 1);
        }
        slot.stage = Stage::Ready;
        slot.result = result;
        let rare = slot.follower != slot::NONE || !matches!(slot.hold, Hold::Nothing);
        if let Some(latency) = &mut self.latency {
            latency.add(event::now().saturating_sub(slot.begun));
        }
        self.beside -= 1;
        self.counters.completed += 1;
        self.ready.push_back(number);
        if rare {
            self.let_go(number, result);
        }
    }

    #[inline(never)]
    fn let_go(&mut self, number: u32, result: i32) {
        self.slots[number as usize].hold = Hold::Nothing;
        self.end_followers(number, result);
    }
}

/// Lets the outside see a request that ends: its user data, its descriptor, what it was, and its result.
#[inline(always)]
pub(super) fn complete_probe(slot: &Slot, tables: &Tables, result: i32) {
    probe::probe_lazy!(
        odio,
        complete,
        slot.user_data,
        slot.file
            .as_ref()
            .or_else(|| tables.file_at(slot.known))
            .map_or(-1, File::fd),
        slot.stage as u8,
        result
    );
}

/// Bytes, or a negative errno.
fn negative(result: Result<u32, Errno>) -> i32 {
    result.map_or_else(|Errno(errno)| -errno, |bytes| bytes as i32)
}
