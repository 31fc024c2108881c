"""
The import: what every program that uses the package waits for, be it to print its version.
"""

from __future__ import annotations

import subprocess
import sys
from statistics import median
from typing import Any

from conftest import facts, report

TURNS = 9
SCRIPT = """
import time
begin = time.perf_counter()
import numpy
middle = time.perf_counter()
import alphastream_gpu
end = time.perf_counter()
print(middle - begin, end - middle)
"""


def test_import(benchmark: Any) -> None:
    """In processes of its own; the interpreter's own start is not part of it, numpy is."""
    benchmark.pedantic(lambda: None, rounds=1)
    taken = []
    for _ in range(TURNS):
        done = subprocess.run([sys.executable, "-I", "-c", SCRIPT], capture_output=True, text=True, check=True)
        taken.append([float(part) * 1e3 for part in done.stdout.split()])
    of_numpy, own = (median(column) for column in zip(*taken, strict=True))
    report("import alphastream_gpu, with numpy", median(map(sum, taken)), 150, "ms")
    facts["  of this"] = f"numpy {of_numpy:.0f} ms, the package {own:.0f} ms"
