//! io_uring's io-wq workers.

use odio_trace_common::{EngineSeen, Hook, OpFlags, OpKind};

use crate::{
    config::offset,
    op, ops, step,
    task::{self, current, in_scope, sees},
};

/// A request is handed to a worker; its kiocb is its first member. Runs in the task that submitted it.
#[inline(always)]
pub(crate) fn punt(request: u64, function: u64) {
    let (tgid, _) = current();
    let traced = sees(Hook::Punt, tgid);
    match ops::get(request) {
        // SAFETY: a live element; this task runs the op.
        Some(state) => unsafe { (*state).flags |= OpFlags::PUNTED },
        None if traced => {
            // What it is shows when the worker enters the filesystem.
            op::open(request, OpKind::Unseen, EngineSeen::IoUring, OpFlags::ASYNC | OpFlags::PUNTED);
        }
        None => {}
    }
    step::took_by(Hook::Punt, request, function, request);
}

/// A worker takes up a request: `io_wq_submit_work(struct io_wq_work *)`.
#[inline(always)]
pub(crate) fn worker_run(work: u64) {
    if let Some(at) = offset!(io_kiocb_work) {
        let (tgid, tid) = current();
        let request = work - at;
        if let Some(state) = ops::get(request) {
            step::took(Hook::WorkerRun, state, 0, request);
            task::work_on(tid, request);
        } else if task::late() && in_scope(tgid) {
            task::work_on(tid, task::BEGUN_BEFORE);
        }
    }
}
