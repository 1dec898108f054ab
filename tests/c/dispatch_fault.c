/*
 * dispatch_fault FILE: one read is done and waits to be collected, another is taken in, and from then on every
 * io_uring_enter fails (the test sees to that). The callback still gets the first; what is wrong is said where nothing
 * is left to be collected.
 */
#include "check.h"

#include <errno.h>

enum { SIZE = 4096 };

static void count(const odio_completion *done, void *context)
{
    CHECK(done->user_data == 1 && done->result == SIZE);
    ++*(int *)context;
}

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    odio_queue_options setup = {.size = sizeof setup, .engine = ODIO_ENGINE_IO_URING};
    odio_file *file;
    odio_queue *queue;
    void *memory, *other;
    CHECK(odio_file_open(argv[1], NULL, &file) == 0);
    CHECK(odio_queue_new(&setup, &queue) == 0);
    CHECK(odio_buffer_new(file, SIZE, &memory) == 0 && odio_buffer_new(file, SIZE, &other) == 0);
    CHECK(odio_queue_read(queue, file, memory, SIZE, 0, 1) == 0);
    CHECK(odio_queue_drain(queue) == 0);
    CHECK(odio_queue_read(queue, file, other, SIZE, 0, 2) == 0);

    int called = 0;
    CHECK(odio_queue_dispatch(queue, 1, -1, count, &called) == 1 && called == 1);
    CHECK(odio_queue_dispatch(queue, 1, -1, count, &called) == -EBADF && called == 1);
    CHECK_SAYS("io_uring_enter");
    CHECK(odio_queue_free(queue) == -EBADF);
    CHECK(odio_file_close(file) == 0);
    odio_buffer_free(memory);
    return 0;
}
