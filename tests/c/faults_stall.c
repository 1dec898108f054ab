/*
 * stalled DEVICE ... FROZEN CLOCK: a device whose writes wait, because its image lies on the filesystem at FROZEN.
 *
 * Waits end when their time is up, nothing is collected that has not come, and closing the file and freeing the queue
 * wait for 256 requests in flight. A loop device itself holds 128; io_submit(2) waits for room where they do not merge,
 * as writes with a sync do not, so libaio is stalled without one. With `jumping` for CLOCK, CLOCK_REALTIME is set a day on
 * and back all the while; with `steady` it is left alone.
 */
#include "faults.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { BLOCK = 4096, DEPTH = 256, LIMIT_MS = 20000 };

/* A filesystem that stays frozen keeps processes for good, so another process thaws it whatever becomes of this one. */
struct guard {
    int pipe;
    pid_t process;
};

static struct guard freeze(const char *path)
{
    int directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), ends[2];
    CHECK(directory >= 0 && pipe2(ends, O_CLOEXEC) == 0);
    pid_t process = fork();
    CHECK(process >= 0);
    if (process == 0) {
        close(ends[1]);
        char byte;
        struct pollfd told = {.fd = ends[0], .events = POLLIN};
        int heard = poll(&told, 1, LIMIT_MS);
        /* A byte is the number of tenths of a second until the thaw; the end of the pipe is at once. */
        if (heard == 1 && read(ends[0], &byte, 1) == 1)
            usleep((useconds_t)byte * 100000);
        _exit(ioctl(directory, FITHAW, 0) == 0 && heard == 1 ? 0 : 1);
    }
    CHECK(close(ends[0]) == 0);
    CHECK(ioctl(directory, FIFREEZE, 0) == 0);
    CHECK(close(directory) == 0);
    return (struct guard){.pipe = ends[1], .process = process};
}

static void thaw_in(const struct guard *guard, char tenths)
{
    CHECK(write(guard->pipe, &tenths, 1) == 1);
}

static void check_thawed(const struct guard *guard)
{
    int status;
    CHECK(close(guard->pipe) == 0);
    CHECK(waitpid(guard->process, &status, 0) == guard->process && status == 0);
}

static int64_t now(void)
{
    struct timespec time;
    CHECK(clock_gettime(CLOCK_MONOTONIC, &time) == 0);
    return time.tv_sec * INT64_C(1000000000) + time.tv_nsec;
}

/* How often the clock was set, by the process that does so where there is one. */
static struct {
    atomic_uint *count;
    pid_t process;
} jumps;

static void begin_jumps(void)
{
    jumps.count = mmap(NULL, sizeof *jumps.count, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(jumps.count != MAP_FAILED);
    jumps.process = fork();
    CHECK(jumps.process >= 0);
    for (time_t by = 86400; jumps.process == 0; by = -by) {
        struct timespec time;
        if (clock_gettime(CLOCK_REALTIME, &time) != 0)
            _exit(1);
        time.tv_sec += by;
        if (clock_settime(CLOCK_REALTIME, &time) != 0)
            _exit(1);
        ++*jumps.count;
        usleep(5000);
    }
}

static void end_jumps(void)
{
    int status;
    CHECK(kill(jumps.process, SIGKILL) == 0);
    CHECK(waitpid(jumps.process, &status, 0) == jumps.process && WIFSIGNALED(status));
}

static void check_waits_end(odio_queue *queue)
{
    odio_completion done[DEPTH];
    CHECK(odio_queue_poll(queue, done, DEPTH) == 0);
    CHECK(odio_queue_wait(queue, done, 0, DEPTH, -1) == 0);
    for (int64_t timeout = 1000; timeout <= 100000000; timeout *= 100) {
        int64_t begin = now();
        CHECK(odio_queue_wait(queue, done, 1, DEPTH, timeout) == 0);
        CHECK(now() - begin >= timeout);
    }
    if (jumps.process == 0)
        return;
    /* As long as it takes to have waited while the clock went on a day and while it went back. */
    unsigned before = *jumps.count;
    do {
        int64_t begin = now();
        CHECK(odio_queue_wait(queue, done, 1, DEPTH, 50000000) == 0);
        CHECK(now() - begin >= 50000000);
    } while (*jumps.count - before < 6);
}

void stalled_device(char **words)
{
    odio_file *file = open_empty("");
    odio_queue *queue = new_queue(DEPTH);
    size_t length = (size_t)DEPTH * BLOCK;
    unsigned char *memory = new_memory(file, length);
    int64_t results[DEPTH];
    const bool is_jumping = strcmp(words[1], "jumping") == 0;
    CHECK(is_jumping || strcmp(words[1], "steady") == 0);
    if (is_jumping)
        begin_jumps();

    fill(memory, length, 1);
    struct guard guard = freeze(words[0]);
    take_in_blocks(queue, file, true, memory, BLOCK, 0, DEPTH);
    check_waits_end(queue);
    CHECK(odio_queue_write(queue, file, memory, BLOCK, 0, DEPTH) == -EAGAIN);
    thaw_in(&guard, 0);
    collect_each_once(queue, DEPTH, results);
    for (int i = 0; i < DEPTH; i++)
        CHECK(results[i] == BLOCK);
    check_thawed(&guard);
    check_content("", memory, length);

    /* Closed and freed with all of them in flight, which is still so when the freeing begins. */
    fill(memory, length, 2);
    unsigned char *expected = malloc(length);
    CHECK(expected != NULL);
    memcpy(expected, memory, length);
    guard = freeze(words[0]);
    take_in_blocks(queue, file, true, memory, BLOCK, 0, DEPTH);
    check_waits_end(queue);
    CHECK(odio_file_close(file) == 0);
    int64_t begin = now();
    thaw_in(&guard, 3);
    CHECK(odio_queue_free(queue) == 0);
    CHECK(now() - begin >= 300000000);
    memset(memory, 0, length);
    odio_buffer_free(memory);
    check_thawed(&guard);
    check_content("", expected, length);
    free(expected);
    if (is_jumping)
        end_jumps();
}
