//! The steps of an op, one record each, where they are asked for.
//!
//! What is asked for stands in a constant: with nothing asked the verifier removes all of this but the load of it.

use core::ptr;

#[cfg(bpf_target_arch = "x86_64")]
use aya_ebpf::programs::ProbeContext;
use aya_ebpf::{
    bindings::BPF_RB_AVAIL_DATA,
    helpers::{
        bpf_get_current_comm,
        generated::{bpf_get_current_task_btf, bpf_get_smp_processor_id, bpf_get_task_stack},
    },
};
use odio_trace_common::{
    COMM_LEN, Hook, Loss, OpRecord, RecordKind, StackRecord, StepBits, StepConfig, StepLevel, StepRecord,
};

use crate::{
    maps::{EVENTS, add, lose, wake},
    op, ops,
    task::current,
};

#[unsafe(no_mangle)]
static STEP_CONFIG: StepConfig = StepConfig { level: StepLevel::Off as u32, room: 0 };

/// Read alone: what else stands beside it would be loaded where nothing is asked, too.
#[inline(always)]
fn level() -> u32 {
    // SAFETY: a live static; volatile, because the compiler would else use the value above.
    unsafe { ptr::read_volatile(&raw const STEP_CONFIG.level) }
}

#[inline(always)]
fn is_on() -> bool {
    level() != StepLevel::Off as u32
}

/// Whether there is room that is not kept for the records of ops.
#[inline(always)]
fn has_room() -> bool {
    // SAFETY: as above.
    let room = unsafe { ptr::read_volatile(&raw const STEP_CONFIG.room) };
    EVENTS.query(u64::from(BPF_RB_AVAIL_DATA)) <= u64::from(room)
}

/// In place of the number of an argument: which function it is that was entered.
pub(crate) const FUNCTION: usize = usize::MAX;

/// Where the kprobe is: an address in the first bytes of the function.
#[cfg(bpf_target_arch = "x86_64")]
#[inline(always)]
pub(crate) fn kprobe_at(ctx: &ProbeContext) -> u64 {
    // SAFETY: the registers that the kernel hands to the program.
    unsafe { (*ctx.regs).rip }
}

#[cfg(not(bpf_target_arch = "x86_64"))]
#[inline(always)]
pub(crate) fn kprobe_at(_: &aya_ebpf::programs::ProbeContext) -> u64 {
    0
}

/// `hook` saw something of the op; `state` is its live element. `function` is 0 where the hook has one place only.
#[inline(always)]
pub(crate) fn took(hook: Hook, state: *mut OpRecord, function: u64, object: u64) {
    if is_on() {
        tell(hook, state, function, object, 0, 0);
    }
}

/// The same with what it ended with: bytes or a negative errno.
#[inline(always)]
pub(crate) fn ended(hook: Hook, state: *mut OpRecord, function: u64, object: u64, result: i64) {
    if is_on() {
        tell(hook, state, function, object, result, StepBits::RESULT);
    }
}

/// A bio of the op goes to the block layer; `counted` says which of the first five [`StepBits`] it is.
#[inline(always)]
pub(crate) fn bio(
    state: *mut OpRecord, bio: u64, size: u32, fua: bool, preflush: bool, counted: impl FnOnce() -> u32,
) {
    if is_on() {
        let fua = if fua { StepBits::FUA } else { 0 };
        let preflush = if preflush { StepBits::PREFLUSH } else { 0 };
        tell(Hook::BioSubmit, state, 0, bio, i64::from(size), counted() | fua | preflush);
    }
}

/// As `took`, for an op that may not be there.
#[inline(always)]
pub(crate) fn took_by(hook: Hook, key: u64, function: u64, object: u64) {
    if is_on()
        && let Some(state) = ops::get(key)
    {
        tell(hook, state, function, object, 0, 0);
    }
}

/// As `ended`, for an op that may not be there.
#[inline(always)]
pub(crate) fn ended_by(hook: Hook, key: u64, result: i64) {
    if is_on()
        && let Some(state) = ops::get(key)
    {
        tell(hook, state, 0, key, result, StepBits::RESULT);
    }
}

#[inline(always)]
fn tell(hook: Hook, state: *mut OpRecord, function: u64, object: u64, value: i64, bits: u32) {
    // SAFETY: a live, aligned member that whoever sees a step of the op only adds to.
    add(unsafe { &raw mut (*state).steps }, 1);
    if !has_room() {
        return lose(Loss::StepRingFull);
    }
    let (tgid, tid) = current();
    // SAFETY: `state` is live, and these members do not change any more.
    let (begin_ns, op_tid) = unsafe { ((*state).begin_ns, (*state).tid) };
    let step = StepRecord {
        kind: RecordKind::Step as u32,
        hook: hook as u32,
        begin_ns,
        ns: op::now(),
        op_tid,
        tgid,
        tid,
        // SAFETY: no arguments; always available.
        cpu: unsafe { bpf_get_smp_processor_id() },
        function,
        object,
        value,
        bits,
        stack_bytes: 0,
        comm: bpf_get_current_comm().unwrap_or([0; COMM_LEN]),
    };
    if level() == StepLevel::Stacks as u32 {
        let Some(mut entry) = EVENTS.reserve::<StackRecord>(0) else {
            return lose(Loss::StepRingFull);
        };
        let record = entry.as_mut_ptr();
        // SAFETY: room that was reserved and is this program's alone until it is submitted; the helper writes no more
        // than the size it is told.
        unsafe {
            (&raw mut (*record).step).write(step);
            let stack = &raw mut (*record).stack;
            let task = bpf_get_current_task_btf();
            let bytes =
                bpf_get_task_stack(task.cast(), stack.cast(), size_of_val(&*stack) as u32, 0);
            (*record).step.stack_bytes = bytes as i32;
        }
        entry.submit(wake());
    } else {
        let Some(mut entry) = EVENTS.reserve::<StepRecord>(0) else {
            return lose(Loss::StepRingFull);
        };
        entry.write(step);
        entry.submit(wake());
    }
}
