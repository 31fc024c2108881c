"""
open_array: opens a stream as an array.
"""

from __future__ import annotations

import os
import uuid
from operator import index
from typing import Any, Final

import numpy as np

from .._config import Config
from .._format.cipher import AsvrKey
from .._format.names import scheme_of
from .._geometry.size import check_size
from .._open import open
from .._raster.coverage import Bool, Uint8
from .._sources import Source, SourceLike
from .array import MaskArray
from .reopening import Recipe

__all__ = ["checked_chunk", "open_array"]

_CHUNK_BYTES: Final = 1 << 26
"""Bytes of masks in a chunk, 64 MiB: 32 frames at 2048 x 1024. With smaller chunks, a scheduler's own work shows."""
_MOST_CHUNK_FRAMES: Final = 256
"""Frames in a chunk of small masks, for which decoding takes longer than rasterizing."""


def open_array(
    source: SourceLike,
    size: tuple[int, int] | None = None,
    *,
    dtype: Uint8 | Bool = "uint8",
    key: AsvrKey | None = None,
    config: Config | None = None,
    chunk_frames: int | None = None,
) -> MaskArray:
    """
    Open a stream as an array of masks. Returns once the header and the sizes table are read.

    Args:
        source: as for :func:`open`.
        size: ``(width, height)`` of the masks in pixels, 1..16384 each; the native size if omitted.
        dtype: ``"uint8"`` for masks of 0 and 255, or ``"bool"``.
        key: the key of an encrypted ASVR. A :class:`KeyFromEnvironment` can be pickled with the array.
        config: the options; the defaults of :class:`Config` if omitted. Native size and frame rate are the config's.
        chunk_frames: frames in a part that is read well at a time, 1 or more, for :attr:`MaskArray.chunks`; if omitted,
            as many as take 64 MiB, at most 256.

    Raises:
        DecodeError: the stream is malformed or over a limit.
        KeyMismatchError: an ASVR cannot be decrypted with `key`. A subclass of DecodeError.
        TransportError: the source cannot be read.
        NotReadyError: as of :func:`open`.
        FrameTimeoutError: the stream is not open within ``config.init_timeout``.
        ClosedError: as of :func:`open`.
        ValueError: `size`, `dtype` or `chunk_frames` is outside its range, or the URL is malformed.
        TypeError: `source` has an unsupported type.
    """
    config = config or Config()
    size = config.native_size if size is None else check_size("size", size)
    found = np.dtype(dtype)
    if found not in (np.dtype(np.uint8), np.dtype(np.bool_)):
        raise ValueError(f"dtype: expected uint8 or bool, found {found}")
    chunk = None if chunk_frames is None else checked_chunk(chunk_frames)
    stream = open(source, key=key, config=config)
    try:
        n_frames = stream.metadata.frame_count
        if chunk is None:
            chunk = max(1, min(n_frames, _MOST_CHUNK_FRAMES, _CHUNK_BYTES // (size[0] * size[1])))
        recipe = Recipe(uuid.uuid4().hex, _lasting(source), key, config, stream.fingerprint)
        return MaskArray._made(recipe, stream, n_frames=n_frames, size=size, dtype=found, chunk_frames=chunk)
    except BaseException:
        stream.close()
        raise


def checked_chunk(chunk_frames: Any) -> int:
    """Convert a number of frames to int, and check it."""
    frames = index(chunk_frames)
    if frames < 1:
        raise ValueError(f"chunk_frames: expected 1 or more frames, found {frames}")
    return frames


def _lasting(source: Any) -> Any:
    """The source as it can be opened again elsewhere: an absolute path for a path, also for a mirror."""
    if isinstance(source, list | tuple):
        return [*map(_lasting, source)]
    if isinstance(source, Source) or not isinstance(source, str | os.PathLike):
        return source
    text = os.fsdecode(source)
    return os.path.abspath(text) if scheme_of(text) is None else text
