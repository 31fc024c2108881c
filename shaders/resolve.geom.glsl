#version 330 core
// Resolve, geometry stage of the layered variant: each instance's triangle into its layer.
#include "shared/placement.glsl"

layout(triangles) in;
layout(triangle_strip, max_vertices = 3) out;

in PLACEMENT_BLOCK vertex[];
out PLACEMENT_BLOCK placed;

void main() {
    for (int i = 0; i < 3; i++) {
        gl_Layer = vertex[0].layer;
        placed.layer = vertex[0].layer;
        placed.part = vertex[0].part;
        gl_Position = gl_in[i].gl_Position;
        EmitVertex();
    }
}
