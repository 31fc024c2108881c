// Bits: the working memory of the compute stages, with one bit per pixel. A word holds 32 pixels, the leftmost pixel in
// the lowest bit.
//
// First come the masks of all frames. Then come the planes of each frame: plane 0, which collects outline and crossing
// pixels, and the parity planes 1 .. n_planes. Planes are zero before `cross` and after `fill`.

layout(std430, binding = 1) restrict buffer Bits {
    uint bits[];
};

// Where a row of a frame's mask begins.
int mask_row(int frame, int row) {
    return (frame * words[PACKAGE_NATIVE_HEIGHT] + row) * words[PACKAGE_ROW_WORDS];
}

// Where a row of a frame's plane begins.
int plane_row(int frame, int plane, int row) {
    int plane_of_all = frame * (words[PACKAGE_N_PLANES] + 1) + plane;
    int row_of_all = plane_of_all * words[PACKAGE_NATIVE_HEIGHT] + row;
    return words[PACKAGE_BITS_AT] + row_of_all * words[PACKAGE_ROW_WORDS];
}
