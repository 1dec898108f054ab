/*
 * event_loop FILE: one thread that waits in poll(2) for disk and for standard input at once. Each line that comes in is
 * written to FILE; its number is printed when it is durable, and other lines are taken in meanwhile.
 *
 * Build it with: cc -std=c11 event_loop.c $(pkg-config --cflags --libs odio) -o event_loop
 */
#define _POSIX_C_SOURCE 200809L
#include <odio.h>

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { DEPTH = 16, BLOCK = 4096 };

struct state {
    odio_queue *queue;
    odio_file *file;
    odio_pool *pool;
    char text[BLOCK]; /* What was read of standard input and is not written yet. */
    size_t length;
    uint64_t lines;
    uint64_t in_flight;
    int failed;
    int ended;
};

static int fail(const char *what)
{
    fprintf(stderr, "event_loop: %s: %s\n", what, odio_last_error());
    return -1;
}

/* user_data has to say which line it was and where its buffer is. */
struct line {
    uint64_t number;
    char text[BLOCK - sizeof(uint64_t)];
};

static void on_written(const odio_completion *done, void *context)
{
    struct state *state = context;
    struct line *line = (struct line *)(uintptr_t)done->user_data;
    state->in_flight--;
    if (done->result == BLOCK) {
        printf("line %" PRIu64 " is durable\n", line->number);
        fflush(stdout);
    } else {
        state->failed = 1;
        fprintf(stderr, "event_loop: line %" PRIu64 ": %s\n", line->number, strerror((int)-done->result));
    }
    odio_pool_put(state->pool, line);
}

/* Makes writes of the whole lines that are there, as long as there are buffers; a last line needs no newline. */
static int write_lines(struct state *state)
{
    while (state->length > 0) {
        char *end = memchr(state->text, '\n', state->length);
        size_t length = end != NULL ? (size_t)(end - state->text) + 1 : state->length;
        if (end == NULL && !state->ended && state->length < sizeof state->text)
            break;
        struct line *line = odio_pool_take(state->pool);
        if (line == NULL)
            break;
        if (length > sizeof line->text)
            length = sizeof line->text;
        memset(line, 0, sizeof *line);
        line->number = ++state->lines;
        memcpy(line->text, state->text, length);
        memmove(state->text, state->text + length, state->length -= length);
        if (odio_queue_write(state->queue, state->file, line, BLOCK, (line->number - 1) * BLOCK,
                             (uint64_t)(uintptr_t)line) < 0)
            return fail("write");
        state->in_flight++;
    }
    return odio_queue_submit(state->queue) < 0 ? fail("submit") : 0;
}

static int loop(struct state *state)
{
    int event = odio_queue_eventfd(state->queue);
    if (event < 0)
        return fail("eventfd");
    while (!state->ended || state->length > 0 || state->in_flight > 0) {
        /* A negative descriptor is left out: no more is taken in than there is room for. */
        int wants = !state->ended && state->length < sizeof state->text;
        struct pollfd ready[2] = {{.fd = event, .events = POLLIN}, {.fd = wants ? 0 : -1, .events = POLLIN}};
        if (poll(ready, 2, -1) < 0 && errno != EINTR)
            return perror("event_loop: poll"), -1;
        if (ready[0].revents != 0) {
            /* Emptied first: what completes from here on makes it readable again. */
            uint64_t times;
            if (read(event, &times, sizeof times) < 0 && errno != EAGAIN)
                return perror("event_loop: eventfd"), -1;
            int count;
            while ((count = odio_queue_dispatch(state->queue, 0, 0, on_written, state)) > 0)
                ;
            if (count < 0)
                return fail("dispatch");
        }
        if (ready[1].revents != 0) {
            ssize_t got = read(0, state->text + state->length, sizeof state->text - state->length);
            if (got < 0)
                return perror("event_loop: standard input"), -1;
            state->length += (size_t)got;
            state->ended = got == 0;
        }
        if (write_lines(state) < 0)
            return -1;
    }
    return state->failed ? -1 : 0;
}

int main(int argc, char **argv)
{
    if (argc != 2)
        return fputs("usage: event_loop FILE < LINES\n", stderr), 2;

    /* Nothing said of sync: every write is durable when it is acknowledged. */
    odio_open_options open = {.size = sizeof open,
                              .flags = ODIO_OPEN_WRITE | ODIO_OPEN_CREATE | ODIO_OPEN_TRUNCATE};
    odio_queue_options setup = {.size = sizeof setup, .depth = DEPTH};
    odio_pool_options buffers = {.size = sizeof buffers, .length = BLOCK, .count = DEPTH};
    struct state state = {.queue = NULL};
    int result = -1;
    if (odio_file_open(argv[1], &open, &state.file) < 0 || odio_queue_new(&setup, &state.queue) < 0 ||
        odio_pool_new(&buffers, &state.pool) < 0)
        fail(argv[1]);
    else
        result = loop(&state);

    /* First: it waits for whatever still uses the buffers, which are not released where that cannot be said. */
    if (odio_queue_free(state.queue) < 0)
        return fail("queue"), EXIT_FAILURE;
    odio_pool_free(state.pool);
    if (odio_file_close(state.file) < 0)
        result = fail("close");
    return result == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
