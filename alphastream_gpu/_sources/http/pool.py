"""
Pool: one client of the library for all sources on an event loop that have the same settings, so that they share
connections.

A client belongs to an event loop and a process. The last source that uses it closes it. It has no limit of connections:
a limit would let a server that hangs delay the sources of all others, and each source limits its own requests.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary, WeakSet, WeakValueDictionary

import httpx

from .environment import environment_proxies

__all__ = ["Connections", "SharedClient"]

_Key = tuple[object, ...]


class Connections:
    """
    The last reply on each connection of a client. A server may reply twice to one request, and then the next request on
    that connection gets the second reply.
    """

    def __init__(self) -> None:
        self._last: WeakKeyDictionary[Any, tuple[str, object]] = WeakKeyDictionary()
        """By the network stream: the URL, and the headers."""

    def note(self, response: httpx.Response, url: str, headers: object) -> tuple[bool, bool]:
        """
        Note a reply.

        Args:
            response: the reply.
            url: the URL that it should be for.
            headers: those that differ between files and ranges.

        Returns:
            Whether the connection has carried a reply before, and whether that was the same reply to another URL.
        """
        stream = response.extensions.get("network_stream")
        if stream is None:
            return False, False
        try:
            last = self._last.get(stream)
            self._last[stream] = url, headers
        except TypeError:  # the streams of a caller's transport may not support weak references
            return False, False
        is_second = last is not None and last[0] != url and last[1] == headers
        return last is not None, is_second and response.http_version.startswith("HTTP/1")


class SharedClient:
    """
    A client, and the sources that use it.

    Args:
        loop: the event loop of its connections.
        client: the client.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, client: httpx.AsyncClient) -> None:
        self._loop = loop  # its id is in the key, so it must live as long as this
        self.client = client
        self.connections = Connections()
        self._users: WeakSet[object] = WeakSet()

    @staticmethod
    def of(
        loop: asyncio.AbstractEventLoop,
        user: object,
        *,
        http2: bool,
        timeout: float,
        make: Callable[[], httpx.AsyncClient],
    ) -> SharedClient:
        """
        Find or make the client for some settings. It may take 150 ms, so call it in a thread.

        Args:
            loop: the event loop of the requests.
            user: what uses the client, up to :meth:`release`.
            http2: whether the client offers HTTP/2.
            timeout: of the client, in seconds.
            make: makes the client. Its errors are raised.
        """
        key = id(loop), http2, timeout, *_environment()
        registry = _registry
        with registry.lock:
            shared = registry.clients.get(key)
            if shared is None:
                shared = registry.clients[key] = SharedClient(loop, make())
            shared._users.add(user)
            return shared

    async def release(self, user: object) -> None:
        """End a use of the client; the last one closes it. Exceptions are those of httpx."""
        registry = _registry
        with registry.lock:
            self._users.discard(user)
            if self._users:
                return
            for key in [key for key, shared in registry.clients.items() if shared is self]:
                del registry.clients[key]
        await self.client.aclose()


class _Registry:
    """The clients in use."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.clients: WeakValueDictionary[_Key, SharedClient] = WeakValueDictionary()
        """Weak, because a source that is dropped without being closed must not keep connections."""


_registry = _Registry()

if hasattr(os, "register_at_fork"):
    # Another thread may hold the parent's lock. The clients are the parent's, too.
    os.register_at_fork(after_in_child=lambda: globals().update(_registry=_Registry()))


def _environment() -> tuple[object, ...]:
    """What a client takes from the environment."""
    proxies, no_proxy = environment_proxies()
    return tuple(sorted(proxies.items())), no_proxy, os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
