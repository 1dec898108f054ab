/* bounce FILE: requests of any alignment on a direct file that bounces them. */
#include "check.h"

#include <errno.h>

#define SIZE 20000

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    odio_open_options open = {.size = sizeof open,
                              .sync = ODIO_SYNC_NONE,
                              .flags = ODIO_OPEN_WRITE | ODIO_OPEN_CREATE | ODIO_OPEN_BOUNCE};
    odio_file *file;
    CHECK(odio_file_open(argv[1], &open, &file) == 0);
    odio_file_info info = {.size = sizeof info};
    CHECK(odio_file_get_info(file, &info) == 0 && info.cache == ODIO_CACHE_DIRECT);

    char *model = calloc(1, SIZE), *memory = malloc(SIZE + 1);
    CHECK(model != NULL && memory != NULL);
    /* Each write is longer than its step, so that they patch one another; odd, so that none is aligned. */
    for (size_t at = 0, number = 1; at + 1001 <= SIZE; at += 777, number++) {
        memset(memory + 1, (int)number, 1001);
        memset(model + at, (int)number, 1001);
        CHECK(odio_file_write(file, memory + 1, 1001, at) == 1001);
        CHECK(odio_file_size(file) == (int64_t)at + 1001);
    }
    size_t size = (size_t)odio_file_size(file);
    CHECK(odio_file_read(file, memory + 1, SIZE, 0) == (ssize_t)size);
    CHECK(memcmp(memory + 1, model, size) == 0);
    CHECK(odio_file_read(file, memory, 10, 4094) == 10);
    CHECK(memcmp(memory, model + 4094, 10) == 0);
    CHECK(odio_file_read(file, memory, 10, size) == 0);

    struct iovec pieces[2] = {{memory, 3}, {memory + 100, 5}};
    memset(memory, 'p', 200);
    memset(model + 511, 'p', 8);
    CHECK(odio_file_writev(file, pieces, 2, 511, 0) == 8);
    CHECK(odio_file_writev(file, pieces, 2, 511, ODIO_RWF_NOWAIT) == -EINVAL);

    /* The copy is made by this process, so no kernel says that there is nothing at NULL. A piece of no bytes is none. */
    struct iovec nowhere[2] = {{memory, 3}, {NULL, 5}}, none[2] = {{memory, 3}, {NULL, 0}};
    odio_queue *queue;
    odio_completion done;
    CHECK(odio_queue_new(NULL, &queue) == 0);
    CHECK(odio_file_readv(file, nowhere, 2, 511, 0) == -EINVAL);
    CHECK_SAYS("vectors[1].iov_base is NULL");
    CHECK(odio_file_writev(file, nowhere, 2, 511, 0) == -EINVAL);
    CHECK(odio_queue_readv(queue, file, nowhere, 2, 511, 0, 1) == -EINVAL);
    CHECK(odio_queue_writev(queue, file, nowhere + 1, 1, 511, 0, 1) == -EINVAL);
    CHECK_SAYS("vectors[0].iov_base is NULL");
    CHECK(odio_file_readv(file, none, 2, 511, 0) == 3);
    CHECK(odio_queue_readv(queue, file, none, 2, 511, 0, 1) == 0);
    CHECK(odio_queue_wait(queue, &done, 1, 1, -1) == 1 && done.result == 3);
    CHECK(odio_queue_readv(queue, file, none + 1, 1, 512, 0, 1) == 0);
    CHECK(odio_queue_wait(queue, &done, 1, 1, -1) == 1 && done.result == 0);
    /* A count past the limits is refused without a look at what is not there. */
    CHECK(odio_file_readv(file, nowhere, 1025, 511, 0) == -EINVAL);
    CHECK_SAYS("1025");
    CHECK(odio_queue_readv(queue, file, nowhere, 17, 511, 0, 1) == -EINVAL);
    CHECK_SAYS("17 pieces");
    CHECK(odio_queue_free(queue) == 0);
    CHECK(odio_file_close(file) == 0);

    FILE *stream = fopen(argv[1], "r");
    CHECK(stream != NULL && fread(memory, 1, SIZE, stream) == size);
    CHECK(memcmp(memory, model, size) == 0);
    fclose(stream);
    free(model);
    free(memory);
    return 0;
}
