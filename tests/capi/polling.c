/* Tests the functions that never wait: with valid calls, from many threads, and with arguments that make no sense.
 *
 *     polling MODE STREAM HASHES
 *
 * HASHES: one SHA-256 per line for each frame at 256 x 128. */

#include "alphastream.h"
#include "check.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WIDTH = 256, HEIGHT = 128, SIZE = WIDTH * HEIGHT, THREADS = 8, MANY = 400 };

static const char *stream;

static void pause_ms(long ms)
{
    struct timespec time = {0, ms * 1000000};
    nanosleep(&time, NULL);
}

static bool init(void *handle, unsigned int n_ahead)
{
    return CV_init(handle, stream, 0, WIDTH, HEIGHT, "1.5.0", 0, n_ahead, 4096, 0, 20000, 20000);
}

static void *open_stream(unsigned int n_ahead)
{
    void *handle = CV_create();
    CHECK(handle && CV_get_state(handle) == ALPHASTREAM_STATE_NONE);
    CHECK(init(handle, n_ahead));
    CHECK(CV_get_total_frames(handle) == n_hashes);
    return handle;
}

static void check_mask(const void *mask, unsigned int index)
{
    char text[65];
    CHECK(mask && (uintptr_t)mask % 64 == 0);
    CHECK(strcmp(sha256((const unsigned char *)mask, SIZE, text), hashes[index]) == 0);
}

/* Whether null is no error: the mask is coming. */
static bool is_coming(void *handle)
{
    int code = CV_get_last_error_code(handle);
    return code == ALPHASTREAM_TIMEOUT || code == ALPHASTREAM_NOT_READY;
}

static const void *poll_until_ready(void *handle, unsigned int index)
{
    for (double end = seconds() + 60; seconds() < end; pause_ms(1)) {
        const void *mask = CV_poll_frame(handle, index);
        CHECK((mask != NULL) == (CV_get_last_error_code(handle) == ALPHASTREAM_NONE));
        if (mask)
            return mask;
        CHECK(is_coming(handle) && *CV_get_last_error_text(handle));
    }
    CHECK(!"no mask within 60 s");
    return NULL;
}

static void wait_for_state(void *handle, unsigned int index, int state)
{
    for (double end = seconds() + 60; CV_get_frame_state(handle, index) < state; pause_ms(1))
        CHECK(CV_get_last_error_code(handle) == ALPHASTREAM_NONE && seconds() < end);
}

static size_t count_frames(void *handle)
{
    alphastream_range *ranges = NULL;
    size_t n_frames = 0, n_ranges = 0, capacity = 0;
    do { /* they may become more meanwhile */
        capacity = n_ranges;
        ranges = realloc(ranges, (capacity + 1) * sizeof *ranges);
        CHECK(ranges);
        n_ranges = CV_get_buffered_ranges(handle, ranges, capacity);
    } while (n_ranges > capacity);
    for (size_t i = 0; i < n_ranges; i++) {
        CHECK(ranges[i].start < ranges[i].stop && ranges[i].stop <= n_hashes);
        CHECK(i == 0 || ranges[i].start > ranges[i - 1].stop);
        n_frames += (size_t)(ranges[i].stop - ranges[i].start);
    }
    free(ranges);
    return n_frames;
}

/* As a player does: seeks, waits for the mask of the target by its state, looks at previews, fetches a chapter. */
static void play(void)
{
    void *handle = open_stream(10);
    CHECK(CV_get_state(handle) == ALPHASTREAM_STATE_BUFFERING && CV_get_buffered_seconds(handle) == 0.0);
    unsigned int targets[] = {0, n_hashes / 2, n_hashes - 1, 7};
    for (size_t i = 0; i < sizeof targets / sizeof *targets; i++) {
        unsigned int target = targets[i], preview = (target + 1000) % n_hashes;
        CHECK(CV_seek(handle, target, 1));
        wait_for_state(handle, target, ALPHASTREAM_FRAME_FETCHED);
        for (double end = seconds() + 60; CV_get_state(handle) < ALPHASTREAM_STATE_PLAYING; pause_ms(1))
            CHECK(seconds() < end);
        const void *preview_mask = poll_until_ready(handle, preview);
        CHECK(CV_get_frame_state(handle, preview) == ALPHASTREAM_FRAME_READY);
        const void *mask = NULL;
        while (!(mask = CV_get_frame(handle, target)))
            CHECK(is_coming(handle));
        check_mask(mask, target);
        check_mask(preview_mask, preview); /* CV_get_frame did not change it */
        CHECK(CV_get_state(handle) == (target + 1 == n_hashes ? ALPHASTREAM_STATE_ENDED : ALPHASTREAM_STATE_PLAYING));
        CHECK(CV_get_buffered_seconds(handle) > 0.0);
        CHECK(CV_cancel_frame(handle, preview));
        check_mask(preview_mask, preview);
    }
    wait_for_state(handle, 8, ALPHASTREAM_FRAME_READY); /* made ahead */
    check_mask(CV_poll_frame(handle, 8), 8);

    unsigned int chapter = CV_prefetch(handle, 100, 400), other = CV_prefetch(handle, 500, 900);
    CHECK(chapter && other && chapter != other);
    for (double end = seconds() + 60; CV_get_prefetch_state(handle, chapter) == ALPHASTREAM_FRAME_COMING; pause_ms(1))
        CHECK(seconds() < end);
    CHECK(CV_get_prefetch_state(handle, chapter) == ALPHASTREAM_FRAME_FETCHED);
    for (unsigned int i = 100; i < 400; i++)
        CHECK(CV_get_frame_state(handle, i) >= ALPHASTREAM_FRAME_FETCHED);
    CHECK(count_frames(handle) >= 300);
    CHECK(CV_cancel_prefetch(handle, other) && CV_get_prefetch_state(handle, other) == ALPHASTREAM_FRAME_MISSING);
    CV_destroy(handle);
}

/* Every function with a handle that is invalid. */
static void refuse(void *handle)
{
    alphastream_range ranges[2] = {{1, 2}, {3, 4}};
    CHECK(CV_get_state(handle) == -1);
    CHECK(!CV_seek(handle, 0, 1));
    CHECK(!CV_poll_frame(handle, 0));
    CHECK(!CV_cancel_frame(handle, 0));
    CHECK(CV_get_frame_state(handle, 0) == ALPHASTREAM_FRAME_FAILED);
    CHECK(CV_get_buffered_ranges(handle, ranges, 2) == 0 && ranges[0].start == 1 && ranges[1].stop == 4);
    CHECK(CV_get_buffered_ranges(handle, NULL, SIZE_MAX) == 0);
    CHECK(CV_get_buffered_seconds(handle) == 0.0);
    CHECK(CV_prefetch(handle, 0, 1) == 0);
    CHECK(CV_get_prefetch_state(handle, 1) == ALPHASTREAM_FRAME_FAILED);
    CHECK(!CV_cancel_prefetch(handle, 1));
    CHECK(CV_get_last_error_code(handle) == ALPHASTREAM_INVALID && *CV_get_last_error_text(handle));
}

/* What no host should pass. A buffer is as long as its capacity says, so that a sanitizer sees a write behind it. */
static void garbage(void)
{
    static const unsigned long long far[] = {1u << 31, 1ull << 63, ~0ull - 1, ~0ull};
    refuse(NULL); /* also before the interpreter runs */
    refuse((void *)0x1234567);
    void *handle = CV_create();
    for (int is_open = 0; is_open < 2; is_open++) {
        int code = is_open ? ALPHASTREAM_NOT_FOUND : ALPHASTREAM_NOT_READY;
        for (size_t i = 0; i < sizeof far / sizeof *far; i++) {
            CHECK(!CV_poll_frame(handle, far[i]) && CV_get_last_error_code(handle) == code);
            CHECK(!CV_seek(handle, far[i], i % 2 ? -2147483647 - 1 : 2147483647));
            CHECK(CV_get_last_error_code(handle) == code);
            CHECK(!CV_cancel_frame(handle, far[i]) && CV_get_last_error_code(handle) == code);
            CHECK(CV_get_frame_state(handle, far[i]) == -1 && CV_get_last_error_code(handle) == code);
            CHECK(!CV_prefetch(handle, 0, far[i]) && CV_get_last_error_code(handle) == code);
            CHECK(!CV_prefetch(handle, far[i] - 1, far[i]) && CV_get_last_error_code(handle) == code);
            CHECK(CV_get_prefetch_state(handle, (unsigned int)far[i]) == ALPHASTREAM_FRAME_FAILED);
            CHECK(CV_get_last_error_code(handle) == ALPHASTREAM_INVALID);
            CHECK(!CV_cancel_prefetch(handle, (unsigned int)far[i]));
        }
        CHECK(CV_get_buffered_ranges(handle, NULL, 1) == 0);
        CHECK(CV_get_last_error_code(handle) == ALPHASTREAM_INVALID);
        CHECK(is_open || init(handle, 0));
    }
    CHECK(!CV_prefetch(handle, 9, 8) && CV_get_last_error_code(handle) == ALPHASTREAM_INVALID);

    for (unsigned int i = 0; i < 40; i += 2) /* twenty ranges */
        check_mask(poll_until_ready(handle, i), i);
    size_t count = CV_get_buffered_ranges(handle, NULL, 0);
    CHECK(count > 0 && CV_get_last_error_code(handle) == ALPHASTREAM_NONE);
    for (size_t capacity = 0; capacity <= count + 1; capacity++) {
        alphastream_range *ranges = malloc(capacity * sizeof *ranges + 1);
        CHECK(ranges);
        memset(ranges, 0xa5, capacity * sizeof *ranges + 1);
        CHECK(CV_get_buffered_ranges(handle, ranges, capacity) >= count);
        CHECK(((unsigned char *)ranges)[capacity * sizeof *ranges] == 0xa5);
        CHECK(capacity == 0 || ranges[0].stop > ranges[0].start);
        free(ranges);
    }

    fflush(stdout);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        refuse(handle);
        CHECK(strstr(CV_get_last_error_text(handle), "fork"));
        _exit(0);
    }
    int status = -1;
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    check_mask(poll_until_ready(handle, 5), 5);
    CV_destroy(handle);
    refuse(handle);
}

static void *shared;
static atomic_int n_masks;

static void *use(void *argument)
{
    unsigned int number = (unsigned int)(uintptr_t)argument, random = number + 1, kept = 0;
    const void *mask = NULL;
    for (int i = 0; i < MANY; i++) {
        random = random * 1664525u + 1013904223u;
        unsigned int index = (random >> 8) % n_hashes;
        const void *next = NULL;
        switch (random >> 29) {
        case 0:
            CHECK(CV_seek(shared, index, (int)index % 3 - 1));
            break;
        case 1:
            CHECK(CV_cancel_frame(shared, index));
            break;
        case 2:
            (void)count_frames(shared);
            break;
        case 3: {
            unsigned int id = CV_prefetch(shared, index, n_hashes);
            CHECK(id || CV_get_last_error_code(shared) == ALPHASTREAM_NOT_READY);
            CHECK(!id || CV_get_prefetch_state(shared, id) >= ALPHASTREAM_FRAME_MISSING);
            CHECK(!id || CV_cancel_prefetch(shared, id));
            break;
        }
        case 4:
            CHECK(CV_get_state(shared) >= ALPHASTREAM_STATE_BUFFERING);
            CHECK(CV_get_buffered_seconds(shared) >= 0.0);
            CHECK(CV_get_frame_state(shared, index) >= ALPHASTREAM_FRAME_MISSING);
            CHECK(CV_get_frame_state(shared, n_hashes) == -1);
            CHECK(CV_get_last_error_code(shared) == ALPHASTREAM_NOT_FOUND);
            break;
        default:
            index = number * 10 + random % 2; /* some of another thread's frames, too */
            for (int again = 0; again < 3 && !next; again++, pause_ms(1)) {
                next = CV_poll_frame(shared, index);
                CHECK(next || is_coming(shared));
            }
        }
        if (next) {
            mask = next;
            kept = index;
            atomic_fetch_add(&n_masks, 1);
        }
        if (mask && !next && random >> 29 < 5)
            check_mask(mask, kept); /* the other threads' calls did not change it */
        else if (!next)
            mask = NULL; /* a poll that returned null ends it */
    }
    return NULL;
}

/* Many threads share a handle and poll, seek, prefetch and cancel. Every mask has the right bytes. */
static void threads(void)
{
    pthread_t running[THREADS];
    shared = open_stream(3);
    for (uintptr_t i = 0; i < THREADS; i++)
        CHECK(pthread_create(&running[i], NULL, use, (void *)i) == 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(running[i], NULL);
    CHECK(atomic_load(&n_masks) > 0);
    CV_destroy(shared);
}

static _Atomic(void *) slots[3];

static void *disturb(void *argument)
{
    unsigned int random = (unsigned int)(uintptr_t)argument + 1;
    alphastream_range ranges[3];
    for (int i = 0; i < MANY; i++) {
        random = random * 1664525u + 1013904223u;
        unsigned int action = (random >> 8) % 100, index = (random >> 12) % n_hashes;
        void *handle = atomic_load(&slots[(random >> 16) % 3]);
        if (action < 4)
            CV_destroy(atomic_exchange(&slots[(random >> 16) % 3], CV_create()));
        else if (action < 12)
            (void)init(handle, action);
        else if (action < 24)
            (void)CV_seek(handle, index, (int)action - 18);
        else if (action < 36)
            (void)CV_get_buffered_ranges(handle, ranges, action % 4);
        else if (action < 48)
            (void)CV_cancel_prefetch(handle, CV_prefetch(handle, index / 2, index));
        else if (action < 60)
            (void)CV_get_frame_state(handle, index);
        else if (action < 64)
            (void)CV_cancel_frame(handle, index);
        else if (action < 68)
            (void)CV_get_frame(handle, index);
        else
            atomic_fetch_add(&n_masks, CV_poll_frame(handle, index % 20) != NULL);
        int code = CV_get_last_error_code(handle), state = CV_get_state(handle);
        CHECK(code == ALPHASTREAM_NONE || (code <= ALPHASTREAM_INVALID && code >= ALPHASTREAM_TRANSPORT));
        CHECK(CV_get_last_error_text(handle));
        CHECK(state >= ALPHASTREAM_STATE_FAILED && state <= ALPHASTREAM_STATE_ENDED);
    }
    return NULL;
}

/* Threads create, open, use and destroy the same handles in any order. */
static void race(void)
{
    pthread_t running[THREADS];
    for (int i = 0; i < 3; i++)
        atomic_store(&slots[i], open_stream(0));
    for (uintptr_t i = 0; i < THREADS; i++)
        CHECK(pthread_create(&running[i], NULL, disturb, (void *)i) == 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(running[i], NULL);
    CHECK(atomic_load(&n_masks) > 0);
    for (int i = 0; i < 3; i++)
        CV_destroy(atomic_load(&slots[i]));
}

/* The process ends while frames and ranges are coming. */
static void leave(void)
{
    for (int i = 0; i < 3; i++) {
        void *handle = open_stream(5);
        for (unsigned int index = 0; index < 16; index++)
            (void)CV_poll_frame(handle, n_hashes - 1 - index * 40);
        CHECK(CV_seek(handle, 1000, 1) && CV_prefetch(handle, 0, 900));
    }
}

/* Frames never come. No call waits: if each waited for the time box, the calls would take half an hour. */
static void stuck(void)
{
    void *handle = CV_create();
    CHECK(CV_set_option(handle, "get_frame_timebox_ms", "1000") && init(handle, 0));
    unsigned int last = n_hashes - 1;
    for (int i = 0; i < 1000; i++) {
        CHECK(CV_seek(handle, last, 1));
        CHECK(CV_cancel_prefetch(handle, CV_prefetch(handle, 1000, 1100)));
        CHECK(!CV_poll_frame(handle, last - 1) && CV_get_last_error_code(handle) == ALPHASTREAM_TIMEOUT);
        CHECK(CV_get_frame_state(handle, last) == ALPHASTREAM_FRAME_COMING);
        (void)CV_get_buffered_ranges(handle, NULL, 0);
        int state = CV_get_state(handle);
        CHECK(state == ALPHASTREAM_STATE_BUFFERING || state == ALPHASTREAM_STATE_STALLED);
    }
    CHECK(CV_cancel_frame(handle, last - 1));
    CHECK(CV_get_frame_state(handle, last - 1) <= ALPHASTREAM_FRAME_COMING);
    CV_destroy(handle);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } modes[] = {
        {"play", play}, {"garbage", garbage}, {"threads", threads}, {"race", race}, {"leave", leave}, {"stuck", stuck},
    };
    CHECK(argc == 4);
    stream = argv[2];
    read_hashes(argv[3]);
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++)
        if (strcmp(argv[1], modes[i].name) == 0) {
            modes[i].run();
            puts("ok");
            return 0;
        }
    CHECK(!"a mode");
}
