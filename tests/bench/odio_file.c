/* odio_file_read() and odio_file_write(). */
#include "subject.h"

#include <odio.h>
#include <stdio.h>
#include <string.h>

static struct job job;
static odio_file *file;
static void *block;

static int fail(const char *what)
{
    return fprintf(stderr, "odio_file: %s: %s\n", what, odio_last_error()), -1;
}

int subject_open(const struct job *asked)
{
    job = *asked;
    odio_open_options options = {.size = sizeof options, .flags = ODIO_OPEN_WRITE, .sync = ODIO_SYNC_NONE};
    if (odio_file_open(job.path, &options, &file) < 0 || odio_buffer_new(file, BLOCK, &block) < 0)
        return fail(job.path);
    memset(block, 'o', BLOCK);
    return 0;
}

ALWAYS_INLINE int loop(uint64_t requests, bool write)
{
    for (uint64_t i = 0; i < requests; i++) {
        uint64_t offset = offset_of(i);
        ssize_t moved =
            write ? odio_file_write(file, block, BLOCK, offset) : odio_file_read(file, block, BLOCK, offset);
        if (moved != BLOCK)
            return fail("request");
    }
    return 0;
}

int subject_run(uint64_t requests)
{
    return job.write ? loop(requests, true) : loop(requests, false);
}

int subject_close(void)
{
    odio_buffer_free(block);
    return odio_file_close(file);
}
