"""
Fill: fetches the rest of a file while nobody reads from the server.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

from ..._exceptions import AlphaStreamError, ClosedError
from .record import PAGE_BYTES, fill_bytes, gaps

__all__ = ["fill"]

_BLOCK_PAGES: Final = 128
"""Pages that are looked for on the disk at a time: a mebibyte."""
_LOOK_AGAIN_SECONDS: Final = 0.05
_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 60.0


async def fill(
    n_pages: int,
    *,
    near: Callable[[], int],
    is_idle: Callable[[], bool],
    missing: Callable[[int, int], Awaitable[list[int] | None]],
    fetch: Callable[[range], Awaitable[object]],
) -> None:
    """
    Fetch every page that is missing, those after the last read first. Failures are not raised: the next attempt comes
    after a pause, up to a minute.

    Args:
        n_pages: of the file.
        near: the page that was read last.
        is_idle: whether nobody reads from the server.
        missing: which of the pages from the first number to before the second are missing; None ends this.
        fetch: fetches pages and stores them.
    """
    left = set(range(0, n_pages, _BLOCK_PAGES))
    fetched: set[int] = set()
    rate, pause = 0.0, _FIRST_PAUSE
    while left:
        start = near()
        block = min(left, key=lambda at: (at + _BLOCK_PAGES <= start, at))
        found = await missing(block, min(block + _BLOCK_PAGES, n_pages))
        if found is None:
            return
        runs = gaps(found, 0)
        if not runs:
            left.remove(block)
            continue
        while not is_idle():
            await asyncio.sleep(_LOOK_AGAIN_SECONDS)
        pages = runs[0][: max(1, fill_bytes(rate) // PAGE_BYTES)]
        if not fetched.isdisjoint(pages):
            left.remove(block)  # the disk did not keep them; they would be fetched again and again
            continue
        began = time.monotonic()
        try:
            await fetch(pages)
        except ClosedError:
            return
        except AlphaStreamError:
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
            continue
        fetched.update(pages)
        pause = _FIRST_PAUSE
        rate = len(pages) * PAGE_BYTES / max(time.monotonic() - began, 1e-6)
