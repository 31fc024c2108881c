"""
Byte sources: one interface, one implementation per kind of storage.
"""

from ._base import Source
from ._file import FileSource
from ._http import HttpSource
from ._memory import MemorySource
from ._select import SourceLike, as_source, open_source

__all__ = ["FileSource", "HttpSource", "MemorySource", "Source", "SourceLike", "as_source", "open_source"]
