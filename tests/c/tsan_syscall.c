/*
 * Tells ThreadSanitizer what the kernel reads and writes in the two calls that a worker of psync makes. libodio makes
 * them through syscall(), which the runtime does not look into. Linked in with -Wl,--wrap=syscall.
 */
#include <stdarg.h>
#include <sys/syscall.h>
#include <sys/uio.h>

long __real_syscall(long number, ...);
long __wrap_syscall(long number, ...);
/* Of the runtime. */
void __tsan_read_range(void *address, unsigned long size);
void __tsan_write_range(void *address, unsigned long size);

long __wrap_syscall(long number, ...)
{
    long words[6];
    va_list list;
    va_start(list, number);
    for (int i = 0; i < 6; i++)
        words[i] = va_arg(list, long);
    va_end(list);
    if (number == SYS_preadv2 || number == SYS_pwritev2) {
        struct iovec *vectors = (struct iovec *)words[1];
        __tsan_read_range(vectors, (unsigned long)words[2] * sizeof *vectors);
        for (long i = 0; i < words[2]; i++)
            if (number == SYS_preadv2)
                __tsan_write_range(vectors[i].iov_base, vectors[i].iov_len);
            else
                __tsan_read_range(vectors[i].iov_base, vectors[i].iov_len);
    }
    return __real_syscall(number, words[0], words[1], words[2], words[3], words[4], words[5]);
}
