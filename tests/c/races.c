/*
 * races FILE CASE: what threads share, for ThreadSanitizer. FILE must not exist. The cases:
 *
 *   share        queues, a file that bounces and a pool, used as odio.h allows; no race
 *   early        memory is looked at before its read was collected; a race
 *   completions  two threads collect into the same array; a race inside the library's own stores
 */
#include "check.h"

#include <pthread.h>
#include <stdatomic.h>

enum { DEPTH = 8, SIZE = 4096, THREADS = 4, ROUNDS = 60, BUFFERS = 7 };

static odio_file *file;
static odio_pool *pool;

static odio_queue *new_queue(void)
{
    odio_queue *queue;
    odio_queue_options options = {.size = sizeof options, .depth = DEPTH, .engine = ODIO_ENGINE_PSYNC};
    CHECK(odio_queue_new(&options, &queue) == 0);
    return queue;
}

/* A queue that goes from thread to thread. */
static struct {
    pthread_mutex_t lock;
    odio_queue *queue;
} passed = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* Uses a queue with buffers that other threads have just filled and given back. */
static void go_round(odio_queue *queue, unsigned number, unsigned round)
{
    odio_completion done[DEPTH];
    unsigned char *taken[2] = {odio_pool_take(pool), odio_pool_take(pool)};
    for (unsigned i = 0; i < 2; i++) {
        if (taken[i] == NULL)
            continue;
        uint64_t at = (number * 2 + i) * (uint64_t)SIZE;
        memset(taken[i], (int)(number * 2 + i + 1), SIZE);
        CHECK(odio_queue_write(queue, file, taken[i], SIZE, at, i) == 0);
        CHECK(odio_queue_wait(queue, done, round % 2, 1, -1) >= 0);
        CHECK(odio_queue_drain(queue) == 0);
    }
    CHECK(odio_queue_datasync(queue, file, 2) == 0);
    CHECK(odio_queue_submit(queue) == 0);
    CHECK(odio_queue_cancel(queue, 2) >= 0);
    CHECK(odio_queue_drain(queue) == 0);
    CHECK(odio_queue_poll(queue, done, DEPTH) >= 1);
    for (unsigned i = 0; i < 2; i++) {
        if (taken[i] == NULL)
            continue;
        uint64_t at = (number * 2 + i) * (uint64_t)SIZE;
        memset(taken[i], 0, SIZE);
        CHECK(odio_queue_read(queue, file, taken[i], SIZE, at, 3) == 0);
        CHECK(odio_queue_wait(queue, done, 1, DEPTH, -1) == 1 && done[0].result == SIZE);
        CHECK(taken[i][0] == number * 2 + i + 1 && taken[i][SIZE - 1] == number * 2 + i + 1);
        CHECK(odio_pool_put(pool, taken[i]) == 0);
    }
}

static void *share(void *argument)
{
    unsigned number = *(unsigned *)argument;
    odio_queue *queue = new_queue();
    CHECK(odio_queue_eventfd(queue) >= 0);
    for (unsigned round = 0; round < ROUNDS; round++) {
        go_round(queue, number, round);
        CHECK(pthread_mutex_lock(&passed.lock) == 0);
        go_round(passed.queue, number, round);
        CHECK(pthread_mutex_unlock(&passed.lock) == 0);
        /* One byte each of a block that all patch. */
        unsigned char byte = (unsigned char)round, back = 0;
        uint64_t at = (uint64_t)THREADS * 2 * SIZE + number;
        CHECK(odio_file_write(file, &byte, 1, at) == 1);
        CHECK(odio_file_read(file, &back, 1, at) == 1 && back == byte);
        CHECK(round % 8 != 0 || odio_file_sync(file) == 0);
        odio_counters counters = {.size = sizeof counters};
        CHECK(odio_file_counters(file, &counters) == 0 && counters.failed == 0);
    }
    CHECK(odio_queue_free(queue) == 0);
    return NULL;
}

static void share_all(void)
{
    odio_pool_options options = {.size = sizeof options, .length = SIZE, .count = BUFFERS};
    CHECK(odio_pool_new(&options, &pool) == 0);
    passed.queue = new_queue();
    pthread_t threads[THREADS];
    unsigned numbers[THREADS];
    for (unsigned i = 0; i < THREADS; i++) {
        numbers[i] = i;
        CHECK(pthread_create(&threads[i], NULL, share, &numbers[i]) == 0);
    }
    for (unsigned i = 0; i < THREADS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    CHECK(odio_queue_free(passed.queue) == 0);
    odio_pool_free(pool);
}

static void early(void)
{
    void *allocated;
    CHECK(odio_buffer_new(file, SIZE, &allocated) == 0);
    unsigned char *memory = allocated;
    memset(memory, 7, SIZE);
    CHECK(odio_file_write(file, memory, SIZE, 0) == SIZE);
    memset(memory, 0, SIZE);
    odio_queue *queue = new_queue();
    CHECK(odio_queue_read(queue, file, memory, SIZE, 0, 1) == 0);
    CHECK(odio_queue_submit(queue) == 0);
    /* The read has been made and its completion not been collected, so nothing orders the two. */
    while (*(volatile unsigned char *)memory != 7)
        ;
    odio_completion done;
    CHECK(odio_queue_wait(queue, &done, 1, 1, -1) == 1 && done.result == SIZE);
    CHECK(odio_queue_free(queue) == 0);
    odio_buffer_free(memory);
}

static odio_completion common;
static atomic_int turn;

static void *collect(void *argument)
{
    int mine = *(int *)argument;
    odio_queue *queue = new_queue();
    CHECK(odio_queue_sync(queue, file, 1) == 0);
    CHECK(odio_queue_drain(queue) == 0);
    /* One after the other, but by nothing that orders memory. */
    while (atomic_load_explicit(&turn, memory_order_relaxed) != mine)
        ;
    CHECK(odio_queue_poll(queue, &common, 1) == 1);
    atomic_store_explicit(&turn, mine + 1, memory_order_relaxed);
    CHECK(odio_queue_free(queue) == 0);
    return NULL;
}

static void completions(void)
{
    pthread_t threads[2];
    int numbers[2] = {0, 1};
    for (int i = 0; i < 2; i++)
        CHECK(pthread_create(&threads[i], NULL, collect, &numbers[i]) == 0);
    for (int i = 0; i < 2; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
}

int main(int argc, char **argv)
{
    CHECK(argc == 3);
    odio_open_options open = {.size = sizeof open,
                              .direct = ODIO_DIRECT_PREFERRED,
                              .sync = ODIO_SYNC_NONE,
                              .flags = ODIO_OPEN_WRITE | ODIO_OPEN_CREATE | ODIO_OPEN_BOUNCE};
    CHECK(odio_file_open(argv[1], &open, &file) == 0);
    if (strcmp(argv[2], "share") == 0)
        share_all();
    else if (strcmp(argv[2], "early") == 0)
        early();
    else if (strcmp(argv[2], "completions") == 0)
        completions();
    else
        CHECK(!"a case");
    CHECK(odio_file_close(file) == 0);
    puts("done");
    return 0;
}
