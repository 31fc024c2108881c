"""
A source over HTTP range requests, on httpx.

Strategy
--------
* ``address.py`` and ``reply.py`` are pure: what a URL means, and what a reply means. They see no socket, so that their
  cases are tables in the tests.
* ``wire.py``, ``cookies.py`` and ``client.py`` know httpx, and are imported with it in a thread, at the first read.
  ``environment.py`` reads the variables that name proxies.
* ``locate.py`` remembers where the file is: the URL that a callable gave, and where redirects led.
* ``source.py`` has :class:`HttpSource`: slots, retries, deadlines, and what is known about the file.
* ``quiet.py`` keeps secrets out of what httpx, httpcore and hpack log.

Failures travel as values (:mod:`.reply`) and are raised in one place, outside of any ``except``. A raised error would
bring along the foreign exception that was being handled, whose text may quote a signed address.
"""

from .source import OPTIONS, ClientLike, HttpSource, UrlLike

__all__ = ["OPTIONS", "ClientLike", "HttpSource", "UrlLike"]
