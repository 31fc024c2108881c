"""
What stands in place of a file when a server sends something else: a sign-in page, an error, a pointer. Pure.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["page_in_place_of_a_file"]

_LOOKED_AT: Final = 512
_LEAST: Final = 16
"""Characters that must be plain text: an encrypted file begins so once in ten million."""
_TEXT: Final = re.compile(rb"[\t\n\r -~]*")
_KINDS: Final = (
    (re.compile(rb"<(!doctype\s+html|html|head|body|title|script|meta)\b", re.IGNORECASE), "an HTML page"),
    (re.compile(rb"<(\?xml|error|!--)", re.IGNORECASE), "an XML or HTML document"),
    (re.compile(rb"version https://git-lfs\.github\.com/spec/"), "a pointer of Git LFS, in place of the file"),
    (re.compile(rb"[{\[]\s*[\"{\[]"), "a JSON text"),
)


def page_in_place_of_a_file(first: bytes | memoryview, reply_summary: str) -> str | None:
    """
    What the first bytes are, if they are a text that servers send in place of a file.

    Args:
        first: the first bytes of what was read.
        reply_summary: what the server said about them, :attr:`Source.reply_summary`; empty where there is no server.

    Returns:
        The end of a message that begins with what was expected; None for what may be a file.
    """
    begin = bytes(first[:_LOOKED_AT]).removeprefix(b"\xef\xbb\xbf").lstrip()
    if len(begin) < _LEAST or not _TEXT.fullmatch(begin[:_LEAST]):
        return None
    kind = next((kind for pattern, kind in _KINDS if pattern.match(begin)), None)
    if kind is None:
        return None
    if not reply_summary:
        return f"found {kind}"
    return (
        f"found {kind} ({reply_summary}): the server sent it in place of the file, as for a sign-in or an error; look"
        " at the address in a browser"
    )
