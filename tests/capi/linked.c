/* A program that links libalphastream. It tests every function, every error, lifetimes, and the masks' hashes. It is
 * also compiled as C++.
 *
 *     linked SAMPLE HASHES [URL [SCENE VERSION]]
 *
 * HASHES: one SHA-256 per line for each frame at native size. URL: another copy of the stream, for the same checks. */

#include "alphastream.h"
#include "check.h"

/* Ask until there is an answer, as players do. */
static const unsigned char *wait_for_frame(void *handle, unsigned long long index)
{
    for (double end = seconds() + 20; seconds() < end;) {
        const void *frame = CV_get_frame(handle, index);
        int code = CV_get_last_error_code(handle);
        if (frame) {
            CHECK(code == ALPHASTREAM_NONE);
            CHECK(strcmp(CV_get_last_error_text(handle), "") == 0);
            return (const unsigned char *)frame;
        }
        CHECK(code != ALPHASTREAM_NONE);
        CHECK(strlen(CV_get_last_error_text(handle)) > 0);
        if (code != ALPHASTREAM_TIMEOUT && code != ALPHASTREAM_NOT_READY)
            return NULL;
    }
    CHECK(!"no frame within 20 s");
    return NULL;
}

static bool open_stream(void *handle, const char *url, unsigned int scene, const char *version)
{
    return CV_init(handle, url, scene, 2048, 1024, version, 0, 10, 64, 8, 10000, 10000);
}

static void check_nothing_loaded(void *handle)
{
    float *vertices = (float *)&vertices;
    size_t count = 7;
    CHECK(CV_get_total_frames(handle) == 0);
    CHECK(CV_get_frame_size(handle) == 0);
    CHECK(CV_get_frame(handle, 0) == NULL);
    CHECK(CV_get_last_error_code(handle) == ALPHASTREAM_NOT_READY);
    CHECK(!CV_get_triangle_strip_vertices(handle, 0, &vertices, &count));
    CHECK(vertices == NULL && count == 0);
    CHECK(CV_get_last_error_code(handle) == ALPHASTREAM_NOT_READY);
}

static void check_no_handle(void *handle)
{
    float *vertices = (float *)&vertices;
    size_t count = 7;
    CHECK(CV_get_last_error_code(handle) == -1);
    CHECK(CV_get_last_error_text(handle) != NULL && strlen(CV_get_last_error_text(handle)) > 0);
    CHECK(CV_get_total_frames(handle) == 0);
    CHECK(CV_get_frame_size(handle) == 0);
    CHECK(!open_stream(handle, "x", 0, "1.5.0"));
    CHECK(!CV_set_option(handle, "http2", "true"));
    CHECK(CV_get_frame(handle, 0) == NULL);
    CHECK(!CV_get_triangle_strip_vertices(handle, 0, &vertices, &count));
    CHECK(vertices == NULL && count == 0);
    CHECK(strcmp(CV_get_name(handle), "alphastream_gpu") == 0);
    CHECK(strlen(CV_get_version(handle)) > 0);
    CV_destroy(handle);
}

static void check_bad_arguments(void *handle, const char *sample, const char *no_stream)
{
    CHECK(!open_stream(handle, NULL, 0, "1.5.0"));
    CHECK(CV_get_last_error_code(handle) == ALPHASTREAM_INVALID);
    CHECK(strstr(CV_get_last_error_text(handle), "base_url"));
    CHECK(!open_stream(handle, "", 0, "1.5.0"));
    CHECK(CV_get_last_error_code(handle) == ALPHASTREAM_INVALID);
    CHECK(!open_stream(handle, "\xff\xfe", 0, "1.5.0"));
    CHECK(CV_get_last_error_code(handle) == ALPHASTREAM_INVALID);
    CHECK(strstr(CV_get_last_error_text(handle), "UTF-8"));
    CHECK(!open_stream(handle, sample, 0, "\xc0"));
    CHECK(CV_get_last_error_code(handle) == ALPHASTREAM_INVALID);
    CHECK(!open_stream(handle, "/nowhere/a.asvr", 0, NULL));
    CHECK(CV_get_last_error_code(handle) == ALPHASTREAM_TRANSPORT);
    CHECK(!CV_init(handle, sample, 0, 0, 1024, NULL, 0, 0, 0, 0, 0, 0));
    CHECK(CV_get_last_error_code(handle) == ALPHASTREAM_INVALID);
    CHECK(strstr(CV_get_last_error_text(handle), "found 0 x 1024"));
    CHECK(!CV_init(handle, sample, 0, 4294967295u, 4294967295u, NULL, 0, 0, 0, 0, 0, 0));
    CHECK(CV_get_last_error_code(handle) == ALPHASTREAM_INVALID);
    CHECK(!open_stream(handle, "/nowhere/at all.asvp", 0, NULL));
    CHECK(CV_get_last_error_code(handle) == ALPHASTREAM_TRANSPORT);
    CHECK(!open_stream(handle, "ftp://example.org/a.asvp", 0, NULL));
    CHECK(CV_get_last_error_code(handle) != ALPHASTREAM_NONE);
    CHECK(!open_stream(handle, no_stream, 0, NULL)); /* a file that is not a stream */
    CHECK(CV_get_last_error_code(handle) == ALPHASTREAM_DECODE);
    check_nothing_loaded(handle);
}

/* Invalid options are refused, and do not change the other options. */
static void check_options(void *handle, const char *sample)
{
    CHECK(!CV_set_option(NULL, "cache_frames", "1"));
    CHECK(!CV_set_option(handle, NULL, "1") && !CV_set_option(handle, "cache_frames", NULL));
    CHECK(CV_get_last_error_code(handle) == ALPHASTREAM_INVALID);
    CHECK(!CV_set_option(handle, "cache_frames", "\xff") && strstr(CV_get_last_error_text(handle), "UTF-8"));
    CHECK(!CV_set_option(handle, "colour", "red") && strstr(CV_get_last_error_text(handle), "get_frame_timebox_ms"));
    CHECK(!CV_set_option(handle, "passphrase", "secret") && !strstr(CV_get_last_error_text(handle), "secret"));
    CHECK(CV_get_last_error_code(handle) == ALPHASTREAM_INVALID);
    CHECK(CV_set_option(handle, "get_frame_timebox_ms", "0"));
    CHECK(CV_get_last_error_code(handle) == ALPHASTREAM_NONE && !*CV_get_last_error_text(handle));
    CHECK(open_stream(handle, sample, 0, NULL));
    CHECK(wait_for_frame(handle, 5));
    CHECK(CV_set_option(handle, "get_frame_timebox_ms", "10"));
}

static void check_stream(void *handle, const char *url, unsigned int scene, const char *version)
{
    char text[65];
    if (!open_stream(handle, url, scene, version)) {
        fprintf(stderr, "%s\n", CV_get_last_error_text(handle));
        CHECK(!"CV_init");
    }
    CHECK(CV_get_last_error_code(handle) == ALPHASTREAM_NONE);
    CHECK(CV_get_total_frames(handle) == n_hashes);
    CHECK(CV_get_frame_size(handle) == 2048u * 1024u);
    for (unsigned int i = 0; i < n_hashes; i++) {
        const unsigned char *frame = wait_for_frame(handle, i);
        CHECK(frame);
        CHECK((uintptr_t)frame % 64 == 0);
        CHECK(strcmp(sha256(frame, 2048u * 1024u, text), hashes[i]) == 0);
    }
    /* The pointer is valid until the next CV_get_frame. Other calls in between do not change that. */
    const unsigned char *kept = wait_for_frame(handle, 7);
    float *vertices = NULL, *others = NULL;
    size_t count = 0, n_others = 0;
    while (!CV_get_triangle_strip_vertices(handle, 7, &vertices, &count))
        CHECK(CV_get_last_error_code(handle) == ALPHASTREAM_TIMEOUT);
    CHECK(vertices && count > 100 && count % 2 == 0 && (uintptr_t)vertices % 64 == 0);
    float first[2] = {vertices[0], vertices[1]};
    CHECK(first[0] >= 0 && first[0] < 2048 && first[1] >= 0 && first[1] < 1024);
    CHECK(wait_for_frame(handle, 8));
    CHECK(vertices[0] == first[0] && vertices[1] == first[1]); /* a mask does not invalidate a strip */
    kept = wait_for_frame(handle, 7);
    while (!CV_get_triangle_strip_vertices(handle, 9, &others, &n_others))
        CHECK(CV_get_last_error_code(handle) == ALPHASTREAM_TIMEOUT);
    CHECK(strcmp(sha256(kept, 2048u * 1024u, text), hashes[7]) == 0);
    CHECK(!CV_get_triangle_strip_vertices(handle, 7, NULL, &count));
    CHECK(CV_get_last_error_code(handle) == ALPHASTREAM_INVALID);
    CHECK(!CV_get_triangle_strip_vertices(handle, 7, &vertices, NULL));
    CHECK(CV_get_last_error_code(handle) == ALPHASTREAM_INVALID);

    for (int far = 0; far < 2; far++) {
        CHECK(CV_get_frame(handle, far ? ~0ull : n_hashes) == NULL);
        CHECK(CV_get_last_error_code(handle) == ALPHASTREAM_NOT_FOUND);
        CHECK(strstr(CV_get_last_error_text(handle), "expected 0.."));
    }
    CHECK(!CV_get_triangle_strip_vertices(handle, n_hashes, &vertices, &count));
    CHECK(CV_get_last_error_code(handle) == ALPHASTREAM_NOT_FOUND);
    CHECK(wait_for_frame(handle, 0)); /* playing continues */
}

int main(int argc, char **argv)
{
    CHECK(argc >= 3);
    read_hashes(argv[2]);
    CHECK(n_hashes > 1);
    check_no_handle(NULL);
    check_no_handle((void *)(uintptr_t)0x10000); /* before the first handle exists */

    void *handle = CV_create();
    CHECK(handle);
    check_no_handle(NULL);
    check_no_handle((char *)handle + 1);
    check_no_handle((void *)&argc);
    CHECK(CV_get_last_error_code(handle) == ALPHASTREAM_NONE);
    check_nothing_loaded(handle);
    check_bad_arguments(handle, argv[1], argv[2]);
    check_options(handle, argv[1]);
    check_stream(handle, argv[1], 0, NULL);
    check_bad_arguments(handle, argv[1], argv[2]); /* also after a successful CV_init */
    if (argc > 3)
        check_stream(handle, argv[3], argc > 4 ? (unsigned int)atoi(argv[4]) : 0, argc > 5 ? argv[5] : "1.5.0");
    check_stream(handle, argv[1], 85342, "1.5.0"); /* CV_init twice */
    CHECK(open_stream(handle, argv[1], 0, "1.5.0"));
    CV_destroy(handle);
    check_no_handle(handle);

    /* 32 handles at once, each with its own errors. The number of a destroyed handle is not reused. */
    void *many[32];
    char text[65];
    for (int i = 0; i < 32; i++) {
        many[i] = CV_create();
        CHECK(many[i] && many[i] != handle);
        CHECK(open_stream(many[i], i % 4 == 3 ? "/nowhere" : argv[1], 0, NULL) == (i % 4 != 3));
    }
    for (int i = 0; i < 32; i++) {
        if (i % 4 == 3) {
            CHECK(CV_get_last_error_code(many[i]) == ALPHASTREAM_TRANSPORT);
            continue;
        }
        CHECK(CV_get_last_error_code(many[i]) == ALPHASTREAM_NONE);
        CHECK(strcmp(sha256(wait_for_frame(many[i], (unsigned)i), 2048u * 1024u, text), hashes[i]) == 0);
    }
    for (int i = 0; i < 31; i++) /* the last one stays open: the process still ends */
        CV_destroy(many[i]);
    puts("ok");
    return 0;
}
