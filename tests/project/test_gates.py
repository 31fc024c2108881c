"""
The gates notice what they are for: a cost that is not in the table, a tree that is slower than its parent.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import moderngl
import numpy as np
import pytest
from badserver import Server
from support import ROOT, SAMPLE, sample_geometries

import alphastream_gpu
from alphastream_gpu import Config, MaskRenderer
from alphastream_gpu._geometry import frame as _geometry
from alphastream_gpu._stream import reader as _reader

sys.path.append(str(ROOT / "bench"))

import counters
import regression
import results
from allocations import allocated


def test_counters_are_compared_exactly() -> None:
    table = tomllib.loads(counters.TABLE.read_text())
    assert counters.compare(table, table) == []
    drawn = table["gl-triangles-native"]
    (line,) = counters.compare({**table, "gl-triangles-native": {**drawn, "draws": drawn["draws"] + 1}}, table)
    assert line == f"gl-triangles-native.draws: expected {drawn['draws']}, found {drawn['draws'] + 1} (+0.3%)"
    assert counters.compare({**table, "new": {"thing": 1}}, table) == ["new.thing: expected None, found 1"]
    assert (
        counters.compare({**table, "http-open": {}}, table)[0] == "http-open.bytes_fetched: expected 65536, found None"
    )
    assert counters.compare({**table, "calls-python-2.7": {"thing": 1}}, table) == [], "no table for that Python"
    assert counters.compare({**table, "arrays-numpy-1.26": {"thing": 1}}, table) == []
    assert counters.compare({**table, "gl-calls-opengl-3.3": {"thing": 1}}, table) == []
    without = {section: counters for section, counters in table.items() if section != "gl-compute-batch"}
    assert counters.compare(without, table)[0] == "gl-compute-batch.cpu_fallbacks: expected 0, found None"
    versioned = {section: counters for section, counters in table.items() if "python-" not in section}
    assert counters.compare(versioned, table) == [], "another Python counts"


def test_counters_that_differ_are_red(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    table = tomllib.loads(counters.TABLE.read_text())
    n_counters = sum(map(len, table.values()))
    monkeypatch.setattr(counters, "count", lambda: {**table, "calls-python-2.7": {"thing": 1}})
    assert counters.main([]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"{n_counters} counters, all as in bench/counters.toml\n")
    assert "not compared, since the table has no calls-python-2.7;" in said
    monkeypatch.setattr(counters, "count", lambda: {**table, "http-open": {"requests": 2}})
    assert counters.main([]) == 1
    assert "http-open.requests: expected 1, found 2 (+100.0%)\n" in capsys.readouterr().out


def test_a_table_is_written_and_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(counters, "count", lambda: {"new": {"thing": 1}})
    monkeypatch.setattr(counters, "TABLE", tmp_path / "counters.toml")
    counters.TABLE.write_text('["calls-python-2.7"]\n"thing" = 3\n["gone"]\n"thing" = 4\n')
    assert counters.main(["--write"]) == 0
    table = {"calls-python-2.7": {"thing": 3}, "new": {"thing": 1}}
    assert tomllib.loads(counters.TABLE.read_text()) == table
    monkeypatch.setattr(counters, "count", lambda: {"calls-python-2.6": {"thing": 2}})
    assert counters.main(["--write"]) == 0
    table = {"calls-python-2.6": {"thing": 2}, "calls-python-2.7": {"thing": 3}}
    assert tomllib.loads(counters.TABLE.read_text()) == table, "the other version's is kept"
    monkeypatch.setattr(counters, "count", lambda: {"calls-python-2.6": {"another": 2}})
    assert counters.main(["--write"]) == 0
    table = {"calls-python-2.6": {"another": 2}}
    assert tomllib.loads(counters.TABLE.read_text()) == table, "unless it counted what is counted no more"


def _read_sample() -> None:
    with alphastream_gpu.open(SAMPLE, config=Config(prefetch_frames=0)) as stream:
        for index in range(10):
            asyncio.run(stream.frame(index))


@pytest.mark.parametrize(
    ("owner", "name", "expected"),
    [
        (_geometry, "decode_payload", {"inflated": 10, "decoded": 20}),
        (_reader, "inflate_block", {"inflated": 20, "decoded": 10}),
        (_reader.StreamReader, "decode", {"inflated": 20, "decoded": 20}),
    ],
)
def test_a_decode_too_many_is_counted(
    monkeypatch: pytest.MonkeyPatch, owner: object, name: str, expected: dict[str, int]
) -> None:
    """Wherever somebody does it twice."""
    with counters._decodes() as before:
        _read_sample()
    assert before == {"inflated": 10, "decoded": 10}
    with counters._decodes() as after, monkeypatch.context() as patch:
        once = getattr(owner, name)
        patch.setattr(owner, name, lambda *args, **options: (once(*args, **options), once(*args, **options))[1])
        _read_sample()
    assert after == expected


def test_calls_of_python_are_counted() -> None:
    assert counters._called(lambda: [abs(-1), abs(-2)]) == 1 + 2 + 1, "the lambda, abs twice, and setprofile itself"


def test_requests_too_many_are_counted() -> None:
    with Server(SAMPLE.read_bytes()) as server:
        once = counters._requested(server, lambda: counters._opened(server.url()))
        twice = counters._requested(server, lambda: [counters._opened(server.url()) for _ in range(2)])
    assert twice == {name: 2 * value for name, value in once.items()}
    assert once == {"requests": 1, "bytes_fetched": SAMPLE.stat().st_size, "inflated": 0, "decoded": 0}


@pytest.mark.parametrize(("method", "what"), [("triangles", "draws"), ("compute", "dispatches")])
def test_draws_too_many_are_counted(ctx: moderngl.Context, method: Any, what: str) -> None:
    geometry = sample_geometries()[60]
    with MaskRenderer(ctx, method=method) as renderer:
        renderer.render(geometry)
        once = counters._rendered(renderer, lambda: renderer.render(geometry))
        twice = counters._rendered(renderer, lambda: [renderer.render(geometry) for _ in range(2)])
    assert once["frames"] == 1
    assert once[what] > 0
    assert once["uploaded_bytes"] > 0
    assert twice == {name: 2 * value for name, value in once.items()}


def test_calls_of_gl_are_counted(ctx: moderngl.Context) -> None:
    geometry = sample_geometries()[60]
    with MaskRenderer(ctx) as renderer:
        functions = dict(vars(renderer._gl))
        texture = renderer.render(geometry)
        once = counters._gl_called(renderer, lambda: renderer.render(geometry))
        twice = counters._gl_called(renderer, lambda: [renderer.render(geometry) for _ in range(2)])
        more = counters._gl_called(renderer, lambda: (renderer.render(geometry), renderer._gl.glIsTexture(texture.glo)))
        assert vars(renderer._gl) == functions, "nothing is counted any more"
    assert 0 < once < 100
    assert (twice, more) == (2 * once, once + 1)


@pytest.mark.slow
def test_memory_is_counted() -> None:
    """Also what is freed before the most is reached."""
    assert counters._peak(lambda: np.empty(1 << 20, np.uint8)) == (1 << 20) + counters._PEAK_STEP
    assert allocated(lambda: None) == (0, 0)
    assert allocated(lambda: np.zeros(1000)) == (1, 8000)
    assert allocated(lambda: [np.empty(3, np.uint8) for _ in range(50)]) == (50, 150)
    kept: list[np.ndarray] = []
    assert allocated(lambda: kept.append(np.zeros(7))) == (1, 56)
    assert allocated(lambda: kept[0].resize(9, refcheck=False)) == (1, 72)
    assert np.zeros(5).sum() == kept.pop().sum() == 0, "the handler before is back, and the other one still there"


def test_instructions_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"before": 1_000_000, "same": 1_020_000, "more": 1_020_001}
    monkeypatch.setattr(regression, "_instructions", lambda tree: found[tree.name])
    assert not regression._counted(Path("before"), Path("same")).is_red
    assert regression._counted(Path("before"), Path("more")).is_red


class _Scripted:
    """One side, that takes as long as it is told."""

    def __init__(self, *taken: float | str) -> None:
        self.tree = Path("tree")
        self._taken = [*taken]

    def seconds(self, name: str, repeats: int) -> float | str:
        return self._taken.pop(0) if len(self._taken) > 1 else self._taken[0]


def test_what_one_side_cannot_do() -> None:
    """What is new is not compared; what is broken is red."""
    able, unable = _Scripted(0.1), _Scripted("missing: AttributeError: x")
    said: list[str] = []
    assert regression.compare("work", "what", unable, able, said.append) is None
    assert said == ["work               not compared: tree: missing: AttributeError: x"]
    for before in (able, unable):
        with pytest.raises(SystemExit, match="^work: this tree cannot do it: missing: AttributeError: x$"):
            regression.compare("work", "what", before, unable, said.append)


def test_one_retry() -> None:
    """A side that was disturbed at first is measured once more."""
    disturbed = _Scripted(*[0.2] * (2 + regression._TURNS), 0.1)
    said: list[str] = []
    verdict = regression.compare("work", "what", _Scripted(0.1), disturbed, said.append)
    assert verdict is not None
    assert (verdict.ratio, verdict.is_red) == (1, False)
    assert len(said) == 1
    assert said[0].endswith("once more")


@pytest.mark.slow
def test_a_tree_that_is_slower_on_purpose(tmp_path: Path) -> None:
    """Decoding each payload four times over is caught by name, twice measured, and said with how much."""
    shutil.copytree(
        ROOT / "alphastream_gpu", tmp_path / "alphastream_gpu", ignore=shutil.ignore_patterns("__pycache__")
    )
    with open(tmp_path / "alphastream_gpu" / "_geometry/frame.py", "a") as file:
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
    """Of a file with a figure that met its bar, two that missed it, one that counts upwards, and one not measured."""
    spread = {"min": 1e-3, "q1": 1.1e-3, "median": 1.2e-3, "q3": 1.5e-3, "max": 2e-3}
    figure = {"work": "work", "value": 3.0, "unit": "ms", "bar": 4, "at_least": False, "met": True}
    machine = {"processor": "p", "cores": "2", "python": "3", "numpy": "2", "date": "today"}
    result = {
        "machine": machine,
        "seconds_a_frame": {"cpu_native": spread, "fillpoly": spread},
        "figures": [
            figure,
            {**figure, "bar": 2, "met": False},
            {**figure, "bar": 2, "at_least": True},
            {**figure, "bar": 0.02, "met": False},
            {**figure, "value": None, "met": None},
        ],
    }
    for driver in ({}, {"driver": {"renderer": "a GPU"}}):
        results.draw({**result, **driver}, tmp_path / "picture.png")
        assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
