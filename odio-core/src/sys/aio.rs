//! # Linux AIO
//!
//! io_setup, io_submit, io_getevents and io_destroy by their system call numbers, with the structures of
//! `include/uapi/linux/aio_abi.h`.

use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::{call3, call6, check};
use crate::error::Errno;

pub(crate) const PREAD: u16 = 0;
pub(crate) const PWRITE: u16 = 1;
pub(crate) const FSYNC: u16 = 2;
pub(crate) const FDSYNC: u16 = 3;
pub(crate) const PREADV: u16 = 7;
pub(crate) const PWRITEV: u16 = 8;

/// `IOCB_FLAG_RESFD`: `event_fd` is signalled when the event is there.
pub(crate) const SIGNAL: u32 = 1;

/// A context of this process, `aio_context_t`. Dropping it waits for what is in flight, so no memory is written after.
pub(crate) struct Context {
    /// Also the address of the ring that the kernel puts events into.
    id: libc::c_ulong,
    /// The ring, where it is one that can be read from here.
    ring: *const Ring,
    /// The ring, while [`Context::hide`] keeps it from being read.
    hidden: *const Ring,
}

// SAFETY: the ring is mapped as long as the context lives, and the one thread that has this value reads it.
unsafe impl Send for Context {}

/// `struct aio_ring` (fs/aio.c): not in a header, but unchanged since 2.5 and read by fio and others.
#[repr(C)]
struct Ring {
    id: u32,
    count: u32,
    head: AtomicU32,
    tail: AtomicU32,
    magic: u32,
    compatible: u32,
    incompatible: u32,
    header_length: u32,
}

/// `struct iocb`.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Iocb {
    pub(crate) data: u64,
    #[cfg(target_endian = "little")]
    key: u32,
    /// `RWF_` bits.
    pub(crate) rw_flags: u32,
    #[cfg(target_endian = "big")]
    key: u32,
    pub(crate) opcode: u16,
    priority: i16,
    pub(crate) fd: u32,
    pub(crate) address: u64,
    pub(crate) length: u64,
    pub(crate) offset: i64,
    reserved: u64,
    pub(crate) flags: u32,
    pub(crate) event_fd: u32,
}

impl Iocb {
    pub(crate) const EMPTY: Iocb = Iocb {
        data: 0,
        key: 0,
        rw_flags: 0,
        opcode: 0,
        priority: 0,
        fd: 0,
        address: 0,
        length: 0,
        offset: 0,
        reserved: 0,
        flags: 0,
        event_fd: 0,
    };
}

/// `struct io_event`.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Event {
    pub(crate) data: u64,
    pub(crate) iocb: u64,
    pub(crate) result: i64,
    pub(crate) result2: i64,
}

impl Event {
    pub(crate) const EMPTY: Event = Event {
        data: 0,
        iocb: 0,
        result: 0,
        result2: 0,
    };
}

const _: () = assert!(size_of::<Iocb>() == 64 && size_of::<Event>() == 32);

impl Context {
    /// For `depth` requests in flight.
    pub(crate) fn new(depth: u32) -> Result<Context, Errno> {
        let mut id: libc::c_ulong = 0;
        // SAFETY: io_setup writes one aio_context_t through the pointer, which must point at zero.
        check(unsafe { libc::syscall(libc::SYS_io_setup, libc::c_long::from(depth), &mut id) })?;
        let ring = id as *const Ring;
        // SAFETY: the id is the address where the kernel has mapped its ring (`ioctx_alloc`).
        let header = unsafe { &*ring };
        // What AIO_RING_MAGIC, AIO_RING_COMPAT_FEATURES and AIO_RING_INCOMPAT_FEATURES say is the layout above.
        let known = header.magic == 0xa10a_10a1
            && header.incompatible == 0
            && header.header_length as usize == size_of::<Ring>();
        let ring = if known && !under_valgrind() {
            ring
        } else {
            ptr::null()
        };
        Ok(Context {
            id,
            ring,
            hidden: ptr::null(),
        })
    }

    /// Has all events come by [`getevents`], or lets the ring be read again where it can be.
    pub(crate) fn hide(&mut self, is_hidden: bool) {
        if is_hidden != self.hidden.is_null() {
            return;
        }
        std::mem::swap(&mut self.ring, &mut self.hidden);
    }

    /// Whether [`Context::reap`] sees the events; otherwise only [`getevents`] does.
    #[inline(always)]
    pub(crate) fn is_readable(&self) -> bool {
        !self.ring.is_null()
    }

    /// Calls `each` with the events that are in the ring, `max` at most, and takes them out. Nothing else may be taking events out of
    /// this context. Returns how many there were; 0 where the ring cannot be read from here.
    #[inline(always)]
    pub(crate) fn reap(&mut self, max: usize, mut each: impl FnMut(&Event)) -> usize {
        // SAFETY: null, or mapped as long as the context lives.
        let Some(ring) = (unsafe { self.ring.as_ref() }) else {
            return 0;
        };
        let (mut head, tail) = (
            ring.head.load(Ordering::Relaxed),
            ring.tail.load(Ordering::Acquire),
        );
        let mut count = 0;
        while head != tail && count < max {
            // SAFETY: the events follow the header, and `head` is below their number.
            let event = unsafe { &*self.ring.add(1).cast::<Event>().add(head as usize) };
            each(event);
            head += 1;
            if head == ring.count {
                head = 0;
            }
            count += 1;
        }
        if count > 0 {
            ring.head.store(head, Ordering::Release);
        }
        count
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: takes no memory of ours; a wrong context is refused with EINVAL.
        unsafe { libc::syscall(libc::SYS_io_destroy, self.id) };
    }
}

/// valgrind takes the ring for as long as was asked for, and the kernel makes it twice that (`POST(sys_io_setup)` of 3.19,
/// `ioctx_alloc`): it would call a read of the other half invalid. io_getevents serves there.
fn under_valgrind() -> bool {
    std::env::var_os("LD_PRELOAD").is_some_and(|list| {
        list.as_encoded_bytes()
            .windows(b"vgpreload".len())
            .any(|word| word == b"vgpreload")
    })
}

/// Hands `requests` over in order; the result says how many were taken.
///
/// # Safety
///
/// Each pointer is valid, and the memory that each iocb names stays valid until its event has arrived.
#[inline(always)]
pub(crate) unsafe fn submit(context: &Context, requests: &[*mut Iocb]) -> Result<usize, Errno> {
    loop {
        // SAFETY: the array is `requests.len()` pointers long; the caller promises what they lead to.
        let taken = unsafe {
            call3(
                libc::SYS_io_submit,
                context.id as usize,
                requests.len(),
                requests.as_ptr() as usize,
            )
        };
        match taken {
            Err(Errno(libc::EINTR)) => {}
            result => return result,
        }
    }
}

/// Asks for one request to be given up. Only USB gadgets and polls know how: anything else answers EINVAL.
///
/// # Safety
///
/// `request` was submitted to this context.
pub(crate) unsafe fn cancel(context: &Context, request: *mut Iocb) -> Result<(), Errno> {
    let mut event = Event::EMPTY;
    // SAFETY: the kernel finds the request by its address and writes one event at most.
    check(unsafe { libc::syscall(libc::SYS_io_cancel, context.id, request, &mut event) }).map(drop)
}

/// Waits for `min` events at least, or until `timeout` has passed; the result says how many are in `events`.
/// EINTR is the caller's, who knows how much of the time is left.
#[inline(always)]
pub(crate) fn getevents(
    context: &Context,
    min: usize,
    events: &mut [Event],
    timeout: Option<Duration>,
) -> Result<usize, Errno> {
    let time = timeout.map(|timeout| libc::timespec {
        tv_sec: timeout.as_secs().try_into().unwrap_or(libc::time_t::MAX),
        // Below one thousand million, so it fits.
        tv_nsec: timeout.subsec_nanos() as _,
    });
    let time_pointer = time.as_ref().map_or(ptr::null(), ptr::from_ref);
    // SAFETY: `events` is writable for its length and `time_pointer` is null or points at `time`, alive here.
    unsafe {
        call6(
            libc::SYS_io_getevents,
            [
                context.id as usize,
                min,
                events.len(),
                events.as_mut_ptr() as usize,
                time_pointer as usize,
                0,
            ],
        )
    }
}
