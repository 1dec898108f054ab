//! # What takes requests in
//!
//! Checks a request, gives it a slot, and stages it or holds it up. No system call is made here.

use super::hold::Way;
use super::slot::{self, Slot, Stage};
use super::{Lane, Queue, Refused};
use crate::buffer::Buffer;
use crate::contract::SyncKind;
use crate::engine::{Driver, MemoryWay, Plain};
use crate::error::{Error, Op};
use crate::file::{File, vector};
use crate::flags::Flags;
use crate::mode::Cache;
use crate::sys::event;

impl Queue {
    /// Takes in a read of the whole buffer from `offset`. The buffer comes back with the completion.
    pub fn read(
        &mut self,
        file: &File,
        buffer: Buffer,
        offset: u64,
        user_data: u64,
    ) -> Result<(), Refused> {
        self.read_with(file, buffer, offset, Flags::NONE, user_data)
    }

    /// Takes in a write of the whole buffer to `offset`. The buffer comes back with the completion.
    pub fn write(
        &mut self,
        file: &File,
        buffer: Buffer,
        offset: u64,
        user_data: u64,
    ) -> Result<(), Refused> {
        self.write_with(file, buffer, offset, Flags::NONE, user_data)
    }

    /// As [`Queue::read`], with flags.
    pub fn read_with(
        &mut self,
        file: &File,
        buffer: Buffer,
        offset: u64,
        flags: Flags,
        user_data: u64,
    ) -> Result<(), Refused> {
        self.transfer(Stage::Reading, file, buffer, offset, flags, user_data)
    }

    /// As [`Queue::write`], with flags.
    pub fn write_with(
        &mut self,
        file: &File,
        buffer: Buffer,
        offset: u64,
        flags: Flags,
        user_data: u64,
    ) -> Result<(), Refused> {
        self.transfer(Stage::Writing, file, buffer, offset, flags, user_data)
    }

    /// Takes in a sync of what was written and completed before.
    pub fn sync(&mut self, file: &File, kind: SyncKind, user_data: u64) -> Result<(), Error> {
        if self.iopoll {
            return Err(no_sync_with_iopoll());
        }
        file.check_sync()?;
        let number = self.take_slot()?;
        let slot = &mut self.slots[number as usize];
        slot.stage = Stage::Syncing;
        slot.expected = slot::NEVER;
        slot.way = Way::Plain;
        slot.then = Some(kind);
        (slot.offset, slot.length) = (0, 0);
        slot.file = Some(file.clone());
        slot.user_data = user_data;
        slot.flags = Flags::NONE;
        slot.cancelled = false;
        slot.begun = self.latency.as_ref().map_or(0, |_| event::now());
        self.taken_in(number, file);
        self.hold(number);
        Ok(())
    }

    /// As [`Queue::read`], into memory of the caller's, which need not be initialised.
    ///
    /// # Safety
    ///
    /// `address` is valid for writes of `length` bytes, and is not touched otherwise, until the completion of this
    /// request or the drop of the queue.
    #[inline]
    pub unsafe fn read_raw(
        &mut self,
        file: &File,
        address: *mut u8,
        length: usize,
        offset: u64,
        user_data: u64,
    ) -> Result<(), Error> {
        let flags = Flags::NONE;
        // SAFETY: the caller's promise is the one asked for.
        unsafe {
            self.transfer_raw(
                Stage::Reading,
                file,
                address,
                length,
                offset,
                flags,
                user_data,
            )
        }
        .map(drop)
    }

    /// As [`Queue::write`], from memory of the caller's.
    ///
    /// # Safety
    ///
    /// `address` is valid for reads of `length` bytes, and is not changed, until the completion of this request or the
    /// drop of the queue.
    #[inline]
    pub unsafe fn write_raw(
        &mut self,
        file: &File,
        address: *const u8,
        length: usize,
        offset: u64,
        user_data: u64,
    ) -> Result<(), Error> {
        let (address, flags) = (address.cast_mut(), Flags::NONE);
        // SAFETY: the caller's promise is the one asked for; a write never stores through the address.
        unsafe {
            self.transfer_raw(
                Stage::Writing,
                file,
                address,
                length,
                offset,
                flags,
                user_data,
            )
        }
        .map(drop)
    }

    /// Takes in a read into several pieces of memory, in order, with flags. The list itself is copied.
    ///
    /// # Safety
    ///
    /// As for [`Queue::read_raw`], of each piece.
    pub unsafe fn readv_raw(
        &mut self,
        file: &File,
        vectors: &[libc::iovec],
        offset: u64,
        flags: Flags,
        user_data: u64,
    ) -> Result<(), Error> {
        // SAFETY: the caller's promise is the one asked for.
        unsafe { self.vectored(Stage::Reading, file, vectors, offset, flags, user_data) }
    }

    /// Takes in a write from several pieces of memory, in order, with flags. The list itself is copied.
    ///
    /// # Safety
    ///
    /// As for [`Queue::write_raw`], of each piece.
    pub unsafe fn writev_raw(
        &mut self,
        file: &File,
        vectors: &[libc::iovec],
        offset: u64,
        flags: Flags,
        user_data: u64,
    ) -> Result<(), Error> {
        // SAFETY: the caller's promise is the one asked for; a write never stores through the addresses.
        unsafe { self.vectored(Stage::Writing, file, vectors, offset, flags, user_data) }
    }

    /// Takes in a transfer of one piece that needs nothing out of the ordinary, in few instructions. `None` says that it
    /// does, or is not to be taken in at all: [`Queue::read_raw`] and [`Queue::write_raw`] then say why. It does not panic.
    ///
    /// # Safety
    ///
    /// As for [`Queue::read_raw`] or [`Queue::write_raw`].
    #[inline(always)]
    pub unsafe fn try_plain(
        &mut self,
        is_write: bool,
        file: &File,
        address: *mut u8,
        length: usize,
        offset: u64,
        user_data: u64,
    ) -> Option<u32> {
        // No call is made from here, however seldom: what has to survive one is saved at each entry, six registers.
        if length >= self.most_plain.get()
            || !file.is_plain_in_queue(is_write, address, length, offset)
        {
            return None;
        }
        let number = self.free;
        // Where none is free there is no slot of that number.
        let slot = self.slots.get_mut(number as usize)?;
        let mut plain = Plain {
            is_write,
            fd: -1,
            address,
            length: length as u32,
            offset,
            file: None,
            memory: MemoryWay::PLAIN,
        };
        match (self.lane, &mut self.driver) {
            // Each on its own, so that nothing is chosen by what is not there.
            (Lane::Ring, Some(Driver::IoUring(ring))) => {
                if address.is_null() {
                    return None;
                }
                self.free = slot.take(file, plain, user_data);
                plain.fd = file.fd();
                // SAFETY: the slot keeps the file open, and the caller keeps the memory, until the arrival.
                unsafe { ring.stage_plain(number, plain) };
            }
            (Lane::KnownToRing, Some(Driver::IoUring(ring))) => {
                plain.memory = self.tables.known_memory(address, length)?;
                if let Some(place) = self.tables.known_file(file) {
                    plain.file = Some(place);
                    self.free = slot.take_known(place, plain, user_data);
                    // SAFETY: as above, but that the tables keep the file.
                    unsafe { ring.stage_plain(number, plain) };
                } else if self.tables.is_other_file(file) {
                    self.free = slot.take(file, plain, user_data);
                    plain.fd = file.fd();
                    // SAFETY: as above.
                    unsafe { ring.stage_plain(number, plain) };
                } else {
                    return None;
                }
            }
            (Lane::Other, Some(Driver::Libaio(context))) if !address.is_null() => {
                self.free = slot.take(file, plain, user_data);
                plain.fd = file.fd();
                // SAFETY: as above.
                unsafe { context.stage_plain(number, plain) };
            }
            // For psync a thread does each request; some instructions more are no matter.
            _ => return None,
        }
        self.with_engine += 1;
        // Last, where its arguments take no register that is wanted for something else.
        slot.submit_probe(file);
        Some(number)
    }

    fn transfer(
        &mut self,
        stage: Stage,
        file: &File,
        mut buffer: Buffer,
        offset: u64,
        flags: Flags,
        user_data: u64,
    ) -> Result<(), Refused> {
        let (address, length) = (buffer.as_mut_ptr(), buffer.len());
        // SAFETY: the slot keeps the buffer until the completion, and a buffer's memory does not move with it.
        let taken =
            unsafe { self.transfer_raw(stage, file, address, length, offset, flags, user_data) };
        match taken {
            Ok(slot) => {
                let slot = &mut self.slots[slot as usize];
                slot.complete(&self.tables);
                slot.buffer = Some(buffer);
                // The completion brings it back, which the shortest way does not.
                slot.expected = slot::NEVER;
                Ok(())
            }
            Err(error) => Err(Refused { error, buffer }),
        }
    }

    /// # Safety
    ///
    /// The memory stays valid until the completion of this request or the drop of the queue.
    #[allow(clippy::too_many_arguments)]
    unsafe fn transfer_raw(
        &mut self,
        stage: Stage,
        file: &File,
        address: *mut u8,
        length: usize,
        offset: u64,
        flags: Flags,
        user_data: u64,
    ) -> Result<u32, Error> {
        if flags.is_empty() {
            let is_write = stage == Stage::Writing;
            self.tables.find(file, address, length);
            // SAFETY: the same promise.
            let taken =
                unsafe { self.try_plain(is_write, file, address, length, offset, user_data) };
            if let Some(number) = taken {
                return Ok(number);
            }
        }
        let (then, way) =
            self.check_closely(stage, file, &[vector(address, length)], offset, flags)?;
        let number = self.take_slot()?;
        self.slots[number as usize] = Slot {
            stage,
            flags,
            then,
            user_data,
            file: Some(file.clone()),
            address,
            offset,
            length: length as u32,
            way,
            begun: self.latency.as_ref().map_or(0, |_| event::now()),
            ..Slot::EMPTY
        };
        self.taken_in(number, file);
        if way == Way::Plain {
            self.stage_rest(number);
        } else {
            self.hold(number);
        }
        Ok(number)
    }

    /// # Safety
    ///
    /// The pieces stay valid until the completion of this request or the drop of the queue.
    unsafe fn vectored(
        &mut self,
        stage: Stage,
        file: &File,
        vectors: &[libc::iovec],
        offset: u64,
        flags: Flags,
        user_data: u64,
    ) -> Result<(), Error> {
        if let [one] = vectors
            && !one.iov_base.is_null()
        {
            let (address, length) = (one.iov_base.cast(), one.iov_len);
            // SAFETY: the same promise.
            return unsafe {
                self.transfer_raw(stage, file, address, length, offset, flags, user_data)
            }
            .map(drop);
        }
        if vectors.is_empty() || vectors.len() > self.max_vectors as usize {
            return Err(Error::Invalid(format!(
                "{} pieces: this queue takes 1 to {} (max_vectors)",
                vectors.len(),
                self.max_vectors
            )));
        }
        let (then, way) = self.check_closely(stage, file, vectors, offset, flags)?;
        let length: usize = vectors.iter().map(|each| each.iov_len).sum();
        let number = self.take_slot()?;
        let begun = self.latency.as_ref().map_or(0, |_| event::now());
        self.pieces(number)[..vectors.len()].copy_from_slice(vectors);
        self.slots[number as usize] = Slot {
            stage,
            flags,
            then,
            user_data,
            file: Some(file.clone()),
            vectors: vectors.len() as u32,
            offset,
            length: length as u32,
            way,
            begun,
            ..Slot::EMPTY
        };
        self.taken_in(number, file);
        if way == Way::Plain {
            self.stage_rest(number);
        } else {
            self.hold(number);
        }
        Ok(())
    }

    /// The checks that a plain request need not pass. Gives the sync that is to follow a write, and how the request can
    /// reach the kernel.
    #[inline(never)]
    fn check_closely(
        &self,
        stage: Stage,
        file: &File,
        vectors: &[libc::iovec],
        offset: u64,
        flags: Flags,
    ) -> Result<(Option<SyncKind>, Way), Error> {
        let op = if stage == Stage::Writing {
            Op::Write
        } else {
            Op::Read
        };
        file.check_vectors(op, vectors, offset, flags)?;
        if flags.then().is_some() {
            file.check_sync()?;
        }
        let then = match op {
            Op::Write => file.closing_sync(self.engine, flags),
            _ => None,
        };
        if self.iopoll {
            self.check_iopoll(file, then)?;
        }
        Ok((then, Self::way(file, op, vectors, offset, flags)))
    }

    fn check_iopoll(&self, file: &File, then: Option<SyncKind>) -> Result<(), Error> {
        let refused = |why: &str| Err(Error::Invalid(format!("a queue with IOPOLL: {why}")));
        if file.mode().cache == Cache::Buffered {
            return refused("this file is buffered, and the page cache has nothing to poll");
        }
        if then.is_some() {
            return Err(no_sync_with_iopoll());
        }
        match file.limits().poll_queues {
            Some(polled) if polled.value => Ok(()),
            Some(polled) => refused(&format!(
                "the device has no poll queues (for NVMe the module parameter poll_queues); source: {}",
                polled.source
            )),
            None => refused("whether the device of this file has poll queues is not known"),
        }
    }

    #[inline(always)]
    fn take_slot(&mut self) -> Result<u32, Error> {
        self.check_home()?;
        let depth = self.depth();
        let number = self.free;
        let slot = self
            .slots
            .get(number as usize)
            .ok_or(Error::QueueFull { depth })?;
        self.free = slot.next;
        Ok(number)
    }

    /// Counts a request that has just been taken in, and lets the outside see it.
    fn taken_in(&mut self, number: u32, file: &File) {
        self.beside += 1;
        self.slots[number as usize].submit_probe(file);
    }
}

#[cold]
fn no_sync_with_iopoll() -> Error {
    Error::Invalid(
        "a queue with IOPOLL carries transfers only (io_uring knows no polled fsync); sync the file itself".to_owned(),
    )
}
