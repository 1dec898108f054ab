/* Finds the descriptor of an open file, for a test that puts another one in its place. */
#ifndef DESCRIPTOR_H
#define DESCRIPTOR_H

#include "check.h"

#include <dirent.h>
#include <limits.h>
#include <unistd.h>

/* The file is open once. */
static int descriptor_of(const char *path)
{
    char found[PATH_MAX], name[PATH_MAX];
    CHECK(realpath(path, name) != NULL);
    DIR *folder = opendir("/proc/self/fd");
    CHECK(folder != NULL);
    struct dirent *entry;
    int descriptor = -1, count = 0;
    while ((entry = readdir(folder)) != NULL) {
        ssize_t length = readlinkat(dirfd(folder), entry->d_name, found, sizeof found - 1);
        if (length < 0)
            continue;
        found[length] = '\0';
        if (strcmp(found, name) == 0) {
            descriptor = atoi(entry->d_name);
            count++;
        }
    }
    CHECK(count == 1 && closedir(folder) == 0);
    return descriptor;
}

#endif
