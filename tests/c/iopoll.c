/*
 * iopoll PATH: a queue with ODIO_QUEUE_IOPOLL writes and reads PATH, a file of written blocks or a device, whose content
 * is lost. Where the device has no poll queues the first request is refused, and why is printed.
 */
#include "check.h"

#include <errno.h>

enum { SIZE = 4096, DEPTH = 16, ROUNDS = 4 };

/* An odd round asks for completions without waiting: a poll has to find them as well. */
static void move(odio_queue *queue, odio_file *file, unsigned char *memory, int is_write, int round)
{
    for (uint64_t i = 0; i < DEPTH; i++) {
        unsigned char *at = memory + i * SIZE;
        CHECK((is_write ? odio_queue_write(queue, file, at, SIZE, i * SIZE, i)
                        : odio_queue_read(queue, file, at, SIZE, i * SIZE, i)) == 0);
    }
    unsigned seen = 0;
    while (seen != (1u << DEPTH) - 1) {
        odio_completion done[DEPTH];
        int count = round % 2 ? odio_queue_poll(queue, done, DEPTH)
                              : odio_queue_wait(queue, done, 1, DEPTH, -1);
        CHECK(count >= !(round % 2));
        for (int i = 0; i < count; i++) {
            CHECK(done[i].result == SIZE && (seen & 1u << done[i].user_data) == 0);
            seen |= 1u << done[i].user_data;
        }
    }
}

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    odio_open_options how = {.size = sizeof how, .sync = ODIO_SYNC_NONE, .flags = ODIO_OPEN_WRITE};
    odio_queue_options options = {
        .size = sizeof options, .engine = ODIO_ENGINE_IO_URING, .depth = DEPTH, .flags = ODIO_QUEUE_IOPOLL};
    odio_limits limits = {.size = sizeof limits};
    odio_file *file;
    odio_queue *queue;
    void *memory;
    CHECK(odio_file_open(argv[1], &how, &file) == 0);
    CHECK(odio_file_limits(file, &limits) == 0);
    CHECK(odio_queue_new(&options, &queue) == 0);
    CHECK(odio_buffer_new(file, DEPTH * SIZE, &memory) == 0);
    printf("%s: poll_queues %u from %s\n", limits.filesystem, limits.poll_queues,
           odio_source_name(limits.poll_queues_source));

    int first = odio_queue_write(queue, file, memory, SIZE, 0, 0);
    if (!limits.poll_queues) {
        CHECK(first == -EINVAL);
        CHECK_SAYS("the device has no poll queues");
        printf("refused: %s\n", odio_last_error());
    } else {
        odio_completion done;
        CHECK(first == 0 && odio_queue_wait(queue, &done, 1, 1, -1) == 1 && done.result == SIZE);
        unsigned char *bytes = memory;
        for (int round = 1; round <= ROUNDS; round++) {
            for (int i = 0; i < DEPTH * SIZE; i++)
                bytes[i] = (unsigned char)(i / SIZE * 13 + i + round);
            move(queue, file, memory, 1, round);
            memset(memory, 0, DEPTH * SIZE);
            move(queue, file, memory, 0, round);
            for (int i = 0; i < DEPTH * SIZE; i++)
                CHECK(bytes[i] == (unsigned char)(i / SIZE * 13 + i + round));
        }
        CHECK(odio_queue_sync(queue, file, 1) == -EINVAL);
        CHECK_SAYS("transfers only");
        /* The file itself can be synced. */
        CHECK(odio_file_sync(file) == 0);
        printf("polled: %d\n", 1 + 2 * ROUNDS * DEPTH);
    }
    CHECK(odio_queue_free(queue) == 0);
    CHECK(odio_file_close(file) == 0);
    odio_buffer_free(memory);
    return 0;
}
