/* sync_error FILE: run where fsync fails with EIO. The failure sticks until it is acknowledged, for fdatasync too. */
#include "check.h"

#include <errno.h>

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    odio_open_options open = {.size = sizeof open, .sync = ODIO_SYNC_NONE, .flags = ODIO_OPEN_WRITE};
    odio_file *file;
    odio_queue *queue;
    odio_queue_options setup = {.size = sizeof setup, .engine = ODIO_ENGINE_PSYNC}; /* It calls fsync itself. */
    odio_completion done;
    CHECK(odio_file_open(argv[1], &open, &file) == 0);
    CHECK(odio_queue_new(&setup, &queue) == 0);

    /* Through the queue, so that the failure has to get from its completion to the file. */
    CHECK(odio_queue_sync(queue, file, 1) == 0);
    CHECK(odio_queue_wait(queue, &done, 1, 1, -1) == 1);
    CHECK(done.user_data == 1 && done.result == -EIO);

    CHECK(odio_file_sync(file) == -EIO);
    CHECK_SAYS("an earlier sync of this file failed: EIO");
    CHECK(odio_file_datasync(file) == -EIO);
    CHECK(odio_queue_sync(queue, file, 2) == -EIO);
    CHECK(odio_queue_datasync(queue, file, 3) == -EIO);

    CHECK(odio_file_acknowledge_sync_error(file) == -EIO);
    CHECK(odio_file_acknowledge_sync_error(file) == 0);
    CHECK(odio_file_datasync(file) == 0);
    CHECK(odio_queue_free(queue) == 0);
    CHECK(odio_file_close(file) == 0);
    return 0;
}
