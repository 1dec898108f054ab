/* vectors FILE TMPFS_FILE: pieces of memory in one request, its flags, and what is pushed out by range. */
#include "check.h"

#include <errno.h>
#include <stdint.h>

#define BLOCK 4096

static odio_file *opened(const char *path, uint32_t direct)
{
    odio_open_options open = {.size = sizeof open,
                              .direct = direct,
                              .sync = ODIO_SYNC_NONE,
                              .flags = ODIO_OPEN_WRITE | ODIO_OPEN_CREATE | ODIO_OPEN_TRUNCATE};
    odio_file *file;
    CHECK(odio_file_open(path, &open, &file) == 0);
    return file;
}

static void pieces(const char *path)
{
    odio_file *file = opened(path, ODIO_DIRECT_REQUIRED);
    void *memory;
    CHECK(odio_buffer_new(file, 4 * BLOCK, &memory) == 0);
    char *bytes = memory;
    memset(bytes, 'a', BLOCK);
    memset(bytes + BLOCK, 'b', 2 * BLOCK);
    struct iovec list[2] = {{bytes + BLOCK, 2 * BLOCK}, {bytes, BLOCK}};
    CHECK(odio_file_writev(file, list, 2, BLOCK, ODIO_RWF_THEN_DATASYNC) == 3 * BLOCK);
    CHECK(odio_file_size(file) == 4 * BLOCK);
    CHECK(odio_file_writev(file, list, 2, BLOCK, ODIO_RWF_DSYNC) == 3 * BLOCK);
    CHECK(odio_file_writev(file, NULL, 0, 0, 0) == 0);

    memset(bytes, 'x', 4 * BLOCK);
    struct iovec back[2] = {{bytes + 2 * BLOCK, 2 * BLOCK}, {bytes, 2 * BLOCK}};
    CHECK(odio_file_readv(file, back, 2, BLOCK, 0) == 3 * BLOCK);
    CHECK(bytes[2 * BLOCK] == 'b' && bytes[4 * BLOCK - 1] == 'b');
    CHECK(bytes[0] == 'a' && bytes[BLOCK - 1] == 'a');

    CHECK(odio_file_readv(file, back, -1, 0, 0) == -EINVAL);
    CHECK_SAYS("count is -1");
    CHECK(odio_file_readv(file, back, 1025, 0, 0) == -EINVAL);
    CHECK_SAYS("number of vectors 1025 is too large; at most 1024; source: IOV_MAX");
    CHECK(odio_file_readv(file, NULL, 1, 0, 0) == -EINVAL);
    CHECK_SAYS("vectors is NULL");
    CHECK(odio_file_writev(file, list, 2, 0, 128) == -EINVAL);
    CHECK_SAYS("0x80");
    CHECK(odio_file_readv(file, back, 2, 0, ODIO_RWF_SYNC) == -EINVAL);
    CHECK_SAYS("SYNC means nothing for a read");
    struct iovec odd[2] = {{bytes, BLOCK}, {bytes + BLOCK + 1, BLOCK}};
    CHECK(odio_file_writev(file, odd, 2, 0, 0) == -EINVAL);
    CHECK_SAYS("buffer address");

    odio_limits limits = {.size = sizeof limits};
    CHECK(odio_file_limits(file, &limits) == 0);
    if (limits.atomic_write_max == 0) {
        CHECK(odio_file_writev(file, list, 1, 0, ODIO_RWF_ATOMIC) == -EOPNOTSUPP);
        CHECK_SAYS("statx WRITE_ATOMIC names no length");
    } else {
        struct iovec one = {bytes, limits.atomic_write_min};
        CHECK(odio_file_writev(file, &one, 1, 0, ODIO_RWF_ATOMIC) == (ssize_t)one.iov_len);
    }

    ssize_t got = odio_file_readv(file, back, 2, 0, ODIO_RWF_NOWAIT);
    CHECK(got > 0 || got == -EAGAIN);
    odio_buffer_free(memory);
    CHECK(odio_file_close(file) == 0);
}

static void ranges(const char *path)
{
    odio_file *file = opened(path, ODIO_DIRECT_OFF);
    char text[10000] = {1};
    CHECK(odio_file_write(file, text, sizeof text, 3) == sizeof text);
    CHECK(odio_file_sync_range(file, 3, sizeof text) == 0);
    CHECK(odio_file_sync_range(file, 0, 0) == 0);
    CHECK(odio_file_sync_range(file, UINT64_MAX, 1) == -EINVAL);
    CHECK(odio_file_sync_range(NULL, 0, 0) == -EINVAL);
    CHECK(odio_file_close(file) == 0);
}

static void missing(const char *path)
{
    odio_file *file = opened(path, ODIO_DIRECT_OFF);
    char byte = 1;
    struct iovec one = {&byte, 1};
    CHECK(odio_file_writev(file, &one, 1, 5, ODIO_RWF_DONTCACHE) == -EOPNOTSUPP);
    CHECK_SAYS("tmpfs may have none");
    CHECK(odio_file_writev(file, &one, 1, 5, ODIO_RWF_ATOMIC) == -EOPNOTSUPP);
    CHECK(odio_file_size(file) == 0);
    CHECK(odio_file_writev(file, &one, 1, 5, ODIO_RWF_SYNC) == 1);
    CHECK(odio_file_size(file) == 6);
    CHECK(odio_file_close(file) == 0);
}

int main(int argc, char **argv)
{
    CHECK(argc == 3);
    pieces(argv[1]);
    ranges(argv[1]);
    missing(argv[2]);
    return 0;
}
