"""
Tables: the results of a job, and their forms as JSON, CSV and Parquet.

Strategy
--------
A table consists of parts. A part has the values of a range of frames of one stream, or of one pair of streams, and it
names their content by fingerprints. Everything that holds results is a table: what a job returns, a part that is kept
for a resumed job, and what one machine of a render farm writes. So one function merges all of them.

Parts that continue each other are joined, and those of a stream are in the order of frames. So the bytes of a table do
not depend on the spans of a job, nor on the order in which they were computed.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from .._exceptions import DecodeError, mapped_errors
from .._extras import pip_command
from .._format.names import scheme_of
from .._writing.whole_file import whole_file
from .spans import gaps_between, shown_span
from .tasks import Columns

__all__ = ["KINDS", "SUFFIXES", "Kind", "Part", "Table", "file_form", "joined", "merge", "read_table", "table_of_json"]

_FORMAT: Final = 1
_MOST_BYTES: Final = 1 << 30
"""Of a table as JSON: the figures of some 30 million frames."""
_MOST_FRAMES: Final = 1 << 32
_MOST_PARTS: Final = 1 << 20
_MOST_CHARACTERS: Final = 1 << 14
"""Of a name or a path."""
SUFFIXES: Final = (".csv", ".json", ".parquet")


@dataclass(frozen=True)
class Kind:
    """What a job computes, and the columns of its results."""

    sources: tuple[str, ...]
    """The columns with the names of the sources of a row."""
    columns: Mapping[str, type[Any]]
    """The type of the values of each column."""
    is_of_frames: bool = True
    """Whether a row is a frame. Otherwise it is a file."""


KINDS: Final[Mapping[str, Kind]] = {
    "statistics": Kind(
        ("source",),
        {
            **dict.fromkeys(("area", "left", "top", "right", "bottom"), int),
            **dict.fromkeys(("x", "y"), float),
            **dict.fromkeys(("channels", "points", "bytes"), int),
        },
    ),
    "iou": Kind(("source", "other"), {"iou": float, "differing_pixels": int, "area": int, "other_area": int}),
    "verify": Kind(("source",), {"differing_pixels": int}),
    "encode": Kind(
        ("source",),
        {"target": str, "frames": int, "bytes": int, "differing_pixels": int, "min_iou": float},
        is_of_frames=False,
    ),
    "export": Kind(("source",), {"target": str, "bytes": int}, is_of_frames=False),
}


@dataclass(frozen=True)
class Part:
    """The values of a range of frames of a stream, or of a pair of streams."""

    sources: tuple[str, ...]
    """Their names, without what may be secret."""
    fingerprints: tuple[str, ...]
    """Their content."""
    frame_count: int
    """Frames of the stream, or those that both streams have."""
    start: int
    """The first frame."""
    stop: int
    """One past the last frame."""
    columns: Columns = field(default_factory=dict, repr=False)
    """The values, by the names of columns. An array is of int64 (frames,), float64 (frames,) or object (frames,)."""

    def __str__(self) -> str:
        if not self.fingerprints:
            return self.sources[0]
        return f"{shown_span(self.start, self.stop)} of {' and '.join(self.sources)}"

    def rows(self, first: int, last: int) -> Part:
        """
        The part of its frames ``first..last - 1``.

        Args:
            first: the first frame, from `start`, in frames of the stream.
            last: one past the last frame.
        """
        chosen = slice(first - self.start, last - self.start)
        return replace(
            self, start=first, stop=last, columns={name: values[chosen] for name, values in self.columns.items()}
        )


class Table:
    """
    The results of a job, with a row for each frame, or for each file. Made by the functions of this module.

    ``table["area"]`` is the column of that name, and ``len(table)`` the number of rows. ``table.columns`` is what
    ``pandas.DataFrame`` takes.

    Args:
        kind: the name of the job.
        options: how it was computed, as JSON has it.
        parts: the results.
    """

    def __init__(self, kind: str, options: Mapping[str, Any], parts: Iterable[Part]) -> None:
        self._kind = kind
        self._options = dict(options)
        self._parts = tuple(parts)

    @property
    def kind(self) -> str:
        """The name of the job, which is ``"statistics"``, ``"iou"``, ``"verify"``, ``"encode"`` or ``"export"``."""
        return self._kind

    @property
    def options(self) -> dict[str, Any]:
        """How it was computed, such as the size of the masks."""
        return dict(self._options)

    @property
    def parts(self) -> tuple[Part, ...]:
        """The parts, one for each range of frames without a gap."""
        return self._parts

    @property
    def columns(self) -> dict[str, npt.NDArray[Any]]:
        """
        All columns by name, which are the names of sources, the frames from 0, and the values. Each is an array of
        object (rows,) for texts, int64 (rows,) for pixels, points, channels and bytes, or float64 (rows,).
        """
        kind = KINDS[self._kind]
        lengths = [part.stop - part.start for part in self._parts]
        found: dict[str, npt.NDArray[Any]] = {}
        for place, name in enumerate(kind.sources):
            found[name] = np.repeat(np.array([part.sources[place] for part in self._parts], np.object_), lengths)
        if kind.is_of_frames:
            found["frame"] = _joined_values([np.arange(part.start, part.stop) for part in self._parts], np.int64)
        names = next((tuple(part.columns) for part in self._parts), tuple(kind.columns))
        for name in names:
            dtype = {int: np.int64, float: np.float64, str: np.object_}[kind.columns[name]]
            found[name] = _joined_values([part.columns[name] for part in self._parts], dtype)
        return found

    @property
    def missing(self) -> tuple[str, ...]:
        """The frames of its streams that it has no rows of, in words."""
        spans: dict[tuple[Any, ...], list[Part]] = {}
        for part in self._parts:
            spans.setdefault((part.sources, part.fingerprints), []).append(part)
        return tuple(
            str(replace(parts[0], start=first, stop=last, columns={}))
            for parts in spans.values()
            for first, last in gaps_between(((part.start, part.stop) for part in parts), 0, parts[0].frame_count)
        )

    def to_json(self) -> str:
        """The table as JSON, which :func:`read_table` reads and :func:`merge` merges."""
        return json.dumps(
            {
                "format": _FORMAT,
                "kind": self._kind,
                "options": self._options,
                "parts": [
                    {
                        "sources": part.sources,
                        "fingerprints": part.fingerprints,
                        "frame_count": part.frame_count,
                        "start": part.start,
                        "stop": part.stop,
                        "columns": {name: _plain(values) for name, values in part.columns.items()},
                    }
                    for part in self._parts
                ],
            },
            allow_nan=False,
        )

    def to_csv(self) -> str:
        """The rows as CSV with a line of names. A value that is not defined, such as the centroid of no pixels, is
        empty."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        columns = self.columns
        writer.writerow(columns)
        writer.writerows(zip(*(_plain(values, missing="") for values in columns.values()), strict=True))
        return text.getvalue()

    def to_parquet(self) -> bytes:
        """
        The rows as a Parquet file. A value that is not defined is null.

        Raises:
            ImportError: pyarrow is missing, of the extra ``[cluster]``.
        """
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError as exc:
            raise ImportError(f"Parquet needs pyarrow ({exc}): {pip_command('cluster')}") from exc
        arrays = {name: pyarrow.array(values, from_pandas=True) for name, values in self.columns.items()}
        content = io.BytesIO()
        pyarrow.parquet.write_table(pyarrow.table(arrays), content)
        return content.getvalue()

    def write(self, target: str | os.PathLike[str]) -> None:
        """
        Write a file, which appears complete or not at all.

        Args:
            target: the path, which ends in ``.json``, ``.csv`` or ``.parquet``.

        Raises:
            ValueError: it has another ending, or is a URL.
            TransportError: it cannot be written.
            ImportError: as of :meth:`to_parquet`.
        """
        path, form = file_form(target)
        if form == ".parquet":
            content = self.to_parquet()
        else:
            content = (self.to_csv() if form == ".csv" else self.to_json() + "\n").encode()
        with mapped_errors(f"writing {str(path)!r}"), whole_file(path) as file:
            file.write(content)

    def __len__(self) -> int:
        return sum(part.stop - part.start for part in self._parts)

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        return self.columns[name]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Table) and self.to_json() == other.to_json()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<Table {self._kind}, {len(self)} rows>"


def file_form(target: str | os.PathLike[str]) -> tuple[Path, str]:
    """The path and the ending of a file for results."""
    text = os.fspath(target)
    if scheme_of(text) is not None:  # not shown: the query and the user may be secrets
        raise ValueError(f"target: expected a path, found a {scheme_of(text)}: URL")
    path = Path(text)
    form = path.suffix.lower()
    if form not in SUFFIXES:
        raise ValueError(f"target: expected a name that ends in {', '.join(SUFFIXES)}, found {path.name!r}")
    return path, form


def joined(parts: Iterable[Part]) -> list[Part]:
    """
    Join parts that continue each other. The first parts of the streams decide their order.

    Raises:
        ValueError: two parts have different values for a frame.
    """
    streams: dict[tuple[Any, ...], list[Part]] = {}
    for part in parts:
        streams.setdefault((part.sources, part.fingerprints), []).append(part)
    found: list[Part] = []
    for same in streams.values():
        found += _joined_of_stream(sorted(same, key=lambda part: (part.start, part.stop)))
    return found


def merge(tables: Iterable[Table]) -> Table:
    """
    Merge tables of the same computation, such as those of several ranges of frames.

    Args:
        tables: one or more, in the order of their streams.

    Raises:
        ValueError: there is none, they are of different computations, or two have different values for a frame.
    """
    given = list(tables)
    if not given:
        raise ValueError("merge: expected tables, found none")
    first = given[0]
    for other in given[1:]:
        if other.kind != first.kind or other.options != first.options:
            raise ValueError(
                f"merge: expected tables of one computation, found {_computation(first)} and {_computation(other)}"
            )
    return Table(first.kind, first.options, joined(part for table in given for part in table.parts))


def read_table(source: str | os.PathLike[str]) -> Table:
    """
    Read a table that was written as JSON.

    Args:
        source: the path.

    Raises:
        TransportError: it cannot be read.
        DecodeError: it is no such table, or is damaged.
    """
    shown = repr(os.fspath(source))
    with mapped_errors(f"reading {shown}"), open(source, "rb") as file:
        content = file.read(_MOST_BYTES + 1)
    return table_of_json(content, shown)


def table_of_json(content: bytes, shown: str) -> Table:
    """
    The table of a JSON text.

    Args:
        content: the text.
        shown: the file, for messages.

    Raises:
        DecodeError: it is no such table, or is damaged.
    """
    if len(content) > _MOST_BYTES:
        raise DecodeError(f"{shown}: expected a table of at most {_MOST_BYTES} bytes, found more")
    try:
        found = json.loads(content, parse_constant=_refused)
    except (ValueError, RecursionError) as exc:
        raise DecodeError(f"{shown}: expected a table as JSON, found other bytes") from exc
    kind = found.get("kind") if isinstance(found, dict) and found.get("format") == _FORMAT else None
    if not isinstance(kind, str) or kind not in KINDS:
        raise DecodeError(f"{shown}: expected results of this package as JSON, found other content")
    options, parts = found.get("options"), found.get("parts")
    if not isinstance(options, dict) or not isinstance(parts, list) or len(parts) > _MOST_PARTS:
        raise DecodeError(f"{shown}: its options or parts are damaged")
    checked = [_part(one, KINDS[kind], f"{shown}: part {place}") for place, one in enumerate(parts)]
    for one in checked:
        if one.columns.keys() != checked[0].columns.keys():
            raise DecodeError(f"{shown}: expected parts with the same columns, found different ones")
    return Table(kind, options, checked)


def _refused(constant: str) -> Any:
    """NaN and infinities, which Python's parser would accept."""
    raise ValueError(f"{constant} is not JSON")


def _part(found: Any, kind: Kind, shown: str) -> Part:
    """Check a part of a file."""
    try:
        sources, fingerprints = tuple(found["sources"]), tuple(found["fingerprints"])
        count, start, stop = (found[name] for name in ("frame_count", "start", "stop"))
        columns = found["columns"]
        is_right = (
            len(sources) == len(kind.sources)
            and len(fingerprints) <= len(sources)
            and all(isinstance(text, str) and len(text) <= _MOST_CHARACTERS for text in (*sources, *fingerprints))
            and all(type(number) is int for number in (count, start, stop))
            and 0 <= start <= stop <= count <= _MOST_FRAMES
            and isinstance(columns, dict)
            and columns.keys() <= kind.columns.keys()
        )
        if not is_right:
            raise DecodeError(f"{shown} is damaged")
        return Part(
            sources,
            fingerprints,
            count,
            start,
            stop,
            {name: _values(values, kind.columns[name], stop - start) for name, values in columns.items()},
        )
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as exc:
        raise DecodeError(f"{shown} is damaged") from exc


def _values(values: Any, kind: type[Any], length: int) -> npt.NDArray[Any]:
    allowed: dict[Any, tuple[type[Any], ...]] = {int: (int,), float: (int, float, type(None)), str: (str,)}
    if not isinstance(values, list) or len(values) != length or not all(type(one) in allowed[kind] for one in values):
        raise ValueError("a column is damaged")
    if kind is str:
        return np.array(values, np.object_)
    if kind is float:
        if not all(one is None or math.isfinite(one) for one in values):
            raise ValueError("a column is damaged")
        return np.array([math.nan if one is None else one for one in values], np.float64)
    return np.array(values, np.int64)


def _joined_of_stream(parts: Sequence[Part]) -> list[Part]:
    """Parts of one stream in the order of frames, where those that continue each other are one."""
    runs: list[list[Part]] = []
    end = -1
    for part in parts:
        if part.frame_count != parts[0].frame_count or part.columns.keys() != parts[0].columns.keys():
            raise ValueError(f"{part}: expected the frames and columns of the other parts of the stream, found others")
        if runs and part.start <= end:
            _check_same(runs[-1], part, end)
            if part.stop > end:
                runs[-1].append(part.rows(end, part.stop))
                end = part.stop
        else:
            runs.append([part])
            end = part.stop
    return [
        replace(
            run[0],
            stop=run[-1].stop,
            columns={name: np.concatenate([part.columns[name] for part in run]) for name in run[0].columns},
        )
        for run in runs
    ]


def _check_same(run: Sequence[Part], part: Part, end: int) -> None:
    """Frames that a part has in common with those before must have the same values."""
    for before in run:
        first, last = max(part.start, before.start), min(part.stop, before.stop, end)
        if first >= last:
            continue
        ours, theirs = part.rows(first, last), before.rows(first, last)
        if any(_plain(ours.columns[name]) != _plain(theirs.columns[name]) for name in part.columns):
            raise ValueError(f"{ours}: expected the same values in two parts, found different ones")


def _plain(values: npt.NDArray[Any], missing: object = None) -> list[Any]:
    """Values as Python's; `missing` for NaN."""
    plain = values.tolist()
    return [missing if math.isnan(one) else one for one in plain] if values.dtype.kind == "f" else plain


def _joined_values(values: Sequence[npt.NDArray[Any]], dtype: type[Any]) -> npt.NDArray[Any]:
    return np.concatenate(values) if values else np.empty(0, dtype)


def _computation(table: Table) -> str:
    return f"{table.kind} with {json.dumps(table.options, sort_keys=True)}"
