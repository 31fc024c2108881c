"""
Keeps secrets out of the logs of httpx, httpcore and hpack.

Strategy
--------
httpx logs each request's URL at INFO, query included. httpcore logs at DEBUG the headers of replies, so where a
redirect leads and which cookies were set, and h11's errors, which quote a header line; hpack logs headers one by one.

Filters on those loggers rewrite the records, but only those of this package's requests: they are known by a context
variable, which is set while a request is under way and which asyncio hands on to the tasks that belong to it. Requests
of the host program are logged as ever. To give httpx a URL object whose text is another one was turned down: a caller's
client may have authentication or hooks that sign that text.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Final

from .address import shown

__all__ = ["install", "quiet_logs"]

_LOGGERS: Final = (
    "httpx",
    "httpcore.connection",
    "httpcore.http11",
    "httpcore.http2",
    "httpcore.proxy",
    "httpcore.socks",
    "hpack.hpack",
    "hpack.huffman",
    "hpack.table",
)
_HARMLESS: Final = ("connect_tcp.", "start_tls.")
"""Events of httpcore whose details are hosts, ports and errors of the system."""

_is_ours: ContextVar[bool] = ContextVar("alphastream_http_request", default=False)


class _Quiet(logging.Filter):
    """Rewrites the records of this package's requests."""

    def filter(self, record: logging.LogRecord) -> bool:
        if _is_ours.get():
            if record.name == "httpx":
                _without_queries(record)
            elif not str(record.msg).startswith(_HARMLESS):
                record.msg, record.args = f"{str(record.msg).partition(' ')[0]} (details are hidden)", ()
        return True


_quiet: Final = _Quiet()


def install() -> None:
    """Add the filters; those that are there already are kept."""
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_quiet)


@contextmanager
def quiet_logs() -> Iterator[None]:
    """What is logged meanwhile, by this task and those that it starts, is of this package's requests."""
    token = _is_ours.set(True)
    try:
        yield
    finally:
        with suppress(ValueError):  # of a task that the garbage collector ends, in a context of its own
            _is_ours.reset(token)


def _without_queries(record: logging.LogRecord) -> None:
    if isinstance(record.args, tuple):
        record.args = tuple(_shown(str(one)) if "://" in str(one) else one for one in record.args)


def _shown(url: str) -> str:
    try:
        return shown(url)
    except ValueError:  # which would end the request
        return "(a URL that is not shown)"
