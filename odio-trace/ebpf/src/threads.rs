//! Places for threads and processes: what most hits ask for, found without a look into a table.
//!
//! A place is an element of an array, by the low bits of a thread's or process's number, so finding it is a few
//! instructions, where a look into a hash table is a hundred. It belongs to the first that comes; whoever finds it taken
//! is kept in a table.

use aya_ebpf::{macros::map, maps::Array};
use odio_trace_common::{Hook, PROCESS_PLACES, ProcessHits};

use crate::{
    file::File,
    maps::{add, claim},
    task::Task,
};

const THREAD_PLACES: u32 = 1 << 16;

#[map]
static THREADS: Array<Thread> = Array::with_max_entries(THREAD_PLACES, 0);

/// Processes whose hits are counted here, and not in the table of hits.
#[map]
static PROCESSES: Array<ProcessHits> = Array::with_max_entries(PROCESS_PLACES, 0);

/// How often the user side took a process out of the scope.
#[map]
static USER_CHANGES: Array<u64> = Array::with_max_entries(1, 0);

/// How often a program did.
static mut SCOPE_CHANGES: u64 = 0;

static mut NAMES_SENT: u64 = 0;

/// A thread's place.
#[repr(C)]
struct Thread {
    claims: u64,
    /// The thread's number plus one, 0 for none.
    owner: u64,
    task: Task,
    /// The file that it last used, and how many names had been sent by then.
    file: File,
    names_sent: u64,
}

#[inline(always)]
fn own(tid: u32) -> Option<*mut Thread> {
    let place = THREADS.get_ptr_mut(tid & (THREAD_PLACES - 1))?;
    // SAFETY: a live element.
    let owner = unsafe { (&raw const (*place).owner).read_volatile() };
    if owner == u64::from(tid) + 1 { Some(place) } else { None }
}

/// What the running thread is inside of, if it has a place.
#[inline(always)]
pub(crate) fn task(tid: u32) -> Option<*mut Task> {
    // SAFETY: a live element.
    own(tid).map(|thread| unsafe { &raw mut (*thread).task })
}

/// Takes a place for the running thread; false where there is none free.
#[inline(always)]
pub(crate) fn take(tid: u32, task: &Task) -> bool {
    let Some(place) = THREADS.get_ptr_mut(tid & (THREAD_PLACES - 1)) else { return false };
    // SAFETY: a live element; what is written is the caller's own from the claim on.
    unsafe {
        if !claim(&raw mut (*place).claims) {
            return false;
        }
        (*place).task = *task;
        (*place).file = File::NONE;
        (&raw mut (*place).owner).write_volatile(u64::from(tid) + 1);
    }
    true
}

/// Gives the running thread's place back; false where it has none.
#[inline(always)]
pub(crate) fn leave(tid: u32) -> bool {
    let Some(place) = own(tid) else { return false };
    // SAFETY: a live element that is the thread's own until its claim is taken back.
    unsafe {
        (&raw mut (*place).owner).write_volatile(0);
        add(&raw mut (*place).claims, u64::MAX);
    }
    true
}

#[inline(always)]
fn count(of: *mut u64) -> u64 {
    // SAFETY: callers name one of the statics above, or an element of a map.
    unsafe { of.read_volatile() }
}

/// A process was taken out of the table of the traced; to be called after it.
#[inline(always)]
pub(crate) fn scope_changed() {
    add(&raw mut SCOPE_CHANGES, 1);
}

/// When the scope is looked at: no process has left it while this stays the same. Never 0.
#[inline(always)]
pub(crate) fn scope_age() -> u64 {
    let by_user = USER_CHANGES.get_ptr_mut(0).map_or(0, count);
    count(&raw mut SCOPE_CHANGES) + by_user + 1
}

#[inline(always)]
fn process(tgid: u32) -> Option<*mut ProcessHits> {
    PROCESSES.get_ptr_mut(tgid & (PROCESS_PLACES - 1))
}

/// Counts a hit of a process that was in the scope at its present age; false where it was not or is not known to be.
#[inline(always)]
pub(crate) fn hit_again(hook: Hook, tgid: u32) -> bool {
    let Some(place) = process(tgid) else { return false };
    // SAFETY: a live element.
    unsafe {
        if (*place).tgid != tgid || (*place).in_scope_at != scope_age() {
            return false;
        }
        add(&raw mut (*place).hits[hook as usize], 1);
    }
    true
}

/// Counts a hit of a process that was in the scope at this age, 0 where that may change unseen; false where another
/// process has the place.
#[inline(always)]
pub(crate) fn hit(hook: Hook, tgid: u32, in_scope_at: u64) -> bool {
    // Nobody has the place of process 0, which every free one names.
    if tgid == 0 {
        return false;
    }
    let Some(place) = process(tgid) else { return false };
    // SAFETY: a live element; what is written is the caller's own from the claim on.
    unsafe {
        if (*place).tgid != tgid {
            if !claim(&raw mut (*place).claims) {
                return false;
            }
            (*place).tgid = tgid;
        }
        (*place).in_scope_at = in_scope_at;
        add(&raw mut (*place).hits[hook as usize], 1);
    }
    true
}

/// After so many names sent by others, a name is sent again: the table of those sent, and the tracer's own, may have let
/// go of it by then.
const NAMES: u64 = 4096;

/// The file that the running thread last used, if its name was sent not long ago.
#[inline(always)]
pub(crate) fn last_file(tid: u32) -> Option<*const File> {
    let place = own(tid)?;
    // SAFETY: the thread's own place.
    unsafe {
        let fresh = count(&raw mut NAMES_SENT) - (*place).names_sent < NAMES;
        fresh.then_some(&raw const (*place).file)
    }
}

/// The running thread uses a file whose name is known to have been sent.
#[inline(always)]
pub(crate) fn uses_file(tid: u32, file: &File) {
    if let Some(place) = own(tid) {
        // SAFETY: the thread's own place.
        unsafe {
            (*place).file = *file;
            (*place).names_sent = count(&raw mut NAMES_SENT);
        }
    }
}

/// No name that was sent may be taken for that of the same file any more without a look.
#[inline(always)]
pub(crate) fn names_are_old() {
    add(&raw mut NAMES_SENT, NAMES);
}

/// A name is sent.
#[inline(always)]
pub(crate) fn name_sent() {
    add(&raw mut NAMES_SENT, 1);
}
