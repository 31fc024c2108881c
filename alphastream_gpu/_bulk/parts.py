"""
Parts: the results of finished spans on the disk, so that a job that was killed goes on from there.

A part is a file of its own, which appears complete or not at all. Its name has the fingerprint of the stream, the span
and a hash of the computation: another stream, span or computation never finds it. A file that is damaged is ignored,
and its span is computed again.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from .._exceptions import AlphaStreamError, mapped_errors
from .._format.names import scheme_of
from .._writing.whole_file import whole_file
from .tables import Part, Table, read_table

__all__ = ["Parts"]

_FORMAT: Final = 1
"""Changes when the same computation gives other values."""


class Parts:
    """
    A folder of parts. Several processes may use it at the same time.

    Args:
        folder: is created if it does not exist.
        kind: what is computed.
        options: how; values as JSON has them.

    Raises:
        ValueError: `folder` is a URL.
        TransportError: the folder cannot be created.
    """

    def __init__(self, folder: str | os.PathLike[str], kind: str, options: Mapping[str, Any]) -> None:
        text = os.fspath(folder)
        if scheme_of(text) is not None:
            raise ValueError(f"resume: expected a folder, found a {scheme_of(text)}: URL")
        self._folder, self._kind, self._options = Path(text), kind, dict(options)
        with mapped_errors(f"creating the folder {text!r}"):
            self._folder.mkdir(parents=True, exist_ok=True)

    def path(self, part: Part) -> Path:
        """Where a part is kept."""
        facts = [_FORMAT, self._kind, self._options, part.fingerprints, part.frame_count]
        computation = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
        name = f"{part.fingerprints[0][:16]}-{part.start}-{part.stop}-{self._kind}-{computation[:16]}.json"
        return self._folder / name

    def load(self, part: Part) -> Part | None:
        """The part with its values, if they are kept."""
        path = self.path(part)
        if not path.exists():
            return None
        try:
            table = read_table(path)
        except AlphaStreamError:
            return None
        if table.kind != self._kind or table.options != json.loads(json.dumps(self._options)) or len(table.parts) != 1:
            return None
        (found,) = table.parts
        is_same = (found.fingerprints, found.frame_count, found.start, found.stop) == (
            part.fingerprints,
            part.frame_count,
            part.start,
            part.stop,
        )
        return replace(part, columns=found.columns) if is_same else None

    def save(self, part: Part) -> None:
        """
        Keep a part with its values.

        Raises:
            TransportError: it cannot be written.
        """
        path = self.path(part)
        with mapped_errors(f"writing {str(path)!r}"), whole_file(path) as file:
            file.write((Table(self._kind, self._options, [part]).to_json() + "\n").encode())
