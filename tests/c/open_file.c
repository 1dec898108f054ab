/* open_file PATH MODE [preferred]: opens for reading and prints the mode it got and why, or the errno and why not. */
#include "check.h"

int main(int argc, char **argv)
{
    CHECK(argc >= 3);
    odio_open_options options = {.size = sizeof options};
    CHECK(odio_open_options_set_mode(&options, argv[2]) == 0);
    if (argc > 3)
        options.direct = ODIO_DIRECT_PREFERRED;
    odio_file *file;
    int result = odio_file_open(argv[1], &options, &file);
    if (result < 0) {
        printf("%d %s\n", result, odio_last_error());
        return 0;
    }
    puts(odio_file_reason(file));
    CHECK(odio_file_close(file) == 0);
    return 0;
}
