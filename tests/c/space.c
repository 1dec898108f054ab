/* space FILE TMPFS_FILE: allocates, punches, zeroes and cuts FILE; TMPFS_FILE is on a filesystem that lacks a call. */
#include "check.h"

#include <errno.h>
#include <stdint.h>
#include <sys/stat.h>

#define BLOCK 4096

static int64_t allocated(const odio_file *file)
{
    struct stat stat;
    CHECK(fstat(odio_file_descriptor(file), &stat) == 0);
    return (int64_t)stat.st_blocks * 512;
}

/* Whether bytes from begin to end of the file are all value. */
static int is(const odio_file *file, char *memory, size_t begin, size_t end, char value)
{
    CHECK(odio_file_read(file, memory, 16 * BLOCK, 0) >= (ssize_t)end);
    while (begin < end && memory[begin] == value)
        begin++;
    return begin == end;
}

static void works(const char *path)
{
    odio_open_options open = {.size = sizeof open,
                              .sync = ODIO_SYNC_NONE,
                              .flags = ODIO_OPEN_WRITE | ODIO_OPEN_CREATE | ODIO_OPEN_TRUNCATE};
    odio_file *file;
    void *memory;
    CHECK(odio_file_open(path, &open, &file) == 0);
    CHECK(odio_buffer_new(file, 16 * BLOCK, &memory) == 0);

    CHECK(odio_file_allocate_keep_size(file, 0, 16 * BLOCK) == 0);
    CHECK(odio_file_size(file) == 0 && allocated(file) >= 16 * BLOCK);
    CHECK(odio_file_allocate(file, 0, 16 * BLOCK) == 0);
    CHECK(odio_file_size(file) == 16 * BLOCK);
    CHECK(is(file, memory, 0, 16 * BLOCK, 0));

    memset(memory, 7, 16 * BLOCK);
    CHECK(odio_file_write(file, memory, 16 * BLOCK, 0) == 16 * BLOCK);
    CHECK(odio_file_sync(file) == 0);
    int64_t full = allocated(file);
    /* Two of the five blocks are covered in part and stay. */
    CHECK(odio_file_punch_hole(file, BLOCK + 1, 4 * BLOCK) == 0);
    CHECK(full - allocated(file) == 3 * BLOCK);
    CHECK(is(file, memory, 0, BLOCK + 1, 7));
    CHECK(is(file, memory, BLOCK + 1, 5 * BLOCK + 1, 0));
    CHECK(is(file, memory, 5 * BLOCK + 1, 16 * BLOCK, 7));

    CHECK(odio_file_zero_range(file, 8 * BLOCK - 1, 2) == 0);
    CHECK(is(file, memory, 5 * BLOCK + 1, 8 * BLOCK - 1, 7));
    CHECK(is(file, memory, 8 * BLOCK - 1, 8 * BLOCK + 1, 0));
    CHECK(is(file, memory, 8 * BLOCK + 1, 16 * BLOCK, 7));

    CHECK(odio_file_truncate(file, 10 * BLOCK + 5) == 0);
    CHECK(odio_file_size(file) == 10 * BLOCK + 5);
    CHECK(odio_file_truncate(file, 12 * BLOCK) == 0);
    CHECK(is(file, memory, 10 * BLOCK + 5, 12 * BLOCK, 0));

    CHECK(odio_file_punch_hole(file, 0, 0) == -EINVAL);
    CHECK_SAYS("punch hole of 0 bytes at offset 0");
    CHECK(odio_file_allocate(file, UINT64_MAX, 1) == -EINVAL);
    CHECK(odio_file_truncate(file, (uint64_t)INT64_MAX + 1) == -EINVAL);
    CHECK_SAYS("kernel loff_t");
    odio_buffer_free(memory);
    CHECK(odio_file_close(file) == 0);

    CHECK(odio_file_open(path, NULL, &file) == 0);
    CHECK(odio_file_truncate(file, 0) == -EBADF);
    CHECK(odio_file_punch_hole(file, 0, BLOCK) == -EBADF);
    CHECK(odio_file_zero_range(file, 0, BLOCK) == -EBADF);
    CHECK(odio_file_allocate_keep_size(file, 0, BLOCK) == -EBADF);
    CHECK(odio_file_size(file) == 12 * BLOCK);
    CHECK(odio_file_close(file) == 0);
    CHECK(odio_file_truncate(NULL, 0) == -EINVAL);
}

static void says_what_is_missing(const char *path)
{
    odio_open_options open = {.size = sizeof open,
                              .direct = ODIO_DIRECT_OFF,
                              .sync = ODIO_SYNC_NONE,
                              .flags = ODIO_OPEN_WRITE | ODIO_OPEN_CREATE};
    odio_file *file;
    CHECK(odio_file_open(path, &open, &file) == 0);
    CHECK(odio_file_zero_range(file, 0, BLOCK) == -EOPNOTSUPP);
    CHECK_SAYS("tmpfs has no zero range (FALLOC_FL_ZERO_RANGE)");
    CHECK(odio_file_allocate(file, 0, BLOCK) == 0);
    CHECK(odio_file_close(file) == 0);
}

int main(int argc, char **argv)
{
    CHECK(argc == 3);
    works(argv[1]);
    says_what_is_missing(argv[2]);
    return 0;
}
