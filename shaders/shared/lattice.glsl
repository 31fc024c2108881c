// Lattice: where a lattice point lies in clip space.
//
// The grid's pixels are the native ones, or every `grid_step`-th of them. A pixel's centre is at +0.5, so a lattice
// point is drawn at its coordinate / grid_step + 0.5, and every pixel centre is a lattice point. Steps and
// `viewport_span` are powers of two and the viewport is `viewport_origin .. viewport_origin + viewport_span`, so each
// step below is exact in float32, and so is the driver's way back to window coordinates.

uniform ivec2 grid_step;
uniform vec2 viewport_origin;
uniform vec2 viewport_span;

vec4 clip_position(vec2 point) {
    return vec4((2.0 * (point / vec2(grid_step) - viewport_origin) + 1.0 - viewport_span) / viewport_span, 0.0, 1.0);
}
