"""
Bulk jobs over many streams, in this process, in several, or on a cluster of dask.

:func:`statistics`, :func:`iou` and :func:`verify` compute figures of each frame. :func:`encode` and :func:`export` make
files. :func:`statistics_of`, :func:`iou_of` and :func:`verification_of` are their tasks, for other engines.
"""

from __future__ import annotations

from ._bulk import (
    Part,
    Table,
    encode,
    export,
    iou,
    iou_of,
    merge,
    read_table,
    spans_of,
    statistics,
    statistics_of,
    verification_of,
    verify,
)

__all__ = [
    "Part",
    "Table",
    "encode",
    "export",
    "iou",
    "iou_of",
    "merge",
    "read_table",
    "spans_of",
    "statistics",
    "statistics_of",
    "verification_of",
    "verify",
]

for _name in __all__:
    if hasattr(globals()[_name], "__module__"):
        globals()[_name].__module__ = __name__  # the public path, in reprs, tracebacks and docs
