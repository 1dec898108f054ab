/* queue_rules FILE ENGINE: a full queue, a second thread, callbacks that go on, closing and freeing early. */
#include "check.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

enum { DEPTH = 4, SIZE = 4096 };

static odio_queue *queue;
static odio_file *file;
static unsigned char *memory;

struct chain {
    int calls;
};

/* Each completion queues the next, from inside the callback. */
static void go_on(const odio_completion *done, void *context)
{
    struct chain *chain = context;
    CHECK(done->result == SIZE);
    if (++chain->calls < 5)
        CHECK(odio_queue_write(queue, file, memory, SIZE, done->user_data + SIZE, done->user_data + SIZE) == 0);
}

/*
 * Tries to get in while the other thread works. Whether the two meet is the scheduler's choice (under valgrind they may
 * never do), so only the answer is checked; that a meeting is refused is a unit test of the library.
 */
static void *intrude(void *unused)
{
    (void)unused;
    for (int i = 0; i < 100; i++) {
        /* A submit, because a poll outside the other thread's calls would take its completion. */
        int result = odio_queue_submit(queue);
        CHECK(result == 0 || result == -EBUSY);
        if (result == -EBUSY)
            CHECK_SAYS("another thread");
    }
    return NULL;
}

static atomic_int stop;

static void *work(void *unused)
{
    (void)unused;
    odio_completion done;
    while (!atomic_load(&stop)) {
        int result = odio_queue_write(queue, file, memory, SIZE, 0, 9);
        CHECK(result == 0 || result == -EBUSY);
        if (result == 0)
            while ((result = odio_queue_wait(queue, &done, 1, 1, -1)) != 1)
                CHECK(result == -EBUSY);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    CHECK(argc == 3);
    odio_open_options open = {.size = sizeof open, .sync = ODIO_SYNC_NONE,
                              .flags = ODIO_OPEN_WRITE | ODIO_OPEN_CREATE};
    odio_queue_options setup = {.size = sizeof setup, .depth = DEPTH};
    odio_completion done[DEPTH];
    void *allocated;
    CHECK(odio_queue_options_set_engine(&setup, argv[2]) == 0);
    CHECK(odio_file_open(argv[1], &open, &file) == 0);
    CHECK(odio_queue_new(&setup, &queue) == 0);
    CHECK(odio_buffer_new(file, SIZE, &allocated) == 0);
    memory = allocated;

    /* Nothing in flight: no wait, however long. */
    CHECK(odio_queue_wait(queue, done, 1, DEPTH, -1) == 0);
    CHECK(odio_queue_wait(queue, done, 2, 1, -1) == -EINVAL);
    CHECK(odio_queue_dispatch(queue, 0, 0, NULL, NULL) == -EINVAL);

    for (uint64_t i = 0; i < DEPTH; i++)
        CHECK(odio_queue_write(queue, file, memory, SIZE, i * SIZE, i) == 0);
    CHECK(odio_queue_write(queue, file, memory, SIZE, 0, 99) == -EAGAIN);
    CHECK_SAYS("holds 4 requests");
    CHECK(odio_queue_submit(queue) == 0);
    /* More than one call may collect them, and none comes twice. */
    unsigned seen = 0;
    for (int left = DEPTH; left > 0;) {
        int count = odio_queue_wait(queue, done, 1, 3, -1);
        CHECK(count >= 1 && count <= 3);
        for (int i = 0; i < count; i++) {
            CHECK(done[i].result == SIZE && done[i].user_data < DEPTH);
            CHECK((seen & 1u << done[i].user_data) == 0);
            seen |= 1u << done[i].user_data;
        }
        left -= count;
    }
    CHECK(seen == (1u << DEPTH) - 1);

    struct chain chain = {0};
    CHECK(odio_queue_write(queue, file, memory, SIZE, 0, 0) == 0);
    while (chain.calls < 5)
        CHECK(odio_queue_dispatch(queue, 1, -1, go_on, &chain) >= 0);
    CHECK(odio_queue_wait(queue, done, 1, 1, -1) == 0);

    pthread_t worker, intruder;
    CHECK(pthread_create(&worker, NULL, work, NULL) == 0);
    CHECK(pthread_create(&intruder, NULL, intrude, NULL) == 0);
    CHECK(pthread_join(intruder, NULL) == 0);
    atomic_store(&stop, 1);
    CHECK(pthread_join(worker, NULL) == 0);

    /* The file is closed and the queue freed with requests taken in; the memory is free to go after that. */
    memset(memory, 7, SIZE);
    CHECK(odio_queue_write(queue, file, memory, SIZE, 0, 1) == 0);
    CHECK(odio_file_close(file) == 0);
    CHECK(odio_queue_free(queue) == 0);
    odio_buffer_free(memory);
    FILE *written = fopen(argv[1], "rb");
    CHECK(written != NULL && fgetc(written) == 7 && fclose(written) == 0);
    return 0;
}
