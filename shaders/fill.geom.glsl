#version 330 core
// Fill, geometry stage of the layered variant: each triangle into the layer of its frame.
#include "shared/placement.glsl"

layout(triangles) in;
layout(triangle_strip, max_vertices = 3) out;

in PLACEMENT_BLOCK vertex[];
out PLACEMENT_BLOCK placed;

uniform int first_layer;

void main() {
    for (int i = 0; i < 3; i++) {
        gl_Layer = first_layer + vertex[0].layer;
        placed.layer = vertex[0].layer;
        placed.part = vertex[0].part;
        gl_Position = gl_in[i].gl_Position;
        EmitVertex();
    }
}
