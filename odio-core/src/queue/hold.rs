//! # Requests that wait for another one
//!
//! A sync waits for the sync of the same file before it, and a request on a file that bounces for the requests that
//! hold its blocks. They are in flight and with no engine; each exchange looks whether they can go on.

use std::os::fd::AsRawFd;

use super::slot::{self, Slot, Stage};
use super::{Queue, event, vector};
use crate::contract::SyncKind;
use crate::engine::Deadline;
use crate::error::{Error, Op};
use crate::file::{File, HeldRange, SyncTurn};
use crate::flags::Flags;
use crate::mode::Engine;

/// What a slot holds while its request is on its way; dropped when it ends.
#[derive(Default)]
pub(super) enum Hold {
    #[default]
    Nothing,
    Range(#[allow(dead_code, reason = "held until dropped")] HeldRange),
    Turn(#[allow(dead_code, reason = "held until dropped")] SyncTurn),
}

/// How a request can reach the kernel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Way {
    /// As it is.
    #[default]
    Plain,
    /// As it is, once its blocks are held.
    Held,
    /// As it is, once no other sync of its file is on its way.
    InTurn,
    /// Through an aligned copy, on the thread that hands it over.
    Copied,
}

/// What became of a look at a held request.
enum Look {
    /// It waits on.
    Waits,
    /// It is staged.
    Staged,
    /// It has ended.
    Ended,
}

impl Queue {
    /// How this request, which the file takes, can reach the kernel.
    pub(super) fn way(
        file: &File,
        op: Op,
        vectors: &[libc::iovec],
        offset: u64,
        flags: Flags,
    ) -> Way {
        if !file.is_bounce() {
            return match op {
                Op::Write if file.takes_turns(flags) => Way::InTurn,
                _ => Way::Plain,
            };
        }
        // NOWAIT and ATOMIC have been held to the alignment.
        if file.check_vector_alignment(op, vectors, offset).is_err() {
            return Way::Copied;
        }
        if op == Op::Write {
            Way::Held
        } else {
            Way::Plain
        }
    }

    /// Has a request wait for its turn. A sync that is the first to wait for it goes on at the next exchange.
    pub(super) fn hold(&mut self, number: u32) {
        self.held.push_back(number);
    }

    /// Looks once at each request that waits.
    #[inline(never)]
    pub(super) fn look_at_held(&mut self) {
        let mut at = 0;
        // Taken out for the look: one that ends a copy may come back as a sync.
        while let Some(number) = self.held.remove(at) {
            match self.look(number, Deadline::Now) {
                Ok(Look::Staged) => self.take_followers(number),
                Ok(Look::Ended) => self.tell(),
                Ok(Look::Waits) | Err(_) => {
                    self.held.insert(at, number);
                    at += 1;
                }
            }
        }
    }

    /// Waits for another thread to let the first held request go on; nothing of this queue is with its engine.
    /// [`Error::Deadlock`] where that is another queue of this thread.
    #[inline(never)]
    pub(super) fn wait_for_held(&mut self, deadline: Deadline) -> Result<(), Error> {
        let Some(number) = self.held.pop_front() else {
            return Ok(());
        };
        match self.look(number, deadline) {
            Ok(Look::Staged) => self.take_followers(number),
            Ok(Look::Ended) => self.tell(),
            Ok(Look::Waits) => self.held.push_front(number),
            Err(error) => {
                self.held.push_front(number);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Ends a request that waits, if it does.
    pub(super) fn cancel_held(&mut self, number: u32) -> bool {
        let Some(at) = self.held.iter().position(|&each| each == number) else {
            return false;
        };
        self.held.remove(at);
        self.end(number, -libc::ECANCELED);
        self.tell();
        true
    }

    /// Signals the eventfd for what ended without the engine, which signals it for the rest.
    fn tell(&self) {
        if let Some(event) = &self.event {
            event::signal(event.as_raw_fd());
        }
    }

    fn look(&mut self, number: u32, deadline: Deadline) -> Result<Look, Error> {
        let slot = &self.slots[number as usize];
        let file = slot.file.clone().expect("a slot in use has a file");
        if matches!(slot.stage, Stage::Syncing | Stage::Finishing) {
            return self.look_at_sync(number, &file, deadline);
        }
        let (offset, length) = (slot.offset, u64::from(slot.length));
        let way = slot.way;
        if way == Way::Copied && slot.stage == Stage::Reading {
            self.copy(number, &file);
            return Ok(Look::Ended);
        }
        let nowait = slot.flags.has(Flags::NOWAIT);
        let hold = if way == Way::InTurn {
            let turn = if nowait {
                file.sync_turn_try(None)
            } else {
                self.sync_turn(&file, deadline)?
            };
            turn.map(Hold::Turn)
        } else {
            let range = match deadline {
                _ if nowait => file.lock_range_try(offset, length),
                Deadline::Now => file.lock_range_or_watch(offset, length, self.event.as_ref()),
                Deadline::Never => file.lock_range(offset, length)?,
                Deadline::At(end) => file.lock_range_until(offset, length, Some(end))?,
            };
            range.map(Hold::Range)
        };
        Ok(match hold {
            None if nowait => {
                self.end(number, -libc::EAGAIN);
                Look::Ended
            }
            None => Look::Waits,
            Some(hold) => {
                self.slots[number as usize].hold = hold;
                if way == Way::Copied {
                    self.copy(number, &file);
                    return Ok(Look::Ended);
                }
                self.stage_rest(number);
                Look::Staged
            }
        })
    }

    fn look_at_sync(
        &mut self,
        number: u32,
        file: &File,
        deadline: Deadline,
    ) -> Result<Look, Error> {
        // A write that was alone in its turn is closed in the same.
        if !matches!(self.slots[number as usize].hold, Hold::Turn(_)) {
            let Some(turn) = self.sync_turn(file, deadline)? else {
                return Ok(Look::Waits);
            };
            self.slots[number as usize].hold = Hold::Turn(turn);
        }
        // The one before may have failed, and that stands for this one too.
        if let Err(error) = file.check_sync() {
            self.end(number, -error.errno().0);
            return Ok(Look::Ended);
        }
        let kind = self.slots[number as usize]
            .then
            .expect("a sync knows its kind");
        self.stage_sync(number, kind);
        Ok(Look::Staged)
    }

    fn sync_turn(&self, file: &File, deadline: Deadline) -> Result<Option<SyncTurn>, Error> {
        match deadline {
            Deadline::Now => Ok(file.sync_turn_try(self.event.as_ref())),
            Deadline::Never => file.sync_turn(None),
            Deadline::At(end) => file.sync_turn(Some(end)),
        }
    }

    /// Lets the syncs of the same file that wait, and that this one covers, end with it: what they are for was complete
    /// before it began.
    fn take_followers(&mut self, leader: u32) {
        let slot = &self.slots[leader as usize];
        if !matches!(slot.stage, Stage::Syncing | Stage::Finishing) {
            return;
        }
        let (file, kind) = (slot.file.clone(), slot.then);
        let covered = |slot: &Slot| {
            matches!(slot.stage, Stage::Syncing | Stage::Finishing)
                && (slot.then == kind || kind == Some(SyncKind::Full))
                && matches!((&slot.file, &file), (Some(a), Some(b)) if a.is(b))
        };
        let mut at = 0;
        while at < self.held.len() {
            let number = self.held[at];
            if covered(&self.slots[number as usize]) {
                self.held.remove(at);
                let next = self.slots[leader as usize].follower;
                self.slots[number as usize].follower = next;
                self.slots[leader as usize].follower = number;
            } else {
                at += 1;
            }
        }
    }

    /// Ends the syncs that ended with this one.
    pub(super) fn end_followers(&mut self, leader: u32, failed: i32) {
        let mut next = std::mem::replace(&mut self.slots[leader as usize].follower, slot::NONE);
        while next != slot::NONE {
            let number = next;
            let slot = &mut self.slots[number as usize];
            next = std::mem::replace(&mut slot.follower, slot::NONE);
            let well = match slot.stage {
                Stage::Finishing => slot.length as i32,
                _ => 0,
            };
            self.end(number, if failed < 0 { failed } else { well });
        }
    }

    /// Does a request through an aligned copy, here and now.
    fn copy(&mut self, number: u32, file: &File) {
        let slot = &self.slots[number as usize];
        let (stage, flags) = (slot.stage, slot.flags);
        let (offset, length) = (slot.offset, slot.length as usize);
        let one = [vector(slot.address, length)];
        let vectors: &[libc::iovec] = match slot.vectors as usize {
            0 => &one,
            count => &self.pieces(number)[..count],
        };
        // SAFETY: whoever handed the memory in keeps it until the completion; a write's range is held by the slot.
        let result = unsafe {
            if stage == Stage::Reading {
                file.bounce_read(vectors, length, offset, flags)
            } else {
                file.bounce_write_held(vectors, length, offset, flags)
            }
        };
        self.counters.bounced += 1;
        match result {
            Err(error) => self.end(number, -error.errno().0),
            Ok(moved) if stage == Stage::Writing => {
                let slot = &mut self.slots[number as usize];
                slot.length = moved as u32;
                // The copy was made by plain calls, whichever engine the queue has.
                match file.closing_sync(Engine::Psync, flags) {
                    Some(kind) => {
                        slot.then = Some(kind);
                        self.close_write(number, kind);
                    }
                    None => self.end(number, moved as i32),
                }
            }
            Ok(moved) => self.end(number, moved as i32),
        }
    }
}
