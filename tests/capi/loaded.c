/* A program that loads libalphastream with only dlopen and dlsym, as plug-ins do, and declares its own types. The first
 * argument selects the test.
 *
 *     loaded MODE LIBRARY STREAM HASHES [COUNT]
 *
 * HASHES: one SHA-256 per line for each frame at 256 x 128. */

#include "check.h"

#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WIDTH = 256, HEIGHT = 128, SIZE = WIDTH * HEIGHT };

static struct {
    void *(*create)(void);
    void (*destroy)(void *);
    const char *(*get_name)(void *);
    const char *(*get_version)(void *);
    int (*get_last_error_code)(void *);
    const char *(*get_last_error_text)(void *);
    unsigned int (*get_total_frames)(void *);
    unsigned int (*get_frame_size)(void *);
    bool (*init)(void *, const char *, unsigned int, unsigned int, unsigned int, const char *, unsigned int, unsigned int,
                 unsigned int, unsigned int, unsigned int, unsigned int);
    const void *(*get_frame)(void *, unsigned long long);
    bool (*get_triangle_strip_vertices)(void *, unsigned long long, float **, size_t *);
} cv;

static void load(const char *path)
{
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library)
        fprintf(stderr, "%s\n", dlerror());
    CHECK(library);
#define LOAD(name)                                                       \
    do {                                                                 \
        void *found = dlsym(library, "CV_" #name);                       \
        CHECK(found);                                                    \
        memcpy(&cv.name, &found, sizeof found);                          \
    } while (0)
    LOAD(create);
    LOAD(destroy);
    LOAD(get_name);
    LOAD(get_version);
    LOAD(get_last_error_code);
    LOAD(get_last_error_text);
    LOAD(get_total_frames);
    LOAD(get_frame_size);
    LOAD(init);
    LOAD(get_frame);
    LOAD(get_triangle_strip_vertices);
}

static void *open_stream(const char *url, unsigned int n_ahead)
{
    void *handle = cv.create();
    CHECK(handle);
    bool is_open = cv.init(handle, url, 0, WIDTH, HEIGHT, "1.5.0", 0, n_ahead, 512, n_ahead, 10000, 10000);
    if (!is_open)
        fprintf(stderr, "%s\n", cv.get_last_error_text(handle));
    CHECK(is_open);
    CHECK(cv.get_frame_size(handle) == SIZE);
    return handle;
}

static const unsigned char *wait_for_frame(void *handle, unsigned long long index)
{
    for (double end = seconds() + 60; seconds() < end;) {
        const void *frame = cv.get_frame(handle, index);
        if (frame)
            return (const unsigned char *)frame;
    }
    fprintf(stderr, "frame %llu: %s\n", index, cv.get_last_error_text(handle));
    CHECK(!"no frame within 60 s");
    return NULL;
}

static void check_frame(void *handle, unsigned int index)
{
    char text[65];
    CHECK(strcmp(sha256(wait_for_frame(handle, index), SIZE, text), hashes[index]) == 0);
}

/* Play all frames, and check the library's name and version. */
static void play(const char *url)
{
    void *handle = open_stream(url, 10);
    CHECK(strcmp(cv.get_name(handle), "alphastream_gpu") == 0 && strlen(cv.get_version(handle)) > 0);
    CHECK(cv.get_total_frames(handle) == n_hashes);
    for (unsigned int i = 0; i < n_hashes; i++)
        check_frame(handle, i);
    CHECK(cv.get_last_error_code(handle) == 0);
    cv.destroy(handle);
}

static void *shared[4];
static atomic_int n_calls;

static void *call_much(void *argument)
{
    unsigned int number = (unsigned int)(uintptr_t)argument, random = number + 1;
    for (int i = 0; i < 2500; i++) {
        random = random * 1664525u + 1013904223u;
        check_frame(shared[number % 4], (random >> 8) % n_hashes);
        atomic_fetch_add(&n_calls, 1);
        if (i % 100 == 0) {
            float *vertices;
            size_t count;
            if (cv.get_triangle_strip_vertices(shared[number % 4], random % n_hashes, &vertices, &count))
                CHECK(count > 0 && count % 2 == 0 && vertices[count - 1] >= 0);
        }
    }
    return NULL;
}

/* Eight threads that Python did not start, four handles, 20,000 calls. */
static void use_threads(const char *url)
{
    pthread_t threads[8];
    for (int i = 0; i < 4; i++)
        shared[i] = open_stream(url, 0);
    for (uintptr_t i = 0; i < 8; i++)
        CHECK(pthread_create(&threads[i], NULL, call_much, (void *)i) == 0);
    for (int i = 0; i < 8; i++)
        pthread_join(threads[i], NULL);
    CHECK(atomic_load(&n_calls) == 20000);
    for (int i = 0; i < 4; i++)
        cv.destroy(shared[i]);
}

static long resident_kib(void)
{
    long pages = 0, ignored = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    CHECK(file && fscanf(file, "%ld %ld", &ignored, &pages) == 2);
    fclose(file);
    return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

/* Many frames, strips and handles. Memory use does not grow in the second half. */
static void soak(const char *url, unsigned int count)
{
    long before = 0;
    void *handle = open_stream(url, 10);
    for (unsigned int i = 0; i < count; i++) {
        check_frame(handle, i * 7 % n_hashes);
        if (i % 10 == 0) {
            float *vertices;
            size_t n_floats;
            CHECK(cv.get_triangle_strip_vertices(handle, i % n_hashes, &vertices, &n_floats) ||
                  cv.get_last_error_code(handle) == -3);
            (void)cv.get_last_error_text(handle);
        }
        if (i % 500 == 0) {
            cv.destroy(handle);
            handle = open_stream(url, 10);
        }
        if (i == count / 2)
            before = resident_kib();
    }
    long after = resident_kib();
    printf("resident %ld KiB, then %ld KiB\n", before, after);
    CHECK(after < before + 8192);
    cv.destroy(handle);
}

/* In a child of fork(), every function fails, and the child can exit. The parent continues. */
static void fork_child(const char *url)
{
    void *handle = open_stream(url, 10);
    check_frame(handle, 3);
    fflush(stdout);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        CHECK(cv.get_frame(handle, 4) == NULL);
        CHECK(cv.get_last_error_code(handle) == -1 && strstr(cv.get_last_error_text(handle), "fork"));
        CHECK(cv.create() == NULL);
        CHECK(!cv.init(handle, url, 0, WIDTH, HEIGHT, NULL, 0, 0, 0, 0, 0, 0));
        cv.destroy(handle);
        exit(0); /* runs the exit handlers */
    }
    int status = -1;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    check_frame(handle, 5);
}

/* The process ends with streams that are fetching and not destroyed, and with threads inside calls. */
static void *call_for_ever(void *handle)
{
    for (unsigned int i = 0;; i++)
        (void)cv.get_frame(handle, i % n_hashes);
    return NULL;
}

static void leave(const char *url)
{
    for (int i = 0; i < 4; i++) {
        pthread_t thread;
        void *handle = open_stream(url, i ? 0 : 10);
        CHECK(pthread_create(&thread, NULL, call_for_ever, handle) == 0);
    }
    check_frame(open_stream(url, 10), 1);
}

/* An arbitrary file: every call returns a result. Prints one line: whether the file opened, the last error code, the
 * number of frames, the number of good frames, the OR of all mask bytes. */
static void survive(const char *url)
{
    void *handle = cv.create();
    CHECK(handle);
    bool is_open = cv.init(handle, url, 1, 64, 32, "1.5.0", 0, 4, 64, 4, 60000, 60000);
    int code = cv.get_last_error_code(handle);
    CHECK(is_open == (code == 0));
    CHECK(is_open || strlen(cv.get_last_error_text(handle)) > 0);
    unsigned int n_frames = cv.get_total_frames(handle), n_good = 0, seen = 0;
    for (unsigned long long i = 0; i < n_frames && i < 40; i++) {
        const void *frame = NULL;
        for (int patience = 0; patience < 5000 && !frame; patience++) {
            frame = cv.get_frame(handle, i);
            code = cv.get_last_error_code(handle);
            if (code != -2 && code != -3)
                break;
        }
        CHECK((frame != NULL) == (code == 0));
        CHECK(frame || strlen(cv.get_last_error_text(handle)) > 0);
        n_good += frame != NULL;
        if (frame)
            for (int k = 0; k < 64 * 32; k++)
                seen |= ((const unsigned char *)frame)[k];
    }
    printf("%d %d %u %u %u\n", is_open, cv.get_last_error_code(handle), n_frames, n_good, seen);
    cv.destroy(handle);
}

/* Signals go to the host: it receives a signal that it waits for, although the library's threads were started before
 * the host blocked the signal. */
static void take_signals(const char *url)
{
    void *handle = open_stream(url, 10);
    check_frame(handle, 3);
    sigset_t awaited, now;
    sigemptyset(&awaited);
    sigaddset(&awaited, SIGUSR1);
    CHECK(pthread_sigmask(SIG_BLOCK, &awaited, NULL) == 0);
    for (int i = 0; i < 50; i++) {
        int taken = 0;
        CHECK(kill(getpid(), SIGUSR1) == 0);
        CHECK(sigwait(&awaited, &taken) == 0 && taken == SIGUSR1);
        check_frame(handle, (unsigned)i % n_hashes);
    }
    CHECK(pthread_sigmask(SIG_SETMASK, NULL, &now) == 0); /* as the host set it */
    CHECK(sigismember(&now, SIGUSR1) && !sigismember(&now, SIGTERM) && !sigismember(&now, SIGPIPE));
    cv.destroy(handle);
}

/* Prints times at 2048 x 1024. In microseconds: median and 95th percentile of a frame that is ready, and the median of
 * one that is not. In seconds: CV_create, CV_init, the first frame. */
static void measure(const char *url)
{
    static double ready[2000], missed[1000];
    double start = seconds();
    void *handle = cv.create();
    double created = seconds();
    CHECK(handle && cv.init(handle, url, 0, 2048, 1024, NULL, 0, 10, 512, 120, 10000, 10000));
    double opened = seconds();
    wait_for_frame(handle, 0);
    double shown = seconds();
    for (int i = 0; i < 2000; i++) {
        wait_for_frame(handle, (unsigned)i / 100);
        double before = seconds();
        wait_for_frame(handle, (unsigned)i / 100);
        ready[i] = seconds() - before;
    }
    cv.destroy(handle);
    handle = cv.create();
    CHECK(handle && cv.init(handle, url, 0, 2048, 1024, NULL, 0, 0, 512, 120, 10000, 10000));
    unsigned int n_frames = cv.get_total_frames(handle);
    for (unsigned int i = 0; i < 1000; i++) { /* no mask is made ahead or kept */
        double before = seconds();
        wait_for_frame(handle, i * 7 % n_frames);
        missed[i] = seconds() - before;
    }
    cv.destroy(handle);
    qsort(ready, 2000, sizeof *ready, compare_doubles);
    qsort(missed, 1000, sizeof *missed, compare_doubles);
    printf("%.2f %.2f %.2f %.4f %.4f %.4f\n", ready[1000] * 1e6, ready[1900] * 1e6, missed[500] * 1e6, created - start,
           opened - created, shown - opened);
}

static atomic_bool is_over;

static void wait_ms(long ms)
{
    struct timespec time = {0, ms * 1000000};
    nanosleep(&time, NULL);
}

static void *play_on(void *handle)
{
    for (unsigned int i = 0; !atomic_load(&is_over); i++) {
        (void)cv.get_frame(handle, i % cv.get_total_frames(handle));
        wait_ms(16);
    }
    return NULL;
}

/* Prints the milliseconds of a call: median, 99th percentile, longest, while another thread plays another stream. */
static void measure_longest(const char *url, const char *other)
{
    enum { CALLS = 2000 };
    static double times[CALLS];
    pthread_t thread;
    void *handle = open_stream(url, 10), *beside = cv.create();
    CHECK(beside && cv.init(beside, other, 0, 2048, 1024, NULL, 0, 10, 64, 0, 10000, 10000));
    CHECK(pthread_create(&thread, NULL, play_on, beside) == 0);
    int count = 0, missed = 0;
    for (; count < CALLS; count++) {
        wait_ms(4);
        double before = seconds();
        missed += !cv.get_frame(handle, (unsigned)count * 7 % cv.get_total_frames(handle));
        times[count] = seconds() - before;
    }
    atomic_store(&is_over, true);
    pthread_join(thread, NULL);
    cv.destroy(beside);
    cv.destroy(handle);
    qsort(times, (size_t)count, sizeof *times, compare_doubles);
    printf("%.2f %.2f %.2f %d\n", times[count / 2] * 1e3, times[count * 99 / 100] * 1e3, times[count - 1] * 1e3, missed);
}

int main(int argc, char **argv)
{
    CHECK(argc >= 5);
    load(argv[2]);
    read_hashes(argv[4]);
    if (strcmp(argv[1], "play") == 0)
        play(argv[3]);
    else if (strcmp(argv[1], "threads") == 0)
        use_threads(argv[3]);
    else if (strcmp(argv[1], "soak") == 0)
        soak(argv[3], argc > 5 ? (unsigned int)atoi(argv[5]) : 10000);
    else if (strcmp(argv[1], "fork") == 0)
        fork_child(argv[3]);
    else if (strcmp(argv[1], "signals") == 0)
        take_signals(argv[3]);
    else if (strcmp(argv[1], "leave") == 0)
        leave(argv[3]);
    else if (strcmp(argv[1], "survive") == 0)
        for (int i = 5; i < argc; i++)
            survive(argv[i]);
    else if (strcmp(argv[1], "measure") == 0)
        measure(argv[3]);
    else if (strcmp(argv[1], "longest") == 0 && argc > 5)
        measure_longest(argv[3], argv[5]);
    else
        CHECK(!"a mode");
    if (strcmp(argv[1], "survive") != 0 && strcmp(argv[1], "measure") != 0 && strcmp(argv[1], "longest") != 0)
        puts("ok");
    return 0;
}
