#version 330 core
// Resolve, fragment stage: OR the parity planes and pick the native pixel that each output pixel shows.

uniform sampler2D planes;
uniform ivec2 native_size;
uniform ivec2 output_size;

out vec4 covered;

void main() {
    ivec2 pixel = ivec2(gl_FragCoord.xy) * native_size / output_size;
    covered = vec4(any(greaterThan(texelFetch(planes, pixel, 0), vec4(0.5))) ? 1.0 : 0.0);
}
