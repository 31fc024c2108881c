"""
Block: one frame as it is stored: the inflated length as u32, and a zlib stream. Bytes in, bytes out.
"""

from __future__ import annotations

import struct
from typing import Final

from .._exceptions import DecodeError
from .._wording import MAX_FRAME_BYTES
from .deflate import deflate, inflate_at_most

__all__ = ["inflate_block", "pack_block"]

_LENGTH: Final = struct.Struct("<I")


def inflate_block(block: bytes | memoryview, *, max_frame_bytes: int, frame_index: int | None = None) -> bytes:
    """
    Inflate one decrypted block into its payload.

    Args:
        block: the block as stored.
        max_frame_bytes: the largest payload accepted, in bytes.
        frame_index: the index of the frame, for messages.

    Raises:
        DecodeError: the block is shorter than its length field, the payload is over `max_frame_bytes`, its length
            differs from the announced one, or the bytes are not exactly one zlib stream. At most the announced length
            is inflated.
    """
    what = "block" if frame_index is None else f"frame {frame_index}: block"
    if len(block) < _LENGTH.size:
        raise DecodeError(
            f"{what}: expected at least its 4-byte length, found {len(block)} bytes", frame_index=frame_index
        )
    (length,) = _LENGTH.unpack_from(block)
    if length > max_frame_bytes:
        raise DecodeError(
            f"{what}: announces a payload of {length} bytes, over {MAX_FRAME_BYTES.of(max_frame_bytes)}",
            frame_index=frame_index,
        )
    view = memoryview(block)[_LENGTH.size :]
    payload = inflate_at_most(
        view, length, what=what, over=f"the length that the block announces ({length})", frame_index=frame_index
    )
    if len(payload) != length:
        raise DecodeError(
            f"{what}: announces a payload of {length} bytes, found {len(payload)}", frame_index=frame_index
        )
    return payload


def pack_block(payload: bytes) -> bytes:
    """Compress a payload into a block."""
    return _LENGTH.pack(len(payload)) + deflate(payload)
