/* The loop over a queue of odio, whatever the queue and the buffers are. */
#ifndef ODIO_LOOP_H
#define ODIO_LOOP_H

#include "subject.h"

#include <odio.h>
#include <stdio.h>

static int fail(const char *what)
{
    return fprintf(stderr, "odio: %s: %s\n", what, odio_last_error()), -1;
}

ALWAYS_INLINE int loop(odio_queue *queue, odio_file *file, void *const *blocks, unsigned depth, uint64_t requests,
                       bool write)
{
    odio_completion done[MAX_DEPTH];
    for (uint64_t i = 0; i < requests; i += depth) {
        for (unsigned n = 0; n < depth; n++) {
            uint64_t offset = offset_of(i + n);
            int result = write ? odio_queue_write(queue, file, blocks[n], BLOCK, offset, n)
                               : odio_queue_read(queue, file, blocks[n], BLOCK, offset, n);
            if (result < 0)
                return fail("request");
        }
        if (odio_queue_wait(queue, done, depth, depth, -1) != (int)depth)
            return fail("wait");
        for (unsigned n = 0; n < depth; n++)
            if (done[n].result != BLOCK)
                return fprintf(stderr, "odio: %lld\n", (long long)done[n].result), -1;
    }
    return 0;
}

#endif
