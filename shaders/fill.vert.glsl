#version 330 core
// Fill, vertex stage: the triangles of the polygons. Each triangle flips the pixels that it covers. There are three
// vertices per point of the frame. Indices beyond the last point give triangles without area.
//
// Every chord halves a chain of points, starting with the whole polygon. The triangle of point k is (k - b, k, k + b),
// where b is k's lowest set bit and k + b is limited to the last point. Any division of a closed polygon into triangles
// gives the right parity if each triangle flips the pixels that it covers, because every inner edge is crossed twice.
// In
// this division, half of the triangles are slivers along the outline, and the few large ones fill whole tiles. It
// covers
// 1.2 times the mask of the sample's silhouettes. A zigzag strip covers 1.05 times the mask, but in long thin
// triangles,
// which took 1.6 times as long on a software driver. A fan from one point covers 1.6 times the mask, and took twice as
// long.
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
    int chosen = min(middle, last); // for all three corners: a triangle without area
    if (middle > 0 && middle < last && channel.plane == plane) {
        chosen = corner == 0 ? middle - reach : corner == 1 ? middle : min(middle + reach, last);
    }
    gl_Position = clip_position(vec2(point_at(channel.start + chosen)));
}
