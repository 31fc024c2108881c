#version 330 core
// Resolve, vertex stage: one triangle over the whole viewport, or, layered, one instance for each layer of the scratch
// texture, over the box that has anything in it.
#ifdef LAYERED
#include "shared/placement.glsl"
out PLACEMENT_BLOCK placed;

uniform ivec2 output_size;
uniform ivec4 target_layers[32]; // of the framebuffer, for each of the scratch texture's; four to a vector
uniform ivec4 target_boxes[128]; // left, top, right, bottom; the last two exclusive
#endif

void main() {
#ifdef LAYERED
    ivec4 box = target_boxes[gl_InstanceID];
    vec2 corner = vec2((gl_VertexID & 1) != 0 ? box.z : box.x, (gl_VertexID & 2) != 0 ? box.w : box.y);
    gl_Position = vec4(2.0 * corner / vec2(output_size) - 1.0, 0.0, 1.0); // between pixel centres, so it need not be exact
    placed.layer = target_layers[gl_InstanceID >> 2][gl_InstanceID & 3];
    placed.part = gl_InstanceID;
#else
    vec2 corner = vec2((gl_VertexID & 1) << 2, (gl_VertexID & 2) << 1);
    gl_Position = vec4(corner - 1.0, 0.0, 1.0);
#endif
#ifdef LAYER_BY_VERTEX
    gl_Layer = placed.layer;
#endif
}
