/*
 * unplugged DIRECTORY ... REMOVE WORD: the device of a filesystem is taken away, by writing a word to the file REMOVE, and
 * then names and sizes are changed. What the page cache alone could take in must not be acknowledged as durable.
 */
#include "faults.h"

#include <errno.h>

enum { BLOCK = 4096 };

void removed_filesystem(char **words)
{
    odio_file *file = open_empty("before"), *made;
    unsigned char *memory = new_memory(file, BLOCK);
    fill(memory, BLOCK, 1);
    CHECK(odio_file_write(file, memory, BLOCK, 0) == BLOCK);
    CHECK(odio_file_sync(file) == 0);
    write_word(words[0], words[1]);

    /* With whatever comes of a folder that cannot be read any more: vfat finds no name and no room. */
    int renamed = odio_file_rename(file, path_of("after"), NULL);
    CHECK(renamed < 0);
    int opened = try_open("made", ODIO_OPEN_WRITE | ODIO_OPEN_CREATE | ODIO_OPEN_CREATE_DURABLY, &made);
    CHECK(opened < 0 && made == NULL);
    odio_file_acknowledge_sync_error(file);
    int cut = odio_file_truncate(file, 0);
    int synced = odio_file_sync(file);
    CHECK(cut == 0 ? is_removal(synced) : is_removal(cut) || cut == -EROFS);
    CHECK(odio_file_close(file) == synced);
    odio_buffer_free(memory);
    printf("renamed %d, opened %d, cut %d, then the sync %d\n", renamed, opened, cut, synced);
}
