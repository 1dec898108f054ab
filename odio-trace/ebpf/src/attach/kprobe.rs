//! kprobes and kretprobes. The user side attaches each to every function that its hook has on this kernel.

use aya_ebpf::{
    macros::{kprobe, kretprobe},
    programs::{ProbeContext, RetProbeContext},
};
use odio_trace_common::{EngineSeen, Hook, OpKind};

use crate::{aio, bio, journal, op, sync, task, uring};

/// Argument `n` of the probed function, 0 where the calling convention has none.
#[inline(always)]
fn arg(ctx: &ProbeContext, n: usize) -> u64 {
    ctx.arg(n).unwrap_or(0)
}

macro_rules! kprobes {
    ($($name:ident($ctx:ident) => $body:expr;)*) => {
        $(#[kprobe]
        fn $name($ctx: ProbeContext) -> u32 {
            $body;
            0
        })*
    };
}

kprobes! {
    write_begin(ctx) => op::begin(Hook::WriteBegin, OpKind::Write, arg(&ctx, 0), arg(&ctx, 1));
    read_begin(ctx) => op::begin(Hook::ReadBegin, OpKind::Read, arg(&ctx, 0), arg(&ctx, 1));
    dio_begin(ctx) => bio::dio_begin(arg(&ctx, 0));
    iomap_complete(ctx) => bio::iomap_complete(arg(&ctx, 0));
    dio_complete(ctx) => bio::dio_complete(arg(&ctx, 0));
    blkdev_bio_end(ctx) => bio::blkdev_bio_end(arg(&ctx, 0));
    dio_await(ctx) => bio::dio_await(arg(&ctx, 0));
    deferred_iomap(ctx) => bio::deferred_iomap(arg(&ctx, 0));
    deferred_dio(ctx) => bio::deferred_dio(arg(&ctx, 0));
    buffered_copy(ctx) => bio::buffered_copy(arg(&ctx, 1));
    buffered_copy_unsized(ctx) => { let _ = &ctx; bio::buffered_copy_unsized() };
    bio_submit(ctx) => bio::submit(arg(&ctx, 0));
    punt(ctx) => uring::punt(arg(&ctx, 0));
    worker_run(ctx) => uring::worker_run(arg(&ctx, 0));
    vfs_fsync(ctx) => sync::fsync(Hook::VfsFsync, arg(&ctx, 0), arg(&ctx, 1), arg(&ctx, 2), arg(&ctx, 3));
    fs_fsync(ctx) => sync::fsync(Hook::FsFsync, arg(&ctx, 0), arg(&ctx, 1), arg(&ctx, 2), arg(&ctx, 3));
    commit_wait(ctx) => journal::wait(arg(&ctx, 0), arg(&ctx, 1) as u32);
    commit_run(ctx) => journal::run(arg(&ctx, 0));
    log_force(ctx) => journal::log_force(arg(&ctx, 4));
    log_wait(ctx) => journal::log_wait(arg(&ctx, 0));
    checksum(ctx) => { let _ = &ctx; bio::checksum() };
    aio_complete(ctx) => {
        let kiocb = arg(&ctx, 0);
        op::acknowledge(kiocb, Some(EngineSeen::Libaio), arg(&ctx, 1) as i64);
        task::completed(task::current().1, kiocb)
    };
    aio_sync(ctx) => aio::sync(arg(&ctx, 0));
    aio_sync_complete(ctx) => aio::complete(arg(&ctx, 0));
    uring_rw_complete(ctx) => task::completed(task::current().1, arg(&ctx, 0));
}

/// Where fexit cannot be had: has few slots and may miss returns, so the user side prefers fexit.
/// The kiocb is the op the task is inside of.
#[kretprobe]
fn op_return(ctx: RetProbeContext) -> u32 {
    let (_, tid) = task::current();
    op::returned(task::inside(tid), ctx.ret::<u64>() as i64);
    0
}
