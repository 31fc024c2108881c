// Piece: what the outline's vertex stage hands on of a segment.

#define PIECE_BLOCK Piece { flat ivec4 segment; flat int is_closed; }
