#version 430 core
// Resolve, compute stage: copies a pixel of the mask to each output pixel. A thread handles four neighbours in a row.
#include "shared/package.glsl"
#include "shared/bits.glsl"

const int PIXELS = 4;
layout(local_size_x = 32, local_size_y = 4) in;

#ifdef LAYERED
layout(r8, binding = 0) writeonly restrict uniform image2DArray target;
#else
layout(r8, binding = 0) writeonly restrict uniform image2D target;
#endif

void main() {
    int width = words[PACKAGE_OUTPUT_WIDTH];
    int height = words[PACKAGE_OUTPUT_HEIGHT];
    int frame = int(gl_GlobalInvocationID.z);
    ivec2 pixel = ivec2(gl_GlobalInvocationID.xy) * ivec2(PIXELS, 1);
    if (pixel.x >= width || pixel.y >= height) {
        return;
    }
    int native_width = words[PACKAGE_NATIVE_WIDTH];
    int row = mask_row(frame, pixel.y * words[PACKAGE_NATIVE_HEIGHT] / height);
    // Output column x shows native column x W / w. The loop updates quotient and rest from one column to the next.
    int column = pixel.x * native_width / width;
    int rest = pixel.x * native_width - column * width;
    int step = native_width / width;
    int step_rest = native_width - step * width;
    int end = min(pixel.x + PIXELS, width);
    for (; pixel.x < end; pixel.x++) {
        vec4 covered = vec4(float((bits[row + (column >> 5)] >> (column & 31)) & 1u));
#ifdef LAYERED
        imageStore(target, ivec3(pixel, words[PACKAGE_FIRST_LAYER] + frame), covered);
#else
        imageStore(target, pixel, covered);
#endif
        column += step;
        rest += step_rest;
        if (rest >= width) {
            rest -= width;
            column++;
        }
    }
}
