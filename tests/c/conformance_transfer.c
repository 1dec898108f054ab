/* What reads and writes do to bytes. */
#include "conformance.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

/* Beyond this much each side of the memory handed in, nothing may change. */
enum { GUARD = 4096 };

static void check_guards(const unsigned char *memory, size_t length)
{
    for (size_t i = 0; i < GUARD; i++)
        CHECK(memory[i] == 0xa5 && memory[GUARD + length + i] == 0xa5);
}

/* One write and one read of the same bytes, each by the queue or on the calling thread. */
static void one_round(odio_queue *queue, odio_file *file, unsigned char *memory, unsigned char *model, size_t length,
                      size_t offset, unsigned turn)
{
    unsigned char *inside = memory + GUARD;
    memset(memory, 0xa5, GUARD);
    memset(inside + length, 0xa5, GUARD);
    fill(inside, length, turn + 1);
    memcpy(model + offset, inside, length);
    if (turn % 2 == 0) {
        CHECK(odio_queue_write(queue, file, inside, length, offset, turn) == 0);
        CHECK(result_of(queue, turn) == (int64_t)length);
    } else {
        CHECK(odio_file_write(file, inside, length, offset) == (ssize_t)length);
    }
    memset(inside, 0, length);
    if (turn % 4 < 2) {
        CHECK(odio_queue_read(queue, file, inside, length, offset, ~(uint64_t)turn) == 0);
        CHECK(result_of(queue, ~(uint64_t)turn) == (int64_t)length);
    } else {
        CHECK(odio_file_read(file, inside, length, offset) == (ssize_t)length);
    }
    CHECK(memcmp(inside, model + offset, length) == 0);
    check_guards(memory, length);
}

static void round_trip(void)
{
    enum { REGION = 4 << 20 };
    odio_file *file = open_empty("round_trip");
    odio_queue *queue = new_queue(1);
    size_t unit = unit_of(file);
    size_t region = subject.is_quick ? REGION / 8 : REGION;
    unsigned char *memory = new_memory(file, region + 2 * GUARD);
    unsigned char *model = malloc(region);
    CHECK(model != NULL);
    one_round(queue, file, memory, model, region, 0, 0);

    const size_t lengths[] = {unit, 2 * unit, 3 * unit, 511 * unit, 4096, 4096 + unit, 12288, 65536, 65536 - unit, 1 << 20};
    const size_t offsets[] = {0, unit, 3 * unit, 4096, 4096 - unit, 65536 - unit, 131072, 5 * 65536 + 7 * unit};
    unsigned turn = 1, tried = 0;
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++)
        for (size_t k = 0; k < sizeof offsets / sizeof *offsets; k++, turn++) {
            /* Where a unit is a whole block some do not fit. */
            if (lengths[i] + offsets[k] > region || (subject.is_quick && turn % 3 != 0))
                continue;
            one_round(queue, file, memory, model, lengths[i], offsets[k], turn);
            tried++;
        }
    CHECK(tried >= 20);
    CHECK(subject.is_device || odio_file_size(file) == (int64_t)region);
    CHECK(odio_queue_free(queue) == 0);
    CHECK(odio_file_close(file) == 0);
    check_content("round_trip", model, region);
    odio_buffer_free(memory);
    free(model);
}

static void nothing_at_all(void)
{
    odio_file *file = open_empty("nothing");
    odio_queue *queue = new_queue(4);
    unsigned char *memory = new_memory(file, 4096);
    memset(memory, 0xa5, 4096);
    CHECK(odio_file_write(file, memory, 0, 0) == 0);
    CHECK(odio_file_read(file, memory, 0, 0) == 0);
    CHECK(odio_queue_write(queue, file, memory, 0, 0, 0) == 0);
    CHECK(odio_queue_read(queue, file, memory, 0, 0, 1) == 0);
    int64_t results[2];
    collect_each_once(queue, 2, results);
    CHECK(results[0] == 0 && results[1] == 0 && memory[0] == 0xa5);
    CHECK(odio_queue_free(queue) == 0);
    CHECK(odio_file_close(file) == 0);
    odio_buffer_free(memory);
}

/* `length` bytes are there from `offset` on, of `asked`. */
static void check_end(odio_queue *queue, odio_file *file, unsigned char *memory, size_t asked, uint64_t offset,
                      size_t length, const unsigned char *expected)
{
    for (int queued = 0; queued < 2; queued++) {
        memset(memory, 0xa5, asked);
        if (queued) {
            CHECK(odio_queue_read(queue, file, memory, asked, offset, 5) == 0);
            CHECK(result_of(queue, 5) == (int64_t)length);
        } else {
            CHECK(odio_file_read(file, memory, asked, offset) == (ssize_t)length);
        }
        CHECK(memcmp(memory, expected, length) == 0);
    }
}

static void end_of_file(void)
{
    /* Not a multiple of any block, so that the end lies inside of one. */
    enum { SIZE = 10000, BLOCK = 4096 };
    odio_file *file = open_empty("end");
    odio_queue *queue = new_queue(2);
    unsigned char *memory = new_memory(file, 4 * BLOCK), content[4 * BLOCK];
    fill(content, sizeof content, 3);
    uint64_t base = 0;
    size_t size = SIZE;
    if (subject.is_device) {
        /* A device ends at a block. */
        int64_t whole = odio_file_size(file);
        CHECK(whole > 4 * BLOCK && whole % BLOCK == 0);
        size = 2 * BLOCK;
        base = (uint64_t)whole - size;
        memcpy(memory, content, size);
        CHECK(odio_file_write(file, memory, size, base) == (ssize_t)size);
    } else {
        int plain = open(path_of("end"), O_WRONLY | O_CLOEXEC);
        CHECK(plain >= 0 && pwrite(plain, content, size, 0) == (ssize_t)size && close(plain) == 0);
        CHECK(odio_file_size(file) == SIZE);
    }
    /* Before, across, at and past the end. */
    check_end(queue, file, memory, BLOCK, base, BLOCK, content);
    check_end(queue, file, memory, 4 * BLOCK, base, size, content);
    check_end(queue, file, memory, 2 * BLOCK, base + BLOCK, size - BLOCK, content + BLOCK);
    size_t up = (size + BLOCK - 1) / BLOCK * BLOCK;
    check_end(queue, file, memory, BLOCK, base + up, 0, content);
    check_end(queue, file, memory, BLOCK, base + (1u << 30), 0, content);
    if (unit_of(file) == 1) {
        check_end(queue, file, memory, 1, base + size, 0, content);
        check_end(queue, file, memory, 2, base + size - 1, 1, content + size - 1);
    }
    CHECK(odio_queue_free(queue) == 0);
    CHECK(odio_file_close(file) == 0);
    odio_buffer_free(memory);
}

/* Holes read as zeros, and a write beyond the end makes one. */
static void a_write_past_the_end_leaves_a_hole(void)
{
    enum { BLOCK = 4096, HOLE = 16 * BLOCK };
    odio_file *file = open_empty("hole");
    odio_queue *queue = new_queue(1);
    unsigned char *memory = new_memory(file, HOLE);
    if (subject.is_device)
        CHECK(odio_file_write(file, memory, HOLE, 0) == HOLE);
    fill(memory, BLOCK, 4);
    CHECK(odio_queue_write(queue, file, memory, BLOCK, HOLE, 1) == 0);
    CHECK(result_of(queue, 1) == BLOCK);
    CHECK(subject.is_device || odio_file_size(file) == HOLE + BLOCK);
    memset(memory, 1, HOLE);
    CHECK(odio_queue_read(queue, file, memory, HOLE, 0, 2) == 0);
    CHECK(result_of(queue, 2) == HOLE);
    for (size_t i = 0; i < HOLE; i++)
        CHECK(memory[i] == 0);
    CHECK(odio_queue_free(queue) == 0);
    CHECK(odio_file_close(file) == 0);
    odio_buffer_free(memory);
}

const struct conformance_case transfer_cases[] = {
    {"round trip at many sizes and offsets", round_trip},
    {"requests of no bytes", nothing_at_all},
    {"end of file is told apart", end_of_file},
    {"a write past the end leaves a hole", a_write_past_the_end_leaves_a_hole},
    {NULL, NULL},
};
