/* pread(2) and pwrite(2). */
#include "subject.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct job job;
static int file;
static void *block;

int subject_open(const struct job *asked)
{
    job = *asked;
    file = open(job.path, O_RDWR | O_DIRECT | O_CLOEXEC);
    if (file < 0 || posix_memalign(&block, BLOCK, BLOCK) != 0)
        return perror(job.path), -1;
    memset(block, 'p', BLOCK);
    return 0;
}

ALWAYS_INLINE int loop(uint64_t requests, bool write)
{
    for (uint64_t i = 0; i < requests; i++) {
        off_t offset = (off_t)offset_of(i);
        ssize_t moved = write ? pwrite(file, block, BLOCK, offset) : pread(file, block, BLOCK, offset);
        if (moved != BLOCK)
            return perror("raw_psync"), -1;
    }
    return 0;
}

int subject_run(uint64_t requests)
{
    return job.write ? loop(requests, true) : loop(requests, false);
}

int subject_close(void)
{
    free(block);
    return close(file);
}
