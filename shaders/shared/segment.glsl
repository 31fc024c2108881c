// Segment: decides in integers which pixels belong to a directed segment a -> b (docs/coverage.md, "Lines" and
// "Crossing
// pixels"). The renderer draws only frames whose coordinates lie within +-2^14 (mesh.py, MAX_VIEWPORT), so every
// product
// below fits 32 bits.

// Whether `pixel` is a pixel of the segment's line: Bresenham's line, ties toward a.
//
// Step i along the major axis is q = (2 i m + M - 1) / (2 M) steps across it, rounded down. Because i m is an integer,
// q
// equals (i m + (M - 1) / 2) / M. Testing whether q is v needs no division.
bool is_on_line(ivec2 pixel, ivec2 a, ivec2 b) {
    ivec2 delta = b - a;
    ivec2 extent = abs(delta);
    ivec2 offset = pixel - a;
    if (extent.y > extent.x) {
        delta = delta.yx;
        extent = extent.yx;
        offset = offset.yx;
    }
    int i = delta.x < 0 ? -offset.x : offset.x;
    int v = delta.y < 0 ? -offset.y : offset.y;
    int major = max(extent.x, 1);
    int numerator = i * extent.y + (major - 1) / 2;
    return i >= 0 && i <= extent.x && v * major <= numerator && numerator < (v + 1) * major;
}

// Whether the segment crosses the row of `pixel` exactly half-way between two pixels, and `pixel` is the even one of
// them, to which the half belongs. Every other crossing pixel is already an outline or interior pixel.
bool is_halfway_crossing(ivec2 pixel, ivec2 a, ivec2 b) {
    ivec2 top = a.y < b.y ? a : b;
    ivec2 bottom = a.y < b.y ? b : a;
    int height = bottom.y - top.y;
    int depth = pixel.y - top.y;
    if (depth < 0 || depth >= height || (pixel.x & 1) != 0) {
        return false;
    }
    int distance = (pixel.x - top.x) * height - depth * (bottom.x - top.x);
    return 2 * abs(distance) == height;
}
