//! fsync through Linux AIO, which a worker runs.
//!
//! What the worker is handed names no process. It is tied to one by its context (`struct kioctx`), which a read or
//! write of that process was seen to use before: a context that is used for nothing but fsync stays unseen.

use aya_ebpf::helpers::bpf_get_current_comm;
use odio_trace_common::{COMM_LEN, EngineSeen, Hook, Loss, OpFlags, OpKind};

use crate::{
    config::offset,
    file,
    maps::{AIO_CONTEXTS, lose, put},
    op, ops,
    read::{ByHelper, field},
    step,
    task::{self, current, sees},
};

/// Who uses a context.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Context {
    /// The context's own number (`user_id`): another context may come to lie at the same address.
    id: u64,
    tgid: u32,
    tid: u32,
    comm: [u8; COMM_LEN],
}

/// A request of the running task uses a context.
#[inline(always)]
pub(crate) fn learn(iocb: u64) {
    let Some((context, id)) = context_of(iocb) else { return };
    if let Some(known) = AIO_CONTEXTS.get_ptr(&context)
        // SAFETY: a live element.
        && unsafe { (*known).id } == id
    {
        return;
    }
    let (tgid, tid) = current();
    let comm = bpf_get_current_comm().unwrap_or([0; COMM_LEN]);
    put(&AIO_CONTEXTS, &context, &Context { id, tgid, tid, comm }, Loss::TasksFull);
}

#[inline(always)]
fn context_of(iocb: u64) -> Option<(u64, u64)> {
    let context: u64 = field(iocb, offset!(aio_kiocb_ctx))?;
    Some((context, field(context, offset!(kioctx_user_id))?))
}

/// `aio_fsync_work(struct work_struct *)`: a worker begins an fsync.
#[inline(always)]
pub(crate) fn sync(work: u64) {
    let Some(at) = offset!(aio_kiocb_fsync_work) else { return };
    let iocb = work - at;
    let Some((context, id)) = context_of(iocb) else { return };
    let Some(known) = AIO_CONTEXTS.get_ptr(&context) else { return };
    // SAFETY: a live element.
    let asker = unsafe { *known };
    if asker.id != id || !sees(Hook::AioSync, asker.tgid) {
        return;
    }
    let Some(state) = op::open(iocb, OpKind::Sync, EngineSeen::Libaio, OpFlags::ASYNC) else { return };
    // SAFETY: a live element; this task runs the op.
    let state = unsafe { &mut *state };
    state.tgid = asker.tgid;
    state.tid = asker.tid;
    state.comm = asker.comm;
    state.completion_flags = OpFlags::FSYNC_KWORKER | OpFlags::DEFERRED;
    // As fsync(2) has it: the whole file.
    state.len = 1 << 63;
    if field::<u8>(iocb, offset!(aio_kiocb_datasync)).unwrap_or(0) != 0 {
        state.flags |= OpFlags::DATASYNC;
    }
    let file: u64 = field(iocb, offset!(aio_kiocb_file)).unwrap_or(0);
    match file::look::<ByHelper>(file, current().1) {
        Some(seen) => op::about(state, file, &seen),
        None => lose(Loss::ReadFailed),
    }
    step::took(Hook::AioSync, state, 0, iocb);
    task::completing(current().1, iocb);
}

/// `aio_complete(struct aio_kiocb *)`: the event is put where the program looks for it.
#[inline(always)]
pub(crate) fn complete(iocb: u64) {
    // Reads and writes were acknowledged by `aio_complete_rw`.
    if let Some(state) = ops::get(iocb)
        // SAFETY: a live element; this task completes the op.
        && unsafe { (*state).op } == OpKind::Sync as u32
    {
        let result: i64 = field(iocb, offset!(aio_kiocb_result)).unwrap_or(0);
        step::ended(Hook::AioSyncComplete, state, 0, iocb, result);
        op::acknowledge(iocb, Some(EngineSeen::Libaio), result);
        task::completed(current().1, iocb);
    }
}
