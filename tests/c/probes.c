/*
 * probes FILE COUNT: COUNT writes, COUNT reads, one of them past the end of the file, a sync, and a write that a sync
 * closes, through a queue.
 * What is seen of them through the probe points is counted from outside.
 */
#include "check.h"

enum { SIZE = 4096 };

static odio_queue *queue;

static int64_t finish(void)
{
    odio_completion done;
    CHECK(odio_queue_wait(queue, &done, 1, 1, -1) == 1);
    return done.result;
}

int main(int argc, char **argv)
{
    CHECK(argc == 3);
    uint64_t count = strtoull(argv[2], NULL, 10);
    odio_open_options options = {.size = sizeof options,
                                 .direct = ODIO_DIRECT_PREFERRED,
                                 .sync = ODIO_SYNC_NONE,
                                 .flags = ODIO_OPEN_WRITE | ODIO_OPEN_CREATE | ODIO_OPEN_TRUNCATE};
    odio_file *file;
    void *memory;
    CHECK(odio_file_open(argv[1], &options, &file) == 0);
    CHECK(odio_buffer_new(file, SIZE, &memory) == 0);
    CHECK(odio_queue_new(NULL, &queue) == 0);
    memset(memory, 'p', SIZE);
    for (uint64_t i = 0; i < count; i++) {
        CHECK(odio_queue_write(queue, file, memory, SIZE, i * SIZE, 100 + i) == 0);
        CHECK(finish() == SIZE);
    }
    for (uint64_t i = 0; i < count; i++) {
        CHECK(odio_queue_read(queue, file, memory, SIZE, (i + 1) * SIZE, 200 + i) == 0);
        CHECK(finish() == (i + 1 < count ? SIZE : 0));
    }
    CHECK(odio_queue_datasync(queue, file, 300) == 0);
    CHECK(finish() == 0);
    struct iovec piece = {.iov_base = memory, .iov_len = SIZE};
    CHECK(odio_queue_writev(queue, file, &piece, 1, 0, ODIO_RWF_THEN_DATASYNC, 400) == 0);
    CHECK(finish() == SIZE);
    CHECK(odio_queue_free(queue) == 0);
    odio_buffer_free(memory);
    CHECK(odio_file_close(file) == 0);
    return 0;
}
