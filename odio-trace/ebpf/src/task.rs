//! What a task is inside of.

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use odio_trace_common::{Hook, Loss};

pub(crate) use crate::scope::{in_scope, late, may_be, sees};
use crate::{
    maps::{TASKS, known, mark, put},
    threads,
};

/// In place of a request: a worker's request that was not seen to begin.
pub(crate) const BEGUN_BEFORE: u64 = 1;

/// In place of an op: the task syncs filesystems as a whole until its system call returns. What it sends is not of one
/// request, as what a worker sends that writes back for all.
pub(crate) const SYNC_ALL: u64 = u64::MAX;

/// What a task is inside of.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Task {
    /// Key of the op, 0 for none. Stays after the entry function returned until the system call does.
    pub(crate) op: u64,
    /// The request an io-wq worker is running, 0 for none.
    pub(crate) request: u64,
    /// How many entry functions of `op` the task is inside of. 0: bios and fsyncs are not the op's.
    pub(crate) depth: u32,
    /// 1 while a worker completes `op` for somebody else.
    pub(crate) completing: u32,
}

impl Task {
    pub(crate) const NONE: Self = Self { op: 0, request: 0, depth: 0, completing: 0 };
}

/// Process and thread that this code runs on. In an interrupt that is whoever was interrupted.
#[inline(always)]
pub(crate) fn current() -> (u32, u32) {
    let both = bpf_get_current_pid_tgid();
    ((both >> 32) as u32, both as u32)
}

/// Counts a hit of `hook` if the running process is traced.
#[inline(always)]
pub(crate) fn hit_in_scope(hook: Hook) {
    let (tgid, _) = current();
    sees(hook, tgid);
}

/// What the thread is inside of, if anything was ever noted of it.
#[inline(always)]
pub(crate) fn of(tid: u32) -> Option<*mut Task> {
    if !known(u64::from(tid)) {
        return None;
    }
    threads::task(tid).or_else(|| TASKS.get_ptr_mut(&tid))
}

/// Lets go of what was noted of the running thread.
#[inline(always)]
pub(crate) fn forget(tid: u32) {
    if known(u64::from(tid)) && !threads::leave(tid) && TASKS.get_ptr(&tid).is_some() {
        let _ = TASKS.remove(&tid);
    }
}

#[inline(always)]
fn note(tid: u32, task: &Task) {
    if let Some(noted) = of(tid) {
        // SAFETY: a live element; this task is the only one to write it.
        unsafe { *noted = *task }
        return;
    }
    mark(u64::from(tid));
    if threads::take(tid, task) {
        return;
    }
    put(&TASKS, &tid, task, Loss::TasksFull);
}

/// The op that the running task is inside of, 0 for none.
#[inline(always)]
pub(crate) fn inside(tid: u32) -> u64 {
    inside_of(of(tid))
}

/// As `inside`, of what was noted of the running task.
#[inline(always)]
pub(crate) fn inside_of(task: Option<*mut Task>) -> u64 {
    match task {
        // SAFETY: a live element of the map; this task is the only one to write it.
        Some(task) => unsafe {
            if (*task).depth > 0 || (*task).completing > 0 { (*task).op } else { 0 }
        },
        None => 0,
    }
}

/// The io_uring request that the running task works on for somebody, 0 for none.
#[inline(always)]
pub(crate) fn request(tid: u32) -> u64 {
    request_of(of(tid))
}

/// As `request`, of what was noted of the running task.
#[inline(always)]
pub(crate) fn request_of(task: Option<*mut Task>) -> u64 {
    match task {
        // SAFETY: as in `inside_of`.
        Some(task) => unsafe { (*task).request },
        None => 0,
    }
}

/// A thread of a traced process returns from a system call: what it begins from now on is seen whole.
#[inline(always)]
pub(crate) fn settle(tgid: u32, tid: u32) {
    if late() && in_scope(tgid) {
        note(tid, &Task::NONE);
    }
}

/// Whether the system call that the thread is in was begun under trace.
#[inline(always)]
pub(crate) fn settled(tid: u32) -> bool {
    !late() || of(tid).is_some()
}

/// Notes that the task entered `op`.
#[inline(always)]
pub(crate) fn enter(tid: u32, op: u64) {
    if let Some(task) = of(tid) {
        // SAFETY: as in `inside_of`.
        unsafe {
            if (*task).op == op && (*task).depth > 0 {
                (*task).depth += 1;
            } else {
                (*task).op = op;
                (*task).depth = 1;
            }
        }
        return;
    }
    note(tid, &Task { op, depth: 1, ..Task::NONE });
}

/// Notes that the running task syncs a filesystem as a whole, unless it does so for an op.
#[inline(always)]
pub(crate) fn syncs_all() {
    let (tgid, tid) = current();
    if sees(Hook::SyncAll, tgid) && inside(tid) == 0 {
        enter(tid, SYNC_ALL);
    }
}

/// Notes that a worker completes `op`, until the op is acknowledged in this task.
#[inline(always)]
pub(crate) fn completing(tid: u32, op: u64) {
    note(tid, &Task { op, completing: 1, ..Task::NONE });
}

/// A worker is done with `op`.
#[inline(always)]
pub(crate) fn completed(tid: u32, op: u64) {
    if let Some(task) = of(tid) {
        // SAFETY: as in `inside_of`.
        if unsafe { (*task).completing > 0 && (*task).op == op } {
            forget(tid);
        }
    }
}

/// An io-wq worker takes up `request`.
#[inline(always)]
pub(crate) fn work_on(tid: u32, request: u64) {
    note(tid, &Task { request, ..Task::NONE });
}

/// Whether the task is a worker that completes an op for somebody else.
#[inline(always)]
pub(crate) fn is_completing(tid: u32) -> bool {
    match of(tid) {
        // SAFETY: as in `inside_of`.
        Some(task) => unsafe { (*task).completing > 0 },
        None => false,
    }
}

/// The task is no longer inside its op.
#[inline(always)]
pub(crate) fn leave(tid: u32) {
    if let Some(task) = of(tid) {
        // SAFETY: as in `inside_of`.
        unsafe { (*task).depth = 0 }
    }
}
