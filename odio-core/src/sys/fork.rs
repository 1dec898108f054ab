//! # Which process something was made in
//!
//! What a kernel interface gives to one process is no good in a child of fork: an io_uring is shared with the parent, an
//! AIO context and worker threads are gone. [`Home`] tells the two apart by one load from memory, where getpid would be
//! a system call for each question: a page that the kernel empties in every child (madvise(2), `MADV_WIPEONFORK`,
//! Linux 4.14).
//!
//! Nothing here takes a lock or allocates, so all of it may be called in the child of a process with threads. A child
//! that shares its parent's memory (vfork, clone with `CLONE_VM`) is taken for the parent; it may only exec or exit.

use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use super::memory::Region;
use crate::error::Errno;

use super::memory;

/// The process that this value was made in. Any thread.
#[derive(Debug, Clone, Copy)]
pub struct Home {
    number: u64,
    /// Where the number of this process is; a place that holds 0 for good where `number` is a process id.
    page: &'static AtomicU64,
}

impl PartialEq for Home {
    fn eq(&self, other: &Home) -> bool {
        self.number == other.number
    }
}

/// A number that is 0 in every child of fork, and where the kernel cannot see to that also here.
pub(crate) struct OnlyHere(Region);

impl OnlyHere {
    pub(crate) fn new(number: usize) -> Result<OnlyHere, Errno> {
        let region = Region::new(size_of::<usize>(), false)?;
        let number = if region.wipe_on_fork().is_ok() {
            number
        } else {
            0
        };
        // SAFETY: as in `get`, and nobody else has the region yet.
        unsafe { region.address().cast::<usize>().write(number) };
        Ok(OnlyHere(region))
    }

    #[inline(always)]
    pub(crate) fn get(&self) -> usize {
        // SAFETY: the region is zeroed, aligned to a page, long enough, and lives as long as this value. Nobody changes it
        // but `new`; not read as an atomic, which would be a load more.
        unsafe { self.0.address().cast::<usize>().read() }
    }
}

/// What no process has as its number.
static NOBODY: AtomicU64 = AtomicU64::new(0);

/// Set in numbers that are process ids, for kernels that cannot empty a page.
const IS_PID: u64 = 1 << 63;

/// Holds the number of this process, or 0 in a child that has not asked for one. Never unmapped.
static PAGE: AtomicPtr<AtomicU64> = AtomicPtr::new(ptr::null_mut());

/// The last number given out, here or in an ancestor. Inherited, so that a child's number differs from all before it.
static LAST: AtomicU64 = AtomicU64::new(0);

impl Home {
    /// This process. The first call in a process makes system calls.
    pub(crate) fn here() -> Home {
        page().map_or_else(Home::by_pid, |page| Home {
            number: number(page),
            page,
        })
    }

    /// Whether this is still the process. No system call where the kernel is Linux 4.14 or newer.
    #[inline(always)]
    pub fn is_here(&self) -> bool {
        self.page.load(Ordering::Relaxed) == self.number || self.is_here_by_pid()
    }

    /// As [`Home::is_here`], but also false where that takes a system call.
    #[inline(always)]
    pub(crate) fn is_surely_here(&self) -> bool {
        self.page.load(Ordering::Relaxed) == self.number
    }

    #[cold]
    #[inline(never)]
    fn is_here_by_pid(&self) -> bool {
        self.number & IS_PID != 0 && *self == Home::by_pid()
    }

    fn by_pid() -> Home {
        // SAFETY: always allowed, never fails.
        let number = IS_PID | unsafe { libc::getpid() } as u64;
        Home {
            number,
            page: &NOBODY,
        }
    }
}

/// The number of this process, given out now where it has none.
fn number(page: &AtomicU64) -> u64 {
    let known = page.load(Ordering::Relaxed);
    if known != 0 {
        return known;
    }
    let new = LAST.fetch_add(1, Ordering::Relaxed) + 1;
    match page.compare_exchange(0, new, Ordering::Relaxed, Ordering::Relaxed) {
        Ok(_) => new,
        Err(known) => known,
    }
}

/// The page, mapped now where there is none. `None` where the kernel cannot empty it in children.
fn page() -> Option<&'static AtomicU64> {
    const LENGTH: usize = 4096;

    let known = PAGE.load(Ordering::Acquire);
    // SAFETY: what is stored below is never unmapped.
    if let Some(page) = unsafe { known.as_ref() } {
        return Some(page);
    }
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    let mapped = memory::map(LENGTH, flags, -1, 0).ok()?.as_ptr();
    // SAFETY: the mapping just made.
    let wiped = unsafe { libc::madvise(mapped.cast(), LENGTH, libc::MADV_WIPEONFORK) } == 0;
    let new: *mut AtomicU64 = mapped.cast();
    if wiped {
        match PAGE.compare_exchange(ptr::null_mut(), new, Ordering::AcqRel, Ordering::Acquire) {
            // SAFETY: zeroed, aligned to a page, and from now on never unmapped.
            Ok(_) => return unsafe { new.as_ref() },
            Err(first) => {
                // SAFETY: nobody else has seen this mapping.
                unsafe { libc::munmap(mapped.cast(), LENGTH) };
                // SAFETY: another thread stored it, and it is never unmapped.
                return unsafe { first.as_ref() };
            }
        }
    }
    // SAFETY: nobody else has seen this mapping.
    unsafe { libc::munmap(mapped.cast(), LENGTH) };
    None
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Runs `body` in a child and returns its answer. It may not allocate or lock: other tests' threads are gone there.
    pub(crate) fn in_a_child(body: impl FnOnce() -> bool) -> bool {
        // SAFETY: the child only runs `body`, which is async-signal-safe, and ends.
        match unsafe { libc::fork() } {
            -1 => panic!("fork: {}", std::io::Error::last_os_error()),
            0 => {
                let answer = body();
                // SAFETY: ends the child at once.
                unsafe { libc::_exit(if answer { 0 } else { 1 }) }
            }
            child => {
                let mut status = 0;
                // SAFETY: `status` is writable, and the child is ours.
                assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
                assert!(libc::WIFEXITED(status), "the child died: {status:#x}");
                libc::WEXITSTATUS(status) == 0
            }
        }
    }

    fn a_child_is_not_home(home: fn() -> Home) {
        let parent = home();
        assert!(parent.is_here() && home() == parent);
        assert!(in_a_child(|| !parent.is_here()));
        // A child has a home of its own, the parent's does not become it, and a grandchild's differs from both.
        assert!(in_a_child(|| {
            let child = home();
            child.is_here()
                && !parent.is_here()
                && in_a_child(|| {
                    let grandchild = home();
                    grandchild.is_here() && !child.is_here() && !parent.is_here()
                })
        }));
        assert!(parent.is_here());
    }

    #[test]
    fn a_child_is_not_its_parents_home() {
        assert_eq!(
            Home::here().number & IS_PID,
            0,
            "this test wants Linux 4.14"
        );
        a_child_is_not_home(Home::here);
    }

    #[test]
    fn old_kernels_are_asked_for_the_process_id() {
        a_child_is_not_home(Home::by_pid);
    }

    #[test]
    fn a_child_finds_nothing_of_what_is_only_here() {
        let here = OnlyHere::new(7).unwrap();
        assert_eq!(here.get(), 7);
        assert!(in_a_child(|| {
            // Also once it has a number of its own.
            here.get() == 0 && Home::here().is_here() && here.get() == 0
        }));
        assert_eq!(here.get(), 7);
    }

    #[test]
    fn threads_agree_on_the_first_number() {
        let homes: Vec<Home> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(Home::here)).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect()
        });
        assert!(homes.iter().all(|&home| home == Home::here()), "{homes:?}");
    }
}
