/* Other processes and signals: truncated DIRECTORY ..., storm DIRECTORY ... */
#include "faults.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { BLOCK = 16384, DEPTH = 64, SIZE = DEPTH * BLOCK };

/* Cuts the file to each size that comes through the pipe and says so. */
static void truncater(const char *path, int sizes, int answers)
{
    int file = open(path, O_RDWR | O_CLOEXEC);
    uint32_t size;
    while (file >= 0 && read(sizes, &size, sizeof size) == sizeof size)
        if (ftruncate(file, size) != 0 || write(answers, &size, sizeof size) != sizeof size)
            _exit(1);
    _exit(file >= 0 ? 0 : 1);
}

/* Bytes of a file that was cut and made longer: what was written, or zeros. */
static void check_written_or_zero(const unsigned char *found, const unsigned char *written, size_t length)
{
    for (size_t i = 0; i < length; i++)
        CHECK(found[i] == written[i] || found[i] == 0);
}

void truncated_meanwhile(char **words)
{
    (void)words;
    odio_file *file = open_empty("truncated");
    odio_queue *queue = new_queue(DEPTH);
    unsigned char *written = new_memory(file, SIZE), *found = new_memory(file, SIZE);
    int64_t results[DEPTH];
    int sizes[2], answers[2];
    CHECK(pipe2(sizes, O_CLOEXEC) == 0 && pipe2(answers, O_CLOEXEC) == 0);
    pid_t other = fork();
    CHECK(other >= 0);
    if (other == 0) {
        close(sizes[1]);
        close(answers[0]);
        truncater(path_of("truncated"), sizes[0], answers[1]);
    }
    CHECK(close(sizes[0]) == 0 && close(answers[1]) == 0);

    for (uint32_t round = 0; round < 60; round++) {
        fill(written, SIZE, round);
        take_in_blocks(queue, file, true, written, BLOCK, 0, DEPTH);
        collect_each_once(queue, DEPTH, results);
        for (int i = 0; i < DEPTH; i++)
            CHECK(results[i] == BLOCK);

        /* Not at a block, so that the end lies inside of one. */
        uint32_t size = (round * 2654435761u) % SIZE, answer;
        memset(found, 0xa5, SIZE);
        take_in_blocks(queue, file, false, found, BLOCK, 0, DEPTH);
        CHECK(write(sizes[1], &size, sizeof size) == sizeof size);
        collect_each_once(queue, DEPTH, results);
        for (uint32_t i = 0; i < DEPTH; i++) {
            /* Cut before or after: never less than what both have, never a byte more than was reported. */
            uint32_t begin = i * BLOCK, kept = size <= begin ? 0 : size - begin < BLOCK ? size - begin : BLOCK;
            CHECK(results[i] >= kept && results[i] <= BLOCK);
            CHECK(memcmp(found + begin, written + begin, kept) == 0);
            check_written_or_zero(found + begin, written + begin, (size_t)results[i]);
        }
        CHECK(read(answers[0], &answer, sizeof answer) == sizeof answer && answer == size);

        /* Now that it is cut, each read ends exactly there. */
        memset(found, 0xa5, SIZE);
        take_in_blocks(queue, file, false, found, BLOCK, 0, DEPTH);
        collect_each_once(queue, DEPTH, results);
        for (uint32_t i = 0; i < DEPTH; i++) {
            uint32_t begin = i * BLOCK, kept = size <= begin ? 0 : size - begin < BLOCK ? size - begin : BLOCK;
            CHECK(results[i] == kept);
            CHECK(memcmp(found + begin, written + begin, kept) == 0);
        }

        /* Cut and made longer while writes are in flight: each is whole, and what it wrote is there or was cut off. */
        take_in_blocks(queue, file, true, written, BLOCK, 0, DEPTH);
        CHECK(write(sizes[1], &size, sizeof size) == sizeof size);
        collect_each_once(queue, DEPTH, results);
        for (int i = 0; i < DEPTH; i++)
            CHECK(results[i] == BLOCK);
        CHECK(read(answers[0], &answer, sizeof answer) == sizeof answer);
        memset(found, 0, SIZE);
        ssize_t length = odio_file_read(file, found, SIZE, 0);
        CHECK(length >= (ssize_t)size);
        CHECK(memcmp(found, written, size) == 0);
        check_written_or_zero(found, written, (size_t)length);
    }
    int status;
    CHECK(close(sizes[1]) == 0 && close(answers[0]) == 0);
    CHECK(waitpid(other, &status, 0) == other && status == 0);
    CHECK(odio_queue_free(queue) == 0);
    CHECK(odio_file_close(file) == 0);
    odio_buffer_free(written);
    odio_buffer_free(found);
}

static volatile sig_atomic_t signals;

static void count_signal(int number)
{
    (void)number;
    signals++;
}

void signal_storm(char **words)
{
    (void)words;
    enum { ROUNDS = 300 };
    odio_file *file = open_empty("storm");
    odio_queue *queue = new_queue(DEPTH);
    unsigned char *written = new_memory(file, SIZE), *found = new_memory(file, SIZE);
    int64_t results[DEPTH];
    /* No SA_RESTART: every system call that sleeps is interrupted. SIGALRM ends what hangs. */
    struct sigaction action = {.sa_handler = count_signal};
    struct itimerval often = {.it_interval = {.tv_usec = 100}, .it_value = {.tv_usec = 100}}, never = {0};
    CHECK(sigaction(SIGVTALRM, &action, NULL) == 0 && sigaction(SIGPROF, &action, NULL) == 0);
    timer_t timer;
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGVTALRM};
    struct itimerspec period = {.it_interval = {.tv_nsec = 100000}, .it_value = {.tv_nsec = 100000}};
    CHECK(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0 && timer_settime(timer, 0, &period, NULL) == 0);
    CHECK(setitimer(ITIMER_PROF, &often, NULL) == 0);
    for (uint32_t round = 0; round < ROUNDS; round++) {
        fill(written, BLOCK, round);
        for (int i = 1; i < DEPTH; i++)
            memcpy(written + i * BLOCK, written + (i - 1) * BLOCK + 1, BLOCK - 1);
        take_in_blocks(queue, file, true, written, BLOCK, 0, DEPTH);
        collect_each_once(queue, DEPTH, results);
        for (int i = 0; i < DEPTH; i++)
            CHECK(results[i] == BLOCK);
        take_in_blocks(queue, file, false, found, BLOCK, 0, DEPTH - 1);
        CHECK(odio_queue_datasync(queue, file, DEPTH - 1) == 0);
        collect_each_once(queue, DEPTH, results);
        for (int i = 0; i < DEPTH; i++)
            CHECK(results[i] == (i < DEPTH - 1 ? BLOCK : 0));
        CHECK(memcmp(written, found, (DEPTH - 1) * BLOCK) == 0);
        CHECK(odio_file_read(file, found, SIZE, 0) == SIZE && memcmp(written, found, SIZE) == 0);
        CHECK(odio_file_sync(file) == 0);
        /* Nothing comes: the whole time passes, whatever interrupts it. */
        odio_completion none;
        CHECK(odio_queue_wait(queue, &none, 1, 1, 1000000) == 0);
    }
    CHECK(setitimer(ITIMER_PROF, &never, NULL) == 0 && timer_delete(timer) == 0);
    CHECK(signals > ROUNDS);
    printf("%d signals\n", (int)signals);
    CHECK(odio_queue_free(queue) == 0);
    CHECK(odio_file_close(file) == 0);
    odio_buffer_free(written);
    odio_buffer_free(found);
}
