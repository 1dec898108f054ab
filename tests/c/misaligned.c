/*
 * misaligned FILE ENGINE: requests that direct I/O cannot carry, between two marks on standard output, so that whoever
 * traces the system calls sees whether any was made for them; then one that it can.
 */
#include "check.h"

#include <errno.h>
#include <unistd.h>

static void mark(const char *text)
{
    CHECK(write(STDOUT_FILENO, text, strlen(text)) == (ssize_t)strlen(text));
}

int main(int argc, char **argv)
{
    CHECK(argc == 3);
    odio_open_options open = {.size = sizeof open, .flags = ODIO_OPEN_WRITE | ODIO_OPEN_CREATE};
    odio_queue_options setup = {.size = sizeof setup, .depth = 4};
    CHECK(odio_queue_options_set_engine(&setup, argv[2]) == 0);
    odio_file *file;
    odio_queue *queue;
    void *memory;
    CHECK(odio_file_open(argv[1], &open, &file) == 0);
    CHECK(odio_queue_new(&setup, &queue) == 0);
    CHECK(odio_buffer_new(NULL, 8192, &memory) == 0);
    odio_limits limits = {.size = sizeof limits};
    CHECK(odio_file_limits(file, &limits) == 0);
    size_t unit = limits.length_align;
    char *odd = (char *)memory + 1;
    odio_completion done;

    mark("begin\n");
    CHECK(odio_file_read(file, odd, unit, 0) == -EINVAL);
    CHECK_SAYS("buffer address 0x");
    CHECK_SAYS("is needed; source: ");
    CHECK(odio_file_write(file, odd, unit, 0) == -EINVAL);
    CHECK(odio_file_read(file, memory, unit, unit + 1) == -EINVAL);
    CHECK_SAYS("offset ");
    CHECK(odio_file_write(file, memory, unit, 3) == -EINVAL);
    CHECK(odio_file_read(file, memory, unit - 1, 0) == -EINVAL);
    CHECK_SAYS("length ");
    CHECK(odio_file_write(file, memory, unit / 2, 0) == -EINVAL);
    CHECK(odio_queue_read(queue, file, odd, unit, 0, 1) == -EINVAL);
    CHECK(odio_queue_write(queue, file, memory, unit, 1, 2) == -EINVAL);
    CHECK(odio_queue_write(queue, file, memory, 1, 0, 3) == -EINVAL);
    CHECK(odio_queue_wait(queue, &done, 1, 1, -1) == 0);
    mark("end\n");

    CHECK(odio_file_write(file, memory, unit, 0) == (ssize_t)unit);
    CHECK(odio_queue_read(queue, file, memory, unit, 0, 4) == 0);
    CHECK(odio_queue_wait(queue, &done, 1, 1, -1) == 1);
    CHECK(done.user_data == 4 && done.result == (int64_t)unit);

    CHECK(odio_queue_free(queue) == 0);
    odio_buffer_free(memory);
    CHECK(odio_file_close(file) == 0);
    return 0;
}
