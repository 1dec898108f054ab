/*
 * nowait DEVICE ...: a device with few requests of its own and slow answers, so that requests with ODIO_RWF_NOWAIT are
 * refused. One that was refused moved nothing, and the same without the flag all go well.
 *
 * exhausted DIRECTORY ... MOST: fs.aio-max-nr is MOST. What exceeds it is refused by that name, and had by waiting.
 */
#include "faults.h"

#include <errno.h>

enum { BLOCK = 4096, DEPTH = 256, SIZE = DEPTH * BLOCK };

/* A batch of one-block requests with flags. */
static void batch(odio_queue *queue, odio_file *file, bool is_write, unsigned char *memory, uint32_t flags,
                  int64_t *results)
{
    for (uint32_t i = 0; i < DEPTH; i++) {
        struct iovec piece = {.iov_base = memory + (size_t)i * BLOCK, .iov_len = BLOCK};
        uint64_t offset = (uint64_t)i * BLOCK;
        CHECK((is_write ? odio_queue_writev(queue, file, &piece, 1, offset, flags, i)
                        : odio_queue_readv(queue, file, &piece, 1, offset, flags, i)) == 0);
    }
    /* One more is refused here, and nothing of it is taken in. */
    CHECK(odio_queue_read(queue, file, memory, BLOCK, 0, DEPTH) == -EAGAIN);
    collect_each_once(queue, DEPTH, results);
}

void refused_nowait(char **words)
{
    (void)words;
    odio_file *file = open_empty("");
    odio_queue *queue = new_queue(DEPTH);
    unsigned char *memory = new_memory(file, SIZE), *expected = malloc(SIZE);
    int64_t results[DEPTH];
    CHECK(expected != NULL);
    uint32_t refused[2] = {0}, moved[2] = {0};
    for (uint64_t round = 0; round < 4; round++) {
        fill(memory, SIZE, round);
        memcpy(expected, memory, SIZE);
        batch(queue, file, true, memory, 0, results);
        for (uint32_t i = 0; i < DEPTH; i++)
            CHECK(results[i] == BLOCK);

        fill(memory, SIZE, 100 + round);
        batch(queue, file, true, memory, ODIO_RWF_NOWAIT, results);
        for (size_t i = 0; i < DEPTH; i++) {
            CHECK(results[i] == BLOCK || results[i] == -EAGAIN);
            ++*(results[i] == BLOCK ? moved : refused);
            if (results[i] == BLOCK)
                memcpy(expected + i * BLOCK, memory + i * BLOCK, BLOCK);
        }
        memset(memory, 0xa5, SIZE);
        batch(queue, file, false, memory, 0, results);
        for (size_t i = 0; i < DEPTH; i++)
            CHECK(results[i] == BLOCK);
        CHECK(memcmp(memory, expected, SIZE) == 0);

        memset(memory, 0xa5, SIZE);
        batch(queue, file, false, memory, ODIO_RWF_NOWAIT, results);
        for (size_t i = 0; i < DEPTH; i++) {
            CHECK(results[i] == BLOCK || results[i] == -EAGAIN);
            ++(results[i] == BLOCK ? moved : refused)[1];
            CHECK(results[i] != BLOCK || memcmp(memory + i * BLOCK, expected + i * BLOCK, BLOCK) == 0);
        }
    }
    printf("writes: %u moved, %u refused; reads: %u moved, %u refused\n", moved[0], refused[0], moved[1], refused[1]);
    CHECK(moved[0] > 0 && refused[0] > 0 && moved[1] > 0 && refused[1] > 0);
    CHECK(odio_file_sync(file) == 0);
    CHECK(odio_queue_free(queue) == 0);
    CHECK(odio_file_close(file) == 0);
    check_content("", expected, SIZE);
    odio_buffer_free(memory);
    free(expected);
}

/* A queue of the engine `engine`, or its errno. */
static int try_queue(uint32_t engine, uint32_t depth, odio_queue **queue)
{
    odio_queue_options options = {.size = sizeof options, .engine = engine, .depth = depth};
    return odio_queue_new(&options, queue);
}

void exhausted_contexts(char **words)
{
    uint32_t most = (uint32_t)strtoul(words[0], NULL, 10);
    odio_queue *all, *other;
    CHECK(try_queue(ODIO_ENGINE_LIBAIO, 4 * most, &other) == -EAGAIN && other == NULL);
    CHECK_SAYS("aio-max-nr");
    CHECK(try_queue(ODIO_ENGINE_LIBAIO, most, &all) == 0);
    for (int i = 0; i < 1000; i++) {
        CHECK(try_queue(ODIO_ENGINE_LIBAIO, most, &other) == -EAGAIN && other == NULL);
        CHECK_SAYS("aio-max-nr");
    }
    CHECK(try_queue(subject.engine, 32, &other) == (subject.engine == ODIO_ENGINE_LIBAIO ? -EAGAIN : 0));
    CHECK(odio_queue_free(other) == 0);
    /* The one that there is goes on. */
    odio_file *file = open_empty("exhausted");
    unsigned char *memory = new_memory(file, 16 * BLOCK);
    int64_t results[16];
    fill(memory, 16 * BLOCK, 1);
    take_in_blocks(all, file, true, memory, BLOCK, 0, 16);
    collect_each_once(all, 16, results);
    for (int i = 0; i < 16; i++)
        CHECK(results[i] == BLOCK);
    CHECK(odio_queue_free(all) == 0);
    /* Given back, it can be had again. */
    CHECK(try_queue(ODIO_ENGINE_LIBAIO, most, &all) == 0);
    CHECK(odio_queue_free(all) == 0);
    CHECK(odio_file_close(file) == 0);
    check_content("exhausted", memory, 16 * BLOCK);
    odio_buffer_free(memory);
}
