#version 330 core
// The person in front of a wall with moving stripes, lit from the top left. All in whole numbers, so that every driver
// draws the same picture, and tests can compute it.

uniform sampler2D mask;
uniform int frame;

out vec4 colour;

bool is_person(ivec2 at) {
    return texelFetch(mask, clamp(at, ivec2(0), textureSize(mask, 0) - 1), 0).r > 0.5;
}

void main() {
    ivec2 size = textureSize(mask, 0);
    // Row 0 of the mask is the picture's top, row 0 of a framebuffer its bottom.
    ivec2 at = ivec2(gl_FragCoord.x, size.y - 1 - int(gl_FragCoord.y));
    int down = 96 * at.y / size.y;  // 0 at the top, 95 at the bottom
    int near = size.y / 96;
    ivec3 shade;
    if (is_person(at)) {
        shade = ivec3(232 - down, 168 - down / 2, 132 + down / 4);
        if (!is_person(at - near)) {
            shade += 20;  // the lit edge
        }
    } else {
        shade = ivec3(28, 52 + down / 3, 84 + down / 2);
        if ((at.x + at.y + 2 * frame) / 32 % 2 == 1) {
            shade += 16;
        }
        if (is_person(at - 3 * near)) {
            shade = shade * 5 / 8;  // the shadow on the wall
        }
    }
    colour = vec4(vec3(shade) / 255.0, 1.0);
}
