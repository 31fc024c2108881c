"""
Validator: what a server says of the content of a file, beside its bytes.
"""

from __future__ import annotations

from .base import Source
from .guest import GuestSource
from .http import HttpSource

__all__ = ["validator_of"]


def validator_of(source: Source) -> tuple[str, str] | None:
    """
    The name and the value of the header by which an HTTP source knows a changed file: its strong ETag, or else
    Last-Modified. None for other sources, and for a server that sends neither.
    """
    inner = source._inner if isinstance(source, GuestSource) else source
    return inner._file.validator if isinstance(inner, HttpSource) else None
