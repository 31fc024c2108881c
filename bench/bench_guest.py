"""
The renderer in a host: what it costs each method to keep the host's state.

Each pair is measured in turns (A B A B), so that a change of the machine's mood meets both. What a whole frame takes
with the state kept and not, bench_methods.py has beside one another.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import moderngl
import pytest
from conftest import facts, in_turns

from alphastream_gpu import GLUnavailableError, MaskRenderer

TURNS = 200


def _times(guard: AbstractContextManager[None]) -> Any:
    """Work that enters and leaves a group of states, and does nothing within."""

    def work() -> None:
        for _ in range(TURNS):
            with guard:
                pass

    return work


def _report(name: str, kept: AbstractContextManager[None], bare: AbstractContextManager[None]) -> None:
    with_it, without = (taken / TURNS * 1e6 for taken in in_turns(_times(kept), _times(bare)))
    facts[f"preserve_state, {name}"] = f"{with_it - without:.1f} us a call, beside {without:.1f} us without"


@pytest.mark.parametrize("name", ["upload", "triangles", "compute"])
def test_preserving_state(benchmark: Any, ctx: moderngl.Context, name: Any) -> None:
    """What reading and restoring takes by itself, beside what setting takes anyway."""
    benchmark.pedantic(lambda: None, rounds=1)  # be counted as a benchmark, which is what selects these tests
    try:
        keeper = MaskRenderer(ctx, method=name)
    except GLUnavailableError as exc:
        pytest.skip(str(exc))
    with keeper, keeper._method.guard:  # what is left behind without is put back at the end
        if keeper.method != name:
            pytest.skip(f"{name} failed the self-check")
        with (
            MaskRenderer(ctx, method=name) as kept,
            MaskRenderer(ctx, method=name, preserve_state=False) as bare,
        ):
            _report(name, kept._method.guard, bare._method.guard)


def test_preserving_state_while_reading(benchmark: Any, ctx: moderngl.Context) -> None:
    benchmark.pedantic(lambda: None, rounds=1)
    with (
        MaskRenderer(ctx) as keeper,
        keeper._reading,
        MaskRenderer(ctx) as kept,
        MaskRenderer(ctx, preserve_state=False) as bare,
    ):
        _report("read", kept._reading, bare._reading)
