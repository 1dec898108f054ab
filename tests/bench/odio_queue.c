/* A queue of odio; the variant is its engine. */
#include "odio_loop.h"

#include <string.h>

static struct job job;
static odio_file *file;
static odio_queue *queue;
static void *memory;
static void *blocks[MAX_DEPTH];

int subject_open(const struct job *asked)
{
    job = *asked;
    odio_open_options options = {.size = sizeof options, .flags = ODIO_OPEN_WRITE, .sync = ODIO_SYNC_NONE};
    odio_queue_options setup = {.size = sizeof setup, .depth = job.depth};
    if (odio_queue_options_set_engine(&setup, job.variant) < 0 || odio_file_open(job.path, &options, &file) < 0 ||
        odio_queue_new(&setup, &queue) < 0 || odio_buffer_new(file, (size_t)BLOCK * job.depth, &memory) < 0)
        return fail(job.path);
    memset(memory, 'q', (size_t)BLOCK * job.depth);
    for (unsigned n = 0; n < job.depth; n++)
        blocks[n] = (char *)memory + (size_t)n * BLOCK;
    return 0;
}

int subject_run(uint64_t requests)
{
    return job.write ? loop(queue, file, blocks, job.depth, requests, true)
                     : loop(queue, file, blocks, job.depth, requests, false);
}

int subject_close(void)
{
    int result = odio_queue_free(queue);
    odio_buffer_free(memory);
    return odio_file_close(file) < 0 ? -1 : result;
}
