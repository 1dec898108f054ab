/*
 * What main.c measures. Each file beside it is one way to move blocks of 4 KiB; linked with main.c it is a program.
 *
 * A batch of `depth` requests is handed over as a whole and waited for as a whole, on every side. Request number i goes
 * to block i % BLOCKS. No loop reads a clock, allocates, or checks more than each result.
 */
#ifndef SUBJECT_H
#define SUBJECT_H

#include <stdbool.h>
#include <stdint.h>

enum { BLOCK = 4096, BLOCKS = 4096, MAX_DEPTH = 32 };

struct job {
    const char *variant; /* which way, where a file has more than one */
    const char *path;    /* a block device, or a file of BLOCKS blocks */
    bool write;
    unsigned depth; /* 1 to MAX_DEPTH */
};

/* Each returns 0, or says on standard error what is wrong and returns -1. */
int subject_open(const struct job *job);
int subject_run(uint64_t requests); /* a multiple of the depth */
int subject_close(void);

/* So that reading and writing are a loop each, without a question inside. */
#define ALWAYS_INLINE static inline __attribute__((always_inline))

static inline uint64_t offset_of(uint64_t request)
{
    return request % BLOCKS * BLOCK;
}

#endif
