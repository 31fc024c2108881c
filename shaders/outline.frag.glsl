#version 330 core
// Outline, fragment stage: keeps the pixels of the line, and the half-way crossings of segments that bound an interior.
#include "shared/piece.glsl"
#include "shared/segment.glsl"

in PIECE_BLOCK piece;

uniform ivec2 grid_step;

out vec4 covered;

void main() {
    ivec2 pixel = ivec2(gl_FragCoord.xy) * grid_step;
    ivec4 segment = piece.segment;
    bool is_covered = is_on_line(pixel, segment.xy, segment.zw);
    if (!is_covered && piece.is_closed != 0) {
        is_covered = is_halfway_crossing(pixel, segment.xy, segment.zw);
    }
    if (!is_covered) {
        discard;
    }
    covered = vec4(1.0);
}
