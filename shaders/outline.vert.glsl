#version 330 core
// Outline, vertex stage: one instance per segment, a quad that covers every pixel of its line and little else.
//
// The quad is a parallelogram along the major axis. It need not be exact, only wide enough: a line's pixels lie within
// half a pixel of the ideal segment, stretching it by END_MARGIN tilts it by less than that margin, and the fragment
// stage decides each pixel in integers. The pixel box of a long diagonal segment would be a thousand times as many.
#include "shared/lattice.glsl"
#include "shared/piece.glsl"

const float END_MARGIN = 0.75;
const float SIDE_MARGIN = 1.5;

in ivec2 a;
in ivec2 b;

uniform int n_closed;

#ifdef LAYERED
in ivec2 placement;
#endif
#ifdef LAYER_BY_VERTEX
uniform int first_layer;
#endif
out PIECE_BLOCK piece;

void main() {
    ivec2 extent = abs(b - a);
    bool is_steep = extent.y > extent.x;
    vec2 along = is_steep ? vec2(0.0, b.y < a.y ? -1.0 : 1.0) : vec2(b.x < a.x ? -1.0 : 1.0, 0.0);
    vec2 across = along.yx;
    bool is_far_end = (gl_VertexID & 1) != 0;
    bool is_left = (gl_VertexID & 2) != 0;
    vec2 corner = is_far_end ? vec2(b) + END_MARGIN * along : vec2(a) - END_MARGIN * along;
    corner += is_left ? SIDE_MARGIN * across : -SIDE_MARGIN * across;
    piece.segment = ivec4(a, b);
    piece.is_closed = gl_InstanceID < n_closed ? 1 : 0;
#ifdef LAYERED
    piece.layer = placement.x;
#else
    piece.layer = 0;
#endif
    gl_Position = clip_position(corner);
#ifdef LAYER_BY_VERTEX
    gl_Layer = first_layer + placement.x;
#endif
}
