/* The version that C computes from the header is the one of the library, part by part. */
#include "check.h"

#include <inttypes.h>

/* Programs choose by it before they are compiled. */
#if ODIO_VERSION < (ODIO_VERSION_MAJOR << 16) || ODIO_VERSION >= ((ODIO_VERSION_MAJOR + 1) << 16)
#error "ODIO_VERSION is of another major version"
#endif

int main(void)
{
    char text[32];
    CHECK(odio_version() == ODIO_VERSION);
    CHECK(odio_version() >> 16 == ODIO_VERSION_MAJOR);
    CHECK((odio_version() >> 8 & 0xff) == ODIO_VERSION_MINOR);
    CHECK((odio_version() & 0xff) == ODIO_VERSION_PATCH);
    snprintf(text, sizeof text, "%d.%d.%d", ODIO_VERSION_MAJOR, ODIO_VERSION_MINOR, ODIO_VERSION_PATCH);
    CHECK(strcmp(text, odio_version_string()) == 0);
    CHECK(strcmp(odio_last_error(), "") == 0);
    puts(text);
    return 0;
}
