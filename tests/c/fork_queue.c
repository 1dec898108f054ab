/*
 * fork_queue FILE ENGINE: a child of fork is refused by its parent's queue whatever it asks, may free its copy, and
 * makes one of its own; the parent's requests, taken in before the fork and in flight, are all there afterwards. The
 * same where another thread was inside the queue at the fork, and where the fork was in a callback.
 */
#include "check.h"

#include <errno.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SIZE = 4096, COUNT = 8 };

static void never(const odio_completion *completion, void *context)
{
    (void)completion;
    (void)context;
    CHECK(!"a callback is not called in a child");
}

#define REFUSED(call)                    \
    do {                                 \
        CHECK((call) == -ECHILD);        \
        CHECK_SAYS("fork");              \
    } while (0)

static void child(const odio_queue_options *setup, odio_queue *queue, odio_file *file, void *memory)
{
    odio_completion done[COUNT];
    REFUSED(odio_queue_read(queue, file, memory, SIZE, 0, 1));
    REFUSED(odio_queue_write(queue, file, memory, SIZE, 0, 1));
    REFUSED(odio_queue_sync(queue, file, 1));
    REFUSED(odio_queue_datasync(queue, file, 1));
    REFUSED(odio_queue_submit(queue));
    REFUSED(odio_queue_poll(queue, done, COUNT));
    REFUSED(odio_queue_wait(queue, done, 1, COUNT, -1));
    REFUSED(odio_queue_dispatch(queue, 1, -1, never, NULL));
    struct iovec piece = {memory, SIZE};
    REFUSED(odio_queue_readv(queue, file, &piece, 1, 0, 0, 1));
    REFUSED(odio_queue_writev(queue, file, &piece, 1, 0, ODIO_RWF_THEN_DATASYNC, 1));
    /* Nor does it say what is wrong with a request. */
    REFUSED(odio_queue_read(queue, file, memory, SIZE - 1, 0, 1));
    REFUSED(odio_queue_drain(queue));
    REFUSED(odio_queue_cancel(queue, 1));
    REFUSED(odio_queue_eventfd(queue));
    odio_counters counters = {.size = sizeof counters};
    REFUSED(odio_queue_counters(queue, &counters));
    odio_queue_info info = {.size = sizeof info};
    REFUSED(odio_queue_get_info(queue, &info));
    odio_pool_options buffers = {.size = sizeof buffers, .length = SIZE, .count = 1};
    odio_pool *pool;
    CHECK(odio_pool_new(&buffers, &pool) == 0);
    REFUSED(odio_queue_add_pool(queue, pool));
    REFUSED(odio_queue_remove_pool(queue, pool));
    REFUSED(odio_queue_add_file(queue, file));
    REFUSED(odio_queue_remove_file(queue, file));
    odio_pool_free(pool);

    /* One of its own does not make the parent's usable, nor the other way round. */
    odio_queue *own;
    CHECK(odio_queue_new(setup, &own) == 0);
    REFUSED(odio_queue_poll(queue, done, COUNT));
    CHECK(odio_queue_free(queue) == 0);
    CHECK(odio_queue_read(own, file, memory, SIZE, 0, 9) == 0);
    CHECK(odio_queue_wait(own, done, 1, 1, -1) == 1);
    CHECK(done[0].user_data == 9 && done[0].result == SIZE);
    CHECK(odio_queue_free(own) == 0);
}

static void in_a_child(const odio_queue_options *setup, odio_queue *queue, odio_file *file, void *memory)
{
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        /* Where the child waits for what never comes. */
        alarm(60);
        child(setup, queue, file, memory);
        _exit(0);
    }
    int status;
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void *collect_one(void *queue)
{
    odio_completion done;
    int count;
    /* Where whoever looks whether this thread is inside is there itself. */
    while ((count = odio_queue_wait(queue, &done, 1, 1, -1)) == -EBUSY)
        ;
    CHECK(count == 1 && done.result == 0);
    return NULL;
}

/* A thread stays inside `queue` for as long as a sync of another queue has its turn. */
static void with_a_thread_inside(const odio_queue_options *setup, odio_queue *queue, odio_file *file, void *memory)
{
    odio_queue *first;
    odio_queue_info info = {.size = sizeof info};
    CHECK(odio_queue_new(setup, &first) == 0);
    for (;;) {
        CHECK(odio_queue_sync(first, file, 1) == 0 && odio_queue_submit(first) == 0);
        CHECK(odio_queue_get_info(first, &info) == 0);
        if (info.in_flight == 1)
            break;
        /* Done inside the submit, and the turn with it. */
        collect_one(first);
    }
    pthread_t thread;
    CHECK(odio_queue_sync(queue, file, 2) == 0);
    CHECK(pthread_create(&thread, NULL, collect_one, queue) == 0);
    int result;
    while ((result = odio_queue_get_info(queue, &info)) != -EBUSY)
        CHECK(result == 0);
    in_a_child(setup, queue, file, memory);
    collect_one(first);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(odio_queue_free(first) == 0);
}

struct forks {
    pid_t child;
    int calls;
};

static void fork_once(const odio_completion *done, void *context)
{
    struct forks *forks = context;
    CHECK(done->result == SIZE);
    if (forks->calls++ == 0)
        CHECK((forks->child = fork()) >= 0);
}

/* The parent is called for each of its completions, the child for none but the one it was made in. */
static void in_a_callback(odio_queue *queue, odio_file *file, void *memory)
{
    struct forks forks = {0};
    for (uint64_t i = 0; i < COUNT; i++)
        CHECK(odio_queue_read(queue, file, memory, SIZE, 0, i) == 0);
    CHECK(odio_queue_drain(queue) == 0);
    int called = odio_queue_dispatch(queue, 0, 0, fork_once, &forks);
    if (forks.child == 0)
        _exit(called == 1 && forks.calls == 1 ? 0 : 1);
    CHECK(called == COUNT && forks.calls == COUNT);
    int status;
    CHECK(waitpid(forks.child, &status, 0) == forks.child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

int main(int argc, char **argv)
{
    CHECK(argc == 3);
    odio_open_options open_options = {.size = sizeof open_options,
                                      .sync = ODIO_SYNC_NONE,
                                      .flags = ODIO_OPEN_WRITE | ODIO_OPEN_CREATE | ODIO_OPEN_TRUNCATE};
    odio_queue_options setup = {.size = sizeof setup, .depth = 2 * COUNT};
    CHECK(odio_queue_options_set_engine(&setup, argv[2]) == 0);
    odio_file *file;
    CHECK(odio_file_open(argv[1], &open_options, &file) == 0);
    void *memory, *other;
    CHECK(odio_buffer_new(file, SIZE, &memory) == 0 && odio_buffer_new(file, SIZE, &other) == 0);
    memset(memory, 'w', SIZE);
    CHECK(odio_file_allocate(file, 0, 2 * COUNT * SIZE) == 0);
    odio_queue *queue;
    CHECK(odio_queue_new(&setup, &queue) == 0);

    /* Writes of memory that nobody changes: in flight or done, and beside them some that are only taken in. */
    for (uint64_t i = 0; i < COUNT; i++)
        CHECK(odio_queue_write(queue, file, memory, SIZE, i * SIZE, i) == 0);
    CHECK(odio_queue_submit(queue) == 0);
    for (uint64_t i = COUNT; i < 2 * COUNT; i++)
        CHECK(odio_queue_write(queue, file, memory, SIZE, i * SIZE, i) == 0);

    in_a_child(&setup, queue, file, other);

    int seen[2 * COUNT] = {0};
    for (int count = 0; count < 2 * COUNT;) {
        odio_completion done[COUNT];
        int got = odio_queue_wait(queue, done, 1, COUNT, 30000000000);
        CHECK(got > 0);
        for (int i = 0; i < got; i++) {
            CHECK(done[i].result == SIZE && seen[done[i].user_data]++ == 0);
            count++;
        }
    }
    with_a_thread_inside(&setup, queue, file, other);
    in_a_callback(queue, file, other);
    CHECK(odio_queue_free(queue) == 0);
    odio_buffer_free(memory);
    odio_buffer_free(other);
    CHECK(odio_file_close(file) == 0);
    return 0;
}
