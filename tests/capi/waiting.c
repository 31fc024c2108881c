/* Tests which calls wait: a server that does not respond, frames that do not arrive, threads that destroy handles which
 * other threads use.
 *
 *     waiting MODE STREAM HASHES
 *
 * HASHES: one SHA-256 per line for each frame at 256 x 128. */

#include "alphastream.h"
#include "check.h"

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

enum { WIDTH = 256, HEIGHT = 128, SIZE = WIDTH * HEIGHT, MANY = 40 };

static const char *stream;

static bool init(void *handle, unsigned int start, unsigned int n_init, unsigned int init_ms, unsigned int data_ms)
{
    return CV_init(handle, stream, 0, WIDTH, HEIGHT, "1.5.0", start, 0, 512, n_init, init_ms, data_ms);
}

static void check_mask(const void *mask, unsigned int index)
{
    char text[65];
    CHECK(mask && strcmp(sha256((const unsigned char *)mask, SIZE, text), hashes[index]) == 0);
}

static void *initialize(void *handle)
{
    return init(handle, 0, 0, 60000, 60000) ? handle : NULL;
}

static void *initialize_briefly(void *handle)
{
    (void)init(handle, 0, 0, 600, 60000);
    pthread_testcancel();
    return NULL;
}

static void *prefetch(void *handle)
{
    return init(handle, 1800, 10, 60000, 60000) ? handle : NULL;
}

static void pause_ms(long ms)
{
    struct timespec time = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&time, NULL);
}

/* The server does not respond. Every wait below would take a minute if it did not end at the documented time. */
static void silent(void)
{
    double begin = seconds();
    void *handle = CV_create(), *result = handle;
    pthread_t thread;
    CHECK(!init(handle, 0, 0, 300, 60000));
    CHECK(CV_get_last_error_code(handle) == ALPHASTREAM_TIMEOUT && *CV_get_last_error_text(handle));
    CHECK(seconds() - begin > 0.25);

    CHECK(pthread_create(&thread, NULL, initialize, handle) == 0);
    pause_ms(200);
    CHECK(!CV_get_frame(handle, 0) && CV_get_last_error_code(handle) == ALPHASTREAM_NOT_READY);
    CHECK(!init(handle, 0, 0, 300, 60000)); /* the other CV_init is in progress */
    CHECK(CV_get_last_error_code(handle) == ALPHASTREAM_TIMEOUT);
    CHECK(strstr(CV_get_last_error_text(handle), "another CV_init"));
    CV_destroy(handle);
    CHECK(pthread_join(thread, &result) == 0 && !result);
    CHECK(CV_get_last_error_code(handle) == ALPHASTREAM_INVALID);
    CHECK(seconds() - begin < 30);
}

/* The process ends while another thread is in CV_init. */
static void leave(void)
{
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, initialize, CV_create()) == 0);
    pause_ms(300);
}

/* Header and table arrive, frames do not. A call takes only the time box. The median is checked, because the machine
 * may be busy. */
static void stuck(void)
{
    double times[25], begin = seconds();
    void *handle = CV_create();
    CHECK(init(handle, 0, 0, 10000, 1000));
    for (int i = 0; i < 25; i++) {
        double before = seconds();
        CHECK(!CV_get_frame(handle, 1900));
        times[i] = seconds() - before;
        CHECK(CV_get_last_error_code(handle) == ALPHASTREAM_TIMEOUT && *CV_get_last_error_text(handle));
    }
    qsort(times, 25, sizeof *times, compare_doubles);
    CHECK(times[12] > 0.008 && times[12] < 0.030);
    while (strstr(CV_get_last_error_text(handle), "still coming")) { /* until data_timeout_ms */
        CHECK(!CV_get_frame(handle, 1900) && seconds() - begin < 30);
        CHECK(CV_get_last_error_code(handle) == ALPHASTREAM_TIMEOUT);
    }
    CHECK(seconds() - begin > 0.9);
    begin = seconds();
    CHECK(init(handle, 1800, 10, 500, 60000)); /* the first frames do not arrive, but the stream is played */
    CHECK(seconds() - begin < 30);

    /* CV_destroy also ends CV_init while it waits for frames. */
    pthread_t thread;
    void *result = handle;
    CHECK(pthread_create(&thread, NULL, prefetch, handle) == 0);
    pause_ms(300);
    begin = seconds();
    CV_destroy(handle);
    CHECK(pthread_join(thread, &result) == 0 && !result);
    CHECK(seconds() - begin < 20);
    CHECK(CV_get_last_error_code(handle) == ALPHASTREAM_INVALID);
}

/* A thread that is cancelled in CV_init leaves no lock held. */
static void cancelled(void)
{
    pthread_t thread;
    void *handle = CV_create(), *result = NULL;
    CHECK(pthread_create(&thread, NULL, initialize_briefly, handle) == 0);
    pause_ms(200);
    CHECK(pthread_cancel(thread) == 0);
    CHECK(pthread_join(thread, &result) == 0 && result == PTHREAD_CANCELED);
    CV_destroy(handle);
}

static void *shared;

static void *ask_and_compare(void *argument)
{
    unsigned int random = (unsigned int)(uintptr_t)argument + 1;
    for (int i = 0; i < 1500; i++) {
        random = random * 1664525u + 1013904223u;
        bool is_wrong = random >> 28 < 4;
        const void *mask = CV_get_frame(shared, is_wrong ? n_hashes + 5 : (random >> 8) % n_hashes);
        int code = CV_get_last_error_code(shared);
        CHECK(is_wrong ? !mask && code == ALPHASTREAM_NOT_FOUND : (mask != NULL) == (code == ALPHASTREAM_NONE));
        CHECK((*CV_get_last_error_text(shared) == 0) == (code == ALPHASTREAM_NONE));
    }
    return NULL;
}

/* Four threads use one handle and sometimes ask for frames that do not exist. Each gets the errors of its own calls. */
static void own_errors(void)
{
    pthread_t threads[4];
    shared = CV_create();
    CHECK(init(shared, 0, 0, 10000, 10000));
    for (uintptr_t i = 0; i < 4; i++)
        CHECK(pthread_create(&threads[i], NULL, ask_and_compare, (void *)i) == 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    CV_destroy(shared);
}

/* After CV_init these frames are available, although the server takes longer than the time box. */
static void prefetched(void)
{
    void *handle = CV_create();
    CHECK(init(handle, 1000, 30, 10000, 10000));
    for (unsigned int i = 1000; i < 1030; i++)
        check_mask(CV_get_frame(handle, i), i);
    CHECK(!CV_get_frame(handle, 300) && CV_get_last_error_code(handle) == ALPHASTREAM_TIMEOUT); /* shows that it does */
    CV_destroy(handle);
}

static pthread_barrier_t barrier;

static void *keep(void *argument)
{
    unsigned int index = (unsigned int)(uintptr_t)argument;
    pthread_barrier_wait(&barrier);
    void *own = CV_create(); /* the first call, on all threads at once */
    CHECK(own);
    const void *mask = NULL;
    float *strip = NULL, copy[2];
    size_t count = 0;
    if (index == 0) {
        shared = own;
        CHECK(init(shared, 0, 0, 10000, 10000));
    }
    pthread_barrier_wait(&barrier);
    while (!(mask = CV_get_frame(shared, index)))
        CHECK(CV_get_last_error_code(shared) != ALPHASTREAM_DECODE);
    while (!CV_get_triangle_strip_vertices(shared, index, &strip, &count)) {
    }
    memcpy(copy, strip + count - 2, sizeof copy);
    pthread_barrier_wait(&barrier);
    check_mask(mask, index); /* all other threads have called meanwhile */
    CHECK(memcmp(copy, strip + count - 2, sizeof copy) == 0);
    pthread_barrier_wait(&barrier);
    if (own != shared)
        CV_destroy(own);
    return NULL;
}

/* Forty threads make their first CV_create at once. Then all use one handle, and each keeps its last mask and strip. */
static void together(void)
{
    pthread_t threads[MANY];
    CHECK(pthread_barrier_init(&barrier, NULL, MANY) == 0);
    for (uintptr_t i = 0; i < MANY; i++)
        CHECK(pthread_create(&threads[i], NULL, keep, (void *)i) == 0);
    for (int i = 0; i < MANY; i++)
        pthread_join(threads[i], NULL);
    CV_destroy(shared);
}

static _Atomic(void *) slots[3];
static atomic_int n_frames, n_rounds;

static void *disturb(void *argument)
{
    unsigned int number = (unsigned int)(uintptr_t)argument, random = number + 1;
    float *strip;
    size_t count;
    while (atomic_fetch_add(&n_rounds, 1) < 1000) {
        random = random * 1664525u + 1013904223u;
        unsigned int action = (random >> 8) % 100, slot = (random >> 16) % 3;
        void *handle = atomic_load(&slots[slot]);
        if (action < 3)
            CV_destroy(atomic_exchange(&slots[slot], CV_create()));
        else if (action < 8)
            (void)init(handle, random % n_hashes, action, 2000, 2000);
        else if (action < 12)
            (void)CV_get_triangle_strip_vertices(handle, random % n_hashes, &strip, &count);
        else if (action < 16)
            CHECK(CV_get_total_frames(handle) % n_hashes == 0);
        else
            for (int again = 0; again < 5; again++)
                if (CV_get_frame(handle, random % n_hashes)) {
                    atomic_fetch_add(&n_frames, 1);
                    break;
                }
        int code = CV_get_last_error_code(handle);
        CHECK(code == ALPHASTREAM_NONE || (code <= ALPHASTREAM_INVALID && code >= ALPHASTREAM_TRANSPORT));
        CHECK(CV_get_last_error_text(handle));
    }
    return NULL;
}

/* Six threads create, open, ask and destroy the same handles in any order. */
static void race(void)
{
    pthread_t threads[6];
    for (int i = 0; i < 3; i++)
        atomic_store(&slots[i], CV_create());
    for (uintptr_t i = 0; i < 6; i++)
        CHECK(pthread_create(&threads[i], NULL, disturb, (void *)i) == 0);
    for (int i = 0; i < 6; i++)
        pthread_join(threads[i], NULL);
    CHECK(atomic_load(&n_frames) > 0);
    for (int i = 0; i < 3; i++)
        CV_destroy(atomic_load(&slots[i]));
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } modes[] = {
        {"silent", silent}, {"leave", leave},       {"stuck", stuck},
        {"prefetched", prefetched}, {"together", together}, {"race", race},
        {"cancelled", cancelled},   {"own_errors", own_errors},
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
