/*
 * failing DEVICE ... GOOD ERRNO: a device that fails from the byte GOOD on, reads with EIO and direct writes with
 * ERRNO. GOOD is a multiple of 65536, with as much again behind it.
 *
 * flushing DEVICE ...: a device that takes writes at its beginning and fails each flush; without a sync of the mode.
 */
#include "faults.h"

#include <errno.h>

enum { BLOCK = 4096, BATCH = 64 };

/*
 * A batch half of whose blocks are good: the errno goes to the right ones, and the others have their bytes. With
 * `is_shared` the kernel tells a loss to any one of those that sync the file at that time
 * (file_check_and_advance_wb_err), so it is enough that one of them hears of it.
 */
static void mixed_batch(odio_queue *queue, odio_file *file, bool is_write, uint64_t good, int64_t failure,
                        bool is_shared)
{
    unsigned char *memory = new_memory(file, BATCH * BLOCK), expected[BATCH * BLOCK];
    int64_t results[BATCH];
    fill(memory, BATCH * BLOCK, 11);
    memcpy(expected, memory, sizeof expected);
    if (!is_write)
        for (int i = 0; i < BATCH; i += 2)
            CHECK(odio_file_write(file, memory + i * BLOCK, BLOCK, (uint64_t)i * BLOCK) == BLOCK);
    if (!is_write)
        memset(memory, 0, BATCH * BLOCK);
    for (uint32_t i = 0; i < BATCH; i++) {
        /* Every second one in the part that fails. */
        uint64_t offset = (uint64_t)i * BLOCK + (i % 2 == 1 ? good : 0);
        unsigned char *at = memory + (size_t)i * BLOCK;
        int result = is_write ? odio_queue_write(queue, file, at, BLOCK, offset, i)
                              : odio_queue_read(queue, file, at, BLOCK, offset, i);
        CHECK(result == 0);
    }
    collect_each_once(queue, BATCH, results);
    unsigned told = 0;
    for (int i = 0; i < BATCH; i++) {
        told += results[i] == failure;
        CHECK(results[i] == (i % 2 == 1 ? failure : BLOCK) || (is_shared && (results[i] == failure || results[i] == BLOCK)));
        if (i % 2 == 0) {
            memset(memory, 0, BLOCK);
            CHECK(odio_file_read(file, memory, BLOCK, (uint64_t)i * BLOCK) == BLOCK);
            CHECK(memcmp(memory, expected + i * BLOCK, BLOCK) == 0);
        }
    }
    CHECK(told > 0);
    odio_buffer_free(memory);
}

/* The failure was told once; it is told again until somebody says that he has heard it. */
static void check_sticks(odio_queue *queue, odio_file *file)
{
    CHECK(odio_file_sync(file) == -EIO);
    CHECK_SAYS("an earlier sync of this file failed: EIO");
    CHECK(odio_file_datasync(file) == -EIO);
    CHECK(odio_queue_sync(queue, file, 2) == -EIO);
    CHECK(odio_queue_datasync(queue, file, 3) == -EIO);
    odio_completion none;
    CHECK(odio_queue_wait(queue, &none, 1, 1, -1) == 0);
    CHECK(odio_file_acknowledge_sync_error(file) == -EIO);
    CHECK(odio_file_acknowledge_sync_error(file) == 0);
}

void failing_device(char **words)
{
    uint64_t good = strtoull(words[0], NULL, 10);
    int64_t write_failure = -errno_of(words[1]);
    odio_file *file = open_empty("");
    odio_queue *queue = new_queue(BATCH);
    bool is_direct = unit_of(file) > 1, is_durable = subject.sync != ODIO_SYNC_NONE;
    unsigned char *memory = new_memory(file, 2 * BLOCK);

    mixed_batch(queue, file, false, good, -EIO, false);
    /* A read into the part that fails is not the end of the file. */
    CHECK(odio_file_read(file, memory, BLOCK, good) == -EIO);
    CHECK(odio_queue_read(queue, file, memory, 2 * BLOCK, good - BLOCK, 1) == 0);
    CHECK(result_of(queue, 1) == -EIO);
    CHECK(odio_file_read(file, memory, 2 * BLOCK, good - BLOCK) == -EIO);

    /* A buffered write meets the device when it is synced: by itself, which is the write's failure, or later. */
    bool is_told_later = !is_direct && !is_durable;
    int64_t failure = is_told_later ? BLOCK : is_direct ? write_failure : -EIO;
    mixed_batch(queue, file, true, good, failure, !is_direct && is_durable);
    if (is_told_later) {
        CHECK(odio_queue_datasync(queue, file, 1) == 0);
        CHECK(result_of(queue, 1) == -EIO);
    }
    if (is_told_later || (is_durable && failure == -EIO))
        check_sticks(queue, file);
    if (!is_direct && is_durable) {
        /* One at a time it is told to the right one. */
        for (uint64_t i = 0; i < 6; i++) {
            CHECK(odio_queue_write(queue, file, memory, BLOCK, i * BLOCK + (i % 2 == 1 ? good : 0), i) == 0);
            CHECK(result_of(queue, i) == (i % 2 == 1 ? -EIO : BLOCK));
        }
        check_sticks(queue, file);
    }
    /* After that the good part goes on. */
    CHECK(odio_file_write(file, memory, BLOCK, 0) == BLOCK);
    CHECK(odio_queue_sync(queue, file, 1) == 0);
    int64_t synced = result_of(queue, 1);
    CHECK(synced == 0);

    /* A sync that nobody acknowledged is told by close. */
    if (is_told_later) {
        CHECK(odio_file_write(file, memory, BLOCK, good + BLOCK) == BLOCK);
        CHECK(odio_file_sync(file) == -EIO);
        CHECK(odio_queue_free(queue) == 0);
        CHECK(odio_file_close(file) == -EIO);
    } else {
        CHECK(odio_queue_free(queue) == 0);
        CHECK(odio_file_close(file) == 0);
    }
    odio_buffer_free(memory);
}

void failing_flush(char **words)
{
    (void)words;
    odio_file *file = open_empty("");
    odio_queue *queue = new_queue(1);
    unsigned char *memory = new_memory(file, BLOCK);
    for (uint64_t round = 0; round < 3; round++) {
        CHECK(odio_queue_write(queue, file, memory, BLOCK, round * BLOCK, 1) == 0);
        CHECK(result_of(queue, 1) == BLOCK);
        int result = round == 1 ? odio_queue_datasync(queue, file, 2) : odio_queue_sync(queue, file, 2);
        CHECK(result == 0);
        CHECK(result_of(queue, 2) == -EIO);
        check_sticks(queue, file);
    }
    CHECK(odio_file_sync(file) == -EIO);
    CHECK(odio_queue_free(queue) == 0);
    CHECK(odio_file_close(file) == -EIO);
    odio_buffer_free(memory);
}
