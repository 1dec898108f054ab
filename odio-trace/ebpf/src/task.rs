//! Which processes are traced, and what a task is inside of.

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_log_ebpf::{debug, warn};
use odio_trace_common::{Hook, Loss};

use crate::{
    config::offset,
    maps::{SCOPE, TASKS, hit, lose, put},
    read::field,
};

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

/// Whether the process is traced.
#[inline(always)]
pub(crate) fn in_scope(tgid: u32) -> bool {
    SCOPE.get_ptr(&tgid).is_some()
}

/// Counts a hit of `hook` if the running process is traced.
#[inline(always)]
pub(crate) fn hit_in_scope(hook: Hook) {
    let (tgid, _) = current();
    if in_scope(tgid) {
        hit(hook, tgid);
    }
}

/// The op that the running task is inside of, 0 for none.
#[inline(always)]
pub(crate) fn inside(tid: u32) -> u64 {
    match TASKS.get_ptr(&tid) {
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
    match TASKS.get_ptr(&tid) {
        // SAFETY: as in `inside`.
        Some(task) => unsafe { (*task).request },
        None => 0,
    }
}

/// Notes that the task entered `op`.
#[inline(always)]
pub(crate) fn enter(tid: u32, op: u64) {
    if let Some(task) = TASKS.get_ptr_mut(&tid) {
        // SAFETY: as in `inside`.
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
    put(&TASKS, &tid, &Task { op, depth: 1, ..Task::NONE }, Loss::TasksFull);
}

/// Follows a child of a traced process; `parent` and `child` are process ids.
#[inline(always)]
pub(crate) fn fork(parent: u32, child: u32) {
    if parent != child && in_scope(parent) {
        if put(&SCOPE, &child, &1, Loss::ScopeFull) {
            debug!((), "process {} made process {}, which is followed", parent, child);
        } else {
            warn!((), "process {} made process {}, which cannot be followed", parent, child);
        }
    }
}

/// Notes that a worker completes `op`, until the op is acknowledged in this task.
#[inline(always)]
pub(crate) fn completing(tid: u32, op: u64) {
    put(&TASKS, &tid, &Task { op, completing: 1, ..Task::NONE }, Loss::TasksFull);
}

/// A worker is done with `op`.
#[inline(always)]
pub(crate) fn completed(tid: u32, op: u64) {
    if let Some(task) = TASKS.get_ptr(&tid) {
        // SAFETY: as in `inside`.
        if unsafe { (*task).completing > 0 && (*task).op == op } {
            let _ = TASKS.remove(&tid);
        }
    }
}

/// An io-wq worker takes up `request`.
#[inline(always)]
pub(crate) fn work_on(tid: u32, request: u64) {
    put(&TASKS, &tid, &Task { request, ..Task::NONE }, Loss::TasksFull);
}

/// Whether the task is a worker that completes an op for somebody else.
#[inline(always)]
pub(crate) fn is_completing(tid: u32) -> bool {
    match TASKS.get_ptr(&tid) {
        // SAFETY: as in `inside`.
        Some(task) => unsafe { (*task).completing > 0 },
        None => false,
    }
}

/// `sched_process_fork`: follows the child, whose process id stands in its `task_struct`.
#[inline(always)]
pub(crate) fn forked(parent: u64, child: u64) {
    let tgid = |task| field::<u32>(task, offset!(task_tgid));
    match (tgid(parent), tgid(child)) {
        (Some(parent), Some(child)) => fork(parent, child),
        _ => lose(Loss::ReadFailed),
    }
}

/// The task is no longer inside its op.
#[inline(always)]
pub(crate) fn leave(tid: u32) {
    if let Some(task) = TASKS.get_ptr_mut(&tid) {
        // SAFETY: as in `inside`.
        unsafe { (*task).depth = 0 }
    }
}
