/* What the files of the conformance program share. */
#ifndef CONFORMANCE_H
#define CONFORMANCE_H

#include "subject.h"

/* One promise of odio.h. It returns where the promise holds and ends the program where not. */
struct conformance_case {
    const char *name;
    void (*run)(void);
};
/* Each ends with a name of NULL. */
extern const struct conformance_case transfer_cases[], queue_cases[], rule_cases[], more_cases[];

#endif
