"""
Dask: carries tasks out on a cluster of dask, which the caller has or which is made for the job.

Strategy
--------
A bounded number of tasks is under way, so that the scheduler and this process need the same memory for a job of a
thousand streams. Each task is submitted by itself and not as a graph: its result is wanted here as soon as it exists.
The names of tasks, which dashboards and logs show, have no names of sources.

A worker that is killed takes all tasks with it that it was given. The scheduler gives up a task after several such
workers, also one that only waited beside the task that kills. So a task that was given up is tried once more at the
end, when no other task is under way. If it is given up again, it is the one.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import logging
import uuid
from collections.abc import Callable, Generator, Iterable, Iterator
from itertools import count
from typing import Any, Final

from .._exceptions import NotReadyError, TransportError
from .._extras import pip_command
from .._format.names import shown_path
from .._runtime.workers import usable_processors
from .running import Failure, Outcome, Runner, Task

__all__ = ["cluster_runner", "local_cluster", "worker_environment"]

_LEAST_AHEAD: Final = 32
_AHEAD_OF_A_THREAD: Final = 4
"""Tasks under way for each thread of the workers, so that none waits for this process."""
_ASK_EVERY: Final = 64
"""Tasks after which the scheduler is asked for its workers."""
_CANCELLED: Final = (asyncio.CancelledError, concurrent.futures.CancelledError)
"""Versions of distributed raise one or the other."""
_TRIM_THRESHOLD: Final = "MALLOC_TRIM_THRESHOLD_"


@contextlib.contextmanager
def cluster_runner(scheduler: Any) -> Iterator[Runner]:
    """
    What carries tasks out on a cluster.

    Args:
        scheduler: ``"local"`` for processes of this machine, the address of a scheduler, or a ``distributed.Client``.

    Raises:
        ImportError: distributed is not installed.
        TransportError: the scheduler cannot be reached.
        NotReadyError: the processes of this machine do not start.
        TypeError: `scheduler` is none of these.
        ValueError: the client is asynchronous.
    """
    try:
        import distributed
    except ImportError as exc:
        raise ImportError(f"a cluster needs distributed ({exc}): {pip_command('cluster')}") from exc
    if isinstance(scheduler, distributed.Client):
        if scheduler.asynchronous:
            raise ValueError("scheduler: expected a client that blocks, found an asynchronous one")
        yield lambda tasks: _results(scheduler, tasks)
        return
    if not isinstance(scheduler, str):
        raise TypeError(
            "scheduler: expected the address of a scheduler, a distributed.Client, 'local', 'process' or None, found"
            f" {type(scheduler).__name__}"
        )
    with contextlib.ExitStack() as stack:
        if scheduler == "local":
            cluster = stack.enter_context(local_cluster(usable_processors()))
            client = stack.enter_context(distributed.Client(cluster, set_as_default=False))
        else:
            try:
                client = stack.enter_context(distributed.Client(scheduler, set_as_default=False))
            except (OSError, ValueError) as exc:
                raise TransportError(f"scheduler {shown_path(scheduler)!r}: cannot be reached: {exc}") from exc
        yield lambda tasks: _results(client, tasks)


def worker_environment(environment: dict[str, Any]) -> dict[str, Any]:
    """
    The environment in which dask starts a worker, without the variable that makes masks slow.

    dask sets the variable to 65536. Then the C library returns the memory of many arrays to the system when they are
    freed, and gets it back page by page. `make bench` prints what that costs. None means that dask does not set the
    variable; a value that the user has set stays.
    """
    return {**environment, _TRIM_THRESHOLD: None}


@contextlib.contextmanager
def local_cluster(n_processes: int) -> Iterator[Any]:
    """
    A cluster of processes on this machine. Nobody else can use it: its connections are encrypted with a key that only
    it has. Otherwise, each user of the machine could run code in it.

    Raises:
        NotReadyError: the processes do not start.
    """
    import dask
    import distributed

    name = "distributed.nanny.pre-spawn-environ"
    # No profiler: it looks at the threads of a worker a hundred times a second, and nobody looks at what it finds.
    settings = {name: worker_environment(dask.config.get(name)), "distributed.worker.profile.enabled": False}
    with dask.config.set(settings):
        try:
            cluster = distributed.LocalCluster(
                n_workers=n_processes,
                threads_per_worker=1,
                host="127.0.0.1",
                security=True,
                dashboard_address="127.0.0.1:0",  # without an address, two clusters want the same port
                scheduler_kwargs={"dashboard": False},
                silence_logs=logging.CRITICAL,
            )
        except (RuntimeError, OSError) as exc:
            raise NotReadyError(
                f"a cluster on this machine does not start ({exc}). A script must begin the job in its main guard,"
                " because each process imports the script"
            ) from exc
        with cluster:
            yield cluster


def _results(client: Any, tasks: Iterable[Task]) -> Generator[tuple[Task, Outcome], None, None]:
    """Each task with its result, as they complete."""
    job = _Job(client)
    suspects: list[Task] = []
    try:
        for task, outcome in job.run(tasks):
            if outcome is None:
                suspects.append(task)
            else:
                yield task, outcome
        for task, outcome in job.run(suspects, one_by_one=True):
            yield task, outcome or Failure(str(task.part), "it ended each worker that it was given to")
    finally:
        job.cancel()


class _Job:
    """The tasks of a job that a client has under way."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._name = f"alphastream-{uuid.uuid4().hex[:12]}"
        self._n_submitted = 0
        self._tasks: dict[Any, Task] = {}
        """By their futures."""

    def run(self, tasks: Iterable[Task], *, one_by_one: bool = False) -> Iterator[tuple[Task, Outcome | None]]:
        """
        Each task with its result; None for a task whose workers ended, or whose result was lost with a worker.

        Args:
            tasks: are taken one by one.
            one_by_one: have one under way. Otherwise, as many as fit the workers.
        """
        import distributed

        waiting = iter(tasks)
        completed = distributed.as_completed([], loop=self._client.loop)
        n_ahead = 1
        for n_done in count():
            if not one_by_one and n_done % _ASK_EVERY == 0:  # workers may have come
                with _reaching_the_scheduler():
                    n_threads = sum(self._client.nthreads().values())
                n_ahead = max(_LEAST_AHEAD, _AHEAD_OF_A_THREAD * n_threads)
            while len(self._tasks) < n_ahead and (task := next(waiting, None)) is not None:
                completed.add(self._submit(task))
            if not self._tasks:
                return
            with _reaching_the_scheduler():
                future = next(completed)
            task = self._tasks.pop(future)
            yield task, self._outcome(task, future)
            future.release()

    def cancel(self) -> None:
        """Withdraw what is under way."""
        with contextlib.suppress(Exception):  # a scheduler that is gone
            self._client.cancel(list(self._tasks))
        self._tasks.clear()

    def _submit(self, task: Task) -> Any:
        self._n_submitted += 1
        key = f"{self._name}-{self._n_submitted}"
        function: Callable[..., Any] = task.function
        with _reaching_the_scheduler():
            future = self._client.submit(function, *task.arguments, **task.options, key=key, pure=False)
        self._tasks[future] = task
        return future

    def _outcome(self, task: Task, future: Any) -> Outcome | None:
        import distributed

        if future.status == "finished":
            try:
                outcome: Outcome = future.result()  # computed again if its worker has just ended
                return outcome
            except distributed.KilledWorker:
                return None
            except _CANCELLED as exc:
                if self._is_connected:
                    return None
                raise _gone() from exc
            except Exception as exc:
                return Failure.of(task.part, exc)
        if future.status == "error":
            error = future.exception()
            if isinstance(error, distributed.KilledWorker):
                return None
            return Failure.of(task.part, error)
        if self._is_connected:  # a worker was killed after it had finished the task, before its result was fetched
            return None
        raise _gone()

    @property
    def _is_connected(self) -> bool:
        """Whether the client still has its scheduler. If not, it has cancelled all futures."""
        return bool(self._client.status == "running")


@contextlib.contextmanager
def _reaching_the_scheduler() -> Iterator[None]:
    """The errors of a client whose scheduler is gone."""
    try:
        yield
    except (OSError, TimeoutError, *_CANCELLED) as exc:
        raise _gone() from exc


def _gone() -> TransportError:
    return TransportError("the scheduler is gone, or has cancelled the job; what was kept is found by the next run")
