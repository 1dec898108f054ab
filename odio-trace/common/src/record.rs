//! What the programs hand to the user side through the ring buffer and the counters.

/// First word of every ring buffer entry.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordKind {
    /// An [`OpRecord`].
    Op = 1,
    /// A [`FileRecord`].
    File = 2,
    /// A [`crate::StepRecord`], where steps are asked for.
    Step = 3,
}

/// What the program asked for.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpKind {
    /// A read.
    Read = 0,
    /// A write.
    Write = 1,
    /// fsync, fdatasync and their asynchronous forms.
    Sync = 2,
    /// Handed to a worker before it was seen what it is.
    Unseen = 3,
}

/// How the request came into the kernel.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineSeen {
    /// A synchronous kiocb: read, write and their positional and vectored forms.
    Psync = 0,
    /// Linux AIO.
    Libaio = 1,
    /// io_uring.
    IoUring = 2,
    /// An asynchronous kiocb of neither.
    Other = 3,
}

/// Facts about an op, as bits of [`OpRecord::flags`].
pub struct OpFlags;

impl OpFlags {
    /// The kiocb is asynchronous (`ki_complete` is set).
    pub const ASYNC: u64 = 1 << 0;
    /// `write_iter`/`read_iter` returned -EIOCBQUEUED.
    pub const QUEUED: u64 = 1 << 1;
    /// The direct I/O code was told to wait for the data (`iomap_dio.wait_for_completion`, `dio_await_completion`).
    pub const WAITED: u64 = 1 << 2;
    /// io_uring gave the request to an io-wq worker.
    pub const PUNTED: u64 = 1 << 3;
    /// The direct I/O code took the request.
    pub const DIO: u64 = 1 << 4;
    /// The request's data was copied through the page cache.
    pub const BUFFERED: u64 = 1 << 5;
    /// The write reached past the end of the file.
    pub const EXTENDED: u64 = 1 << 6;
    /// The write covered an unwritten extent, or a hole that became one (`IOMAP_DIO_UNWRITTEN`).
    pub const UNWRITTEN: u64 = 1 << 7;
    /// The write went to new blocks in place of shared ones (`IOMAP_DIO_COW`).
    pub const COW: u64 = 1 << 8;
    /// A worker completed the request.
    pub const DEFERRED: u64 = 1 << 9;
    /// fsync ran in the task that asked for the op.
    pub const FSYNC_CALLER: u64 = 1 << 10;
    /// fsync ran in a kernel worker.
    pub const FSYNC_KWORKER: u64 = 1 << 11;
    /// fsync ran in an io-wq worker.
    pub const FSYNC_IO_WQ: u64 = 1 << 12;
    /// Every journal commit that the op waited for wrote its commit record with PREFLUSH and FUA.
    pub const COMMITS_BARRIER: u64 = 1 << 13;
    /// The return of the op's entry function was seen.
    pub const RETURN_SEEN: u64 = 1 << 14;
    /// The direct I/O code's completion was seen, so UNWRITTEN, COW and WAITED are facts and not defaults.
    pub const DIO_COMPLETE_SEEN: u64 = 1 << 15;
    /// Another op began in the same place before the end of this one was seen.
    pub const END_MISSED: u64 = 1 << 16;
    /// fdatasync rather than fsync (sync ops only).
    pub const DATASYNC: u64 = 1 << 17;
    /// The file is a block device.
    pub const BLOCK_DEVICE: u64 = 1 << 18;
    /// The acknowledgement was seen.
    pub const ACKED: u64 = 1 << 19;
    /// After the op's last sync the block device still had a size.
    pub const DEVICE_THERE: u64 = 1 << 20;
    /// After the op's last sync the block device had none: it was taken away.
    pub const DEVICE_GONE: u64 = 1 << 21;
}

/// Length of a task's name with its closing NUL.
pub const COMM_LEN: usize = 16;

/// One op with its path folded into counts and flags.
///
/// Also the state kept in the kernel while the op is open. Times are `bpf_ktime_get_ns`, in nanoseconds.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct OpRecord {
    /// [`RecordKind::Op`].
    pub kind: u32,
    /// [`OpKind`].
    pub op: u32,
    /// [`EngineSeen`].
    pub engine: u32,
    /// Process that asked.
    pub tgid: u32,
    /// Thread that asked.
    pub tid: u32,
    /// `f_flags` of the open file.
    pub file_flags: u32,
    /// `ki_flags` when the op began.
    pub iocb_flags: u32,
    /// `s_dev`, or `i_rdev` of a block device, in the kernel's own packing (major << 20 | minor).
    pub dev: u32,
    /// Inode number.
    pub ino: u64,
    /// `i_generation`: the next file to get the same inode number has another.
    pub generation: u32,
    /// The mount that the file was opened through, as mountinfo numbers it; 0 where it was not seen.
    pub mount: u32,
    /// First byte, after O_APPEND was applied.
    pub offset: u64,
    /// Bytes asked for.
    pub len: u64,
    /// Bytes moved, or a negative errno.
    pub result: i64,
    /// The op entered the kernel's file code.
    pub begin_ns: u64,
    /// The op was acknowledged.
    pub end_ns: u64,
    /// The first data bio was handed to the block layer, 0 for none.
    pub first_bio_ns: u64,
    /// The direct I/O code took up the end of its last data bio, 0 where that was not seen.
    pub data_end_ns: u64,
    /// The first fsync inside the op began, 0 for none.
    pub first_fsync_ns: u64,
    /// [`OpFlags`] set by the task that runs the op.
    pub flags: u64,
    /// [`OpFlags`] set where the op completes, which may be another CPU at the same time.
    pub completion_flags: u64,
    /// Bytes of the request that were still to be moved when the copy through the page cache began.
    pub buffered_ask: u64,
    /// Bytes that the direct I/O code itself says it moved, where its completion is a tracepoint.
    pub dio_bytes: u64,
    /// Bytes in the data bios.
    pub bio_bytes: u64,
    /// Data bios in the op's own direction that are not metadata.
    pub bios: u32,
    /// Data bios with FUA, as they were handed to the block layer.
    pub fua: u32,
    /// Data bios with PREFLUSH.
    pub preflush: u32,
    /// Flush requests: bios with PREFLUSH and no data.
    pub flushes: u32,
    /// bios marked as metadata.
    pub meta_bios: u32,
    /// Calls of `vfs_fsync_range` inside the op.
    pub vfs_fsyncs: u32,
    /// Calls of the filesystem's own fsync inside the op.
    pub fs_fsyncs: u32,
    /// Journal commits the op waited for.
    pub commits: u32,
    /// Times io_uring tried the op before it was punted, plus the last one.
    pub tries: u32,
    /// The last transaction it waited for; of XFS's log, which write of the buffer.
    pub commit_transaction: u32,
    /// Name of the thread that asked.
    pub comm: [u8; COMM_LEN],
    /// Counts the return of the entry function and the acknowledgement; the record goes out after both. In the high half
    /// whether the first of them has gone on.
    pub phase: u64,
    /// The journal it waited for, 0 for none: a `journal_t`, or the buffer of XFS's log (`struct xlog_in_core`).
    pub commit_journal: u64,
    /// XFS was asked to force its log inside the op, 0 where it was not.
    pub force_ns: u64,
    /// 1 where the last thing seen of a flush, data and log writes was the flush.
    pub flushed_last: u32,
    /// Superblocks of btrfs written inside the op.
    pub supers: u32,
    /// Those of them with FUA that followed a flush.
    pub supers_barrier: u32,
    /// Data bios of btrfs that were checksummed inside the op.
    pub checksums: u32,
    /// The op that this task was inside of when this one began (stacked filesystems), or 0.
    pub outer: u64,
    /// Steps that were taken, sent or lost; 0 where none are asked for.
    pub steps: u64,
    /// Of the data bios with FUA, those whose request still had it when it was issued to the driver.
    pub fua_issued: u64,
    /// The `struct block_device` that the file is, or that its filesystem is mounted from; 0 where there is none.
    pub device: u64,
}

/// Words over which the programs count the ops that are open; their sum counts.
pub const COUNTED_OPEN: u32 = 64;

/// Room for the names of a path, each followed by NUL, from the file up to the root of its filesystem.
pub const FILE_PATH_LEN: usize = 4096;

/// Room for the name of a filesystem's type, with its NUL.
pub const FS_LEN: usize = 16;

/// The name of a file, sent once, when an op first touches it: the one it was opened by, as it is then.
#[repr(C)]
#[derive(Clone, Copy)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct FileRecord {
    /// [`RecordKind::File`].
    pub kind: u32,
    /// As in [`OpRecord::dev`].
    pub dev: u32,
    /// Inode number.
    pub ino: u64,
    /// As in [`OpRecord::generation`].
    pub generation: u32,
    /// As in [`OpRecord::mount`].
    pub mount: u32,
    /// A process that has it open.
    pub tgid: u32,
    /// Bytes used in `names`.
    pub names_len: u32,
    /// 1 where the path did not fit.
    pub truncated: u32,
    /// `i_mode`.
    pub mode: u32,
    /// 1 where the name was already removed, or never was one (`O_TMPFILE`).
    pub deleted: u32,
    /// How many mounts have gone since the tracing began.
    pub mounts_gone: u32,
    /// The same when the mount that had this one's number before was gone; 0 where there was none.
    pub mount_since: u32,
    /// Keeps the size a multiple of 8.
    pub reserved: u32,
    /// The type of its filesystem, filled with NUL: of a block device, that of its node.
    pub fs: [u8; FS_LEN],
    /// Names from the file upwards, each followed by NUL; a slack of one name at the end.
    pub names: [u8; FILE_PATH_LEN + 256],
}

/// A file whose writeback is counted.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WritebackKey {
    /// As in [`OpRecord::ino`]; 0 for a block device, whose page cache has another inode than its node.
    pub ino: u64,
    /// As in [`OpRecord::dev`].
    pub dev: u32,
    /// `i_generation`: a file that was made later may have the number of one that is gone. 0 for a block device.
    pub generation: u32,
}

impl WritebackKey {
    /// The key of a file.
    pub const fn new(dev: u32, ino: u64, generation: u32, block_device: bool) -> Self {
        Self {
            ino: if block_device { 0 } else { ino },
            dev,
            generation: if block_device { 0 } else { generation },
        }
    }
}

/// What was written back of one file.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WritebackRecord {
    /// Bios.
    pub bios: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Those with FUA.
    pub fua: u64,
    /// Those that an op sent itself, mostly an fsync, which counts them too.
    pub bios_in_ops: u64,
    /// The first was sent, 0 where none was.
    pub first_ns: u64,
    /// The last was sent.
    pub last_ns: u64,
}

// SAFETY: `#[repr(C)]`, integers only, no padding.
#[cfg(feature = "user")]
unsafe impl aya::Pod for WritebackKey {}
// SAFETY: as above.
#[cfg(feature = "user")]
unsafe impl aya::Pod for WritebackRecord {}

/// Things that were lost or could not be tied to an op. Index into the loss counters.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// An op record found no room in the ring buffer.
    RingFull = 0,
    /// A file name found no room in the ring buffer.
    NameRingFull,
    /// An op could not be opened: the table of open ops was full.
    OpsFull,
    /// A task could not be noted: the table of tasks was full.
    TasksFull,
    /// A process could not be followed: the table of processes was full.
    ScopeFull,
    /// A hit could not be counted: the table of hits was full.
    HitsFull,
    /// The end of an op was not seen before its place was used again.
    EndMissed,
    /// A write or flush bio of a traced process belonged to no op.
    BioUnattributed,
    /// A needed structure member could not be read.
    ReadFailed,
    /// A sync, or a request in a worker's hands, that may have been begun before its process was traced.
    BegunBefore,
    /// A step found no room in the ring buffer.
    StepRingFull,
}

impl Loss {
    /// Every counter, in the order of their numbers.
    pub const ALL: [Self; 11] = [
        Self::RingFull,
        Self::NameRingFull,
        Self::OpsFull,
        Self::TasksFull,
        Self::ScopeFull,
        Self::HitsFull,
        Self::EndMissed,
        Self::BioUnattributed,
        Self::ReadFailed,
        Self::BegunBefore,
        Self::StepRingFull,
    ];

    /// Number of counters.
    pub const COUNT: u32 = Self::ALL.len() as u32;

    /// What was lost, in plain words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::RingFull => "ops that found the ring buffer full",
            Self::NameRingFull => "file names that found the ring buffer full",
            Self::OpsFull => "ops or files that found their table full",
            Self::TasksFull => "tasks or commits that found their table full",
            Self::ScopeFull => "processes that could not be followed",
            Self::HitsFull => "hits that could not be counted",
            Self::EndMissed => "ops whose end was missed",
            Self::BioUnattributed => "write or flush bios that belong to no op",
            Self::ReadFailed => "structures that could not be read",
            Self::BegunBefore => "requests left out because they may have begun before the tracing",
            Self::StepRingFull => "steps that found the ring buffer full",
        }
    }
}
