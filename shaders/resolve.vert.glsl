#version 330 core
// Resolve, vertex stage: one triangle over the whole target, or, layered, one instance for each layer of the scratch
// texture.
#ifdef LAYERED
#include "shared/placement.glsl"
out PLACEMENT_BLOCK placed;

uniform ivec4 target_layers[64]; // of the framebuffer, for each of the scratch texture's; four to a vector
#endif

void main() {
    vec2 corner = vec2((gl_VertexID & 1) << 2, (gl_VertexID & 2) << 1);
    gl_Position = vec4(corner - 1.0, 0.0, 1.0);
#ifdef LAYERED
    placed.layer = target_layers[gl_InstanceID >> 2][gl_InstanceID & 3];
    placed.part = gl_InstanceID;
#endif
#ifdef LAYER_BY_VERTEX
    gl_Layer = placed.layer;
#endif
}
