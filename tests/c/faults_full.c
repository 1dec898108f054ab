/*
 * full DIRECTORY ... BALLAST ERRNO: a filesystem that gets full under a queue (ENOSPC), or a quota of it (EDQUOT; of a
 * project, XFS says ENOSPC). BALLAST is the file that fills it but for some MiB.
 *
 * The full filesystem is told to the requests that met it, what was acknowledged is there, and with space again
 * everything goes on.
 */
#include "faults.h"

#include <unistd.h>

enum { BLOCK = 65536, DEPTH = 32, BLOCKS = 512 };

static unsigned char content[BLOCKS][BLOCK];

void full_filesystem(char **words)
{
    int failure = -errno_of(words[1]);
    odio_file *file = open_empty("full");
    odio_queue *queue = new_queue(DEPTH);
    unsigned char *memory = new_memory(file, DEPTH * BLOCK);
    bool acknowledged[BLOCKS] = {false};
    int64_t results[DEPTH];
    unsigned written = 0, refused = 0;
    for (uint32_t first = 0; first < BLOCKS; first += DEPTH) {
        for (uint32_t i = 0; i < DEPTH; i++)
            fill(content[first + i], BLOCK, first + i);
        memcpy(memory, content[first], DEPTH * BLOCK);
        take_in_blocks(queue, file, true, memory, BLOCK, first, DEPTH);
        collect_each_once(queue, DEPTH, results);
        for (uint32_t i = 0; i < DEPTH; i++) {
            CHECK(results[i] == BLOCK || results[i] == failure);
            acknowledged[first + i] = results[i] == BLOCK;
            *(results[i] == BLOCK ? &written : &refused) += 1;
        }
    }
    CHECK(written > 0 && refused > DEPTH);
    CHECK(odio_file_write(file, memory, BLOCK, (uint64_t)BLOCKS * BLOCK) == failure);
    CHECK_SAYS(words[1]);
    /* Nothing that was acknowledged was lost to it. */
    CHECK(odio_file_sync(file) == 0);
    unsigned char *found = new_memory(file, BLOCK);
    for (uint32_t i = 0; i < BLOCKS; i++)
        if (acknowledged[i]) {
            CHECK(odio_file_read(file, found, BLOCK, (uint64_t)i * BLOCK) == BLOCK);
            CHECK(memcmp(found, content[i], BLOCK) == 0);
        }

    CHECK(unlink(words[0]) == 0);
    for (uint32_t i = 0; i < BLOCKS; i++)
        if (!acknowledged[i]) {
            memcpy(memory, content[i], BLOCK);
            CHECK(odio_queue_write(queue, file, memory, BLOCK, (uint64_t)i * BLOCK, i) == 0);
            CHECK(result_of(queue, i) == BLOCK);
        }
    CHECK(odio_queue_sync(queue, file, 1) == 0);
    CHECK(result_of(queue, 1) == 0);
    CHECK(odio_queue_free(queue) == 0);
    CHECK(odio_file_close(file) == 0);
    check_content("full", content[0], sizeof content);
    odio_buffer_free(memory);
    odio_buffer_free(found);
    printf("%u written, %u refused\n", written, refused);
}
