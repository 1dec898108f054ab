/*
 * atomic DEVICE SYSTEM_CALLS: ODIO_RWF_ATOMIC within the limits of a device and outside of them.
 *
 * Prints the limits, and one line for each write: `ENGINE LENGTH OFFSET PIECES RESULT`, with what odio had to say after
 * it. SYSTEM_CALLS is `all`, or `refused` for only those that are to make no system call, between two calls of getppid.
 */
#include "check.h"

#include <stdbool.h>
#include <unistd.h>

/* One write of `pieces` pieces; result and reason are printed where nothing is traced. */
static void write_one(odio_file *file, uint32_t engine, unsigned char *memory, size_t length, uint64_t offset,
                      int pieces, bool is_traced)
{
    struct iovec list[4];
    CHECK(pieces >= 1 && pieces <= 4);
    for (int i = 0; i < pieces; i++)
        list[i] = (struct iovec){.iov_base = memory + (size_t)i * (length / (size_t)pieces),
                                 .iov_len = length / (size_t)pieces};
    odio_queue *queue = NULL;
    odio_queue_info info = {.size = sizeof info};
    const char *names[] = {"file", "psync", "libaio", "io_uring"};
    if (engine != ODIO_ENGINE_AUTO) {
        odio_queue_options options = {.size = sizeof options, .engine = engine, .depth = 1};
        CHECK(odio_queue_new(&options, &queue) == 0);
        CHECK(odio_queue_get_info(queue, &info) == 0 && info.engine == engine);
    }
    memset(memory, (int)(engine + 1), length);
    if (is_traced)
        getppid();
    int64_t result = queue == NULL ? odio_file_writev(file, list, pieces, offset, ODIO_RWF_ATOMIC)
                                   : odio_queue_writev(queue, file, list, pieces, offset, ODIO_RWF_ATOMIC, 1);
    if (is_traced)
        getppid();
    bool is_refused = result < 0;
    if (queue != NULL && !is_refused) {
        odio_completion done;
        CHECK(odio_queue_wait(queue, &done, 1, 1, -1) == 1);
        result = done.result;
    }
    printf("%s %zu %llu %d %lld %s\n", names[engine], length, (unsigned long long)offset, pieces, (long long)result,
           is_refused ? odio_last_error() : "");
    CHECK(odio_queue_free(queue) == 0);
    if (result == (int64_t)length) {
        memset(memory, 0, length);
        CHECK(odio_file_read(file, memory, length, offset) == (ssize_t)length);
        CHECK(memory[0] == engine + 1 && memory[length - 1] == engine + 1);
    }
}

int main(int argc, char **argv)
{
    CHECK(argc == 3);
    bool is_traced = strcmp(argv[2], "refused") == 0;
    odio_open_options how = {.size = sizeof how, .sync = ODIO_SYNC_NONE, .flags = ODIO_OPEN_WRITE};
    odio_limits limits = {.size = sizeof limits};
    odio_file *file;
    void *memory;
    CHECK(odio_file_open(argv[1], &how, &file) == 0);
    CHECK(odio_file_limits(file, &limits) == 0);
    printf("limits %u %u %u %s\n", limits.atomic_write_min, limits.atomic_write_max, limits.atomic_write_segments,
           odio_source_name(limits.atomic_write_source));
    CHECK(odio_buffer_new(file, 4 << 20, &memory) == 0);
    size_t min = limits.atomic_write_min, max = limits.atomic_write_max;
    if (min == 0)
        min = max = 4096;
    CHECK(max < 2 << 20);
    for (uint32_t engine = ODIO_ENGINE_AUTO; engine <= ODIO_ENGINE_IO_URING; engine++) {
        if (!is_traced) {
            write_one(file, engine, memory, min, 0, 1, false);
            write_one(file, engine, memory, max, max, 1, false);
        }
        write_one(file, engine, memory, min / 2, 0, 1, is_traced);
        write_one(file, engine, memory, 2 * max, 0, 1, is_traced);
        write_one(file, engine, memory, max - min / 2, 0, 1, is_traced);
        write_one(file, engine, memory, max, max / 2, 1, is_traced);
        write_one(file, engine, memory, max, 0, 2, is_traced);
    }
    CHECK(odio_file_close(file) == 0);
    odio_buffer_free(memory);
    return 0;
}
