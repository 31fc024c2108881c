// Piece: what the outline's stages hand on of a segment.

#define PIECE_BLOCK Piece { flat ivec4 segment; flat int is_closed; flat int layer; }
