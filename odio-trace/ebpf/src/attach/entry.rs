//! What runs where a function is entered: of each hook one kprobe, which the user side attaches to every function
//! the hook has on this kernel, and one fentry for each function, because an fentry is verified against its function.

use aya_ebpf::{
    macros::{fentry, kprobe},
    programs::{FEntryContext, ProbeContext},
};
use odio_trace_common::{EngineSeen, Hook, OpKind, function_id};

use crate::{
    aio, bio, file, journal, op,
    read::{ByHelper, ByLoad},
    step::{self, FUNCTION},
    sync, task, uring,
};

macro_rules! entries {
    ($($kprobe:ident($arg:ident) at [$($function:ident)*] => $body:expr;)*) => {
        $(#[kprobe]
        fn $kprobe(ctx: ProbeContext) -> u32 {
            // 0 where the calling convention has no such argument.
            type Reads = ByHelper;
            let $arg = |n: usize| match n {
                FUNCTION => step::kprobe_at(&ctx),
                n => ctx.arg::<u64>(n).unwrap_or(0),
            };
            let _ = (&$arg, core::marker::PhantomData::<Reads>);
            $body;
            0
        }
        $(#[fentry]
        fn $function(ctx: FEntryContext) -> i32 {
            type Reads = ByLoad;
            let $arg = |n: usize| match n {
                FUNCTION => const { function_id(stringify!($function)) },
                n => ctx.arg::<u64>(n),
            };
            let _ = (&$arg, core::marker::PhantomData::<Reads>);
            $body;
            0
        })*)*
    };
}

entries! {
    write_begin(arg) at [
        ext4_file_write_iter xfs_file_write_iter btrfs_file_write_iter ext2_file_write_iter blkdev_write_iter
        shmem_file_write_iter generic_file_write_iter
    ] => op::begin::<Reads>(Hook::WriteBegin, OpKind::Write, arg(0), arg(1), arg(FUNCTION));
    read_begin(arg) at [
        ext4_file_read_iter xfs_file_read_iter btrfs_file_read_iter ext2_file_read_iter blkdev_read_iter
        generic_file_read_iter
    ] => op::begin::<Reads>(Hook::ReadBegin, OpKind::Read, arg(0), arg(1), arg(FUNCTION));
    read_begin_cached(arg) at [shmem_file_read_iter] => {
        op::begin::<Reads>(Hook::ReadBegin, OpKind::Read, arg(0), arg(1), arg(FUNCTION));
        bio::buffered_copy(arg(1), arg(FUNCTION))
    };
    dio_begin(arg) at [
        __iomap_dio_rw __blockdev_direct_IO __blkdev_direct_IO_simple
    ] => bio::dio_begin::<Reads>(arg(0), arg(FUNCTION));
    iomap_complete(arg) at [iomap_dio_complete] => bio::iomap_complete::<Reads>(arg(0));
    data_end_dio(arg) at [dio_complete] => bio::dio_complete(arg(0), arg(FUNCTION));
    dio_await(arg) at [dio_await_completion] => bio::dio_await(arg(0));
    deferred_iomap(arg) at [iomap_dio_complete_work] => bio::deferred_iomap(arg(0), arg(FUNCTION));
    deferred_dio(arg) at [dio_aio_complete_work] => bio::deferred_dio(arg(0), arg(FUNCTION));
    buffered_copy(arg) at [
        generic_perform_write iomap_file_buffered_write btrfs_buffered_write filemap_read generic_file_buffered_read
    ] => bio::buffered_copy(arg(1), arg(FUNCTION));
    buffered_copy_unsized(arg) at [] => bio::buffered_copy_unsized(arg(FUNCTION));
    bio_submit(arg) at [submit_bio] => bio::submit::<Reads>(arg(0));
    punt(arg) at [io_queue_iowq io_queue_async_work] => uring::punt(arg(0), arg(FUNCTION));
    worker_run(arg) at [io_wq_submit_work] => uring::worker_run(arg(0));
    vfs_fsync(arg) at [vfs_fsync_range] => sync::fsync(Hook::VfsFsync, arg(0), arg(1), arg(2), arg(3), 0);
    fs_fsync(arg) at [
        ext4_sync_file xfs_file_fsync xfs_dir_fsync btrfs_sync_file blkdev_fsync ext2_fsync fat_file_fsync noop_fsync
    ] => sync::fsync(Hook::FsFsync, arg(0), arg(1), arg(2), arg(3), arg(FUNCTION));
    sync_all(arg) at [writeback_inodes_sb sync_inodes_sb] => task::syncs_all();
    commit_wait(arg) at [jbd2_log_wait_commit] => journal::wait(arg(0), arg(1) as u32);
    commit_run(arg) at [jbd2_journal_commit_transaction] => journal::run(arg(0));
    log_force(arg) at [xlog_force_lsn] => journal::log_force(arg(4));
    log_wait(arg) at [xlog_wait_on_iclog] => journal::log_wait(arg(0));
    checksum(arg) at [btrfs_csum_one_bio] => bio::checksum();
    mount_gone(arg) at [__fsnotify_vfsmount_delete] => file::mount_gone(arg(0));
    aio_rw_complete(arg) at [aio_complete_rw] => {
        let kiocb = arg(0);
        step::ended_by(Hook::AioComplete, kiocb, arg(1) as i64);
        op::acknowledge(kiocb, Some(EngineSeen::Libaio), arg(1) as i64);
        task::completed(task::current().1, kiocb)
    };
    aio_sync(arg) at [aio_fsync_work] => aio::sync(arg(0));
    aio_sync_complete(arg) at [aio_complete] => aio::complete(arg(0));
    uring_rw_complete(arg) at [io_complete_rw] => bio::uring_rw_complete(arg(0));
    uring_posted(arg) at [io_req_complete_post] => uring::posted(arg(0), arg(1) as i32, arg(FUNCTION));
    uring_freed(arg) at [__io_free_req] => uring::freed(arg(0), arg(FUNCTION));
    uring_freed_of_batch(arg) at [io_req_free_batch] => uring::freed(arg(1), arg(FUNCTION));
}
