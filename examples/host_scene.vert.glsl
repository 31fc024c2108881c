#version 330 core
// One triangle over the whole window.

in vec2 corner;

void main() {
    gl_Position = vec4(corner, 0.0, 1.0);
}
