/*
 * kept FILE: a request that the kernel has no room for while another is in flight. Run with an io_uring_enter that is
 * told EAGAIN the second time: the call that meets it succeeds, and the request goes with a later one.
 *
 * Only io_uring: an io_submit of what waits for a pipe would wait itself.
 */
#include "check.h"
#include "descriptor.h"

#include <fcntl.h>

enum { SIZE = 4096 };

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    /* What hangs is ended. */
    alarm(60);
    odio_open_options how = {.size = sizeof how,
                             .direct = ODIO_DIRECT_OFF,
                             .sync = ODIO_SYNC_NONE,
                             .flags = ODIO_OPEN_WRITE | ODIO_OPEN_CREATE | ODIO_OPEN_TRUNCATE};
    odio_queue_options options = {.size = sizeof options, .engine = ODIO_ENGINE_IO_URING, .depth = 2};
    odio_queue_info info = {.size = sizeof info};
    odio_completion done[2];
    odio_file *file;
    odio_queue *queue;
    char first[SIZE], second[SIZE];
    int ends[2];
    CHECK(odio_file_open(argv[1], &how, &file) == 0 && odio_queue_new(&options, &queue) == 0);
    /* A read ends when something is in the pipe. */
    CHECK(pipe2(ends, O_CLOEXEC) == 0 && dup3(ends[0], descriptor_of(argv[1]), O_CLOEXEC) >= 0);
    CHECK(odio_queue_read(queue, file, first, SIZE, 0, 1) == 0 && odio_queue_submit(queue) == 0);
    CHECK(odio_queue_read(queue, file, second, SIZE, 0, 2) == 0 && odio_queue_submit(queue) == 0);
    CHECK(odio_queue_get_info(queue, &info) == 0 && info.in_flight == 2 && info.ready == 0);
    CHECK(write(ends[1], argv[1], 1) == 1);
    CHECK(close(ends[1]) == 0);
    /* The first has the byte, and the second, which comes later, the end of the pipe. */
    CHECK(odio_queue_wait(queue, done, 2, 2, -1) == 2);
    CHECK(done[0].user_data + done[1].user_data == 3 && done[0].user_data * done[1].user_data == 2);
    for (int i = 0; i < 2; i++)
        CHECK(done[i].result == (done[i].user_data == 1 ? 1 : 0));
    CHECK(odio_queue_free(queue) == 0 && odio_file_close(file) == 0);
    CHECK(close(ends[0]) == 0);
    return 0;
}
