"""
Running: carries tasks out, in this process or on a cluster, and collects their results as they complete.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from typing import Any, Final, TypeAlias

from .._exceptions import AlphaStreamError, BulkError
from .._runtime.workers import usable_processors
from .parts import Parts
from .tables import Part, Table, joined
from .tasks import Columns

__all__ = ["MUCH_FRAMES", "Failure", "Outcome", "Progress", "Runner", "Task", "run", "runner_for", "table_or_error"]

Progress: TypeAlias = Callable[[int, int], object]
"""Is told how many frames or files are done, and how many there are."""

MUCH_FRAMES: Final = 16_384
"""Frames of work for which several processes, which start in some seconds, pay off: some 4 to 30 s in one."""
_MOST_NAMED: Final = 20


@dataclass(frozen=True)
class Task:
    """A span of frames, or a file, and the pure function that computes its values."""

    part: Part
    """What it computes, without the values."""
    function: Callable[..., Columns]
    arguments: tuple[Any, ...]
    options: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self) -> Columns:
        return self.function(*self.arguments, **self.options)


@dataclass(frozen=True)
class Failure:
    """Why a task has no result."""

    what: str
    """The span or the file."""
    why: str

    @classmethod
    def of(cls, what: object, error: BaseException) -> Failure:
        """The failure of a task that raised an error."""
        text = str(error)
        if isinstance(error, AlphaStreamError | ImportError) and text:
            return cls(str(what), text)
        return cls(str(what), f"{type(error).__name__}: {text}" if text else type(error).__name__)

    def __str__(self) -> str:
        return f"{self.what}: {self.why}"


Outcome: TypeAlias = "Columns | Failure"
Runner: TypeAlias = Callable[[Iterable[Task]], Generator[tuple[Task, Outcome], None, None]]
"""Gives each task with its result, in any order. Closing it withdraws the tasks that are under way."""


def run_here(tasks: Iterable[Task]) -> Generator[tuple[Task, Outcome], None, None]:
    """Run tasks one after the other in this process."""
    for task in tasks:
        try:
            outcome: Outcome = task()
        except Exception as exc:
            outcome = Failure.of(task.part, exc)
        yield task, outcome


def runner_for(scheduler: Any, n_frames: int, *, is_sendable: bool) -> AbstractContextManager[Runner]:
    """
    What carries out the tasks of a job.

    Args:
        scheduler: as of :func:`statistics`.
        n_frames: how much work there is, in frames.
        is_sendable: whether the arguments of the tasks can be pickled.
    """
    if scheduler is None:
        is_much = n_frames >= MUCH_FRAMES and usable_processors() > 1
        scheduler = "local" if is_much and is_sendable and find_spec("distributed") is not None else "process"
    if isinstance(scheduler, str) and scheduler == "process":
        return nullcontext(run_here)
    from .dasks import cluster_runner

    return cluster_runner(scheduler)


def run(
    tasks: Iterable[Task],
    runner: Runner,
    *,
    parts: Parts | None,
    is_done: Callable[[Part], bool] | None = None,
    tell: Callable[[Part], object],
) -> tuple[list[Part], list[Failure]]:
    """
    Carry out tasks, and keep each result as it completes.

    Args:
        tasks: what to compute.
        runner: what carries them out.
        parts: where results are found and kept; None for nowhere.
        is_done: whether a kept part still counts; None if each does.
        tell: is called with each part that is done, also with those that failed or were kept.

    Returns:
        The parts with their values in the order of the tasks, and the failures.

    Raises:
        TransportError: a part cannot be kept, or the cluster is gone.
    """
    order: dict[int, int] = {}
    """The places of the tasks under way, by their identities."""
    found: list[tuple[int, Part]] = []
    failures: list[tuple[int, Failure]] = []

    def not_kept() -> Iterator[Task]:
        for place, task in enumerate(tasks):
            kept = parts.load(task.part) if parts is not None and task.part.fingerprints else None
            if kept is not None and (is_done is None or is_done(kept)):
                found.append((place, kept))
                tell(task.part)
            else:
                order[id(task)] = place
                yield task

    with closing(runner(not_kept())) as outcomes:
        for task, outcome in outcomes:
            place = order.pop(id(task))
            if isinstance(outcome, Failure):
                failures.append((place, outcome))
            else:
                part = replace(task.part, columns=outcome)
                if parts is not None and part.fingerprints:
                    parts.save(part)
                found.append((place, part))
            tell(task.part)
    found.sort(key=lambda one: one[0])
    failures.sort(key=lambda one: one[0])
    return [part for _, part in found], [failure for _, failure in failures]


def table_or_error(kind: str, options: Mapping[str, Any], parts: Iterable[Part], failures: list[Failure]) -> Table:
    """
    The table of a job.

    Raises:
        BulkError: there are failures. The error names them, and has the table of what was computed.
    """
    table = Table(kind, options, joined(parts))
    if not failures:
        return table
    named = [str(failure) for failure in failures[:_MOST_NAMED]]
    if len(failures) > len(named):
        named.append(f"and {len(failures) - len(named)} more")
    raise BulkError(
        f"{len(failures)} not computed, the others are done: {'; '.join(named)}",
        failures=tuple(map(str, failures)),
        table=table,
    )
