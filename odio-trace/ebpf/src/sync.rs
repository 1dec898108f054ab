//! fsync: inside an op, or as an op of its own.

use aya_log_ebpf::warn;
use odio_trace_common::{EngineSeen, Hook, Loss, OpFlags, OpKind};

use crate::{
    file,
    maps::lose,
    op, ops,
    read::ByHelper,
    step,
    task::{self, current, sees},
};

/// `vfs_fsync_range(file, start, end, datasync)` or a filesystem's own fsync, which takes the same.
#[inline(always)]
pub(crate) fn fsync(hook: Hook, file: u64, start: u64, end: u64, datasync: u64, function: u64) {
    let (tgid, tid) = current();
    let traced = sees(hook, tgid);
    let key = task::inside(tid);
    if let Some(state) = ops::get(key) {
        step::took(hook, state, function, file);
        // SAFETY: a live element; one task at a time runs the op or its completion.
        let state = unsafe { &mut *state };
        began(state);
        if hook as u32 == Hook::VfsFsync as u32 {
            state.vfs_fsyncs += 1;
        } else {
            state.fs_fsyncs += 1;
        }
        if state.op != OpKind::Sync as u32 {
            who(state, tid, key);
        }
        return;
    }
    if !traced {
        return;
    }
    // fsync(2), fdatasync(2), msync(2), or a sync that an io-wq worker runs: an op of its own.
    let request = task::request(tid);
    if request == task::BEGUN_BEFORE || (request == 0 && !task::settled(tid)) {
        // It may be the end of an O_DSYNC write that was not seen to begin.
        lose(Loss::BegunBefore);
        return;
    }
    let (key, engine) = if request == 0 {
        (u64::from(tid), EngineSeen::Psync)
    } else {
        (request, EngineSeen::IoUring)
    };
    let state = match ops::get(key) {
        // io_uring's worker: the op was opened where it was handed over.
        Some(state) if request != 0 => Some(state),
        Some(state) => {
            // SAFETY: a live element.
            unsafe { (*state).flags |= OpFlags::END_MISSED }
            lose(Loss::EndMissed);
            warn!((), "thread {} syncs again, the end of its last sync was missed", tid);
            op::send(key, state);
            op::open(key, OpKind::Sync, engine, 0)
        }
        None => op::open(key, OpKind::Sync, engine, 0),
    };
    let Some(state) = state else { return };
    step::took(hook, state, function, file);
    // SAFETY: a live element; this task runs the op.
    let state = unsafe { &mut *state };
    began(state);
    state.op = OpKind::Sync as u32;
    state.engine = engine as u32;
    state.offset = start;
    state.len = end.wrapping_sub(start).wrapping_add(1);
    if datasync & 0xffff_ffff != 0 {
        state.flags |= OpFlags::DATASYNC;
    }
    if hook as u32 == Hook::VfsFsync as u32 {
        state.vfs_fsyncs = 1;
    } else {
        state.fs_fsyncs = 1;
    }
    who(state, tid, key);
    match file::look::<ByHelper>(file, tid) {
        Some(seen) => op::about(state, file, &seen),
        None => lose(Loss::ReadFailed),
    }
    task::enter(tid, key);
}

/// Notes when the op's first fsync began. A synchronous request has waited for its data by then.
#[inline(always)]
fn began(state: &mut odio_trace_common::OpRecord) {
    if state.first_fsync_ns == 0 {
        state.first_fsync_ns = op::now();
        op::waited_for_data(state, state.first_fsync_ns);
    }
}

/// Notes which kind of task runs the fsync.
#[inline(always)]
fn who(state: &mut odio_trace_common::OpRecord, tid: u32, key: u64) {
    if task::is_completing(tid) {
        state.completion_flags |= OpFlags::FSYNC_KWORKER;
    } else if task::request(tid) == key {
        state.flags |= OpFlags::FSYNC_IO_WQ;
    } else {
        state.flags |= OpFlags::FSYNC_CALLER;
    }
}
