//! The maps, and the counters of what did not fit into them.

use aya_ebpf::{
    bindings::{BPF_ANY, BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP},
    macros::map,
    maps::{Array, CgroupArray, HashMap, LruHashMap, PerCpuArray, RingBuf},
};
use odio_trace_common::{COMM_LEN, Hook, HookHitKey, Loss, WritebackKey, WritebackRecord};

use crate::{config::config, journal::Journal, task::Task, threads};

/// What a task is inside of, by thread id, of those that have no place in [`crate::threads`].
#[map]
pub(crate) static TASKS: HashMap<u32, Task> = HashMap::with_max_entries(32768, 0);

/// Processes that are traced, with the `task_struct` of each where its start was seen, else 0.
#[map]
pub(crate) static SCOPE: HashMap<u32, u64> = HashMap::with_max_entries(8192, 0);

/// Names of tasks whose processes are to be traced.
#[map]
pub(crate) static NAMES: HashMap<[u8; COMM_LEN], u32> = HashMap::with_max_entries(64, 0);

/// The cgroup whose processes are traced, at 0.
#[map]
pub(crate) static CGROUP: CgroupArray = CgroupArray::with_max_entries(1, 0);

/// Files whose name has been sent, and how many mounts were gone by then. One that falls out is sent again.
#[map]
pub(crate) static FILES: LruHashMap<FileKey, u64> = LruHashMap::with_max_entries(16384, 0);

/// Mounts by their number, which another may have had before. What falls out has had no file seen, nor gone, for
/// thousands of others.
#[map]
pub(crate) static MOUNTS: LruHashMap<u32, crate::file::Mount> = LruHashMap::with_max_entries(16384, 0);

/// Journals whose commits were seen, by `journal_t`, while their thread lives.
#[map]
pub(crate) static JOURNALS: HashMap<u64, Journal> = HashMap::with_max_entries(256, 0);

/// The commit a journal thread is running, by thread id, while it lives.
#[map]
pub(crate) static COMMITS: HashMap<u32, crate::journal::Commit> = HashMap::with_max_entries(256, 0);

/// Buffers of XFS's log, by `struct xlog_in_core`, and how each was last written. Nothing says when a filesystem is
/// unmounted and they are gone, so the least used make room; one that is missing proves nothing.
#[map]
pub(crate) static LOG_BUFFERS: LruHashMap<u64, crate::journal::LogBuffer> = LruHashMap::with_max_entries(1024, 0);

/// Contexts of Linux AIO, by `struct kioctx`, and who uses each.
#[map]
pub(crate) static AIO_CONTEXTS: HashMap<u64, crate::aio::Context> = HashMap::with_max_entries(4096, 0);

/// Files whose writeback is counted.
#[map]
pub(crate) static WRITEBACK: HashMap<WritebackKey, WritebackRecord> = HashMap::with_max_entries(16384, 0);

/// Records on their way to the user side.
#[map]
pub(crate) static EVENTS: RingBuf = RingBuf::with_byte_size(8 << 20, 0);

/// How often each hook fired, by process, of those that have no place in [`crate::threads`].
#[map]
pub(crate) static HITS: HashMap<HookHitKey, u64> = HashMap::with_max_entries(16384, 0);

/// What was lost, by [`Loss`].
#[map]
pub(crate) static LOSSES: PerCpuArray<u64> = PerCpuArray::with_max_entries(Loss::COUNT, 0);

/// Places of [`KNOWN`]; the user side marks processes in it too.
const KNOWN_PLACES: u32 = 1 << 16;

/// Which processes and threads the tables may hold: 1 at the low bits of each number that was put into one.
///
/// The look is a few instructions, where one into a table is a hundred, and most hits are of what is not traced. Marks
/// are never taken away: one that is out of date costs a look into the table.
#[map]
pub(crate) static KNOWN: Array<u8> = Array::with_max_entries(KNOWN_PLACES, 0);

/// Marks the number of a process or thread. Not a pointer: the verifier lets an fentry shift and mask none.
#[inline(always)]
pub(crate) fn mark(number: u64) {
    if let Some(mark) = KNOWN.get_ptr_mut(place(number)) {
        // SAFETY: an element of the array; whoever writes it writes the same.
        unsafe { *mark = 1 }
    }
}

/// False where no table holds the number.
#[inline(always)]
pub(crate) fn known(number: u64) -> bool {
    match KNOWN.get_ptr(place(number)) {
        // SAFETY: an element of the array.
        Some(mark) => unsafe { mark.read_volatile() != 0 },
        None => true,
    }
}

#[inline(always)]
fn place(number: u64) -> u32 {
    number as u32 & (KNOWN_PLACES - 1)
}

/// How a record goes out: most wait until many can be taken at once, for waking the tracer costs more than all else.
#[inline(always)]
pub(crate) fn wake() -> u64 {
    let waiting = EVENTS.query(u64::from(BPF_RB_AVAIL_DATA));
    let at = u64::from(config!(wake_at));
    // Once over the limit, a few are enough: the tracer looks by itself now and then.
    if waiting >= at && waiting < at + WAKE_ROOM {
        u64::from(BPF_RB_FORCE_WAKEUP)
    } else {
        u64::from(BPF_RB_NO_WAKEUP)
    }
}

const WAKE_ROOM: u64 = 4096;

/// Key of [`FILES`].
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct FileKey {
    pub(crate) ino: u64,
    pub(crate) dev: u32,
    pub(crate) generation: u32,
    pub(crate) mount: u64,
}

/// Counts something that was lost.
#[inline(always)]
pub(crate) fn lose(loss: Loss) {
    if let Some(counter) = LOSSES.get_ptr_mut(loss as u32) {
        // SAFETY: an element of this CPU's own copy of the array.
        unsafe { *counter += 1 }
    }
}

/// Counts a hit of `hook` in process `tgid`, which the caller saw in the scope at this age of it.
#[inline(always)]
pub(crate) fn hit(hook: Hook, tgid: u32, in_scope_at: u64) {
    if threads::hit(hook, tgid, in_scope_at) {
        return;
    }
    let key = HookHitKey { tgid, hook: hook as u32 };
    if let Some(counter) = HITS.get_ptr_mut(&key) {
        add(counter, 1);
    } else if HITS.insert(&key, &1, u64::from(aya_ebpf::bindings::BPF_NOEXIST)).is_err() {
        match HITS.get_ptr_mut(&key) {
            Some(counter) => add(counter, 1),
            None => lose(Loss::HitsFull),
        }
    }
}

/// Adds to a 64-bit word in one step, and orders everything before it against everything after it.
///
/// The compiler offers no atomic arithmetic for this target; the instruction is there on every kernel.
#[inline(always)]
pub(crate) fn add(word: *mut u64, n: u64) {
    // SAFETY: the callers pass a live, aligned word of a map element.
    unsafe { core::arch::asm!("lock *(u64 *)({0} + 0) += {1}", in(reg) word, in(reg) n) }
}

/// Makes a place the caller's, unless it is or may be another's.
///
/// The kernels that this runs on have no instruction that adds and tells the sum. So who wants a place adds to its
/// claims and then reads them: of several at once at most one reads 1. Where none does, each goes without this time.
///
/// # Safety
///
/// `claims` is that of a live place.
#[inline(always)]
pub(crate) unsafe fn claim(claims: *mut u64) -> bool {
    // SAFETY: by the promise above.
    unsafe {
        if claims.read_volatile() != 0 {
            return false;
        }
        add(claims, 1);
        if claims.read_volatile() == 1 {
            return true;
        }
        add(claims, u64::MAX);
    }
    false
}

/// Inserts or replaces; counts a full map as `loss`.
#[inline(always)]
pub(crate) fn put<K, V>(map: &HashMap<K, V>, key: &K, value: &V, loss: Loss) -> bool {
    let kept = map.insert(key, value, u64::from(BPF_ANY)).is_ok();
    if !kept {
        lose(loss);
    }
    kept
}
