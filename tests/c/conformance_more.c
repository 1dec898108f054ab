/* Vectors, flags, cancelling, eventfd, draining, pools, registered files, unaligned requests, counters. */
#include "conformance.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

enum { SIZE = 4096 };

static void vectors_are_gathered_and_scattered(void)
{
    enum { PIECES = 5 };
    odio_file *file = open_empty("vectors");
    odio_queue *queue = new_queue(4);
    size_t unit = unit_of(file), lengths[PIECES] = {unit, 3 * unit, SIZE, 2 * unit, SIZE - unit}, length = 0;
    unsigned char *memory = new_memory(file, 2 * PIECES * 3 * SIZE), expected[PIECES * 3 * SIZE];
    struct iovec from[PIECES], into[PIECES];
    for (int i = 0; i < PIECES; i++) {
        /* Backwards in memory, so that pieces that were taken as one range would show. */
        from[i] = (struct iovec){.iov_base = memory + (size_t)(PIECES - 1 - i) * 3 * SIZE, .iov_len = lengths[i]};
        into[i] = (struct iovec){.iov_base = memory + (size_t)(PIECES + i) * 3 * SIZE, .iov_len = lengths[i]};
        CHECK(lengths[i] <= 3 * SIZE);
        fill(from[i].iov_base, lengths[i], (uint64_t)i + 1);
        memcpy(expected + length, from[i].iov_base, lengths[i]);
        length += lengths[i];
    }
    for (int is_queued = 0; is_queued < 2; is_queued++) {
        struct iovec list[PIECES];
        uint64_t offset = is_queued ? 16 * SIZE : 0;
        memcpy(list, from, sizeof list);
        if (is_queued) {
            CHECK(odio_queue_writev(queue, file, list, PIECES, offset, 0, 1) == 0);
            /* The list is the caller's again. */
            memset(list, 0, sizeof list);
            CHECK(result_of(queue, 1) == (int64_t)length);
        } else {
            CHECK(odio_file_writev(file, list, PIECES, offset, 0) == (ssize_t)length);
        }
        for (int i = 0; i < PIECES; i++)
            memset(into[i].iov_base, 0, into[i].iov_len);
        memcpy(list, into, sizeof list);
        if (is_queued) {
            CHECK(odio_queue_readv(queue, file, list, PIECES, offset, 0, 2) == 0);
            memset(list, 0, sizeof list);
            CHECK(result_of(queue, 2) == (int64_t)length);
        } else {
            CHECK(odio_file_readv(file, list, PIECES, offset, 0) == (ssize_t)length);
        }
        for (size_t i = 0, at = 0; i < PIECES; at += lengths[i++])
            CHECK(memcmp(into[i].iov_base, expected + at, lengths[i]) == 0);
    }
    /* Across the end of the file. */
    if (!subject.is_device) {
        CHECK(odio_file_truncate(file, length - 1) == 0);
        CHECK(odio_queue_readv(queue, file, into, PIECES, 0, 0, 3) == 0);
        CHECK(result_of(queue, 3) == (int64_t)length - 1);
        CHECK(odio_file_readv(file, into, PIECES, 0, 0) == (ssize_t)length - 1);
    }
    /* More than max_vectors, and less than none. */
    struct iovec many[17];
    for (int i = 0; i < 17; i++)
        many[i] = from[0];
    odio_completion none;
    CHECK(odio_queue_writev(queue, file, many, 17, 0, 0, 1) == -EINVAL);
    CHECK_SAYS("17");
    CHECK(odio_queue_writev(queue, file, many, -1, 0, 0, 1) == -EINVAL);
    CHECK(odio_queue_writev(queue, file, many, 16, 0, 0, 4) == 0);
    CHECK(result_of(queue, 4) == (int64_t)(16 * unit));
    CHECK(odio_queue_wait(queue, &none, 1, 1, -1) == 0);
    CHECK(odio_queue_free(queue) == 0);
    CHECK(odio_file_close(file) == 0);
    odio_buffer_free(memory);
}

/* A flag is honoured, or refused with a reason before anything moves. */
static void flags_are_honoured_or_refused(void)
{
    odio_file *file = open_empty("flags");
    odio_queue *queue = new_queue(2);
    unsigned char *memory = new_memory(file, SIZE), found[SIZE];
    struct iovec piece = {.iov_base = memory, .iov_len = SIZE};
    const uint32_t for_writes[] = {ODIO_RWF_DSYNC, ODIO_RWF_SYNC, ODIO_RWF_THEN_DATASYNC, ODIO_RWF_THEN_SYNC,
                                   ODIO_RWF_DSYNC | ODIO_RWF_THEN_SYNC, ODIO_RWF_DONTCACHE};
    fill(memory, SIZE, 20);
    CHECK(odio_file_write(file, memory, SIZE, 0) == SIZE);
    for (uint32_t i = 0; i < sizeof for_writes / sizeof *for_writes; i++) {
        fill(memory, SIZE, 21 + i);
        memcpy(found, memory, SIZE);
        int taken = odio_queue_writev(queue, file, &piece, 1, 0, for_writes[i], i);
        ssize_t written = odio_file_writev(file, &piece, 1, SIZE, for_writes[i]);
        if (for_writes[i] == ODIO_RWF_DONTCACHE && (taken != 0 || written < 0)) {
            /* Linux 6.14, and not every filesystem. */
            CHECK(taken == -EOPNOTSUPP && written == -EOPNOTSUPP && strlen(odio_last_error()) > 0);
            continue;
        }
        CHECK(taken == 0 && written == SIZE);
        CHECK(result_of(queue, i) == SIZE);
        for (uint64_t offset = 0; offset <= SIZE; offset += SIZE) {
            memset(memory, 0, SIZE);
            CHECK(odio_file_read(file, memory, SIZE, offset) == SIZE && memcmp(memory, found, SIZE) == 0);
        }
    }
    /* Where nothing need be waited for NOWAIT may still say that it would; it never says less than the truth. */
    int taken = odio_queue_readv(queue, file, &piece, 1, 0, ODIO_RWF_NOWAIT, 7);
    if (taken == 0) {
        int64_t result = result_of(queue, 7);
        CHECK(result == SIZE || result == -EAGAIN || result == -EOPNOTSUPP);
    } else {
        CHECK(taken == -EOPNOTSUPP);
    }
    /* What means nothing for a read, and what nobody knows. */
    const uint32_t refused[] = {ODIO_RWF_THEN_SYNC, ODIO_RWF_THEN_DATASYNC, ODIO_RWF_ATOMIC, 0x80000000u};
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        CHECK(odio_queue_readv(queue, file, &piece, 1, 0, refused[i], 8) == -EINVAL);
        CHECK(odio_file_readv(file, &piece, 1, 0, refused[i]) == -EINVAL);
        CHECK(strlen(odio_last_error()) > 0);
    }
    odio_completion none;
    CHECK(odio_queue_wait(queue, &none, 1, 1, -1) == 0);
    CHECK(odio_file_sync_range(file, 0, 0) == 0);
    CHECK(odio_queue_free(queue) == 0);
    CHECK(odio_file_close(file) == 0);
    odio_buffer_free(memory);
}

static void cancelled_requests_complete_all_the_same(void)
{
    enum { DEPTH = 32 };
    odio_file *file = open_empty("cancel");
    odio_queue *queue = new_queue(DEPTH);
    unsigned char *memory = new_memory(file, DEPTH * SIZE), *found = new_memory(file, SIZE);
    int64_t results[DEPTH];
    CHECK(odio_file_write(file, memory, DEPTH * SIZE, 0) == DEPTH * SIZE);
    CHECK(odio_queue_cancel(queue, 1) == 0);
    for (int is_submitted = 0; is_submitted < 2; is_submitted++) {
        fill(memory, DEPTH * SIZE, 30 + (uint64_t)is_submitted);
        for (uint32_t i = 0; i < DEPTH; i++)
            CHECK(odio_queue_write(queue, file, memory + (size_t)i * SIZE, SIZE, (uint64_t)i * SIZE, i) == 0);
        if (is_submitted)
            CHECK(odio_queue_submit(queue) == 0);
        CHECK(odio_queue_cancel(queue, DEPTH) == 0);
        for (uint32_t i = 0; i < DEPTH; i += 2) {
            int count = odio_queue_cancel(queue, i);
            CHECK(count == 1 || (is_submitted && count == 0));
        }
        collect_each_once(queue, DEPTH, results);
        for (uint32_t i = 0; i < DEPTH; i++) {
            CHECK(results[i] == SIZE || (i % 2 == 0 && results[i] == -ECANCELED));
            if (results[i] != SIZE)
                continue;
            CHECK(odio_file_read(file, found, SIZE, (uint64_t)i * SIZE) == SIZE);
            CHECK(memcmp(found, memory + (size_t)i * SIZE, SIZE) == 0);
        }
    }
    CHECK(odio_queue_free(queue) == 0);
    CHECK(odio_file_close(file) == 0);
    odio_buffer_free(memory);
    odio_buffer_free(found);
}

/* Collects the requests with user_data 0 to `count` - 1, woken by the eventfd alone. */
static void collect_when_told(odio_queue *queue, unsigned count, int64_t result)
{
    int event = odio_queue_eventfd(queue);
    CHECK(event >= 0 && odio_queue_eventfd(queue) == event);
    for (unsigned seen = 0; seen != (1u << count) - 1;) {
        /* No timeout: a completion that is not told of would hang, and the alarm would end that. */
        struct pollfd poll_one = {.fd = event, .events = POLLIN};
        CHECK(poll(&poll_one, 1, -1) == 1);
        uint64_t told;
        ssize_t length = read(event, &told, sizeof told);
        CHECK(length == sizeof told || (length < 0 && errno == EAGAIN));
        odio_completion done[3];
        int stored;
        while ((stored = odio_queue_poll(queue, done, 3)) != 0) {
            CHECK(stored > 0);
            for (int i = 0; i < stored; i++) {
                CHECK(done[i].result == result && (seen & 1u << done[i].user_data) == 0);
                seen |= 1u << done[i].user_data;
            }
        }
    }
}

static void an_eventfd_tells_of_completions(void)
{
    enum { DEPTH = 8 };
    odio_file *file = open_empty("eventfd");
    odio_queue *queue = new_queue(DEPTH);
    unsigned char *memory = new_memory(file, SIZE);
    CHECK(odio_queue_eventfd(queue) >= 0);
    for (int round = 0; round < 5; round++) {
        for (uint64_t i = 0; i < DEPTH; i++)
            CHECK(odio_queue_write(queue, file, memory, SIZE, i * SIZE, i) == 0);
        CHECK(odio_queue_submit(queue) == 0);
        collect_when_told(queue, DEPTH, SIZE);
        for (uint64_t i = 0; i < DEPTH; i++)
            CHECK(odio_queue_sync(queue, file, i) == 0);
        CHECK(odio_queue_submit(queue) == 0);
        collect_when_told(queue, DEPTH, 0);
    }
    CHECK(odio_file_close(file) == 0);
    /* Done by the call that hands them over. */
    file = open_again("eventfd", ODIO_OPEN_WRITE | ODIO_OPEN_BOUNCE);
    for (uint64_t i = 0; i < DEPTH; i++)
        CHECK(odio_queue_write(queue, file, memory + 1, 50, 100 + i * 50, i) == 0);
    CHECK(odio_queue_submit(queue) == 0);
    collect_when_told(queue, DEPTH, 50);
    CHECK(odio_queue_free(queue) == 0);
    CHECK(odio_file_close(file) == 0);
    odio_buffer_free(memory);
}

static void draining_waits_and_counts_add_up(void)
{
    enum { DEPTH = 16 };
    odio_file *file = open_empty("drain");
    odio_queue *queue = new_queue(DEPTH);
    unsigned char *memory = new_memory(file, DEPTH * SIZE);
    odio_queue_info info = {.size = sizeof info};
    int64_t results[DEPTH];
    CHECK(odio_queue_get_info(queue, &info) == 0);
    CHECK(info.engine == subject.engine && info.depth == DEPTH && info.in_flight == 0 && info.ready == 0);
    CHECK(strlen(odio_queue_reason(queue)) > 0);
    CHECK(odio_queue_drain(queue) == 0);
    for (uint32_t i = 0; i < DEPTH - 1; i++)
        CHECK(odio_queue_write(queue, file, memory + (size_t)i * SIZE, SIZE, (uint64_t)i * SIZE, i) == 0);
    CHECK(odio_queue_sync(queue, file, DEPTH - 1) == 0);
    CHECK(odio_queue_get_info(queue, &info) == 0 && info.in_flight == DEPTH);
    CHECK(odio_queue_drain(queue) == 0);
    CHECK(odio_queue_get_info(queue, &info) == 0 && info.in_flight == 0 && info.ready == DEPTH);
    collect_each_once(queue, DEPTH, results);
    CHECK(odio_queue_get_info(queue, &info) == 0 && info.in_flight == 0 && info.ready == 0);

    odio_counters of_queue = {.size = sizeof of_queue}, of_file = {.size = sizeof of_file};
    CHECK(odio_queue_counters(queue, &of_queue) == 0 && odio_file_counters(file, &of_file) == 0);
    CHECK(of_queue.submitted == DEPTH && of_queue.completed == DEPTH && of_queue.failed == 0);
    CHECK(of_queue.bytes_written == (DEPTH - 1) * SIZE && of_queue.bytes_read == 0 && of_queue.bounced == 0);
    CHECK(of_file.submitted == DEPTH && of_file.completed == DEPTH && of_file.bytes_written == (DEPTH - 1) * SIZE);
    CHECK(odio_file_read(file, memory, SIZE, 0) == SIZE);
    CHECK(odio_file_counters(file, &of_file) == 0);
    CHECK(of_file.completed == DEPTH + 1 && of_file.bytes_read == SIZE);
    CHECK(odio_queue_free(queue) == 0);
    CHECK(odio_file_close(file) == 0);
    odio_buffer_free(memory);
}

/* Registered or not, and whether the engine can: the same bytes. */
static void pools_and_registered_files_change_nothing(void)
{
    enum { COUNT = 8 };
    odio_file *file = open_empty("pool");
    odio_queue *queue = new_queue(COUNT);
    odio_pool_options options = {.size = sizeof options, .length = SIZE, .count = COUNT};
    odio_pool *pool;
    void *memory[COUNT];
    int64_t results[COUNT];
    CHECK(odio_pool_new(&options, &pool) == 0);
    CHECK(odio_queue_remove_pool(queue, pool) == -ENOENT && odio_queue_remove_file(queue, file) == -ENOENT);
    int file_known = odio_queue_add_file(queue, file), pool_known = odio_queue_add_pool(queue, pool);
    bool is_io_uring = subject.engine == ODIO_ENGINE_IO_URING;
    CHECK(file_known == is_io_uring && (pool_known == 0 || (pool_known == 1 && is_io_uring)));
    if (!is_io_uring)
        CHECK(strlen(odio_queue_reason(queue)) > 0);
    odio_queue_info info = {.size = sizeof info};
    CHECK(odio_queue_get_info(queue, &info) == 0);
    CHECK(info.registered_files == (uint32_t)file_known && info.registered_pools == (uint32_t)pool_known);
    for (int i = 0; i < COUNT; i++) {
        CHECK((memory[i] = odio_pool_take(pool)) != NULL && (uintptr_t)memory[i] % 4096 == 0);
        for (int k = 0; k < i; k++)
            CHECK(memory[k] != memory[i]);
    }
    CHECK(odio_pool_take(pool) == NULL);
    for (int round = 0; round < 2; round++) {
        for (uint32_t i = 0; i < COUNT; i++) {
            fill(memory[i], SIZE, 50 + i + (uint64_t)round);
            CHECK(odio_queue_write(queue, file, memory[i], SIZE, (uint64_t)i * SIZE, i) == 0);
        }
        /* The second time they are taken back while in flight. */
        if (round == 1) {
            CHECK(odio_queue_submit(queue) == 0);
            CHECK(odio_queue_remove_file(queue, file) == 0 && odio_queue_remove_pool(queue, pool) == 0);
        }
        collect_each_once(queue, COUNT, results);
        for (uint32_t i = 0; i < COUNT; i++) {
            CHECK(results[i] == SIZE);
            memset(memory[i], 0, SIZE);
            CHECK(odio_queue_read(queue, file, memory[i], SIZE, (uint64_t)i * SIZE, i) == 0);
        }
        collect_each_once(queue, COUNT, results);
        for (uint32_t i = 0; i < COUNT; i++) {
            unsigned char expected[SIZE];
            fill(expected, SIZE, 50 + i + (uint64_t)round);
            CHECK(results[i] == SIZE && memcmp(memory[i], expected, SIZE) == 0);
        }
    }
    CHECK(odio_pool_put(pool, (unsigned char *)memory[0] + 1) == -EINVAL);
    for (int i = 0; i < COUNT; i++)
        CHECK(odio_pool_put(pool, memory[i]) == 0);
    CHECK(strlen(odio_pool_pages(pool)) > 0);
    CHECK(odio_queue_free(queue) == 0);
    odio_pool_free(pool);
    CHECK(odio_file_close(file) == 0);
}

/* With ODIO_OPEN_BOUNCE any request goes, and what lies around it in its blocks stays. */
static void unaligned_requests_bounce(void)
{
    enum { REGION = 64 * 1024 };
    CHECK(odio_file_close(open_empty("bounce")) == 0);
    odio_file *file = open_again("bounce", ODIO_OPEN_WRITE | ODIO_OPEN_BOUNCE);
    odio_queue *queue = new_queue(8);
    unsigned char *memory = new_memory(file, REGION), *model = malloc(REGION);
    CHECK(model != NULL);
    fill(model, REGION, 60);
    memcpy(memory, model, REGION);
    CHECK(odio_file_write(file, memory, REGION, 0) == REGION);
    uint32_t state = 1;
    for (uint64_t turn = 0; turn < 40; turn++) {
        state = state * 1664525u + 1013904223u;
        size_t offset = (state >> 8) % (REGION - 9000), length = 1 + (state >> 4) % 8999, shift = turn % 7;
        fill(memory + shift, length, 61 + turn);
        memcpy(model + offset, memory + shift, length);
        if (turn % 2 == 0) {
            CHECK(odio_queue_write(queue, file, memory + shift, length, offset, turn) == 0);
            CHECK(result_of(queue, turn) == (int64_t)length);
        } else {
            CHECK(odio_file_write(file, memory + shift, length, offset) == (ssize_t)length);
        }
        memset(memory, 0, 9010);
        CHECK(odio_queue_read(queue, file, memory + shift, length, offset, turn) == 0);
        CHECK(result_of(queue, turn) == (int64_t)length);
        CHECK(memcmp(memory + shift, model + offset, length) == 0 && memory[shift + length] == 0);
    }
    /* Neighbours in one block, in flight together. */
    for (uint64_t i = 0; i < 8; i++) {
        memset(model + 100 + 50 * i, (int)i + 1, 50);
        memcpy(memory + 100 + 50 * i, model + 100 + 50 * i, 50);
        CHECK(odio_queue_write(queue, file, memory + 100 + 50 * i, 50, 100 + 50 * i, i) == 0);
    }
    int64_t results[8];
    collect_each_once(queue, 8, results);
    for (int i = 0; i < 8; i++)
        CHECK(results[i] == 50);
    /* A read ends with the file. */
    if (!subject.is_device) {
        CHECK(odio_queue_read(queue, file, memory + 1, 100, REGION - 10, 9) == 0 && result_of(queue, 9) == 10);
        CHECK(memcmp(memory + 1, model + REGION - 10, 10) == 0);
        CHECK(odio_queue_read(queue, file, memory + 1, 100, REGION + 10, 9) == 0 && result_of(queue, 9) == 0);
    }
    odio_counters counters = {.size = sizeof counters};
    CHECK(odio_file_counters(file, &counters) == 0);
    CHECK((counters.bounced > 0) == (unit_of(file) > 1));
    CHECK(subject.is_device || odio_file_size(file) == REGION);
    CHECK(odio_queue_free(queue) == 0);
    CHECK(odio_file_close(file) == 0);
    check_content("bounce", model, REGION);
    odio_buffer_free(memory);
    free(model);
}

const struct conformance_case more_cases[] = {
    {"vectors are gathered and scattered", vectors_are_gathered_and_scattered},
    {"flags are honoured or refused", flags_are_honoured_or_refused},
    {"cancelled requests complete all the same", cancelled_requests_complete_all_the_same},
    {"an eventfd tells of completions", an_eventfd_tells_of_completions},
    {"draining waits, and counts add up", draining_waits_and_counts_add_up},
    {"pools and registered files change nothing", pools_and_registered_files_change_nothing},
    {"unaligned requests bounce", unaligned_requests_bounce},
    {NULL, NULL},
};
