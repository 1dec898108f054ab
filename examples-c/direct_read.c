/*
 * direct_read FILE: reads a file past the page cache and prints its size and a checksum.
 *
 * What programs that do this by hand get wrong: the alignment is asked of the file instead of being 512 or 4096 in the
 * source; a buffer that cannot be had is noticed; a read that comes back short is the end of the file or an error, and
 * never data that was not read; and where there is no direct I/O the program says so.
 *
 * Build it with: cc -std=c11 direct_read.c $(pkg-config --cflags --libs odio) -o direct_read
 */
#include <odio.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* At least this much at once: the larger the request, the less one request costs. */
#define CHUNK ((size_t)1 << 20)

static int fail(const char *what)
{
    fprintf(stderr, "direct_read: %s: %s\n", what, odio_last_error());
    return EXIT_FAILURE;
}

static int print_limits(const odio_file *file)
{
    odio_limits limits = {.size = sizeof limits};
    if (odio_file_limits(file, &limits) < 0)
        return -1;
    printf("%s\n", odio_file_reason(file));
    printf("memory alignment %" PRIu32 " (%s), offset %" PRIu32 " (%s), length %" PRIu32 " (%s)\n",
           limits.memory_align, odio_source_name(limits.memory_align_source),
           limits.offset_align, odio_source_name(limits.offset_align_source),
           limits.length_align, odio_source_name(limits.length_align_source));
    return 0;
}

/* FNV-1a, so that the result can be compared with what another way of reading gives. */
static uint64_t checksum(uint64_t sum, const unsigned char *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        sum = (sum ^ bytes[i]) * UINT64_C(0x100000001b3);
    return sum;
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: direct_read FILE\n");
        return 2;
    }

    /* No options: an existing file, for reading, direct I/O or nothing. */
    odio_file *file;
    if (odio_file_open(argv[1], NULL, &file) < 0)
        return fail(argv[1]);

    int status = EXIT_FAILURE;
    void *buffer = NULL;
    if (print_limits(file) < 0 || odio_buffer_new(file, CHUNK, &buffer) < 0) {
        fail(argv[1]);
        goto out;
    }

    uint64_t offset = 0, sum = UINT64_C(0xcbf29ce484222325);
    ssize_t got;
    do {
        got = odio_file_read(file, buffer, CHUNK, offset);
        if (got < 0) {
            fail(argv[1]);
            goto out;
        }
        sum = checksum(sum, buffer, (size_t)got);
        offset += (uint64_t)got;
    } while ((size_t)got == CHUNK); /* Fewer bytes than asked for are the end of the file. */

    printf("%" PRIu64 " bytes, checksum %016" PRIx64 "\n", offset, sum);
    status = EXIT_SUCCESS;
out:
    odio_buffer_free(buffer);
    if (odio_file_close(file) < 0)
        status = fail("close");
    return status;
}
