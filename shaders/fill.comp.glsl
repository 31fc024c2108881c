#version 430 core
// Fill, compute stage: turns flips into the mask. In each row of each parity plane, a pixel's parity is the parity of
// the
// flips up to and including that pixel. The mask is the OR of all parities and plane 0. There is one work group per row
// and one thread per word. Afterwards the planes are zero, for the next frame.
#include "shared/package.glsl"
#include "shared/bits.glsl"

#define GROUP 64 // a macro, because layouts accept no constants before GLSL 4.40
layout(local_size_x = GROUP) in;

shared uint odd_words[2]; // one bit per word of the run: whether its number of flips is odd

void main() {
    int row = int(gl_WorkGroupID.x);
    int frame = int(gl_WorkGroupID.z);
    int thread = int(gl_LocalInvocationID.x);
    int n_planes = words[PACKAGE_N_PLANES];
    int row_words = words[PACKAGE_ROW_WORDS];
    uint carry = 0u; // one bit per plane: the parity of the words before this run
    for (int first = 0; first < row_words; first += GROUP) {
        int word = first + thread;
        bool is_inside = word < row_words;
        uint covered = 0u;
        if (is_inside) {
            int place = plane_row(frame, 0, row) + word;
            covered = bits[place];
            if (covered != 0u) {
                bits[place] = 0u;
            }
        }
        for (int plane = 1; plane <= n_planes; plane++) {
            if (thread < 2) {
                odd_words[thread] = 0u;
            }
            barrier();
            int place = plane_row(frame, plane, row) + word;
            uint parity = is_inside ? bits[place] : 0u;
            if (parity != 0u) {
                bits[place] = 0u;
            }
            parity ^= parity << 1;
            parity ^= parity << 2;
            parity ^= parity << 4;
            parity ^= parity << 8;
            parity ^= parity << 16;
            if ((parity >> 31) != 0u) {
                atomicXor(odd_words[thread >> 5], 1u << (thread & 31));
            }
            barrier();
            uint low = odd_words[0];
            uint high = odd_words[1];
            barrier();
            uint before = (1u << (thread & 31)) - 1u;
            int n_odd = thread < 32 ? bitCount(low & before) : bitCount(low) + bitCount(high & before);
            uint this_carry = (carry >> (plane - 1)) & 1u;
            if (((uint(n_odd) ^ this_carry) & 1u) != 0u) {
                parity = ~parity;
            }
            carry ^= uint((bitCount(low) + bitCount(high)) & 1) << (plane - 1);
            covered |= parity;
        }
        if (is_inside) {
            bits[mask_row(frame, row) + word] = covered;
        }
    }
}
