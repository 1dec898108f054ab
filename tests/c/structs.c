/* structs FILE: option and info structs of every size, and values that mean nothing. */
#include "check.h"

#include <errno.h>
#include <stdint.h>

/* What a program of tomorrow has: the struct of today and more. */
struct longer {
    odio_open_options known;
    uint32_t added;
    uint32_t added_too;
};

static int open_with(const char *path, const void *options)
{
    odio_file *file = (odio_file *)&file;
    int result = odio_file_open(path, options, &file);
    CHECK((result == 0) == (file != NULL));
    CHECK(odio_file_close(file) == 0);
    return result;
}

static void open_options(const char *path)
{
    struct longer options = {.known = {.size = sizeof options}};
    CHECK(open_with(path, &options) == 0);
    options.added_too = 1;
    CHECK(open_with(path, &options) == -E2BIG);
    CHECK_SAYS("is not zero");

    odio_open_options wrong = {.size = 0};
    CHECK(open_with(path, &wrong) == -EINVAL);
    CHECK_SAYS("struct size 0");
    wrong.size = (size_t)1 << 40;
    CHECK(open_with(path, &wrong) == -EINVAL);

    /* A program of yesterday, whose struct ended before flags: what is in memory there is not looked at. */
    odio_open_options shorter = {.size = offsetof(odio_open_options, flags), .flags = 0xffffffff};
    CHECK(open_with(path, &shorter) == 0);

    odio_open_options bits = {.size = sizeof bits, .flags = 0x80000000};
    CHECK(open_with(path, &bits) == -EINVAL);
    CHECK_SAYS("0x80000000");
    odio_open_options direct = {.size = sizeof direct, .direct = 3};
    CHECK(open_with(path, &direct) == -EINVAL);
    CHECK_SAYS("odio_direct");
    odio_open_options sync = {.size = sizeof sync, .sync = 3};
    CHECK(open_with(path, &sync) == -EINVAL);
    CHECK_SAYS("odio_sync");
    odio_open_options permissions = {.size = sizeof permissions, .permissions = 01777};
    CHECK(open_with(path, &permissions) == -EINVAL);
    odio_open_options alone = {.size = sizeof alone, .flags = ODIO_OPEN_CREATE};
    CHECK(open_with(path, &alone) == -EINVAL);
    CHECK_SAYS("create wants write");
    odio_open_options durable = {.size = sizeof durable, .flags = ODIO_OPEN_WRITE | ODIO_OPEN_CREATE_DURABLY};
    CHECK(open_with(path, &durable) == -EINVAL);
    CHECK_SAYS("create durably wants create");
}

static void modes(void)
{
    odio_open_options options = {.size = sizeof options, .flags = 5};
    CHECK(odio_open_options_set_mode(&options, "buffered+sync") == 0);
    CHECK(options.direct == ODIO_DIRECT_OFF && options.sync == ODIO_SYNC_SYNC && options.flags == 5);
    CHECK(odio_open_options_set_mode(&options, "direct") == 0);
    CHECK(options.direct == ODIO_DIRECT_REQUIRED && options.sync == ODIO_SYNC_NONE);
    CHECK(odio_open_options_set_mode(&options, "direct+fsync") == -EINVAL);
    CHECK_SAYS("direct+dsync");
    CHECK(options.sync == ODIO_SYNC_NONE);
    CHECK(odio_open_options_set_mode(&options, NULL) == -EINVAL);

    odio_queue_options queue = {.size = sizeof queue};
    CHECK(odio_queue_options_set_engine(&queue, "io_uring") == 0 && queue.engine == ODIO_ENGINE_IO_URING);
    CHECK(odio_queue_options_set_engine(&queue, "uring") == -EINVAL);
}

static void queue_options(void)
{
    odio_queue *queue = NULL;
    odio_queue_options engine = {.size = sizeof engine, .engine = 4};
    CHECK(odio_queue_new(&engine, &queue) == -EINVAL && queue == NULL);
    CHECK_SAYS("odio_engine");
    odio_queue_options depth = {.size = sizeof depth, .depth = 32769};
    CHECK(odio_queue_new(&depth, &queue) == -EINVAL);
    CHECK_SAYS("from 1 to 32768");
}

static void infos(const char *path)
{
    odio_file *file;
    CHECK(odio_file_open(path, NULL, &file) == 0);

    odio_file_info info = {.size = sizeof info};
    CHECK(odio_file_get_info(file, &info) == 0);
    CHECK(info.size == sizeof info && info.cache == ODIO_CACHE_DIRECT && info.sync == ODIO_SYNC_DSYNC);
    CHECK(strncmp(odio_file_reason(file), "direct: ", 8) == 0);

    struct {
        odio_limits known;
        uint64_t added;
    } limits = {.known = {.size = sizeof limits}};
    CHECK(odio_file_limits(file, &limits.known) == 0);
    CHECK(limits.known.size == sizeof limits);
    CHECK(limits.known.memory_align != 0 && limits.known.memory_align_source != ODIO_SOURCE_NONE);
    CHECK(strlen(limits.known.filesystem) > 0);
    CHECK(limits.known.read_offset_align != 0);
    CHECK(limits.known.read_offset_align <= limits.known.offset_align);
    CHECK(limits.known.preferred_size != 0 && limits.known.preferred_size_source != ODIO_SOURCE_NONE);
    CHECK(limits.known.overwrite_align >= limits.known.logical_block);
    CHECK(limits.known.max_size == 0 || limits.known.max_size_source == ODIO_SOURCE_SYSFS_QUEUE);
    CHECK((limits.known.atomic_write_max == 0) == (limits.known.atomic_write_source == ODIO_SOURCE_NONE));
    CHECK(limits.known.direct_proof == ODIO_PROOF_READ && limits.known.direct_proof_bytes > 0);
    limits.added = 1;
    CHECK(odio_file_limits(file, &limits.known) == -E2BIG);

    /* Only what the caller has room for is written. */
    odio_limits part = {.size = offsetof(odio_limits, offset_align), .offset_align = 77};
    CHECK(odio_file_limits(file, &part) == 0);
    odio_limits yesterday = {.size = offsetof(odio_limits, read_offset_align), .max_size = 77};
    CHECK(odio_file_limits(file, &yesterday) == 0);
    CHECK(yesterday.physical_block == limits.known.physical_block && yesterday.max_size == 77);
    CHECK(part.memory_align == limits.known.memory_align && part.offset_align == 77);

    CHECK(odio_file_limits(file, NULL) == -EINVAL);
    CHECK_SAYS("limits is NULL");
    CHECK(odio_file_close(file) == 0);
}

static void nulls(const char *path)
{
    odio_file *file;
    odio_completion done;
    CHECK(odio_file_open(path, NULL, NULL) == -EINVAL);
    CHECK(odio_file_open(NULL, NULL, &file) == -EINVAL && file == NULL);
    CHECK(odio_file_close(NULL) == 0);
    CHECK(odio_file_read(NULL, &done, 1, 0) == -EINVAL);
    CHECK(odio_file_size(NULL) == -EINVAL);
    CHECK(odio_file_sync(NULL) == -EINVAL);
    CHECK(odio_queue_new(NULL, NULL) == -EINVAL);
    CHECK(odio_queue_free(NULL) == 0);
    CHECK(odio_queue_submit(NULL) == -EINVAL);
    CHECK(odio_queue_poll(NULL, &done, 1) == -EINVAL);
    CHECK(odio_buffer_new(NULL, 1, NULL) == -EINVAL);
    CHECK(strcmp(odio_file_reason(NULL), "") == 0);
    odio_buffer_free(NULL);
}

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    open_options(argv[1]);
    modes();
    queue_options();
    infos(argv[1]);
    nulls(argv[1]);
    return 0;
}
