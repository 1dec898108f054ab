//! # Calls about a file

use std::{
    ffi::{CStr, CString},
    ptr::null,
};

use odio::{counters::*, explain::*, file::*, limits::*, options::*, space::*, vectors::*};

use super::{
    Session,
    structs::{Struct, checked, checked_size},
};
use crate::input::Input;

impl Session {
    pub(super) fn open(&mut self, input: &mut Input<'_>) {
        let mut options = Struct::new(input, size_of::<odio_open_options>());
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

    pub(super) fn facts(&mut self, input: &mut Input<'_>) {
        let file = self.file(input);
        if file.is_null() {
            return;
        }
        // SAFETY: an open handle, and structs of the size that they say.
        unsafe {
            match input.below(5) {
                0 => Struct::fill::<odio_file_info>(input, |info| odio_file_get_info(file, info)),
                1 => Struct::fill::<odio_limits>(input, |info| odio_file_limits(file, info)),
                2 => Struct::fill::<odio_counters>(input, |info| odio_file_counters(file, info)),
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

    pub(super) fn transfer(&mut self, input: &mut Input<'_>) {
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

    pub(super) fn space(&mut self, input: &mut Input<'_>) {
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

    pub(super) fn set_mode(&mut self, input: &mut Input<'_>) {
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
        let mut options = Struct::new(input, ours);
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
}
