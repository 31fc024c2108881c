"""
Engine: the xarray engine "alphastream", by which ``xarray.open_dataset`` opens a stream.

xarray finds the class by the entry point in pyproject.toml. It is the only module that imports xarray.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from fractions import Fraction
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import xarray
from xarray.backends import BackendArray, BackendEntrypoint
from xarray.core import indexing

from .._config import Config
from .._format.cipher import AsvrKey
from .._raster.grid import sampled
from .opening import open_array

if TYPE_CHECKING:
    from .array import MaskArray

__all__ = ["AlphaStreamBackend"]

_SUFFIXES = (".asvp", ".asvr")


class AlphaStreamBackend(BackendEntrypoint):
    """
    Opens ASVP and ASVR streams for xarray.
    """

    description = "Alpha masks in ASVP and ASVR streams"
    url = ""
    open_dataset_parameters: ClassVar[Any] = (
        "filename_or_obj",
        "drop_variables",
        "size",
        "dtype",
        "native_size",
        "fps",
        "key",
        "chunk_frames",
    )

    def guess_can_open(self, filename_or_obj: Any) -> bool:
        """Whether a path or URL ends as a stream's."""
        if not isinstance(filename_or_obj, str | os.PathLike):
            return False
        return os.fsdecode(filename_or_obj).partition("?")[0].lower().endswith(_SUFFIXES)

    def open_dataset(
        self,
        filename_or_obj: Any,
        *,
        drop_variables: str | Iterable[str] | None = None,
        size: tuple[int, int] | None = None,
        dtype: Any = "uint8",
        native_size: tuple[int, int] | None = None,
        fps: Fraction | float | None = None,
        key: AsvrKey | None = None,
        chunk_frames: int | None = None,
    ) -> xarray.Dataset:
        """
        Open a stream as a dataset with the variable "mask" of the dimensions time, y and x.

        Args:
            filename_or_obj: a path or URL.
            drop_variables: names of variables and coordinates that are left out.
            size: ``(width, height)`` of the masks; native if omitted.
            dtype: ``"uint8"`` or ``"bool"``.
            native_size: ``(width, height)`` of the grid that the points are on.
            fps: frames per second.
            key: of an encrypted stream.
            chunk_frames: frames in a chunk, if xarray is asked for the chunks of the file (``chunks={}``).
        """
        given = {"native_size": native_size, "fps": fps}
        config = Config(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
        masks = open_array(filename_or_obj, size, dtype=dtype, key=key, config=config, chunk_frames=chunk_frames)
        dropped = {drop_variables} if isinstance(drop_variables, str) else set(drop_variables or ())
        dataset = _dataset(masks).drop_vars(dropped, errors="ignore")
        dataset.set_close(masks.close)
        return dataset


def _dataset(masks: MaskArray) -> xarray.Dataset:
    (n_frames, height, width), native = masks.shape, masks.native_size
    data = indexing.LazilyIndexedArray(_Lazy(masks))
    mask = xarray.Variable(("time", "y", "x"), data, {"long_name": "alpha mask"})
    mask.encoding["preferred_chunks"] = dict(zip(("time", "y", "x"), masks.chunks, strict=True))
    fps = masks.fps
    times = np.arange(n_frames) * fps.denominator / fps.numerator
    return xarray.Dataset(
        {"mask": mask},
        {
            "time": ("time", times, {"units": "s", "long_name": "media time"}),
            "y": ("y", sampled(native[1], height), {"units": "pixel", "long_name": "native row"}),
            "x": ("x", sampled(native[0], width), {"units": "pixel", "long_name": "native column"}),
        },
        {
            "native_width": native[0],
            "native_height": native[1],
            "fps": f"{fps.numerator}/{fps.denominator}",
            "fingerprint": masks.fingerprint,
        },
    )


class _Lazy(BackendArray):
    """The array as xarray indexes it."""

    def __init__(self, masks: MaskArray) -> None:
        self.masks = masks
        self.shape = masks.shape
        self.dtype = masks.dtype

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.OUTER, self._read)

    def _read(self, key: tuple[Any, ...]) -> Any:
        return self.masks.oindex[key]
