"""
The fuzz targets' corpora, replayed: whatever a fuzzer once found stays found. Needs no fuzzer.
"""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
from fuzz import CORPUS, TARGETS, stop_measuring

FOLDER = Path(__file__).parents[1] / "fuzz" / CORPUS


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_every_input_of_the_corpus(target: str) -> None:
    """With memory measured for each input, which a fuzzer does for some."""
    check = importlib.import_module(f"fuzz.{target}").check
    files = sorted((FOLDER / target).iterdir())
    assert files
    try:
        for path in files:
            try:
                check(path.read_bytes(), always_measure=True)
            except BaseException as exc:
                exc.add_note(f"with {path}")
                raise
    finally:
        stop_measuring(patience=5)
