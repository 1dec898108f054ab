//! bios, and the direct I/O code that makes them.

use aya_log_ebpf::debug;
use odio_trace_common::{Hook, Loss, OpFlags, OpKind, OpRecord, StepBits};

use crate::{
    config::{config, offset},
    issue, journal,
    maps::lose,
    op, ops,
    read::{ByHelper, Reads, field},
    step,
    task::{self, current, sees},
    writeback,
};

/// Low bits of `bi_opf` that hold the operation (since 4.10).
const REQ_OP_MASK: u32 = 0xff;
const REQ_OP_READ: u32 = 0;
const REQ_OP_WRITE: u32 = 1;
const REQ_OP_FLUSH: u32 = 2;

/// `iomap_dio.flags`, from include/linux/iomap.h.
const IOMAP_DIO_UNWRITTEN: u32 = 1 << 0;
const IOMAP_DIO_COW: u32 = 1 << 1;

/// A bio goes to the block layer, sent by the task that made it.
#[inline(always)]
pub(crate) fn submit<R: Reads>(bio: u64) {
    let (tgid, tid) = current();
    let traced = sees(Hook::BioSubmit, tgid);
    // Whoever makes a bio of a traced op is traced, or known to work for one that is.
    if !traced && task::of(tid).is_none() && is_direct(R::member(bio, offset!(bio_end_io)).unwrap_or(0)) {
        return;
    }
    sent::<R>(bio, traced, tid);
}

/// `block_bio_queue`: a bio is let through, which of a throttled one a worker does (`blk_throtl_dispatch_work_fn`, 6.1).
#[inline(always)]
pub(crate) fn queued(bio: u64) {
    let (tgid, tid) = current();
    sent::<ByHelper>(bio, sees(Hook::BioSubmit, tgid), tid);
}

#[inline(always)]
fn sent<R: Reads>(bio: u64, traced: bool, tid: u32) {
    let task = task::of(tid);
    let end_io: u64 = R::member(bio, offset!(bio_end_io)).unwrap_or(0);
    let direct = is_direct(end_io);
    let (Some(opf), Some(size)) =
        (R::member::<u32>(bio, offset!(bio_opf)), R::member::<u32>(bio, offset!(bio_size)))
    else {
        lose(Loss::ReadFailed);
        return;
    };
    let what = opf & REQ_OP_MASK;
    let fua = opf & config!(req_fua) != 0;
    let preflush = opf & config!(req_preflush) != 0;
    let flush = what == REQ_OP_FLUSH || (size == 0 && preflush);

    let super_write = end_io != 0 && end_io == config!(symbols.btrfs_end_super_write);
    let log_write = end_io != 0 && end_io == config!(symbols.xlog_bio_end_io);
    if log_write {
        match R::member(bio, offset!(bio_private)) {
            Some(buffer) => journal::log_write(buffer, fua && preflush),
            None => lose(Loss::ReadFailed),
        }
    }

    let owner = if direct { owner::<R>(bio, end_io) } else { None };
    let key = owner.unwrap_or_else(|| task::inside_of(task));
    let Some(state) = ops::get(key) else {
        // A filesystem's own log belongs to all that wait for it. Direct I/O sends no page cache, though the program's
        // buffer may be some file's that it maps.
        let data = !direct && what == REQ_OP_WRITE && !flush && opf & config!(req_meta) == 0;
        let common = log_write
            || super_write
            || journal::bio(tid, fua && preflush)
            || (data && writeback::bio(bio, size, fua, false));
        if !common && traced && key != task::SYNC_ALL && (what == REQ_OP_WRITE || flush) {
            lose(Loss::BioUnattributed);
            debug!((), "bio of {} bytes, flags {:x}, of thread {} belongs to no op", size, opf, tid);
        }
        return;
    };
    // SAFETY: a live element; bios of one op are submitted by one task at a time.
    let state = unsafe { &mut *state };
    if direct && state.flags & OpFlags::BLOCK_DEVICE != 0 {
        state.flags |= OpFlags::DIO;
    }
    // A write may read the rest of a page first, which carries none of its data.
    let own = if state.op == OpKind::Read as u32 { REQ_OP_READ } else { REQ_OP_WRITE };
    step::bio(state, bio, size, fua, preflush, || match () {
        () if flush => StepBits::FLUSH,
        () if super_write => StepBits::SUPER,
        () if what != own => StepBits::OTHER,
        () if opf & config!(req_meta) != 0 => StepBits::META,
        () => StepBits::DATA,
    });
    if flush {
        state.flushes += 1;
        state.flushed_last = 1;
    } else if log_write {
        state.meta_bios += 1;
        journal::log_written(state, R::member(bio, offset!(bio_private)).unwrap_or(0));
    } else if super_write {
        state.meta_bios += 1;
        state.supers += 1;
        state.supers_barrier += u32::from(fua && state.flushed_last != 0);
    } else if what == own {
        if opf & config!(req_meta) != 0 {
            state.meta_bios += 1;
            return;
        }
        if state.bios == 0 {
            state.first_bio_ns = op::now();
        }
        state.bios += 1;
        state.flushed_last = 0;
        state.bio_bytes += u64::from(size);
        if fua {
            state.fua += 1;
            issue::expect(bio, key, state);
        }
        state.preflush += u32::from(preflush);
    }
    // Not only a sync or a copy sends what is in the page cache: direct I/O does so before it goes past it.
    if !direct && what == REQ_OP_WRITE && !flush && !super_write && opf & config!(req_meta) == 0 {
        writeback::bio(bio, size, fua, true);
    }
}

/// Whether a bio that ends so is of direct I/O and names its kiocb.
#[inline(always)]
fn is_direct(end_io: u64) -> bool {
    end_io != 0
        && (end_io == config!(symbols.iomap_dio_bio_end_io)
            || end_io == config!(symbols.blkdev_bio_end_io_async)
            || end_io == config!(symbols.blkdev_bio_end_io)
            || end_io == config!(symbols.dio_bio_end_io)
            || end_io == config!(symbols.dio_bio_end_aio))
}

/// The kiocb that the pointers of a bio of direct I/O lead to.
#[inline(always)]
fn owner<R: Reads>(bio: u64, end_io: u64) -> Option<u64> {
    if end_io == config!(symbols.iomap_dio_bio_end_io) {
        return field(R::member(bio, offset!(bio_private))?, offset!(iomap_dio_iocb));
    }
    if end_io == config!(symbols.dio_bio_end_io) || end_io == config!(symbols.dio_bio_end_aio) {
        return field(R::member(bio, offset!(bio_private))?, offset!(dio_iocb));
    }
    if end_io == config!(symbols.blkdev_bio_end_io) {
        return field(R::member(bio, offset!(bio_private))?, offset!(blkdev_dio_iocb));
    }
    if end_io == config!(symbols.blkdev_bio_end_io_async) {
        return field(bio - offset!(blkdev_dio_bio)?, offset!(blkdev_dio_iocb));
    }
    None
}

/// The direct I/O code takes `kiocb`, whose position is final now (O_APPEND was applied).
#[inline(always)]
pub(crate) fn dio_begin<R: Reads>(kiocb: u64, function: u64) {
    task::hit_in_scope(Hook::DioBegin);
    let Some(state) = ops::get(kiocb) else { return };
    step::took(Hook::DioBegin, state, function, kiocb);
    // SAFETY: a live element; this task runs the op.
    let state = unsafe { &mut *state };
    state.flags |= OpFlags::DIO;
    if let Some(offset) = R::member(kiocb, offset!(kiocb_pos)) {
        state.offset = offset;
    }
    mark_extending::<R>(state, kiocb);
}

/// Marks the op if it reaches past the end of its file, as far as the file's size is known now.
#[inline(always)]
pub(crate) fn mark_extending<R: Reads>(state: &mut OpRecord, kiocb: u64) {
    let size = R::member(kiocb, offset!(kiocb_filp))
        .and_then(|file: u64| R::member(file, offset!(file_inode)))
        .and_then(|inode: u64| R::member::<u64>(inode, offset!(inode_size)));
    let Some(size) = size else {
        lose(Loss::ReadFailed);
        return;
    };
    if state.flags & OpFlags::BLOCK_DEVICE == 0
        && state.offset + state.len > size
    {
        state.flags |= OpFlags::EXTENDED;
    }
}

/// `iomap_dio_complete(struct iomap_dio *)`.
#[inline(always)]
pub(crate) fn iomap_complete<R: Reads>(dio: u64) {
    let Some(state) = R::member::<u64>(dio, offset!(iomap_dio_iocb)).and_then(ops::get) else { return };
    step::took(Hook::DioComplete, state, 0, dio);
    data_ended(state);
    let mut seen = OpFlags::DIO_COMPLETE_SEEN;
    match (R::member::<u32>(dio, offset!(iomap_dio_flags)), field::<u8>(dio, offset!(iomap_dio_wait))) {
        (Some(flags), Some(wait)) => {
            if flags & IOMAP_DIO_UNWRITTEN != 0 {
                seen |= OpFlags::UNWRITTEN;
            }
            if flags & IOMAP_DIO_COW != 0 {
                seen |= OpFlags::COW;
            }
            if wait & 1 != 0 {
                seen |= OpFlags::WAITED;
            }
        }
        _ => {
            lose(Loss::ReadFailed);
            return;
        }
    }
    // SAFETY: a live element; only the completion side writes this member.
    unsafe { (*state).completion_flags |= seen }
}

/// The direct I/O code takes up the end of the op's data.
#[inline(always)]
pub(crate) fn data_ended(state: *mut OpRecord) {
    // SAFETY: a live element; only the completion side writes this member.
    unsafe { (*state).data_end_ns = op::now() }
}

/// `dio_complete(struct dio *, ssize_t, unsigned int)`: as `iomap_complete`, for fs/direct-io.c.
#[inline(always)]
pub(crate) fn dio_complete(dio: u64, function: u64) {
    if let Some(state) = field::<u64>(dio, offset!(dio_iocb)).and_then(ops::get) {
        step::took(Hook::DataEnd, state, function, dio);
        data_ended(state);
    }
}

/// Whether the op is asynchronous direct I/O of a block device: nothing is called when its data ends but what
/// acknowledges it, or leads to that.
#[inline(always)]
pub(crate) fn by_itself(state: &OpRecord) -> bool {
    const ALL: u64 = OpFlags::ASYNC | OpFlags::DIO | OpFlags::BLOCK_DEVICE;
    state.flags & ALL == ALL
}

/// `io_complete_rw(struct kiocb *, long)`: the request is done; io_uring tells the program later, in its own task.
#[inline(always)]
pub(crate) fn uring_rw_complete(kiocb: u64) {
    let Some(state) = ops::get(kiocb) else { return };
    step::took(Hook::UringRwComplete, state, 0, kiocb);
    // SAFETY: a live element; only the completion side writes this member.
    if unsafe { by_itself(&*state) } {
        data_ended(state);
    }
    task::completed(current().1, kiocb);
}

/// btrfs makes checksums of data that the running task sends: they are new items in its trees.
#[inline(always)]
pub(crate) fn checksum() {
    task::hit_in_scope(Hook::Checksum);
    let (_, tid) = current();
    let Some(state) = ops::get(task::inside(tid)) else { return };
    step::took(Hook::Checksum, state, 0, 0);
    // SAFETY: a live element; one task at a time runs the op or its completion.
    unsafe { (*state).checksums += 1 }
}

/// `dio_await_completion(struct dio *)`: fs/direct-io.c makes the task wait.
#[inline(always)]
pub(crate) fn dio_await(dio: u64) {
    task::hit_in_scope(Hook::DioAwait);
    let Some(state) = field::<u64>(dio, offset!(dio_iocb)).and_then(ops::get) else { return };
    step::took(Hook::DioAwait, state, 0, dio);
    // SAFETY: a live element; this task runs the op.
    unsafe { (*state).flags |= OpFlags::WAITED }
}

/// A worker completes a queued request; `kiocb` is the one it was handed.
#[inline(always)]
pub(crate) fn deferred(kiocb: u64, function: u64) {
    let Some(state) = ops::get(kiocb) else { return };
    step::took(Hook::DioDeferred, state, function, kiocb);
    // SAFETY: a live element; only the completion side writes this member.
    unsafe { (*state).completion_flags |= OpFlags::DEFERRED }
    let (_, tid) = current();
    task::completing(tid, kiocb);
}

/// The work item that `iomap_dio_complete_work` and `dio_aio_complete_work` run, and the kiocb behind it.
#[inline(always)]
pub(crate) fn deferred_iomap(work: u64, function: u64) {
    if let Some(at) = offset!(iomap_dio_work)
        && let Some(kiocb) = field::<u64>(work - at, offset!(iomap_dio_iocb))
    {
        deferred(kiocb, function);
    }
}

/// As `deferred_iomap`, for fs/direct-io.c.
#[inline(always)]
pub(crate) fn deferred_dio(work: u64, function: u64) {
    if let Some(at) = offset!(dio_work)
        && let Some(kiocb) = field::<u64>(work - at, offset!(dio_iocb))
    {
        deferred(kiocb, function);
    }
}

/// The op's data is copied through the page cache, by the task that runs the op.
#[inline(always)]
pub(crate) fn buffered_copy(iter: u64, function: u64) {
    copied(function, |_| field(iter, offset!(iov_iter_count)));
}

/// As `buffered_copy`, where the compiler changed the function's arguments: all of the op counts as copied.
#[inline(always)]
pub(crate) fn buffered_copy_unsized(function: u64) {
    copied(function, |state| Some(state.len));
}

#[inline(always)]
fn copied(function: u64, ask: impl FnOnce(&OpRecord) -> Option<u64>) {
    task::hit_in_scope(Hook::BufferedCopy);
    let (_, tid) = current();
    let key = task::inside(tid);
    let Some(state) = ops::get(key) else { return };
    step::took(Hook::BufferedCopy, state, function, key);
    // SAFETY: a live element; this task runs the op.
    let state = unsafe { &mut *state };
    if state.flags & OpFlags::BUFFERED == 0 {
        state.flags |= OpFlags::BUFFERED;
        if state.op == OpKind::Write as u32 {
            writeback::expect(state);
        }
        match ask(state) {
            Some(left) => state.buffered_ask = left,
            None => lose(Loss::ReadFailed),
        }
        if state.flags & OpFlags::DIO == 0 {
            if let Some(offset) = field(key, offset!(kiocb_pos)) {
                state.offset = offset;
            }
            mark_extending::<ByHelper>(state, key);
        }
    }
}
