#version 430 core
// Cross: sets each segment's pixels in plane 0, and flips its crossings in its channel's parity plane. Several lanes
// work
// on a segment. Each lane takes every n-th of its pixels and rows, n being the number of lanes.
#include "shared/package.glsl"
#include "shared/bits.glsl"
#include "shared/line.glsl"

layout(local_size_x = 64) in;

void set_pixel(int frame, ivec2 pixel, ivec2 window) {
    if (all(greaterThanEqual(pixel, ivec2(0))) && all(lessThan(pixel, window))) {
        atomicOr(bits[plane_row(frame, 0, pixel.y) + (pixel.x >> 5)], 1u << (pixel.x & 31));
    }
}

void main() {
    int id = int(gl_GlobalInvocationID.x);
    int n_lanes = 1 << words[PACKAGE_LANE_BITS];
    int lane = id & (n_lanes - 1);
    int point = id >> words[PACKAGE_LANE_BITS];
    if (point >= words[PACKAGE_N_POINTS]) {
        return;
    }
    Channel channel = channel_of(point);
    ivec2 a = point_at(point);
    ivec2 b;
    if (!segment_end(point, channel, b)) {
        return;
    }
    ivec2 window = ivec2(words[PACKAGE_NATIVE_WIDTH], words[PACKAGE_NATIVE_HEIGHT]);
    Steps steps = steps_inside(a, b, window);
    for (int i = steps.first + lane; i <= steps.last; i += n_lanes) {
        set_pixel(channel.frame, line_pixel(a, b, steps.is_steep, i), window);
    }
    if (channel.n_points < 3 || a.y == b.y) {
        return;
    }
    ivec2 top = a.y < b.y ? a : b;
    ivec2 bottom = a.y < b.y ? b : a;
    for (int row = max(top.y, 0) + lane; row < min(bottom.y, window.y); row += n_lanes) {
        int column = crossing(top, bottom, row);
        set_pixel(channel.frame, ivec2(column, row), window);
        column = max(column, 0); // a crossing left of the window flips the whole row
        if (column < window.x) {
            atomicXor(bits[plane_row(channel.frame, channel.plane + 1, row) + (column >> 5)], 1u << (column & 31));
        }
    }
}
