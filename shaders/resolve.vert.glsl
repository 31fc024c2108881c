#version 330 core
// Resolve, vertex stage: one triangle over the whole viewport.

void main() {
    vec2 corner = vec2((gl_VertexID & 1) << 2, (gl_VertexID & 2) << 1);
    gl_Position = vec4(corner - 1.0, 0.0, 1.0);
}
