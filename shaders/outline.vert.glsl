#version 330 core
// Outline, vertex stage: one instance per point. The instance is a quad that covers every pixel of the line that starts
// at the point, and few others.
//
// The quad is a parallelogram along the segment, with ends parallel to the minor axis. It need not be exact, only wide
// enough. The pixels of a segment lie within half a pixel of the segment, measured across the major axis. Rounding to
// subpixels moves the corners by a quarter of a native pixel at most (mesh.py, MAX_STEP). The fragment stage decides
// each pixel in integers. The bounding box of a long diagonal segment would have a thousand times as many pixels.
#include "shared/package.glsl"
#include "shared/lattice.glsl"
#include "shared/piece.glsl"

const float END_MARGIN = 0.5;
const float SIDE_MARGIN = 1.0;

out PIECE_BLOCK piece;

void main() {
    Channel channel = channel_of(gl_InstanceID);
    ivec2 a = point_at(gl_InstanceID);
    ivec2 b;
    bool is_there = segment_end(gl_InstanceID, channel, b);
    piece.segment = ivec4(a, b);
    piece.is_closed = channel.n_points > 2 ? 1 : 0;
    if (!is_there) {
        gl_Position = vec4(0.0, 0.0, 0.0, 1.0); // the same for every corner: a quad without area
        return;
    }
    vec2 delta = vec2(b - a);
    bool is_steep = abs(delta.y) > abs(delta.x);
    float major = max(max(abs(delta.x), abs(delta.y)), 1.0);
    vec2 along = delta == vec2(0.0) ? vec2(1.0, 0.0) : delta / major;
    vec2 across = is_steep ? vec2(1.0, 0.0) : vec2(0.0, 1.0);
    bool is_far_end = (gl_VertexID & 1) != 0;
    bool is_left = (gl_VertexID & 2) != 0;
    vec2 corner = is_far_end ? vec2(b) + END_MARGIN * along : vec2(a) - END_MARGIN * along;
    corner += is_left ? SIDE_MARGIN * across : -SIDE_MARGIN * across;
    gl_Position = clip_position(corner);
}
