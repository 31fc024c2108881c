#version 330 core
// Fill, fragment stage. With the blend function (1 - destination, 1 - source), a 1 flips a component and a 0 keeps it.
// So
// `component` selects one of up to four parity planes.

uniform vec4 component;

out vec4 flips;

void main() {
    flips = component;
}
