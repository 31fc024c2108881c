/* A player's part that fetches masks, in C: opens a stream, asks for frames as a player does, writes one as a picture.
 *
 *     alphastream build-capi -o capi
 *     cc -std=c11 -Icapi player.c -o player -Lcapi -lalphastream -Wl,-rpath,"$PWD/capi"
 *     ./player person_sbs.asvp 60 mask.pgm
 *
 * An encrypted stream takes its passphrase from ALPHASTREAM_PASSPHRASE or CV_set_option, and its scene and version from CV_init. */

#include "alphastream.h"

#include <stdio.h>
#include <stdlib.h>

enum { WIDTH = 2048, HEIGHT = 1024 };

static int fail(void *handle, const char *what)
{
    fprintf(stderr, "player: %s: %s (%d)\n", what, CV_get_last_error_text(handle), CV_get_last_error_code(handle));
    CV_destroy(handle);
    return 1;
}

/* Whether what gave nothing is still on its way; else asking again would not help. */
static bool is_coming(void *handle)
{
    int code = CV_get_last_error_code(handle);
    return code == ALPHASTREAM_TIMEOUT || code == ALPHASTREAM_NOT_READY;
}

/* A player asks once for each picture that it draws, and shows the last mask again when there is none. Here we wait. */
static const unsigned char *wait_for_frame(void *handle, unsigned long long index)
{
    for (;;) {
        const void *mask = CV_get_frame(handle, index); /* waits for 12 ms at most */
        if (mask)
            return (const unsigned char *)mask;
        if (!is_coming(handle))
            return NULL;
    }
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: player FILE-OR-URL FRAME OUTPUT.pgm\n");
        return 2;
    }
    void *handle = CV_create();
    if (!handle)
        return 1; /* it has said on standard error what is missing */

    /* 10 masks made ahead, 512 frames of polygons kept, 30 of them there before the first picture. */
    if (!CV_init(handle, argv[1], 0, WIDTH, HEIGHT, "1.5.0", 0, 10, 512, 30, 10000, 10000))
        return fail(handle, argv[1]);
    printf("%s %s: %u frames, %u bytes each\n", CV_get_name(handle), CV_get_version(handle), CV_get_total_frames(handle),
           CV_get_frame_size(handle));

    const unsigned char *mask = wait_for_frame(handle, strtoull(argv[2], NULL, 10));
    if (!mask)
        return fail(handle, "frame");

    /* The mask is ours to read until the next CV_get_frame: upload it, or write it, at once. */
    FILE *file = fopen(argv[3], "wb");
    if (!file || fprintf(file, "P5 %d %d 255\n", WIDTH, HEIGHT) < 0 ||
        fwrite(mask, 1, CV_get_frame_size(handle), file) != CV_get_frame_size(handle) || fclose(file) != 0) {
        perror(argv[3]);
        CV_destroy(handle);
        return 1;
    }

    float *vertices;
    size_t count; /* of floats, two for each vertex */
    while (!CV_get_triangle_strip_vertices(handle, strtoull(argv[2], NULL, 10), &vertices, &count))
        if (!is_coming(handle))
            return fail(handle, "strip");
    if (count > 0)
        printf("a strip of %zu vertices, the first at %g, %g\n", count / 2, vertices[0], vertices[1]);
    CV_destroy(handle);
    return 0;
}
