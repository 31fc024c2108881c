#version 330 core
// Fill, vertex stage: triangles of polygons, each flipping what it covers; three vertices for each point of the frame,
// and for points beyond the last, which have no area either.
//
// Every chord halves a chain of points, from the whole polygon down: the triangle of point k is (k - b, k, k + b), b
// being k's lowest set bit, and k + b never beyond the last point. Any cutting of a closed polygon into triangles gives
// the right parity when each flips what it covers, because every inner edge is crossed twice. With this one half of the
// triangles are slivers along the outline, and the few large ones fill whole tiles. It covers 1.2 times the mask of the
// sample's silhouettes. A zigzag strip covers 1.05 times, but in long thin triangles, which took 1.6 times as long on a
// software driver; a fan from one point covers 1.6 times, and took twice as long.
#include "shared/package.glsl"
#include "shared/lattice.glsl"

uniform int plane;

void main() {
    int point = gl_VertexID / 3;
    int corner = gl_VertexID - 3 * point;
    Channel channel = channel_of(point);
    int middle = point - channel.start;
    int last = channel.n_points - 1;
    int reach = middle & -middle;
    int chosen = min(middle, last); // of all three: a triangle without area
    if (middle > 0 && middle < last && channel.plane == plane) {
        chosen = corner == 0 ? middle - reach : corner == 1 ? middle : min(middle + reach, last);
    }
    gl_Position = clip_position(vec2(point_at(channel.start + chosen)));
}
