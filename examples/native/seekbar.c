/* A player's seek bar, in C: drags the slider, fetches a chapter, shows a preview, plays, and draws what is here.
 * No call waits, so all of it may run on the thread that draws.
 *
 *     alphastream build-capi -o capi
 *     cc -std=c11 -Icapi seekbar.c -o seekbar -Lcapi -lalphastream -Wl,-rpath,"$PWD/capi"
 *     ./seekbar person_sbs.asvp 60 5
 *
 * This plays 30 frames from frame 60 on, with a preview of frame 5. In the bar, # is here, - is partly here, . is
 * missing, | is the play head. */

#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 199309L /* nanosleep */
#endif

#include "alphastream.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { WIDTH = 2048, HEIGHT = 1024, CELLS = 60, N_PLAYED = 30, DRAG_STEPS = 8, PICTURES_PER_BAR = 10 };

static int fail(void *handle, const char *what)
{
    fprintf(stderr, "seekbar: %s: %s (%d)\n", what, CV_get_last_error_text(handle), CV_get_last_error_code(handle));
    CV_destroy(handle);
    return 1;
}

/* Whether null only means that the mask is not ready yet. */
static bool is_coming(void *handle)
{
    int code = CV_get_last_error_code(handle);
    return code == ALPHASTREAM_TIMEOUT || code == ALPHASTREAM_NOT_READY;
}

static unsigned int count_pixels(void *handle, const void *mask)
{
    unsigned int n_set = 0, n_pixels = CV_get_frame_size(handle);
    for (unsigned int i = 0; i < n_pixels; i++)
        n_set += ((const unsigned char *)mask)[i] != 0;
    return n_set;
}

/* A player would wait for the display here. */
static void next_picture(void)
{
    struct timespec pause = {0, 16 * 1000 * 1000};
    nanosleep(&pause, NULL);
}

static const char *name_of_state(int state)
{
    static const char *const names[] = {"no stream", "opening", "buffering", "playing", "stalled", "ended"};
    return state < ALPHASTREAM_STATE_NONE || state > ALPHASTREAM_STATE_ENDED ? "failed" : names[state];
}

/* Draw the frames that are here, on one line. The array is ours: we say how many ranges fit, and learn how many are. */
static void draw(void *handle, unsigned int head)
{
    static alphastream_range *ranges;
    static size_t capacity;
    unsigned long long n_frames = CV_get_total_frames(handle), here[CELLS] = {0};
    size_t count;
    while ((count = CV_get_buffered_ranges(handle, ranges, capacity)) > capacity) {
        alphastream_range *larger = realloc(ranges, 2 * count * sizeof *ranges);
        if (!larger) {
            count = capacity; /* draw the first ones */
            break;
        }
        ranges = larger;
        capacity = 2 * count;
    }
    putchar('[');
    for (unsigned int cell = 0; cell < CELLS; cell++) {
        unsigned long long start = cell * n_frames / CELLS, stop = (cell + 1) * n_frames / CELLS;
        for (size_t i = 0; i < count; i++) {
            unsigned long long from = ranges[i].start > start ? ranges[i].start : start;
            unsigned long long to = ranges[i].stop < stop ? ranges[i].stop : stop;
            here[cell] += to > from ? to - from : 0;
        }
        bool has_head = head >= start && head < stop;
        putchar(has_head ? '|' : here[cell] == 0 ? '.' : here[cell] < stop - start ? '-' : '#');
    }
    printf("] %s, %.1f s ahead\n", name_of_state(CV_get_state(handle)), CV_get_buffered_seconds(handle));
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: seekbar FILE-OR-URL FRAME PREVIEW-FRAME\n");
        return 2;
    }
    unsigned int target = (unsigned int)strtoul(argv[2], NULL, 10), preview = (unsigned int)strtoul(argv[3], NULL, 10);
    void *handle = CV_create();
    if (!handle)
        return 1; /* it has said on standard error what is missing */
    CV_set_option(handle, "get_frame_timebox_ms", "0"); /* CV_get_frame never waits, either */
    if (!CV_init(handle, argv[1], 0, WIDTH, HEIGHT, "1.5.0", 0, 10, 512, 0, 10000, 10000))
        return fail(handle, argv[1]);
    unsigned int n_frames = CV_get_total_frames(handle);
    printf("%s %s: %u frames\n", CV_get_name(handle), CV_get_version(handle), n_frames);

    /* The slider is dragged: only its last place is fetched, and what follows there. */
    for (unsigned int step = 1; step <= DRAG_STEPS; step++, next_picture())
        if (!CV_seek(handle, (unsigned int)((unsigned long long)target * step / DRAG_STEPS), 1))
            return fail(handle, "seek");

    /* The first frames, in case that the viewer goes back: fetched when play needs nothing. */
    unsigned int chapter = CV_prefetch(handle, 0, n_frames < 60 ? n_frames : 60);
    if (!chapter)
        return fail(handle, "prefetch");

    /* Pictures are drawn until all was shown. A mask that is not ready is asked for again with the next picture. */
    unsigned int at = target, stop = n_frames - target < N_PLAYED ? n_frames : target + N_PLAYED;
    bool has_preview = false;
    int chapter_state = ALPHASTREAM_FRAME_COMING;
    for (unsigned int picture = 0; at < stop || !has_preview || chapter_state == ALPHASTREAM_FRAME_COMING; picture++) {
        if (picture % PICTURES_PER_BAR == 0)
            draw(handle, at < stop ? at : stop - 1);
        if (at < stop) {
            const void *mask = CV_get_frame(handle, at);
            if (mask)
                printf("frame %u: %u pixels\n", at++, count_pixels(handle, mask)); /* a player draws it */
            else if (!is_coming(handle))
                return fail(handle, "frame"); /* else a player shows the last mask again */
        }
        if (!has_preview) {
            const void *mask = CV_poll_frame(handle, preview); /* the play head stays where it is */
            if (mask)
                printf("preview of frame %u: %u pixels\n", preview, count_pixels(handle, mask));
            else if (!is_coming(handle))
                return fail(handle, "preview");
            has_preview = mask != NULL;
        }
        chapter_state = CV_get_prefetch_state(handle, chapter);
        if (chapter_state == ALPHASTREAM_FRAME_FAILED)
            return fail(handle, "chapter");
        next_picture();
    }
    draw(handle, stop - 1);
    CV_destroy(handle);
    return 0;
}
