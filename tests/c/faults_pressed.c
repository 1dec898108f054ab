/*
 * pressed DIRECTORY ... MIB: a file of so many MiB, which is several times what the process's memory cgroup allows.
 *
 * Every request is done, and what was written is read back.
 */
#include "faults.h"

enum { BLOCK = 65536, DEPTH = 64 };

static void fill_blocks(unsigned char *memory, uint32_t first)
{
    for (uint32_t i = 0; i < DEPTH; i++)
        fill(memory + (size_t)i * BLOCK, BLOCK, first + i);
}

void pressed_memory(char **words)
{
    uint32_t blocks = (uint32_t)strtoul(words[0], NULL, 10) * ((1 << 20) / BLOCK);
    odio_file *file = open_empty("pressed");
    odio_queue *queue = new_queue(DEPTH);
    unsigned char *memory = new_memory(file, DEPTH * BLOCK), *expected = malloc(DEPTH * BLOCK);
    int64_t results[DEPTH];
    CHECK(expected != NULL && blocks % DEPTH == 0);
    for (int is_write = 1; is_write >= 0; is_write--) {
        for (uint32_t first = 0; first < blocks; first += DEPTH) {
            fill_blocks(expected, first);
            memset(memory, 0, DEPTH * BLOCK);
            if (is_write)
                memcpy(memory, expected, DEPTH * BLOCK);
            take_in_blocks(queue, file, is_write, memory, BLOCK, first, DEPTH);
            collect_each_once(queue, DEPTH, results);
            for (int i = 0; i < DEPTH; i++)
                CHECK(results[i] == BLOCK);
            CHECK(memcmp(memory, expected, DEPTH * BLOCK) == 0);
        }
        CHECK(odio_queue_sync(queue, file, 1) == 0);
        CHECK(result_of(queue, 1) == 0);
    }
    CHECK(odio_queue_free(queue) == 0);
    CHECK(odio_file_close(file) == 0);
    odio_buffer_free(memory);
    free(expected);
}
