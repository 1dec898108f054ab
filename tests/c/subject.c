#include "subject.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

struct subject subject;

static uint32_t number_of(const char *word, const char *const *words, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (strcmp(word, words[i]) == 0)
            return i;
    fprintf(stderr, "unknown: %s\n", word);
    exit(2);
}

void set_subject(const char *path, const char *engine, const char *cache, const char *sync)
{
    struct stat found;
    CHECK(stat(path, &found) == 0);
    odio_queue_options options = {.size = sizeof options};
    CHECK(odio_queue_options_set_engine(&options, engine) == 0);
    /* In the order of odio_direct and odio_sync. */
    subject = (struct subject){
        .path = path,
        .is_device = S_ISBLK(found.st_mode),
        .engine = options.engine,
        .direct = number_of(cache, (const char *const[]){"direct", "preferred", "buffered"}, 3),
        .sync = number_of(sync, (const char *const[]){"dsync", "sync", "none"}, 3),
    };
}

const char *path_of(const char *name)
{
    static char path[4096];
    int length = subject.is_device ? snprintf(path, sizeof path, "%s", subject.path)
                                   : snprintf(path, sizeof path, "%s/%s", subject.path, name);
    CHECK(length > 0 && (size_t)length < sizeof path);
    return path;
}

int try_open(const char *name, uint32_t flags, odio_file **file)
{
    odio_open_options options = {.size = sizeof options, .direct = subject.direct, .sync = subject.sync, .flags = flags};
    return odio_file_open(path_of(name), &options, file);
}

odio_file *open_again(const char *name, uint32_t flags)
{
    odio_file *file;
    CHECK(try_open(name, flags, &file) == 0);
    return file;
}

odio_file *open_empty(const char *name)
{
    uint32_t create = subject.is_device ? 0 : ODIO_OPEN_CREATE | ODIO_OPEN_TRUNCATE;
    return open_again(name, ODIO_OPEN_WRITE | create);
}

odio_queue *new_queue(uint32_t depth)
{
    odio_queue_options options = {.size = sizeof options, .engine = subject.engine, .depth = depth};
    odio_queue *queue;
    CHECK(odio_queue_new(&options, &queue) == 0);
    return queue;
}

size_t unit_of(const odio_file *file)
{
    odio_file_info info = {.size = sizeof info};
    odio_limits limits = {.size = sizeof limits};
    CHECK(odio_file_get_info(file, &info) == 0);
    if (info.cache == ODIO_CACHE_BUFFERED)
        return 1;
    CHECK(odio_file_limits(file, &limits) == 0);
    size_t unit = limits.memory_align;
    if (unit < limits.offset_align)
        unit = limits.offset_align;
    return unit < limits.length_align ? limits.length_align : unit;
}

unsigned char *new_memory(const odio_file *file, size_t length)
{
    void *memory;
    CHECK(odio_buffer_new(file, length, &memory) == 0);
    return memory;
}

void fill(unsigned char *memory, size_t length, uint64_t seed)
{
    uint64_t state = seed * 0x9e3779b97f4a7c15u + 1;
    for (size_t i = 0; i < length; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        memory[i] = (unsigned char)(state >> 56);
    }
}

int64_t result_of(odio_queue *queue, uint64_t user_data)
{
    odio_completion done;
    CHECK(odio_queue_wait(queue, &done, 1, 1, -1) == 1);
    CHECK(done.user_data == user_data);
    return done.result;
}

void collect_each_once(odio_queue *queue, uint32_t count, int64_t *results)
{
    bool *seen = calloc(count, sizeof *seen);
    CHECK(seen != NULL);
    for (uint32_t left = count; left > 0;) {
        odio_completion done[7];
        int stored = odio_queue_wait(queue, done, 1, 7, -1);
        CHECK(stored >= 1 && stored <= 7 && (uint32_t)stored <= left);
        for (int i = 0; i < stored; i++) {
            CHECK(done[i].user_data < count && !seen[done[i].user_data]);
            seen[done[i].user_data] = true;
            results[done[i].user_data] = done[i].result;
        }
        left -= (uint32_t)stored;
    }
    free(seen);
    odio_completion more;
    CHECK(odio_queue_wait(queue, &more, 1, 1, -1) == 0);
}

void check_content(const char *name, const unsigned char *expected, size_t length)
{
    unsigned char *found = malloc(length);
    int file = open(path_of(name), O_RDONLY | O_CLOEXEC);
    CHECK(found != NULL && file >= 0);
    for (size_t done = 0; done < length;) {
        ssize_t moved = pread(file, found + done, length - done, (off_t)done);
        CHECK(moved > 0);
        done += (size_t)moved;
    }
    CHECK(memcmp(found, expected, length) == 0);
    CHECK(close(file) == 0);
    free(found);
}
