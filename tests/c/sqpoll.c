/*
 * sqpoll PATH: a queue with ODIO_QUEUE_SQPOLL writes, reads and syncs PATH, a directory or a device, whose content is
 * lost; also after its thread has gone to sleep.
 */
#include "check.h"

#include <sys/stat.h>
#include <unistd.h>

enum { SIZE = 4096, DEPTH = 8, ROUNDS = 3 };

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    /* What hangs is ended. */
    alarm(60);
    struct stat found;
    char path[4096];
    CHECK(stat(argv[1], &found) == 0);
    uint32_t create = S_ISDIR(found.st_mode) ? ODIO_OPEN_CREATE : 0;
    snprintf(path, sizeof path, create ? "%s/sqpoll" : "%s", argv[1]);
    odio_open_options how = {.size = sizeof how, .flags = ODIO_OPEN_WRITE | create};
    odio_queue_options options = {
        .size = sizeof options, .engine = ODIO_ENGINE_IO_URING, .depth = DEPTH, .flags = ODIO_QUEUE_SQPOLL};
    odio_file *file;
    odio_queue *queue;
    void *memory;
    CHECK(odio_file_open(path, &how, &file) == 0);
    CHECK(odio_queue_new(&options, &queue) == 0);
    CHECK(odio_buffer_new(file, DEPTH * SIZE, &memory) == 0);
    unsigned char *bytes = memory;
    for (int round = 1; round <= ROUNDS; round++) {
        for (int is_write = 1; is_write >= 0; is_write--) {
            for (int i = 0; is_write && i < DEPTH * SIZE; i++)
                bytes[i] = (unsigned char)(i / SIZE * 13 + i + round);
            for (uint64_t i = 0; i < DEPTH; i++)
                CHECK((is_write ? odio_queue_write(queue, file, bytes + i * SIZE, SIZE, i * SIZE, i)
                                : odio_queue_read(queue, file, bytes + i * SIZE, SIZE, i * SIZE, i)) == 0);
            odio_completion done[DEPTH];
            CHECK(odio_queue_wait(queue, done, DEPTH, DEPTH, -1) == DEPTH);
            for (int i = 0; i < DEPTH; i++)
                CHECK(done[i].result == SIZE);
            if (is_write)
                memset(memory, 0, DEPTH * SIZE);
        }
        for (int i = 0; i < DEPTH * SIZE; i++)
            CHECK(bytes[i] == (unsigned char)(i / SIZE * 13 + i + round));
        odio_completion done;
        CHECK(odio_queue_sync(queue, file, 1) == 0);
        CHECK(odio_queue_wait(queue, &done, 1, 1, -1) == 1 && done.result == 0);
        /* Longer than the thread waits for more. */
        usleep(100 * 1000);
    }
    printf("sqpoll: %d rounds\n", ROUNDS);
    CHECK(odio_queue_free(queue) == 0);
    CHECK(odio_file_close(file) == 0);
    odio_buffer_free(memory);
    return 0;
}
