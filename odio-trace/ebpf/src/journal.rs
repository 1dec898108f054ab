//! Journal commits (jbd2) and writes of XFS's log: which ones had a barrier, and which an op waited for.
//!
//! XFS's log is written by whichever task lets go of a buffer last, often a worker. It is tied to the op by the
//! buffer: the op waits for the one that its bio points at.
//!
//! A commit makes the file's metadata durable only if its commit record went out with PREFLUSH and FUA; a mount
//! with `barrier=0` leaves both out. So the journal thread's own bios are watched, and the op that waited is
//! marked only when the commit it waited for had them.

use aya_ebpf::bindings::BPF_ANY;
use odio_trace_common::{Hook, Loss, OpFlags};

use crate::{
    config::offset,
    maps::{COMMITS, JOURNALS, LOG_BUFFERS, known, lose, mark, put},
    op, ops,
    read::field,
    step,
    task::{self, current},
};

/// Commits of one journal that wrote their record with PREFLUSH and FUA, without a gap.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Journal {
    first: u32,
    last: u32,
}

/// The commit that a journal thread is running.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Commit {
    journal: u64,
    transaction: u32,
    reserved: u32,
}

/// The journal thread starts to commit: `jbd2_journal_commit_transaction(journal_t *)`.
#[inline(always)]
pub(crate) fn run(journal: u64) {
    let running: Option<u64> = field(journal, offset!(journal_running));
    if let Some(transaction) = running.and_then(|t| field(t, offset!(transaction_tid))) {
        let (_, tid) = current();
        mark(u64::from(tid));
        put(&COMMITS, &tid, &Commit { journal, transaction, reserved: 0 }, Loss::TasksFull);
    }
}

/// A thread has ended. If it was a journal's, the filesystem is unmounted: what was seen of the journal must not be
/// taken for what another one at its address did.
#[inline(always)]
pub(crate) fn ended(tid: u32) {
    if !known(u64::from(tid)) {
        return;
    }
    // SAFETY: a live element that only the thread itself wrote.
    if let Some(journal) = COMMITS.get_ptr(&tid).map(|commit| unsafe { (*commit).journal }) {
        let _ = JOURNALS.remove(&journal);
        let _ = COMMITS.remove(&tid);
    }
}

/// A bio that belongs to no op; true if it is a journal thread's.
#[inline(always)]
pub(crate) fn bio(tid: u32, barrier: bool) -> bool {
    if !known(u64::from(tid)) {
        return false;
    }
    let Some(commit) = COMMITS.get_ptr(&tid) else { return false };
    if barrier {
        // SAFETY: a live element that only this thread writes.
        let Commit { journal, transaction, .. } = unsafe { *commit };
        let next = match JOURNALS.get_ptr(&journal) {
            // SAFETY: as above; a journal has one commit thread.
            Some(known) => unsafe {
                if transaction == (*known).last.wrapping_add(1) || transaction == (*known).last {
                    Journal { first: (*known).first, last: transaction }
                } else {
                    Journal { first: transaction, last: transaction }
                }
            },
            None => Journal { first: transaction, last: transaction },
        };
        put(&JOURNALS, &journal, &next, Loss::TasksFull);
    }
    true
}

/// A task waits for a commit: `jbd2_log_wait_commit(journal_t *, tid_t)`.
#[inline(always)]
pub(crate) fn wait(journal: u64, transaction: u32) {
    task::hit_in_scope(Hook::CommitWait);
    let (_, tid) = current();
    let Some(state) = ops::get(task::inside(tid)) else { return };
    step::took(Hook::CommitWait, state, 0, journal);
    // SAFETY: a live element; one task at a time runs the op or its completion.
    let state = unsafe { &mut *state };
    state.commits += 1;
    state.commit_journal = journal;
    state.commit_transaction = transaction;
}

/// A buffer of XFS's log and its last write.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct LogBuffer {
    ns: u64,
    /// How often it was written, this time included.
    writes: u32,
    /// 1 where the last write had PREFLUSH and FUA.
    barrier: u32,
}

/// A buffer of XFS's log goes to the disk.
#[inline(always)]
pub(crate) fn log_write(buffer: u64, barrier: bool) {
    let writes = match LOG_BUFFERS.get_ptr(&buffer) {
        // SAFETY: a live element; a buffer is written by one task at a time.
        Some(known) => unsafe { (*known).writes },
        None => 0,
    };
    let next = LogBuffer { ns: op::now(), writes: writes.wrapping_add(1), barrier: u32::from(barrier) };
    if LOG_BUFFERS.insert(&buffer, &next, u64::from(BPF_ANY)).is_err() {
        lose(Loss::TasksFull);
    }
}

/// The op's own task writes a buffer of the log that its fsync asked for. `xlog_force_lsn` waits for it, or finds that it
/// has ended already (`xlog_force_and_check_iclog`, since 5.14) and waits for nothing.
#[inline(always)]
pub(crate) fn log_written(state: &mut odio_trace_common::OpRecord, buffer: u64) {
    if state.force_ns == 0 {
        return;
    }
    // SAFETY: a live element.
    let Some(known) = LOG_BUFFERS.get_ptr(&buffer).map(|known| unsafe { *known }) else { return };
    state.commits += 1;
    state.commit_journal = buffer;
    state.commit_transaction = known.writes;
    state.flushed_last = 0;
    state.completion_flags &= !OpFlags::COMMITS_BARRIER;
}

/// `xlog_force_lsn(struct xlog *, xfs_lsn_t, uint flags, int *log_flushed, bool already_slept)`. A second call, for the
/// same place, says that it has slept.
#[inline(always)]
pub(crate) fn log_force(already_slept: u64) {
    task::hit_in_scope(Hook::LogForce);
    let (_, tid) = current();
    let Some(state) = ops::get(task::inside(tid)) else { return };
    step::took(Hook::LogForce, state, 0, 0);
    if already_slept & 0xff == 0 {
        // SAFETY: a live element; one task at a time runs the op or its completion.
        unsafe { (*state).force_ns = op::now() }
    }
}

/// `xlog_wait_on_iclog(struct xlog_in_core *)`. The log's lock is held, so the buffer is either written by now or not
/// yet: no write of it begins between this look and the wait.
#[inline(always)]
pub(crate) fn log_wait(buffer: u64) {
    task::hit_in_scope(Hook::LogWait);
    let (_, tid) = current();
    let Some(state) = ops::get(task::inside(tid)) else { return };
    // SAFETY: a live element; one task at a time runs the op or its completion.
    let state = unsafe { &mut *state };
    if state.force_ns == 0 {
        // Not for an fsync.
        return;
    }
    step::took(Hook::LogWait, state, 0, buffer);
    let before = (state.commit_journal, state.commit_transaction);
    state.commit_journal = buffer;
    state.flushed_last = 0;
    state.completion_flags &= !OpFlags::COMMITS_BARRIER;
    let (ns, writes) = match LOG_BUFFERS.get_ptr(&buffer) {
        // SAFETY: a live element, see above.
        Some(known) => unsafe { ((*known).ns, (*known).writes) },
        None => (0, 0),
    };
    // Sent before it was asked for, its PREFLUSH may have come before the op's data: then XFS flushes by itself.
    let sent = ns >= state.force_ns;
    state.commit_transaction = writes.wrapping_add(u32::from(!sent));
    // One that this task wrote itself is counted already.
    state.commits += u32::from(before != (buffer, state.commit_transaction));
    if sent {
        settle_log(state);
    }
}

/// Marks the op if the write of the log that it waited for had a barrier.
#[inline(always)]
fn settle_log(state: &mut odio_trace_common::OpRecord) {
    let Some(known) = LOG_BUFFERS.get_ptr(&state.commit_journal) else { return };
    // SAFETY: a live element.
    let (writes, barrier) = unsafe { ((*known).writes, (*known).barrier) };
    if barrier != 0 && writes == state.commit_transaction {
        state.completion_flags |= OpFlags::COMMITS_BARRIER;
    }
}

/// Whether the last commit that the op waited for is known to have had a barrier.
#[inline(always)]
pub(crate) fn settle(state: &mut odio_trace_common::OpRecord) {
    if state.commits == 0 {
        return;
    }
    if state.force_ns != 0 {
        settle_log(state);
        return;
    }
    if let Some(known) = JOURNALS.get_ptr(&state.commit_journal) {
        // SAFETY: a live element.
        let Journal { first, last } = unsafe { *known };
        let wanted = state.commit_transaction;
        // Transaction numbers wrap; compare them as jbd2's tid_geq does.
        if wanted.wrapping_sub(first) as i32 >= 0 && last.wrapping_sub(wanted) as i32 >= 0 {
            state.completion_flags |= OpFlags::COMMITS_BARRIER;
        }
    }
}
