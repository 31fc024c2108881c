"""
Byte sources: one interface, one implementation per kind of storage.
"""

from ._base import Source
from ._file import FileSource
from ._memory import MemorySource
from ._select import SourceLike, as_source, is_http, open_source, with_http
from .http import ClientLike, HttpSource

__all__ = [
    "ClientLike",
    "FileSource",
    "HttpSource",
    "MemorySource",
    "Source",
    "SourceLike",
    "as_source",
    "is_http",
    "open_source",
    "with_http",
]
