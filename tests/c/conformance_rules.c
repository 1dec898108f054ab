/* What is refused, and what the handles say of themselves. */
#include "conformance.h"

#include <errno.h>

enum { SIZE = 4096 };

static void a_file_says_what_it_is(void)
{
    odio_file *file = open_empty("info");
    odio_file_info info = {.size = sizeof info};
    CHECK(odio_file_get_info(file, &info) == 0);
    CHECK(info.sync == subject.sync);
    const char *reason = odio_file_reason(file);
    if (subject.direct == ODIO_DIRECT_REQUIRED)
        CHECK(info.cache == ODIO_CACHE_DIRECT);
    if (subject.direct == ODIO_DIRECT_OFF)
        CHECK(info.cache == ODIO_CACHE_BUFFERED && strcmp(reason, "buffered: asked for") == 0);
    else if (info.cache == ODIO_CACHE_BUFFERED)
        CHECK(strncmp(reason, "buffered: direct was preferred, but ", 36) == 0 && strlen(reason) > 36);
    else
        CHECK(strncmp(reason, "direct: ", 8) == 0);
    odio_limits limits = {.size = sizeof limits};
    CHECK(odio_file_limits(file, &limits) == 0);
    for (uint32_t align = limits.memory_align; align > 1; align /= 2)
        CHECK(align % 2 == 0);
    CHECK(limits.memory_align > 0 && limits.offset_align > 0 && limits.length_align > 0);
    CHECK(strlen(limits.filesystem) > 0);
    CHECK(odio_file_close(file) == 0);
}

/*
 * A refusal names the value, the limit, and the limit's source; nothing was taken in. Reads may have a limit of their
 * own.
 */
static void check_misaligned(odio_queue *queue, odio_file *file, unsigned char *memory, size_t length, uint64_t offset,
                             const char *what, const char *value, const uint32_t write_limit[2],
                             const uint32_t read_limit[2])
{
    char needed[32];
    odio_completion done;
    for (int call = 0; call < 4; call++) {
        int64_t result = call == 0   ? odio_queue_read(queue, file, memory, length, offset, 1)
                         : call == 1 ? odio_queue_write(queue, file, memory, length, offset, 1)
                         : call == 2 ? odio_file_read(file, memory, length, offset)
                                     : odio_file_write(file, memory, length, offset);
        const uint32_t *limit = call % 2 == 0 ? read_limit : write_limit;
        CHECK(result == -EINVAL);
        CHECK_SAYS(what);
        CHECK_SAYS(value);
        snprintf(needed, sizeof needed, "%u is needed", limit[0]);
        CHECK_SAYS(needed);
        CHECK_SAYS(odio_source_name(limit[1]));
    }
    CHECK(odio_queue_wait(queue, &done, 1, 1, -1) == 0);
}

static void alignment_is_checked_where_it_matters(void)
{
    odio_file *file = open_empty("aligned");
    odio_queue *queue = new_queue(2);
    unsigned char *memory = new_memory(file, 3 * SIZE);
    odio_limits limits = {.size = sizeof limits};
    CHECK(odio_file_limits(file, &limits) == 0);
    if (unit_of(file) == 1) {
        /* Through the page cache anything goes. */
        memset(memory, 7, 3 * SIZE);
        CHECK(odio_queue_write(queue, file, memory + 1, SIZE + 1, 3, 1) == 0);
        CHECK(result_of(queue, 1) == SIZE + 1);
        memset(memory, 0, 3 * SIZE);
        CHECK(odio_queue_read(queue, file, memory + 5, SIZE + 1, 3, 2) == 0);
        CHECK(result_of(queue, 2) == SIZE + 1);
        CHECK(memory[4] == 0 && memory[5] == 7 && memory[5 + SIZE] == 7 && memory[6 + SIZE] == 0);
    } else {
        CHECK(odio_file_write(file, memory, SIZE, 0) == SIZE);
        const uint32_t address[] = {limits.memory_align, limits.memory_align_source};
        const uint32_t offset[] = {limits.offset_align, limits.offset_align_source};
        const uint32_t length[] = {limits.length_align, limits.length_align_source};
        const uint32_t reading[] = {limits.read_offset_align, limits.read_offset_align_source};
        char value[32];
        snprintf(value, sizeof value, "0x%llx", (unsigned long long)(uintptr_t)(memory + 1));
        check_misaligned(queue, file, memory + 1, SIZE, 0, "address", value, address, address);
        check_misaligned(queue, file, memory, SIZE, 1, "offset", "1", offset, reading);
        check_misaligned(queue, file, memory, SIZE - 1, 0, "length", "4095", length, reading);
        CHECK(odio_queue_read(queue, file, memory, SIZE, 0, 3) == 0);
        CHECK(result_of(queue, 3) == SIZE);
    }
    CHECK(odio_queue_free(queue) == 0);
    CHECK(odio_file_close(file) == 0);
    odio_buffer_free(memory);
}

static void syncs_succeed(void)
{
    odio_file *file = open_empty("sync");
    odio_queue *queue = new_queue(4);
    unsigned char *memory = new_memory(file, SIZE);
    int64_t results[2];
    for (int turn = 0; turn < 3; turn++) {
        CHECK(odio_queue_write(queue, file, memory, SIZE, 0, 7) == 0);
        CHECK(result_of(queue, 7) == SIZE);
        CHECK(odio_queue_sync(queue, file, 0) == 0);
        CHECK(odio_queue_datasync(queue, file, 1) == 0);
        collect_each_once(queue, 2, results);
        CHECK(results[0] == 0 && results[1] == 0);
        CHECK(odio_file_sync(file) == 0);
        CHECK(odio_file_datasync(file) == 0);
    }
    CHECK(odio_file_acknowledge_sync_error(file) == 0);
    CHECK(odio_queue_free(queue) == 0);
    CHECK(odio_file_close(file) == 0);
    odio_buffer_free(memory);
}

static void a_file_opened_for_reading_takes_no_writes(void)
{
    odio_file *file = open_empty("reading");
    unsigned char *memory = new_memory(file, SIZE);
    memset(memory, 9, SIZE);
    CHECK(odio_file_write(file, memory, SIZE, 0) == SIZE);
    CHECK(odio_file_close(file) == 0);

    file = open_again("reading", 0);
    odio_queue *queue = new_queue(2);
    odio_completion done;
    CHECK(odio_queue_write(queue, file, memory, SIZE, 0, 1) == -EBADF);
    CHECK(strlen(odio_last_error()) > 0);
    CHECK(odio_file_write(file, memory, SIZE, 0) == -EBADF);
    CHECK(odio_queue_wait(queue, &done, 1, 1, -1) == 0);
    memset(memory, 0, SIZE);
    CHECK(odio_queue_read(queue, file, memory, SIZE, 0, 2) == 0);
    CHECK(result_of(queue, 2) == SIZE && memory[0] == 9 && memory[SIZE - 1] == 9);
    CHECK(odio_file_sync(file) == 0);
    CHECK(odio_queue_free(queue) == 0);
    CHECK(odio_file_close(file) == 0);
    odio_buffer_free(memory);
}

static void absurd_options_are_refused(void)
{
    odio_queue *queue = NULL;
    const odio_queue_options absurd[] = {
        {.size = sizeof *absurd, .engine = subject.engine, .depth = 32769},
        {.size = sizeof *absurd, .engine = subject.engine, .depth = UINT32_MAX},
        {.size = sizeof *absurd, .engine = 99},
        {.size = 0, .engine = subject.engine},
        {.size = (size_t)1 << 40, .engine = subject.engine},
    };
    for (size_t i = 0; i < sizeof absurd / sizeof *absurd; i++) {
        CHECK(odio_queue_new(&absurd[i], &queue) == -EINVAL && queue == NULL);
        CHECK(strlen(odio_last_error()) > 0);
    }
    CHECK(odio_queue_new(NULL, NULL) == -EINVAL);

    /* A depth of 0 is the default of 32. */
    odio_file *file = open_empty("absurd");
    queue = new_queue(0);
    unsigned char *memory = new_memory(file, SIZE);
    odio_completion done[33];
    for (uint64_t i = 0; i < 32; i++)
        CHECK(odio_queue_write(queue, file, memory, SIZE, i * SIZE, i) == 0);
    CHECK(odio_queue_write(queue, file, memory, SIZE, 0, 32) == -EAGAIN);
    CHECK_SAYS("holds 32 requests");
    CHECK(odio_queue_wait(queue, done, 33, 33, -1) == 32);

    /* What no file can hold. */
    CHECK(odio_queue_read(queue, file, memory, (size_t)1 << 31, 0, 1) < 0);
    CHECK_SAYS("2147483648");
    CHECK(odio_queue_write(queue, file, memory, SIZE, UINT64_MAX - SIZE + 1, 1) < 0);
    CHECK(odio_file_read(file, memory, SIZE, (uint64_t)INT64_MAX + 1) < 0);
    CHECK(odio_queue_read(NULL, file, memory, SIZE, 0, 1) == -EINVAL);
    CHECK(odio_queue_read(queue, NULL, memory, SIZE, 0, 1) == -EINVAL);
    CHECK(odio_queue_wait(queue, done, 1, 1, -1) == 0);
    CHECK(odio_queue_free(queue) == 0);
    CHECK(odio_file_close(file) == 0);
    odio_buffer_free(memory);
}

const struct conformance_case rule_cases[] = {
    {"a file says what it is", a_file_says_what_it_is},
    {"alignment is checked where it matters", alignment_is_checked_where_it_matters},
    {"syncs succeed", syncs_succeed},
    {"a file opened for reading takes no writes", a_file_opened_for_reading_takes_no_writes},
    {"absurd options are refused", absurd_options_are_refused},
    {NULL, NULL},
};
