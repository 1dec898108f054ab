/* io_submit(2) and io_getevents(2), called as libaio calls them: the instruction itself, without a wrapper. */
#include "subject.h"

#include <fcntl.h>
#include <linux/aio_abi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static struct job job;
static int file;
static void *blocks;
static aio_context_t context;
static struct iocb requests_of_batch[MAX_DEPTH];
static struct iocb *batch[MAX_DEPTH];

/* Returns the kernel's result, a negative errno where it fails. */
static inline long call(long number, long a, long b, long c, long d, long e)
{
    long result;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "0"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
                     : "rcx", "r11", "memory");
    return result;
}

int subject_open(const struct job *asked)
{
    job = *asked;
    file = open(job.path, O_RDWR | O_DIRECT | O_CLOEXEC);
    if (file < 0 || posix_memalign(&blocks, BLOCK, (size_t)BLOCK * job.depth) != 0)
        return perror(job.path), -1;
    if (syscall(SYS_io_setup, job.depth, &context) < 0)
        return perror("io_setup"), -1;
    memset(blocks, 'a', (size_t)BLOCK * job.depth);
    /* All but the offset stays the same. */
    for (unsigned i = 0; i < job.depth; i++) {
        requests_of_batch[i] = (struct iocb){
            .aio_data = i,
            .aio_lio_opcode = job.write ? IOCB_CMD_PWRITE : IOCB_CMD_PREAD,
            .aio_fildes = (uint32_t)file,
            .aio_buf = (uintptr_t)blocks + i * (uintptr_t)BLOCK,
            .aio_nbytes = BLOCK,
        };
        batch[i] = &requests_of_batch[i];
    }
    return 0;
}

int subject_run(uint64_t requests)
{
    unsigned depth = job.depth;
    struct io_event events[MAX_DEPTH];
    for (uint64_t i = 0; i < requests; i += depth) {
        for (unsigned n = 0; n < depth; n++)
            requests_of_batch[n].aio_offset = (int64_t)offset_of(i + n);
        if (call(SYS_io_submit, (long)context, depth, (long)batch, 0, 0) != depth ||
            call(SYS_io_getevents, (long)context, depth, depth, (long)events, 0) != depth)
            return fputs("raw_libaio: a batch was cut short\n", stderr), -1;
        for (unsigned n = 0; n < depth; n++)
            if (events[n].res != BLOCK)
                return fprintf(stderr, "raw_libaio: %lld\n", (long long)events[n].res), -1;
    }
    return 0;
}

int subject_close(void)
{
    syscall(SYS_io_destroy, context);
    free(blocks);
    return close(file);
}
