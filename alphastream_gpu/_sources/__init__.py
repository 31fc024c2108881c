"""
Sources: the interface of byte sources, and an implementation for each kind of storage.
"""

from .base import Source
from .cache import Spool
from .file import FileSource
from .http import ClientLike, HttpSource
from .memory import MemorySource
from .select import SourceLike, as_source, is_http, open_source, spooled, with_http

__all__ = [
    "ClientLike",
    "FileSource",
    "HttpSource",
    "MemorySource",
    "Source",
    "SourceLike",
    "Spool",
    "as_source",
    "is_http",
    "open_source",
    "spooled",
    "with_http",
]
