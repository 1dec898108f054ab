/* What a queue does with requests in flight. */
#include "conformance.h"

#include <errno.h>

enum { SIZE = 4096 };

/* Takes in `count` writes of SIZE bytes, of user_data 0 on, each to its own block. */
static void take_in_writes(odio_queue *queue, odio_file *file, unsigned char *memory, uint32_t count)
{
    fill(memory, (size_t)count * SIZE, count);
    for (uint32_t i = 0; i < count; i++)
        CHECK(odio_queue_write(queue, file, memory + (size_t)i * SIZE, SIZE, (uint64_t)i * SIZE, i) == 0);
}

static void whole_batches(void)
{
    const uint32_t depths[] = {1, 2, 7, 64, 200};
    for (size_t i = 0; i < sizeof depths / sizeof *depths; i++) {
        uint32_t depth = depths[i];
        if (subject.is_quick && depth > 64)
            continue;
        size_t length = (size_t)depth * SIZE;
        odio_file *file = open_empty("batch");
        odio_queue *queue = new_queue(depth);
        unsigned char *written = new_memory(file, length), *read = new_memory(file, length);
        int64_t results[200];

        take_in_writes(queue, file, written, depth);
        CHECK(odio_queue_submit(queue) == 0);
        collect_each_once(queue, depth, results);
        for (uint32_t k = 0; k < depth; k++)
            CHECK(results[k] == SIZE);
        for (uint32_t k = 0; k < depth; k++)
            CHECK(odio_queue_read(queue, file, read + (size_t)k * SIZE, SIZE, (uint64_t)k * SIZE, k) == 0);
        collect_each_once(queue, depth, results);
        for (uint32_t k = 0; k < depth; k++)
            CHECK(results[k] == SIZE);
        CHECK(memcmp(written, read, length) == 0);

        CHECK(odio_queue_free(queue) == 0);
        CHECK(odio_file_close(file) == 0);
        check_content("batch", written, length);
        odio_buffer_free(written);
        odio_buffer_free(read);
    }
}

/* A mixture that is never empty: user_data of any value comes back once, whatever the order and however collected. */
static void any_user_data_comes_back_once(void)
{
    enum { DEPTH = 16, TOTAL = 400 };
    odio_file *file = open_empty("once");
    odio_queue *queue = new_queue(DEPTH);
    unsigned char *memory = new_memory(file, (size_t)DEPTH * SIZE);
    uint64_t in_flight[DEPTH] = {0};
    bool used[DEPTH] = {false};
    unsigned total = subject.is_quick ? TOTAL / 4 : TOTAL, taken = 0, collected = 0;
    while (collected < total) {
        for (uint32_t slot = 0; slot < DEPTH && taken < total; slot++) {
            if (used[slot])
                continue;
            uint64_t user_data = taken == 0 ? 0 : taken == 1 ? UINT64_MAX : (taken + 1) * 0x9e3779b97f4a7c15u;
            unsigned char *at = memory + (size_t)slot * SIZE;
            uint64_t offset = (uint64_t)slot * SIZE;
            int result = taken % 5 == 4 ? odio_queue_datasync(queue, file, user_data)
                         : taken % 3 == 0 ? odio_queue_read(queue, file, at, SIZE, offset, user_data)
                                          : odio_queue_write(queue, file, at, SIZE, offset, user_data);
            CHECK(result == 0);
            in_flight[slot] = user_data;
            used[slot] = true;
            taken++;
        }
        odio_completion done[DEPTH];
        uint32_t max = 1 + collected % DEPTH;
        int count = collected % 3 == 0 ? odio_queue_poll(queue, done, max)
                                       : odio_queue_wait(queue, done, 1, max, -1);
        CHECK(count >= 0 && (uint32_t)count <= max);
        for (int i = 0; i < count; i++) {
            uint32_t slot = 0;
            while (slot < DEPTH && !(used[slot] && in_flight[slot] == done[i].user_data))
                slot++;
            CHECK(slot < DEPTH);
            CHECK(done[i].result == 0 || done[i].result == SIZE);
            used[slot] = false;
        }
        collected += (unsigned)count;
    }
    odio_completion more;
    CHECK(odio_queue_wait(queue, &more, 1, 1, -1) == 0);
    CHECK(odio_queue_free(queue) == 0);
    CHECK(odio_file_close(file) == 0);
    odio_buffer_free(memory);
}

/* Whatever is asked of a full queue. */
static void check_is_full(odio_queue *queue, odio_file *file, unsigned char *memory)
{
    CHECK(odio_queue_read(queue, file, memory, SIZE, 0, 99) == -EAGAIN);
    CHECK_SAYS("holds 4 requests");
    CHECK(odio_queue_write(queue, file, memory, SIZE, 0, 99) == -EAGAIN);
    CHECK(odio_queue_sync(queue, file, 99) == -EAGAIN);
    CHECK(odio_queue_datasync(queue, file, 99) == -EAGAIN);
}

static void a_full_queue_refuses_and_loses_nothing(void)
{
    enum { DEPTH = 4 };
    odio_file *file = open_empty("full");
    odio_queue *queue = new_queue(DEPTH);
    unsigned char *memory = new_memory(file, (DEPTH + 1) * SIZE);
    take_in_writes(queue, file, memory, DEPTH);
    check_is_full(queue, file, memory);
    CHECK(odio_queue_submit(queue) == 0);
    /* A completion that nobody has collected keeps its place. */
    check_is_full(queue, file, memory);
    odio_completion done;
    unsigned seen = 0;
    int64_t moved = 0;
    for (int i = 0; i <= DEPTH; i++) {
        CHECK(odio_queue_wait(queue, &done, 1, 1, -1) == 1);
        CHECK(done.user_data <= DEPTH && (seen & 1u << done.user_data) == 0);
        seen |= 1u << done.user_data;
        moved += done.result;
        if (i == 0) {
            /* One place is free now, and no more. */
            CHECK(odio_queue_datasync(queue, file, DEPTH) == 0);
            check_is_full(queue, file, memory);
        }
    }
    CHECK(seen == (1u << (DEPTH + 1)) - 1 && moved == DEPTH * SIZE);
    CHECK(odio_queue_wait(queue, &done, 1, 1, -1) == 0);
    CHECK(odio_queue_free(queue) == 0);
    CHECK(odio_file_close(file) == 0);
    check_content("full", memory, DEPTH * SIZE);
    odio_buffer_free(memory);
}

static void waits_are_for_min_and_up_to_max(void)
{
    enum { DEPTH = 8 };
    odio_file *file = open_empty("wait");
    odio_queue *queue = new_queue(DEPTH);
    unsigned char *memory = new_memory(file, DEPTH * SIZE);
    odio_completion done[DEPTH];

    /* Nothing in flight: nothing to wait for, however long. */
    CHECK(odio_queue_wait(queue, done, 1, DEPTH, -1) == 0);
    CHECK(odio_queue_wait(queue, done, DEPTH, DEPTH, INT64_MAX) == 0);
    CHECK(odio_queue_poll(queue, done, DEPTH) == 0);
    CHECK(odio_queue_wait(queue, done, 2, 1, -1) == -EINVAL);

    take_in_writes(queue, file, memory, DEPTH);
    int count = odio_queue_wait(queue, done, 3, 5, -1);
    CHECK(count >= 3 && count <= 5);
    /* More than what is left is not waited for. */
    int rest = odio_queue_wait(queue, done, DEPTH, DEPTH, -1);
    CHECK(count + rest == DEPTH);

    take_in_writes(queue, file, memory, DEPTH);
    for (count = 0; count < DEPTH;) {
        int some = odio_queue_wait(queue, done, 1, 2, 1000000);
        CHECK(some >= 0 && some <= 2);
        count += some;
    }
    /* A max of 0 hands over and collects nothing. */
    take_in_writes(queue, file, memory, 1);
    CHECK(odio_queue_wait(queue, done, 0, 0, -1) == 0);
    CHECK(odio_queue_wait(queue, done, 1, 1, -1) == 1);
    CHECK(odio_queue_free(queue) == 0);
    CHECK(odio_file_close(file) == 0);
    odio_buffer_free(memory);
}

struct chain {
    odio_queue *queue;
    odio_file *file;
    unsigned char *memory;
    unsigned calls, inner;
};

/* Takes in the next request; every third time it collects that itself. */
static void go_on(const odio_completion *done, void *context)
{
    struct chain *chain = context;
    CHECK(done->result == SIZE && done->user_data == chain->calls + chain->inner);
    chain->calls++;
    uint64_t next = chain->calls + chain->inner;
    if (next >= 20)
        return;
    CHECK(odio_queue_write(chain->queue, chain->file, chain->memory, SIZE, next * SIZE, next) == 0);
    if (next % 3 == 0) {
        odio_completion inner;
        CHECK(odio_queue_wait(chain->queue, &inner, 1, 1, -1) == 1);
        CHECK(inner.user_data == next && inner.result == SIZE);
        chain->inner++;
        next++;
        CHECK(odio_queue_write(chain->queue, chain->file, chain->memory, SIZE, next * SIZE, next) == 0);
        CHECK(odio_queue_submit(chain->queue) == 0);
    }
}

static void callbacks_take_in_more(void)
{
    odio_file *file = open_empty("callback");
    odio_queue *queue = new_queue(2);
    unsigned char *memory = new_memory(file, SIZE);
    struct chain chain = {.queue = queue, .file = file, .memory = memory};
    CHECK(odio_queue_dispatch(queue, 0, 0, NULL, NULL) == -EINVAL);
    CHECK(odio_queue_dispatch(queue, 1, -1, go_on, &chain) == 0);
    CHECK(odio_queue_write(queue, file, memory, SIZE, 0, 0) == 0);
    unsigned called = 0;
    for (int count = 1; count > 0; called += (unsigned)count) {
        count = odio_queue_dispatch(queue, 1, -1, go_on, &chain);
        CHECK(count >= 0);
    }
    CHECK(called == chain.calls && chain.calls + chain.inner >= 20 && chain.inner > 0);
    CHECK(odio_queue_free(queue) == 0);
    CHECK(odio_file_close(file) == 0);
    odio_buffer_free(memory);
}

/* How far the requests are when the queue goes: taken in, handed over, completed and not collected. */
static void freed_with_requests_in_flight(void)
{
    enum { DEPTH = 32, STAGES = 3 };
    for (int stage = 0; stage < STAGES; stage++) {
        odio_file *file = open_empty("freed");
        odio_queue *queue = new_queue(DEPTH);
        unsigned char *memory = new_memory(file, DEPTH * SIZE);
        unsigned char expected[DEPTH * SIZE];
        odio_completion done;
        take_in_writes(queue, file, memory, DEPTH);
        memcpy(expected, memory, sizeof expected);
        if (stage == 1)
            CHECK(odio_queue_submit(queue) == 0);
        if (stage == 2)
            CHECK(odio_queue_wait(queue, &done, 1, 1, -1) == 1);
        CHECK(odio_queue_free(queue) == 0);
        /* The memory is the caller's again. */
        memset(memory, 0xee, DEPTH * SIZE);
        odio_buffer_free(memory);
        CHECK(odio_file_close(file) == 0);
        check_content("freed", expected, sizeof expected);
    }
}

static void file_closed_with_requests_in_flight(void)
{
    enum { DEPTH = 32 };
    for (int is_submitted = 0; is_submitted < 2; is_submitted++) {
        odio_file *file = open_empty("closed");
        odio_queue *queue = new_queue(DEPTH);
        unsigned char *memory = new_memory(file, DEPTH * SIZE);
        int64_t results[DEPTH];
        take_in_writes(queue, file, memory, DEPTH);
        if (is_submitted)
            CHECK(odio_queue_submit(queue) == 0);
        CHECK(odio_file_close(file) == 0);
        collect_each_once(queue, DEPTH, results);
        for (int i = 0; i < DEPTH; i++)
            CHECK(results[i] == SIZE);
        CHECK(odio_queue_free(queue) == 0);
        check_content("closed", memory, DEPTH * SIZE);
        odio_buffer_free(memory);
    }
}

const struct conformance_case queue_cases[] = {
    {"batches of every depth", whole_batches},
    {"any user_data comes back once, in any order", any_user_data_comes_back_once},
    {"a full queue refuses and loses nothing", a_full_queue_refuses_and_loses_nothing},
    {"waits are for min, up to max, no longer than the time", waits_are_for_min_and_up_to_max},
    {"callbacks take in more", callbacks_take_in_more},
    {"a queue is freed with requests in flight", freed_with_requests_in_flight},
    {"a file is closed with requests in flight", file_closed_with_requests_in_flight},
    {NULL, NULL},
};
