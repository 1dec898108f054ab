//! # A queue held against the model
//!
//! Up to two queues, on any engine, over two handles of one file, in any modes: requests of every kind, right and wrong
//! ones, cancelled, vectored, past the end, on handles that go away or are spoilt under them. Each completion comes once,
//! with the bytes or the errno that the model allows.
//!
//! What odio does not promise is not asked for: handles of different kinds, and others beside one that bounces, are not
//! used at once, and the space of the file is changed while nothing is in flight.

mod answer;
mod ask;
mod beside;

use std::collections::HashMap;

use odio_core::{
    buffer::Buffer,
    file::{File, OpenOptions},
    flags::Flags,
    mode::{Cache, Engine, Mode, Sync},
    pool::Pool,
    queue::{Queue, QueueOptions},
};

use crate::{
    input::Input,
    model::{Content, Model, Reading},
    place::{Place, Where, free_descriptor},
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
