#version 330 core
// Fill, vertex stage: triangles of polygons, each flipping what it covers.
#include "shared/lattice.glsl"
#ifdef LAYERED
#include "shared/placement.glsl"
in ivec2 placement;
out PLACEMENT_BLOCK placed;
#endif
#ifdef LAYER_BY_VERTEX
uniform int first_layer;
#endif

in ivec2 point;

void main() {
    gl_Position = clip_position(vec2(point));
#ifdef LAYERED
    placed.layer = placement.x;
    placed.part = placement.y;
#endif
#ifdef LAYER_BY_VERTEX
    gl_Layer = first_layer + placement.x;
#endif
}
