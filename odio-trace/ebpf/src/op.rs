//! An op from its first sight to its record.

use aya_ebpf::helpers::{bpf_ktime_get_ns, generated::bpf_get_current_comm};
use aya_log_ebpf::{debug, warn};
use odio_trace_common::{COMM_LEN, EngineSeen, Hook, Loss, OpFlags, OpKind, OpRecord, RecordKind};

use crate::{
    aio, bio,
    config::{config, offset},
    file, journal,
    maps::{EVENTS, lose, wake},
    ops,
    read::{ByHelper, Reads, field},
    step,
    task::{self, Task, current, may_be, sees},
};

const EAGAIN: i64 = -11;
const EOPNOTSUPP: i64 = -95;
const EIOCBQUEUED: i64 = -529;

/// io_uring's buffered read of a page that is still being read (IOCB_WAITQ): it is queued, and when the page is
/// there the same kiocb enters the filesystem again.
const WAITS_FOR_PAGE: u64 = OpFlags::ASYNC | OpFlags::QUEUED | OpFlags::BUFFERED;

/// Opens an op under `key` for the running task, with nothing known of it but who asked.
#[inline(always)]
pub(crate) fn open(key: u64, kind: OpKind, engine: EngineSeen, flags: u64) -> Option<*mut OpRecord> {
    let (tgid, tid) = current();
    ops::insert(key, |state| {
        state.kind = RecordKind::Op as u32;
        state.op = kind as u32;
        state.engine = engine as u32;
        state.tgid = tgid;
        state.tid = tid;
        state.begin_ns = now();
        state.flags = flags;
        // What cannot be named stays blank.
        // SAFETY: the helper writes as many bytes as it is told.
        unsafe { bpf_get_current_comm((&raw mut state.comm).cast(), COMM_LEN as u32) };
    })
}

/// `write_iter` or `read_iter` is entered: `(struct kiocb *, struct iov_iter *)`.
#[inline(always)]
pub(crate) fn begin<R: Reads>(hook: Hook, kind: OpKind, kiocb: u64, iter: u64, function: u64) {
    let (tgid, tid) = current();
    let task = task::of(tid);
    if task.is_none() && !may_be(tgid) {
        return;
    }
    finish_returned(task);
    let outer = task::inside_of(task);
    if let Some(state) = ops::get(kiocb) {
        if outer == kiocb {
            // The filesystem called a generic write_iter with the same kiocb.
            step::took(hook, state, function, kiocb);
            task::enter(tid, kiocb);
            return;
        }
        // SAFETY: a live element; the op is run by one task at a time.
        let (flags, result) = unsafe { ((*state).flags, (*state).result) };
        let woken = flags & WAITS_FOR_PAGE == WAITS_FOR_PAGE && kind as u32 == OpKind::Read as u32;
        // One whose worker has returned is over, whatever was seen of its end: this is another request.
        // SAFETY: as above.
        let punted = flags & OpFlags::PUNTED != 0 && !ops::has_ended_once(unsafe { &*state });
        if woken {
            // SAFETY: as above. It is not acknowledged yet; the return that is still to come counts.
            unsafe { (*state).phase = 0 }
        }
        if punted || result == EAGAIN || woken {
            sees(hook, tgid);
            step::took(hook, state, function, kiocb);
            describe::<R>(state, kind, kiocb, iter);
            task::enter(tid, kiocb);
            return;
        }
        // SAFETY: as above.
        unsafe { (*state).flags |= OpFlags::END_MISSED }
        lose(Loss::EndMissed);
        warn!((), "kiocb {:x} of thread {} is used again, the end of its last op was missed", kiocb, tid);
        send(kiocb, state);
    }
    if !sees(hook, tgid) {
        return;
    }
    if task::request_of(task) == task::BEGUN_BEFORE {
        lose(Loss::BegunBefore);
        return;
    }
    let complete: u64 = R::member(kiocb, offset!(kiocb_complete)).unwrap_or(0);
    let (engine, flags) = if complete == 0 {
        (EngineSeen::Psync, 0)
    } else if complete == config!(symbols.aio_complete_rw) {
        (EngineSeen::Libaio, OpFlags::ASYNC)
    } else if complete == config!(symbols.io_complete_rw) {
        (EngineSeen::IoUring, OpFlags::ASYNC)
    } else {
        (EngineSeen::Other, OpFlags::ASYNC)
    };
    if let Some(state) = open(kiocb, kind, engine, flags) {
        // SAFETY: a live element, just opened by this task.
        unsafe { (*state).outer = outer }
        step::took(hook, state, function, kiocb);
        describe::<R>(state, kind, kiocb, iter);
        task::enter(tid, kiocb);
        if engine as u32 == EngineSeen::Libaio as u32 {
            aio::learn(kiocb);
        }
    }
}

/// A system call that makes several requests (sendfile, splice) is not over when one of them is: the next one ends it.
#[inline(always)]
fn finish_returned(task: Option<*mut Task>) {
    let Some(element) = task else { return };
    // SAFETY: only this task writes its own element.
    let task = unsafe { &mut *element };
    if task.depth > 0 || task.completing > 0 || task.op == 0 {
        return;
    }
    if let Some(state) = ops::get(task.op) {
        // SAFETY: a live element of a synchronous op, which only this task touches.
        let (seen, result) = unsafe { ((*state).flags & OpFlags::RETURN_SEEN != 0, (*state).result) };
        if seen {
            acknowledge(task.op, None, result);
        }
    }
    task.op = 0;
}

/// Fills in what the kiocb says about the op.
#[inline(always)]
fn describe<R: Reads>(state: *mut OpRecord, kind: OpKind, kiocb: u64, iter: u64) {
    // SAFETY: `state` is a live element; the op is run by one task at a time.
    let state = unsafe { &mut *state };
    state.tries += 1;
    state.result = 0;
    if state.tries > 1 {
        return;
    }
    state.op = kind as u32;
    let filp: u64 = R::member(kiocb, offset!(kiocb_filp)).unwrap_or(0);
    let (Some(seen), Some(offset), Some(len)) = (
        file::look::<R>(filp, current().1),
        R::member::<u64>(kiocb, offset!(kiocb_pos)),
        R::member::<u64>(iter, offset!(iov_iter_count)),
    ) else {
        lose(Loss::ReadFailed);
        return;
    };
    state.iocb_flags = R::member(kiocb, offset!(kiocb_flags)).unwrap_or(0);
    state.offset = offset;
    state.len = len;
    about(state, filp, &seen);
}

/// Fills in which file the op is on.
#[inline(always)]
pub(crate) fn about(state: &mut OpRecord, filp: u64, seen: &file::File) {
    state.dev = seen.dev;
    state.ino = seen.ino;
    state.generation = seen.generation;
    state.mount = seen.mount;
    state.file_flags = seen.flags;
    state.device = seen.device;
    if seen.is_block_device() {
        state.flags |= OpFlags::BLOCK_DEVICE;
    }
    file::name(filp, seen, state.tgid, current().1);
}

/// The entry function returns `ret` for `kiocb`.
#[inline(always)]
pub(crate) fn returned(kiocb: u64, ret: i64, function: u64) {
    let (_, tid) = current();
    let Some(task) = task::of(tid) else { return };
    // SAFETY: only this task writes its own element.
    let task = unsafe { &mut *task };
    if task.op != kiocb || task.depth == 0 {
        return;
    }
    task.depth -= 1;
    if task.depth > 0 {
        return;
    }
    let Some(state) = ops::get(kiocb) else {
        task.op = 0;
        return;
    };
    step::ended(Hook::OpReturn, state, function, kiocb, ret);
    // SAFETY: a live element; the completion side writes other members.
    unsafe {
        (*state).flags |= OpFlags::RETURN_SEEN;
        if (*state).flags & OpFlags::ASYNC == 0 {
            (*state).result = ret;
            waited_for_data(&mut *state, now());
            if (*state).outer != 0 {
                // A stacked filesystem: the system call ends the outer op, so this one ends here.
                let outer = (*state).outer;
                (*state).end_ns = now();
                (*state).flags |= OpFlags::ACKED;
                send(kiocb, state);
                task.op = outer;
                task.depth = 1;
            }
            return;
        }
    }
    task.op = 0;
    // SAFETY: as above.
    let asynchronous = unsafe { (*state).flags & OpFlags::ASYNC != 0 };
    if ret == EAGAIN || (ret == EOPNOTSUPP && asynchronous) {
        // io_uring's first try; the worker, or the next try, goes on with the same kiocb. A block device refuses a
        // buffered write that must not wait with EOPNOTSUPP, which io_uring takes for EAGAIN (io_write, 5.10 to 6.12).
        // SAFETY: as above.
        unsafe { (*state).result = EAGAIN }
        return;
    }
    if ret == EIOCBQUEUED {
        // SAFETY: as above.
        unsafe { (*state).flags |= OpFlags::QUEUED }
    }
    if ops::second_to_end(kiocb, state) {
        send(kiocb, state);
    }
}

/// A synchronous direct request cannot return or sync before its data has ended: where no probe saw that (a block
/// device waits by itself), `now` is when.
#[inline(always)]
pub(crate) fn waited_for_data(state: &mut OpRecord, now: u64) {
    let direct = state.flags & (OpFlags::ASYNC | OpFlags::DIO | OpFlags::BUFFERED) == OpFlags::DIO;
    if direct && state.bios > 0 && state.data_end_ns == 0 {
        state.data_end_ns = now;
    }
}

/// The op is acknowledged with `result`: bytes or a negative errno.
#[inline(always)]
pub(crate) fn acknowledge(key: u64, engine: Option<EngineSeen>, result: i64) {
    let Some(state) = ops::get(key) else { return };
    // SAFETY: a live element; the submitting side writes other members.
    unsafe {
        (*state).result = result;
        (*state).end_ns = now();
        (*state).completion_flags |= OpFlags::ACKED;
        // A block device acknowledges where its data ends, but for io_uring, which tells the program later.
        if bio::by_itself(&*state) && (*state).engine != EngineSeen::IoUring as u32 {
            (*state).data_end_ns = (*state).end_ns;
        }
        journal::settle(&mut *state);
        if let Some(engine) = engine {
            (*state).engine = engine as u32;
        }
        let blank = (*state).op == OpKind::Unseen as u32;
        let waits_for_return = config!(returns_seen) != 0
            && (*state).flags & OpFlags::ASYNC != 0
            && (*state).op != OpKind::Sync as u32
            && (*state).tries > 0
            && result >= 0;
        if blank {
            // A worker was handed something that is no read, write or sync.
            debug!((), "request {:x} of a worker was no read, write or sync", key);
            ops::remove(key);
        } else if !waits_for_return || ops::second_to_end(key, state) {
            send(key, state);
        }
    }
}

/// A system call returns to the program with `ret`. `again`: the second program says so, of what the first may have missed.
#[inline(always)]
pub(crate) fn syscall_exit(regs: u64, ret: i64, again: bool) {
    let (tgid, tid) = current();
    crate::open::returned(tgid, regs, ret, again);
    let Some(task) = task::of(tid) else {
        task::settle(tgid, tid);
        return;
    };
    // SAFETY: only this task writes its own element.
    let key = unsafe {
        let key = (*task).op;
        *task = Task { request: (*task).request, ..Task::NONE };
        key
    };
    let Some(state) = ops::get(key) else { return };
    // SAFETY: a live element of a synchronous op, which only this task touches.
    let (asynchronous, seen) = unsafe {
        ((*state).flags & OpFlags::ASYNC != 0, (*state).flags & OpFlags::RETURN_SEEN != 0)
    };
    if asynchronous {
        return;
    }
    // A system call can make several requests (sendfile); each entry function's own return is the truth.
    // SAFETY: as above.
    let result = if seen { unsafe { (*state).result } } else { ret };
    step::ended(Hook::SyscallExit, state, 0, 0, ret);
    acknowledge(key, None, result);
}

/// Closes the op and sends its record.
///
/// The record is copied straight into the ring buffer: a per-CPU copy on the way could be overwritten by a kprobe in
/// an interrupt that comes over a tracepoint's program.
#[inline(always)]
pub(crate) fn send(key: u64, state: *mut OpRecord) {
    let Some(mut entry) = EVENTS.reserve::<OpRecord>(0) else {
        ops::remove(key);
        lose(Loss::RingFull);
        warn!((), "the ring buffer is full: the record of op {:x} is lost", key);
        return;
    };
    // SAFETY: the element is live, and nobody else ends it; the copy is taken before it may be reused.
    unsafe {
        file::look_at_device(&mut *state);
        ops::copy(entry.as_mut_ptr(), state);
    }
    ops::remove(key);
    entry.submit(wake());
}

#[inline(always)]
pub(crate) fn now() -> u64 {
    // SAFETY: no arguments; always available.
    unsafe { bpf_ktime_get_ns() }
}

/// An op that is first seen where the direct I/O code begins (no probe on the filesystem's entry).
#[inline(always)]
pub(crate) fn begin_dio(kiocb: u64, iter: u64) {
    let write = field::<u8>(iter, offset!(iov_iter_data_source)).unwrap_or(0) != 0;
    if write {
        begin::<ByHelper>(Hook::WriteBegin, OpKind::Write, kiocb, iter, 0);
    } else {
        begin::<ByHelper>(Hook::ReadBegin, OpKind::Read, kiocb, iter, 0);
    }
}

/// `iomap_dio_complete` as a tracepoint: the end of the op where nothing later is seen.
#[inline(always)]
pub(crate) fn dio_done(kiocb: u64, error: i64, ret: i64) {
    let Some(state) = ops::get(kiocb) else { return };
    step::ended(Hook::DioComplete, state, 0, 0, if error != 0 { error } else { ret });
    bio::data_ended(state);
    // SAFETY: a live element; only the completion side writes this member.
    let (asynchronous, uring) = unsafe {
        if error == 0 && ret > 0 {
            (*state).dio_bytes += ret as u64;
        }
        ((*state).flags & OpFlags::ASYNC != 0, (*state).engine == EngineSeen::IoUring as u32)
    };
    // io_uring's own completion entry is still to come.
    if asynchronous && !uring {
        acknowledge(kiocb, None, if error != 0 { error } else { ret });
    }
}

/// The task is about to return with its request queued.
#[inline(always)]
pub(crate) fn dio_queued() {
    let (_, tid) = current();
    let key = task::inside(tid);
    if let Some(state) = ops::get(key) {
        step::took(Hook::OpReturn, state, 0, key);
        // SAFETY: a live element; this task runs the op.
        unsafe { (*state).flags |= OpFlags::QUEUED }
        task::leave(tid);
    }
}
