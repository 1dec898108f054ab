//! # Pools of buffers
//!
//! One mapped region cut into buffers of one size, so that the kernel can be told of all of them at once
//! ([`crate::queue::Queue::add_pool`]). Bounded: what is made at first is all there ever is. Touches memory, no file.

use std::ffi::CStr;
use std::fmt;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::buffer::Buffer;
use crate::error::Error;
use crate::sys::memory::{self, Pages, Region};

/// Buffers of one size. A clone is the same pool; any number of threads may use it at once, without a lock. Its memory
/// goes when the pool, its last buffer and the last queue that knows it are gone.
#[derive(Debug, Clone)]
pub struct Pool {
    inner: Arc<Inner>,
}

struct Inner {
    region: Region,
    /// From one buffer to the next, in bytes.
    stride: usize,
    length: usize,
    /// The first free buffer in the low half, [`NONE`] where there is none; in the high half a number that changes at
    /// each exchange, so that a chain taken and put back in between is not mistaken for the old one.
    head: AtomicU64,
    /// After each free buffer, the next one.
    next: Box<[AtomicU32]>,
}

/// No buffer.
const NONE: u32 = u32::MAX;

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner")
            .field("region", &self.region)
            .field("count", &self.next.len())
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}

impl Pool {
    /// The most buffers that one pool holds.
    pub const MAX_COUNT: u32 = 1 << 20;

    /// Maps `count` zeroed buffers of `length` bytes each, at multiples of 4096. With `huge_pages` they lie in huge
    /// pages where the system has them; [`Pool::pages`] says what came of it. No NUMA policy is set: a page comes from
    /// the node of the thread that first touches it.
    pub fn new(count: u32, length: usize, huge_pages: bool) -> Result<Pool, Error> {
        if !(1..=Pool::MAX_COUNT).contains(&count) {
            return Err(Error::Invalid(format!(
                "pool of {count} buffers: from 1 to {}",
                Pool::MAX_COUNT
            )));
        }
        if length == 0 || length > Buffer::MAX {
            return Err(Error::Invalid(format!(
                "pool buffers of {length} bytes: from 1 to {}",
                Buffer::MAX
            )));
        }
        let stride = length.next_multiple_of(4096);
        let total = stride
            .checked_mul(count as usize)
            .ok_or_else(|| Error::Invalid(format!("a pool of {count} times {length} bytes")))?;
        let region = Region::new(total, huge_pages).map_err(|errno| Error::System {
            call: "mmap",
            errno,
        })?;
        let mut next = memory::room(count as usize)?;
        next.extend((1..count).chain([NONE]).map(AtomicU32::new));
        Ok(Pool {
            inner: Arc::new(Inner {
                region,
                stride,
                length,
                head: AtomicU64::new(0),
                next: next.into(),
            }),
        })
    }

    /// How many buffers the pool was made with.
    pub fn count(&self) -> u32 {
        self.inner.next.len() as u32
    }

    /// The size of each, in bytes.
    pub fn length(&self) -> usize {
        self.inner.length
    }

    /// What pages the buffers lie in, in words.
    pub fn pages(&self) -> &'static CStr {
        match self.inner.region.pages() {
            Pages::Plain => c"plain pages",
            Pages::Huge => c"huge pages (MAP_HUGETLB)",
            Pages::Advised => c"pages that the kernel was asked to make huge (MADV_HUGEPAGE)",
        }
    }

    /// A free buffer, with whatever its last user left in it; `None` where all are taken. It goes back when dropped.
    pub fn take(&self) -> Option<Buffer> {
        let address = self.take_raw()?;
        Some(Buffer::of_pool(address, self.inner.length, self.clone()))
    }

    /// As [`Pool::take`], as an address that [`Pool::put_raw`] takes back.
    pub fn take_raw(&self) -> Option<NonNull<u8>> {
        let mut head = self.inner.head.load(Ordering::Acquire);
        loop {
            let first = head as u32;
            if first == NONE {
                return None;
            }
            let next = self.inner.next[first as usize].load(Ordering::Relaxed);
            let new = tagged(head, next);
            match self.inner.head.compare_exchange_weak(
                head,
                new,
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) => return Some(self.address_of(first)),
                Err(now) => head = now,
            }
        }
    }

    /// Gives a buffer back. False, and nothing happens, for an address that is not the beginning of one of this pool's.
    ///
    /// # Safety
    ///
    /// The buffer was taken, was not given back since, and no request in flight uses it.
    pub unsafe fn put_raw(&self, address: *mut u8) -> bool {
        let Some(number) = self.number_of(address) else {
            return false;
        };
        let mut head = self.inner.head.load(Ordering::Relaxed);
        loop {
            self.inner.next[number as usize].store(head as u32, Ordering::Relaxed);
            let new = tagged(head, number);
            match self.inner.head.compare_exchange_weak(
                head,
                new,
                Ordering::AcqRel,
                Ordering::Relaxed,
            ) {
                Ok(_) => return true,
                Err(now) => head = now,
            }
        }
    }

    /// The memory of all buffers: where it begins, and its length in bytes.
    pub(crate) fn memory(&self) -> (*mut u8, usize) {
        (
            self.inner.region.address().as_ptr(),
            self.inner.stride * self.count() as usize,
        )
    }

    /// From one buffer to the next, in bytes.
    pub(crate) fn stride(&self) -> usize {
        self.inner.stride
    }

    /// Whether both are the same pool.
    pub(crate) fn is(&self, other: &Pool) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    fn address_of(&self, number: u32) -> NonNull<u8> {
        // SAFETY: `number` is below the count, so this is inside the region.
        unsafe {
            self.inner
                .region
                .address()
                .add(number as usize * self.inner.stride)
        }
    }

    fn number_of(&self, address: *mut u8) -> Option<u32> {
        let distance =
            (address as usize).checked_sub(self.inner.region.address().as_ptr() as usize)?;
        let number = distance / self.inner.stride;
        (distance.is_multiple_of(self.inner.stride) && number < self.inner.next.len())
            .then_some(number as u32)
    }
}

/// The next value of the head.
fn tagged(head: u64, first: u32) -> u64 {
    ((head >> 32).wrapping_add(1) << 32) | u64::from(first)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_buffer_is_handed_out_once_and_comes_back() {
        let pool = Pool::new(5, 5000, false).unwrap();
        for _ in 0..3 {
            let buffers: Vec<Buffer> = std::iter::from_fn(|| pool.take()).collect();
            let addresses: BTreeSet<usize> = buffers
                .iter()
                .map(|buffer| buffer.as_ptr() as usize)
                .collect();
            assert_eq!((buffers.len(), addresses.len()), (5, 5));
            for (buffer, address) in buffers.iter().zip(&addresses) {
                assert_eq!((buffer.len(), address % 4096), (5000, 0));
            }
            let distances: Vec<usize> = addresses
                .iter()
                .zip(addresses.iter().skip(1))
                .map(|(a, b)| b - a)
                .collect();
            assert_eq!(distances, [8192; 4]);
        }
    }

    #[test]
    fn threads_never_get_the_same_buffer() {
        let pool = Pool::new(3, 4096, false).unwrap();
        std::thread::scope(|scope| {
            for mark in 1..=4u8 {
                let pool = &pool;
                scope.spawn(move || {
                    for _ in 0..20_000 {
                        let Some(mut buffer) = pool.take() else {
                            continue;
                        };
                        buffer[0] = mark;
                        buffer[4095] = mark;
                        std::hint::spin_loop();
                        assert_eq!((buffer[0], buffer[4095]), (mark, mark));
                    }
                });
            }
        });
        assert_eq!(
            std::iter::from_fn(|| pool.take()).collect::<Vec<_>>().len(),
            3
        );
    }

    #[test]
    fn foreign_addresses_are_not_taken() {
        let pool = Pool::new(2, 4096, false).unwrap();
        let mut buffer = pool.take().unwrap();
        let address = buffer.as_mut_ptr();
        let mut other = [0u8; 1];
        // SAFETY: refused, so nothing is given back.
        unsafe {
            assert!(!pool.put_raw(address.add(1)));
            assert!(!pool.put_raw(address.wrapping_add(2 * 4096)));
            assert!(!pool.put_raw(other.as_mut_ptr()));
        }
    }

    #[test]
    fn memory_outlives_the_pool_while_a_buffer_does() {
        let pool = Pool::new(1, 4096, true).unwrap();
        let mut buffer = pool.take().unwrap();
        assert!(pool.take().is_none());
        drop(pool);
        buffer.fill(7);
        assert!(buffer.iter().all(|&byte| byte == 7));
    }

    #[test]
    fn nonsense_sizes_are_refused() {
        for (count, length, word) in [
            (0, 4096, "from 1 to"),
            (Pool::MAX_COUNT + 1, 4096, "from 1 to"),
            (1, 0, "from 1 to"),
            (1, Buffer::MAX + 1, "from 1 to"),
        ] {
            let error = Pool::new(count, length, false).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
    }
}
