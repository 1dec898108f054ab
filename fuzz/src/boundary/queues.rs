//! # Calls about queues and pools

use std::{
    ffi::{CStr, c_int, c_void},
    ptr::{null, null_mut},
};

use odio::{completion::*, counters::*, pool::*, queue::*, queue_options::*};

use super::{
    Line, Session,
    structs::{Struct, checked},
};
use crate::input::Input;

impl Session {
    pub(super) fn new_queue(&mut self, input: &mut Input<'_>) {
        let ours = size_of::<odio_queue_options>();
        let mut options = Struct::new(input, ours);
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

    pub(super) fn new_pool(&mut self, input: &mut Input<'_>) {
        let ours = size_of::<odio_pool_options>();
        let mut options = Struct::new(input, ours);
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

    pub(super) fn request(&mut self, input: &mut Input<'_>) {
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
                which => {
                    let (vectors, count) = Self::vectors(input, memory);
                    let call = if which == 4 {
                        odio_queue_readv
                    } else {
                        odio_queue_writev
                    };
                    call(
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

    pub(super) fn wait(&mut self, input: &mut Input<'_>) {
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

    pub(super) fn of_queue(&mut self, input: &mut Input<'_>) {
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
                0 => {
                    Struct::fill::<odio_queue_info>(input, |info| odio_queue_get_info(queue, info))
                }
                1 => Struct::fill::<odio_counters>(input, |info| odio_queue_counters(queue, info)),
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

    pub(super) fn of_pool(&mut self, input: &mut Input<'_>) {
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
}

/// # Safety
///
/// `completion` is one, and `context` is a [`Line`].
unsafe extern "C" fn dispatched(completion: *const odio_completion, context: *mut c_void) {
    // SAFETY: as odio_queue_dispatch() promises, and as `of_queue` gives it.
    let (completion, line) = unsafe { (&*completion, &mut *context.cast::<Line>()) };
    line.completed(completion.user_data, completion.result);
}
