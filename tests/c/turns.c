/*
 * turns FILE ENGINE: what one thread queued and has not collected may be in the way of its own next call on the same
 * file. No such call may wait for ever: it goes through, where the request is done by then, or says -EDEADLK, and goes
 * through once the completion is collected. That it says so is a unit test of the library.
 */
#include "check.h"

#include <errno.h>

enum { DEPTH = 4, SIZE = 4096 };

static void collect(odio_queue *queue, uint64_t user_data, int64_t result)
{
    odio_completion done;
    CHECK(odio_queue_wait(queue, &done, 1, 1, -1) == 1);
    CHECK(done.user_data == user_data && done.result == result);
}

static void check_answer(int64_t result, int64_t through)
{
    CHECK(result == through || result == -EDEADLK);
    if (result == -EDEADLK)
        CHECK_SAYS("collect it first");
}

int main(int argc, char **argv)
{
    CHECK(argc == 3);
    odio_open_options how = {.size = sizeof how, .sync = ODIO_SYNC_NONE,
                             .flags = ODIO_OPEN_WRITE | ODIO_OPEN_CREATE | ODIO_OPEN_BOUNCE};
    odio_queue_options setup = {.size = sizeof setup, .depth = DEPTH};
    odio_file *file;
    odio_queue *queue, *other;
    void *memory;
    CHECK(odio_queue_options_set_engine(&setup, argv[2]) == 0);
    CHECK(odio_file_open(argv[1], &how, &file) == 0);
    CHECK(odio_queue_new(&setup, &queue) == 0 && odio_queue_new(&setup, &other) == 0);
    CHECK(odio_buffer_new(file, SIZE, &memory) == 0);
    memset(memory, 'a', SIZE);

    /* A sync is in the way of a sync. */
    CHECK(odio_queue_sync(queue, file, 1) == 0 && odio_queue_submit(queue) == 0);
    check_answer(odio_file_sync(file), 0);
    check_answer(odio_file_datasync(file), 0);
    CHECK(odio_queue_sync(other, file, 2) == 0);
    check_answer(odio_queue_drain(other), 0);
    collect(queue, 1, 0);
    collect(other, 2, 0);
    CHECK(odio_file_sync(file) == 0);

    /* A write is in the way of what shares a block with it, and of nothing else. */
    CHECK(odio_queue_write(queue, file, memory, SIZE, 0, 3) == 0 && odio_queue_submit(queue) == 0);
    check_answer(odio_file_write(file, memory, 1, 10), 1);
    check_answer(odio_file_punch_hole(file, 0, SIZE), 0);
    check_answer(odio_file_truncate(file, SIZE / 2), 0);
    CHECK(odio_file_write(file, memory, 1, 10 * SIZE) == 1);
    collect(queue, 3, SIZE);
    CHECK(odio_file_write(file, memory, 1, 10) == 1);

    /* A queue may go while its requests wait for another, and nothing is left behind. */
    CHECK(odio_queue_sync(queue, file, 4) == 0 && odio_queue_submit(queue) == 0);
    CHECK(odio_queue_sync(other, file, 5) == 0 && odio_queue_submit(other) == 0);
    check_answer(odio_queue_free(other), 0);
    CHECK(odio_queue_free(queue) == 0);
    CHECK(odio_file_sync(file) == 0);
    CHECK(odio_file_close(file) == 0);
    odio_buffer_free(memory);
    return 0;
}
