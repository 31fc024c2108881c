#version 330 core
// Fill, fragment stage. With the blend function (1 - destination, 1 - source), a 1 flips and a 0 leaves a component
// alone, so `component` chooses which of up to four parity planes is drawn to.

uniform vec4 component;

out vec4 flips;

void main() {
    flips = component;
}
