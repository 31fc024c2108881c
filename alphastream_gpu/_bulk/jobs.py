"""
Jobs: statistics, comparisons and verifications of all frames of many streams.

Each job plans its spans, hands the tasks to a runner, and makes a table of what comes back. No job knows what carries
its tasks out.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from .._config import Config
from .._format.cipher import AsvrKey
from .opening import Streams, check_sendable, close_streams, is_sendable, open_streams, sources_of
from .parts import Parts
from .running import Failure, Progress, Task, run, runner_for, table_or_error
from .spans import SPAN_FRAMES, checked_frames, spans_of
from .tables import Part, Table
from .tasks import AGAINST, FIELDS, METHODS, Columns, chosen_fields, iou_of, statistics_of, verification_of

__all__ = ["iou", "statistics", "verify"]


def statistics(
    sources: Any,
    *,
    fields: Sequence[str] = FIELDS,
    frames: Any = None,
    size: tuple[int, int] | None = None,
    key: AsvrKey | None = None,
    config: Config | None = None,
    scheduler: Any = None,
    resume: str | os.PathLike[str] | None = None,
    span_frames: int = SPAN_FRAMES,
    progress: Progress | None = None,
) -> Table:
    """
    Compute figures of each frame of streams: area, bounding box, centroid, channels, points, bytes.

    Args:
        sources: a source as for :func:`alphastream_gpu.open`, or a list of sources. A source that is listed twice has
            its rows once.
        fields: which figures, of ``"area"``, ``"box"``, ``"centroid"``, ``"channels"``, ``"points"`` and ``"bytes"``.
            Only bytes need no frame to be read; only area, box and centroid need a mask.
        frames: the frames of each stream: ``(start, stop)``, or a text such as ``"0:1000"``; all if omitted. The range
            may go beyond the end of a stream, as a slice may.
        size: ``(width, height)`` of the masks in pixels, 1..16384 each; the native size if omitted.
        key: the key of encrypted ASVR. Workers of a cluster need a :class:`alphastream_gpu.KeyFromEnvironment`.
        config: the options of the streams.
        scheduler: None computes in this process, or with much work, from 16,384 frames on, on a ``LocalCluster`` of as
            many processes as there are processors, if distributed is installed. ``"process"`` and ``"local"`` decide
            this. The address of a scheduler of dask, or a ``distributed.Client``, computes there.
        resume: a folder in which the results of each span are kept. The same call goes on from there after whatever
            ended it, and returns the same table as a call without interruption. None keeps nothing.
        span_frames: frames of a task, 1..1048576.
        progress: called on this thread with the number of frames that are done, and with that of all frames.

    Returns:
        The table with a row for each frame.

    Raises:
        BulkError: some spans or streams failed, for example because a frame is damaged, or because a span ended each
            worker that it was given to. The error names them. The others are done, and are in its ``table``.
        TransportError: the scheduler cannot be reached or is gone, or a part cannot be kept.
        NotReadyError: no worker of a ``LocalCluster`` starts.
        ValueError: an argument is outside its range, or a source is too large to be sent to workers.
        TypeError: a source has an unsupported type, or cannot be sent to workers.
        ImportError: distributed is missing; the message has the command that installs it.
    """
    chosen = chosen_fields(fields)
    return _job(
        "statistics",
        [(source,) for source in sources_of(sources)],
        partial(statistics_of, fields=chosen),
        {"fields": list(chosen)},
        frames=frames,
        size=size,
        key=key,
        config=config,
        scheduler=scheduler,
        resume=resume,
        span_frames=span_frames,
        progress=progress,
    )


def iou(
    pairs: Any,
    *,
    frames: Any = None,
    size: tuple[int, int] | None = None,
    key: AsvrKey | None = None,
    config: Config | None = None,
    scheduler: Any = None,
    resume: str | os.PathLike[str] | None = None,
    span_frames: int = SPAN_FRAMES,
    progress: Progress | None = None,
) -> Table:
    """
    Compare each frame of pairs of streams: intersection over union, differing pixels, areas.

    Args:
        pairs: a list of pairs ``(a, b)`` of sources as for :func:`alphastream_gpu.open`. The streams of a pair must
            have as many frames, or `frames` must name frames that both have.
        frames: as for :func:`statistics`.
        size: as for :func:`statistics`, in pixels.
        key: as for :func:`statistics`.
        config: as for :func:`statistics`.
        scheduler: as for :func:`statistics`.
        resume: as for :func:`statistics`.
        span_frames: as for :func:`statistics`, 1..1048576 frames.
        progress: as for :func:`statistics`.

    Returns:
        The table with a row for each frame of each pair.

    Raises:
        BulkError: as of :func:`statistics`, or the streams of a pair have different numbers of frames.
        TransportError: as of :func:`statistics`.
        NotReadyError: likewise.
        ValueError: likewise, or a pair is none.
        TypeError: as of :func:`statistics`.
        ImportError: likewise.
    """
    groups = []
    for pair in pairs:
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            raise ValueError(f"pairs: expected pairs of two sources, found {type(pair).__name__}")
        groups.append(tuple(pair))
    return _job(
        "iou",
        groups,
        iou_of,
        {},
        frames=frames,
        size=size,
        key=key,
        config=config,
        scheduler=scheduler,
        resume=resume,
        span_frames=span_frames,
        progress=progress,
    )


def verify(
    sources: Any,
    *,
    method: str = "compiled",
    against: str = "numpy",
    frames: Any = None,
    key: AsvrKey | None = None,
    config: Config | None = None,
    scheduler: Any = None,
    resume: str | os.PathLike[str] | None = None,
    span_frames: int = SPAN_FRAMES,
    progress: Progress | None = None,
) -> Table:
    """
    Compare the native masks that two methods make of each frame of streams. They must be equal.

    Args:
        sources: as for :func:`statistics`.
        method: ``"compiled"``, ``"numpy"``, ``"compute"`` or ``"triangles"``, as for :func:`verification_of`.
        against: ``"numpy"`` or ``"compiled"``.
        frames: as for :func:`statistics`.
        key: as for :func:`statistics`.
        config: as for :func:`statistics`.
        scheduler: as for :func:`statistics`.
        resume: as for :func:`statistics`.
        span_frames: as for :func:`statistics`, 1..1048576 frames.
        progress: as for :func:`statistics`.

    Returns:
        The table with the number of differing pixels for each frame, which is 0 where the masks are equal.

    Raises:
        BulkError: as of :func:`statistics`.
        TransportError: likewise.
        NotReadyError: likewise.
        ValueError: likewise.
        TypeError: likewise.
        ImportError: likewise.
    """
    if method not in METHODS:
        raise ValueError(f"method: expected one of {', '.join(METHODS)}, found {method!r}")
    if against not in AGAINST:
        raise ValueError(f"against: expected one of {', '.join(AGAINST)}, found {against!r}")
    return _job(
        "verify",
        [(source,) for source in sources_of(sources)],
        partial(verification_of, method=method, against=against),
        {"method": method, "against": against},
        frames=frames,
        size=None,
        key=key,
        config=config,
        scheduler=scheduler,
        resume=resume,
        span_frames=span_frames,
        progress=progress,
    )


def _job(
    kind: str,
    groups: Sequence[tuple[Any, ...]],
    function: Callable[..., Columns],
    how: Mapping[str, Any],
    *,
    frames: Any,
    size: tuple[int, int] | None,
    key: AsvrKey | None,
    config: Config | None,
    scheduler: Any,
    resume: str | os.PathLike[str] | None,
    span_frames: int,
    progress: Progress | None,
) -> Table:
    """Compute the values of all spans of streams."""
    start, stop = checked_frames(frames)
    for _ in spans_of(0, 1, span_frames):
        pass  # its range is checked before anything is opened
    given = config or Config()
    native = list(given.native_size)
    options = {"native_size": native, "size": native if size is None else list(size), **how}
    parts = None if resume is None else Parts(resume, kind, options)
    streams: list[Streams] = []
    unused: list[Streams] = []
    failures: list[Failure] = []
    try:
        for group in groups:
            found = open_streams(group, size=size, key=key, config=config)
            problem = found if isinstance(found, Failure) else _different_lengths(found, stop)
            if isinstance(found, Streams):
                (streams if problem is None else unused).append(found)
            if problem is not None:
                failures.append(problem)
        ends = [one.n_frames if stop is None else min(stop, one.n_frames) for one in streams]
        ranges = [(min(start, end), end) for end in ends]
        n_frames, n_done = sum(last - first for first, last in ranges), 0

        def tell(part: Part) -> None:
            nonlocal n_done
            n_done += part.stop - part.start
            if progress is not None:
                progress(n_done, n_frames)

        def tasks() -> Iterator[Task]:
            for one, (first, last) in zip(streams, ranges, strict=True):
                for begin, end in spans_of(first, last, span_frames):
                    part = Part(one.names, one.fingerprints, one.n_frames, begin, end)
                    yield Task(part, function, (*one.arrays, begin, end))

        if progress is not None:
            progress(0, n_frames)
        sendable = is_sendable(streams)
        if scheduler not in (None, "process") and not sendable:
            check_sendable(streams)
        with runner_for(scheduler, n_frames, is_sendable=sendable) as runner:
            found_parts, failed = run(tasks(), runner, parts=parts, tell=tell)
    finally:
        close_streams([*streams, *unused])
    return table_or_error(kind, options, found_parts, [*failures, *failed])


def _different_lengths(streams: Streams, stop: int | None) -> Failure | None:
    """Streams of different lengths, unless only frames that all of them have are wanted."""
    lengths = [len(array) for array in streams.arrays]
    if len(set(lengths)) == 1 or (stop is not None and stop <= streams.n_frames):
        return None
    return Failure(
        " and ".join(streams.names),
        f"expected as many frames, found {' and '.join(map(str, lengths))}; name the frames to compare",
    )
