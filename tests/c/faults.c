/*
 * faults FAULT PATH ENGINE CACHE SYNC [WORD]...: what odio does when the world fails.
 *
 * The fault itself is made by whoever runs this, but for signals, truncation and stalling. Each ends with `FAULT: ok`.
 */
#include "faults.h"

#include <errno.h>
#include <unistd.h>

int errno_of(const char *name)
{
    const struct {
        const char *name;
        int number;
    } all[] = {{"EIO", EIO}, {"ENOSPC", ENOSPC}, {"EDQUOT", EDQUOT}, {"ENODATA", ENODATA}, {"none", 0}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (strcmp(name, all[i].name) == 0)
            return all[i].number;
    fprintf(stderr, "unknown: %s\n", name);
    exit(2);
}

void take_in_blocks(odio_queue *queue, odio_file *file, bool is_write, unsigned char *memory, size_t block,
                    uint64_t first, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        unsigned char *at = memory + i * block;
        uint64_t offset = (first + i) * block;
        int result = is_write ? odio_queue_write(queue, file, at, block, offset, i)
                              : odio_queue_read(queue, file, at, block, offset, i);
        CHECK(result == 0);
    }
}

/* Only whether a queue can be had, and what is said where not. */
static void engine(char **words)
{
    (void)words;
    odio_queue_options options = {.size = sizeof options, .engine = subject.engine};
    odio_queue *queue;
    int result = odio_queue_new(&options, &queue);
    printf("%d %s\n", result, result == 0 ? "" : odio_last_error());
    CHECK((result == 0) == (queue != NULL));
    CHECK(odio_queue_free(queue) == 0);
}

int main(int argc, char **argv)
{
    const struct {
        const char *name;
        int words;
        void (*run)(char **words);
    } all[] = {
        {"engine", 0, engine},
        {"full", 2, full_filesystem},
        {"failing", 2, failing_device},
        {"flushing", 0, failing_flush},
        {"stalled", 2, stalled_device},
        {"truncated", 0, truncated_meanwhile},
        {"storm", 0, signal_storm},
        {"bad", 4, bad_sectors},
        {"removed", 4, removed_device},
        {"unplugged", 2, removed_filesystem},
        {"nowait", 0, refused_nowait},
        {"exhausted", 1, exhausted_contexts},
        {"pressed", 1, pressed_memory},
        {"killed", 0, killed_submitter},
    };
    if (argc >= 6)
        for (size_t i = 0; i < sizeof all / sizeof *all; i++)
            if (strcmp(argv[1], all[i].name) == 0 && argc == 6 + all[i].words) {
                set_subject(argv[2], argv[3], argv[4], argv[5]);
                /* What hangs is ended. */
                alarm(60);
                all[i].run(argv + 6);
                printf("%s: ok\n", argv[1]);
                return 0;
            }
    fprintf(stderr, "usage: faults FAULT PATH ENGINE CACHE SYNC [WORD]...\n");
    return 2;
}
