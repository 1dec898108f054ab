/*
 * write FILE HOW FLAG [fdatasync] [held DEVICE]: writes one block past the page cache, at the beginning of FILE, and ends
 * when it is acknowledged. write FILE look: says whether it is there. 0: kept, 1: LOST, 2: neither can be said.
 *
 * HOW is pwrite, io_submit (Linux AIO) or io_uring; FLAG is none, dsync (O_DSYNC) or sync (O_SYNC). With `held` the mapped
 * device is suspended while the request is handed over, as a disk is that takes longer than the call: one that is quicker
 * finishes within the call, where btrfs syncs. Nothing but system calls: cc -o write write.c
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/io_uring.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SIZE = 4096 };

static _Alignas(SIZE) unsigned char block[SIZE], found[SIZE];
static const char *held;
static int handed_over[2];

static void require(int is_so, const char *what)
{
    if (is_so)
        return;
    fprintf(stderr, "write: %s: %s\n", what, strerror(errno));
    exit(2);
}

static int dmsetup(const char *words)
{
    char line[256];
    snprintf(line, sizeof line, "dmsetup %s %s", words, held);
    return system(line);
}

/* Suspends the device, and has a child resume it when the pipe is closed: or after 3 s, should the call wait for it. */
static void hold(void)
{
    if (!held)
        return;
    require(pipe(handed_over) == 0, "pipe");
    require(dmsetup("suspend --nolockfs --noflush") == 0, "dmsetup suspend");
    pid_t child = fork();
    require(child >= 0, "fork");
    if (child > 0) {
        /* Until it is written to, the page is shared with the child, and the kernel cannot pin it without a fault. */
        memset(block, 'A', SIZE);
        return;
    }
    close(handed_over[1]);
    struct pollfd end = {.fd = handed_over[0]};
    int is_over = poll(&end, 1, 3000);
    if (is_over == 0)
        fprintf(stderr, "write: the call waits for the disk\n");
    _exit(dmsetup("resume") == 0 ? 0 : 2);
}

static void release(void)
{
    int status;
    if (!held)
        return;
    close(handed_over[1]);
    require(wait(&status) > 0 && status == 0, "dmsetup resume");
}

static void by_io_submit(int fd)
{
    aio_context_t context = 0;
    struct iocb request = {.aio_fildes = (__u32)fd, .aio_lio_opcode = IOCB_CMD_PWRITE, .aio_nbytes = SIZE,
                           .aio_buf = (__u64)(unsigned long)block};
    struct iocb *list[] = {&request};
    struct io_event event;
    require(syscall(SYS_io_setup, 1, &context) == 0, "io_setup");
    hold();
    require(syscall(SYS_io_submit, context, 1, list) == 1, "io_submit");
    release();
    require(syscall(SYS_io_getevents, context, 1, 1, &event, NULL) == 1, "io_getevents");
    errno = event.res < 0 ? (int)-event.res : EIO;
    require(event.res == SIZE, "the completion of io_submit");
}

static void by_io_uring(int fd)
{
    struct io_uring_params is = {0};
    int ring = (int)syscall(SYS_io_uring_setup, 1, &is);
    require(ring >= 0, "io_uring_setup");
    /* One entry of each kind: its completion lies in the first page behind the heads and tails. */
    int protection = PROT_READ | PROT_WRITE;
    unsigned char *submitted = mmap(NULL, SIZE, protection, MAP_SHARED, ring, IORING_OFF_SQ_RING);
    unsigned char *completed = mmap(NULL, SIZE, protection, MAP_SHARED, ring, IORING_OFF_CQ_RING);
    struct io_uring_sqe *request = mmap(NULL, sizeof *request, protection, MAP_SHARED, ring, IORING_OFF_SQES);
    require(submitted != MAP_FAILED && completed != MAP_FAILED && (void *)request != MAP_FAILED, "mmap of the rings");
    *request = (struct io_uring_sqe){.opcode = IORING_OP_WRITE, .fd = fd, .len = SIZE,
                                     .addr = (__u64)(unsigned long)block};
    *(unsigned *)(void *)(submitted + is.sq_off.array) = 0;
    __atomic_store_n((unsigned *)(void *)(submitted + is.sq_off.tail), 1, __ATOMIC_RELEASE);
    hold();
    require(syscall(SYS_io_uring_enter, ring, 1, 0, 0, NULL, 0) == 1, "io_uring_enter");
    release();
    require(syscall(SYS_io_uring_enter, ring, 0, 1, IORING_ENTER_GETEVENTS, NULL, 0) == 0, "io_uring_enter");
    require(__atomic_load_n((unsigned *)(void *)(completed + is.cq_off.tail), __ATOMIC_ACQUIRE) == 1, "a completion");
    struct io_uring_cqe *event = (struct io_uring_cqe *)(void *)(completed + is.cq_off.cqes);
    errno = event->res < 0 ? -event->res : EIO;
    require(event->res == SIZE, "the completion of io_uring");
}

static int look(int fd)
{
    ssize_t length = read(fd, found, SIZE);
    require(length >= 0, "read");
    if (length == SIZE && memcmp(found, block, SIZE) == 0)
        return puts("kept"), 0;
    printf("LOST: %s\n", length == 0 ? "the file is empty" : "the file has other contents");
    return 1;
}

int main(int argc, char **argv)
{
    const char *how = argc > 2 ? argv[2] : "", *flag = argc > 3 ? argv[3] : "";
    int is_look = argc == 3 && strcmp(how, "look") == 0, is_synced = argc > 4 && strcmp(argv[4], "fdatasync") == 0;
    int flags = strcmp(flag, "dsync") == 0 ? O_DSYNC : strcmp(flag, "sync") == 0 ? O_SYNC : 0;
    if (argc == 6 + is_synced && strcmp(argv[4 + is_synced], "held") == 0)
        held = argv[5 + is_synced];
    errno = EINVAL;
    require(is_look || argc == 4 + is_synced + (held ? 2 : 0), "FILE HOW FLAG [fdatasync] [held DEVICE], or FILE look");
    require(is_look || flags || strcmp(flag, "none") == 0, flag);
    int fd = open(argv[1], is_look ? O_RDONLY : O_WRONLY | O_DIRECT | flags);
    require(fd >= 0, argv[1]);
    memset(block, 'A', SIZE);
    if (is_look)
        return look(fd);

    errno = EINVAL;
    if (strcmp(how, "pwrite") == 0)
        require(!held && pwrite(fd, block, SIZE, 0) == SIZE, "pwrite");
    else if (strcmp(how, "io_submit") == 0)
        by_io_submit(fd);
    else if (strcmp(how, "io_uring") == 0)
        by_io_uring(fd);
    else
        require(0, how);
    require(!is_synced || fdatasync(fd) == 0, "fdatasync");
    return 0;
}
