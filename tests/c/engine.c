/*
 * engine FILE ENGINE [io_uring_setup | io_setup]...: sets up a queue with this odio_engine, a number, after a seccomp
 * filter has made the named system calls fail with EPERM. Prints what came of it: "RESULT ENGINE REASON", and without
 * a queue "RESULT - ERROR". A queue writes a block and reads it back.
 */
#include "check.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <errno.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

enum { SIZE = 4096 };

static void forbid(long call)
{
    struct sock_filter steps[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)call, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = {.len = sizeof steps / sizeof *steps, .filter = steps};
    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0);
}

/* The queue works, whichever engine it has. */
static void use(odio_queue *queue, const char *path)
{
    odio_open_options options = {.size = sizeof options,
                                 .direct = ODIO_DIRECT_PREFERRED,
                                 .flags = ODIO_OPEN_WRITE | ODIO_OPEN_CREATE};
    odio_file *file;
    void *memory;
    odio_completion done;
    CHECK(odio_file_open(path, &options, &file) == 0);
    CHECK(odio_buffer_new(file, SIZE, &memory) == 0);
    memset(memory, 'e', SIZE);
    CHECK(odio_queue_write(queue, file, memory, SIZE, 0, 1) == 0);
    CHECK(odio_queue_wait(queue, &done, 1, 1, -1) == 1 && done.user_data == 1 && done.result == SIZE);
    memset(memory, 0, SIZE);
    CHECK(odio_queue_read(queue, file, memory, SIZE, 0, 2) == 0);
    CHECK(odio_queue_wait(queue, &done, 1, 1, -1) == 1 && done.user_data == 2 && done.result == SIZE);
    CHECK(memchr(memory, 0, SIZE) == NULL);
    CHECK(odio_file_close(file) == 0);
    odio_buffer_free(memory);
}

int main(int argc, char **argv)
{
    CHECK(argc >= 3);
    for (int i = 3; i < argc; i++) {
        CHECK(strcmp(argv[i], "io_uring_setup") == 0 || strcmp(argv[i], "io_setup") == 0);
        forbid(strcmp(argv[i], "io_setup") == 0 ? SYS_io_setup : SYS_io_uring_setup);
    }
    odio_queue_options options = {.size = sizeof options, .engine = (uint32_t)atoi(argv[2])};
    odio_queue *queue = (odio_queue *)&options;
    int result = odio_queue_new(&options, &queue);
    if (result < 0) {
        CHECK(queue == NULL);
        printf("%d - %s\n", result, odio_last_error());
        return 0;
    }
    odio_queue_info info = {.size = sizeof info};
    CHECK(result == 0 && odio_queue_get_info(queue, &info) == 0);
    use(queue, argv[1]);
    printf("0 %u %s\n", info.engine, odio_queue_reason(queue));
    CHECK(odio_queue_free(queue) == 0);
    return 0;
}
