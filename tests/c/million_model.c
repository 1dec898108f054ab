/*
 * What the files of the million program must hold.
 *
 * Each sector carries the number of the write that put it there and its own place, and the rest follows from the two:
 * bytes of another place, of two writes, or of none do not pass.
 */
#include "million.h"

#include <fcntl.h>
#include <unistd.h>

enum { WORDS = SECTOR / sizeof(uint64_t) };

uint64_t sectors_checked;
static unsigned char *failed;
static uint32_t writes;
static uint64_t state;

void random_seed(uint64_t seed)
{
    state = seed;
}

uint64_t random_number(void)
{
    uint64_t mixed = state += 0x9e3779b97f4a7c15u;
    mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9u;
    mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebu;
    return mixed ^ (mixed >> 31);
}

uint32_t random_below(uint32_t limit)
{
    return (uint32_t)((random_number() >> 32) * limit >> 32);
}

void model_begin(uint32_t total)
{
    failed = calloc((size_t)total + 1, 1);
    CHECK(failed != NULL);
    writes = total;
}

static void words_of(const struct area *area, uint32_t write, uint64_t sector, uint64_t *words)
{
    uint64_t place = (uint64_t)area->number << 48 | sector;
    uint64_t value = ((uint64_t)write * 0xd6e8feb86659fd93u) ^ (place * 0xa0761d6478bd642fu);
    words[0] = write;
    words[1] = place;
    for (int i = 2; i < WORDS; i++)
        words[i] = value + (uint64_t)i * 0xe7037ed1a0b428dbu;
}

void model_fill(const struct area *area, uint32_t write, uint64_t sector, unsigned char *memory, size_t length)
{
    uint64_t words[WORDS];
    for (size_t done = 0; done < length; done += SECTOR, sector++) {
        words_of(area, write, sector, words);
        memcpy(memory + done, words, SECTOR);
    }
}

void model_acknowledge(struct area *area, uint32_t write, uint64_t sector, size_t length)
{
    for (size_t i = 0; i < length / SECTOR; i++)
        area->last[sector + i] = write;
}

void model_fail(uint32_t write)
{
    failed[write] = 1;
}

/* What is there of an acknowledged write may be cut off, or never reach a device that fails. */
static bool is_loose(const struct area *area, uint64_t sector)
{
    return area->fault == TRUNCATED || (area->fault == FAILING && area->base + sector * SECTOR >= area->good);
}

void model_check(const struct area *area, uint64_t sector, const unsigned char *memory, size_t length)
{
    static const unsigned char zeros[SECTOR];
    uint64_t words[WORDS], first;
    for (size_t done = 0; done < length; done += SECTOR, sector++) {
        size_t part = length - done < SECTOR ? length - done : SECTOR;
        uint32_t last = area->last[sector];
        const unsigned char *at = memory + done;
        sectors_checked++;
        if (memcmp(at, zeros, part) == 0) {
            if (last == 0 || is_loose(area, sector))
                continue;
            fprintf(stderr, "%s: sector %llu is zero, not of write %u\n", area->name, (unsigned long long)sector, last);
            abort();
        }
        /* The end of a cut file leaves too little to tell whose it is. */
        if (part < sizeof first && area->fault == TRUNCATED)
            continue;
        memcpy(&first, at, sizeof first);
        bool is_known = part >= sizeof first && first > 0 && first <= writes;
        uint32_t write = is_known ? (uint32_t)first : 0;
        words_of(area, write, sector, words);
        bool is_whole = memcmp(at, words, part) == 0;
        /* A file that is cut and grows again may be zero from anywhere on. */
        if (!is_whole && is_known && area->fault == TRUNCATED) {
            size_t same = 0;
            while (same < part && at[same] == ((const unsigned char *)words)[same])
                same++;
            is_whole = memcmp(at + same, zeros, part - same) == 0;
        }
        bool is_allowed = write == last || (write > last && failed[write]) || is_loose(area, sector);
        if (!is_known || !is_whole || !is_allowed) {
            fprintf(stderr, "%s: sector %llu holds write %llu (%s, %s), not write %u\n", area->name,
                    (unsigned long long)sector, (unsigned long long)first, is_whole ? "whole" : "torn",
                    is_known && failed[write] ? "failed" : "not failed", last);
            abort();
        }
    }
}

void model_check_area(struct area *area, bool is_closed)
{
    int plain = is_closed ? open(area->path, O_RDONLY | O_CLOEXEC) : -1;
    CHECK(!is_closed || plain >= 0);
    unsigned char *memory = NULL;
    CHECK(posix_memalign((void **)&memory, 4096, SLOT) == 0);
    for (uint64_t slot = 0; slot < SLOTS; slot++) {
        uint64_t begin = area->base + slot * SLOT;
        if (area->fault == FAILING && begin + SLOT > area->good)
            break;
        ssize_t length = is_closed ? pread(plain, memory, SLOT, (off_t)begin)
                                   : odio_file_read(area->file, memory, SLOT, begin);
        CHECK(length == SLOT);
        model_check(area, slot * SECTORS, memory, SLOT);
    }
    free(memory);
    CHECK(!is_closed || close(plain) == 0);
}
