#version 330 core
// Outline, geometry stage of the layered variant: each half of a quad into the layer of its frame.
#include "shared/piece.glsl"

layout(triangles) in;
layout(triangle_strip, max_vertices = 3) out;

in PIECE_BLOCK vertex[];
out PIECE_BLOCK piece;

uniform int first_layer;

void main() {
    for (int i = 0; i < 3; i++) {
        gl_Layer = first_layer + vertex[0].layer;
        piece.segment = vertex[0].segment;
        piece.is_closed = vertex[0].is_closed;
        piece.layer = vertex[0].layer;
        gl_Position = gl_in[i].gl_Position;
        EmitVertex();
    }
}
