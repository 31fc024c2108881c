"""
Pages: recognizes texts that servers send instead of a file: a sign-in page, an error, a Git LFS pointer. Pure.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["page_in_place_of_a_file"]

_LOOKED_AT: Final = 512
_LEAST: Final = 16
"""Characters that must be plain text. One in ten million encrypted files begins with so many."""
_TEXT: Final = re.compile(rb"[\t\n\r -~]*")
_KINDS: Final = (
    (re.compile(rb"<(!doctype\s+html|html|head|body|title|script|meta)\b", re.IGNORECASE), "an HTML page"),
    (re.compile(rb"<(\?xml|error|!--)", re.IGNORECASE), "an XML or HTML document"),
    (re.compile(rb"version https://git-lfs\.github\.com/spec/"), "a Git LFS pointer"),
    (re.compile(rb"[{\[]\s*[\"{\[]"), "a JSON text"),
)


def page_in_place_of_a_file(first: bytes | memoryview, reply_summary: str) -> str | None:
    """
    Describe the first bytes of a source if they are a text that servers send instead of a file.

    Args:
        first: the first bytes of the source.
        reply_summary: :attr:`Source.reply_summary`; empty for a source without a server.

    Returns:
        The end of a message that begins with "expected ..."; None if the bytes may belong to a file.
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
        f"found {kind} ({reply_summary}): the server sent it instead of the file, for example a sign-in or error page;"
        " open the address in a browser"
    )
