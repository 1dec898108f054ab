/*
 * pool FILE: reads a file with eight reads in flight all the time, into the buffers of a pool, and prints how many bytes
 * there were and what the queue says of itself.
 *
 * Build it with: cc -std=c11 pool.c $(pkg-config --cflags --libs odio) -o pool
 */
#include <odio.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DEPTH = 8, CHUNK = 1 << 16 };

static int fail(const char *what)
{
    fprintf(stderr, "pool: %s: %s\n", what, odio_last_error());
    return -1;
}

/* Reads the whole file; returns its bytes, or -1. */
static int64_t read_all(odio_queue *queue, odio_file *file, odio_pool *pool)
{
    int64_t size = odio_file_size(file);
    if (size < 0)
        return fail("size");
    uint64_t next = 0, in_flight = 0;
    int64_t total = 0;
    while (next < (uint64_t)size || in_flight > 0) {
        /* Each buffer that is free becomes a read; its address comes back as user_data. */
        void *memory;
        while (next < (uint64_t)size && (memory = odio_pool_take(pool)) != NULL) {
            if (odio_queue_read(queue, file, memory, CHUNK, next, (uint64_t)(uintptr_t)memory) < 0)
                return fail("read");
            next += CHUNK;
            in_flight++;
        }
        /* Hands the new ones over and takes whatever has come meanwhile, at least one. */
        odio_completion done[DEPTH];
        int count = odio_queue_wait(queue, done, 1, DEPTH, -1);
        if (count < 0)
            return fail("wait");
        for (int i = 0; i < count; i++) {
            in_flight--;
            if (odio_pool_put(pool, (void *)(uintptr_t)done[i].user_data) < 0)
                return fail("put");
            if (done[i].result < 0) {
                fprintf(stderr, "pool: a read: %s\n", strerror((int)-done[i].result));
                return -1;
            }
            total += done[i].result;
        }
    }
    return total;
}

static int print_counters(odio_queue *queue)
{
    odio_counters counters = {.size = sizeof counters};
    if (odio_queue_counters(queue, &counters) < 0)
        return fail("counters");
    printf("%s\n", odio_queue_reason(queue));
    printf("%" PRIu64 " requests, %" PRIu64 " failed, %" PRIu64 " bytes read, %" PRIu64 " resumed\n",
           counters.completed, counters.failed, counters.bytes_read, counters.resumed);
    /* At index n are those that took less than 2^n nanoseconds and not less than half of that. */
    for (int n = 0; n < ODIO_LATENCY_BUCKETS; n++)
        if (counters.latency[n] > 0)
            printf("  below %12" PRIu64 " ns: %" PRIu64 "\n", UINT64_C(1) << n, counters.latency[n]);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc != 2)
        return fputs("usage: pool FILE\n", stderr), 2;

    /* The engine is left open: io_uring, or the best that can be had here. */
    odio_queue_options setup = {.size = sizeof setup, .depth = DEPTH, .flags = ODIO_QUEUE_LATENCY};
    odio_pool_options buffers = {.size = sizeof buffers, .length = CHUNK, .count = DEPTH};
    odio_file *file = NULL;
    odio_queue *queue = NULL;
    odio_pool *pool = NULL;
    int status = EXIT_FAILURE;
    if (odio_file_open(argv[1], NULL, &file) < 0 || odio_queue_new(&setup, &queue) < 0 ||
        odio_pool_new(&buffers, &pool) < 0) {
        fail(argv[1]);
    } else if (odio_queue_add_file(queue, file) < 0 || odio_queue_add_pool(queue, pool) < 0) {
        /* 0 would be no failure: the engine does not know them beforehand, and everything works all the same. */
        fail("add");
    } else {
        int64_t total = read_all(queue, file, pool);
        printf("%" PRId64 " bytes\n", total);
        if (total >= 0 && print_counters(queue) == 0)
            status = EXIT_SUCCESS;
    }

    /* First: it waits for whatever still uses the buffers, which are not released where that cannot be said. */
    if (odio_queue_free(queue) < 0)
        return fail("queue"), EXIT_FAILURE;
    odio_pool_free(pool);
    if (odio_file_close(file) < 0)
        return fail("close"), EXIT_FAILURE;
    return status;
}
