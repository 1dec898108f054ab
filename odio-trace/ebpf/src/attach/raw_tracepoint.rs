//! Raw tracepoints, whose arguments are those of the tracepoint's TP_PROTO.

use aya_ebpf::{
    macros::{btf_tracepoint, raw_tracepoint},
    programs::{BtfTracePointContext, RawTracePointContext},
};
use odio_trace_common::{EngineSeen, Hook};

use crate::{
    bio, issue, op,
    read::{self, ByHelper, ByLoad},
    scope, step, sync,
};

macro_rules! raw_tracepoints {
    ($($(#[$doc:meta])* $name:ident($ctx:ident) => $body:expr;)*) => {
        $($(#[$doc])*
        #[raw_tracepoint]
        fn $name($ctx: RawTracePointContext) -> i32 {
            $body;
            0
        })*
    };
}

raw_tracepoints! {
    /// `sys_exit(struct pt_regs *, long ret)`
    syscall_exit(ctx) => op::syscall_exit(ctx.arg::<u64>(0), ctx.arg::<i64>(1), false);
    /// The same once more: a task can be preempted in the first, which the kernel then passes over for others on that
    /// processor. Of a hit that the first saw there is nothing left to do.
    syscall_exit_again(ctx) => op::syscall_exit(ctx.arg::<u64>(0), ctx.arg::<i64>(1), true);
    /// `io_uring_complete(ctx, req, user_data, int res, ...)`, to 6.9
    uring_complete_res(ctx) => {
        let result = i64::from(ctx.arg::<i32>(3));
        step::ended_by(Hook::UringComplete, ctx.arg::<u64>(1), result);
        op::acknowledge(ctx.arg::<u64>(1), Some(EngineSeen::IoUring), result)
    };
    /// `io_uring_complete(ctx, req, struct io_uring_cqe *)`, later; the result is the cqe's second word pair
    uring_complete_cqe(ctx) => {
        let result = i64::from(read::field::<i32>(ctx.arg::<u64>(2), Some(8)).unwrap_or(0));
        step::ended_by(Hook::UringComplete, ctx.arg::<u64>(1), result);
        op::acknowledge(ctx.arg::<u64>(1), Some(EngineSeen::IoUring), result)
    };
    /// `sched_process_fork(struct task_struct *parent, struct task_struct *child)`
    fork(ctx) => scope::forked(ctx.arg::<u64>(0), ctx.arg::<u64>(1));
    /// `task_rename(struct task_struct *task, const char *comm)`
    rename(ctx) => scope::renamed(ctx.arg::<u64>(0), ctx.arg::<u64>(1));
    /// `sched_process_exit(struct task_struct *task, ...)`, of every thread
    task_exit(ctx) => scope::ended(ctx.arg::<u64>(0));
    /// `sched_process_free(struct task_struct *task)`
    process_gone(ctx) => scope::gone(ctx.arg::<u64>(0));
    /// `block_rq_issue(struct request *)`
    rq_issue(ctx) => issue::issued::<ByHelper>(ctx.arg::<u64>(0));
    /// `block_rq_issue(struct request_queue *, struct request *)` of some kernels up to 5.10
    rq_issue_of_queue(ctx) => issue::issued::<ByHelper>(ctx.arg::<u64>(1));

    // The plan for kernels without kprobes.

    /// `block_bio_queue(struct bio *)`
    tp_bio_queue(ctx) => bio::queued(ctx.arg::<u64>(0));
    /// `iomap_dio_rw_begin(struct kiocb *, struct iov_iter *, unsigned int, size_t)`
    tp_dio_rw_begin(ctx) => {
        let kiocb = ctx.arg::<u64>(0);
        op::begin_dio(kiocb, ctx.arg::<u64>(1));
        bio::dio_begin::<ByHelper>(kiocb, 0)
    };
    /// `iomap_dio_complete(struct kiocb *, int error, ssize_t ret)`
    tp_dio_complete(ctx) => op::dio_done(ctx.arg::<u64>(0), i64::from(ctx.arg::<i32>(1)), ctx.arg::<i64>(2));
    /// `iomap_dio_rw_queued(struct inode *, loff_t, u64)`: the task that submitted is about to return.
    tp_dio_queued(ctx) => { let _ = &ctx; op::dio_queued() };
    /// `ext4_sync_file_enter(struct file *, int datasync)`
    tp_ext4_sync(ctx) => sync::fsync(
        Hook::FsFsync, ctx.arg::<u64>(0), 0, u64::MAX, ctx.arg::<u64>(1), 0);
}

// With the kernel's own types for the arguments, so that members are loads.

/// As `rq_issue`.
#[btf_tracepoint(function = "block_rq_issue")]
fn typed_rq_issue(ctx: BtfTracePointContext) -> i32 {
    issue::issued::<ByLoad>(ctx.arg::<u64>(0));
    0
}

/// As `rq_issue_of_queue`.
#[btf_tracepoint(function = "block_rq_issue")]
fn typed_rq_issue_of_queue(ctx: BtfTracePointContext) -> i32 {
    issue::issued::<ByLoad>(ctx.arg::<u64>(1));
    0
}
