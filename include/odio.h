/*
 * libodio: direct I/O you can prove.
 *
 * Errors. A function returns a negative errno on failure, and odio_last_error() then says on this thread which value
 * was refused, what the limit is and where the limit came from. Nothing is printed, no signal handler is installed,
 * and the process is not ended, but where the allocator has not even the few bytes for a handle or a message: what
 * grows with a depth, a count or a length is -ENOMEM.
 *
 * Threads. Each handle's rule stands at its type: an odio_file may be used by any number of threads at once, an
 * odio_queue by one at a time.
 *
 * Fork. Every descriptor that odio opens is close-on-exec, so a program that is started gets none of them. After
 * fork() a child that goes on may read, write, sync and close an inherited odio_file, unless another thread was inside
 * odio at the fork. It shares the parent's open file description, through which the kernel reports a lost write once:
 * to the parent or to the child, whoever syncs first. An inherited odio_queue is the parent's alone and refuses the
 * child with -ECHILD; the child may free its copy and make queues of its own. While direct reads are in flight do not
 * fork, see open(2).
 *
 * Compatibility. A struct that begins with a size is filled in with sizeof and the rest zero; zero is the safe
 * default. Such structs grow at the end; what a library does not know is refused unless it is zero.
 *
 * Made by cbindgen from odio-ffi/src. Do not edit.
 */


#ifndef ODIO_H
#define ODIO_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

/** The version of this header as one number, to compare with odio_version(). */
#define ODIO_VERSION ((ODIO_VERSION_MAJOR << 16) | (ODIO_VERSION_MINOR << 8) | ODIO_VERSION_PATCH)


/**
 * Major version of this header. While it is 0, a new minor version may break compatibility, and then has another
 * soname.
 */
#define ODIO_VERSION_MAJOR 0

/**
 * Minor version of this header.
 */
#define ODIO_VERSION_MINOR 1

/**
 * Patch version of this header.
 */
#define ODIO_VERSION_PATCH 0

/**
 * For odio_open_options.flags: reading and writing, instead of reading only.
 */
#define ODIO_OPEN_WRITE 1

/**
 * For odio_open_options.flags: make the file where there is none. Wants ODIO_OPEN_WRITE. With ODIO_SYNC_DSYNC and
 * ODIO_SYNC_SYNC the directory is synced as well, so that the new file can be found after a crash.
 */
#define ODIO_OPEN_CREATE 2

/**
 * For odio_open_options.flags: -EEXIST where there is a file already. Wants ODIO_OPEN_CREATE.
 */
#define ODIO_OPEN_EXCLUSIVE 4

/**
 * For odio_open_options.flags: empty the file, once everything else has gone well. Wants ODIO_OPEN_WRITE.
 */
#define ODIO_OPEN_TRUNCATE 8

/**
 * For odio_open_options.flags: sync a file that is made, and its directory, before open returns, with every odio_sync:
 * after a crash it is there. A file that was there already is left as it is. Wants ODIO_OPEN_CREATE.
 */
#define ODIO_OPEN_CREATE_DURABLY 16

/**
 * For odio_open_options.flags: serve requests that direct I/O cannot carry as they are, by offset, length or memory,
 * through an aligned copy instead of refusing them with -EINVAL. A write to a part of a block reads the block and writes
 * it whole, while no other write through this handle has it; other opens of the same file, in this program or another,
 * are not kept out, and what they write to such a block at the same time may be lost. The bytes in the block that the
 * file ends in go through the page cache and are pushed out before the write returns. Requests with ODIO_RWF_NOWAIT and
 * ODIO_RWF_ATOMIC are refused as ever. Costs a second descriptor where the file is written, opened through
 * /proc/self/fd. Does nothing for a file that is buffered.
 */
#define ODIO_OPEN_BOUNCE 32

/**
 * For odio_open_options.flags: share a block device with whoever uses it. A block device that is opened for writing is
 * otherwise opened with O_EXCL, which is -EBUSY where it is mounted, or held by swap, RAID, LVM or another O_EXCL, and
 * keeps these out in turn until it is closed and no request is in flight. That costs a second descriptor. Does nothing
 * for a regular file and for reading.
 */
#define ODIO_OPEN_SHARED_DEVICE 64

/**
 * For one write: the data, and the metadata needed to find it, are durable when it is acknowledged. RWF_DSYNC.
 */
#define ODIO_RWF_DSYNC 1

/**
 * For one write: the data and all metadata are durable when it is acknowledged. RWF_SYNC.
 */
#define ODIO_RWF_SYNC 2

/**
 * For one read or write: fail with -EAGAIN rather than wait for a lock, a transaction or memory. RWF_NOWAIT. What could
 * be moved without waiting is reported, so fewer bytes than asked for do not mean the end of the file. (O_NONBLOCK does
 * nothing on regular files and block devices; this is what it is often taken for.)
 */
#define ODIO_RWF_NOWAIT 4

/**
 * For one write: it is there whole or not at all after a power cut. RWF_ATOMIC, within the limits of the file.
 */
#define ODIO_RWF_ATOMIC 8

/**
 * For one read or write of a buffered file: drop the page cache's copy afterwards. RWF_DONTCACHE, Linux 6.14.
 */
#define ODIO_RWF_DONTCACHE 16

/**
 * For one write: all of it, and then an fdatasync, as one request with one result.
 */
#define ODIO_RWF_THEN_DATASYNC 32

/**
 * For one write: all of it, and then an fsync, as one request with one result.
 */
#define ODIO_RWF_THEN_SYNC 64

/**
 * For odio_queue_options.flags: the kernel polls the device for completions instead of waiting for its interrupt
 * (IORING_SETUP_IOPOLL). For io_uring, direct files, and devices with poll queues; it carries transfers, no sync.
 */
#define ODIO_QUEUE_IOPOLL 1

/**
 * For odio_queue_options.flags: a kernel thread takes requests without a system call (IORING_SETUP_SQPOLL). For
 * io_uring. The thread uses a CPU until it has had nothing to do for 50 ms.
 */
#define ODIO_QUEUE_SQPOLL 2

/**
 * For odio_queue_options.flags: measure how long each request takes, for odio_queue_counters(). It reads the clock
 * twice for each.
 */
#define ODIO_QUEUE_LATENCY 4

/**
 * For odio_pool_options.flags: put the buffers into huge pages where the system has them set aside (MAP_HUGETLB), and
 * ask for them where it has not (MADV_HUGEPAGE); odio_pool_pages() says what came of it.
 */
#define ODIO_POOL_HUGE_PAGES 1

/**
 * How many buckets odio_counters.latency has.
 */
#define ODIO_LATENCY_BUCKETS 40

/**
 * Whether requests go past the page cache.
 */
typedef enum odio_direct {
    /**
     * Direct I/O, or open fails. The default.
     */
    ODIO_DIRECT_REQUIRED = 0,
    /**
     * Direct I/O where the file can, buffered where it cannot; odio_file_get_info() tells which.
     */
    ODIO_DIRECT_PREFERRED = 1,
    /**
     * Buffered I/O, through the page cache.
     */
    ODIO_DIRECT_OFF = 2,
} odio_direct;

/**
 * What a write has been through when it is acknowledged.
 */
typedef enum odio_sync {
    /**
     * The data, and the metadata needed to find it, are durable (but see `odio_file_info.no_promise`): O_DSYNC. The
     * default, because forgetting to choose then costs time and not data.
     */
    ODIO_SYNC_DSYNC = 0,
    /**
     * The data and all metadata are durable: O_SYNC.
     */
    ODIO_SYNC_SYNC = 1,
    /**
     * Nothing is promised before odio_file_sync() or a queued sync.
     */
    ODIO_SYNC_NONE = 2,
} odio_sync;

/**
 * The kernel interface that carries a queue's requests.
 */
typedef enum odio_engine {
    /**
     * io_uring where it can be had, else libaio, else psync; with ODIO_QUEUE_IOPOLL or ODIO_QUEUE_SQPOLL io_uring or
     * nothing. The environment variable ODIO_ENGINE (psync, libaio or io_uring), where it is set and not empty, forces
     * one, and -EINVAL for any other word; it does nothing to the engines below. odio_queue_reason() says why it was
     * that one. The default.
     */
    ODIO_ENGINE_AUTO = 0,
    /**
     * preadv2, pwritev2 and fsync on worker threads, 64 at most. Works everywhere.
     */
    ODIO_ENGINE_PSYNC = 1,
    /**
     * io_submit and io_getevents.
     */
    ODIO_ENGINE_LIBAIO = 2,
    /**
     * io_uring. Often forbidden in containers; odio_queue_new() then says by what.
     */
    ODIO_ENGINE_IO_URING = 3,
} odio_engine;

/**
 * Whether a file's requests really go past the page cache.
 */
typedef enum odio_cache {
    /**
     * They do.
     */
    ODIO_CACHE_DIRECT = 0,
    /**
     * They go through it.
     */
    ODIO_CACHE_BUFFERED = 1,
} odio_cache;

/**
 * Where a limit came from. 0 means that the value beside it is not known.
 */
typedef enum odio_source {
    /**
     * Not known; the value is 0.
     */
    ODIO_SOURCE_NONE = 0,
    /**
     * statx(2) with STATX_DIOALIGN, Linux 6.1.
     */
    ODIO_SOURCE_STATX_DIOALIGN = 1,
    /**
     * The XFS_IOC_DIOINFO ioctl.
     */
    ODIO_SOURCE_XFS_DIOINFO = 2,
    /**
     * The BLKSSZGET or BLKPBSZGET ioctl.
     */
    ODIO_SOURCE_BLKSSZGET = 3,
    /**
     * The device's queue directory in /sys.
     */
    ODIO_SOURCE_SYSFS_QUEUE = 4,
    /**
     * The block size from fstatfs(2).
     */
    ODIO_SOURCE_STATFS = 5,
    /**
     * A read that the kernel accepted after it had refused the figure of another source.
     */
    ODIO_SOURCE_PROBE_READ = 6,
    /**
     * Nobody said; 4096 bytes, which every device known to odio accepts.
     */
    ODIO_SOURCE_ASSUMED = 7,
    /**
     * statx(2) with STATX_DIO_READ_ALIGN, Linux 6.14.
     */
    ODIO_SOURCE_STATX_READ_ALIGN = 8,
    /**
     * statx(2) with STATX_WRITE_ATOMIC, Linux 6.11.
     */
    ODIO_SOURCE_STATX_WRITE_ATOMIC = 9,
    /**
     * The block size from statx(2), which every filesystem gives.
     */
    ODIO_SOURCE_STATX_BLKSIZE = 10,
} odio_source;

/**
 * How far odio_file_open() got in proving that direct I/O is really there.
 */
typedef enum odio_proof {
    /**
     * The file is buffered: there is nothing to prove.
     */
    ODIO_PROOF_BUFFERED = 0,
    /**
     * A direct read went through, of odio_limits.direct_proof_bytes.
     */
    ODIO_PROOF_READ = 1,
    /**
     * O_DIRECT is set, but the file was empty and no read could prove it.
     */
    ODIO_PROOF_EMPTY = 2,
    /**
     * O_DIRECT is set, but the read of the first block failed for a reason of its own.
     */
    ODIO_PROOF_READ_FAILED = 3,
} odio_proof;

/**
 * The step at which a durable rename failed.
 */
typedef enum odio_rename_step {
    /**
     * None: everything went well.
     */
    ODIO_RENAME_STEP_NONE = 0,
    /**
     * Finding the file under its old name, and both directories. Nothing was renamed.
     */
    ODIO_RENAME_STEP_PREPARE = 1,
    /**
     * Syncing the file. Nothing was renamed.
     */
    ODIO_RENAME_STEP_SYNC_FILE = 2,
    /**
     * The rename itself. Nothing was renamed.
     */
    ODIO_RENAME_STEP_RENAME = 3,
    /**
     * Syncing the directory of the new name. The file has that name, but a crash may bring back the old one.
     */
    ODIO_RENAME_STEP_SYNC_NEW_DIRECTORY = 4,
    /**
     * Syncing the directory of the old name. The file has the new name, but after a crash may have both.
     */
    ODIO_RENAME_STEP_SYNC_OLD_DIRECTORY = 5,
} odio_rename_step;

/**
 * An open file or block device.
 *
 * Any number of threads may use it at once; odio_file_close() is the last call, by one of them. It may be closed while
 * a queue has requests for it in flight: the descriptor stays open until they are done.
 */
typedef struct odio_file odio_file;

/**
 * Buffers of one size, made once and handed out without a lock or an allocation.
 *
 * Any number of threads may use it at once; odio_pool_free() is the last call, by one of them. Its memory stays until
 * the last queue that knows it is gone.
 */
typedef struct odio_pool odio_pool;

/**
 * Requests in flight.
 *
 * One thread at a time, not always the same one: a call that comes while another thread is inside one gets -EBUSY and
 * does nothing. odio_queue_read(), odio_queue_write() and the syncs only take a request in; odio_queue_submit(),
 * odio_queue_poll(), odio_queue_wait() and odio_queue_dispatch() hand everything taken in to the kernel as one batch, as
 * far as it has room (see odio_queue_submit()).
 * A request counts against the queue's depth until its completion has been collected.
 * Requests in flight together have no order among them: a sync covers writes whose completion was collected before the
 * sync was taken in, and no others.
 *
 * Syncs of one file run one after the other, whoever asks for them: the kernel reports a lost write to one caller
 * only. Those that wait end together with the next one that covers them. A buffered write that is durable by itself
 * counts as such a sync. On a file opened with ODIO_OPEN_BOUNCE an unaligned request is done by the call that hands it
 * over, and any write waits for those in flight in the same blocks. A request has that turn until its completion is
 * collected. So a thread collects before it syncs or writes the same file by a call that waits without limit, through
 * the handle or another queue: it would wait for itself, and gets -EDEADLK.
 *
 * It works in the process that made it: in a child of fork() every call gets -ECHILD and does nothing, without a system
 * call, but for odio_queue_free(), which returns 0 and releases the child's copy. Where another thread was inside at the
 * fork, that copy is half done and is left as it is. The parent's requests are not touched.
 *
 * Allocate ahead of writes: that is what keeps ODIO_ENGINE_LIBAIO asynchronous on ext4. A direct write that extends
 * the file waits for its data inside the call that hands it over (IOMAP_DIO_FORCE_WAIT in ext4_dio_write_iter);
 * ODIO_ENGINE_IO_URING hands it to a kernel worker that waits. One onto allocated space inside the file's size is
 * queued. odio_file_allocate() makes that so; odio_file_allocate_keep_size() does not, because such a write still
 * extends the size.
 */
typedef struct odio_queue odio_queue;

/**
 * How to open a file. All zero but for the size is: an existing file, for reading, direct I/O required.
 */
typedef struct odio_open_options {
    /**
     * sizeof(odio_open_options).
     */
    size_t size;
    /**
     * An odio_direct.
     */
    uint32_t direct;
    /**
     * An odio_sync.
     */
    uint32_t sync;
    /**
     * ODIO_OPEN_* bits. -EINVAL for a bit that this library does not know.
     */
    uint32_t flags;
    /**
     * Permission bits of a file that is made, before the umask, at most 0777; 0 means 0666.
     */
    uint32_t permissions;
} odio_open_options;

/**
 * What an open file really is.
 */
typedef struct odio_file_info {
    /**
     * sizeof(odio_file_info).
     */
    size_t size;
    /**
     * An odio_cache. Buffered where direct was preferred and could not be had; odio_file_reason() says why.
     */
    uint32_t cache;
    /**
     * An odio_sync.
     */
    uint32_t sync;
    /**
     * 1 where odio follows each asynchronous write with a sync of its own before it reports the completion, because
     * the kernel acknowledges such a write too early on this filesystem (btrfs: no btrfs_sync_file for an
     * asynchronous O_DSYNC or O_SYNC write; vfat: fat_file_fsync takes for done what another sync has in flight, so any
     * write of a mode with a sync is followed by one); otherwise 0.
     */
    uint32_t finishing_sync;
    /**
     * 1 where nothing is promised to be durable, not even after a sync: an ext4 of which no journal is shown in
     * /sys/fs/ext4, and every filesystem but ext4, XFS, btrfs and vfat, where no power was cut, or something was lost;
     * odio_explain() says why. Otherwise 0.
     */
    uint32_t no_promise;
} odio_file_info;

/**
 * What an open file and the device under it can do. Sizes and alignments are in bytes; each source is an odio_source.
 * The alignments are those of direct I/O; a file that is buffered takes any.
 */
typedef struct odio_limits {
    /**
     * sizeof(odio_limits).
     */
    size_t size;
    /**
     * A direct request's memory begins at a multiple of this.
     */
    uint32_t memory_align;
    /**
     * Source of memory_align.
     */
    uint32_t memory_align_source;
    /**
     * A direct request's offset is a multiple of this.
     */
    uint32_t offset_align;
    /**
     * Source of offset_align.
     */
    uint32_t offset_align_source;
    /**
     * A direct request's length is a multiple of this.
     */
    uint32_t length_align;
    /**
     * Source of length_align.
     */
    uint32_t length_align_source;
    /**
     * The smallest unit that the device addresses.
     */
    uint32_t logical_block;
    /**
     * Source of logical_block.
     */
    uint32_t logical_block_source;
    /**
     * The unit that the device writes without reading first.
     */
    uint32_t physical_block;
    /**
     * Source of physical_block.
     */
    uint32_t physical_block_source;
    /**
     * 1 where the device acknowledges writes that a power cut may lose, as the kernel sees it; 0 where it does not.
     */
    uint32_t volatile_cache;
    /**
     * Source of volatile_cache.
     */
    uint32_t volatile_cache_source;
    /**
     * 1 where the device can write one request through its volatile cache; means nothing without such a cache.
     */
    uint32_t fua;
    /**
     * Source of fua.
     */
    uint32_t fua_source;
    /**
     * Major number of the device; 0 where the filesystem does not show its device (btrfs, overlayfs, network).
     */
    uint32_t device_major;
    /**
     * Minor number of the device.
     */
    uint32_t device_minor;
    /**
     * Name of the filesystem, or "block device"; ends in NUL.
     */
    char filesystem[32];
    /**
     * A direct read's offset and length are multiples of this; smaller than offset_align where only writes want more.
     */
    uint32_t read_offset_align;
    /**
     * Source of read_offset_align.
     */
    uint32_t read_offset_align_source;
    /**
     * An overwrite in multiples of this makes neither the filesystem nor the device read a block of its own first and
     * put it together: the larger of the filesystem's block and the device's physical block.
     */
    uint32_t overwrite_align;
    /**
     * Source of overwrite_align.
     */
    uint32_t overwrite_align_source;
    /**
     * Requests in multiples of this go well, as the device's queue or else the filesystem says.
     */
    uint32_t preferred_size;
    /**
     * Source of preferred_size.
     */
    uint32_t preferred_size_source;
    /**
     * The kernel splits a longer request into several of the device's.
     */
    uint32_t max_size;
    /**
     * Source of max_size.
     */
    uint32_t max_size_source;
    /**
     * The shortest write that ODIO_RWF_ATOMIC takes, a power of two; 0 where there is none.
     */
    uint32_t atomic_write_min;
    /**
     * The longest write that ODIO_RWF_ATOMIC takes, a power of two.
     */
    uint32_t atomic_write_max;
    /**
     * From how many pieces of memory an atomic write may be gathered.
     */
    uint32_t atomic_write_segments;
    /**
     * Source of the three.
     */
    uint32_t atomic_write_source;
    /**
     * 1 where the device has queues that are polled, as ODIO_QUEUE_IOPOLL wants; 0 where it has none.
     */
    uint32_t poll_queues;
    /**
     * Source of poll_queues.
     */
    uint32_t poll_queues_source;
    /**
     * An odio_proof.
     */
    uint32_t direct_proof;
    /**
     * How many bytes the read of ODIO_PROOF_READ moved; otherwise 0.
     */
    uint32_t direct_proof_bytes;
} odio_limits;

/**
 * How to set up a queue. All zero but for the size is: the best engine that can be had, 32 requests.
 */
typedef struct odio_queue_options {
    /**
     * sizeof(odio_queue_options).
     */
    size_t size;
    /**
     * An odio_engine.
     */
    uint32_t engine;
    /**
     * How many requests the queue holds at most, 1 to 32768; 0 means 32.
     */
    uint32_t depth;
    /**
     * ODIO_QUEUE_* bits. -EINVAL for a bit that this library does not know.
     */
    uint32_t flags;
    /**
     * The most pieces that one vectored request has, 1 to 1024; 0 means 16.
     */
    uint32_t max_vectors;
} odio_queue_options;

/**
 * What became of a request. This struct never grows.
 */
typedef struct odio_completion {
    /**
     * What the caller gave with the request.
     */
    uint64_t user_data;
    /**
     * Bytes moved, 0 for a sync, or a negative errno. A read that moved fewer bytes than asked for was stopped by the
     * end of the file; a write moved all. Only with ODIO_RWF_NOWAIT may fewer bytes mean that the rest would have
     * waited. -EIO also where the kernel stopped short of all that and made no way, -ENODEV where a block device
     * was taken away, and -ECANCELED after odio_queue_cancel(). odio_last_error() says nothing of a completion; strerror(3) names the errno.
     */
    int64_t result;
} odio_completion;

/**
 * Called by odio_queue_dispatch() for a completion, on the thread that called it. It may take in, submit and collect
 * further requests; it must return, and not by an exception or longjmp.
 */
typedef void (*odio_callback)(const struct odio_completion *completion, void *context);

/**
 * How to make a pool.
 */
typedef struct odio_pool_options {
    /**
     * sizeof(odio_pool_options).
     */
    size_t size;
    /**
     * How long each buffer is, in bytes, 1 to 0x7ffff000. Each begins at a multiple of 4096.
     */
    uint64_t length;
    /**
     * How many buffers there are, 1 to 1048576.
     */
    uint32_t count;
    /**
     * ODIO_POOL_* bits. -EINVAL for a bit that this library does not know.
     */
    uint32_t flags;
} odio_pool_options;

/**
 * What became of requests since the file was opened or the queue was made. Requests that the kernel handed to a worker
 * are not among them: only the kernel knows, and odio-trace shows it.
 */
typedef struct odio_counters {
    /**
     * sizeof(odio_counters).
     */
    size_t size;
    /**
     * Reads, writes and syncs taken in; none that were refused. A file counts those that have ended, so for a file this
     * is `completed`.
     */
    uint64_t submitted;
    /**
     * Of these, those that have ended, well or not.
     */
    uint64_t completed;
    /**
     * Of these, those that ended with an error.
     */
    uint64_t failed;
    /**
     * Bytes read.
     */
    uint64_t bytes_read;
    /**
     * Bytes written.
     */
    uint64_t bytes_written;
    /**
     * Transfers that the kernel stopped short, or put off, and odio took up again.
     */
    uint64_t resumed;
    /**
     * Unaligned requests served through an aligned copy.
     */
    uint64_t bounced;
    /**
     * Direct requests of which a part went through the page cache, because it could not go directly.
     */
    uint64_t fallen_back;
    /**
     * Syncs added by odio to a write, because the kernel acknowledges such a write too early on this filesystem.
     */
    uint64_t finishing_syncs;
    /**
     * Of a queue with ODIO_QUEUE_LATENCY, the longest that a request took, in nanoseconds; otherwise 0, as is the rest.
     */
    uint64_t latency_max;
    /**
     * At index n the requests that took less than 2^n nanoseconds and not less than half of that; the last one holds
     * all that took longer. From the call that took a request in to the call that saw it complete.
     */
    uint64_t latency[ODIO_LATENCY_BUCKETS];
} odio_counters;

/**
 * What a queue is, and how full.
 */
typedef struct odio_queue_info {
    /**
     * sizeof(odio_queue_info).
     */
    size_t size;
    /**
     * An odio_engine, never ODIO_ENGINE_AUTO.
     */
    uint32_t engine;
    /**
     * How many requests the queue holds at most.
     */
    uint32_t depth;
    /**
     * How many have been taken in and have not completed.
     */
    uint32_t in_flight;
    /**
     * How many completions wait to be collected.
     */
    uint32_t ready;
    /**
     * How many files the engine knows beforehand.
     */
    uint32_t registered_files;
    /**
     * How many pools the engine knows beforehand.
     */
    uint32_t registered_pools;
} odio_queue_info;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * The version of the library that is running, to compare with ODIO_VERSION.
 *
 * Never fails. Any thread.
 */
uint32_t odio_version(void);

/**
 * The version of the library that is running, as text like "0.1.0".
 *
 * Never fails. The text is never released. Any thread.
 */
const char *odio_version_string(void);

/**
 * What the last call that failed on this thread has to say: the value, the limit and where the limit came from, for
 * example "buffer address 0x7f0000000200 is a multiple of 512; 4096 is needed; source: statx DIOALIGN". An empty text
 * where no call has failed yet. Calls that succeed leave it alone. It says nothing of a request that failed in a queue:
 * odio_completion.result is an errno for strerror(3).
 *
 * Never NULL. Valid until the next odio call on this thread; not to be released.
 */
const char *odio_last_error(void);

/**
 * Sets direct and sync from the name of a mode: "direct", "direct+dsync", "direct+sync", "buffered",
 * "buffered+dsync" or "buffered+sync". A direct mode becomes ODIO_DIRECT_REQUIRED, and one that names no sync
 * ODIO_SYNC_NONE. `options->size` must be set.
 *
 * Returns 0; -EINVAL for any other text or a wrong size, -E2BIG for a larger struct whose unknown part is not zero. Any
 * thread.
 */
int odio_open_options_set_mode(struct odio_open_options *options,
                               const char *mode);

/**
 * Opens a regular file or a block device and finds out what it can do, which may include one read of its first block.
 *
 * `options` may be NULL, which is the default of each option. On success `*file` is a handle that odio_file_close()
 * releases; on failure it is NULL, no new file is left behind and an old one is as it was.
 *
 * Returns 0 or a negative errno of open(2), of which -EBUSY is a block device that is mounted or held by another (see
 * ODIO_OPEN_SHARED_DEVICE); also -EISDIR for any directory, and -EINVAL where direct I/O is required
 * and cannot be had (as on tmpfs), for anything that is neither a regular file nor a block device, and for options
 * that are unknown or contradict each other. Any thread.
 */
int odio_file_open(const char *path,
                   const struct odio_open_options *options,
                   struct odio_file **file);

/**
 * Closes a file and releases its handle, whatever is returned. NULL is allowed and does nothing.
 *
 * Returns 0, the negative errno of a failed sync that nobody acknowledged, or that of close(2). No other thread may
 * be using the handle.
 */
int odio_file_close(struct odio_file *file);

/**
 * Reads until `length` bytes are there or the file ends.
 *
 * Returns the number of bytes: fewer than `length` means the end of the file and nothing else. On failure a negative
 * errno, and the memory may have changed. -EINVAL, without a system call, where direct I/O wants another alignment and
 * the file was not opened with ODIO_OPEN_BOUNCE (odio_file_limits() tells which), and for a range, or the last block
 * that it is bounced with, that ends past INT64_MAX. -EIO where the kernel stopped short for another reason than the end
 * of the file, -ENODEV for a block device that was taken away, of which the kernel says that it ends at 0. Any thread.
 */
ssize_t odio_file_read(const struct odio_file *file,
                       void *memory,
                       size_t length,
                       uint64_t offset);

/**
 * Writes all of `length` bytes, or fails.
 *
 * Returns `length`. On failure a negative errno; some bytes may have been written, and odio_last_error() says how
 * many. -EINVAL, without a system call, where direct I/O wants another alignment and the file was not opened with
 * ODIO_OPEN_BOUNCE. -EBADF on a file opened for reading. Any thread.
 */
ssize_t odio_file_write(const struct odio_file *file,
                        const void *memory,
                        size_t length,
                        uint64_t offset);

/**
 * Makes data and all metadata of what was written durable (fsync). Where `odio_file_info.no_promise` is 1 it is
 * synced, and may be lost all the same.
 *
 * Returns 0 or a negative errno. A failure sticks: later syncs through this handle report it without asking the
 * kernel, which would report the loss only once, until odio_file_acknowledge_sync_error(). -ENODEV also for a block
 * device that was taken away and whose sync the kernel says went well. Syncs of one handle run one after the other, and
 * with them buffered writes that are durable by themselves, so -EDEADLK is for a thread whose own queue has one in
 * flight (see odio_queue). Any thread.
 */
int odio_file_sync(const struct odio_file *file);

/**
 * Makes the data durable, and the metadata needed to find it (fdatasync). Otherwise as odio_file_sync().
 */
int odio_file_datasync(const struct odio_file *file);

/**
 * Forgets a failed sync. What was written since the last good sync may be lost, whatever a later sync says: write it
 * again first.
 *
 * Returns the negative errno of the failure that was forgotten, or 0 where there was none. Any thread.
 */
int odio_file_acknowledge_sync_error(const struct odio_file *file);

/**
 * The size of the file or of the block device now, in bytes.
 *
 * Returns it, or a negative errno. Any thread.
 */
int64_t odio_file_size(const struct odio_file *file);

/**
 * What the file really is. `info->size` must be set.
 *
 * Returns 0; -EINVAL for a wrong size, -E2BIG for a larger struct whose unknown part is not zero. Any thread.
 */
int odio_file_get_info(const struct odio_file *file, struct odio_file_info *info);

/**
 * Why the file is direct or buffered, as a sentence for a person.
 *
 * Never NULL. Valid until the file is closed; not to be released. Any thread.
 */
const char *odio_file_reason(const struct odio_file *file);

/**
 * The file descriptor, for calls that odio does not make. It stays the file's: do not close it, and do not change its
 * flags.
 *
 * Returns it, or -EINVAL for NULL. Any thread.
 */
int odio_file_descriptor(const struct odio_file *file);

/**
 * Reads into `count` pieces of memory, one after the other, until they are full or the file ends (preadv2(2)).
 *
 * `count` is 0 to 1024 (IOV_MAX), and the pieces hold at most 2147479552 bytes (the kernel's MAX_RW_COUNT). `flags` are
 * ODIO_RWF_NOWAIT and ODIO_RWF_DONTCACHE or 0. A direct file wants the address and the length of each piece aligned.
 * The first time one of these flags is asked for on a file, one block is read with it to find out whether it is there.
 *
 * Returns the number of bytes: fewer than asked for mean the end of the file and nothing else, but with
 * ODIO_RWF_NOWAIT, where it is what one system call got. On failure a negative errno: those of odio_file_read();
 * -EAGAIN with ODIO_RWF_NOWAIT, where it would have waited; -EOPNOTSUPP where kernel or filesystem has no such flag;
 * -EINVAL for flags that speak of writes, for lists past the limits, and for a piece that is NULL. Any thread.
 */
ssize_t odio_file_readv(const struct odio_file *file,
                        const struct iovec *vectors,
                        int count,
                        uint64_t offset,
                        uint32_t flags);

/**
 * Writes all of `count` pieces of memory, one after the other, or fails (pwritev2(2)).
 *
 * `count` and the pieces are as for odio_file_readv(). `flags` are any ODIO_RWF_* or 0:
 *
 * - ODIO_RWF_DSYNC, ODIO_RWF_SYNC: as if the file had been opened so, for this write.
 * - ODIO_RWF_NOWAIT: one system call, whose short count or -EAGAIN is returned as it is.
 * - ODIO_RWF_ATOMIC: one system call. The length is a power of two from odio_limits.atomic_write_min to
 *   atomic_write_max, the offset a multiple of the length, `count` at most atomic_write_segments; the file is direct.
 * - ODIO_RWF_DONTCACHE: as for reads.
 * - ODIO_RWF_THEN_DATASYNC, ODIO_RWF_THEN_SYNC: all of the write, and then odio_file_datasync() or odio_file_sync(),
 *   with their rules. Where an earlier sync failed and was not acknowledged, the write is not begun. -EINVAL together
 *   with ODIO_RWF_NOWAIT, because a sync waits.
 *
 * Returns the number of bytes, all of them but with ODIO_RWF_NOWAIT. On failure a negative errno: those of
 * odio_file_write(), odio_file_readv() and, with ODIO_RWF_THEN_*, odio_file_sync(). Any thread.
 */
ssize_t odio_file_writev(const struct odio_file *file,
                         const struct iovec *vectors,
                         int count,
                         uint64_t offset,
                         uint32_t flags);

/**
 * Pushes what the page cache holds of `length` bytes from `offset` out to the device and waits for it; a `length` of 0
 * means to the end of the file (sync_file_range(2), waiting before and after).
 *
 * Nothing is durable after it. It commits no metadata, so what was written onto new blocks may not be found after a
 * crash, and it does not flush the volatile cache of the device. It keeps buffered writes from piling up before a
 * sync; use odio_file_datasync() for what must not be lost.
 *
 * Returns 0 or a negative errno. A failure sticks as that of odio_file_sync() does, since it may have taken the
 * kernel's one report of a lost write with it, and an earlier failure is returned without asking the kernel. Any
 * thread; waits for other syncs of this handle.
 */
int odio_file_sync_range(const struct odio_file *file,
                         uint64_t offset,
                         uint64_t length);

/**
 * Everything known of an open file as text for a person, one fact a line: path, the mode asked for and the one it got
 * with the reason, each alignment and device fact with its source (statx, sysfs, ...), the device's volatile write
 * cache and FUA, where a write is when it is acknowledged, the sync that odio adds of its own, and a failed sync that
 * nobody acknowledged. For programs there are odio_file_get_info() and odio_file_limits(): the wording may change.
 *
 * Stores the text with a NUL into `text`, which has `size` bytes and stays the caller's; `text` may be NULL where
 * `size` is 0. A text is stored whole or not at all: where it does not fit, an empty one is stored instead.
 *
 * Returns the length of the text in bytes without the NUL, as snprintf() does: it was stored if that is less than
 * `size`. On failure a negative errno. Makes no system call. Any thread.
 */
ssize_t odio_file_explain(const struct odio_file *file,
                          char *text,
                          size_t size);

/**
 * Allocates blocks for `length` bytes from `offset` and extends the file's size over them (fallocate(2)). New blocks
 * read as zeros, old ones keep their data; blocks that the range covers in part are allocated whole. Durable after a
 * sync and not before, in every odio_sync.
 *
 * `offset` and `length` are in bytes, of any alignment, `length` at least 1, their sum at most INT64_MAX. ext4 and
 * XFS wait for direct requests in flight on the file.
 *
 * Returns 0 or a negative errno: -EOPNOTSUPP where the filesystem has no such call, which odio_last_error() names (a
 * block device has no odio_file_allocate: all of it is there), -ENOSPC, -EFBIG past the largest file (past
 * RLIMIT_FSIZE the kernel sends SIGXFSZ as well), -EPERM where the file is immutable, append-only or sealed, -EINVAL
 * for a range outside the limits, -EBADF on a file opened for reading. After -ENOSPC part of the range may be
 * allocated. Any thread.
 */
int odio_file_allocate(const struct odio_file *file,
                       uint64_t offset,
                       uint64_t length);

/**
 * As odio_file_allocate(), but the file's size stays (FALLOC_FL_KEEP_SIZE). Blocks past the size cannot be read before
 * a write or odio_file_truncate() extends the file; cutting the file frees them. Writes onto them extend the file, so
 * on ext4 they wait as any extending write does: to keep a queue asynchronous, use odio_file_allocate().
 */
int odio_file_allocate_keep_size(const struct odio_file *file,
                                 uint64_t offset,
                                 uint64_t length);

/**
 * Frees the blocks of `length` bytes from `offset`, which then read as zeros; the file's size stays
 * (FALLOC_FL_PUNCH_HOLE). Blocks that the range covers in part stay allocated and their part is zeroed, through the
 * page cache even where the file is direct: give whole blocks of the filesystem to keep it out. On a block device the
 * range is in whole logical blocks, see odio_limits.logical_block, and is discarded or zeroed.
 *
 * Ranges, errors and threads as for odio_file_allocate(). A later write into the hole allocates again and may meet
 * -ENOSPC.
 */
int odio_file_punch_hole(const struct odio_file *file,
                         uint64_t offset,
                         uint64_t length);

/**
 * Makes `length` bytes from `offset` read as zeros and leaves them allocated, mostly without writing them, and extends
 * the file's size over them (FALLOC_FL_ZERO_RANGE). Blocks that the range covers in part have their part zeroed,
 * through the page cache even where the file is direct. On a block device the range is in whole logical blocks.
 *
 * Ranges, errors and threads as for odio_file_allocate(). tmpfs is one that has no such call.
 */
int odio_file_zero_range(const struct odio_file *file,
                         uint64_t offset,
                         uint64_t length);

/**
 * Cuts the file to `size` bytes, 0 to INT64_MAX, or extends it to there with a hole (ftruncate(2)). The rest of the
 * last block is zeroed, through the page cache even where the file is direct. Durable after a sync and not before.
 * Requests in flight on what is cut off may move fewer bytes, or write the file longer again. Where the size is no
 * multiple of the filesystem's block, extend the file only while no queued direct write is in flight to its last
 * block: the kernel zeroes the rest of that block without waiting for it, and may put its old content back.
 *
 * Returns 0 or a negative errno: -EFBIG past the largest file (past RLIMIT_FSIZE the kernel sends SIGXFSZ as well),
 * -EPERM where the file is immutable, append-only or sealed, -EINVAL for a larger size and on a block device, -EBADF
 * on a file opened for reading. Any thread.
 */
int odio_file_truncate(const struct odio_file *file,
                       uint64_t size);

/**
 * Syncs the file as odio_file_sync() does, renames it to `to`, which is replaced if it is there, and syncs both
 * directories, the new one first. After a crash at any moment `to` is the old file of that name or the whole new one. A
 * filesystem without a journal, such as vfat, keeps that only where the crash does not come during the call.
 *
 * The old name is the path of the open or of the last odio_file_rename(), relative to the working directory of now
 * where it is relative. The file is looked for there first; nobody else may move it meanwhile. The sync covers writes
 * that were acknowledged before. Where both names are one file already, rename(2) does nothing and both stay.
 *
 * `step` may be NULL; otherwise `*step` is an odio_rename_step: the one that failed, or 0.
 *
 * Returns 0 or a negative errno of fsync(2), open(2) or rename(2), among them -EXDEV for a name on another filesystem
 * or mount; also the errno of a failed sync of this file that nobody has acknowledged, -ESTALE where the old name
 * leads to another file by now, -ELOOP where it is a symbolic link, and -EINVAL for a block device. A retry of a
 * failed directory sync can falsely succeed. Any thread.
 */
int odio_file_rename(const struct odio_file *file,
                     const char *to,
                     uint32_t *step);

/**
 * Alignment and device facts of an open file. `limits->size` must be set.
 *
 * Returns 0; -EINVAL for a wrong size, -E2BIG for a larger struct whose unknown part is not zero. Any thread.
 */
int odio_file_limits(const struct odio_file *file, struct odio_limits *limits);

/**
 * The name of an odio_source, for example "statx DIOALIGN".
 *
 * Never NULL; "not known" for ODIO_SOURCE_NONE and for numbers that this library does not know. Not to be released.
 * Any thread.
 */
const char *odio_source_name(uint32_t source);

/**
 * Allocates `length` zeroed bytes, 1 to 0x7ffff000, whose address suits direct I/O on `file`; a multiple of 4096 at
 * least. The address alone: the length of a request is the caller's to choose, see odio_limits.length_align. `file`
 * may be NULL.
 *
 * On success `*memory` is the caller's until odio_buffer_free(); on failure it is NULL.
 *
 * Returns 0, -EINVAL for a length outside the range, or -ENOMEM. Any thread.
 */
int odio_buffer_new(const struct odio_file *file,
                    size_t length,
                    void **memory);

/**
 * Releases memory from odio_buffer_new(). NULL is allowed and does nothing. No request in flight may use it.
 *
 * Never fails. Any thread.
 */
void odio_buffer_free(void *memory);

/**
 * Sets the engine from its name: "psync", "libaio" or "io_uring". `options->size` must be set.
 *
 * Returns 0; -EINVAL for any other text or a wrong size, -E2BIG for a larger struct whose unknown part is not zero. Any
 * thread.
 */
int odio_queue_options_set_engine(struct odio_queue_options *options,
                                  const char *engine);

/**
 * Sets up a queue. `options` may be NULL, which is the default of each option.
 *
 * On success `*queue` is a handle that odio_queue_free() releases; on failure it is NULL.
 *
 * Returns 0 or a negative errno, with the likely cause in odio_last_error(). -EPERM: seccomp or sysctl
 * kernel.io_uring_disabled forbids io_uring. -ENOMEM: RLIMIT_MEMLOCK leaves too little for the rings (io_uring; seen at
 * 0 on Linux 6.18, at the usual 64 KiB before 5.12). -EAGAIN: sysctl
 * fs.aio-max-nr (libaio), or no more threads (psync). -ENOSYS: the kernel has no such interface. -EOPNOTSUPP: io_uring
 * before Linux 5.6. -EINVAL: a depth outside 1 to 32768, max_vectors past 1024,
 * an unknown engine (also in ODIO_ENGINE) or flag, or an option that the engine cannot honour. Any thread.
 */
int odio_queue_new(const struct odio_queue_options *options,
                   struct odio_queue **queue);

/**
 * Hands over what was taken in, waits for everything in flight, and releases the queue. Completions not collected are
 * lost. After it returns 0 no memory of the caller's is in use. NULL is allowed and does nothing.
 *
 * Returns 0, or a negative errno where the engine no longer answers, which happens only where it was broken from
 * outside (a descriptor closed by somebody else): the queue is gone, but memory of requests in flight may still be
 * written to and must not be released. -EDEADLK is no such failure: requests that waited for another queue of this
 * thread (see odio_queue) were not done, and no memory is in use. No other thread may be using the handle, and no
 * callback of its own may call this.
 */
int odio_queue_free(struct odio_queue *queue);

/**
 * Takes in a read of `length` bytes, at most 0x7ffff000, from `offset`.
 *
 * The memory is the queue's until the completion has been collected. `user_data` comes back with it.
 *
 * Returns 0 or a negative errno, and then nothing was taken in: -EAGAIN where the queue is full, -EINVAL where direct
 * I/O wants another alignment, -EBUSY where another thread is inside the queue. No system call is made. Its completion
 * means what the result of odio_file_read() means: fewer bytes than asked for were stopped by the end of the file.
 */
int odio_queue_read(struct odio_queue *queue,
                    const struct odio_file *file,
                    void *memory,
                    size_t length,
                    uint64_t offset,
                    uint64_t user_data);

/**
 * Takes in a write of `length` bytes, at most 0x7ffff000, to `offset`. Otherwise as odio_queue_read(); also -EBADF on a
 * file opened for reading.
 */
int odio_queue_write(struct odio_queue *queue,
                     const struct odio_file *file,
                     const void *memory,
                     size_t length,
                     uint64_t offset,
                     uint64_t user_data);

/**
 * Takes in an fsync. It covers writes whose completion has been collected.
 *
 * Returns 0 or a negative errno, and then nothing was taken in: -EAGAIN where the queue is full, -EBUSY where another
 * thread is inside the queue, -EINVAL with ODIO_QUEUE_IOPOLL, or the errno of a failed sync of this file that nobody has
 * acknowledged.
 */
int odio_queue_sync(struct odio_queue *queue,
                    const struct odio_file *file,
                    uint64_t user_data);

/**
 * Takes in an fdatasync. Otherwise as odio_queue_sync().
 */
int odio_queue_datasync(struct odio_queue *queue, const struct odio_file *file, uint64_t user_data);

/**
 * Takes in a read into `count` pieces of memory, in their order, with `flags`, which are ODIO_RWF_* bits. The list may
 * change as soon as this returns; the memory is the queue's until the completion. `count` is at most the queue's
 * max_vectors; with 1 this is odio_queue_read() with flags.
 *
 * Returns as odio_queue_read() does; also -EINVAL for a `count` that is not 1 to max_vectors, and -EINVAL or
 * -EOPNOTSUPP, with the reason in odio_last_error(), where a flag cannot be honoured on this file.
 */
int odio_queue_readv(struct odio_queue *queue,
                     const struct odio_file *file,
                     const struct iovec *vectors,
                     int count,
                     uint64_t offset,
                     uint32_t flags,
                     uint64_t user_data);

/**
 * Takes in a write from `count` pieces of memory, in their order. Otherwise as odio_queue_readv(); also -EBADF on a
 * file opened for reading.
 *
 * ODIO_RWF_THEN_DATASYNC and ODIO_RWF_THEN_SYNC make it one request with one completion: all of the write, and then the
 * sync, which also covers what other requests wrote and completed before.
 */
int odio_queue_writev(struct odio_queue *queue,
                      const struct odio_file *file,
                      const struct iovec *vectors,
                      int count,
                      uint64_t offset,
                      uint32_t flags,
                      uint64_t user_data);

/**
 * Why the queue has the engine that it has, and why a file or pool that was added is not registered with it, as a
 * sentence for a person.
 *
 * Never NULL. Valid until the next odio_queue_add_file() or odio_queue_add_pool() of this queue, or its end; not to be
 * released.
 */
const char *odio_queue_reason(const struct odio_queue *queue);

/**
 * Hands everything taken in to the kernel, without waiting for completions. What the kernel has no room for while other
 * requests are in flight is kept, and so is what waits for another request (see odio_queue); each later call that hands
 * over tries again.
 *
 * Returns 0 or a negative errno, -EAGAIN where the kernel has no room and nothing is in flight that would make some; on
 * failure nothing is lost, and what was not handed over goes with the next call.
 */
int odio_queue_submit(struct odio_queue *queue);

/**
 * Hands everything taken in to the kernel, waits until `min` completions are there or the time is up, and stores up to
 * `max` of them. No more is waited for than what is in flight, so `min` may be any number up to `max`.
 *
 * `timeout_ns` is in nanoseconds; negative is no limit, 0 does not wait.
 *
 * Returns how many completions were stored; fewer than `min` means that the time was up, that nothing more was in
 * flight, or that it failed after these, which the next call says. On failure a negative errno, and completions stay
 * to be collected. -EINVAL where `min` is larger than `max`, -EDEADLK where without a time limit it would wait for a
 * request of another queue of this thread (see odio_queue).
 */
int odio_queue_wait(struct odio_queue *queue,
                    struct odio_completion *completions,
                    uint32_t min,
                    uint32_t max,
                    int64_t timeout_ns);

/**
 * As odio_queue_wait() with a `min` of 0: collects what is there without waiting.
 */
int odio_queue_poll(struct odio_queue *queue, struct odio_completion *completions, uint32_t max);

/**
 * As odio_queue_wait(), but calls `callback` with each completion and with `context`, on this thread, instead of
 * storing it. What the callback itself hands over is left to the next call.
 *
 * Returns how many times `callback` was called, or a negative errno and then it was not called.
 */
int odio_queue_dispatch(struct odio_queue *queue,
                        uint32_t min,
                        int64_t timeout_ns,
                        odio_callback callback,
                        void *context);

/**
 * Hands over what was taken in and waits until nothing is in flight. The completions stay to be collected.
 *
 * Returns 0 or a negative errno: -EDEADLK where it would wait for another queue of this thread (see odio_queue).
 */
int odio_queue_drain(struct odio_queue *queue);

/**
 * Asks for every request in flight that carries `user_data` to end early. Each still has its completion, with
 * -ECANCELED or with what came of it before it could be stopped; a write that was stopped half way has -ECANCELED, and
 * syncs are never stopped. A transfer that a device has is not stopped by any engine, and ODIO_ENGINE_LIBAIO stops
 * nothing but what is still to be resumed.
 *
 * Returns how many such requests there were, or a negative errno.
 */
int odio_queue_cancel(struct odio_queue *queue,
                      uint64_t user_data);

/**
 * An eventfd that becomes readable when something has completed, for a program's own poll loop: read it, then
 * odio_queue_poll() until nothing comes. It may also become readable where nothing is ready, because a request was
 * resumed inside or need not wait for another one any more; with libaio it is so as long as requests are in flight that
 * were handed over before the first call of this. It is the queue's: do not close it. It is non-blocking and closed on
 * exec.
 *
 * Returns the descriptor, the same at each call, or a negative errno: -EINVAL with ODIO_QUEUE_IOPOLL, where nothing
 * completes but while somebody polls.
 */
int odio_queue_eventfd(struct odio_queue *queue);

/**
 * Makes a pool of zeroed buffers. No NUMA policy is set: a page comes from the node of the thread that first touches
 * it.
 *
 * `options` may not be NULL, since nothing stands for the length and the count. On success `*pool` is a handle that
 * odio_pool_free() releases; on failure it is NULL.
 *
 * Returns 0, -EINVAL for a length or a count outside its range or an unknown flag, or -ENOMEM. Any thread.
 */
int odio_pool_new(const struct odio_pool_options *options,
                  struct odio_pool **pool);

/**
 * Releases a pool. NULL is allowed and does nothing. No buffer of it may be in use by the program or by a request in
 * flight.
 *
 * Never fails. No other thread may be using the handle.
 */
void odio_pool_free(struct odio_pool *pool);

/**
 * Takes a buffer, with whatever its last user left in it.
 *
 * Returns it, or NULL where all are taken. Any thread.
 */
void *odio_pool_take(const struct odio_pool *pool);

/**
 * Gives a buffer back. No request in flight may use it, and it is given back once.
 *
 * Returns 0, or -EINVAL for memory that is not the beginning of one of this pool's buffers. Any thread.
 */
int odio_pool_put(const struct odio_pool *pool, void *memory);

/**
 * What pages the buffers lie in, as words for a person.
 *
 * Never NULL. Not to be released. Any thread.
 */
const char *odio_pool_pages(const struct odio_pool *pool);

/**
 * Lets the engine know the memory of a pool beforehand, which makes requests with its buffers cheaper with
 * ODIO_ENGINE_IO_URING: their pages are locked once and not at each request. It counts against RLIMIT_MEMLOCK; where
 * that is too small, and with other engines, the pool works all the same. At most 16.
 *
 * Returns 1 where the engine knows it now, 0 where it does not, with why in odio_queue_reason(), or a negative errno.
 */
int odio_queue_add_pool(struct odio_queue *queue,
                        const struct odio_pool *pool);

/**
 * Takes back odio_queue_add_pool(). Requests taken in are not affected: what the kernel does not have yet is handed over.
 *
 * Returns 0, -ENOENT where the pool was not added, or another negative errno: -EAGAIN where the kernel takes nothing
 * now, and the pool stays.
 */
int odio_queue_remove_pool(struct odio_queue *queue,
                           const struct odio_pool *pool);

/**
 * Lets the engine know a file beforehand, which makes requests on it cheaper with ODIO_ENGINE_IO_URING. The file stays
 * open, also after odio_file_close(), until it is removed or the queue is gone. At most 256.
 *
 * Returns 1 where the engine knows it now, 0 where it does not, with why in odio_queue_reason(), or a negative errno.
 */
int odio_queue_add_file(struct odio_queue *queue,
                        const struct odio_file *file);

/**
 * Takes back odio_queue_add_file(). Requests taken in are not affected: what the kernel does not have yet is handed
 * over. Up to Linux 6.1 the kernel may hold on to the file a while longer, seconds on an idle queue, and a block
 * device with it; odio_queue_free() waits until it is let go.
 *
 * Returns 0, -ENOENT where the file was not added, or another negative errno: -EAGAIN where the kernel takes nothing
 * now, and the file stays.
 */
int odio_queue_remove_file(struct odio_queue *queue,
                           const struct odio_file *file);

/**
 * What was done with this file, by itself and by queues. `counters->size` must be set.
 *
 * Returns 0; -EINVAL for a wrong size, -E2BIG for a larger struct whose unknown part is not zero. Any thread.
 */
int odio_file_counters(const struct odio_file *file, struct odio_counters *counters);

/**
 * What this queue has done. `counters->size` must be set.
 *
 * Returns 0; -EINVAL for a wrong size, -E2BIG for a larger struct whose unknown part is not zero, -EBUSY where another
 * thread is inside the queue.
 */
int odio_queue_counters(struct odio_queue *queue,
                        struct odio_counters *counters);

/**
 * What the queue is, and how full. `info->size` must be set.
 *
 * Returns 0; -EINVAL for a wrong size, -E2BIG for a larger struct whose unknown part is not zero, -EBUSY where another
 * thread is inside the queue.
 */
int odio_queue_get_info(struct odio_queue *queue,
                        struct odio_queue_info *info);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* ODIO_H */
