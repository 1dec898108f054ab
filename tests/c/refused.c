/*
 * refused DIRECTORY ENGINE: a batch in which every second request is refused by the kernel before it begins: each has
 * its own completion, and those between succeed. Before Linux 5.18 io_uring_enter stops at such a request
 * (io_submit_sqes), and what comes after it takes another call.
 */
#include "check.h"
#include "descriptor.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

enum { SIZE = 4096, DEPTH = 16 };

/* Puts a descriptor that refuses every request (O_PATH: EBADF in fget) where this file's is. */
static void spoil(const char *path)
{
    int useless = open("/", O_PATH | O_CLOEXEC);
    CHECK(useless >= 0 && dup3(useless, descriptor_of(path), O_CLOEXEC) >= 0 && close(useless) == 0);
}

int main(int argc, char **argv)
{
    CHECK(argc == 3);
    /* What hangs is ended. */
    alarm(60);
    odio_open_options how = {.size = sizeof how,
                             .direct = ODIO_DIRECT_PREFERRED,
                             .sync = ODIO_SYNC_NONE,
                             .flags = ODIO_OPEN_WRITE | ODIO_OPEN_CREATE | ODIO_OPEN_TRUNCATE};
    odio_queue_options options = {.size = sizeof options, .depth = DEPTH};
    odio_file *files[2];
    odio_queue *queue;
    void *memory;
    CHECK(chdir(argv[1]) == 0);
    CHECK(odio_file_open("good", &how, &files[0]) == 0 && odio_file_open("bad", &how, &files[1]) == 0);
    CHECK(odio_queue_options_set_engine(&options, argv[2]) == 0 && odio_queue_new(&options, &queue) == 0);
    CHECK(odio_buffer_new(files[0], SIZE, &memory) == 0);
    memset(memory, 1, SIZE);
    CHECK(odio_file_write(files[0], memory, SIZE, 0) == SIZE);
    spoil("bad");
    /* The first is refused, the last is not; then the other way round; with and without waiting. */
    for (unsigned round = 0; round < 4; round++) {
        unsigned seen = 0;
        for (uint64_t i = 0; i < DEPTH; i++)
            CHECK(odio_queue_read(queue, files[(i + round + 1) % 2], memory, SIZE, 0, i) == 0);
        if (round >= 2)
            CHECK(odio_queue_submit(queue) == 0);
        for (int left = DEPTH; left > 0;) {
            odio_completion done[DEPTH];
            int count = odio_queue_wait(queue, done, (uint32_t)left, DEPTH, -1);
            CHECK(count == left);
            for (int i = 0; i < count; i++) {
                uint64_t number = done[i].user_data;
                CHECK(number < DEPTH && (seen & 1u << number) == 0);
                CHECK(done[i].result == ((number + round + 1) % 2 ? -EBADF : SIZE));
                seen |= 1u << number;
            }
            left -= count;
        }
    }
    printf("refused: ok\n");
    CHECK(odio_queue_free(queue) == 0);
    odio_file_close(files[1]);
    CHECK(odio_file_close(files[0]) == 0);
    odio_buffer_free(memory);
    return 0;
}
