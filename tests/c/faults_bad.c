/*
 * bad DEVICE ... FIRST COUNT READ WRITE: a device of which COUNT sectors from FIRST on are bad, and no others. Reads of
 * them end in the errno READ, writes in WRITE; `none` where they go well. The first of them lies in the block 10 to 20.
 *
 * Who asked for a bad sector is told, whatever else is in the batch or in his request, and nobody else.
 */
#include "faults.h"

#include <errno.h>

enum { BLOCK = 4096, BATCH = 64, SIZE = BATCH * BLOCK, SECTOR = 512 };

static uint64_t bad_begin, bad_end;

static bool is_bad(uint64_t offset, size_t length)
{
    return offset < bad_end && bad_begin < offset + length;
}

/* All blocks as one batch of requests of `length` bytes; those that touch a bad sector end in `failure`. */
static void one_batch(odio_queue *queue, odio_file *file, bool is_write, unsigned char *memory, size_t length,
                      int64_t failure)
{
    uint32_t count = (uint32_t)(SIZE / length), failed = 0;
    int64_t results[BATCH];
    take_in_blocks(queue, file, is_write, memory, length, 0, count);
    collect_each_once(queue, count, results);
    for (uint32_t i = 0; i < count; i++) {
        bool fails = failure != 0 && is_bad(i * length, length);
        CHECK(results[i] == (fails ? failure : (int64_t)length));
        failed += fails;
    }
    CHECK((failed > 0) == (failure != 0));
}

static void check_good_blocks(odio_file *file, const unsigned char *expected, unsigned char *found)
{
    for (uint64_t offset = 0; offset < SIZE; offset += BLOCK)
        if (!is_bad(offset, BLOCK)) {
            CHECK(odio_file_read(file, found, BLOCK, offset) == BLOCK);
            CHECK(memcmp(found, expected + offset, BLOCK) == 0);
        }
}

void bad_sectors(char **words)
{
    odio_file *file = open_empty("");
    odio_queue *queue = new_queue(BATCH);
    unsigned char *memory = new_memory(file, SIZE), *expected = malloc(SIZE);
    bool is_direct = unit_of(file) > 1;
    CHECK(expected != NULL && (is_direct || subject.sync == ODIO_SYNC_NONE));
    bad_begin = strtoull(words[0], NULL, 10) * SECTOR;
    bad_end = bad_begin + strtoull(words[1], NULL, 10) * SECTOR;
    CHECK(bad_begin >= 10 * BLOCK && bad_begin < 20 * BLOCK && bad_end < 32 * BLOCK);
    int64_t read_failure = -errno_of(words[2]), write_failure = -errno_of(words[3]);
    /* Through the page cache a read tells no more than EIO, and a write meets the device later. */
    if (!is_direct && read_failure != 0)
        read_failure = -EIO;
    int64_t told = is_direct ? write_failure : 0;

    const size_t lengths[] = {BLOCK, 4 * BLOCK, 32 * BLOCK};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        fill(memory, SIZE, i);
        memcpy(expected, memory, SIZE);
        one_batch(queue, file, true, memory, BLOCK, told);
        one_batch(queue, file, true, memory, lengths[i], told);
        if (!is_direct) {
            int64_t failure = write_failure == 0 ? 0 : -EIO;
            CHECK(odio_queue_sync(queue, file, 1) == 0);
            int64_t synced = result_of(queue, 1);
            CHECK(synced == failure);
            CHECK(odio_file_sync(file) == failure);
            CHECK(odio_file_acknowledge_sync_error(file) == failure);
        } else if (told != 0) {
            CHECK(odio_file_write(file, memory, SIZE, 0) == told);
        }
        if (is_direct) {
            memset(memory, 0, SIZE);
            one_batch(queue, file, false, memory, lengths[i], read_failure);
            if (read_failure != 0)
                CHECK(odio_file_read(file, memory, SIZE, 0) == read_failure);
            /* A large write or read that failed says nothing of its good part; these were written one by one as well. */
            one_batch(queue, file, true, memcpy(memory, expected, SIZE), BLOCK, told);
        }
        check_good_blocks(file, expected, memory);
    }
    /* A write that is durable by itself is a sync, whose failure sticks. */
    if (is_direct && write_failure != 0 && subject.sync != ODIO_SYNC_NONE)
        CHECK(odio_file_acknowledge_sync_error(file) == write_failure);
    CHECK(odio_file_sync(file) == 0);
    CHECK(odio_queue_free(queue) == 0);
    CHECK(odio_file_close(file) == 0);
    /* What the page cache holds is not the device: another time it is read from there. */
    if (!is_direct) {
        file = open_again("", 0);
        queue = new_queue(BATCH);
        one_batch(queue, file, false, memory, BLOCK, read_failure);
        CHECK(odio_queue_free(queue) == 0);
        check_good_blocks(file, expected, memory);
        CHECK(odio_file_close(file) == 0);
    }
    odio_buffer_free(memory);
    free(expected);
}
