#version 330 core
// Fill, fragment stage. With the blend function (1 - destination, 1 - source), a 1 flips and a 0 leaves a component
// alone, so `plane` chooses which of up to four parity planes is drawn to.

#ifdef LAYERED
#include "shared/placement.glsl"
in PLACEMENT_BLOCK placed;
#else
uniform vec4 plane;
#endif

out vec4 flips;

void main() {
#ifdef LAYERED
    flips = vec4(equal(ivec4(placed.part), ivec4(0, 1, 2, 3)));
#else
    flips = plane;
#endif
}
