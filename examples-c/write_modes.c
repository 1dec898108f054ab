/*
 * write_modes: writes blocks in a chosen mode, through a chosen engine, one at a time, and counts what was acknowledged.
 *
 * Run it under odio-trace to see where each write was when it was acknowledged.
 *
 * Build it with: cc -std=c11 write_modes.c $(pkg-config --cflags --libs odio) -o write_modes
 */
#include <odio.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "usage: write_modes FILE MODE ENGINE COUNT [SIZE] [SITUATION]\n"
    "\n"
    "  MODE       direct, direct+dsync, direct+sync, buffered, buffered+dsync or buffered+sync\n"
    "  ENGINE     psync, libaio or io_uring\n"
    "  COUNT      how many blocks to write, one after the other\n"
    "  SIZE       bytes in a block, 4096 unless given\n"
    "  SITUATION  what the writes land on:\n"
    "             append     FILE is emptied and grows with each write; this is the default\n"
    "             unwritten  FILE is emptied, then its blocks are allocated\n"
    "             overwrite  FILE is emptied, then its blocks are written\n"
    "\n"
    "FILE is made where there is none, and what it held is lost. What a situation prepares is synced before\n"
    "the writes that count.\n";

static int fail(const char *what)
{
    fprintf(stderr, "write_modes: %s: %s\n", what, odio_last_error());
    return -1;
}

/* Brings the file into the state that the writes are to find, durably. */
static int prepare(odio_file *file, const char *situation, const void *block, size_t size, uint64_t count)
{
    if (strcmp(situation, "unwritten") == 0 && odio_file_allocate(file, 0, count * size) < 0)
        return -1;
    if (strcmp(situation, "overwrite") == 0)
        for (uint64_t i = 0; i < count; i++)
            if (odio_file_write(file, block, size, i * size) < 0)
                return -1;
    return odio_file_sync(file);
}

/* Writes the blocks one at a time; returns how many bytes were acknowledged, and stops at the first that was not. */
static uint64_t write_blocks(odio_queue *queue, odio_file *file, const void *block, size_t size, uint64_t count)
{
    uint64_t acknowledged = 0;
    for (uint64_t i = 0; i < count; i++) {
        odio_completion done;
        if (odio_queue_write(queue, file, block, size, i * size, i) < 0 ||
            odio_queue_wait(queue, &done, 1, 1, -1) < 0) {
            fail("write");
            break;
        }
        if (done.result > 0)
            acknowledged += (uint64_t)done.result;
        if (done.result != (int64_t)size) {
            fprintf(stderr, "write_modes: block %" PRIu64 ": %" PRId64 " of %zu bytes%s%s\n", done.user_data,
                    done.result, size, done.result < 0 ? ": " : "",
                    done.result < 0 ? strerror((int)-done.result) : "");
            break;
        }
    }
    return acknowledged;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--help") == 0)
        return fputs(usage, stdout) < 0;
    uint64_t count = argc > 4 ? strtoull(argv[4], NULL, 10) : 0;
    size_t size = argc > 5 ? strtoull(argv[5], NULL, 10) : 4096;
    const char *situation = argc > 6 ? argv[6] : "append";
    if (argc < 5 || argc > 7 || count == 0 || size == 0 || count > INT64_MAX / size ||
        (strcmp(situation, "append") && strcmp(situation, "unwritten") && strcmp(situation, "overwrite")))
        return fputs(usage, stderr), 2;

    odio_open_options open = {.size = sizeof open,
                              .flags = ODIO_OPEN_WRITE | ODIO_OPEN_CREATE | ODIO_OPEN_TRUNCATE};
    odio_queue_options setup = {.size = sizeof setup, .depth = 1};
    if (odio_open_options_set_mode(&open, argv[2]) < 0 || odio_queue_options_set_engine(&setup, argv[3]) < 0)
        return fail("usage"), 2;

    odio_file *file = NULL;
    odio_queue *queue = NULL;
    void *block = NULL;
    uint64_t acknowledged = 0;
    if (odio_file_open(argv[1], &open, &file) < 0 || odio_queue_new(&setup, &queue) < 0 ||
        odio_buffer_new(file, size, &block) < 0) {
        fail(argv[1]);
    } else {
        memset(block, 'a', size);
        if (prepare(file, situation, block, size, count) < 0) {
            fail(situation);
        } else {
            memset(block, 'b', size);
            acknowledged = write_blocks(queue, file, block, size, count);
            printf("%" PRIu64 " bytes acknowledged\n", acknowledged);
        }
    }

    /* First: it waits for whatever still uses the block, which is not released where that cannot be said. */
    if (odio_queue_free(queue) < 0)
        return fail("queue"), EXIT_FAILURE;
    odio_buffer_free(block);
    if (odio_file_close(file) < 0)
        return fail("close"), EXIT_FAILURE;
    return acknowledged == count * size ? EXIT_SUCCESS : EXIT_FAILURE;
}
