/*
 * million [--count N] [--seed S] PLACE...: mixed requests through every engine, with faults, none lost, every byte
 * verified.
 *
 * A PLACE is disk:DIRECTORY (direct, buffered, durable and truncated files), memory:DIRECTORY (a buffered file),
 * device:DEVICE, full:DIRECTORY, full-memory:DIRECTORY (filesystems smaller than the file), failing:DEVICE:GOOD and
 * failing-cache:DEVICE:GOOD (from the byte GOOD on it fails; direct and buffered). What they hold is lost.
 *
 * Signals interrupt every system call, requests are cancelled, and another process truncates files meanwhile.
 */
#include "million.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { DEPTH = 128, AREAS = 16, PIECES = 4, LARGEST = 32 };

enum kind { READ, WRITE, SYNC };

struct request {
    enum kind kind;
    struct area *area;
    uint32_t slot, number;
    uint64_t sector; /* within the area */
    size_t length;
    uint32_t flags;
    unsigned char *memory, *at; /* what the pool gave, and where in it the request begins */
    bool in_flight, is_cancelled;
};

static struct area areas[AREAS];
static unsigned area_count;
static struct request requests[DEPTH];
static unsigned in_flight;
static unsigned char *completed; /* of each request's number, once */
static uint32_t next_number = 1, total = 1000000;
static uint64_t secret, bytes;

/* How requests ended. */
static struct {
    uint64_t whole, syncs, ended_early, cancelled, no_space, failed, would_wait, lost_syncs;
} seen;

static volatile sig_atomic_t signals;

static void count_signal(int number)
{
    (void)number;
    signals++;
}

/* Tells which file, request and result, which CHECK cannot. */
static void unexpected(const struct request *request, int64_t result)
{
    fprintf(stderr, "%s: request %u, kind %d, flags %u, %zu bytes at sector %llu: %lld is not what may come of it\n",
            request->area->name, request->number, request->kind, request->flags, request->length,
            (unsigned long long)request->sector, (long long)result);
    abort();
}

static bool is_in_failing_part(const struct request *request)
{
    const struct area *area = request->area;
    return area->fault == FAILING && area->base + request->sector * SECTOR + request->length > area->good;
}

/* Whether this may come of it, and what it says of the content. */
static void settle(struct request *request, int64_t result)
{
    struct area *area = request->area;
    if (request->kind == SYNC) {
        bool is_lost = result == -EIO && area->fault == FAILING && !area->is_direct;
        if (result != 0 && !is_lost)
            unexpected(request, result);
        if (is_lost) {
            odio_file_acknowledge_sync_error(area->file);
            seen.lost_syncs++;
        } else {
            seen.syncs++;
        }
        return;
    }
    if (result == (int64_t)request->length) {
        /*
         * What a device cannot hold must not be acknowledged. The page cache takes it and fails later, and of two syncs
         * in flight the kernel tells one.
         */
        if (is_in_failing_part(request) && area->is_direct)
            unexpected(request, result);
        seen.whole++;
        bytes += request->length;
        if (request->kind == WRITE)
            model_acknowledge(area, request->number, request->sector, request->length);
        else
            model_check(area, request->sector, request->at, request->length);
        return;
    }
    if (result >= 0) {
        bool may_be_cut = area->fault == TRUNCATED || (request->flags & ODIO_RWF_NOWAIT);
        if (request->kind == WRITE || !may_be_cut || result > (int64_t)request->length)
            unexpected(request, result);
        seen.ended_early++;
        bytes += (uint64_t)result;
        model_check(area, request->sector, request->at, (size_t)result);
        return;
    }
    if (request->kind == WRITE)
        model_fail(request->number);
    if (result == -ECANCELED && request->is_cancelled) {
        seen.cancelled++;
    } else if (result == -EAGAIN && (request->flags & ODIO_RWF_NOWAIT)) {
        seen.would_wait++;
    } else if (result == -ENOSPC && request->kind == WRITE && (area->fault == FULL || is_in_failing_part(request))) {
        seen.no_space++;
    } else if (result == -EIO && area->fault == FAILING) {
        /* A write that was to be synced may be told of the loss of another one. */
        bool is_sync = request->kind == WRITE && (request->flags & ODIO_RWF_THEN_DATASYNC);
        if (!is_in_failing_part(request) && !(is_sync && !area->is_direct))
            unexpected(request, result);
        if (is_sync)
            odio_file_acknowledge_sync_error(area->file);
        seen.failed++;
    } else {
        unexpected(request, result);
    }
}

static void collect(odio_queue *queue, uint32_t min)
{
    odio_completion done[LARGEST];
    uint32_t max = 1 + random_below(LARGEST);
    int count = min == 0 ? odio_queue_poll(queue, done, max)
                         : odio_queue_wait(queue, done, min < max ? min : max, max, random_below(4) == 0 ? 100000 : -1);
    CHECK(count >= 0 && (uint32_t)count <= max);
    for (int i = 0; i < count; i++) {
        uint64_t told = done[i].user_data ^ secret;
        uint32_t index = (uint32_t)(told & 0xffff), number = (uint32_t)(told >> 16);
        CHECK(index < DEPTH && number < next_number);
        struct request *request = &requests[index];
        CHECK(request->in_flight && request->number == number && !completed[number]);
        completed[number] = 1;
        request->in_flight = false;
        in_flight--;
        if (request->kind != SYNC) {
            request->area->busy[request->slot] = false;
            request->area->busy_slots--;
        }
        settle(request, done[i].result);
    }
}

/* Between 1 and PIECES pieces, each at a multiple of a sector. */
static int cut(const struct request *request, struct iovec *pieces)
{
    size_t done = 0;
    int count = 0;
    while (count < PIECES - 1 && request->length - done > SECTOR && random_below(3) > 0) {
        size_t part = (1 + random_below((uint32_t)((request->length - done) / SECTOR) - 1)) * SECTOR;
        pieces[count++] = (struct iovec){.iov_base = request->at + done, .iov_len = part};
        done += part;
    }
    pieces[count++] = (struct iovec){.iov_base = request->at + done, .iov_len = request->length - done};
    return count;
}

static int take_in(odio_queue *queue, struct request *request, uint64_t user_data)
{
    odio_file *file = request->area->file;
    uint64_t offset = request->area->base + request->sector * SECTOR;
    if (request->kind == SYNC)
        return request->number % 2 ? odio_queue_sync(queue, file, user_data)
                                   : odio_queue_datasync(queue, file, user_data);
    if (request->flags != 0 || random_below(8) == 0) {
        struct iovec pieces[PIECES];
        int count = cut(request, pieces);
        return request->kind == READ
                   ? odio_queue_readv(queue, file, pieces, count, offset, request->flags, user_data)
                   : odio_queue_writev(queue, file, pieces, count, offset, request->flags, user_data);
    }
    return request->kind == READ ? odio_queue_read(queue, file, request->at, request->length, offset, user_data)
                                 : odio_queue_write(queue, file, request->at, request->length, offset, user_data);
}

/* Makes up a request for a free place in the table. */
static void invent(struct request *request, odio_queue *queue)
{
    /* Requests gather where they are slow; together the areas have room for all. */
    struct area *area = &areas[random_below(area_count)];
    while (area->busy_slots == SLOTS)
        area = &areas[random_below(area_count)];
    uint32_t slot = random_below(SLOTS), dice = random_below(64);
    request->area = area;
    request->flags = 0;
    request->is_cancelled = false;
    if (dice == 0) {
        request->kind = SYNC;
    } else {
        while (area->busy[slot])
            slot = (slot + 1) % SLOTS;
        area->busy[slot] = true;
        area->busy_slots++;
        request->kind = dice < 32 ? READ : WRITE;
        request->slot = slot;
        /* As many short ones as long ones. */
        uint32_t sectors = (1u << random_below(8));
        sectors = sectors == SECTORS ? sectors : sectors + random_below(sectors);
        request->sector = slot * SECTORS + random_below(SECTORS - sectors + 1);
        request->length = (size_t)sectors * SECTOR;
        uint64_t limit = (area->good - area->base) / SECTOR;
        /* A loop device says yes to a write that its image took in part (lo_complete_rq, 6.18): none begins before. */
        if (area->fault == FAILING && request->kind == WRITE && request->sector < limit &&
            request->sector + sectors > limit)
            request->length = (size_t)(limit - request->sector) * SECTOR;
        request->at = request->memory + (area->is_direct ? 0 : random_below(SECTOR));
        if (request->kind == READ && dice == 1)
            request->flags = ODIO_RWF_NOWAIT;
        if (request->kind == WRITE && dice == 32)
            request->flags = ODIO_RWF_THEN_DATASYNC;
    }
    request->number = next_number;
    if (request->kind == WRITE)
        model_fill(area, request->number, request->sector, request->at, request->length);
    else if (request->kind == READ)
        memset(request->at, 0xa5, request->length);

    uint64_t user_data = ((uint64_t)request->number << 16 | (uint64_t)(request - requests)) ^ secret;
    int result = take_in(queue, request, user_data);
    if (result == -EIO && area->fault == FAILING) {
        /* A failed sync that was told to a write, whose file refuses syncs since. */
        CHECK(odio_file_acknowledge_sync_error(area->file) == -EIO);
        result = take_in(queue, request, user_data);
    }
    if (result == -EOPNOTSUPP && request->flags == ODIO_RWF_NOWAIT) {
        request->flags = 0;
        result = take_in(queue, request, user_data);
    }
    CHECK(result == 0);
    request->in_flight = true;
    in_flight++;
    next_number++;
}

static void cancel_one(odio_queue *queue)
{
    struct request *request = &requests[random_below(DEPTH)];
    if (!request->in_flight)
        return;
    uint64_t user_data = ((uint64_t)request->number << 16 | (uint64_t)(request - requests)) ^ secret;
    int found = odio_queue_cancel(queue, user_data);
    CHECK(found == 0 || found == 1);
    request->is_cancelled = true;
}

static void one_engine(const char *engine, uint32_t last)
{
    odio_queue_options options = {.size = sizeof options, .depth = DEPTH};
    odio_pool_options buffers = {.size = sizeof buffers, .length = SLOT + SECTOR, .count = DEPTH};
    odio_queue *queue;
    odio_pool *pool;
    CHECK(odio_queue_options_set_engine(&options, engine) == 0);
    CHECK(odio_queue_new(&options, &queue) == 0 && odio_pool_new(&buffers, &pool) == 0);
    CHECK(odio_queue_add_pool(queue, pool) >= 0);
    for (unsigned i = 0; i < area_count; i += 2)
        CHECK(odio_queue_add_file(queue, areas[i].file) >= 0);
    for (int i = 0; i < DEPTH; i++)
        CHECK((requests[i].memory = odio_pool_take(pool)) != NULL);

    bool is_terminal = isatty(STDERR_FILENO);
    while (next_number <= last || in_flight > 0) {
        for (int i = 0; i < DEPTH && next_number <= last; i++) {
            if (!requests[i].in_flight)
                invent(&requests[i], queue);
            if (is_terminal && next_number % 5000 == 0)
                fprintf(stderr, "\r%s: %u of %u requests, %u in flight ", engine, next_number, total, in_flight);
        }
        if (random_below(4) == 0)
            CHECK(odio_queue_submit(queue) == 0);
        if (random_below(8) == 0)
            cancel_one(queue);
        collect(queue, random_below(LARGEST));
    }
    odio_completion none;
    CHECK(odio_queue_wait(queue, &none, 1, 1, -1) == 0);
    odio_counters counters = {.size = sizeof counters};
    CHECK(odio_queue_counters(queue, &counters) == 0);
    CHECK(counters.submitted == counters.completed);
    printf("%s: %llu requests, %llu resumed\n", engine, (unsigned long long)counters.completed,
           (unsigned long long)counters.resumed);
    fflush(stdout);
    CHECK(odio_queue_free(queue) == 0);
    odio_pool_free(pool);
}

static void add_area(const char *name, const char *at, const char *file, uint32_t direct, uint32_t sync,
                     enum fault fault, uint64_t good)
{
    CHECK(area_count < AREAS);
    struct area *area = &areas[area_count];
    area->number = area_count++;
    area->name = name;
    area->fault = fault;
    area->good = good;
    area->is_direct = direct == ODIO_DIRECT_REQUIRED;
    /* The device begins to fail in the middle of a slot. */
    area->base = fault == FAILING ? good - SLOTS / 2 * SLOT - SLOT / 2 : 0;
    CHECK(snprintf(area->path, sizeof area->path, file[0] ? "%s/%s" : "%s", at, file) < (int)sizeof area->path);
    odio_open_options options = {.size = sizeof options, .direct = direct, .sync = sync, .flags = ODIO_OPEN_WRITE};
    if (file[0])
        options.flags |= ODIO_OPEN_CREATE | ODIO_OPEN_TRUNCATE;
    CHECK(odio_file_open(area->path, &options, &area->file) == 0);
    if (file[0])
        CHECK(odio_file_truncate(area->file, (uint64_t)SLOTS * SLOT) == 0);
}

static void add_place(char *place)
{
    char *at = strchr(place, ':');
    CHECK(at != NULL);
    *at++ = '\0';
    char *good = strchr(at, ':');
    if (good != NULL)
        *good++ = '\0';
    uint64_t number = good != NULL ? strtoull(good, NULL, 10) : 0;
    const uint32_t direct = ODIO_DIRECT_REQUIRED, buffered = ODIO_DIRECT_OFF, none = ODIO_SYNC_NONE;
    if (strcmp(place, "disk") == 0) {
        add_area("direct", at, "direct", direct, none, NO_FAULT, 0);
        add_area("buffered", at, "buffered", buffered, none, NO_FAULT, 0);
        add_area("durable", at, "durable", direct, ODIO_SYNC_DSYNC, NO_FAULT, 0);
        add_area("truncated direct", at, "truncated-direct", direct, none, TRUNCATED, 0);
        add_area("truncated buffered", at, "truncated-buffered", buffered, none, TRUNCATED, 0);
    } else if (strcmp(place, "memory") == 0) {
        add_area("memory", at, "memory", buffered, none, NO_FAULT, 0);
    } else if (strcmp(place, "device") == 0) {
        add_area("device", at, "", direct, none, NO_FAULT, 0);
    } else if (strcmp(place, "full") == 0) {
        add_area("full", at, "full", direct, none, FULL, 0);
    } else if (strcmp(place, "full-memory") == 0) {
        add_area("full memory", at, "full", buffered, none, FULL, 0);
    } else if (strcmp(place, "failing") == 0) {
        add_area("failing", at, "", direct, none, FAILING, number);
    } else {
        CHECK(strcmp(place, "failing-cache") == 0);
        add_area("failing cache", at, "", buffered, none, FAILING, number);
    }
}

/*
 * Cuts the files until the pipe ends, and leaves them whole.
 *
 * Only the writes make them longer meanwhile. A truncate(2) that does so on ext4 zeroes the rest of the old last block
 * through the page cache and does not wait for direct I/O in flight, as one that cuts does (ext4_setattr, 6.18: of AIO
 * writes into that block the kernel logs "Page cache invalidation failure on direct I/O"); writeback may then put the
 * block back as it was before the write.
 */
static pid_t truncate_meanwhile(int *stop)
{
    int ends[2];
    CHECK(pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0);
    pid_t process = fork();
    CHECK(process >= 0);
    if (process != 0) {
        CHECK(close(ends[0]) == 0);
        *stop = ends[1];
        return process;
    }
    close(ends[1]);
    char byte;
    while (read(ends[0], &byte, 1) != 0) {
        for (unsigned i = 0; i < area_count; i++) {
            struct stat now;
            if (areas[i].fault != TRUNCATED)
                continue;
            if (stat(areas[i].path, &now) != 0 ||
                (now.st_size > 0 && truncate(areas[i].path, random_below((uint32_t)now.st_size)) != 0))
                _exit(1);
        }
        usleep(3000);
    }
    for (unsigned i = 0; i < area_count; i++)
        if (areas[i].fault == TRUNCATED && truncate(areas[i].path, SLOTS * SLOT) != 0)
            _exit(1);
    _exit(0);
}

static timer_t begin_storm(void)
{
    /* No SA_RESTART, so that every system call that sleeps is interrupted. */
    struct sigaction action = {.sa_handler = count_signal};
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM};
    struct itimerspec period = {.it_interval = {.tv_nsec = 500000}, .it_value = {.tv_nsec = 500000}};
    timer_t timer;
    CHECK(sigaction(SIGALRM, &action, NULL) == 0);
    CHECK(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0 && timer_settime(timer, 0, &period, NULL) == 0);
    return timer;
}

/* What was cut off meanwhile is written once more, whole, and from then on must be there. */
static void repair(void)
{
    unsigned char *memory = NULL;
    CHECK(posix_memalign((void **)&memory, 4096, SLOT) == 0);
    for (unsigned i = 0; i < area_count; i++) {
        struct area *area = &areas[i];
        if (area->fault != TRUNCATED)
            continue;
        area->fault = NO_FAULT;
        for (uint64_t slot = 0; slot < SLOTS; slot++) {
            model_fill(area, total, slot * SECTORS, memory, SLOT);
            CHECK(odio_file_write(area->file, memory, SLOT, slot * SLOT) == SLOT);
            model_acknowledge(area, total, slot * SECTORS, SLOT);
        }
    }
    free(memory);
}

static void verify_all(void)
{
    for (unsigned i = 0; i < area_count; i++)
        model_check_area(&areas[i], false);
    for (unsigned i = 0; i < area_count; i++) {
        odio_file_acknowledge_sync_error(areas[i].file);
        CHECK(odio_file_close(areas[i].file) == 0);
    }
    for (unsigned i = 0; i < area_count; i++)
        model_check_area(&areas[i], true);
}

int main(int argc, char **argv)
{
    const char *const engines[] = {"psync", "libaio", "io_uring"};
    uint64_t seed = 1;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--count") == 0 && i + 1 < argc)
            total = (uint32_t)strtoul(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc)
            seed = strtoull(argv[++i], NULL, 10);
        else
            add_place(argv[i]);
    }
    CHECK(area_count * SLOTS > DEPTH && total >= 3);
    random_seed(seed);
    secret = random_number();
    completed = calloc((size_t)total + 1, 1);
    CHECK(completed != NULL);
    model_begin(total);

    int stop;
    pid_t truncater = truncate_meanwhile(&stop);
    timer_t storm = begin_storm();
    for (uint32_t i = 0; i < 3; i++)
        one_engine(engines[i], i == 2 ? total : total / 3 * (i + 1));
    CHECK(timer_delete(storm) == 0 && close(stop) == 0);
    int status;
    CHECK(waitpid(truncater, &status, 0) == truncater && status == 0);

    uint32_t count = 0;
    for (uint32_t number = 1; number <= total; number++)
        count += completed[number];
    CHECK(count == total && in_flight == 0);
    repair();
    verify_all();
    printf("seed %llu: %u requests, each completed once; %llu bytes moved; %llu sectors verified\n",
           (unsigned long long)seed, count, (unsigned long long)bytes, (unsigned long long)sectors_checked);
    printf("whole %llu, syncs %llu, ended early %llu, cancelled %llu, no space %llu, failed %llu, would wait %llu, "
           "lost syncs %llu, signals %d\n",
           (unsigned long long)seen.whole, (unsigned long long)seen.syncs, (unsigned long long)seen.ended_early,
           (unsigned long long)seen.cancelled, (unsigned long long)seen.no_space, (unsigned long long)seen.failed,
           (unsigned long long)seen.would_wait, (unsigned long long)seen.lost_syncs, (int)signals);
    return 0;
}
