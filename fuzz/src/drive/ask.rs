//! # What is asked for, and what becomes of the asking

use odio_core::{buffer::Buffer, contract::SyncKind, error::Error, flags::Flags, mode::Cache};

use super::{Drive, Flight, MOST_PIECES, Transfer, UNREAD, What};
use crate::{input::Input, place::LARGEST};

impl Drive {
    fn offset(input: &mut Input<'_>) -> u64 {
        let block = u64::from(input.below(16)) * 4096;
        let within = input.of(&[0, 0, 0, 0, 512, 1, 4095, 2048]);
        match input.below(24) {
            21 => LARGEST - 8192 + block % 16384,
            22 => i64::MAX as u64 - block - within,
            23 => u64::MAX - block - within,
            _ => block + within,
        }
    }

    fn length(input: &mut Input<'_>) -> usize {
        let blocks = usize::from(input.below(6)) + 1;
        input.of(&[
            blocks * 4096,
            blocks * 4096,
            blocks * 512,
            1,
            4095,
            blocks * 4096 + 7,
        ])
    }

    fn flags(input: &mut Input<'_>) -> Flags {
        match input.below(4) {
            0 => input.of(&Flags::ALL),
            1 => input.of(&Flags::ALL) | input.of(&Flags::ALL),
            _ => Flags::NONE,
        }
    }

    /// Nothing that this handle's requests cannot be beside is in flight.
    pub(super) fn make_way(&mut self, handle: usize) {
        let mine = &self.handles[handle];
        let in_flight = self.lines.iter().flat_map(|line| line.flights.values());
        let alone = in_flight.map(|flight| flight.handle).all(|number| {
            let other = self.handles.iter().find(|other| other.number == number);
            // Of one that is gone its kind is not known any more.
            other.is_some_and(|other| mine.goes_with(other))
        });
        if !alone {
            self.settle();
        }
    }

    pub(super) fn transfer(
        &mut self,
        input: &mut Input<'_>,
        line: usize,
        handle: usize,
        is_write: bool,
    ) {
        self.make_way(handle);
        let transfer = Transfer {
            is_write,
            offset: Self::offset(input),
            flags: Self::flags(input),
        };
        let length = Self::length(input);
        let pooled = input.rarely(3).then(|| self.pool.take()).flatten();
        let file = self.handles[handle].file.clone();
        let mut buffer = match pooled {
            Some(buffer) => buffer,
            None => file.buffer(length).expect("memory"),
        };
        let (address, length) = (buffer.as_mut_ptr() as usize, buffer.len());
        let expected = self.expect(line, handle, &transfer, &[(address, length)]);
        let (what, user_data) = self.begin(&transfer);
        fill(&mut buffer, &what, transfer.offset, 0);
        let Transfer { offset, flags, .. } = transfer;
        let queue = &mut self.lines[line].queue;
        let taken = match (is_write, flags.is_empty()) {
            (true, true) => queue.write(&file, buffer, offset, user_data),
            (true, false) => queue.write_with(&file, buffer, offset, flags, user_data),
            (false, true) => queue.read(&file, buffer, offset, user_data),
            (false, false) => queue.read_with(&file, buffer, offset, flags, user_data),
        };
        let taken = taken.map_err(|refused| {
            assert_eq!(refused.buffer.len(), length, "another buffer came back");
            refused.error
        });
        let flight = self.flight(what, None, &transfer, length as u64, handle);
        self.taken(line, user_data, flight, taken, &expected);
    }

    /// From memory of the caller's, in pieces, any of which may be out of line.
    pub(super) fn vectored(&mut self, input: &mut Input<'_>, line: usize, handle: usize) {
        self.make_way(handle);
        let transfer = Transfer {
            is_write: input.below(2) == 0,
            offset: Self::offset(input),
            flags: Self::flags(input),
        };
        let count = usize::from(input.below(6));
        let mut room = 0;
        let mut pieces = Vec::new();
        for _ in 0..count {
            let begin = room + input.of(&[0, 0, 0, 512, 1]);
            let length = match input.below(16) {
                15 => 0,
                _ => Self::length(input),
            };
            pieces.push((begin, length));
            room = (begin + length).next_multiple_of(4096);
        }
        let mut memory = Buffer::new(room.max(1), 4096).expect("memory");
        let start = memory.as_mut_ptr() as usize;
        let length: u64 = pieces.iter().map(|(_, length)| *length as u64).sum();
        let addresses: Vec<_> = pieces
            .iter()
            .map(|(at, length)| (start + at, *length))
            .collect();
        let mut expected = self.expect(line, handle, &transfer, &addresses);
        if !(1..=MOST_PIECES as usize).contains(&count) {
            expected.must.push(libc::EINVAL);
        }
        let (what, user_data) = self.begin(&transfer);
        let mut done = 0;
        for (at, length) in &pieces {
            fill(&mut memory[*at..at + length], &what, transfer.offset, done);
            done += *length as u64;
        }
        let vectors: Vec<libc::iovec> = addresses
            .iter()
            .map(|(address, length)| libc::iovec {
                iov_base: *address as *mut _,
                iov_len: *length,
            })
            .collect();
        let file = &self.handles[handle].file;
        let Transfer {
            is_write,
            offset,
            flags,
        } = transfer;
        let queue = &mut self.lines[line].queue;
        // SAFETY: the memory is kept with the flight until its completion, or until the queue is gone.
        let taken = unsafe {
            match is_write {
                true => queue.writev_raw(file, &vectors, offset, flags, user_data),
                false => queue.readv_raw(file, &vectors, offset, flags, user_data),
            }
        };
        let flight = self.flight(what, Some((memory, pieces)), &transfer, length, handle);
        self.taken(line, user_data, flight, taken, &expected);
    }

    fn begin(&mut self, transfer: &Transfer) -> (What, u64) {
        self.next += 1;
        let what = match transfer.is_write {
            true => What::Write(None, self.model.next_content()),
            false => What::Read(self.model.read()),
        };
        (what, self.next)
    }

    fn flight(
        &self,
        what: What,
        raw: Option<(Buffer, Vec<(usize, usize)>)>,
        transfer: &Transfer,
        length: u64,
        handle: usize,
    ) -> Flight {
        let handle = &self.handles[handle];
        Flight {
            what,
            raw,
            offset: transfer.offset,
            length,
            flags: transfer.flags,
            cancelled: false,
            spoilt: handle.spoilt,
            handle: handle.number,
        }
    }

    /// What must, and what may, keep a transfer from being taken in.
    fn expect(
        &self,
        line: usize,
        handle: usize,
        transfer: &Transfer,
        pieces: &[(usize, usize)],
    ) -> Expected {
        let (handle, line) = (&self.handles[handle], &self.lines[line]);
        let file = &handle.file;
        let Transfer {
            is_write,
            offset,
            flags,
        } = *transfer;
        let mut expected = Expected::default();
        let mut must = |wrong: bool, errno| {
            if wrong {
                expected.must.push(errno);
            }
        };
        must(is_write && !handle.writable, libc::EBADF);
        let length: usize = pieces.iter().map(|(_, length)| length).sum();
        let end = offset.checked_add(length as u64);
        must(end.is_none_or(|end| end > i64::MAX as u64), libc::EINVAL);
        let direct = file.mode().cache == Cache::Direct;
        let copies = file.is_bounce() && !flags.has(Flags::NOWAIT) && !flags.has(Flags::ATOMIC);
        let limits = file.limits();
        let block = match is_write {
            true => limits.offset_align.value,
            false => limits.read_offset_align.value,
        };
        let memory = limits.memory_align.value as usize;
        if copies && length > 0 {
            let block = memory.max(block as usize) as u64;
            let end = end.and_then(|end| end.checked_next_multiple_of(block));
            must(end.is_none_or(|end| end > i64::MAX as u64), libc::EINVAL);
        }
        if direct && !copies {
            must(!offset.is_multiple_of(block.into()), libc::EINVAL);
            for (address, length) in pieces.iter().filter(|(_, length)| *length > 0) {
                must(!address.is_multiple_of(memory), libc::EINVAL);
                must(!length.is_multiple_of(block as usize), libc::EINVAL);
            }
        }
        let of_writes = [
            Flags::DSYNC,
            Flags::SYNC,
            Flags::ATOMIC,
            Flags::THEN_DATASYNC,
            Flags::THEN_SYNC,
        ];
        must(
            !is_write && of_writes.iter().any(|flag| flags.has(*flag)),
            libc::EINVAL,
        );
        must(
            flags.has(Flags::NOWAIT) && flags.then().is_some(),
            libc::EINVAL,
        );
        let no_atomic = !direct || file.limits().atomic_write.is_none();
        must(flags.has(Flags::ATOMIC) && no_atomic, libc::EOPNOTSUPP);
        must(
            line.flights.len() as u32 >= line.queue.depth(),
            libc::EAGAIN,
        );
        // What the kernel and the filesystem can is asked of them.
        if flags.has(Flags::NOWAIT) || flags.has(Flags::DONTCACHE) {
            expected.may.push(libc::EOPNOTSUPP);
        }
        if flags.has(Flags::ATOMIC) {
            expected.may.push(libc::EINVAL);
        }
        if handle.spoilt {
            expected.any = true;
        }
        expected
    }

    /// What became of the wish to take a request in.
    fn taken(
        &mut self,
        line: usize,
        user_data: u64,
        mut flight: Flight,
        taken: Result<(), Error>,
        expected: &Expected,
    ) {
        match taken {
            Ok(()) => {
                assert!(
                    expected.any || expected.must.is_empty(),
                    "taken in, but for {expected:?}"
                );
                if let What::Write(number, content) = &mut flight.what {
                    let (offset, room) = (flight.offset, LARGEST.saturating_sub(flight.offset));
                    *number = Some(self.model.begin(*content, offset, flight.length.min(room)));
                }
                let line = &mut self.lines[line];
                line.accepted += 1;
                let before = line.flights.insert(user_data, flight);
                assert!(before.is_none());
            }
            Err(error) => {
                let errno = error.errno().0;
                let known = expected.must.contains(&errno) || expected.may.contains(&errno);
                assert!(
                    expected.any || known,
                    "refused with {error}, but for {expected:?}"
                );
                assert!(!error.to_string().is_empty());
            }
        }
    }

    pub(super) fn sync(&mut self, input: &mut Input<'_>, line: usize, handle: usize) {
        self.make_way(handle);
        let kind = input.of(&[SyncKind::Data, SyncKind::Full]);
        self.next += 1;
        let user_data = self.next;
        let (handle, of) = (&self.handles[handle], handle);
        let line_of = &mut self.lines[line];
        let expected = Expected {
            must: match line_of.flights.len() as u32 >= line_of.queue.depth() {
                true => vec![libc::EAGAIN],
                false => Vec::new(),
            },
            may: Vec::new(),
            any: handle.spoilt,
        };
        let taken = line_of.queue.sync(&handle.file, kind, user_data);
        let nowhere = Transfer {
            is_write: false,
            offset: 0,
            flags: Flags::NONE,
        };
        let flight = self.flight(What::Sync, None, &nowhere, 0, of);
        self.taken(line, user_data, flight, taken, &expected);
    }

    pub(super) fn cancel(&mut self, input: &mut Input<'_>, line: usize) {
        let line = &mut self.lines[line];
        let mut all: Vec<u64> = line.flights.keys().copied().collect();
        all.sort_unstable();
        let user_data = match all.len() {
            0 => 7,
            count => all[usize::from(input.byte()) % count],
        };
        let in_flight = line.queue.in_flight();
        let found = line.queue.cancel(user_data).expect("cancel");
        assert!(
            found <= 1 && found <= in_flight,
            "{found} requests were cancelled"
        );
        if let Some(flight) = line.flights.get_mut(&user_data) {
            flight.cancelled |= found == 1;
        } else {
            assert_eq!(found, 0);
        }
    }
}

/// Why a request is not taken in.
#[derive(Debug, Default)]
struct Expected {
    /// Where there is one it is refused.
    must: Vec<i32>,
    may: Vec<i32>,
    /// Nothing is known of it.
    any: bool,
}

/// Memory as it is when a request begins; `done` bytes of the request are in pieces before.
fn fill(memory: &mut [u8], what: &What, offset: u64, done: u64) {
    match what {
        What::Write(_, content) => content.fill(memory, offset.wrapping_add(done)),
        What::Read(_) | What::Sync => memory.fill(UNREAD),
    }
}
