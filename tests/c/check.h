/* What the C tests share: a check that says where it failed and what odio had to say. */
#ifndef CHECK_H
#define CHECK_H

#include <odio.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                                                                              \
    do {                                                                                              \
        if (!(condition)) {                                                                           \
            fprintf(stderr, "%s:%d: %s\nlast error: %s\n", __FILE__, __LINE__, #condition,            \
                    odio_last_error());                                                               \
            exit(1);                                                                                  \
        }                                                                                             \
    } while (0)

/* The last error names this. */
#define CHECK_SAYS(text) CHECK(strstr(odio_last_error(), (text)) != NULL)

#endif
