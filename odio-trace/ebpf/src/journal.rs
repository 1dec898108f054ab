//! Journal commits (jbd2): which ones ran with a barrier, and which an op waited for.
//!
//! A commit makes the file's metadata durable only if its commit record went out with PREFLUSH and FUA; a mount
//! with `barrier=0` leaves both out. So the journal thread's own bios are watched, and the op that waited is
//! marked only when the commit it waited for had them.

use odio_trace_common::{Hook, Loss, OpFlags};

use crate::{
    config::offset,
    maps::{COMMITS, JOURNALS, put},
    op,
    read::field,
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
        put(&COMMITS, &tid, &Commit { journal, transaction, reserved: 0 }, Loss::TasksFull);
    }
}

/// A bio that belongs to no op; true if it is a journal thread's.
#[inline(always)]
pub(crate) fn bio(tid: u32, barrier: bool) -> bool {
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
    let Some(state) = op::get(task::inside(tid)) else { return };
    // SAFETY: a live element; one task at a time runs the op or its completion.
    let state = unsafe { &mut *state };
    state.commits += 1;
    state.commit_journal = journal;
    state.commit_transaction = transaction;
}

/// Whether the last commit that the op waited for is known to have had a barrier.
#[inline(always)]
pub(crate) fn settle(state: &mut odio_trace_common::OpRecord) {
    if state.commits == 0 {
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
