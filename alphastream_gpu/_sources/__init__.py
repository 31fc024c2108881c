"""
Sources: the interface of byte sources, and an implementation for each kind of storage.
"""

from .base import Source
from .file import FileSource
from .http import ClientLike, HttpSource
from .memory import MemorySource
from .select import SourceLike, as_source, is_http, open_source, with_http

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
