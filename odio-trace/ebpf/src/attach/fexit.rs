//! fexit programs. Each is verified against one function, so there is one per function and filesystem.

use aya_ebpf::{macros::fexit, programs::FExitContext};

use crate::op;

macro_rules! returns {
    ($($name:ident)*) => {
        $(/// `(struct kiocb *, struct iov_iter *) -> ssize_t`; the return value follows the two arguments.
        #[fexit]
        fn $name(ctx: FExitContext) -> i32 {
            op::returned(ctx.arg::<u64>(0), ctx.arg::<i64>(2));
            0
        })*
    };
}

returns! {
    ret_ext4_file_write_iter
    ret_ext4_file_read_iter
    ret_xfs_file_write_iter
    ret_xfs_file_read_iter
    ret_btrfs_file_write_iter
    ret_btrfs_file_read_iter
    ret_blkdev_write_iter
    ret_blkdev_read_iter
    ret_generic_file_write_iter
    ret_generic_file_read_iter
}
