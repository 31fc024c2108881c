"""
Zarrs: a reader of an array in a Zarr store, format 2 or 3.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np

from .._exceptions import DecodeError
from .arrays import StackReader
from .faults import reading
from .options import InputOptions

__all__ = ["zarr_reader"]

_MAX_CHUNK: Final = 1 << 30
"""Bytes of a chunk, which is decoded as a whole."""
_CODECS: Final = frozenset(
    (
        *("blosc", "zstd", "gzip", "zlib", "bz2", "lzma", "lz4", "shuffle", "delta", "packbits", "bitround"),
        *("fixedscaleoffset", "crc32", "crc32c", "adler32", "fletcher32", "bytes", "transpose", "sharding_indexed"),
    )
)
"""The codecs that are allowed. Of the others, `pickle` would run code from the file."""
_ADVICE: Final = "write it again with zarr.create_array, with a numeric dtype"


def zarr_reader(path: Path, options: InputOptions) -> StackReader:
    """
    Open a Zarr array.

    Args:
        path: the store, or an array within it: ``store.zarr/masks``.
        options: threshold, objects.

    Raises:
        DecodeError: the store is damaged, holds several arrays, or uses a codec that is not supported.
        TransportError: the store cannot be read.
        ValueError: an option does not fit the array.
    """
    with reading(path.name, advice=_ADVICE):
        import zarr

        with warnings.catch_warnings():  # about codecs that are not in the core of the specification
            warnings.filterwarnings("ignore", message="Numcodecs codecs are not in")
            found: Any = zarr.open(str(path), mode="r")
        if not isinstance(found, zarr.Array):
            arrays = dict(found.arrays())
            if len(arrays) != 1:
                raise DecodeError(
                    f"{path.name}: expected one array, found {len(arrays)}; name one: "
                    f"{', '.join(f'{path.name}/{name}' for name in sorted(arrays)[:8]) or 'there is none'}"
                )
            found = next(iter(arrays.values()))
        metadata = found.metadata.to_dict()
        dtype, shape, chunk = np.dtype(found.dtype), tuple(found.shape), tuple(found.chunks)
    unknown = sorted(_codec_names(metadata) - _CODECS)
    if unknown:
        raise DecodeError(f"{path.name}: the codec {unknown[0]!r} is not supported; {_ADVICE}")
    if dtype.hasobject:
        raise DecodeError(f"{path.name}: expected numbers, found Python objects; {_ADVICE}")
    size = int(np.prod(chunk, dtype=object)) * dtype.itemsize
    if size > _MAX_CHUNK:
        raise DecodeError(f"{path.name}: expected chunks of at most {_MAX_CHUNK} bytes, found {size}; use smaller ones")

    def frames(first: int) -> Iterator[Any]:
        for number in range(first, shape[0] if len(shape) > 2 else 1):
            with reading(f"{path.name}, frame {number}", frame=number, advice="the store is damaged"):
                frame = np.asarray(found[number] if len(shape) > 2 else found[:])
            yield frame

    return StackReader(path.name, shape, dtype, frames, options)


def _codec_names(metadata: Any) -> set[str]:
    """All names of codecs in an array's metadata, at any depth: sharding contains codecs."""
    if metadata is None:
        return set()
    found: set[str] = set()
    for key in ("codecs", "index_codecs", "filters", "compressor", "compressors"):
        value = metadata.get(key) if isinstance(metadata, dict) else None
        for one in value if isinstance(value, list | tuple) else [value]:
            if one is None:
                continue
            config = one if isinstance(one, dict) else getattr(one, "get_config", dict)()
            found.add(str(config.get("id") or config.get("name") or type(one).__name__).removeprefix("numcodecs."))
            found |= _codec_names(config.get("configuration"))
    return found
