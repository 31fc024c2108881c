"""
The gates notice what they are for: a cost that is not in the table, a tree that is slower than its parent.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from support import ROOT

sys.path.append(str(ROOT / "bench"))

import counters
import regression
import results


def test_counters_are_compared_exactly() -> None:
    table = tomllib.loads(counters.TABLE.read_text())
    assert counters.compare(table, table) == []
    changed = {**table, "gl-native": {**table["gl-native"], "draws": table["gl-native"]["draws"] + 1}}
    (line,) = counters.compare(changed, table)
    assert line.startswith("gl-native.draws: expected 302, found 303 (+0.3%)")
    assert counters.compare({"new": {"thing": 1}}, table) == ["new.thing: expected None, found 1"]
    assert counters.compare({"http-open": {}}, table)[0] == "http-open.bytes_fetched: expected 65536, found None"
    assert counters.compare({"calls-python-2.7": {"thing": 1}}, table) == [], "no table for that Python"


def test_a_counter_that_is_broken_on_purpose(monkeypatch: pytest.MonkeyPatch) -> None:
    """A payload decoded twice."""
    from alphastream_gpu import _geometry

    geometries = counters.sample_geometries()
    before = counters._called(lambda: [counters.FrameGeometry.from_payload(one.to_payload()) for one in geometries])
    decode = _geometry.decode_payload
    monkeypatch.setattr(_geometry, "decode_payload", lambda payload: decode(payload) and decode(payload))
    after = counters._called(lambda: [counters.FrameGeometry.from_payload(one.to_payload()) for one in geometries])
    assert after > before + len(geometries)


def test_a_tree_that_is_slower_on_purpose(tmp_path: Path) -> None:
    """Decoding each payload four times over is caught by name, twice measured, and said with how much."""
    shutil.copytree(
        ROOT / "alphastream_gpu", tmp_path / "alphastream_gpu", ignore=shutil.ignore_patterns("__pycache__")
    )
    with open(tmp_path / "alphastream_gpu" / "_geometry.py", "a") as file:
        file.write(
            "\n_decode = decode_payload\n\ndef decode_payload(p):\n    return [_decode(p) for _ in range(4)][0]\n"
        )
    done = subprocess.run(
        [sys.executable, ROOT / "bench" / "regression.py", "--only", "decode", "--against", ROOT, "--tree", tmp_path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    *_, again, verdict, said = done.stdout.splitlines()
    assert again.endswith("once more")
    assert "RED, past 1.25" in verdict
    assert said.startswith("SLOWER than the parent: decode by ")


def test_what_is_said() -> None:
    slower = regression.Verdict("fill", "what it is", "s", 0.002, 0.003, 1.25)
    same = regression.Verdict("outline", "what it is", "s", 0.002, 0.0024, 1.25)
    assert regression.summary([slower, same]) == "SLOWER than the parent: fill by 50%"
    assert regression.summary([same]) == "1 comparisons, none past its bar"
    assert "1.50 x the parent's:     3.000 ms instead of     2.000  RED, past 1.25" in str(slower)


def test_the_picture(tmp_path: Path) -> None:
    """Of a file with a figure that met its bar, one that missed it, and one that counts upwards."""
    spread = {"min": 1e-3, "q1": 1.1e-3, "median": 1.2e-3, "q3": 1.5e-3, "max": 2e-3}
    figure = {"work": "work", "value": 3.0, "unit": "ms", "bar": 4, "at_least": False, "met": True}
    machine = {"processor": "p", "cores": "2", "python": "3", "numpy": "2", "date": "today"}
    result = {
        "machine": machine,
        "seconds_a_frame": {"cpu_native": spread, "fillpoly": spread},
        "figures": [figure, {**figure, "bar": 2, "met": False}, {**figure, "bar": 2, "at_least": True}],
    }
    results.draw(result, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
