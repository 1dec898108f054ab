/* The default queue of odio with buffers of a pool; file and pool are registered with it. */
#include "odio_loop.h"

#include <string.h>

static struct job job;
static odio_file *file;
static odio_queue *queue;
static odio_pool *pool;
static void *blocks[MAX_DEPTH];

int subject_open(const struct job *asked)
{
    job = *asked;
    odio_open_options options = {.size = sizeof options, .flags = ODIO_OPEN_WRITE, .sync = ODIO_SYNC_NONE};
    odio_queue_options setup = {.size = sizeof setup, .depth = job.depth};
    odio_pool_options memory = {.size = sizeof memory, .count = job.depth, .length = BLOCK};
    if (odio_file_open(job.path, &options, &file) < 0 || odio_queue_new(&setup, &queue) < 0 ||
        odio_pool_new(&memory, &pool) < 0 || odio_queue_add_file(queue, file) < 0 ||
        odio_queue_add_pool(queue, pool) < 0)
        return fail(job.path);
    for (unsigned n = 0; n < job.depth; n++) {
        blocks[n] = odio_pool_take(pool);
        if (!blocks[n])
            return fail("odio_pool_take");
        memset(blocks[n], 'b', BLOCK);
    }
    return 0;
}

int subject_run(uint64_t requests)
{
    return job.write ? loop(queue, file, blocks, job.depth, requests, true)
                     : loop(queue, file, blocks, job.depth, requests, false);
}

int subject_close(void)
{
    for (unsigned n = 0; n < job.depth; n++)
        odio_pool_put(pool, blocks[n]);
    int result = odio_queue_free(queue);
    odio_pool_free(pool);
    return odio_file_close(file) < 0 ? -1 : result;
}
