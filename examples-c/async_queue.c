/*
 * async_queue FILE ENGINE: writes sixteen blocks at once and collects the completions by polling, then reads them back
 * at once and has each completion handed to a callback.
 *
 * Build it with: cc -std=c11 async_queue.c $(pkg-config --cflags --libs odio) -o async_queue
 */
#include <odio.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCKS = 16, SIZE = 4096 };

struct progress {
    unsigned char *memory;
    int good;
    int bad;
};

static int fail(const char *what)
{
    fprintf(stderr, "async_queue: %s: %s\n", what, odio_last_error());
    return -1;
}

/* What every completion has to be asked: were all the bytes moved? */
static void check(const odio_completion *done, struct progress *progress)
{
    if (done->result == SIZE) {
        progress->good++;
    } else {
        progress->bad++;
        fprintf(stderr, "async_queue: block %" PRIu64 ": %s\n", done->user_data,
                done->result < 0 ? strerror((int)-done->result) : "moved in part");
    }
}

static void on_read(const odio_completion *done, void *context)
{
    struct progress *progress = context;
    check(done, progress);
    /* user_data says which block this is, for completions come in any order. */
    if (done->result == SIZE && progress->memory[done->user_data * SIZE] != (unsigned char)(done->user_data + 1))
        fprintf(stderr, "async_queue: block %" PRIu64 " is not what was written\n", done->user_data), progress->bad++;
}

static int write_all(odio_queue *queue, odio_file *file, struct progress *progress)
{
    for (uint64_t i = 0; i < BLOCKS; i++) {
        memset(progress->memory + i * SIZE, (int)i + 1, SIZE);
        if (odio_queue_write(queue, file, progress->memory + i * SIZE, SIZE, i * SIZE, i) < 0)
            return -1;
    }
    /* The first poll hands all of them over; a program with other work would do it between polls. */
    while (progress->good + progress->bad < BLOCKS) {
        odio_completion done[BLOCKS];
        int count = odio_queue_poll(queue, done, BLOCKS);
        if (count < 0)
            return -1;
        for (int i = 0; i < count; i++)
            check(&done[i], progress);
    }
    return 0;
}

static int read_all(odio_queue *queue, odio_file *file, struct progress *progress)
{
    memset(progress->memory, 0, BLOCKS * SIZE);
    for (uint64_t i = 0; i < BLOCKS; i++)
        if (odio_queue_read(queue, file, progress->memory + i * SIZE, SIZE, i * SIZE, i) < 0)
            return -1;
    while (progress->good + progress->bad < BLOCKS)
        if (odio_queue_dispatch(queue, 1, -1, on_read, progress) < 0)
            return -1;
    return 0;
}

int main(int argc, char **argv)
{
    odio_queue_options setup = {.size = sizeof setup, .depth = BLOCKS};
    odio_open_options open = {.size = sizeof open,
                              .sync = ODIO_SYNC_NONE,
                              .flags = ODIO_OPEN_WRITE | ODIO_OPEN_CREATE | ODIO_OPEN_TRUNCATE};
    if (argc != 3 || odio_queue_options_set_engine(&setup, argv[2]) < 0)
        return fputs("usage: async_queue FILE (psync | libaio | io_uring)\n", stderr), 2;

    odio_file *file = NULL;
    odio_queue *queue = NULL;
    void *memory = NULL;
    int status = EXIT_FAILURE;
    if (odio_file_open(argv[1], &open, &file) < 0 || odio_queue_new(&setup, &queue) < 0 ||
        odio_buffer_new(file, BLOCKS * SIZE, &memory) < 0) {
        fail(argv[1]);
    } else {
        struct progress writes = {.memory = memory}, reads = {.memory = memory};
        /* The mode promises nothing at the acknowledgement, so a sync ends the writing. */
        if (write_all(queue, file, &writes) < 0 || odio_file_datasync(file) < 0 || read_all(queue, file, &reads) < 0)
            fail(argv[1]);
        printf("%d blocks written, %d read back\n", writes.good, reads.good);
        if (writes.good == BLOCKS && reads.good == BLOCKS && reads.bad == 0)
            status = EXIT_SUCCESS;
    }

    /* First: it waits for whatever still uses the memory, which is not released where that cannot be said. */
    if (odio_queue_free(queue) < 0)
        return fail("queue"), EXIT_FAILURE;
    odio_buffer_free(memory);
    if (odio_file_close(file) < 0)
        status = EXIT_FAILURE, fail("close");
    return status;
}
