"""
Files: encodes many inputs, or exports many streams. One task a file, each by the function for one file.
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from .._config import Config
from .._exceptions import mapped_errors
from .._format.cipher import AsvrKey
from .._format.names import resource_name_of, scheme_of
from .._sources.http.address import has_secrets
from .opening import open_streams, shown_source, sources_of
from .parts import Parts
from .running import MUCH_FRAMES, Failure, Progress, Task, run, runner_for, table_or_error
from .tables import Part, Table
from .tasks import Columns

__all__ = ["encode", "export"]

_MOST_FILES: Final = 1 << 20
"""Of a folder of pictures that is looked at to tell whether it has changed."""


def encode(
    sources: Any,
    folder: str | os.PathLike[str],
    *,
    key: AsvrKey | None = None,
    scheduler: Any = None,
    resume: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> Table:
    """
    Encode masks to streams: each source by a call of :func:`alphastream_gpu.encode`, as a task of its own.

    Args:
        sources: a list of videos, folders of pictures and whatever :func:`alphastream_gpu.encode` reads by a
            path.
        folder: where the streams are written. Each has the name of its source with ``.asvp``, or with ``.asvr`` if
            there is a `key`. On a cluster, all workers must see this folder and the sources by the same paths.
        key: the key of the new ASVR. Workers of a cluster need a :class:`alphastream_gpu.KeyFromEnvironment`.
        scheduler: as for :func:`statistics`. None computes in this process.
        resume: a folder that remembers which files are done. The same call leaves them out if neither the source nor
            the stream has changed. A file that was interrupted goes on from its spool, with `resume` and without.
        progress: called on this thread with the number of files that are done, and with that of all files.
        options: the other arguments of :func:`alphastream_gpu.encode`. On a cluster, `jobs` is 1 if omitted.

    Returns:
        The table with a row for each file.

    Raises:
        BulkError: some files failed. The error names them, and the others are done.
        TransportError: the scheduler cannot be reached or is gone, or the folder cannot be created.
        NotReadyError: no worker of a ``LocalCluster`` starts.
        ValueError: two sources have the same name, or an argument is outside its range.
        TypeError: an argument cannot be sent to workers.
        ImportError: distributed is missing; the message has the command that installs it.
    """
    given = _paths_of(sources)
    if scheduler not in (None, "process"):
        options = {"jobs": 1, **options}
    how = {**options} if key is None else {**options, "key": key}
    jobs = [(path, _stamp(path)) for path in given]
    suffix = ".asvp" if key is None else ".asvr"
    return _file_job("encode", jobs, folder, suffix, _encoded, how, scheduler, resume, progress)


def export(
    sources: Any,
    folder: str | os.PathLike[str],
    suffix: str,
    *,
    key: AsvrKey | None = None,
    config: Config | None = None,
    scheduler: Any = None,
    resume: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> Table:
    """
    Export streams to other formats: each by a call of ``alphastream_gpu.export``, as a task of its own.

    Args:
        sources: a list of paths and URLs of streams.
        folder: where the files are written, as for :func:`encode`.
        suffix: what the name of each stream gets in place of its ending, such as ``.mkv``, ``.npz`` or ``/%06d.png``.
        key: the key of encrypted ASVR. Workers of a cluster need a :class:`alphastream_gpu.KeyFromEnvironment`.
        config: the options of the streams.
        scheduler: as for :func:`encode`.
        resume: as for :func:`encode`.
        progress: as for :func:`encode`, with numbers of files.
        options: the other arguments of ``alphastream_gpu.export``. On a cluster, `jobs` is 1 if omitted.

    Returns:
        The table with a row for each file.

    Raises:
        BulkError: as of :func:`encode`.
        TransportError: likewise.
        NotReadyError: likewise.
        ValueError: likewise.
        TypeError: likewise.
        ImportError: likewise.
    """
    if scheduler not in (None, "process"):
        options = {"jobs": 1, **options}
    jobs, failures = [], []
    for source in _paths_of(sources):
        found = open_streams((source,), size=None, key=key, config=config)
        if isinstance(found, Failure):
            failures.append(found)
        else:
            jobs.append((source, found.fingerprints[0]))
    how = dict(options)
    if key is not None:
        how["key"] = key
    if config is not None:
        how["config"] = config
    return _file_job("export", jobs, folder, suffix, _exported, how, scheduler, resume, progress, failures)


def _file_job(
    kind: str,
    jobs: Sequence[tuple[str, str | None]],
    folder: str | os.PathLike[str],
    suffix: str,
    function: Callable[..., Columns],
    how: Mapping[str, Any],
    scheduler: Any,
    resume: str | os.PathLike[str] | None,
    progress: Progress | None,
    failures: Sequence[Failure] = (),
) -> Table:
    """Make a file of each source. A job is its path, and what names its content, if that is known."""
    path = Path(_folder_of(folder))
    names = [f"{Path(resource_name_of(source.rstrip('/'))).stem}{suffix}" for source, _ in jobs]
    for place, name in enumerate(names):
        if name in names[:place]:
            raise ValueError(f"sources: expected different names, found {name!r} twice; use a folder for each")
    _refuse_unsendable([source for source, _ in jobs], how, scheduler)
    with mapped_errors(f"creating the folder {str(path)!r}"):
        path.mkdir(parents=True, exist_ok=True)
    options = {"suffix": suffix, **{name: _shown_option(value) for name, value in sorted(how.items())}}
    parts = None if resume is None else Parts(resume, kind, options)
    n_done, n_files = len(failures), len(jobs) + len(failures)

    def tell(part: Part) -> None:
        nonlocal n_done
        n_done += 1
        if progress is not None:
            progress(n_done, n_files)

    def tasks() -> Iterator[Task]:
        for (source, content), name in zip(jobs, names, strict=True):
            target = path.absolute() / name
            where = Part((shown_source(source),), () if content is None else (_digest(content, str(target)),), 1, 0, 1)
            yield Task(where, function, (_absolute(source), str(target)), how)

    if progress is not None:
        progress(n_done, n_files)
    with runner_for(scheduler or "process", MUCH_FRAMES, is_sendable=True) as runner:
        found, failed = run(tasks(), runner, parts=parts, is_done=_is_there, tell=tell)
    return table_or_error(kind, options, found, [*failures, *failed])


def _encoded(source: str, target: str, **options: Any) -> Columns:
    """The task of a file to encode."""
    from .._writing.encode import encode as encode_one

    report = encode_one(source, target, **options)
    return {
        "target": np.array([target], np.object_),
        "frames": np.array([report.frames]),
        "bytes": np.array([report.bytes]),
        "differing_pixels": np.array([report.differing_pixels]),
        "min_iou": np.array([report.min_iou]),
    }


def _exported(source: str, target: str, **options: Any) -> Columns:
    """The task of a file to export."""
    import alphastream_gpu

    parent = Path(target).parent
    with mapped_errors(f"creating the folder {str(parent)!r}"):
        parent.mkdir(parents=True, exist_ok=True)
    # By its name in the package, where it is loaded late.
    alphastream_gpu.export(source, target, **options)
    return {"target": np.array([target], np.object_), "bytes": np.array([_size_of(Path(target))])}


def _is_there(part: Part) -> bool:
    """Whether the file of a part that was kept still has as many bytes."""
    return _size_of(Path(str(part.columns["target"][0]))) == int(part.columns["bytes"][0])


def _size_of(path: Path) -> int:
    """Bytes of a file, or of the files of a folder; of ``folder/%06d.png``, those of the folder."""
    if path.is_file():
        return path.stat().st_size
    folder = path if path.is_dir() else path.parent if "%" in path.name else None
    if folder is None or not folder.is_dir():
        return -1
    return sum(one.stat().st_size for one in folder.rglob("*") if one.is_file())


def _paths_of(sources: Any) -> list[str]:
    paths = []
    for source in sources_of(sources):
        if not isinstance(source, str | os.PathLike):
            raise TypeError(f"sources: expected paths, found {type(source).__name__}")
        paths.append(os.fsdecode(source))
    return paths


def _folder_of(folder: str | os.PathLike[str]) -> str:
    text = os.fsdecode(folder)
    if scheme_of(text) is not None:  # not shown: the query and the user may be secrets
        raise ValueError(f"folder: expected a path, found a {scheme_of(text)}: URL")
    return text


def _absolute(source: str) -> str:
    return os.path.abspath(source) if scheme_of(source) is None else source


def _stamp(path: str) -> str | None:
    """What tells whether an input has changed: sizes and times of its files. None if that is not known."""
    root = Path(path)
    try:
        if root.is_file():
            files = [root]
        elif root.is_dir():
            files = sorted(one for one in root.rglob("*") if one.is_file())[:_MOST_FILES]
        else:
            return None  # a pattern
        return json.dumps([[str(one.absolute()), one.stat().st_size, one.stat().st_mtime_ns] for one in files])
    except OSError:
        return None


def _digest(*facts: str) -> str:
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _shown_option(value: Any) -> Any:
    """An option in the form of JSON. A key is shown without its passphrase, as its repr is."""
    return value if value is None or isinstance(value, bool | int | float | str) else repr(value)


def _refuse_unsendable(sources: Sequence[str], how: Mapping[str, Any], scheduler: Any) -> None:
    """Refuse what would put a secret into the graph of tasks, or cannot be pickled."""
    if scheduler in (None, "process"):
        return
    for source in sources:
        if scheme_of(source) is not None and has_secrets(source):
            raise TypeError(
                f"{shown_source(source)}: a URL with a query, a user or a password cannot be sent to workers, because"
                " they may be secrets; export it in this process"
            )
    for name, value in how.items():
        try:
            pickle.dumps(value)
        except Exception as exc:  # whatever an object of the caller raises
            raise TypeError(f"{name}: cannot be sent to workers: {exc}") from exc
