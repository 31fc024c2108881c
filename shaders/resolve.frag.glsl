#version 330 core
// Resolve, fragment stage: picks the grid pixel that each output pixel shows, and ORs its parity planes.

uniform sampler2D planes;
uniform ivec2 grid_size;
uniform ivec2 output_size;

out vec4 covered;

void main() {
    ivec2 pixel = ivec2(gl_FragCoord.xy) * grid_size / output_size;
    vec4 parities = texelFetch(planes, pixel, 0);
    covered = vec4(any(greaterThan(parities, vec4(0.5))) ? 1.0 : 0.0);
}
