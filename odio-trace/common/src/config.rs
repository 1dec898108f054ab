//! What the user side tells the programs about the running kernel, before they are loaded.

/// An offset or constant that this kernel does not have. What needs it is not done, and says so.
pub const ABSENT: u32 = u32::MAX;

macro_rules! offsets {
    ($($field:ident = $structure:literal, $member:literal;)*) => {
        /// Where the programs find a member: bytes from the start of its structure, or [`ABSENT`].
        ///
        /// Resolved from the running kernel's BTF at start-up; nothing here has a compiled-in fallback.
        #[repr(C)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
        pub struct Offsets {
            $(#[doc = concat!("`", $structure, ".", $member, "`")] pub $field: u32,)*
        }

        impl Offsets {
            /// Asks `resolve(structure, member)` for every offset; `None` becomes [`ABSENT`].
            pub fn resolve(mut resolve: impl FnMut(&'static str, &'static str) -> Option<u32>) -> Self {
                Self { $($field: resolve($structure, $member).unwrap_or(ABSENT),)* }
            }

            /// Every offset with the structure and member it stands for.
            pub fn named(&self) -> impl Iterator<Item = (&'static str, &'static str, u32)> + use<> {
                [$(($structure, $member, self.$field)),*].into_iter()
            }
        }
    };
}

offsets! {
    aio_kiocb_ctx = "aio_kiocb", "ki_ctx";
    aio_kiocb_result = "aio_kiocb", "ki_res.res";
    aio_kiocb_file = "aio_kiocb", "fsync.file";
    aio_kiocb_datasync = "aio_kiocb", "fsync.datasync";
    aio_kiocb_fsync_work = "aio_kiocb", "fsync.work";
    kioctx_user_id = "kioctx", "user_id";
    kiocb_filp = "kiocb", "ki_filp";
    kiocb_pos = "kiocb", "ki_pos";
    kiocb_complete = "kiocb", "ki_complete";
    kiocb_flags = "kiocb", "ki_flags";
    iov_iter_count = "iov_iter", "count";
    iov_iter_data_source = "iov_iter", "data_source";
    file_flags = "file", "f_flags";
    file_inode = "file", "f_inode";
    file_dentry = "file", "f_path.dentry";
    file_mnt = "file", "f_path.mnt";
    file_mapping = "file", "f_mapping";
    file_op = "file", "f_op";
    file_operations_read = "file_operations", "read_iter";
    file_operations_write = "file_operations", "write_iter";
    mount_mnt = "mount", "mnt";
    mount_id = "mount", "mnt_id";
    files_table = "files_struct", "fdt";
    files_table_files = "fdtable", "fd";
    inode_ino = "inode", "i_ino";
    inode_generation = "inode", "i_generation";
    inode_size = "inode", "i_size";
    inode_mode = "inode", "i_mode";
    inode_rdev = "inode", "i_rdev";
    inode_sb = "inode", "i_sb";
    super_block_dev = "super_block", "s_dev";
    super_block_magic = "super_block", "s_magic";
    super_block_bdev = "super_block", "s_bdev";
    super_block_type = "super_block", "s_type";
    file_system_type_name = "file_system_type", "name";
    bdev_inode_bdev = "bdev_inode", "bdev";
    bdev_inode_inode = "bdev_inode", "vfs_inode";
    block_device_sectors = "block_device", "bd_nr_sectors";
    block_device_inode = "block_device", "bd_inode";
    dentry_parent = "dentry", "d_parent";
    dentry_name = "dentry", "d_name.name";
    dentry_hashed = "dentry", "d_hash.pprev";
    bio_opf = "bio", "bi_opf";
    bio_size = "bio", "bi_iter.bi_size";
    bio_end_io = "bio", "bi_end_io";
    bio_io_vec = "bio", "bi_io_vec";
    bio_vec_page = "bio_vec", "bv_page";
    page_compound_head = "page", "compound_head";
    page_mapping = "page", "mapping";
    address_space_host = "address_space", "host";
    bio_private = "bio", "bi_private";
    request_cmd_flags = "request", "cmd_flags";
    request_bio = "request", "bio";
    iomap_dio_iocb = "iomap_dio", "iocb";
    iomap_dio_flags = "iomap_dio", "flags";
    iomap_dio_wait = "iomap_dio", "wait_for_completion";
    iomap_dio_work = "iomap_dio", "aio.work";
    dio_iocb = "dio", "iocb";
    dio_work = "dio", "complete_work";
    blkdev_dio_iocb = "blkdev_dio", "iocb";
    blkdev_dio_bio = "blkdev_dio", "bio";
    io_kiocb_work = "io_kiocb", "work";
    io_kiocb_result = "io_kiocb", "result";
    journal_running = "journal_s", "j_running_transaction";
    task_files = "task_struct", "files";
    task_pid = "task_struct", "pid";
    task_tgid = "task_struct", "tgid";
    transaction_tid = "transaction_s", "t_tid";
}

/// Addresses of kernel functions that an object points at when it belongs to a given kind of I/O.
/// 0 where the symbol is missing or addresses are hidden.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct Symbols {
    /// `aio_complete_rw`: `ki_complete` of a Linux AIO kiocb.
    pub aio_complete_rw: u64,
    /// `io_complete_rw`: `ki_complete` of an io_uring kiocb.
    pub io_complete_rw: u64,
    /// `iomap_dio_bio_end_io`: `bi_end_io` of a bio whose `bi_private` is a `struct iomap_dio`.
    pub iomap_dio_bio_end_io: u64,
    /// `dio_bio_end_io`: as above for a synchronous `struct dio` (fs/direct-io.c).
    pub dio_bio_end_io: u64,
    /// `dio_bio_end_aio`: as above for an asynchronous one.
    pub dio_bio_end_aio: u64,
    /// `blkdev_bio_end_io`: `bi_end_io` of a bio chained to a `struct blkdev_dio`.
    pub blkdev_bio_end_io: u64,
    /// `blkdev_bio_end_io_async`: the bio embedded in a `struct blkdev_dio`.
    pub blkdev_bio_end_io_async: u64,
    /// `xlog_bio_end_io`: a write of XFS's log, whose `bi_private` is the `struct xlog_in_core`.
    pub xlog_bio_end_io: u64,
    /// `btrfs_end_super_write`: a write of a superblock of btrfs.
    pub btrfs_end_super_write: u64,
}

/// Everything the programs need to know before they are loaded.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct Config {
    /// See [`Symbols`].
    pub symbols: Symbols,
    /// See [`Offsets`].
    pub offsets: Offsets,
    /// `REQ_FUA` as a mask on `bi_opf`, from `enum req_flag_bits`; 0 where unknown.
    pub req_fua: u32,
    /// `REQ_PREFLUSH`, likewise.
    pub req_preflush: u32,
    /// `REQ_META`, likewise.
    pub req_meta: u32,
    /// 1 where the return of an op's entry function is seen, so that "this task is inside that op" ends.
    pub returns_seen: u32,
    /// Bytes of records that wait in the ring buffer before the tracer is woken; it also looks by itself.
    pub wake_at: u32,
    /// Keeps the size a multiple of 8.
    pub reserved: [u32; PADDING],
}

/// Words after five others and the [`Offsets`].
pub const PADDING: usize = 1 - size_of::<Offsets>() / size_of::<u32>() % 2;
const _: () = assert!(size_of::<Config>() & 7 == 0);

// SAFETY: `#[repr(C)]`, integers only.
#[cfg(feature = "user")]
unsafe impl aya::Pod for Config {}
