"""
HTTP: a source that reads a file by HTTP range requests with httpx.

Strategy
--------
* ``address.py`` checks URLs, and ``reply.py`` and ``verdict.py`` interpret replies. They are pure, so tables of cases
  in the tests cover them.
* ``wire.py``, ``cookies.py``, ``client.py`` and ``pool.py`` use httpx. They are imported at the first read, in a
  thread. ``environment.py`` reads the environment variables for proxies and certificates.
* ``locate.py`` remembers the address of the file: the URL that a callable returned, and the target of redirects.
* ``source.py`` has :class:`HttpSource`: concurrency, deadlines, and what is known about the file. ``progress.py`` has
  the retries.
* ``callers.py`` describes exceptions of the caller's code without their texts.
* ``quiet.py`` keeps secrets out of the log records of httpx, httpcore and hpack.

Failures are passed as values (:mod:`.verdict`) and raised in one place, outside of any ``except`` block. An error that
is raised inside one would have the foreign exception attached, whose message may quote a signed address.
"""

from .source import ClientLike, HttpSource, UrlLike, expect, facts_of, from_config, locate

__all__ = ["ClientLike", "HttpSource", "UrlLike", "expect", "facts_of", "from_config", "locate"]
