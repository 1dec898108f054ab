/*
 * no_memory: queues and pools of the largest size where the address space ends, at each place in turn. They are there
 * or -ENOMEM or -EAGAIN (no thread can be started), and the process goes on.
 */
#include "check.h"

#include <errno.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { STEP = 1 << 18, MOST = 24 << 20 };

/* How much memory the process has mapped, in bytes. */
static rlim_t mapped(void)
{
    unsigned long pages;
    FILE *statm = fopen("/proc/self/statm", "r");
    CHECK(statm != NULL && fscanf(statm, "%lu", &pages) == 1 && fclose(statm) == 0);
    return pages * (rlim_t)sysconf(_SC_PAGESIZE);
}

/* Tries with each limit in a child of its own, because what one leaves behind is there for the next; says how often it
 * was there. */
static int tries(const char *engine, rlim_t besides, rlim_t most)
{
    int there = 0;
    for (rlim_t more = 0; more <= most; more += STEP) {
        pid_t pid = fork();
        CHECK(pid >= 0);
        if (pid == 0) {
            odio_queue_options setup = {.size = sizeof setup, .depth = 32768, .max_vectors = 1};
            odio_pool_options buffers = {.size = sizeof buffers, .length = 4096, .count = 1 << 20};
            odio_queue *queue;
            odio_pool *pool;
            CHECK(engine == NULL || odio_queue_options_set_engine(&setup, engine) == 0);
            struct rlimit limit = {mapped() + besides + more, RLIM_INFINITY};
            CHECK(setrlimit(RLIMIT_AS, &limit) == 0);
            int result = engine != NULL ? odio_queue_new(&setup, &queue) : odio_pool_new(&buffers, &pool);
            _exit(result == 0 ? 0 : result == -ENOMEM || result == -EAGAIN ? 1 : 2);
        }
        int status;
        CHECK(waitpid(pid, &status, 0) == pid);
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) <= 1);
        there += WEXITSTATUS(status) == 0;
    }
    return there;
}

int main(void)
{
    /* Less than the stack of a thread, so that none is there when the memory ends. */
    tries("psync", 0, 1 << 21);
    CHECK(tries("libaio", 0, MOST) > 0);
    CHECK(tries("io_uring", 0, MOST) > 0);
    CHECK(tries(NULL, (rlim_t)4096 << 20, MOST) > 0);
    return 0;
}
