/*
 * fork_queue FILE ENGINE: a child of fork is refused by its parent's queue whatever it asks, may free its copy, and
 * makes one of its own; the parent's requests, taken in before the fork and in flight, are all there afterwards.
 */
#include "check.h"

#include <errno.h>
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
    REFUSED(odio_queue_drain(queue));
    REFUSED(odio_queue_cancel(queue, 1));
    REFUSED(odio_queue_eventfd(queue));
    REFUSED(odio_queue_add_file(queue, file));
    REFUSED(odio_queue_remove_file(queue, file));

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

    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        /* Where the child waits for what never comes. */
        alarm(60);
        child(&setup, queue, file, other);
        _exit(0);
    }
    int status;
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);

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
    CHECK(odio_queue_free(queue) == 0);
    odio_buffer_free(memory);
    odio_buffer_free(other);
    CHECK(odio_file_close(file) == 0);
    return 0;
}
