//! # A queue held against the model
//!
//! Up to two queues, on any engine, over two handles of one file, in any modes: requests of every kind, right and wrong
//! ones, cancelled, vectored, past the end, on handles that go away or are spoilt under them. Each completion comes once,
//! with the bytes or the errno that the model allows.
//!
//! What odio does not promise is not asked for: handles of different kinds, and others beside one that bounces, are not
//! used at once, and the space of the file is changed while nothing is in flight.

use std::{
    collections::HashMap,
    fs,
    os::fd::{AsFd, AsRawFd},
    time::Duration,
};

use odio_core::{
    buffer::Buffer,
    contract::SyncKind,
    error::{Errno, Error},
    file::{File, OpenOptions},
    flags::Flags,
    mode::{Cache, Engine, Mode, Sync},
    pool::Pool,
    queue::{Completion, Queue, QueueOptions},
};

use crate::{
    input::Input,
    model::{Content, Ended, Model, Reading},
    place::{LARGEST, Place, Where, free_descriptor},
};

/// Operations of one input.
const MOST_STEPS: usize = 96;
/// What a queue takes in pieces.
const MOST_PIECES: u32 = 4;
/// Bytes of a buffer of the pool.
const POOLED: usize = 8192;
/// What memory holds where nothing was read to.
const UNREAD: u8 = 0xa5;

/// Reads one input to its end.
pub fn drive(bytes: &[u8]) {
    let before = free_descriptor();
    let mut input = Input::new(bytes);
    let mut drive = Drive::new(&mut input);
    for _ in 0..MOST_STEPS {
        if input.is_over() {
            break;
        }
        drive.step(&mut input);
    }
    drive.end();
    assert_eq!(free_descriptor(), before, "a descriptor is lost");
}

/// An open file, and what it is.
struct Handle {
    file: File,
    writable: bool,
    /// Its descriptor leads elsewhere, without odio knowing.
    spoilt: bool,
    /// No other handle has it.
    number: u32,
}

impl Handle {
    /// Whether requests of both may be in flight at once.
    fn goes_with(&self, other: &Handle) -> bool {
        self.number == other.number
            || (self.file.mode().cache == other.file.mode().cache
                && !self.file.is_bounce()
                && !other.file.is_bounce())
    }
}

/// A request in flight.
struct Flight {
    what: What,
    /// Memory of the caller's, and where in it the request's pieces are.
    raw: Option<(Buffer, Vec<(usize, usize)>)>,
    offset: u64,
    length: u64,
    flags: Flags,
    cancelled: bool,
    spoilt: bool,
    handle: u32,
}

enum What {
    Read(Reading),
    /// Its number in the model, once it has been taken in.
    Write(Option<usize>, Content),
    Sync,
}

struct Line {
    queue: Queue,
    flights: HashMap<u64, Flight>,
    accepted: u64,
}

struct Drive {
    place: Place,
    at: Where,
    model: Model,
    handles: Vec<Handle>,
    lines: Vec<Line>,
    pool: Pool,
    /// What was read, and must not change any more.
    kept: Vec<(Buffer, Vec<u8>)>,
    next: u64,
}

/// A transfer as it is asked for.
struct Transfer {
    is_write: bool,
    offset: u64,
    flags: Flags,
}

impl Drive {
    fn new(input: &mut Input<'_>) -> Drive {
        let at = input.of(&[Where::Disk, Where::Memory]);
        let mut drive = Drive {
            place: Place::new(at),
            at,
            model: Model::default(),
            handles: Vec::new(),
            lines: Vec::new(),
            pool: Pool::new(4, POOLED, false).expect("a small pool"),
            kept: Vec::new(),
            next: 0,
        };
        for _ in 0..2 {
            let handle = drive.open(input);
            drive.handles.push(handle);
        }
        for _ in 0..1 + input.below(2) {
            let line = drive.queue(input);
            drive.lines.push(line);
        }
        drive
    }

    fn open(&mut self, input: &mut Input<'_>) -> Handle {
        let cache = match self.at {
            Where::Disk => input.of(&[Cache::Direct, Cache::Direct, Cache::Buffered]),
            Where::Memory => Cache::Buffered,
        };
        let sync = input.of(&[
            Sync::None,
            Sync::None,
            Sync::None,
            Sync::None,
            Sync::Dsync,
            Sync::Sync,
        ]);
        let writable = !input.rarely(8);
        let file = OpenOptions::new(Mode::new(cache, sync))
            .write(writable)
            .bounce(input.rarely(3))
            .open(self.place.path())
            .expect("a file that is there");
        self.next += 1;
        Handle {
            file,
            writable,
            spoilt: false,
            number: self.next as u32,
        }
    }

    fn queue(&mut self, input: &mut Input<'_>) -> Line {
        let engine = input.of(&[Engine::IoUring, Engine::Psync, Engine::Libaio]);
        let depth = 1 + u32::from(input.below(12));
        let queue = QueueOptions::new(depth)
            .engine(engine)
            .max_vectors(MOST_PIECES)
            .latency(input.rarely(4))
            .build()
            .unwrap_or_else(|error| panic!("this target wants every engine: {error}"));
        assert_eq!(queue.depth(), depth);
        Line {
            queue,
            flights: HashMap::new(),
            accepted: 0,
        }
    }

    fn step(&mut self, input: &mut Input<'_>) {
        let step = input.below(32);
        let line = usize::from(input.byte()) % self.lines.len();
        let handle = usize::from(input.byte()) % self.handles.len();
        match step {
            0..=4 => self.transfer(input, line, handle, true),
            5..=8 => self.transfer(input, line, handle, false),
            9..=11 => self.vectored(input, line, handle),
            12..=13 => self.sync(input, line, handle),
            14 => self.cancel(input, line),
            15 => self.wait(input, line),
            16 => self.collect(input, line),
            17 => self.poll_descriptor(line),
            18 => self.submit(line),
            19 => self.settle(),
            20 => self.blocking(input, handle),
            21 => self.known_file(input, line, handle),
            22 => self.known_pool(input, line),
            23 => {
                // Requests in flight keep the file open.
                self.handles[handle] = self.open(input);
            }
            24 => self.replace_queue(input, line),
            25..=26 => self.space(input, handle),
            27 => self.spoil(handle),
            28 => self.check_counts(line),
            _ => self.poll(line),
        }
        self.check_counts(line);
    }

    // What is asked for.

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
    fn make_way(&mut self, handle: usize) {
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

    fn transfer(&mut self, input: &mut Input<'_>, line: usize, handle: usize, is_write: bool) {
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
    fn vectored(&mut self, input: &mut Input<'_>, line: usize, handle: usize) {
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
        if direct && !copies {
            let limits = file.limits();
            let block = match is_write {
                true => limits.offset_align.value,
                false => limits.read_offset_align.value,
            };
            let memory = limits.memory_align.value as usize;
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

    fn sync(&mut self, input: &mut Input<'_>, line: usize, handle: usize) {
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

    fn cancel(&mut self, input: &mut Input<'_>, line: usize) {
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

    // What comes back.

    /// Where this thread's other queue is in the way, that one goes first.
    fn unless_in_the_way<T>(&mut self, line: usize, result: Result<T, Error>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(Error::Deadlock) => {
                let others = self.lines.iter().enumerate();
                let other = others.filter(|(number, _)| *number != line);
                let theirs: usize = other.map(|(_, line)| line.flights.len()).sum();
                assert!(theirs > 0, "EDEADLK, but this thread has no other request");
                None
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn submit(&mut self, line: usize) {
        let result = self.lines[line].queue.submit();
        self.unless_in_the_way(line, result);
    }

    fn poll(&mut self, line: usize) {
        let result = self.lines[line].queue.poll();
        if let Some(ready) = self.unless_in_the_way(line, result) {
            assert_eq!(ready, self.lines[line].queue.ready());
        }
        self.pop(line);
    }

    fn wait(&mut self, input: &mut Input<'_>, line: usize) {
        let min = u32::from(input.below(14));
        let timeout = input.of(&[None, Some(Duration::ZERO), Some(Duration::from_micros(50))]);
        let held = self.lines[line].flights.len() as u32;
        let result = self.lines[line].queue.wait(min, timeout);
        if let Some(ready) = self.unless_in_the_way(line, result)
            && timeout.is_none()
        {
            assert!(
                ready >= min.min(held),
                "{ready} are ready of {min} that were waited for"
            );
        }
        self.pop(line);
    }

    fn pop(&mut self, line: usize) {
        while let Some(Completion {
            user_data,
            result,
            buffer,
        }) = self.lines[line].queue.pop()
        {
            self.complete(line, user_data, result, buffer);
        }
        assert_eq!(self.lines[line].queue.ready(), 0);
    }

    fn collect(&mut self, input: &mut Input<'_>, line: usize) {
        let (min, max) = (u32::from(input.below(4)), u32::from(input.below(14)));
        let mut all = Vec::new();
        let queue = &mut self.lines[line].queue;
        let first = match input.rarely(2) {
            true => queue.try_collect(min, max, false, |user_data, result| {
                all.push((user_data, result))
            }),
            false => Err(0),
        };
        let result = match first {
            Ok(collected) => Ok(collected),
            Err(collected) => queue.collect_on(
                collected,
                min.min(max),
                max,
                Some(Duration::ZERO),
                |user_data, result| all.push((user_data, result)),
            ),
        };
        let collected = self.unless_in_the_way(line, result);
        if let Some(collected) = collected {
            assert_eq!(collected as usize, all.len());
        }
        assert!(all.len() <= max as usize);
        for (user_data, result) in all {
            let result = u32::try_from(result).map_err(|_| Errno(-result));
            self.complete(line, user_data, result, None);
        }
    }

    /// Sleeps on the eventfd as a program's own loop does: what completes wakes it.
    fn poll_descriptor(&mut self, line: usize) {
        let descriptor = match self.lines[line].queue.eventfd() {
            Ok(descriptor) => descriptor.as_raw_fd(),
            Err(error) => panic!("{error}"),
        };
        let result = self.lines[line].queue.poll();
        let Some(mut ready) = self.unless_in_the_way(line, result) else {
            return;
        };
        let alone = self.lines.iter().enumerate();
        let alone = alone
            .filter(|(number, _)| *number != line)
            .all(|(_, l)| l.flights.is_empty());
        while ready == 0 && alone && self.lines[line].queue.in_flight() > 0 {
            let mut asked = libc::pollfd {
                fd: descriptor,
                events: libc::POLLIN,
                revents: 0,
            };
            let mut count = 0_u64;
            // libFuzzer's own limit ends a sleep that nothing ends, and its timer interrupts it.
            // SAFETY: both values live until the calls return.
            unsafe {
                while libc::poll(&mut asked, 1, -1) != 1 {
                    assert_eq!(
                        std::io::Error::last_os_error().kind(),
                        std::io::ErrorKind::Interrupted
                    );
                }
                libc::read(descriptor, (&raw mut count).cast(), 8);
            }
            let result = self.lines[line].queue.poll();
            ready = self.unless_in_the_way(line, result).expect("it is alone");
        }
        self.pop(line);
    }

    /// Waits until nothing is in flight anywhere, and asks for the size.
    fn settle(&mut self) {
        let mut rounds = 0;
        while self.lines.iter().any(|line| !line.flights.is_empty()) {
            for line in 0..self.lines.len() {
                let result = self.lines[line].queue.drain();
                if self.unless_in_the_way(line, result).is_some() {
                    assert_eq!(self.lines[line].queue.in_flight(), 0);
                }
                self.pop(line);
                if self.lines[line].queue.in_flight() == 0 {
                    assert!(self.lines[line].flights.is_empty(), "a completion is lost");
                }
            }
            rounds += 1;
            assert!(rounds < 100, "the queues stand in each other's way");
        }
        self.model.settle(self.place.size());
    }

    fn complete(
        &mut self,
        line: usize,
        user_data: u64,
        result: Result<u32, Errno>,
        buffer: Option<Buffer>,
    ) {
        let flight = self.lines[line].flights.remove(&user_data);
        let flight = flight.unwrap_or_else(|| panic!("a completion of nothing, or a second one"));
        let moved = self.check_result(&flight, result);
        let memory = match (buffer, flight.raw) {
            (Some(buffer), _) => {
                let whole = vec![(0, buffer.len())];
                Some((buffer, whole))
            }
            (None, raw) => raw,
        };
        match flight.what {
            What::Sync => assert!(memory.is_none()),
            What::Write(number, content) => {
                let whole = moved == Some(flight.length);
                let number = number.expect("it was taken in");
                self.model
                    .end(number, if whole { Ended::Whole } else { Ended::Perhaps });
                if let Some((memory, pieces)) = &memory {
                    let mut place = flight.offset;
                    for (at, length) in pieces {
                        let expected =
                            (place..place + *length as u64).map(|place| content.at(place));
                        let same = memory[*at..at + length].iter().copied().eq(expected);
                        assert!(same, "a write has changed the memory that it was from");
                        place += *length as u64;
                    }
                }
            }
            What::Read(reading) => {
                let Some((memory, pieces)) = memory else {
                    return;
                };
                if let Some(moved) = moved
                    && !flight.spoilt
                {
                    let mut bytes = Vec::new();
                    for (at, length) in &pieces {
                        bytes.extend_from_slice(&memory[*at..at + length]);
                    }
                    bytes.truncate(moved as usize);
                    let may_stop = flight.flags.has(Flags::NOWAIT);
                    self.model
                        .check_read(reading, flight.offset, flight.length, &bytes, may_stop);
                }
                let now = memory.to_vec();
                self.kept.push((memory, now));
            }
        }
    }

    /// The bytes that were moved, or `None` for a failure that may be.
    fn check_result(&self, flight: &Flight, result: Result<u32, Errno>) -> Option<u64> {
        let length = flight.length;
        let end = flight.offset.saturating_add(length);
        match result {
            Ok(moved) => {
                let moved = u64::from(moved);
                assert!(moved <= length, "{moved} bytes of {length}");
                if let What::Write(..) = flight.what {
                    let may_stop = flight.flags.has(Flags::NOWAIT);
                    assert!(
                        may_stop || moved == length,
                        "a write of {moved} bytes of {length}"
                    );
                    let past = length > 0 && end > LARGEST;
                    assert!(!past || moved < length, "a write past the largest size");
                }
                Some(moved)
            }
            Err(Errno(errno)) => {
                let nowait = flight.flags.has(Flags::NOWAIT);
                let is_write = matches!(flight.what, What::Write(..));
                let right = flight.spoilt
                    || errno == libc::ECANCELED && flight.cancelled
                    || errno == libc::EAGAIN && nowait
                    // What a write may is not known from the read that asked.
                    || errno == libc::EOPNOTSUPP && is_write && !flight.flags.is_empty()
                    || matches!(errno, libc::EFBIG | libc::EIO) && is_write && end > LARGEST;
                assert!(
                    right,
                    "{} of {length} at {}: {}",
                    match flight.what {
                        What::Read(_) => "a read",
                        What::Write(..) => "a write",
                        What::Sync => "a sync",
                    },
                    flight.offset,
                    Errno(errno)
                );
                None
            }
        }
    }

    fn check_counts(&self, line: usize) {
        let Line {
            queue,
            flights,
            accepted,
        } = &self.lines[line];
        let held = queue.in_flight() + queue.ready();
        assert_eq!(
            held as usize,
            flights.len(),
            "a request is lost, or one too many"
        );
        let counters = queue.counters();
        assert_eq!(counters.submitted, *accepted);
        assert_eq!(counters.completed + u64::from(queue.in_flight()), *accepted);
    }

    // What is beside a queue.

    /// A read or write without a queue.
    fn blocking(&mut self, input: &mut Input<'_>, handle: usize) {
        self.make_way(handle);
        let file = self.handles[handle].file.clone();
        let spoilt = self.handles[handle].spoilt;
        let block = u64::from(input.below(16)) * 4096;
        let mut buffer = file
            .buffer(4096 * (1 + usize::from(input.below(3))))
            .expect("memory");
        let length = buffer.len() as u64;
        if input.below(2) == 0 {
            let reading = self.model.read();
            buffer.fill(UNREAD);
            match file.read_at(&mut buffer, block) {
                Ok(moved) if !spoilt => {
                    self.model
                        .check_read(reading, block, length, &buffer[..moved], false);
                }
                Ok(_) | Err(Error::Deadlock) => {}
                Err(error) => assert!(spoilt, "{error}"),
            }
        } else if self.handles[handle].writable {
            let content = self.model.next_content();
            content.fill(&mut buffer, block);
            let number = self.model.begin(content, block, length);
            match file.write_at(&buffer, block) {
                Ok(()) => self.model.end(number, Ended::Whole),
                Err(error) => {
                    assert!(spoilt || matches!(error, Error::Deadlock), "{error}");
                    self.model.end(number, Ended::Perhaps);
                }
            }
        }
    }

    fn known_file(&mut self, input: &mut Input<'_>, line: usize, handle: usize) {
        let file = &self.handles[handle].file;
        let queue = &mut self.lines[line].queue;
        let spoilt = self.handles[handle].spoilt;
        match input.below(2) {
            0 => {
                let added = queue.add_file(file);
                assert!(spoilt || added.is_ok(), "{added:?}");
            }
            _ => match queue.remove_file(file) {
                Ok(_) => {}
                Err(error) => assert_eq!(error.errno(), Errno(libc::EAGAIN)),
            },
        }
    }

    fn known_pool(&mut self, input: &mut Input<'_>, line: usize) {
        let queue = &mut self.lines[line].queue;
        match input.below(2) {
            0 => {
                queue.add_pool(&self.pool).expect("add_pool");
            }
            _ => match queue.remove_pool(&self.pool) {
                Ok(_) => {}
                Err(error) => assert_eq!(error.errno(), Errno(libc::EAGAIN)),
            },
        }
    }

    /// Another queue in its place. What was in flight is done, and its completions are nobody's.
    fn replace_queue(&mut self, input: &mut Input<'_>, line: usize) {
        if self.lines.len() > 1 {
            // Dropping it waits, and what it waits for may be the other's.
            self.settle();
        }
        let new = self.queue(input);
        let Line { queue, flights, .. } = std::mem::replace(&mut self.lines[line], new);
        if input.rarely(2) {
            queue.close().expect("an engine that answers");
        } else {
            drop(queue);
        }
        for flight in flights.into_values() {
            if let What::Write(Some(number), _) = flight.what {
                self.model.end(number, Ended::Perhaps);
            }
        }
        if self.lines.iter().all(|line| line.flights.is_empty()) {
            self.model.settle(self.place.size());
        }
    }

    fn space(&mut self, input: &mut Input<'_>, handle: usize) {
        self.settle();
        let Handle {
            file,
            writable,
            spoilt,
            ..
        } = &self.handles[handle];
        if *spoilt {
            return;
        }
        let offset = u64::from(input.below(64)) * 1024 + input.of(&[0, 0, 1]);
        let length = u64::from(input.below(32)) * 1024 + input.of(&[0, 0, 1]);
        let what = input.below(5);
        let result = match what {
            0 => file.truncate(offset),
            1 => file.punch_hole(offset, length),
            2 => file.zero_range(offset, length),
            3 => file.allocate(offset, length),
            _ => file.allocate_keep_size(offset, length),
        };
        if !writable {
            assert_eq!(
                result.expect_err("a file for reading").errno(),
                Errno(libc::EBADF)
            );
            return;
        }
        match (what, &result) {
            (0, Ok(())) => self.model.resize(offset),
            (1, Ok(())) => self.model.zero(offset, length, Ended::Whole),
            (2, Ok(())) => {
                self.model.zero(offset, length, Ended::Whole);
                self.model.grow(offset + length);
            }
            (3, Ok(())) => self.model.grow(offset + length),
            (_, Ok(())) => {}
            (_, Err(error)) => {
                let errno = error.errno().0;
                let right = errno == libc::EINVAL && length == 0
                    || errno == libc::EOPNOTSUPP && self.at == Where::Memory;
                assert!(right && what > 0, "{error}");
            }
        }
        self.model.settle(self.place.size());
    }

    /// The descriptor leads to /dev/null from now on, as where a program closes what is not its own.
    fn spoil(&mut self, handle: usize) {
        self.settle();
        let null = fs::File::open("/dev/null").expect("/dev/null");
        let handle = &mut self.handles[handle];
        handle.spoilt = true;
        let descriptor = handle.file.as_fd().as_raw_fd();
        // SAFETY: both descriptors are open; that the file's is changed under it is what is tried.
        let result = unsafe { libc::dup3(null.as_raw_fd(), descriptor, libc::O_CLOEXEC) };
        assert_eq!(result, descriptor);
    }

    fn end(mut self) {
        self.settle();
        self.lines.clear();
        let size = self.place.size();
        self.model.settle(size);
        // What lies behind a hole of megabytes is one write at most.
        for (offset, length) in [
            (0, size.min(1 << 17)),
            (size.saturating_sub(1 << 15), size.min(1 << 15)),
        ] {
            let bytes = self.place.bytes(offset, length as usize);
            let reading = self.model.read();
            self.model
                .check_read(reading, offset, length, &bytes, false);
        }
        for (memory, then) in &self.kept {
            assert!(
                memory[..] == then[..],
                "memory was written to after its completion"
            );
        }
        self.kept.clear();
        self.handles.clear();
        let all: Vec<_> = std::iter::from_fn(|| self.pool.take()).collect();
        assert_eq!(all.len(), 4, "a buffer of the pool is lost");
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
