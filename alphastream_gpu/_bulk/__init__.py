"""
Bulk: computations over all frames of many streams, in this process or on a cluster.
"""

from .files import encode, export
from .jobs import iou, statistics, verify
from .spans import spans_of
from .tables import Part, Table, merge, read_table
from .tasks import iou_of, statistics_of, verification_of

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
