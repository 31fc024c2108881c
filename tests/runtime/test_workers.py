"""
Work in threads whose results come in the order of the input.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing

import pytest

from alphastream_gpu._runtime.workers import in_order


def test_results_come_in_order_and_few_items_wait() -> None:
    given = 0
    released = [threading.Event() for _ in range(12)]

    def items() -> Iterator[int]:
        nonlocal given
        for number in range(12):
            given += 1
            yield number

    def work(number: int) -> int:
        if number % 2:
            released[number - 1].set()
        else:
            released[number].wait(20)  # the even ones end after the odd ones
        return number * number

    found = []
    for result in in_order(work, items(), jobs=2, name="test"):
        found.append(result)
        assert given <= len(found) + 2
    assert found == [number * number for number in range(12)]


def test_what_comes_before_an_error_of_the_input_is_done() -> None:
    def items() -> Iterator[int]:
        yield 1
        yield 2
        raise OSError("a disk that breaks")

    found = []
    with pytest.raises(OSError, match="breaks"):
        for result in in_order(str, items(), jobs=3, name="test"):
            found.append(result)
    assert found == ["1", "2"]


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_an_error_of_the_work_ends_it(error: type[BaseException]) -> None:
    def work(number: int) -> int:
        if number == 2:
            raise error
        return number

    found = []
    with pytest.raises(error), closing(in_order(work, range(1000), jobs=2, name="test-error")) as results:
        for result in results:
            found.append(result)
    assert found == [0, 1]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("test-error")]


def test_one_who_stops_early_leaves_no_thread() -> None:
    with closing(in_order(str, range(1000), jobs=2, name="test-early")) as results:
        assert next(results) == "0"
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("test-early")]
