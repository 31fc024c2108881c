"""
Exact alpha masks from ASVP and ASVR streams: read them anywhere, rasterize them in shaders or in numpy, bit for bit.

Start with :func:`open`. :class:`MaskRenderer` makes GL textures of the frames, :func:`rasterize` makes numpy arrays.
"""

import typing as _t

from ._builder import AlphaStreamBuilder
from ._config import Config
from ._exceptions import (
    AlphaStreamError,
    BulkError,
    ClosedError,
    DecodeError,
    ErrorCode,
    FrameNotFoundError,
    FrameTimeoutError,
    GLUnavailableError,
    KeyMismatchError,
    NotReadyError,
    PassphraseError,
    TransportError,
    WrongContextError,
)
from ._format.cipher import AsvrKey, KeyFromEnvironment
from ._geometry.frame import FrameGeometry
from ._open import open, open_async
from ._raster import rasterize, rasterize_packed
from ._sources import FileSource, HttpSource, MemorySource, Source
from ._sources.base import RequestTiming
from ._sources.ranges import ByteRange
from ._stream.attempts import Attempt
from ._stream.clock import PlaybackClock
from ._stream.events import StreamEvent
from ._stream.heads import PlayHead
from ._stream.metadata import Metadata
from ._stream.planner import BufferGoal
from ._stream.stats import LastError, Stats
from ._stream.stream import AlphaStream
from ._writing.writer import AsvpWriter, AsvrWriter

if _t.TYPE_CHECKING:
    from ._arrays import MaskArray, open_array
    from ._comparing import ComparedFrame, CompareReport, compare
    from ._context.headless import create_headless_context
    from ._encoding import MaskEncoder, encode_mask
    from ._exporting.export import export
    from ._exporting.report import ExportProgress, ExportReport
    from ._gl import MaskRenderer, RenderStats
    from ._inputs import InputOptions
    from ._writing.encode import encode
    from ._writing.optimize import optimize
    from ._writing.report import EncodeProgress, EncodeReport

__version__ = "0.1.0.dev0"

__all__ = [
    "AlphaStream",
    "AlphaStreamBuilder",
    "AlphaStreamError",
    "AsvpWriter",
    "AsvrKey",
    "AsvrWriter",
    "Attempt",
    "BufferGoal",
    "BulkError",
    "ByteRange",
    "ClosedError",
    "CompareReport",
    "ComparedFrame",
    "Config",
    "DecodeError",
    "EncodeProgress",
    "EncodeReport",
    "ErrorCode",
    "ExportProgress",
    "ExportReport",
    "FileSource",
    "FrameGeometry",
    "FrameNotFoundError",
    "FrameTimeoutError",
    "GLUnavailableError",
    "HttpSource",
    "InputOptions",
    "KeyFromEnvironment",
    "KeyMismatchError",
    "LastError",
    "MaskArray",
    "MaskEncoder",
    "MaskRenderer",
    "MemorySource",
    "Metadata",
    "NotReadyError",
    "PassphraseError",
    "PlayHead",
    "PlaybackClock",
    "RenderStats",
    "RequestTiming",
    "Source",
    "Stats",
    "StreamEvent",
    "TransportError",
    "WrongContextError",
    "__version__",
    "compare",
    "create_headless_context",
    "encode",
    "encode_mask",
    "export",
    "open",
    "open_array",
    "open_async",
    "optimize",
    "rasterize",
    "rasterize_packed",
]

_LATE = {
    "CompareReport": "_comparing",
    "ComparedFrame": "_comparing",
    "EncodeProgress": "_writing.report",
    "EncodeReport": "_writing.report",
    "ExportProgress": "_exporting.report",
    "ExportReport": "_exporting.report",
    "InputOptions": "_inputs",
    "MaskArray": "_arrays",
    "MaskEncoder": "_encoding",
    "MaskRenderer": "_gl",
    "RenderStats": "_gl",
    "compare": "_comparing",
    "create_headless_context": "_context.headless",
    "encode": "_writing.encode",
    "encode_mask": "_encoding",
    "export": "_exporting.export",
    "open_array": "_arrays",
    "optimize": "_writing.optimize",
}
"""Names that are loaded at first use, so that a program that only decodes loads neither moderngl nor the encoder."""


def __getattr__(name: str) -> _t.Any:
    from importlib import import_module

    if name == "bulk":  # a module with names of its own
        return import_module(f"{__name__}.bulk")
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = getattr(import_module(f"{__name__}.{_LATE[name]}"), name)
    _show_public_paths((name,))
    return globals()[name]


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATE})


def _show_public_paths(names: tuple[str, ...]) -> None:
    """Make reprs, tracebacks and docs show the public path of each name instead of its private module."""
    for name in names:
        if hasattr(globals()[name], "__module__"):
            globals()[name].__module__ = __name__


_show_public_paths(tuple(name for name in __all__ if name not in _LATE))
