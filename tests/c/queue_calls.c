/* queue_calls FILE ENGINE: pieces, drain, cancel, what the engine knows beforehand, and the counters, one by one. */
#include "check.h"

#include <errno.h>

enum { SIZE = 4096, DEPTH = 8 };

static odio_queue *queue;
static odio_file *file;
static unsigned char *memory;

/* One completion, of this request. */
static int64_t finish(uint64_t user_data)
{
    odio_completion done;
    CHECK(odio_queue_wait(queue, &done, 1, 1, -1) == 1);
    CHECK(done.user_data == user_data);
    return done.result;
}

static odio_queue_info info(void)
{
    odio_queue_info now = {.size = sizeof now};
    CHECK(odio_queue_get_info(queue, &now) == 0);
    return now;
}

static void pieces(void)
{
    for (int i = 0; i < 3; i++)
        memset(memory + i * SIZE, 'a' + i, SIZE);
    /* Out of order in memory, so that the file shows whether the order of the list counted. */
    struct iovec list[3] = {{memory + 2 * SIZE, SIZE}, {memory, SIZE}, {memory + SIZE, SIZE}};
    CHECK(odio_queue_writev(queue, file, list, 3, 0, 0, 1) == 0);
    memset(list, 0, sizeof list); /* It was copied. */
    CHECK(finish(1) == 3 * SIZE);
    memset(memory, 0, 3 * SIZE);
    struct iovec back[2] = {{memory + SIZE, 2 * SIZE}, {memory, SIZE}};
    CHECK(odio_queue_readv(queue, file, back, 2, 0, 0, 2) == 0);
    CHECK(finish(2) == 3 * SIZE);
    CHECK(memory[SIZE] == 'c' && memory[2 * SIZE] == 'a' && memory[0] == 'b' && memory[SIZE - 1] == 'b');
    CHECK(odio_queue_readv(queue, file, back, 2, 0, ODIO_RWF_DSYNC, 3) == -EINVAL);
    CHECK(odio_queue_readv(queue, file, back, 17, 0, 0, 3) == -EINVAL);
}

static void drain(void)
{
    for (uint64_t i = 0; i < DEPTH; i++)
        CHECK(odio_queue_read(queue, file, memory + i * SIZE, SIZE, 0, i) == 0);
    CHECK(info().in_flight == DEPTH && info().ready == 0);
    CHECK(odio_queue_drain(queue) == 0);
    CHECK(info().in_flight == 0 && info().ready == DEPTH);
    odio_completion done[DEPTH];
    CHECK(odio_queue_poll(queue, done, DEPTH) == DEPTH);
    CHECK(odio_queue_drain(queue) == 0);
}

static void cancel(void)
{
    CHECK(odio_queue_cancel(queue, 7) == 0);
    CHECK(odio_queue_read(queue, file, memory, SIZE, 0, 7) == 0);
    CHECK(odio_queue_read(queue, file, memory + SIZE, SIZE, 0, 8) == 0);
    CHECK(odio_queue_read(queue, file, memory + 2 * SIZE, SIZE, 0, 7) == 0);
    CHECK(odio_queue_cancel(queue, 7) == 2);
    odio_completion done[3];
    CHECK(odio_queue_wait(queue, done, 3, 3, -1) == 3);
    for (int i = 0, others = 0; i < 3; i++) {
        if (done[i].user_data == 8)
            CHECK(done[i].result == SIZE && ++others == 1);
        else
            CHECK(done[i].user_data == 7 && (done[i].result == SIZE || done[i].result == -ECANCELED));
    }
}

static void known_beforehand(void)
{
    odio_pool_options options = {.size = sizeof options, .length = SIZE, .count = 2, .flags = ODIO_POOL_HUGE_PAGES};
    odio_pool *pool;
    CHECK(odio_pool_new(&options, &pool) == 0);
    CHECK(strlen(odio_pool_pages(pool)) > 0 && strcmp(odio_pool_pages(pool), odio_pool_pages(NULL)) != 0);
    CHECK(odio_queue_remove_file(queue, file) == -ENOENT);
    CHECK(odio_queue_remove_pool(queue, pool) == -ENOENT);
    int knows_file = odio_queue_add_file(queue, file), knows_pool = odio_queue_add_pool(queue, pool);
    CHECK(knows_file >= 0 && knows_pool >= 0);
    CHECK(info().registered_files == (uint32_t)knows_file && info().registered_pools == (uint32_t)knows_pool);
    unsigned char *buffer = odio_pool_take(pool);
    CHECK(odio_queue_read(queue, file, buffer, SIZE, SIZE, 9) == 0);
    CHECK(finish(9) == SIZE && buffer[0] == 'a' && buffer[SIZE - 1] == 'a');
    CHECK(odio_pool_put(pool, buffer) == 0);
    CHECK(odio_queue_remove_file(queue, file) == 0 && odio_queue_remove_pool(queue, pool) == 0);
    CHECK(odio_queue_remove_file(queue, file) == -ENOENT);
    CHECK(info().registered_files == 0 && info().registered_pools == 0);
    odio_pool_free(pool);
}

static void counters(void)
{
    odio_counters before = {.size = sizeof before}, after = {.size = sizeof after};
    CHECK(odio_file_counters(file, &before) == 0);
    CHECK(odio_file_write(file, memory, SIZE, 0) == SIZE);
    CHECK(odio_queue_read(queue, file, memory, SIZE, 0, 10) == 0);
    CHECK(finish(10) == SIZE);
    CHECK(odio_queue_datasync(queue, file, 11) == 0);
    CHECK(finish(11) == 0);
    CHECK(odio_queue_sync(queue, file, 12) == 0);
    CHECK(finish(12) == 0);
    CHECK(odio_file_counters(file, &after) == 0);
    CHECK(after.submitted == before.submitted + 4 && after.completed == after.submitted);
    CHECK(after.bytes_written == before.bytes_written + SIZE && after.bytes_read == before.bytes_read + SIZE);
    CHECK(after.failed == before.failed);
}

int main(int argc, char **argv)
{
    CHECK(argc == 3);
    odio_open_options open = {.size = sizeof open,
                              .direct = ODIO_DIRECT_PREFERRED,
                              .sync = ODIO_SYNC_NONE,
                              .flags = ODIO_OPEN_WRITE | ODIO_OPEN_CREATE | ODIO_OPEN_TRUNCATE};
    odio_queue_options setup = {.size = sizeof setup, .depth = DEPTH};
    CHECK(odio_queue_options_set_engine(&setup, argv[2]) == 0);
    CHECK(odio_file_open(argv[1], &open, &file) == 0);
    CHECK(odio_queue_new(&setup, &queue) == 0);
    CHECK(odio_buffer_new(file, DEPTH * SIZE, (void **)&memory) == 0);
    pieces();
    drain();
    cancel();
    known_beforehand();
    counters();
    CHECK(odio_queue_free(queue) == 0);
    odio_buffer_free(memory);
    CHECK(odio_file_close(file) == 0);
    return 0;
}
