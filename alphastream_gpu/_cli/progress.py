"""
Progress: a bar on standard error for the stages of encoding and exporting.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Final

from rich.progress import TaskID

from .._exporting.report import ExportProgress
from .._writing.report import EncodeProgress
from .running import progress_bar

__all__ = ["shown_progress"]

_COMPILING: Final = "compiling"
_NAMES: Final = {
    _COMPILING: "compile (the first time only)",
    "encoding": "encode",
    "writing": "write",
    "verifying": "verify",
    "exporting": "export",
    "joining": "join",
}


@contextlib.contextmanager
def shown_progress() -> Iterator[Callable[[EncodeProgress | ExportProgress], None]]:
    """Show a bar for each stage; gives what moves them. Nothing is shown before the first stage begins."""
    with contextlib.ExitStack() as stack:
        bar = progress_bar()
        tasks: dict[str, TaskID] = {}

        def show(progress: EncodeProgress | ExportProgress) -> None:
            if not tasks:  # without tasks, a bar would print an empty line before an error
                stack.enter_context(bar)
            if progress.stage not in tasks:
                if _COMPILING in tasks:
                    bar.update(tasks[_COMPILING], completed=1)
                tasks[progress.stage] = bar.add_task(_NAMES[progress.stage])
            if progress.stage == _COMPILING:  # all kernels at once
                bar.update(tasks[_COMPILING], completed=0, total=1)
            else:
                bar.update(tasks[progress.stage], completed=progress.done, total=progress.total)

        yield show
