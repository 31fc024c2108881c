// Piece: the data of a segment that the outline's vertex stage passes to its fragment stage.

#define PIECE_BLOCK Piece { flat ivec4 segment; flat int is_closed; }
