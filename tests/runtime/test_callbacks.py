"""
The thread of the callbacks: calls in order, and all of them before it ends.
"""

from __future__ import annotations

import threading

from support import wait_until

from alphastream_gpu._runtime.callbacks import Callbacks


def test_a_call_that_is_given_by_the_last_call_is_made_too() -> None:
    """A listener takes one event a call. If the stream is closed while several wait, the last one says so."""
    callbacks = Callbacks()
    callbacks.start()
    is_free, made = threading.Event(), list[str]()

    def first() -> None:
        is_free.wait(20)
        callbacks.call(second)

    def second() -> None:
        made.append("second")

    callbacks.call(first)
    callbacks.end()
    is_free.set()
    wait_until(lambda: made == ["second"])
    wait_until(lambda: all(thread.name != "alphastream-callbacks" for thread in threading.enumerate()))
