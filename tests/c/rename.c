/*
 * rename OLD NEW: makes OLD with ODIO_OPEN_CREATE_DURABLY, writes to it, and renames it to NEW. Prints what the rename
 * returned, its step and, after a failure, why. Ends with 2 where making OLD failed.
 */
#include "check.h"

#include <errno.h>
#include <stdint.h>

int main(int argc, char **argv)
{
    CHECK(argc == 3);
    odio_open_options open = {.size = sizeof open,
                              .direct = ODIO_DIRECT_OFF,
                              .sync = ODIO_SYNC_NONE,
                              .flags = ODIO_OPEN_WRITE | ODIO_OPEN_CREATE | ODIO_OPEN_CREATE_DURABLY};
    odio_file *file;
    if (odio_file_open(argv[1], &open, &file) < 0) {
        puts(odio_last_error());
        return 2;
    }
    CHECK(odio_file_write(file, "new", 3, 0) == 3);

    uint32_t step = 77;
    CHECK(odio_file_rename(file, NULL, &step) == -EINVAL && step == ODIO_RENAME_STEP_PREPARE);
    CHECK(odio_file_rename(NULL, argv[2], NULL) == -EINVAL);
    int result = odio_file_rename(file, argv[2], &step);
    CHECK((result == 0) == (step == ODIO_RENAME_STEP_NONE));
    printf("%d %u %s\n", result, step, result < 0 ? odio_last_error() : "");
    odio_file_close(file);
    return 0;
}
