//! The places in the kernel that odio-trace wants to see, named by meaning.

macro_rules! hooks {
    ($($(#[$doc:meta])* $variant:ident = $name:literal;)*) => {
        /// A place in the kernel, named by meaning. Which function or tracepoint shows it is the plan's choice.
        #[repr(u32)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Hook { $($(#[$doc])* $variant,)* }

        impl Hook {
            /// Every hook, in path order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The name used in `doctor`, JSON and docs.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

hooks! {
    /// A write enters its filesystem: `write_iter(kiocb, iov_iter)`.
    WriteBegin = "write-begin";
    /// A read enters its filesystem: `read_iter(kiocb, iov_iter)`.
    ReadBegin = "read-begin";
    /// The `write_iter` or `read_iter` returns: -EIOCBQUEUED, or the result.
    OpReturn = "op-return";
    /// The direct I/O code takes the request: `__iomap_dio_rw`, `__blockdev_direct_IO`, `blkdev_direct_IO`.
    DioBegin = "dio-begin";
    /// The direct I/O code finishes the request.
    DioComplete = "dio-complete";
    /// The data of a request ended, where the direct I/O code is not iomap: `dio_complete`, `blkdev_bio_end_io`.
    DataEnd = "data-end";
    /// fs/direct-io.c makes the submitting task wait: `dio_await_completion`.
    DioAwait = "dio-await";
    /// A worker takes over the completion of a queued request.
    DioDeferred = "dio-deferred";
    /// The request's data is copied through the page cache.
    BufferedCopy = "buffered-copy";
    /// A bio goes to the block layer.
    BioSubmit = "bio-submit";
    /// A request for data with FUA goes to the device's driver: `block_rq_issue`.
    FuaIssue = "fua-issue";
    /// io_uring hands the request to an io-wq worker.
    Punt = "punt";
    /// An io-wq worker takes up a request.
    WorkerRun = "worker-run";
    /// The sync entry of the VFS: `vfs_fsync_range`.
    VfsFsync = "vfs-fsync";
    /// The filesystem's own fsync: `ext4_sync_file`, `xfs_file_fsync`, ...
    FsFsync = "fs-fsync";
    /// A filesystem is synced as a whole, as by syncfs(2): `writeback_inodes_sb`, `sync_inodes_sb`.
    SyncAll = "sync-all";
    /// A task waits for a journal commit: `jbd2_log_wait_commit`.
    CommitWait = "commit-wait";
    /// The journal thread starts a commit: `jbd2_journal_commit_transaction`.
    CommitRun = "commit-run";
    /// XFS is asked to bring its log to the disk up to a place: `xlog_force_lsn`.
    LogForce = "log-force";
    /// A task waits for a buffer of XFS's log to be written: `xlog_wait_on_iclog`.
    LogWait = "log-wait";
    /// btrfs makes the checksums of a data bio, which go to its trees: `btrfs_csum_one_bio`.
    Checksum = "checksum";
    /// Linux AIO acknowledges a read or write: `aio_complete_rw`.
    AioComplete = "aio-complete";
    /// A worker begins an fsync of Linux AIO: `aio_fsync_work`.
    AioSync = "aio-sync";
    /// Linux AIO acknowledges an fsync: `aio_complete`.
    AioSyncComplete = "aio-sync-complete";
    /// The kernel finishes an io_uring read or write: `io_complete_rw`.
    UringRwComplete = "uring-rw-complete";
    /// io_uring posts the completion entry that the program sees.
    UringComplete = "uring-complete";
    /// A system call returns to the program.
    SyscallExit = "syscall-exit";
    /// A process makes another.
    Fork = "fork";
    /// A task takes another name: exec, `PR_SET_NAME`.
    Rename = "rename";
    /// A task ends.
    TaskExit = "task-exit";
    /// A process is gone, and its number may be given to another.
    ProcessGone = "process-gone";
    /// A mount is gone, and its number may be given to another: `__fsnotify_vfsmount_delete`.
    MountGone = "mount-gone";
}

/// Key of the per-process hit counters.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HookHitKey {
    /// Process whose task was running when the probe fired.
    pub tgid: u32,
    /// [`Hook`] as a number.
    pub hook: u32,
}

// SAFETY: `#[repr(C)]`, integers only, no padding.
#[cfg(feature = "user")]
unsafe impl aya::Pod for HookHitKey {}

/// Places for processes whose hits are counted apart from the table of hits.
pub const PROCESS_PLACES: u32 = 1024;

/// Hits of the one process that has this place.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ProcessHits {
    /// Who wants the place: see the programs.
    pub claims: u64,
    /// The age of the scope at which the process was last seen in it.
    pub in_scope_at: u64,
    /// The process, 0 for none.
    pub tgid: u32,
    /// Keeps the size a multiple of 8.
    pub reserved: u32,
    /// By [`Hook`].
    pub hits: [u64; Hook::ALL.len()],
}

// SAFETY: `#[repr(C)]`, integers only, no padding.
#[cfg(feature = "user")]
unsafe impl aya::Pod for ProcessHits {}
