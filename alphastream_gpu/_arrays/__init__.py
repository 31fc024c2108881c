"""
Arrays: a whole stream as one lazy array of masks, for numpy, dask and xarray.
"""

from .array import MaskArray
from .opening import open_array

__all__ = ["MaskArray", "open_array"]
