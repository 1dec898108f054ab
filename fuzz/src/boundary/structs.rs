//! # Structs as a program may fill them, and what the library has to say to them

use std::ffi::{CStr, c_int};

use odio::error::odio_last_error;

use crate::input::Input;

/// The largest struct that the library takes for one.
const LARGEST_STRUCT: usize = 4096;

/// A struct in memory of exactly the size that it says.
pub(super) struct Struct {
    memory: Vec<u8>,
    begin: usize,
}

impl Struct {
    pub(super) fn new(input: &mut Input<'_>, ours: usize) -> Struct {
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
        Struct { memory, begin }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.memory[self.begin..]
    }

    pub(super) fn number(&self, at: usize) -> u32 {
        let bytes = self.bytes().get(at..at + 4);
        bytes.map_or(0, |four| {
            u32::from_ne_bytes(four.try_into().expect("four bytes"))
        })
    }

    pub(super) fn set(&mut self, at: usize, value: u32) {
        if let Some(bytes) = self.memory[self.begin..].get_mut(at..at + 4) {
            bytes.copy_from_slice(&value.to_ne_bytes());
        }
    }

    pub(super) fn pointer<T>(&mut self) -> *mut T {
        self.memory[self.begin..].as_mut_ptr().cast()
    }

    /// What the library has to say of it, if it knows `ours` bytes.
    pub(super) fn refusal(&self, ours: usize) -> Option<c_int> {
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
    pub(super) fn fill<T>(input: &mut Input<'_>, call: impl FnOnce(*mut T) -> c_int) {
        let ours = size_of::<T>();
        let mut info = Struct::new(input, ours);
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
pub(super) fn checked<T: Copy + Into<i64>>(result: T) -> T {
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

pub(super) fn checked_size(result: isize) -> isize {
    checked(result as i64) as isize
}
