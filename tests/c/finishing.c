/*
 * finishing FILE ENGINE WAY: seven queued direct writes that must be durable when they are acknowledged, one after the
 * other, over written blocks. WAY is `mode` for a file opened with ODIO_SYNC_DSYNC, `flag` for ODIO_RWF_DSYNC, `none`
 * for neither, and `kernel` for the same as `mode` without odio. Prints how many syncs odio says it added.
 */
#include "check.h"

#include <fcntl.h>
#include <linux/aio_abi.h>
#include <liburing.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { SIZE = 4096, WRITES = 7 };

/* What a program without odio does. */
static void by_hand(const char *path, const char *engine)
{
    int file = open(path, O_RDWR | O_DIRECT | O_DSYNC | O_CLOEXEC);
    void *memory = aligned_alloc(SIZE, SIZE);
    CHECK(file >= 0 && memory != NULL);
    memset(memory, 1, SIZE);
    aio_context_t context = 0;
    struct io_uring ring;
    bool is_aio = strcmp(engine, "libaio") == 0;
    CHECK(is_aio ? syscall(SYS_io_setup, 1, &context) == 0 : io_uring_queue_init(1, &ring, 0) == 0);
    for (int i = 0; i < WRITES; i++) {
        if (is_aio) {
            struct iocb block = {.aio_lio_opcode = IOCB_CMD_PWRITE,
                                 .aio_fildes = (uint32_t)file,
                                 .aio_buf = (uintptr_t)memory,
                                 .aio_nbytes = SIZE,
                                 .aio_offset = i * SIZE};
            struct iocb *blocks[] = {&block};
            struct io_event event;
            CHECK(syscall(SYS_io_submit, context, 1, blocks) == 1);
            CHECK(syscall(SYS_io_getevents, context, 1, 1, &event, NULL) == 1 && event.res == SIZE);
        } else {
            struct io_uring_cqe *done;
            io_uring_prep_write(io_uring_get_sqe(&ring), file, memory, SIZE, (uint64_t)i * SIZE);
            CHECK(io_uring_submit(&ring) == 1 && io_uring_wait_cqe(&ring, &done) == 0 && done->res == SIZE);
            io_uring_cqe_seen(&ring, done);
        }
    }
    if (is_aio)
        CHECK(syscall(SYS_io_destroy, context) == 0);
    else
        io_uring_queue_exit(&ring);
    CHECK(close(file) == 0);
    free(memory);
    printf("added 0\n");
}

int main(int argc, char **argv)
{
    CHECK(argc == 4);
    if (strcmp(argv[3], "kernel") == 0) {
        by_hand(argv[1], argv[2]);
        return 0;
    }
    bool is_mode = strcmp(argv[3], "mode") == 0, is_flag = strcmp(argv[3], "flag") == 0;
    odio_open_options how = {
        .size = sizeof how, .sync = is_mode ? ODIO_SYNC_DSYNC : ODIO_SYNC_NONE, .flags = ODIO_OPEN_WRITE};
    odio_queue_options options = {.size = sizeof options, .depth = 1};
    odio_counters of_queue = {.size = sizeof of_queue}, of_file = {.size = sizeof of_file};
    odio_file *file;
    odio_queue *queue;
    void *memory;
    CHECK(odio_file_open(argv[1], &how, &file) == 0);
    CHECK(odio_queue_options_set_engine(&options, argv[2]) == 0 && odio_queue_new(&options, &queue) == 0);
    CHECK(odio_buffer_new(file, SIZE, &memory) == 0);
    memset(memory, 2, SIZE);
    struct iovec piece = {.iov_base = memory, .iov_len = SIZE};
    for (uint64_t i = 0; i < WRITES; i++) {
        odio_completion done;
        CHECK(odio_queue_writev(queue, file, &piece, 1, i * SIZE, is_flag ? ODIO_RWF_DSYNC : 0, i) == 0);
        CHECK(odio_queue_wait(queue, &done, 1, 1, -1) == 1 && done.result == SIZE);
    }
    CHECK(odio_queue_counters(queue, &of_queue) == 0 && odio_file_counters(file, &of_file) == 0);
    CHECK(of_queue.finishing_syncs == of_file.finishing_syncs);
    printf("added %llu\n", (unsigned long long)of_queue.finishing_syncs);
    CHECK(odio_queue_free(queue) == 0);
    CHECK(odio_file_close(file) == 0);
    odio_buffer_free(memory);
    return 0;
}
