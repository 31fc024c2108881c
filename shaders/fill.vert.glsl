#version 330 core
// Fill, vertex stage: triangles of polygons, each flipping what it covers.
#include "shared/lattice.glsl"

in ivec2 point;

void main() {
    gl_Position = clip_position(vec2(point));
}
