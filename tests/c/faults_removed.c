/*
 * removed DEVICE ... REMOVE WORD RESCAN WORD: a device that is taken away while requests of several files are in flight, by
 * writing a word to the file REMOVE. Writing the other to RESCAN brings it back under its name.
 *
 * Each request ends once: as asked for, or with an errno, and never as the end of the file. What was acknowledged is
 * there when the device is back.
 */
#include "faults.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

/* Of one file, one durable write through the page cache is under way at a time. */
enum { BLOCK = 4096, DEPTH = 64, GOOD = 10 * DEPTH, FILES = 16 };

/* A write of one block again and again; the next DEPTH blocks are read. */
struct request {
    bool is_busy, is_read;
    uint64_t generation, acknowledged;
};

void write_word(const char *path, const char *word)
{
    int file = open(path, O_WRONLY | O_CLOEXEC);
    CHECK(file >= 0 && write(file, word, strlen(word)) == (ssize_t)strlen(word));
    CHECK(close(file) == 0);
}

static void fill_block(unsigned char *memory, uint64_t number, uint64_t generation)
{
    fill(memory, BLOCK, generation * 2 * DEPTH + number);
}

static bool is_block(const unsigned char *memory, uint64_t number, uint64_t generation)
{
    unsigned char expected[BLOCK];
    fill_block(expected, number, generation);
    return memcmp(memory, expected, BLOCK) == 0;
}

bool is_removal(int64_t result)
{
    return result == -EIO || result == -ENODEV || result == -ENXIO;
}

static void take_in(odio_queue *queue, odio_file *file, struct request *request, unsigned char *memory, uint64_t i)
{
    unsigned char *at = memory + i * BLOCK;
    request->is_busy = true;
    request->generation++;
    if (request->is_read) {
        memset(at, 0, BLOCK);
        CHECK(odio_queue_read(queue, file, at, BLOCK, (DEPTH + i) * BLOCK, i) == 0);
    } else {
        fill_block(at, i, request->generation);
        CHECK(odio_queue_write(queue, file, at, BLOCK, i * BLOCK, i) == 0);
    }
}

void removed_device(char **words)
{
    odio_file *files[FILES];
    for (uint64_t i = 0; i < FILES; i++)
        files[i] = open_again("", ODIO_OPEN_WRITE | ODIO_OPEN_SHARED_DEVICE);
    odio_file *file = files[0];
    odio_queue *queue = new_queue(DEPTH);
    unsigned char *memory = new_memory(file, DEPTH * BLOCK);
    struct request requests[DEPTH] = {{0}};
    bool is_cached = unit_of(file) == 1;
    for (uint64_t i = 0; i < DEPTH; i++) {
        requests[i].is_read = i % 4 == 3;
        for (uint64_t number = i; number < 2 * DEPTH; number += DEPTH) {
            fill_block(memory, number, 0);
            CHECK(odio_file_write(file, memory, BLOCK, number * BLOCK) == BLOCK);
        }
    }
    CHECK(odio_file_sync(file) == 0);

    uint32_t in_flight = DEPTH, good = 0, failed = 0;
    pid_t remover = 0;
    bool is_removed = false;
    for (uint64_t i = 0; i < DEPTH; i++)
        take_in(queue, files[i % FILES], &requests[i], memory, i);
    while (in_flight > 0) {
        odio_completion done[7];
        int stored = odio_queue_wait(queue, done, 1, 7, -1);
        CHECK(stored >= 1 && stored <= 7);
        for (int n = 0; n < stored; n++) {
            uint64_t i = done[n].user_data;
            CHECK(i < DEPTH && requests[i].is_busy);
            struct request *request = &requests[i];
            request->is_busy = false;
            in_flight--;
            if (done[n].result != BLOCK) {
                if (remover == 0 || !is_removal(done[n].result))
                    fprintf(stderr, "request %u ended with %lld, %s\n", (unsigned)i, (long long)done[n].result,
                            remover == 0 ? "before the device was taken away" : "when it was taken away");
                CHECK(remover != 0 && is_removal(done[n].result));
                failed++;
                continue;
            }
            good++;
            if (request->is_read)
                CHECK(is_block(memory + i * BLOCK, DEPTH + i, 0));
            else
                request->acknowledged = request->generation;
            /* The page cache may take writes and answer reads for ever. */
            if (is_removed && is_cached)
                continue;
            take_in(queue, files[i % FILES], request, memory, i);
            in_flight++;
            if (good == GOOD) {
                CHECK(odio_queue_submit(queue) == 0);
                remover = fork();
                CHECK(remover >= 0);
                if (remover == 0) {
                    write_word(words[0], words[1]);
                    _exit(0);
                }
            }
        }
        int status;
        if (remover != 0 && !is_removed && waitpid(remover, &status, WNOHANG) == remover) {
            CHECK(status == 0);
            is_removed = true;
        }
    }
    CHECK(good >= GOOD && (is_cached || failed == DEPTH));
    if (!is_removed) {
        int status;
        CHECK(waitpid(remover, &status, 0) == remover && status == 0);
    }
    struct iovec piece = {.iov_base = memory, .iov_len = BLOCK};
    int64_t after[] = {
        odio_file_read(file, memory, BLOCK, 0),
        odio_file_write(file, memory, BLOCK, 0),
        odio_file_readv(file, &piece, 1, 0, ODIO_RWF_NOWAIT),
    };
    for (size_t i = 0; i < sizeof after / sizeof *after; i++)
        CHECK(is_removal(after[i]) || (is_cached && after[i] == BLOCK));
    CHECK(odio_queue_free(queue) == 0);
    int synced = 0;
    for (uint64_t i = 0; i < FILES; i++) {
        synced = odio_file_sync(files[i]);
        CHECK(is_removal(synced));
        CHECK(odio_file_sync(files[i]) == synced);
        CHECK(odio_file_acknowledge_sync_error(files[i]) == synced);
        CHECK(odio_file_close(files[i]) == 0);
    }

    write_word(words[2], words[3]);
    while (access(subject.path, F_OK) != 0)
        usleep(20000);
    /* The name may be there before the device is. */
    while (try_open("", 0, &file) == -ENXIO)
        usleep(20000);
    CHECK(file != NULL);
    /* What was only in the page cache may be lost, as the sync said. */
    if (!is_cached || subject.sync != ODIO_SYNC_NONE)
        for (uint64_t i = 0; i < DEPTH; i++)
            if (!requests[i].is_read) {
                struct request *request = &requests[i];
                CHECK(odio_file_read(file, memory, BLOCK, i * BLOCK) == BLOCK);
                CHECK(is_block(memory, i, request->acknowledged) || is_block(memory, i, request->generation));
            }
    CHECK(odio_file_close(file) == 0);
    odio_buffer_free(memory);
    printf("%u good, %u failed, then the sync %d\n", good, failed, synced);
}
