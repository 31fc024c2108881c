// Lattice: where a lattice point lies in clip space.
//
// The grid has all native pixels, or every 1 / grid_scale-th of them. A pixel's centre is at +0.5. So a lattice point
// is
// drawn at its coordinate * grid_scale + 0.5, and every pixel centre is a lattice point. Scales and spans are powers of
// two, and the viewport is `viewport_origin .. viewport_origin + viewport_span`. So each step below is exact in
// float32,
// and so is the driver's conversion to window coordinates. GLSL guarantees exactness for products but not for
// quotients:
// hence `inverse_span`.

uniform vec2 grid_scale;
uniform vec2 viewport_origin;
uniform vec2 viewport_span;
uniform vec2 inverse_span;

vec4 clip_position(vec2 point) {
    vec2 from_corner = 2.0 * (point * grid_scale - viewport_origin) + 1.0;
    return vec4((from_corner - viewport_span) * inverse_span, 0.0, 1.0);
}
