// Placement: where in a batch a triangle belongs. Passed on to every stage of the layered variants.

#define PLACEMENT_BLOCK Placement { flat int layer; flat int part; }
// layer: of the framebuffer. part: the component that a fill flips, the scratch layer that a resolve reads.
