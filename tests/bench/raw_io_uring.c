/*
 * liburing. Variants: "plain"; "registered", which has the file and the buffers registered with the ring.
 */
#include "subject.h"

#include <fcntl.h>
#include <liburing.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct job job;
static bool registered;
static int file;
static char *blocks;
static struct io_uring ring;

static int fail(const char *what, int result)
{
    return fprintf(stderr, "raw_io_uring: %s: %s\n", what, strerror(-result)), -1;
}

int subject_open(const struct job *asked)
{
    job = *asked;
    registered = strcmp(job.variant, "registered") == 0;
    void *memory = NULL;
    file = open(job.path, O_RDWR | O_DIRECT | O_CLOEXEC);
    if (file < 0 || posix_memalign(&memory, BLOCK, (size_t)BLOCK * job.depth) != 0)
        return perror(job.path), -1;
    blocks = memset(memory, 'u', (size_t)BLOCK * job.depth);
    int result = io_uring_queue_init(job.depth, &ring, 0);
    if (result < 0)
        return fail("io_uring_queue_init", result);
    if (registered) {
        struct iovec buffers[MAX_DEPTH];
        for (unsigned i = 0; i < job.depth; i++)
            buffers[i] = (struct iovec){blocks + (size_t)i * BLOCK, BLOCK};
        result = io_uring_register_buffers(&ring, buffers, job.depth);
        if (result == 0)
            result = io_uring_register_files(&ring, &file, 1);
        if (result < 0)
            return fail("io_uring_register", result);
    }
    return 0;
}

ALWAYS_INLINE int loop(uint64_t requests, bool write, bool fixed)
{
    unsigned depth = job.depth;
    for (uint64_t i = 0; i < requests; i += depth) {
        for (unsigned n = 0; n < depth; n++) {
            struct io_uring_sqe *entry = io_uring_get_sqe(&ring);
            char *block = blocks + (size_t)n * BLOCK;
            uint64_t offset = offset_of(i + n);
            if (fixed && write)
                io_uring_prep_write_fixed(entry, 0, block, BLOCK, offset, (int)n);
            else if (fixed)
                io_uring_prep_read_fixed(entry, 0, block, BLOCK, offset, (int)n);
            else if (write)
                io_uring_prep_write(entry, file, block, BLOCK, offset);
            else
                io_uring_prep_read(entry, file, block, BLOCK, offset);
            if (fixed)
                io_uring_sqe_set_flags(entry, IOSQE_FIXED_FILE);
            io_uring_sqe_set_data64(entry, n);
        }
        int result = io_uring_submit_and_wait(&ring, depth);
        if (result != (int)depth)
            return fail("io_uring_submit_and_wait", result);
        struct io_uring_cqe *entry;
        unsigned head, done = 0;
        io_uring_for_each_cqe(&ring, head, entry) {
            if (entry->res != BLOCK)
                return fail("request", entry->res);
            done++;
        }
        if (done != depth)
            return fputs("raw_io_uring: a batch was cut short\n", stderr), -1;
        io_uring_cq_advance(&ring, done);
    }
    return 0;
}

int subject_run(uint64_t requests)
{
    if (registered)
        return job.write ? loop(requests, true, true) : loop(requests, false, true);
    return job.write ? loop(requests, true, false) : loop(requests, false, false);
}

int subject_close(void)
{
    io_uring_queue_exit(&ring);
    free(blocks);
    return close(file);
}
