/* One mode on one filesystem, and what programs that test it share. */
#ifndef SUBJECT_H
#define SUBJECT_H

#include "check.h"

#include <stdbool.h>
#include <stdint.h>

/* What is tested. */
struct subject {
    const char *path; /* a directory, or a block device */
    bool is_device;
    bool is_quick; /* fewer requests, for a slow machine such as valgrind's */
    uint32_t engine;
    uint32_t direct;
    uint32_t sync;
};
extern struct subject subject;

/* Sets it from words: CACHE is direct, preferred or buffered; SYNC is none, dsync or sync. */
void set_subject(const char *path, const char *engine, const char *cache, const char *sync);

/* Opens with these ODIO_OPEN_* flags and the subject's mode. */
int try_open(const char *name, uint32_t flags, odio_file **file);
/* An empty file of this name, or the device, for reading and writing. */
odio_file *open_empty(const char *name);
/* The same without emptying it; `flags` are ODIO_OPEN_*. */
odio_file *open_again(const char *name, uint32_t flags);
/* The path of that file. The text is overwritten by the next call. */
const char *path_of(const char *name);
odio_queue *new_queue(uint32_t depth);
/* The multiple that offsets, lengths and addresses must be of: 1 where the file is buffered. */
size_t unit_of(const odio_file *file);
unsigned char *new_memory(const odio_file *file, size_t length);
/* Fills memory with content that depends on the seed and repeats nowhere near a block. */
void fill(unsigned char *memory, size_t length, uint64_t seed);
/* Waits for one completion, which has this user_data. */
int64_t result_of(odio_queue *queue, uint64_t user_data);
/* Waits for `count` completions; user_data are 0 to count - 1, each once. Results go to `results`. */
void collect_each_once(odio_queue *queue, uint32_t count, int64_t *results);
/* The file as another program sees it begins with this. */
void check_content(const char *name, const unsigned char *expected, size_t length);

#endif
