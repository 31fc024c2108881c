"""
Interrupts: Ctrl-C between any two lines of a real-time call leaves nothing held, and nothing paused.
"""

from __future__ import annotations

import ast
import functools
import itertools
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from scripted import has_waits, locks_of
from support import SAMPLE, golden_frames, payload_of, sha256, wait_until

import alphastream_gpu
from alphastream_gpu import AlphaStream, Config, FrameGeometry
from alphastream_gpu._runtime import calls
from alphastream_gpu._stream.ahead import MadeAhead, Waiting

TRACED = ("_stream", "_runtime")
"""Folders of the package whose lines are counted: those that have locks and marks."""


@functools.cache
def with_lines(path: str) -> set[int]:
    """
    The lines of a module's ``with`` statements.

    A trace function is called there once more when the block is left. Python handles no signal at that point: it calls
    ``__exit__`` first. An exception raised by the trace function would skip that call.
    """
    tree = ast.parse(Path(path).read_text())
    return {node.lineno for node in ast.walk(tree) if isinstance(node, ast.With)}


def interrupted_at(n_lines: int, call: Callable[[], Any]) -> bool:
    """Make a call with an interrupt before its n-th line within those folders. Return whether the interrupt came."""
    seen = 0
    entered: set[tuple[int, int]] = set()

    def trace(frame: Any, event: str, argument: Any) -> Any:
        nonlocal seen
        path, line = frame.f_code.co_filename, (id(frame), frame.f_lineno)
        if Path(path).parent.name not in TRACED:
            return None
        if event == "call" and frame.f_lineno == frame.f_code.co_firstlineno:
            entered.difference_update([one for one in entered if one[0] == id(frame)])  # a new frame at an old address
        if event == "line" and line not in entered:
            if frame.f_lineno in with_lines(path):
                entered.add(line)
            seen += 1
            if seen == n_lines:
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()  # of coverage, if it is measured
    sys.settrace(trace)
    try:
        call()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return False


def is_free(lock: Any) -> bool:
    """Whether another thread can take a lock."""
    found: list[bool] = []

    def take() -> None:
        found.append(lock.acquire(timeout=1))
        if found[0]:
            lock.release()

    thread = threading.Thread(target=take)
    thread.start()
    thread.join()
    return found[0]


def left_behind(stream: AlphaStream) -> list[str]:
    """What a call that was interrupted still holds."""
    held = [name for name, lock in locks_of(stream).items() if not is_free(lock)]
    return held + ["mark"] * calls._mark.lock.locked() + ["wait"] * has_waits(stream)


@pytest.mark.parametrize("call", ["get_frame", "get_geometry", "get_triangle_strip_vertices", "stats", "set_rate"])
def test_an_interrupt_at_each_line(call: str) -> None:
    config = Config(processing="both", ready_frames=2, prefetch_frames=8, get_frame_timebox=1000)
    arguments = {"stats": (), "set_rate": (60,)}.get(call)
    with alphastream_gpu.open(SAMPLE, config=config) as stream:
        left: dict[int, list[str]] = {}
        for line in itertools.count(1):
            # Another frame each time: one that is here takes another way than one that is not.
            given = (line * 37 % 120,) if arguments is None else arguments
            if not interrupted_at(line, lambda given=given: getattr(stream, call)(*given)):
                break
            if found := left_behind(stream):
                left[line] = found
        assert line > 5
        assert left == {}
        mask = stream.get_frame(7)
        assert mask is not None
        assert sha256(mask) == golden_frames()[7]["sha256"]
        made = stream.stats().made_ahead
        assert stream.get_frame(90) is not None
        wait_until(lambda: stream.stats().made_ahead > made)


def test_an_interrupt_while_play_turns_to_another_size() -> None:
    """Whatever line it comes at, the next calls find masks of either size being made."""

    class Idle(ThreadPoolExecutor):
        """Does nothing of its own accord, so that no worker puts right what the interrupt left."""

        def submit(self, *arguments: Any) -> Any:  # type: ignore[override]
            return None

    geometry = FrameGeometry.from_payload(payload_of([((0, 0), [(5, 0), (0, 5)])]))
    for line in itertools.count(1):
        ahead: MadeAhead[str, str] = MadeAhead(lambda _, size: size, Waiting(), 4, 1, Idle())

        def turn_to(size: str, ahead: MadeAhead[str, str] = ahead) -> None:
            ahead.aim(range(1, 5), 0, size, lambda index: geometry)

        turn_to("large")
        turn_to("small")
        is_over = not interrupted_at(line, lambda: turn_to("large"))
        for size in ("large", "small", "large"):
            turn_to(size)
            ahead.keep(1, size, size)
            assert ahead.get(1, size) == size
        if is_over:
            break
    assert line > 10
