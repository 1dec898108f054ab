/* whole FILE read|write|pread|pwrite COUNT: so many aligned transfers of 4 KiB, by odio or without it, to be counted. */
#define _GNU_SOURCE
#include "check.h"

#include <unistd.h>

#define BLOCK 4096

int main(int argc, char **argv)
{
    CHECK(argc == 4);
    odio_open_options open = {.size = sizeof open,
                              .sync = ODIO_SYNC_NONE,
                              .flags = ODIO_OPEN_WRITE | ODIO_OPEN_CREATE};
    odio_file *file;
    void *memory;
    CHECK(odio_file_open(argv[1], &open, &file) == 0);
    CHECK(odio_buffer_new(file, BLOCK, &memory) == 0);
    CHECK(odio_file_write(file, memory, BLOCK, 0) == BLOCK);
    int fd = odio_file_descriptor(file);
    long count = atol(argv[3]);
    if (strcmp(argv[2], "read") == 0)
        while (count-- > 0)
            CHECK(odio_file_read(file, memory, BLOCK, 0) == BLOCK);
    else if (strcmp(argv[2], "write") == 0)
        while (count-- > 0)
            CHECK(odio_file_write(file, memory, BLOCK, 0) == BLOCK);
    else if (strcmp(argv[2], "pread") == 0)
        while (count-- > 0)
            CHECK(pread(fd, memory, BLOCK, 0) == BLOCK);
    else
        while (count-- > 0)
            CHECK(pwrite(fd, memory, BLOCK, 0) == BLOCK);
    odio_buffer_free(memory);
    return odio_file_close(file) == 0 ? 0 : 1;
}
