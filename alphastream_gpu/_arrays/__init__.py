"""
Arrays: a whole stream as one lazy array of masks, for numpy, dask and xarray.
"""

from .array import MaskArray, reopening_copy, stream_of
from .opening import open_array

__all__ = ["MaskArray", "open_array", "reopening_copy", "stream_of"]
