/*
 * fork FILE ENGINE exec: starts itself as `fork list` with a file and a queue open, and beside them one descriptor that
 * is not odio's and is inherited.
 * fork FILE ENGINE child: uses FILE in a child of fork and then in the parent, and a queue of each one's own.
 * fork list: prints what this process has open besides the standard descriptors.
 */
#include "check.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SIZE = 4096 };

static int list(void)
{
    DIR *descriptors = opendir("/proc/self/fd");
    CHECK(descriptors != NULL);
    for (struct dirent *entry; (entry = readdir(descriptors)) != NULL;) {
        int number = atoi(entry->d_name);
        char target[256];
        ssize_t length = readlinkat(dirfd(descriptors), entry->d_name, target, sizeof target - 1);
        if (length < 0 || number <= 2 || number == dirfd(descriptors))
            continue;
        target[length] = '\0';
        puts(target);
    }
    closedir(descriptors);
    return 0;
}

/* Runs `body` in a child, or leaves it to exec where it does not come back, and wants a status of 0. */
static void in_a_child(void (*body)(void *), void *context)
{
    fflush(NULL);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        body(context);
        fflush(NULL);
        _exit(0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void start_list(void *program)
{
    execl(program, program, "list", (char *)NULL);
    CHECK(!"exec works");
}

/* Reads block `number` through a queue and wants it filled with `byte`. */
static void expect(odio_queue *queue, odio_file *file, unsigned char *memory, uint64_t number, unsigned char byte)
{
    odio_completion done;
    memset(memory, 0, SIZE);
    CHECK(odio_queue_read(queue, file, memory, SIZE, number * SIZE, 7) == 0);
    CHECK(odio_queue_wait(queue, &done, 1, 1, -1) == 1);
    CHECK(done.user_data == 7 && done.result == SIZE);
    CHECK(memory[0] == byte && memory[SIZE - 1] == byte);
}

struct family {
    odio_queue_options setup;
    odio_file *file;
    unsigned char *memory;
};

/* What a child may do: everything with the file, and with a queue of its own. */
static void use_in_the_child(void *context)
{
    struct family *family = context;
    CHECK(odio_file_read(family->file, family->memory, SIZE, 0) == SIZE);
    CHECK(family->memory[0] == 'p' && family->memory[SIZE - 1] == 'p');
    memset(family->memory, 'c', SIZE);
    CHECK(odio_file_write(family->file, family->memory, SIZE, SIZE) == SIZE);
    CHECK(odio_file_sync(family->file) == 0);

    odio_queue *queue;
    CHECK(odio_queue_new(&family->setup, &queue) == 0);
    expect(queue, family->file, family->memory, 1, 'c');
    CHECK(odio_queue_free(queue) == 0);
    CHECK(odio_file_close(family->file) == 0);
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "list") == 0)
        return list();
    CHECK(argc == 4);
    /* Whoever started this may have left descriptors open. */
    CHECK(close_range(3, ~0U, 0) == 0);

    odio_open_options open_options = {.size = sizeof open_options,
                                      .flags = ODIO_OPEN_WRITE | ODIO_OPEN_CREATE | ODIO_OPEN_TRUNCATE};
    struct family family = {.setup = {.size = sizeof family.setup, .depth = 4}};
    CHECK(odio_queue_options_set_engine(&family.setup, argv[2]) == 0);
    CHECK(odio_file_open(argv[1], &open_options, &family.file) == 0);
    void *memory;
    CHECK(odio_buffer_new(family.file, SIZE, &memory) == 0);
    family.memory = memory;
    odio_queue *queue;
    CHECK(odio_queue_new(&family.setup, &queue) == 0);
    memset(memory, 'p', SIZE);
    CHECK(odio_file_write(family.file, memory, SIZE, 0) == SIZE);
    expect(queue, family.file, family.memory, 0, 'p');

    if (strcmp(argv[3], "exec") == 0) {
        CHECK(open("/dev/null", O_RDONLY) > 2);
        in_a_child(start_list, argv[0]);
    } else {
        in_a_child(use_in_the_child, &family);
        /* The child's block is there, and what it closed and freed was its own. */
        expect(queue, family.file, family.memory, 1, 'c');
    }

    CHECK(odio_queue_free(queue) == 0);
    odio_buffer_free(memory);
    CHECK(odio_file_close(family.file) == 0);
    return 0;
}
