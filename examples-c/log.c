/*
 * log FILE COUNT: a write-ahead log. Makes FILE durably, allocates ahead, appends COUNT records, each durable when its
 * completion says so, and reads the log back up to the first block that is not a record.
 *
 * What logs get wrong: a new file that is not in its directory after a crash; appends that extend the file, so that the
 * call that hands them over waits; and an acknowledgement before the sync. Here write and sync are one request.
 *
 * Build it with: cc -std=c11 log.c $(pkg-config --cflags --libs odio) -o log
 */
#include <odio.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK = 4096, AHEAD = 64 * BLOCK };

/* One block, so that each record is written whole past the page cache and none shares a block with another. */
struct record {
    uint64_t number; /* From 1: blocks that were only allocated read as zeros. */
    uint64_t checksum;
    char text[BLOCK - 16];
};

static int fail(const char *what)
{
    fprintf(stderr, "log: %s: %s\n", what, odio_last_error());
    return -1;
}

/* FNV-1a over the number and the text: a block that a crash left half written is not taken for a record. */
static uint64_t checksum(const struct record *record)
{
    uint64_t sum = UINT64_C(0xcbf29ce484222325) ^ record->number;
    for (size_t i = 0; i < sizeof record->text; i++)
        sum = (sum ^ (unsigned char)record->text[i]) * UINT64_C(0x100000001b3);
    return sum;
}

/* Appends one record. When it returns 0 the record outlasts a power cut. */
static int append(odio_queue *queue, odio_file *file, struct record *record, uint64_t number)
{
    uint64_t offset = (number - 1) * BLOCK;
    /* A stretch at a time. A record's sync then commits that its block is written now, and no size and no new block. */
    if (offset % AHEAD == 0 && (odio_file_allocate(file, offset, AHEAD) < 0 || odio_file_sync(file) < 0))
        return fail("allocate");

    memset(record, 0, sizeof *record);
    record->number = number;
    snprintf(record->text, sizeof record->text, "record %" PRIu64, number);
    record->checksum = checksum(record);

    struct iovec piece = {.iov_base = record, .iov_len = sizeof *record};
    odio_completion done;
    if (odio_queue_writev(queue, file, &piece, 1, offset, ODIO_RWF_THEN_DATASYNC, number) < 0 ||
        odio_queue_wait(queue, &done, 1, 1, -1) < 0)
        return fail("append");
    if (done.result < 0) {
        fprintf(stderr, "log: record %" PRIu64 ": %s\n", number, strerror((int)-done.result));
        return -1;
    }
    return 0;
}

/* Counts the records that are there, as a program would after a crash; -1 on an error. */
static int64_t replay(odio_file *file, struct record *record)
{
    for (uint64_t number = 1;; number++) {
        ssize_t got = odio_file_read(file, record, sizeof *record, (number - 1) * BLOCK);
        if (got < 0)
            return fail("replay");
        if (got < (ssize_t)sizeof *record || record->number != number || record->checksum != checksum(record))
            return (int64_t)number - 1;
    }
}

int main(int argc, char **argv)
{
    uint64_t count = argc == 3 ? strtoull(argv[2], NULL, 10) : 0;
    if (count == 0)
        return fputs("usage: log FILE COUNT\n", stderr), 2;

    /* The syncs are asked for one by one, so the open promises nothing for each write. */
    odio_open_options open = {.size = sizeof open,
                              .sync = ODIO_SYNC_NONE,
                              .flags = ODIO_OPEN_WRITE | ODIO_OPEN_CREATE | ODIO_OPEN_CREATE_DURABLY |
                                       ODIO_OPEN_TRUNCATE};
    odio_file *file = NULL;
    odio_queue *queue = NULL;
    void *memory = NULL;
    uint64_t appended = 0;
    int64_t found = -1;
    if (odio_file_open(argv[1], &open, &file) < 0 || odio_queue_new(NULL, &queue) < 0 ||
        odio_buffer_new(file, sizeof(struct record), &memory) < 0) {
        fail(argv[1]);
    } else {
        while (appended < count && append(queue, file, memory, appended + 1) == 0)
            appended++;
        found = replay(file, memory);
        printf("%" PRIu64 " records appended, %" PRId64 " found\n", appended, found);
    }

    /* First: it waits for whatever still uses the memory, which is not released where that cannot be said. */
    if (odio_queue_free(queue) < 0)
        return fail("queue"), EXIT_FAILURE;
    odio_buffer_free(memory);
    if (odio_file_close(file) < 0)
        return fail("close"), EXIT_FAILURE;
    return appended == count && found == (int64_t)count ? EXIT_SUCCESS : EXIT_FAILURE;
}
