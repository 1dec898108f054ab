/* explain FILE: prints what is known of an open file, after checking how the text is handed over. */
#include "check.h"

#include <errno.h>

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    odio_file *file;
    CHECK(odio_file_open(argv[1], NULL, &file) == 0);

    ssize_t length = odio_file_explain(file, NULL, 0);
    CHECK(length > 0);
    size_t size = (size_t)length;
    char *text = malloc(size + 1);
    CHECK(text != NULL);

    /* One byte short: the length is told, and no part of the text is there to be taken for all of it. */
    memset(text, 'x', size + 1);
    CHECK(odio_file_explain(file, text, size) == length);
    CHECK(text[0] == '\0' && text[size] == 'x');
    CHECK(odio_file_explain(file, text, 1) == length && text[0] == '\0');

    memset(text, 'x', size + 1);
    CHECK(odio_file_explain(file, text, size + 1) == length);
    CHECK(strlen(text) == size);
    fputs(text, stdout);

    odio_file_info info = {.size = sizeof info};
    CHECK(odio_file_get_info(file, &info) == 0);
    CHECK(info.no_promise == (strstr(text, "\nan acknowledged write: is durable") == NULL));

    CHECK(odio_file_explain(file, NULL, 1) == -EINVAL);
    CHECK_SAYS("text is NULL");
    CHECK(odio_file_explain(NULL, text, size) == -EINVAL && text[0] == '\0');
    CHECK_SAYS("file is NULL");

    free(text);
    CHECK(odio_file_close(file) == 0);
    return 0;
}
