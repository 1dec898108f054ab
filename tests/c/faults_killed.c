/*
 * killed PLACE ...: a process that is killed (SIGKILL) with requests in flight.
 *
 * Another process finds each block whole: as it was when the last write to it was acknowledged, or as the one after
 * that was to make it. Once the killed one's requests have ended, nothing of it is left: the file can be had alone.
 */
#include "faults.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BLOCK = 4096, DEPTH = 32, KILL_AFTER = 600 };

struct acknowledgement {
    uint32_t block, generation;
};

static void fill_block(unsigned char *memory, uint32_t block, uint32_t generation)
{
    fill(memory, BLOCK, (uint64_t)generation * DEPTH + block);
}

/*
 * Writes DEPTH blocks, and each of them again when it is acknowledged and the pipe says so, until it is killed: the queue
 * is full then.
 */
static void write_for_ever(int pipe)
{
    odio_file *file = open_again("killed", ODIO_OPEN_WRITE);
    odio_queue *queue = new_queue(DEPTH);
    unsigned char *memory = new_memory(file, DEPTH * BLOCK);
    uint32_t generations[DEPTH] = {0}, next = 0;
    for (;;) {
        unsigned char *at = memory + (size_t)next * BLOCK;
        fill_block(at, next, ++generations[next]);
        CHECK(odio_queue_write(queue, file, at, BLOCK, (uint64_t)next * BLOCK, next) == 0);
        /* At the beginning each is taken in once. */
        if (generations[DEPTH - 1] == 0) {
            next++;
            continue;
        }
        odio_completion done;
        CHECK(odio_queue_wait(queue, &done, 1, 1, -1) == 1 && done.result == BLOCK);
        next = (uint32_t)done.user_data;
        struct acknowledgement told = {next, generations[next]};
        CHECK(write(pipe, &told, sizeof told) == sizeof told);
    }
}

/* Waits until nobody else has the file open: the kernel lets go of a ring's requests some time after the process. */
static void have_it_alone(void)
{
    for (;;) {
        int file = open(path_of("killed"), O_RDWR | O_CLOEXEC | (subject.is_device ? O_EXCL : 0));
        bool is_alone = file >= 0 && (subject.is_device || fcntl(file, F_SETLEASE, F_WRLCK) == 0);
        CHECK(is_alone || errno == EBUSY || errno == EAGAIN);
        if (file >= 0)
            CHECK(close(file) == 0);
        if (is_alone)
            return;
        usleep(10000);
    }
}

void killed_submitter(char **words)
{
    (void)words;
    uint32_t acknowledged[DEPTH] = {0}, count = 0, newer = 0;
    odio_file *file = open_empty("killed");
    unsigned char *memory = new_memory(file, DEPTH * BLOCK), expected[BLOCK];
    for (uint32_t i = 0; i < DEPTH; i++)
        fill_block(memory + (size_t)i * BLOCK, i, 0);
    CHECK(odio_file_write(file, memory, DEPTH * BLOCK, 0) == DEPTH * BLOCK);
    CHECK(odio_file_sync(file) == 0 && odio_file_close(file) == 0);

    int ends[2];
    CHECK(pipe2(ends, O_CLOEXEC) == 0);
    pid_t victim = fork();
    CHECK(victim >= 0);
    if (victim == 0) {
        close(ends[0]);
        write_for_ever(ends[1]);
    }
    CHECK(close(ends[1]) == 0);
    struct acknowledgement told;
    while (read(ends[0], &told, sizeof told) == sizeof told) {
        CHECK(told.block < DEPTH && told.generation == acknowledged[told.block] + 1);
        acknowledged[told.block] = told.generation;
        if (++count == KILL_AFTER)
            CHECK(kill(victim, SIGKILL) == 0);
    }
    int status;
    CHECK(waitpid(victim, &status, 0) == victim && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    CHECK(count >= KILL_AFTER);
    have_it_alone();

    file = open_again("killed", ODIO_OPEN_WRITE);
    CHECK(odio_file_read(file, memory, DEPTH * BLOCK, 0) == DEPTH * BLOCK);
    for (uint32_t i = 0; i < DEPTH; i++) {
        fill_block(expected, i, acknowledged[i]);
        if (memcmp(memory + (size_t)i * BLOCK, expected, BLOCK) != 0) {
            fill_block(expected, i, acknowledged[i] + 1);
            CHECK(memcmp(memory + (size_t)i * BLOCK, expected, BLOCK) == 0);
            newer++;
        }
    }
    CHECK(odio_file_sync(file) == 0 && odio_file_close(file) == 0);
    odio_buffer_free(memory);
    printf("%u acknowledged, %u found newer\n", count, newer);
}
