//! io_uring's io-wq workers, and the ends of its requests where the tracepoint does not name them.

use odio_trace_common::{EngineSeen, Hook, OpFlags, OpKind};

use crate::{
    config::offset,
    op, ops,
    read::field,
    step,
    task::{self, current, in_scope, sees},
};

/// A request is handed to a worker; its kiocb is its first member. Runs in the task that submitted it.
#[inline(always)]
pub(crate) fn punt(request: u64, function: u64) {
    let (tgid, _) = current();
    let traced = sees(Hook::Punt, tgid);
    match ops::get(request) {
        // SAFETY: a live element; this task runs the op.
        Some(state) => unsafe {
            (*state).flags |= OpFlags::PUNTED;
            // The first try may have moved a part and said so (`io_write`, 6.1): the return that counts is to come.
            (*state).phase = 0;
        },
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

/// `io_req_complete_post(struct io_kiocb *, s32 res, u32 cflags)`: the completion entry of one request is posted.
#[inline(always)]
pub(crate) fn posted(request: u64, result: i32, function: u64) {
    if let Some(state) = ops::get(request) {
        step::ended(Hook::UringComplete, state, function, request, i64::from(result));
        op::acknowledge(request, Some(EngineSeen::IoUring), i64::from(result));
    }
}

/// A request goes back to where its memory came from. Where its entry was posted with others' (`io_submit_flush_completions`,
/// 5.15), which nothing shows by request, this is the first that is seen of its end: in the same loop, or in the worker
/// that let go of it last.
#[inline(always)]
pub(crate) fn freed(request: u64, function: u64) {
    let Some(state) = ops::get(request) else { return };
    // SAFETY: a live element.
    if unsafe { (*state).completion_flags } & OpFlags::ACKED != 0 {
        return;
    }
    let Some(result) = field::<i32>(request, offset!(io_kiocb_result)) else { return };
    step::ended(Hook::UringComplete, state, function, request, i64::from(result));
    op::acknowledge(request, Some(EngineSeen::IoUring), i64::from(result));
}
