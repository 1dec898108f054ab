/* device DEVICE free|mounted: a block device of 8 MiB that nobody uses, or one that is mounted. */
#include "check.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define BLOCK 4096

static int opened(const char *path, uint32_t flags, odio_file **file)
{
    odio_open_options open = {.size = sizeof open, .sync = ODIO_SYNC_NONE, .flags = flags};
    return odio_file_open(path, &open, file);
}

static int all(const char *memory, size_t length, char value)
{
    while (length > 0 && memory[length - 1] == value)
        length--;
    return length == 0;
}

/* Whoever still has the descriptor of the requests, as the kernel may, does not keep the device held. */
static void free_when_closed(const char *path)
{
    enum { END = 64 };
    odio_file *file;
    int copy = -1;
    CHECK(opened(path, ODIO_OPEN_WRITE, &file) == 0);
    for (int fd = 0; fd < END && copy < 0; fd++) {
        int flags = fcntl(fd, F_GETFL);
        if (flags >= 0 && (flags & O_DIRECT) != 0)
            copy = dup(fd);
    }
    CHECK(copy >= 0);
    CHECK(odio_file_close(file) == 0);
    CHECK(opened(path, ODIO_OPEN_WRITE, &file) == 0);
    CHECK(odio_file_close(file) == 0);
    CHECK(close(copy) == 0);
}

static void unused(const char *path)
{
    odio_file *file, *other;
    void *buffer;
    CHECK(opened(path, ODIO_OPEN_WRITE, &file) == 0);
    CHECK(odio_file_size(file) == 8 << 20);
    CHECK(odio_buffer_new(file, 4 * BLOCK, &buffer) == 0);
    char *memory = buffer;
    memset(memory, 7, 4 * BLOCK);
    CHECK(odio_file_write(file, memory, 4 * BLOCK, 0) == 4 * BLOCK);
    CHECK(odio_file_punch_hole(file, 0, BLOCK) == 0);
    CHECK(odio_file_zero_range(file, 2 * BLOCK, BLOCK) == 0);
    CHECK(odio_file_read(file, memory, 4 * BLOCK, 0) == 4 * BLOCK);
    CHECK(all(memory, BLOCK, 0) && all(memory + BLOCK, BLOCK, 7));
    CHECK(all(memory + 2 * BLOCK, BLOCK, 0) && all(memory + 3 * BLOCK, BLOCK, 7));

    CHECK(odio_file_punch_hole(file, 1, BLOCK) == -EINVAL);
    CHECK_SAYS("in logical blocks of");
    CHECK(odio_file_allocate(file, 0, BLOCK) == -EOPNOTSUPP);
    CHECK_SAYS("a block device has all of its blocks");
    CHECK(odio_file_allocate_keep_size(file, 0, BLOCK) == -EOPNOTSUPP);
    CHECK(odio_file_truncate(file, BLOCK) == -EINVAL);
    CHECK_SAYS("the size of a block device is the device's");
    CHECK(odio_file_read(file, memory, BLOCK, 8 << 20) == 0);
    CHECK(odio_file_write(file, memory, BLOCK, 8 << 20) == -ENOSPC);

    /* Held by this handle. */
    CHECK(opened(path, ODIO_OPEN_WRITE, &other) == -EBUSY);
    CHECK_SAYS("mounted or held by another");
    CHECK(opened(path, 0, &other) == 0);
    CHECK(odio_file_close(other) == 0);
    CHECK(opened(path, ODIO_OPEN_WRITE | ODIO_OPEN_SHARED_DEVICE, &other) == 0);
    CHECK(odio_file_close(other) == 0);
    CHECK(odio_file_close(file) == 0);
    free_when_closed(path);

    CHECK(opened(path, ODIO_OPEN_WRITE | ODIO_OPEN_CREATE | ODIO_OPEN_BOUNCE, &file) == 0);
    CHECK(odio_file_write(file, "patched", 7, BLOCK - 3) == 7);
    CHECK(odio_file_write(file, "end", 3, (8 << 20) - 3) == 3);
    CHECK(odio_file_write(file, "past it", 7, (8 << 20) - 3) == -ENOSPC);
    char back[16];
    CHECK(odio_file_read(file, back, sizeof back, BLOCK - 4) == sizeof back);
    CHECK(memcmp(back, "\0patched\7\7\7\7\7\7\7\7", sizeof back) == 0);
    CHECK(odio_file_read(file, back, sizeof back, (8 << 20) - 3) == 3);
    CHECK(odio_file_size(file) == 8 << 20);
    CHECK(odio_file_close(file) == 0);
    odio_buffer_free(buffer);
}

static void mounted(const char *path)
{
    odio_file *file;
    CHECK(opened(path, ODIO_OPEN_WRITE, &file) == -EBUSY && file == NULL);
    CHECK_SAYS("mounted");
    CHECK(opened(path, 0, &file) == 0);
    CHECK(odio_file_close(file) == 0);
}

int main(int argc, char **argv)
{
    CHECK(argc == 3);
    if (strcmp(argv[2], "free") == 0)
        unused(argv[1]);
    else
        mounted(argv[1]);
    return 0;
}
