/* What the files of the faults program share. */
#ifndef FAULTS_H
#define FAULTS_H

#include "subject.h"

/* Each is one fault, in the subject's mode; `words` are the rest of the command line. */
void full_filesystem(char **words);
void failing_device(char **words);
void failing_flush(char **words);
void stalled_device(char **words);
void truncated_meanwhile(char **words);
void signal_storm(char **words);
void bad_sectors(char **words);
void removed_device(char **words);
void removed_filesystem(char **words);
void refused_nowait(char **words);
void exhausted_contexts(char **words);
void pressed_memory(char **words);
void killed_submitter(char **words);

/* The number of an errno that a fault may have. */
int errno_of(const char *name);

/* Writes a word to a file that is there. */
void write_word(const char *path, const char *word);

/* What a device that is taken away had is EIO; what comes to it when it is gone is ENODEV or ENXIO. */
bool is_removal(int64_t result);

/* Takes in a write (or a read) of each block from `first` on, `count` of them, user_data 0 to count - 1. */
void take_in_blocks(odio_queue *queue, odio_file *file, bool is_write, unsigned char *memory, size_t block,
                    uint64_t first, uint32_t count);

#endif
