//! # Calls over the C ABI as a program may make them
//!
//! Structs of any size and content, in memory that ends where they say that they end; NULL where a program may forget a
//! pointer; numbers that are no enumerator and no flag. Handles and memory are right, as the header asks for.

mod files;
mod queues;
mod structs;

use std::{
    ffi::{c_int, c_void},
    path::PathBuf,
    ptr::{null, null_mut},
};

use odio::{
    buffer::*, completion::*, counters::*, explain::*, file::*, limits::*, options::*, pool::*,
    queue::*, rename::*, space::*, version::*,
};

use structs::{checked, checked_size};

use crate::{
    input::Input,
    place::{LARGEST, Place, Where, free_descriptor},
};

/// Operations of one input.
const MOST_STEPS: usize = 48;
/// Bytes of the memory that requests are made with.
const MEMORY: usize = 16384;

/// A panic that the library would hide from C ends the program.
pub fn show_panics() {
    // SAFETY: NULL is what is tried; the first call that can fail sets a hook, which the next one replaces.
    unsafe { odio_file_get_info(null(), null_mut()) };
    std::panic::set_hook(Box::new(|panic| {
        eprintln!("{panic}\n{}", std::backtrace::Backtrace::force_capture());
        std::process::abort();
    }));
}

/// Reads one input to its end.
pub fn drive(bytes: &[u8]) {
    let before = free_descriptor();
    let mut input = Input::new(bytes);
    let mut session = Session::new();
    for _ in 0..MOST_STEPS {
        if input.is_over() {
            break;
        }
        session.step(&mut input);
    }
    session.end();
    assert_eq!(free_descriptor(), before, "a descriptor is lost");
}

struct Line {
    queue: *mut odio_queue,
    depth: u32,
    in_flight: Vec<u64>,
}

struct Session {
    place: Place,
    /// One that comes and goes.
    named: PathBuf,
    files: Vec<*mut odio_file>,
    pools: Vec<*mut odio_pool>,
    lines: Vec<Line>,
    /// Given to requests; gone after the queues.
    memory: Vec<*mut c_void>,
    next: u64,
}

impl Session {
    fn new() -> Session {
        let program = std::env::current_exe().expect("this program has a path");
        Session {
            place: Place::new(Where::Disk),
            named: program.with_file_name(format!("odio-fuzz.{}", std::process::id())),
            files: Vec::new(),
            pools: Vec::new(),
            lines: Vec::new(),
            memory: Vec::new(),
            next: 0,
        }
    }

    fn step(&mut self, input: &mut Input<'_>) {
        match input.below(20) {
            0..=2 => self.open(input),
            3 => self.facts(input),
            4..=5 => self.transfer(input),
            6 => self.space(input),
            7 => self.set_mode(input),
            8..=9 => self.new_queue(input),
            10 => self.new_pool(input),
            11..=13 => self.request(input),
            14..=15 => self.wait(input),
            16 => self.of_queue(input),
            17 => self.of_pool(input),
            18 => self.close(input),
            _ => self.nothing(input),
        }
    }

    fn file(&self, input: &mut Input<'_>) -> *mut odio_file {
        match self.files.len() {
            0 => null_mut(),
            count => self.files[usize::from(input.byte()) % count],
        }
    }

    fn line(&self, input: &mut Input<'_>) -> Option<usize> {
        let count = self.lines.len();
        (count > 0).then(|| usize::from(input.byte()) % count)
    }

    /// Memory that stays until the queues are gone.
    fn memory(&mut self, file: *const odio_file) -> *mut c_void {
        let mut memory = null_mut();
        // SAFETY: an open handle.
        let result = unsafe { odio_buffer_new(file, MEMORY, &mut memory) };
        assert_eq!(checked(result), 0);
        self.memory.push(memory);
        memory
    }

    /// Where, and how much of the memory from where in it.
    fn place_of(input: &mut Input<'_>) -> (u64, usize, usize) {
        let offset = match input.below(8) {
            6 => LARGEST - u64::from(input.byte()) * 512,
            7 => input.number(),
            _ => u64::from(input.byte()) * 512,
        };
        let begin = input.of(&[0, 0, 0, 512, 4096, 1]);
        let length = input.of(&[4096, 4096, 8192, 512, 0, 1, 4097]);
        (offset, begin, length)
    }

    fn vectors(input: &mut Input<'_>, memory: *mut c_void) -> (Vec<libc::iovec>, c_int) {
        let pieces = usize::from(input.below(6));
        let vectors: Vec<libc::iovec> = (0..pieces)
            .map(|_| {
                let (_, begin, length) = Self::place_of(input);
                match input.below(12) {
                    10 => libc::iovec {
                        iov_base: null_mut(),
                        iov_len: length,
                    },
                    // More than any request has.
                    11 => libc::iovec {
                        iov_base: memory,
                        iov_len: 0x7fff_f001 + (input.number() as usize >> 1),
                    },
                    _ => libc::iovec {
                        iov_base: memory.wrapping_byte_add(begin),
                        iov_len: length,
                    },
                }
            })
            .collect();
        let count = match input.below(10) {
            9 => -1 - c_int::from(input.byte()),
            _ => pieces as c_int,
        };
        (vectors, count)
    }

    fn in_flight(&self) -> bool {
        self.lines.iter().any(|line| !line.in_flight.is_empty())
    }

    fn close(&mut self, input: &mut Input<'_>) {
        match input.below(3) {
            0 if !self.files.is_empty() => {
                let which = usize::from(input.byte()) % self.files.len();
                self.close_file(which);
            }
            1 if !self.lines.is_empty() => {
                let which = usize::from(input.byte()) % self.lines.len();
                self.free_queue(which);
            }
            _ => {
                if let Some(pool) = self.pools.pop() {
                    // SAFETY: a handle that is given up; queues keep what they know.
                    unsafe { odio_pool_free(pool) };
                }
            }
        }
    }

    fn close_file(&mut self, which: usize) {
        // SAFETY: a handle that is given up.
        checked(unsafe { odio_file_close(self.files.remove(which)) });
    }

    fn free_queue(&mut self, which: usize) {
        // Of two queues one may wait for what the other has.
        for line in 0..self.lines.len() {
            // SAFETY: a handle.
            unsafe { odio_queue_submit(self.lines[line].queue) };
        }
        let line = self.lines.remove(which);
        // SAFETY: a handle that is given up.
        let result = checked(unsafe { odio_queue_free(line.queue) });
        assert!(matches!(result, 0) || result == -libc::EDEADLK, "{result}");
    }

    /// NULL for every pointer, in turn.
    fn nothing(&mut self, input: &mut Input<'_>) {
        let (file, none) = (self.file(input), null_mut::<odio_file>());
        let mut memory = null_mut();
        // SAFETY: NULL is what is tried; the rest is right.
        unsafe {
            let refused = [
                odio_file_open(null(), null(), &mut null_mut()),
                odio_file_open(c"/".as_ptr(), null(), null_mut()),
                odio_file_get_info(none, null_mut()),
                odio_file_limits(none, null_mut()),
                odio_file_counters(none, null_mut()),
                odio_file_sync(none),
                odio_file_truncate(none, 0),
                odio_buffer_new(file, 0, &mut memory),
                odio_queue_new(null(), null_mut()),
                odio_pool_new(null(), &mut null_mut()),
                odio_open_options_set_mode(null_mut(), c"direct".as_ptr()),
                odio_queue_read(null_mut(), file, null_mut(), 0, 0, 0),
                odio_queue_wait(null_mut(), null_mut(), 0, 0, 0),
                odio_queue_submit(null_mut()),
                odio_queue_drain(null_mut()),
                odio_file_rename(none, c"x".as_ptr(), null_mut()),
                odio_file_read(none, null_mut(), 0, 0) as c_int,
                odio_file_explain(none, null_mut(), 0) as c_int,
            ];
            assert!(
                refused
                    .iter()
                    .all(|result| checked(*result) == -libc::EINVAL),
                "{refused:?}"
            );
            if !file.is_null() {
                assert!(checked(odio_file_get_info(file, null_mut())) < 0);
                assert!(checked_size(odio_file_read(file, null_mut(), 4096, 0)) < 0);
                assert!(checked(odio_file_rename(file, null(), null_mut())) < 0);
            }
            assert_eq!(odio_file_close(null_mut()), 0);
            assert_eq!(odio_queue_free(null_mut()), 0);
            odio_pool_free(null_mut());
            odio_buffer_free(null_mut());
            assert!(odio_pool_take(null()).is_null());
            assert!(!odio_source_name(input.number() as u32).is_null());
            assert!(!odio_version_string().is_null());
        }
    }

    fn end(mut self) {
        while !self.lines.is_empty() {
            self.free_queue(0);
        }
        while !self.files.is_empty() {
            self.close_file(0);
        }
        for pool in self.pools {
            // SAFETY: a handle that is given up.
            unsafe { odio_pool_free(pool) };
        }
        for memory in self.memory {
            // SAFETY: from odio_buffer_new, and no queue is left.
            unsafe { odio_buffer_free(memory) };
        }
        let _ = std::fs::remove_file(&self.named);
    }
}

impl Line {
    fn completed(&mut self, user_data: u64, result: i64) {
        let at = self.in_flight.iter().position(|each| *each == user_data);
        let at = at.expect("a completion of nothing, or a second one");
        self.in_flight.swap_remove(at);
        assert!((-4095..=MEMORY as i64 * 5).contains(&result), "{result}");
    }
}
