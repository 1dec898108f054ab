//! # Calls over the C ABI as a program may make them
//!
//! Structs of any size and content, in memory that ends where they say that they end; NULL where a program may forget a
//! pointer; numbers that are no enumerator and no flag. Handles and memory are right, as the header asks for.

use std::{
    ffi::{CStr, CString, c_int, c_void},
    path::PathBuf,
    ptr::{null, null_mut},
};

use odio::{
    buffer::*, completion::*, counters::*, error::*, explain::*, file::*, limits::*, options::*,
    pool::*, queue::*, queue_options::*, rename::*, space::*, vectors::*, version::*,
};

use crate::{
    input::Input,
    place::{LARGEST, Place, Where, free_descriptor},
};

/// Operations of one input.
const MOST_STEPS: usize = 48;
/// Bytes of the memory that requests are made with.
const MEMORY: usize = 16384;
/// The largest struct that the library takes for one.
const LARGEST_STRUCT: usize = 4096;

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

/// A struct in memory of exactly the size that it says.
struct Sized {
    memory: Vec<u8>,
    begin: usize,
}

impl Sized {
    fn new(input: &mut Input<'_>, ours: usize) -> Sized {
        let size = match input.below(10) {
            0..=3 => ours,
            4 => ours + usize::from(input.byte()),
            5 => ours.saturating_sub(usize::from(input.byte())),
            6 => usize::from(input.byte()),
            7 => LARGEST_STRUCT - 1 + usize::from(input.below(3)),
            8 => 8 + 4 * usize::from(input.below(3)),
            _ => input.number() as usize,
        };
        let real = if (12..=LARGEST_STRUCT).contains(&size) {
            size
        } else {
            8
        };
        // Nothing promises the library that a struct is aligned.
        let begin = usize::from(input.below(8));
        let mut memory = vec![0; begin + real];
        if !input.rarely(4) {
            let length = usize::from(input.below(48));
            let content = input.bytes(length);
            let room = &mut memory[begin + 8..];
            let known = content.len().min(room.len());
            room[..known].copy_from_slice(&content[..known]);
        }
        if input.rarely(8) {
            *memory.last_mut().expect("8 bytes at least") ^= 1;
        }
        memory[begin..begin + 8].copy_from_slice(&size.to_ne_bytes());
        Sized { memory, begin }
    }

    fn bytes(&self) -> &[u8] {
        &self.memory[self.begin..]
    }

    fn number(&self, at: usize) -> u32 {
        let bytes = self.bytes().get(at..at + 4);
        bytes.map_or(0, |four| {
            u32::from_ne_bytes(four.try_into().expect("four bytes"))
        })
    }

    fn set(&mut self, at: usize, value: u32) {
        if let Some(bytes) = self.memory[self.begin..].get_mut(at..at + 4) {
            bytes.copy_from_slice(&value.to_ne_bytes());
        }
    }

    fn pointer<T>(&mut self) -> *mut T {
        self.memory[self.begin..].as_mut_ptr().cast()
    }

    /// What the library has to say of it, if it knows `ours` bytes.
    fn refusal(&self, ours: usize) -> Option<c_int> {
        let size = usize::from_ne_bytes(self.bytes()[..8].try_into().expect("eight bytes"));
        if !(12..=LARGEST_STRUCT).contains(&size) {
            return Some(-libc::EINVAL);
        }
        let unknown = self.bytes().get(ours..).unwrap_or_default();
        unknown
            .iter()
            .any(|byte| *byte != 0)
            .then_some(-libc::E2BIG)
    }

    /// Has an info struct filled, and looks that nothing is changed but what it is for.
    fn fill<T>(input: &mut Input<'_>, call: impl FnOnce(*mut T) -> c_int) {
        let ours = size_of::<T>();
        let mut info = Sized::new(input, ours);
        let before = info.bytes().to_vec();
        let refusal = info.refusal(ours);
        let result = checked(call(info.pointer()));
        assert_eq!(result, refusal.unwrap_or(0));
        let after = info.bytes();
        assert_eq!(after[..8], before[..8], "the size was changed");
        let known = ours.min(after.len());
        assert_eq!(
            after[known..],
            before[known..],
            "what is unknown was changed"
        );
        assert!(
            refusal.is_none() || *after == before[..],
            "refused and changed"
        );
    }
}

/// A result that is no failure, or one with its message.
fn checked<T: Copy + Into<i64>>(result: T) -> T {
    let number = result.into();
    if number < 0 {
        assert!(number >= -4095, "{number} is no errno");
        // SAFETY: never NULL, and valid until the next call of this thread.
        let said = unsafe { CStr::from_ptr(odio_last_error()) };
        let said = said.to_str().expect("a message is UTF-8");
        assert!(!said.is_empty(), "a failure without a message");
        assert!(!said.starts_with("a bug in odio"), "{said}");
    }
    result
}

fn checked_size(result: isize) -> isize {
    checked(result as i64) as isize
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

    fn open(&mut self, input: &mut Input<'_>) {
        let mut options = Sized::new(input, size_of::<odio_open_options>());
        if input.rarely(2) {
            // What is mostly right opens more.
            options.set(8, options.number(8) % 4);
            options.set(12, options.number(12) % 4);
            options.set(16, options.number(16) % 256);
        }
        let path = match input.below(12) {
            0..=5 => self.place.path(),
            6..=7 => self.named.clone(),
            8 => "/dev/null".into(),
            9 => "/".into(),
            10 => "".into(),
            _ => "/proc/self/fd/99999".into(),
        };
        let path = CString::new(path.into_os_string().into_encoded_bytes()).expect("no NUL");
        let without = input.rarely(8);
        let mut file = std::ptr::dangling_mut::<odio_file>();
        let pointer = if without {
            null()
        } else {
            options.pointer::<odio_open_options>().cast_const()
        };
        // SAFETY: all of it is right but for what the options say.
        let result = checked(unsafe { odio_file_open(path.as_ptr(), pointer, &mut file) });
        if !without && let Some(refusal) = options.refusal(size_of::<odio_open_options>()) {
            assert_eq!(result, refusal);
        }
        assert_eq!(result == 0, !file.is_null(), "a handle for {result}");
        if result == 0 {
            self.files.push(file);
        }
        if self.files.len() > 6 {
            self.close_file(0);
        }
    }

    fn facts(&mut self, input: &mut Input<'_>) {
        let file = self.file(input);
        if file.is_null() {
            return;
        }
        // SAFETY: an open handle, and structs of the size that they say.
        unsafe {
            match input.below(5) {
                0 => Sized::fill::<odio_file_info>(input, |info| odio_file_get_info(file, info)),
                1 => Sized::fill::<odio_limits>(input, |info| odio_file_limits(file, info)),
                2 => Sized::fill::<odio_counters>(input, |info| odio_file_counters(file, info)),
                3 => {
                    let mut text = vec![1_u8; usize::from(input.byte()) * 8];
                    let size = text.len();
                    let length =
                        checked_size(odio_file_explain(file, text.as_mut_ptr().cast(), size));
                    assert!(length > 0);
                    match text.iter().position(|byte| *byte == 0) {
                        Some(end) if (length as usize) < size => assert_eq!(end, length as usize),
                        Some(end) => assert_eq!(end, 0),
                        None => assert_eq!(size, 0),
                    }
                }
                _ => assert!(!CStr::from_ptr(odio_file_reason(file)).is_empty()),
            }
        }
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

    fn transfer(&mut self, input: &mut Input<'_>) {
        let file = self.file(input);
        if file.is_null() || self.in_flight() {
            return;
        }
        let memory = self.memory(file);
        let (offset, begin, length) = Self::place_of(input);
        let at = memory.wrapping_byte_add(begin);
        let flags = if input.rarely(2) {
            u32::from(input.byte())
        } else {
            0
        };
        // SAFETY: an open handle, and memory for as much as is asked for; what is more is refused.
        unsafe {
            match input.below(4) {
                0 => assert!(
                    checked_size(odio_file_read(file, at, length, offset)) <= length as isize
                ),
                1 => {
                    let result = checked_size(odio_file_write(file, at, length, offset));
                    assert!(result < 0 || result == length as isize);
                }
                2 => {
                    let (vectors, count) = Self::vectors(input, memory);
                    checked_size(odio_file_readv(
                        file,
                        vectors.as_ptr(),
                        count,
                        offset,
                        flags,
                    ));
                }
                _ => {
                    let (vectors, count) = Self::vectors(input, memory);
                    checked_size(odio_file_writev(
                        file,
                        vectors.as_ptr(),
                        count,
                        offset,
                        flags,
                    ));
                }
            }
        }
    }

    fn in_flight(&self) -> bool {
        self.lines.iter().any(|line| !line.in_flight.is_empty())
    }

    fn space(&mut self, input: &mut Input<'_>) {
        let file = self.file(input);
        if file.is_null() || self.in_flight() {
            return;
        }
        let number = |input: &mut Input<'_>| match input.below(4) {
            3 => input.number(),
            _ => u64::from(input.byte()) * 1024,
        };
        let (offset, length) = (number(input), number(input));
        // SAFETY: an open handle.
        unsafe {
            checked(match input.below(9) {
                0 => odio_file_truncate(file, offset),
                1 => odio_file_allocate(file, offset, length),
                2 => odio_file_allocate_keep_size(file, offset, length),
                3 => odio_file_punch_hole(file, offset, length),
                4 => odio_file_zero_range(file, offset, length),
                5 => odio_file_sync_range(file, offset, length),
                6 => odio_file_sync(file),
                7 => odio_file_datasync(file),
                _ => odio_file_acknowledge_sync_error(file).min(0),
            });
        }
    }

    fn set_mode(&mut self, input: &mut Input<'_>) {
        const MODES: [&str; 8] = [
            "direct",
            "direct+dsync",
            "direct+sync",
            "buffered",
            "buffered+dsync",
            "buffered+sync",
            "",
            "Direct",
        ];
        let ours = size_of::<odio_open_options>();
        let mut options = Sized::new(input, ours);
        let text = match input.rarely(2) {
            true => input.bytes(16).to_vec(),
            false => input.of(&MODES).as_bytes().to_vec(),
        };
        let is_mode = MODES[..6].iter().any(|mode| mode.as_bytes() == text);
        let Ok(text) = CString::new(text) else {
            return;
        };
        let refusal = options.refusal(ours);
        // SAFETY: a struct of its own size, and a text that ends.
        let result =
            checked(unsafe { odio_open_options_set_mode(options.pointer(), text.as_ptr()) });
        match (is_mode, refusal) {
            (false, _) => assert!(result < 0),
            (true, refusal) => assert_eq!(result, refusal.unwrap_or(0)),
        }
    }

    fn new_queue(&mut self, input: &mut Input<'_>) {
        let ours = size_of::<odio_queue_options>();
        let mut options = Sized::new(input, ours);
        if !input.rarely(8) {
            options.set(8, options.number(8) % 5);
            options.set(12, options.number(12) % 20);
            options.set(16, options.number(16) % 16);
        }
        // A thread of the kernel for each is too much for a machine that is shared.
        if options.number(16) & ODIO_QUEUE_SQPOLL != 0 && !input.rarely(32) {
            options.set(16, 0);
        }
        let without = input.rarely(8);
        let mut queue = std::ptr::dangling_mut::<odio_queue>();
        let pointer = if without {
            null()
        } else {
            options.pointer::<odio_queue_options>().cast_const()
        };
        // SAFETY: a struct of its own size, and a place for the handle.
        let result = checked(unsafe { odio_queue_new(pointer, &mut queue) });
        if !without && let Some(refusal) = options.refusal(ours) {
            assert_eq!(result, refusal);
        }
        assert_eq!(result == 0, !queue.is_null(), "a handle for {result}");
        if result == 0 {
            let depth = match options.number(12) {
                depth if without || depth == 0 => 32,
                depth => depth,
            };
            self.lines.push(Line {
                queue,
                depth,
                in_flight: Vec::new(),
            });
        }
        if self.lines.len() > 2 {
            self.free_queue(0);
        }
    }

    fn new_pool(&mut self, input: &mut Input<'_>) {
        let ours = size_of::<odio_pool_options>();
        let mut options = Sized::new(input, ours);
        if !input.rarely(4) {
            options.set(8, options.number(8) % 65536);
            options.set(12, 0);
            options.set(16, options.number(16) % 8);
            options.set(20, options.number(20) % 4);
        }
        let mut pool = std::ptr::dangling_mut::<odio_pool>();
        // SAFETY: a struct of its own size, and a place for the handle.
        let result = checked(unsafe { odio_pool_new(options.pointer(), &mut pool) });
        if let Some(refusal) = options.refusal(ours) {
            assert_eq!(result, refusal);
        }
        assert_eq!(result == 0, !pool.is_null(), "a handle for {result}");
        if result == 0 {
            self.pools.push(pool);
        }
    }

    fn request(&mut self, input: &mut Input<'_>) {
        let (file, Some(line)) = (self.file(input), self.line(input)) else {
            return;
        };
        if file.is_null() {
            return;
        }
        let memory = self.memory(file);
        let (offset, begin, length) = Self::place_of(input);
        let at = memory.wrapping_byte_add(begin);
        self.next += 1;
        let user_data = self.next;
        let line = &mut self.lines[line];
        let queue = line.queue;
        let flags = if input.rarely(2) {
            u32::from(input.byte())
        } else {
            0
        };
        // SAFETY: handles, and memory that stays until the queue is gone; what is more is refused.
        let result = checked(unsafe {
            match input.below(6) {
                0 => odio_queue_read(queue, file, at, length, offset, user_data),
                1 => odio_queue_write(queue, file, at, length, offset, user_data),
                2 => odio_queue_sync(queue, file, user_data),
                3 => odio_queue_datasync(queue, file, user_data),
                4 => {
                    let (vectors, count) = Self::vectors(input, memory);
                    odio_queue_readv(
                        queue,
                        file,
                        vectors.as_ptr(),
                        count,
                        offset,
                        flags,
                        user_data,
                    )
                }
                _ => {
                    let (vectors, count) = Self::vectors(input, memory);
                    odio_queue_writev(
                        queue,
                        file,
                        vectors.as_ptr(),
                        count,
                        offset,
                        flags,
                        user_data,
                    )
                }
            }
        });
        if result == 0 {
            line.in_flight.push(user_data);
            assert!(
                line.in_flight.len() <= line.depth as usize,
                "more than it holds"
            );
        }
    }

    fn wait(&mut self, input: &mut Input<'_>) {
        let Some(which) = self.line(input) else {
            return;
        };
        let (min, max) = (u32::from(input.below(20)), u32::from(input.below(20)));
        let timeout = input.of(&[0, 1, 100_000, -1, i64::MIN]);
        // What waits for the other queue, without end, is no matter of this target.
        let timeout = if self.lines.len() > 1 { 0 } else { timeout };
        let line = &mut self.lines[which];
        let none = odio_completion {
            user_data: 0,
            result: 0,
        };
        let mut completions = vec![none; max.max(1) as usize];
        // SAFETY: a handle, and room for `max`.
        let result =
            unsafe { odio_queue_wait(line.queue, completions.as_mut_ptr(), min, max, timeout) };
        if checked(result) < 0 {
            return;
        }
        assert!(min <= max && result as u32 <= max);
        for completion in &completions[..result as usize] {
            line.completed(completion.user_data, completion.result);
        }
    }

    fn of_queue(&mut self, input: &mut Input<'_>) {
        let file = self.file(input);
        let Some(line) = self.line(input) else {
            return;
        };
        let several = self.lines.len() > 1;
        let line = &mut self.lines[line];
        let queue = line.queue;
        // SAFETY: a handle, and what is NULL is what is tried.
        unsafe {
            match input.below(11) {
                0 => Sized::fill::<odio_queue_info>(input, |info| odio_queue_get_info(queue, info)),
                1 => Sized::fill::<odio_counters>(input, |info| odio_queue_counters(queue, info)),
                2 => {
                    checked(odio_queue_submit(queue));
                }
                3 => {
                    let which = usize::from(input.byte());
                    let user_data = line.in_flight.get(which).copied().unwrap_or(input.number());
                    assert!(checked(odio_queue_cancel(queue, user_data)) <= line.depth as c_int);
                }
                4 => {
                    checked(odio_queue_eventfd(queue));
                }
                5 => {
                    checked(odio_queue_add_file(queue, file));
                }
                6 => {
                    checked(odio_queue_remove_file(queue, file));
                }
                7 if !several => {
                    checked(odio_queue_drain(queue));
                }
                8 => assert!(!CStr::from_ptr(odio_queue_reason(queue)).is_empty()),
                9 => assert!(checked(odio_queue_dispatch(queue, 0, 0, None, null_mut())) < 0),
                _ => {
                    let context = (&raw mut *line).cast();
                    checked(odio_queue_dispatch(queue, 0, 0, Some(dispatched), context));
                }
            }
        }
    }

    fn of_pool(&mut self, input: &mut Input<'_>) {
        let Some(&pool) = self.pools.last() else {
            return;
        };
        let line = self.line(input);
        // SAFETY: a handle; what is taken is given back once.
        unsafe {
            match (input.below(4), line) {
                (0, Some(line)) => {
                    checked(odio_queue_add_pool(self.lines[line].queue, pool));
                }
                (1, Some(line)) => {
                    checked(odio_queue_remove_pool(self.lines[line].queue, pool));
                }
                (2, _) => {
                    let nowhere = input.number() as *mut c_void;
                    let memory = odio_pool_take(pool);
                    if !memory.is_null() {
                        assert!(checked(odio_pool_put(pool, memory.wrapping_byte_add(1))) < 0);
                        assert_eq!(checked(odio_pool_put(pool, memory)), 0);
                    }
                    if memory.is_null() {
                        assert!(checked(odio_pool_put(pool, nowhere)) < 0);
                    }
                }
                _ => assert!(!CStr::from_ptr(odio_pool_pages(pool)).is_empty()),
            }
        }
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

/// # Safety
///
/// `completion` is one, and `context` is a [`Line`].
unsafe extern "C" fn dispatched(completion: *const odio_completion, context: *mut c_void) {
    // SAFETY: as odio_queue_dispatch() promises, and as `of_queue` gives it.
    let (completion, line) = unsafe { (&*completion, &mut *context.cast::<Line>()) };
    line.completed(completion.user_data, completion.result);
}
