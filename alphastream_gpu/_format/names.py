"""
Names: the resource name and the scheme of a path or URL, and the part of a path that may be shown. Pure.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote

__all__ = ["resource_name_of", "scheme_of", "shown_path"]

_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
"""A scheme has at least two letters, because ``C://films`` begins with a drive."""
_USER: Final = re.compile(r"(^|/)[^/]*:[^/]*@")
_FIRST_USER: Final = re.compile(r"^(\s*(?:[A-Za-z][A-Za-z0-9+.-]*:/*|//+)?)[^/]*@")
"""A user without a password, where a URL with or without its scheme has one. In ``/films/me@home/a.asvp`` there is
none."""
_QUERY_OR_FRAGMENT: Final = re.compile(r"[?#]")


def scheme_of(text: str) -> str | None:
    """
    The scheme of a URL in lower case, or None for a path.

    Args:
        text: a path or a URL. ``host/x?back=https://...`` is a path, because a scheme contains no ``/`` or ``?``.
    """
    if text[:5].lower() == "file:":  # file:/films/a.asvp has no authority
        return "file"
    match = _SCHEME.match(text)
    return None if match is None else match[1].lower()


def resource_name_of(text: str) -> str:
    """
    The name that the key of an ASVR depends on (docs/format.md, "Encryption"). A path and all spellings of a URL of the
    same file give the same name.

    The name is the part after the last ``/`` or ``\\`` and before any ``?``. The query and the fragment of a URL are
    dropped and its path is percent-decoded first; a path is not decoded.

    Args:
        text: a path, or a URL of any scheme.

    Returns:
        The name; empty if nothing follows the last separator, or if the URL has no path.
    """
    return _last_part(text if scheme_of(text) is None else unquote(_path_of_url(text)))


def shown_path(path: str) -> str:
    """
    The form of a path for messages about a file that cannot be opened. The path may be a URL without its scheme, so the
    parts that would be its user, query and fragment are replaced by ``...``.

    Args:
        path: the path as the caller gave it.
    """
    kept, *hidden = _QUERY_OR_FRAGMENT.split(path, maxsplit=1)
    return _FIRST_USER.sub(r"\1...@", _USER.sub(r"\1...@", kept)) + ("..." if hidden else "")


def _path_of_url(url: str) -> str:
    """The part of a URL between authority and query or fragment. ``urlsplit`` would refuse some of the URLs."""
    rest = _QUERY_OR_FRAGMENT.split(url, maxsplit=1)[0].partition(":")[2]
    return rest[2:].partition("/")[2] if rest.startswith("//") else rest


def _last_part(path: str) -> str:
    return path.partition("?")[0].replace("\\", "/").rpartition("/")[2]
