/*
 * PROGRAM VARIANT FILE read|write DEPTH REQUESTS: prints the nanoseconds of one request.
 *
 * Where the clock counts instructions, as in `odio-trace vm --icount`, that is instructions, user's and kernel's.
 */
#include "subject.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { WARM_UP = 256 };

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

int main(int argc, char **argv)
{
    struct job job = {0};
    uint64_t requests = 0;
    if (argc == 6) {
        job = (struct job){argv[1], argv[2], strcmp(argv[3], "write") == 0, (unsigned)atoi(argv[4])};
        requests = strtoull(argv[5], NULL, 10);
    }
    if (job.depth < 1 || job.depth > MAX_DEPTH || requests < 1 || requests % job.depth || WARM_UP % job.depth ||
        (!job.write && strcmp(argv[3], "read"))) {
        fputs("usage: PROGRAM VARIANT FILE read|write DEPTH REQUESTS\n", stderr);
        return 2;
    }

    if (subject_open(&job) < 0 || subject_run(WARM_UP) < 0)
        return EXIT_FAILURE;
    double start = now();
    int result = subject_run(requests);
    double took = now() - start;
    if (result < 0 || subject_close() < 0)
        return EXIT_FAILURE;
    return printf("%.1f\n", took / (double)requests) < 0;
}
