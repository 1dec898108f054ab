//! What runs where the entry function of an op returns.

use aya_ebpf::{
    macros::{fexit, kretprobe},
    programs::{FExitContext, RetProbeContext},
};
use odio_trace_common::function_id;

use crate::{op, task};

macro_rules! returns {
    ($($name:ident)*) => {
        $(/// `(struct kiocb *, struct iov_iter *) -> ssize_t`; the return value follows the two arguments.
        #[fexit]
        fn $name(ctx: FExitContext) -> i32 {
            op::returned(ctx.arg::<u64>(0), ctx.arg::<i64>(2), const { function_id(stringify!($name)) });
            0
        })*
    };
}

// Each is verified against one function.
returns! {
    ret_ext4_file_write_iter
    ret_ext4_file_read_iter
    ret_xfs_file_write_iter
    ret_xfs_file_read_iter
    ret_btrfs_file_write_iter
    ret_btrfs_file_read_iter
    ret_ext2_file_write_iter
    ret_ext2_file_read_iter
    ret_shmem_file_write_iter
    ret_shmem_file_read_iter
    ret_blkdev_write_iter
    ret_blkdev_read_iter
    ret_generic_file_write_iter
    ret_generic_file_read_iter
}

/// Where fexit cannot be had: has few slots and may miss returns, so the user side prefers fexit.
/// The kiocb is the op the task is inside of.
#[kretprobe]
fn op_return(ctx: RetProbeContext) -> u32 {
    let (_, tid) = task::current();
    op::returned(task::inside(tid), ctx.ret::<u64>() as i64, 0);
    0
}
