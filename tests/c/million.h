/* What the files of the million program share. */
#ifndef MILLION_H
#define MILLION_H

#include "check.h"

#include <stdbool.h>
#include <stdint.h>

enum { SECTOR = 512, SLOT = 65536, SECTORS = SLOT / SECTOR, SLOTS = 48 };

/* How a fault shows in an area. */
enum fault {
    NO_FAULT,
    TRUNCATED, /* another process cuts the file at any time */
    FULL,      /* not all of it fits onto its filesystem */
    FAILING,   /* from the byte `good` on the device fails */
};

/* SLOTS pieces of one file, each with one request in flight at most, and what is known of their content. */
struct area {
    const char *name;
    char path[4096];
    enum fault fault;
    uint64_t base; /* where the first slot begins */
    uint64_t good; /* FAILING: where the device begins to fail */
    bool is_direct;
    odio_file *file;
    bool busy[SLOTS];
    uint32_t busy_slots;
    uint32_t last[SLOTS * SECTORS]; /* the write that was acknowledged last; 0: none, and zeros are there */
    unsigned number;
};

/* The model. `total` is how many numbers of writes there are. */
void model_begin(uint32_t total);
/* Fills memory with what the write of this number puts at this sector and on. */
void model_fill(const struct area *area, uint32_t write, uint64_t sector, unsigned char *memory, size_t length);
/* The write of this number was acknowledged, or ended with an error and may have reached any of its sectors. */
void model_acknowledge(struct area *area, uint32_t write, uint64_t sector, size_t length);
void model_fail(uint32_t write);
/* Ends the program where memory holds what was never written there, or less than what was acknowledged. */
void model_check(const struct area *area, uint64_t sector, const unsigned char *memory, size_t length);
/* Everything acknowledged is there, read by odio and, once all is closed, by read(2). */
void model_check_area(struct area *area, bool is_closed);

/* A seeded source of numbers. */
uint64_t random_number(void);
/* 0 to limit - 1. */
uint32_t random_below(uint32_t limit);
void random_seed(uint64_t seed);

extern uint64_t sectors_checked;

#endif
