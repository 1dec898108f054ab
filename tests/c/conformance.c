/*
 * conformance PATH ENGINE CACHE SYNC [quick]: everything that odio.h promises, in one mode on one filesystem.
 *
 * PATH is a directory or a block device, whose content is lost. CACHE is direct, preferred or buffered; SYNC is none,
 * dsync or sync. conformance --list names the cases.
 */
#include "conformance.h"

#include <errno.h>
#include <unistd.h>

static const struct conformance_case *const tables[] = {transfer_cases, queue_cases, rule_cases, more_cases};
enum { TABLES = sizeof tables / sizeof *tables };

/* tmpfs has no direct I/O that odio accepts: 0 where the file can be opened, -EINVAL with a reason where it cannot. */
static int try_once(void)
{
    odio_file *file;
    uint32_t create = subject.is_device ? 0 : ODIO_OPEN_CREATE;
    int result = try_open("tried", ODIO_OPEN_WRITE | create, &file);
    if (result == 0) {
        odio_limits limits = {.size = sizeof limits};
        CHECK(odio_file_limits(file, &limits) == 0);
        printf("on %s: %s\n", limits.filesystem, odio_file_reason(file));
        CHECK(odio_file_close(file) == 0);
    }
    return result;
}

static int list(void)
{
    for (int i = 0; i < TABLES; i++)
        for (const struct conformance_case *at = tables[i]; at->name != NULL; at++)
            puts(at->name);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--list") == 0)
        return list();
    if (argc != 5 && argc != 6) {
        fprintf(stderr, "usage: conformance PATH ENGINE CACHE SYNC [quick]\n");
        return 2;
    }
    set_subject(argv[1], argv[2], argv[3], argv[4]);
    subject.is_quick = argc == 6;
    /* What hangs is ended, with a status that tells it. */
    alarm(subject.is_quick ? 250 : 60);

    int refused = try_once();
    if (refused != 0) {
        CHECK(refused == -EINVAL && subject.direct == ODIO_DIRECT_REQUIRED);
        CHECK_SAYS("no direct I/O on ");
        printf("direct refused: %s\n", odio_last_error());
        return 0;
    }
    int count = 0;
    for (int i = 0; i < TABLES; i++)
        for (const struct conformance_case *at = tables[i]; at->name != NULL; at++, count++) {
            at->run();
            printf("%s: ok\n", at->name);
            fflush(stdout);
        }
    printf("%d cases ok\n", count);
    return 0;
}
