"""
Names of paths and URLs: the resource name, and what of a path may be shown. Pure.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote

__all__ = ["resource_name_of", "scheme_of", "shown_path"]

_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
"""At least two letters: ``C://films`` begins with a drive."""
_USER: Final = re.compile(r"(^|/)[^/]*:[^/]*@")
_QUERY_OR_FRAGMENT: Final = re.compile(r"[?#]")


def scheme_of(text: str) -> str | None:
    """
    The scheme of a URL in lower case; None for a path.

    Args:
        text: a path or a URL. ``host/x?back=https://...`` is a path: what stands before its ``://`` is no scheme.
    """
    if text[:5].lower() == "file:":  # also without an authority: file:/films/a.asvp
        return "file"
    match = _SCHEME.match(text)
    return None if match is None else match[1].lower()


def resource_name_of(text: str) -> str:
    """
    The name that an ASVR's key depends on (docs/format.md, "Encryption"): the same for a path and for every spelling of
    a URL that leads to it.

    A path counts as it is: what follows the last ``/`` or ``\\``, before any ``?``. Of a URL, query and fragment are
    dropped and its path is percent-decoded first.

    Args:
        text: a path or a URL of any scheme.

    Returns:
        The name; empty if nothing follows the last separator, or if the URL has no path.
    """
    return _last_part(text if scheme_of(text) is None else unquote(_path_of_url(text)))


def shown_path(path: str) -> str:
    """
    A path for messages about a file that cannot be opened. It may be a URL whose scheme was forgotten, so what would be
    its user, its query or its fragment is replaced by ``...``.

    Args:
        path: as the caller gave it.
    """
    kept, *hidden = _QUERY_OR_FRAGMENT.split(path, maxsplit=1)
    return _USER.sub(r"\1...@", kept) + ("..." if hidden else "")


def _path_of_url(url: str) -> str:
    """What follows scheme and authority, up to a query or a fragment. ``urlsplit`` would refuse some URLs."""
    rest = _QUERY_OR_FRAGMENT.split(url, maxsplit=1)[0].partition(":")[2]
    return rest[2:].partition("/")[2] if rest.startswith("//") else rest


def _last_part(path: str) -> str:
    return path.partition("?")[0].replace("\\", "/").rpartition("/")[2]
