// Line: computes the pixels and crossings of a directed segment a -> b, one by one, in integers (docs/coverage.md,
// "Lines"
// and "Crossing pixels"). Extents are at most 65535, so that every product fits unsigned 32 bits.

// The steps along the major axis at which a segment's pixels lie inside the window: first .. last, none if last <
// first.
struct Steps {
    bool is_steep;
    int first;
    int last;
};

Steps steps_inside(ivec2 a, ivec2 b, ivec2 window) {
    ivec2 extent = abs(b - a);
    bool is_steep = extent.y > extent.x;
    int start = is_steep ? a.y : a.x;
    int size = is_steep ? window.y : window.x;
    int major = is_steep ? extent.y : extent.x;
    int sense = is_steep ? sign(b.y - a.y) : sign(b.x - a.x);
    int first = sense < 0 ? start - (size - 1) : -start;
    int last = sense < 0 ? start : size - 1 - start;
    return Steps(is_steep, max(first, 0), min(last, major));
}

// The pixel of a step: Bresenham's line, ties toward a. Because i m is an integer, q = (2 i m + M - 1) / (2 M) equals
// (i m + (M - 1) / 2) / M.
ivec2 line_pixel(ivec2 a, ivec2 b, bool is_steep, int i) {
    ivec2 extent = abs(b - a);
    ivec2 sense = sign(b - a);
    uint major = uint(max(is_steep ? extent.y : extent.x, 1));
    uint minor = uint(is_steep ? extent.x : extent.y);
    int q = int((uint(i) * minor + (major - 1u) / 2u) / major);
    return a + sense * (is_steep ? ivec2(q, i) : ivec2(i, q));
}

// The column where a segment from top down to bottom crosses a row, rounded to the nearest column, a half to the even.
int crossing(ivec2 top, ivec2 bottom, int row) {
    uint height = uint(bottom.y - top.y);
    uint shift = uint(row - top.y) * uint(abs(bottom.x - top.x));
    uint q = shift / height;
    uint rest = shift - q * height;
    int sense = bottom.x < top.x ? -1 : 1;
    int column = top.x + sense * int(q);
    uint missing = height - rest;
    if (rest > missing || (rest == missing && (column & 1) != 0)) {
        column += sense;
    }
    return column;
}
