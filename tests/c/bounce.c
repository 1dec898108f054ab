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
    CHECK(odio_file_close(file) == 0);

    FILE *stream = fopen(argv[1], "r");
    CHECK(stream != NULL && fread(memory, 1, SIZE, stream) == size);
    CHECK(memcmp(memory, model, size) == 0);
    fclose(stream);
    free(model);
    free(memory);
    return 0;
}
