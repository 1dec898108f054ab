//! The ops that are open: where each is kept, and who ends it.
//!
//! An op lies in an element of an array that its key leads to, so finding it is a few instructions, where a look into a
//! hash table is a hundred. The element belongs to the first that comes; whoever finds it taken is kept in a table.

use aya_ebpf::{
    bindings::BPF_NOEXIST,
    macros::map,
    maps::{Array, HashMap, LruHashMap},
};
use odio_trace_common::{COUNTED_OPEN, Loss, OpRecord};

use crate::maps::{add, claim, put};

/// By this many low bits of a mixed key.
const PLACE_BITS: u32 = 14;

/// An element of the array.
#[repr(C)]
struct Place {
    claims: u64,
    /// Key of the op that lies here, 0 for none.
    key: u64,
    /// How many ops have a key that leads here and are in the table. At 0 the look into it is spared: most hits are of
    /// requests that are not traced.
    elsewhere: u64,
    op: OpRecord,
}

#[map]
static PLACES: Array<Place> = Array::with_max_entries(1 << PLACE_BITS, 0);

/// Ops that found their place taken.
#[map]
static OPS: HashMap<u64, OpRecord> = HashMap::with_max_entries(16384, 0);

/// How many ops are open: the sum. In several words, for many processors add to them.
#[map]
static OPEN: Array<u64> = Array::with_max_entries(COUNTED_OPEN, 0);

/// Ops that their two ends wanted to close at once, by key and when they began.
#[map]
static TIES: LruHashMap<[u64; 2], u32> = LruHashMap::with_max_entries(256, 0);

// SAFETY: integers and arrays of them; zero is a valid value.
static BLANK: OpRecord = unsafe { core::mem::zeroed() };

/// A key is a pointer or a thread's number, and neighbours of either kind are open at the same time.
#[inline(always)]
fn mixed(key: u64) -> u32 {
    let low: u64;
    // The low half of a pointer, by a move that the verifier allows of one: an fentry's own may not be shifted or
    // masked, nor is the helper's reading of one cheap.
    // SAFETY: a move from one register to another.
    unsafe { core::arch::asm!("w0 = w1", in("r1") key, out("r0") low, options(pure, nomem, nostack)) }
    // Knuth's multiplicative hash: the high bits depend on all.
    (low as u32).wrapping_mul(0x9e37_79b1)
}

#[inline(always)]
fn place(mixed: u32) -> Option<*mut Place> {
    PLACES.get_ptr_mut(mixed >> (32 - PLACE_BITS))
}

#[inline(always)]
fn count(mixed: u32, by: u64) {
    if let Some(open) = OPEN.get_ptr_mut(mixed >> (32 - PLACE_BITS) & (COUNTED_OPEN - 1)) {
        add(open, by);
    }
}

/// The op's state; the pointer lives as long as the program does.
#[inline(always)]
pub(crate) fn get(key: u64) -> Option<*mut OpRecord> {
    if key == 0 {
        return None;
    }
    let Some(place) = place(mixed(key)) else { return OPS.get_ptr_mut(&key) };
    // SAFETY: a live element.
    unsafe {
        if (&raw const (*place).key).read_volatile() == key {
            return Some(&raw mut (*place).op);
        }
        if (&raw const (*place).elsewhere).read_volatile() == 0 {
            return None;
        }
    }
    OPS.get_ptr_mut(&key)
}

/// Makes room for an op, blank but for what `fill` says.
#[inline(always)]
pub(crate) fn insert(key: u64, fill: impl FnOnce(&mut OpRecord)) -> Option<*mut OpRecord> {
    let mixed = mixed(key);
    if let Some(place) = place(mixed) {
        // SAFETY: a live element, and what is written is this task's own from the claim on, until the key says that
        // there is an op.
        unsafe {
            if claim(&raw mut (*place).claims) {
                let op = &raw mut (*place).op;
                clear(op);
                fill(&mut *op);
                (&raw mut (*place).key).write_volatile(key);
                count(mixed, 1);
                return Some(op);
            }
            add(&raw mut (*place).elsewhere, 1);
        }
    }
    // Too large for the stack, and a per-CPU copy could be another task's: an fentry may be preempted.
    if !put(&OPS, &key, &BLANK, Loss::OpsFull) {
        leave_table(mixed);
        return None;
    }
    count(mixed, 1);
    let op = OPS.get_ptr_mut(&key)?;
    // SAFETY: a live element, of which only the running task knows.
    fill(unsafe { &mut *op });
    Some(op)
}

#[inline(always)]
fn leave_table(mixed: u32) {
    if let Some(place) = place(mixed) {
        // SAFETY: a live element.
        add(unsafe { &raw mut (*place).elsewhere }, u64::MAX);
    }
}

/// Takes an op away. Only one may: [`second_to_end`] says who, where two could.
#[inline(always)]
pub(crate) fn remove(key: u64) {
    let mixed = mixed(key);
    if let Some(place) = place(mixed) {
        // SAFETY: a live element.
        unsafe {
            if (&raw const (*place).key).read_volatile() == key {
                (&raw mut (*place).key).write_volatile(0);
                add(&raw mut (*place).claims, u64::MAX);
                count(mixed, u64::MAX);
                return;
            }
        }
    }
    if OPS.remove(&key).is_ok() {
        leave_table(mixed);
        count(mixed, u64::MAX);
    }
}

/// One of the two that end an asynchronous op is here, on whatever CPU: the return of its entry function, and its
/// acknowledgement. True for the second, which closes the op.
///
/// The kernels that this runs on have no instruction that adds and tells the sum. So each adds and then reads: one at
/// least reads two, and who reads one goes on and says so. Both may read two; then a table decides.
#[inline(always)]
pub(crate) fn second_to_end(key: u64, op: *mut OpRecord) -> bool {
    const HAS_GONE_ON: u64 = 1 << 32;
    // SAFETY: live, aligned members, one that both sides only add to and one that is constant.
    let (phase, begin_ns) = unsafe { (&raw mut (*op).phase, (*op).begin_ns) };
    add(phase, 1);
    // SAFETY: as above.
    let seen = unsafe { phase.read_volatile() };
    if seen & (HAS_GONE_ON - 1) < 2 {
        add(phase, HAS_GONE_ON);
        return false;
    }
    if seen >= HAS_GONE_ON {
        return true;
    }
    let tie = [key, begin_ns];
    let first = TIES.insert(&tie, &0, u64::from(BPF_NOEXIST)).is_ok();
    if !first {
        let _ = TIES.remove(&tie);
    }
    first
}

/// Whether one of the two that end an op was here.
#[inline(always)]
pub(crate) fn has_ended_once(op: &OpRecord) -> bool {
    op.phase != 0
}

const WORDS: usize = size_of::<OpRecord>() / 8;
const _: () = assert!(size_of::<OpRecord>().is_multiple_of(8) && align_of::<OpRecord>() == 8);

/// Calls for each word of a record. What the compiler would make of an assignment is a call that goes by bytes, and of
/// a plain loop more jumps than words.
#[inline(always)]
fn words(mut each: impl FnMut(usize)) {
    const STRIDE: usize = 8;
    for row in 0..WORDS / STRIDE {
        let at = row * STRIDE;
        each(at);
        each(at + 1);
        each(at + 2);
        each(at + 3);
        each(at + 4);
        each(at + 5);
        each(at + 6);
        each(at + 7);
    }
    for at in WORDS / STRIDE * STRIDE..WORDS {
        each(at);
    }
}

/// # Safety
///
/// `op` is live, and nobody else uses it.
#[inline(always)]
unsafe fn clear(op: *mut OpRecord) {
    let to = op.cast::<u64>();
    // SAFETY: a word of the record; volatile, so that it stays what it is.
    words(|i| unsafe { to.add(i).write_volatile(0) });
}

/// Copies a record.
///
/// # Safety
///
/// Both are live, and nobody else writes `to`.
#[inline(always)]
pub(crate) unsafe fn copy(to: *mut OpRecord, from: *const OpRecord) {
    let (to, from) = (to.cast::<u64>(), from.cast::<u64>());
    // SAFETY: a word of both; volatile, so that it stays what it is.
    words(|i| unsafe { to.add(i).write_volatile(from.add(i).read_volatile()) });
}
