"""
Dask: an array of masks as a dask array.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .._extras import pip_command
from .opening import checked_chunk

if TYPE_CHECKING:
    import dask.array

    from .array import MaskArray

__all__ = ["dask_array"]


def dask_array(masks: MaskArray, chunk_frames: int | None) -> dask.array.Array:
    """:meth:`MaskArray.to_dask`."""
    frames = masks.chunks[0] if chunk_frames is None else checked_chunk(chunk_frames)
    try:
        import dask.array
    except ImportError as exc:
        raise ImportError(f"to_dask() needs dask ({exc}): {pip_command('arrays')}") from exc
    # `asarray`: parts are numpy arrays already. `fancy`: lists come down to the array, too. The array is a key of its
    # own in the graph and not part of each task, so that it is sent to a worker once.
    array: dask.array.Array = dask.array.from_array(  # type: ignore[no-untyped-call]
        masks,
        chunks=(frames, *masks.shape[1:]),
        asarray=False,
        fancy=True,
        meta=np.empty((0, 0, 0), masks.dtype),
    )
    return array
