/*
 * memory DEVICE ENGINE COUNT: puts COUNT reads of 4 KiB in flight, and prints what that takes beside their buffers:
 * COUNT, reads that the device has in flight, KiB resident, KiB of rings, KiB locked or pinned, KiB in all.
 *
 * The pages of a ring belong to the kernel and are in no process's resident memory; those of libaio's are. So "in all"
 * is the resident memory and what of the rings is not in it. DEVICE has to keep its reads for a while; they are not
 * neighbours, so that none is merged with another.
 */
#include <odio.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK = 4096 };

struct memory {
    long resident; /* KiB, all of them */
    long rings;
    long rings_resident;
    long locked;
};

static struct memory look(void)
{
    struct memory memory = {0};
    char line[512];
    long kib;
    FILE *maps = fopen("/proc/self/smaps", "r");
    int in_ring = 0;
    while (maps && fgets(line, sizeof line, maps)) {
        unsigned long start, end;
        if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
            in_ring = strstr(line, "[io_uring]") || strstr(line, "[aio]");
        else if (sscanf(line, "Size: %ld", &kib) == 1)
            memory.rings += in_ring ? kib : 0;
        else if (sscanf(line, "Rss: %ld", &kib) == 1)
            memory.resident += kib, memory.rings_resident += in_ring ? kib : 0;
    }
    FILE *status = fopen("/proc/self/status", "r");
    while (status && fgets(line, sizeof line, status))
        if (sscanf(line, "VmLck: %ld", &kib) == 1 || sscanf(line, "VmPin: %ld", &kib) == 1)
            memory.locked += kib;
    if (!maps || fclose(maps) != 0 || !status || fclose(status) != 0)
        perror("memory: /proc/self"), exit(EXIT_FAILURE);
    return memory;
}

/* Reads that the device has not completed. */
static long in_flight(const char *device)
{
    char path[256];
    const char *name = strrchr(device, '/');
    long reads = -1;
    snprintf(path, sizeof path, "/sys/block/%s/inflight", name ? name + 1 : device);
    FILE *file = fopen(path, "r");
    if (!file || fscanf(file, "%ld", &reads) != 1)
        perror(path), exit(EXIT_FAILURE);
    fclose(file);
    return reads;
}

static int fail(const char *what)
{
    return fprintf(stderr, "memory: %s: %s\n", what, odio_last_error()), EXIT_FAILURE;
}

int main(int argc, char **argv)
{
    unsigned count = argc == 4 ? (unsigned)atoi(argv[3]) : 0;
    if (count == 0)
        return fputs("usage: memory DEVICE ENGINE COUNT\n", stderr), 2;

    odio_file *file = NULL;
    void *blocks = NULL;
    if (odio_file_open(argv[1], NULL, &file) < 0 || odio_buffer_new(file, (size_t)BLOCK * count, &blocks) < 0)
        return fail(argv[1]);
    memset(blocks, 'm', (size_t)BLOCK * count);
    odio_completion *done = calloc(count, sizeof *done);
    if (!done)
        return perror("memory"), EXIT_FAILURE;
    memset(done, 1, count * sizeof *done);
    look();
    in_flight(argv[1]);

    struct memory before = look();
    odio_queue *queue = NULL;
    odio_queue_options setup = {.size = sizeof setup, .depth = count};
    if (odio_queue_options_set_engine(&setup, argv[2]) < 0 || odio_queue_new(&setup, &queue) < 0)
        return fail(argv[2]);
    for (unsigned i = 0; i < count; i++)
        if (odio_queue_read(queue, file, (char *)blocks + (size_t)i * BLOCK, BLOCK, (uint64_t)i * 2 * BLOCK, i) < 0)
            return fail("odio_queue_read");
    if (odio_queue_submit(queue) < 0)
        return fail("odio_queue_submit");
    long flying = in_flight(argv[1]);
    struct memory after = look();

    if (odio_queue_wait(queue, done, count, count, -1) != (int)count)
        return fail("odio_queue_wait");
    for (unsigned i = 0; i < count; i++)
        if (done[i].result != BLOCK)
            return fprintf(stderr, "memory: read: %lld\n", (long long)done[i].result), EXIT_FAILURE;

    long resident = after.resident - before.resident;
    long rings = after.rings - before.rings;
    long outside = rings - (after.rings_resident - before.rings_resident);
    printf("%u %ld %ld %ld %ld %ld\n", count, flying, resident, rings, after.locked - before.locked,
           resident + outside);
    if (odio_queue_free(queue) < 0)
        return fail("odio_queue_free");
    free(done);
    odio_buffer_free(blocks);
    return odio_file_close(file) < 0;
}
