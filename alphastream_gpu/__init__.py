"""
Exact alpha masks from ASVP and ASVR streams: read them anywhere, rasterize them in shaders or in numpy, bit for bit.

Start with :func:`open`; then :class:`MaskRenderer` makes GL textures, :func:`rasterize` numpy arrays.
"""

from ._builder import AlphaStreamBuilder
from ._cipher import AsvrKey
from ._clock import PlaybackClock
from ._config import Config
from ._exceptions import (
    AlphaStreamError,
    ClosedError,
    DecodeError,
    ErrorCode,
    FrameNotFoundError,
    FrameTimeoutError,
    GLUnavailableError,
    KeyMismatchError,
    NotReadyError,
    TransportError,
)
from ._geometry import FrameGeometry
from ._gl import MaskRenderer, RenderStats, create_headless_context
from ._metadata import Metadata
from ._open import open, open_async
from ._ranges import ByteRange
from ._raster import rasterize, rasterize_packed
from ._sources import FileSource, HttpSource, MemorySource, Source
from ._stats import LastError, Stats
from ._stream import AlphaStream
from ._writer import AsvpWriter, AsvrWriter

__version__ = "0.1.0"

__all__ = [
    "AlphaStream",
    "AlphaStreamBuilder",
    "AlphaStreamError",
    "AsvpWriter",
    "AsvrKey",
    "AsvrWriter",
    "ByteRange",
    "ClosedError",
    "Config",
    "DecodeError",
    "ErrorCode",
    "FileSource",
    "FrameGeometry",
    "FrameNotFoundError",
    "FrameTimeoutError",
    "GLUnavailableError",
    "HttpSource",
    "KeyMismatchError",
    "LastError",
    "MaskRenderer",
    "MemorySource",
    "Metadata",
    "NotReadyError",
    "PlaybackClock",
    "RenderStats",
    "Source",
    "Stats",
    "TransportError",
    "__version__",
    "create_headless_context",
    "open",
    "open_async",
    "rasterize",
    "rasterize_packed",
]

# Show the public path in reprs, tracebacks and docs, not the private module a thing happens to live in.
for _name in __all__:
    _thing = globals()[_name]
    if hasattr(_thing, "__module__"):
        _thing.__module__ = __name__
del _name, _thing
