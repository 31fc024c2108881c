"""
Quiet: keeps secrets out of the log records of httpx, httpcore and hpack.

Strategy
--------
httpx logs the URL of each request at INFO, with its query. httpcore logs the headers of replies at DEBUG, which contain
the targets of redirects and cookies. It also logs errors of h11, which quote a header line. hpack logs each header.

Filters on these loggers rewrite only the records of this package's requests. A context variable marks them: it is set
during a request, and asyncio passes it on to the tasks that belong to the request. Requests of the host program are
logged as usual. Rejected: a URL object for httpx whose text differs from the URL. The client of a caller may have
authentication or hooks that sign that text.
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
_HARMLESS: Final = ("connect_tcp.started", "connect_tcp.complete", "start_tls.started", "start_tls.complete")
"""Events of httpcore with harmless details: hosts and ports. Those of failures have the text of an exception, which may
come from the caller's code."""

_is_ours: ContextVar[bool] = ContextVar("alphastream_http_request", default=False)


class _Quiet(logging.Filter):
    """A filter that rewrites the records of this package's requests."""

    def filter(self, record: logging.LogRecord) -> bool:
        if _is_ours.get():
            if record.name == "httpx":
                _without_queries(record)
            elif not str(record.msg).startswith(_HARMLESS):
                record.msg, record.args = f"{str(record.msg).partition(' ')[0]} (details are hidden)", ()
        return True


_quiet: Final = _Quiet()


def install() -> None:
    """Add the filters. A second call has no effect."""
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_quiet)


@contextmanager
def quiet_logs() -> Iterator[None]:
    """Mark the log records of the ``with`` block as this package's, including those of tasks that start in it."""
    token = _is_ours.set(True)
    try:
        yield
    finally:
        with suppress(ValueError):  # the garbage collector ends a task in another context
            _is_ours.reset(token)


def _without_queries(record: logging.LogRecord) -> None:
    if isinstance(record.args, tuple):
        record.args = tuple(_shown(str(one)) if "://" in str(one) else one for one in record.args)


def _shown(url: str) -> str:
    try:
        return shown(url)
    except ValueError:  # it would end the request
        return "(URL not shown)"
