"""
Bulk jobs in this process: figures compared with those of whole masks, spans, parts, tables, and what fails.
"""

from __future__ import annotations

import csv
import io
import json
import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import badserver
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from inputfiles import SIZE, moving_masks
from support import asvp_of, block_of, payload_of, wait_until
from test_mask_array import CONFIG, DATA, N, all_masks, small_stream

import alphastream_gpu
from alphastream_gpu import (
    AsvrKey,
    AsvrWriter,
    BulkError,
    DecodeError,
    ExportReport,
    InputOptions,
    KeyFromEnvironment,
    MemorySource,
    TransportError,
    bulk,
    open_array,
)
from alphastream_gpu._arrays.reopening import _kept
from alphastream_gpu._bulk import files, tables
from alphastream_gpu._bulk.opening import shown_source
from alphastream_gpu._bulk.parts import Parts
from alphastream_gpu._bulk.spans import checked_frames, gaps_between
from alphastream_gpu._bulk.tasks import FIELDS, moments_of
from alphastream_gpu._geometry.bits import words_of

OTHER = small_stream(seed=7)
DAMAGED = asvp_of(
    [block_of(payload_of([((1, 2), [(5, 0), (0, 5)])])), b"\x05\x00\x00\x00rubbish", block_of(payload_of([]))]
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "person.asvp"
    path.write_bytes(DATA)
    return path


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The spans that tasks compute."""
    spans = []
    real = bulk.statistics_of

    def noted(array: Any, start: int, stop: int, **options: Any) -> Any:
        spans.append((start, stop))
        return real(array, start, stop, **options)

    monkeypatch.setattr("alphastream_gpu._bulk.jobs.statistics_of", noted)
    return spans


def rows_of_masks(data: bytes, size: tuple[int, int] | None = None) -> list[dict[str, Any]]:
    """The figures of whole masks, by plain numpy."""
    rows = []
    for mask in all_masks(data, size):
        y, x = np.nonzero(mask)
        box = (x.min(), y.min(), x.max(), y.max()) if x.size else (0, 0, -1, -1)
        row = dict(zip(("left", "top", "right", "bottom"), map(int, box), strict=True)) | {"area": int(x.size)}
        rows.append(row | ({"x": x.sum() / x.size, "y": y.sum() / y.size} if x.size else {}))
    return rows


# What is computed


@pytest.mark.parametrize("size", [None, (100, 30)])
def test_statistics_are_those_of_whole_masks(path: Path, size: tuple[int, int] | None) -> None:
    table = bulk.statistics(path, size=size, config=CONFIG)
    assert len(table) == N
    assert table["frame"].tolist() == list(range(N))
    assert set(table["source"]) == {str(path)}
    for index, row in enumerate(rows_of_masks(DATA, size)):
        assert {name: table[name][index].item() for name in row} == row
    with alphastream_gpu.open(path, config=CONFIG) as stream:
        frames = list(stream.read_frames())
    assert table["channels"].tolist() == [one.channel_count for one in frames]
    assert table["points"].tolist() == [len(one.points) for one in frames]
    assert table["bytes"].sum() == stream.metadata.block_bytes
    assert table["bytes"].tolist() == [len(block_of(one.to_payload())) for one in frames]


def test_an_empty_mask_has_no_box_and_no_centroid(tmp_path: Path) -> None:
    empty = asvp_of([block_of(alphastream_gpu.FrameGeometry([]).to_payload())])
    table = bulk.statistics(empty, config=CONFIG)
    assert [table[name][0] for name in ("area", "left", "top", "right", "bottom")] == [0, 0, 0, -1, -1]
    assert np.isnan([table["x"][0], table["y"][0]]).all()
    assert json.loads(table.to_json())["parts"][0]["columns"]["x"] == [None]
    assert table.to_csv().splitlines()[1] == "content in memory,0,0,0,0,-1,-1,,,0,0,16"
    table.write(tmp_path / "a.json")
    assert bulk.read_table(tmp_path / "a.json") == table
    assert len(bulk.statistics(asvp_of([]))) == 0


@given(st.integers(0, 2**32 - 1), st.integers(1, 200), st.integers(1, 9))
def test_moments_of_random_masks(seed: int, width: int, height: int) -> None:
    mask = np.random.default_rng(seed).random((height, width)) < 0.1
    found = moments_of(words_of(np.packbits(mask, axis=1, bitorder="little")))
    y, x = np.nonzero(mask)
    if not x.size:
        assert found["area"] == 0
        return
    assert (found["area"], found["x"], found["y"]) == (x.size, x.sum() / x.size, y.sum() / y.size)
    assert [found[name] for name in ("left", "top", "right", "bottom")] == [x.min(), y.min(), x.max(), y.max()]


def test_a_job_leaves_nothing_open(path: Path) -> None:
    before = {thread.ident for thread in threading.enumerate()}
    bulk.statistics([path, MemorySource(DATA)], config=CONFIG)
    with pytest.raises(BulkError, match="as many frames"):
        bulk.iou([(path, MemorySource(asvp_of([block_of(payload_of([]))])))], config=CONFIG)
    assert not _kept
    wait_until(lambda: {thread.ident for thread in threading.enumerate()} <= before)


def test_only_the_fields_that_are_asked_for(path: Path) -> None:
    everything = bulk.statistics(path, config=CONFIG)
    table = bulk.statistics(path, fields=("bytes", "area"), config=CONFIG)
    assert list(table.columns) == ["source", "frame", "area", "bytes"]
    assert (table["area"] == everything["area"]).all()
    for field in FIELDS:
        one = bulk.statistics(path, fields=field, config=CONFIG).columns
        assert one.keys() - {"source", "frame"}
        assert all(np.array_equal(one[name], everything[name], equal_nan=name in ("x", "y")) for name in one)
    with pytest.raises(ValueError, match="fields: expected some of area, box, .* found 'areas'"):
        bulk.statistics(path, fields=["areas"])


def test_iou_is_that_of_whole_masks() -> None:
    table = bulk.iou([(DATA, OTHER), (DATA, DATA)], config=CONFIG)
    one, two = all_masks(DATA) != 0, all_masks(OTHER) != 0
    axes = (1, 2)
    assert table["differing_pixels"][:N].tolist() == (one ^ two).sum(axes).tolist()
    assert (table["area"][:N].tolist(), table["other_area"][:N].tolist()) == (
        one.sum(axes).tolist(),
        two.sum(axes).tolist(),
    )
    expected = 1 - (one ^ two).sum(axes) / (one | two).sum(axes)
    assert table["iou"].tolist() == [*expected.tolist(), *[1.0] * N]
    assert set(table.columns) == {"source", "other", "frame", "iou", "differing_pixels", "area", "other_area"}


def test_iou_of_streams_of_different_lengths() -> None:
    longer = small_stream(N + 1)
    with pytest.raises(BulkError, match=f"expected as many frames, found {N} and {N + 1}; name the frames to compare"):
        bulk.iou([(DATA, longer)], config=CONFIG)
    table = bulk.iou([(DATA, longer)], frames=(0, N), config=CONFIG)
    assert table["iou"].tolist() == [1.0] * N
    with pytest.raises(ValueError, match="pairs: expected pairs of two sources, found str"):
        bulk.iou(["ab"])


def test_verification_of_the_twins() -> None:
    pytest.importorskip("numba")
    table = bulk.verify(DATA, config=CONFIG)
    assert table["differing_pixels"].tolist() == [0] * N
    assert table.options == {"native_size": [24, 16], "size": [24, 16], "method": "compiled", "against": "numpy"}


def test_verification_counts_the_pixels_that_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    from alphastream_gpu._bulk import tasks

    real = tasks.packed_by

    def broken(maker: str, native_size: tuple[int, int]) -> Any:
        made = real("numpy", native_size)
        return made if maker == "numpy" else lambda geometry: made(geometry) ^ np.uint8(5)

    monkeypatch.setattr(tasks, "packed_by", broken)
    assert bulk.verify(DATA, config=CONFIG)["differing_pixels"].tolist() == [2 * 3 * 16] * N
    for wrong in ({"method": "fast"}, {"against": "compute"}):
        with pytest.raises(ValueError, match="expected one of"):
            bulk.verify(DATA, **wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("method", ["compute", "triangles"])
def test_verification_of_the_gpu(method: str, ctx: Any) -> None:
    from conftest import need_method

    need_method(method, ctx)
    try:
        assert bulk.verify(DATA, method=method, config=CONFIG)["differing_pixels"].tolist() == [0] * N
    finally:
        ctx.__enter__()


# Spans


def test_spans_begin_at_multiples() -> None:
    assert list(bulk.spans_of(0, 600)) == [(0, 256), (256, 512), (512, 600)]
    assert list(bulk.spans_of(5, 21, 8)) == [(5, 8), (8, 16), (16, 21)]
    assert list(bulk.spans_of(5, 5)) == []
    for wrong in (0, (1 << 20) + 1):
        with pytest.raises(ValueError, match=r"span_frames: expected 1\.\.1048576 frames"):
            bulk.statistics(DATA, span_frames=wrong)


@pytest.mark.parametrize(
    ("frames", "expected"),
    [(None, (0, None)), ("3:7", (3, 7)), (":7", (0, 7)), ("3:", (3, None)), ((2, 5), (2, 5)), ((None, 5), (0, 5))],
)
def test_ranges_of_frames(frames: Any, expected: Any) -> None:
    assert checked_frames(frames) == expected


@pytest.mark.parametrize("frames", ["3", "7:3", "-1:4", "a:b", (3, 1), (-1, 4), 5, "1:2:3"])
def test_ranges_that_are_none(frames: Any) -> None:
    with pytest.raises(ValueError, match="frames: expected"):
        bulk.statistics(DATA, frames=frames)


def test_a_range_may_go_beyond_the_end(path: Path) -> None:
    assert bulk.statistics(path, frames=(N - 2, 1000), config=CONFIG)["frame"].tolist() == [N - 2, N - 1]
    assert len(bulk.statistics(path, frames="1000:", config=CONFIG)) == 0


def test_gaps() -> None:
    assert gaps_between([(2, 4), (4, 5), (7, 9)], 0, 12) == [(0, 2), (5, 7), (9, 12)]
    assert gaps_between([], 0, 3) == [(0, 3)]
    assert gaps_between([(0, 3)], 0, 3) == []


def test_the_spans_do_not_show_in_the_result(path: Path) -> None:
    whole = bulk.statistics([path, OTHER], config=CONFIG)
    assert bulk.statistics([path, OTHER], config=CONFIG, span_frames=2).to_json() == whole.to_json()
    assert len(whole.parts) == 2


# Parts, and merging


def test_a_job_goes_on_from_its_parts(path: Path, tmp_path: Path, computed: list[Any]) -> None:
    options: Any = {"config": CONFIG, "span_frames": 4, "resume": tmp_path / "parts"}
    first = bulk.statistics(path, frames=(0, 8), **options)
    assert computed == [(0, 4), (4, 8)]
    told: list[tuple[int, int]] = []
    whole = bulk.statistics(path, progress=lambda done, total: told.append((done, total)), **options)
    assert computed == [(0, 4), (4, 8), (8, 9)]
    assert told == [(0, N), (4, N), (8, N), (9, N)]
    assert whole.to_json() == bulk.statistics(path, config=CONFIG).to_json()
    assert len(first) == 8
    renamed = path.with_name("renamed.asvp")
    path.rename(renamed)
    n_before = len(computed)
    assert set(bulk.statistics(renamed, **options)["source"]) == {str(renamed)}
    assert len(computed) == n_before


def test_other_computations_and_files_have_other_parts(path: Path, tmp_path: Path, computed: list[Any]) -> None:
    options: Any = {"config": CONFIG, "resume": tmp_path / "parts"}
    bulk.statistics(path, **options)
    bulk.statistics(path, size=(10, 10), **options)
    bulk.statistics(path, fields="area", **options)
    path.write_bytes(OTHER)
    bulk.statistics(path, **options)
    assert computed == [(0, N)] * 4
    assert len(list((tmp_path / "parts").iterdir())) == 4


@pytest.mark.parametrize("damage", [b"", b"{}", b"\xff", b'{"format": 1, "kind": []}'])
def test_a_damaged_part_is_computed_again(path: Path, tmp_path: Path, computed: list[Any], damage: bytes) -> None:
    options: Any = {"config": CONFIG, "resume": tmp_path / "parts"}
    whole = bulk.statistics(path, **options)
    (part,) = (tmp_path / "parts").iterdir()
    content = part.read_bytes()
    part.write_bytes(damage or content[:-20])
    assert bulk.statistics(path, **options) == whole
    assert part.read_bytes() == content
    part.write_bytes(content.replace(b'"kind": "statistics"', b'"kind": "verify"    '))
    assert bulk.statistics(path, **options) == whole
    assert computed == [(0, N)] * 3


def test_ranges_are_merged_to_the_bytes_of_one_run(path: Path, tmp_path: Path) -> None:
    whole = bulk.statistics(path, config=CONFIG)
    for place, frames in enumerate(["6:", "0:4", "3:7"]):  # two overlap
        bulk.statistics(path, config=CONFIG, frames=frames).write(tmp_path / f"{place}.json")
    parts = [bulk.read_table(tmp_path / f"{place}.json") for place in range(3)]
    assert bulk.merge(parts).to_json() == whole.to_json()
    assert bulk.merge(parts).missing == ()
    assert bulk.merge(parts[:2]).missing == (f"frames 4..5 of {path}",)
    assert [part.start for part in bulk.merge(parts[:2]).parts] == [0, 6]
    with pytest.raises(ValueError, match="merge: expected tables of one computation, found statistics with .* and"):
        bulk.merge([whole, bulk.statistics(path)])
    with pytest.raises(ValueError, match="merge: expected tables, found none"):
        bulk.merge([])
    changed = json.loads(parts[2].to_json())
    changed["parts"][0]["columns"]["area"][0] += 1
    other = tables.table_of_json(json.dumps(changed).encode(), "a.json")
    with pytest.raises(ValueError, match=r"frame 3 of .*: expected the same values in two parts"):
        bulk.merge([parts[1], other])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("kind", "other"),
        ("kind", ["statistics"]),
        ("format", 2),
        ("options", None),
        ("parts", {}),
        ("parts", [None]),
        ("sources", []),
        ("sources", [5]),
        ("sources", ["a" * 20_000]),
        ("fingerprints", "abc"),
        ("frame_count", 2),
        ("start", -1),
        ("stop", True),
        ("stop", 10**30),
        ("columns", {"area": [1, 2]}),
        ("columns", {"rows": [1] * 9}),
        ("columns", {"area": [1.5] * 9}),
        ("columns", {"area": [10**30] * 9}),
        ("columns", {"x": [1e999] * 9}),
        ("columns", {"x": ["1"] * 9}),
    ],
)
def test_tables_that_are_none_are_refused(tmp_path: Path, name: str, value: Any) -> None:
    content = json.loads(bulk.statistics(DATA, config=CONFIG).to_json())
    (content if name in content else content["parts"][0])[name] = value
    (tmp_path / "a.json").write_text(json.dumps(content))
    with pytest.raises(DecodeError, match=r"a\.json"):
        bulk.read_table(tmp_path / "a.json")


def test_texts_that_are_no_tables_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for content in (b"", b"[" * 100_000, b"NaN", b"\x00\xff", b"[]"):
        with pytest.raises(DecodeError, match=r"a\.json: expected"):
            tables.table_of_json(content, "a.json")
    with pytest.raises(TransportError, match="missing.json"):
        bulk.read_table(tmp_path / "missing.json")
    monkeypatch.setattr(tables, "_MOST_BYTES", 10)
    with pytest.raises(DecodeError, match="at most 10 bytes"):
        tables.table_of_json(b"[" * 11, "a.json")


# Files of results


def test_csv_and_parquet_have_the_columns(path: Path, tmp_path: Path) -> None:
    table = bulk.statistics([path, OTHER], config=CONFIG)
    table.write(tmp_path / "a.csv")
    table.write(tmp_path / "a.parquet")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "a.csv").read_text())))
    assert [int(row["area"]) for row in rows] == table["area"].tolist()
    centroids = [None if np.isnan(x) else x for x in table["x"].tolist()]
    assert None in centroids
    assert [float(row["x"]) if row["x"] else None for row in rows] == centroids
    parquet = pytest.importorskip("pyarrow.parquet")
    found = parquet.read_table(tmp_path / "a.parquet").to_pydict()
    assert found["x"] == centroids
    assert found.keys() == table.columns.keys()
    for name in found.keys() - {"x", "y"}:
        assert found[name] == table[name].tolist()
    for wrong in ("a.txt", "https://host/a.csv?secret"):
        with pytest.raises(ValueError, match="target: expected") as caught:
            table.write(wrong)
        assert "secret" not in str(caught.value)
    with pytest.raises(TransportError, match="writing"):
        table.write(tmp_path / "missing" / "a.csv")
    assert repr(table) == f"<Table statistics, {2 * N} rows>"


def test_without_pyarrow_and_distributed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "distributed", None)
    table = bulk.statistics(DATA, config=CONFIG)
    with pytest.raises(ImportError, match=r"Parquet needs pyarrow .*pip install"):
        table.write(tmp_path / "a.parquet")
    with pytest.raises(ImportError, match=r"a cluster needs distributed .*pip install"):
        bulk.statistics(DATA, config=CONFIG, scheduler="local")


# What fails


def test_a_damaged_frame_does_not_end_the_others(path: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.asvp"
    damaged.write_bytes(DAMAGED)
    told: list[Any] = []
    with pytest.raises(BulkError) as caught:
        bulk.statistics(
            [damaged, tmp_path / "missing.asvp", path],
            config=CONFIG,
            span_frames=1,
            progress=lambda done, total: told.append((done, total)),
        )
    error = caught.value
    assert len(error.failures) == 2
    assert str(tmp_path / "missing.asvp") in error.failures[0]
    assert error.failures[1].startswith(f"frame 1 of {damaged}: ")
    assert str(error).startswith("2 not computed, the others are done: ")
    assert [(part.start, part.stop) for part in error.table.parts] == [(0, 1), (2, 3), (0, N)]
    assert told[-1] == (3 + N, 3 + N)
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), type(copy)) == (str(error), BulkError)


def test_bytes_need_no_frame() -> None:
    assert bulk.statistics(DAMAGED, fields="bytes", config=CONFIG)["bytes"].tolist()[1] == 11


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("a/b.asvp", "a/b.asvp"),
        (Path("a/b.asvp"), str(Path("a/b.asvp"))),
        ("https://me:pw@host/b.asvp?token=1#x", "https://host/b.asvp"),
        ("https://[/b.asvp?token=1", "a malformed URL"),
        (["https://host/b.asvp?token=1", "c"], "https://host/b.asvp"),
        (MemorySource(DATA, name="mine"), "mine"),
        (b"abc", "content in memory"),
    ],
)
def test_names_of_sources_show_no_secrets(source: Any, name: str) -> None:
    assert shown_source(source) == name


def test_sources_of_every_kind(path: Path, passphrase: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    encrypted = path.with_name("person.asvr")
    with AsvrWriter(encrypted, key=AsvrKey(passphrase, scene_id=7)) as writer, alphastream_gpu.open(path) as stream:
        for geometry in stream.read_frames():
            writer.add_frame(geometry)
    monkeypatch.setenv("ALPHASTREAM_PASSPHRASE", passphrase.hex())
    source = MemorySource(DATA, name="mine")
    expected = bulk.statistics(DATA, config=CONFIG)["area"].tolist()
    for key in (AsvrKey(passphrase, scene_id=7), KeyFromEnvironment(scene_id=7)):
        table = bulk.statistics([encrypted, source, path], config=CONFIG, key=key)
        assert table["area"].tolist() == expected * 3
        assert passphrase.hex() not in table.to_json()
    for wrong in (5, None):
        with pytest.raises(TypeError, match="sources: expected a source or a list"):
            bulk.statistics(wrong)
    with open_array(path, config=CONFIG) as array, pytest.raises(TypeError, match="what the array was opened from"):
        bulk.statistics(array)


@pytest.mark.parametrize("scheduler", ["local", "tcp://127.0.0.1:1"])
def test_what_cannot_be_sent_is_refused_before_a_cluster_is_asked(path: Path, scheduler: str) -> None:
    key = AsvrKey(os.urandom(32), scene_id=1)
    with pytest.raises(TypeError, match="the stream cannot be sent to workers: .*KeyFromEnvironment"):
        bulk.statistics(path, key=key, scheduler=scheduler)
    with pytest.raises(TypeError, match="cannot be sent to workers"):
        bulk.statistics(MemorySource(DATA), scheduler=scheduler)
    with pytest.raises(ValueError, match=r"found 2,\d+,\d+ bytes in memory.*compute in this process"):
        bulk.statistics(asvp_of([os.urandom(1 << 21)]), scheduler=scheduler)


def test_much_work_is_for_several_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    from alphastream_gpu._bulk import running

    asked: list[Any] = []
    monkeypatch.setattr("alphastream_gpu._bulk.dasks.cluster_runner", asked.append)
    for n_frames, is_sendable, n_processors, expected in (
        (running.MUCH_FRAMES, True, 2, ["local"]),
        (running.MUCH_FRAMES - 1, True, 2, []),
        (running.MUCH_FRAMES, False, 2, []),
        (running.MUCH_FRAMES, True, 1, []),
    ):
        asked.clear()
        monkeypatch.setattr(running, "usable_processors", lambda n=n_processors: n)
        running.runner_for(None, n_frames, is_sendable=is_sendable)
        assert asked == expected


def test_tasks_can_be_pickled_and_are_pure(path: Path) -> None:
    with open_array(path, config=CONFIG) as array:
        statistics_of, verification_of, iou_of, copy = pickle.loads(
            pickle.dumps((bulk.statistics_of, bulk.verification_of, bulk.iou_of, array))
        )
        assert statistics_of(copy, 2, 5)["area"].tolist() == bulk.statistics_of(array, 2, 5)["area"].tolist()
        assert verification_of(copy, 2, 5, method="numpy")["differing_pixels"].tolist() == [0, 0, 0]
        assert iou_of(array, copy, 2, 5)["iou"].tolist() == [1, 1, 1]
        assert iou_of(array, copy, 3, 3)["iou"].shape == (0,)
        copy.close()


def test_the_module_is_loaded_late() -> None:
    script = (
        "import alphastream_gpu, sys; print('alphastream_gpu.bulk' in sys.modules); alphastream_gpu.bulk.statistics"
    )
    script += "; print('dask' in sys.modules, 'distributed' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False", "False"]


# Encode and export


@pytest.fixture
def arrays(tmp_path: Path) -> list[Path]:
    paths = []
    for name, first in (("one", 0), ("two", 5)):
        np.save(tmp_path / f"{name}.npy", moving_masks(20)[first : first + 8])
        paths.append(tmp_path / f"{name}.npy")
    return paths


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are encoded."""
    from alphastream_gpu._writing import encode as module

    names = []
    real = module.encode

    def noted(source: str, target: str, **options: Any) -> Any:
        names.append(Path(target).name)
        return real(source, target, **options)

    monkeypatch.setattr(module, "encode", noted)
    return names


def test_encoding_several_files(arrays: list[Path], tmp_path: Path, encoded: list[str]) -> None:
    out, resume = tmp_path / "out", tmp_path / "parts"
    told: list[Any] = []
    table = bulk.encode(arrays, out, resume=resume, effort=1, progress=lambda *done: told.append(done))
    assert encoded == ["one.asvp", "two.asvp"]
    assert told == [(0, 2), (1, 2), (2, 2)]
    assert table["target"].tolist() == [str(out / "one.asvp"), str(out / "two.asvp")]
    assert table["bytes"].tolist() == [(out / name).stat().st_size for name in encoded]
    assert (table["frames"].tolist(), table["differing_pixels"].tolist()) == ([8, 8], [0, 0])
    assert list(table.columns) == ["source", "target", "frames", "bytes", "differing_pixels", "min_iou"]
    config = alphastream_gpu.Config(native_size=SIZE)
    areas = bulk.statistics([out / "one.asvp"], config=config)["area"].tolist()
    assert areas == moving_masks(20)[:8].sum(axis=(1, 2)).tolist()
    assert bulk.encode(arrays, out, resume=resume, effort=1) == table
    assert len(encoded) == 2
    (out / "one.asvp").unlink()
    np.save(arrays[1], moving_masks(20)[:3])
    bulk.encode(arrays, out, resume=resume, effort=1)
    assert encoded[2:] == ["one.asvp", "two.asvp"]


def test_files_that_cannot_be_encoded(arrays: list[Path], tmp_path: Path) -> None:
    arrays[0].write_bytes(b"rubbish")
    with pytest.raises(BulkError, match=r"1 not computed, the others are done: .*one\.npy: ") as caught:
        bulk.encode(arrays, tmp_path / "out", effort=1)
    assert caught.value.table["target"].tolist() == [str(tmp_path / "out" / "two.asvp")]
    with pytest.raises(ValueError, match=r"sources: expected different names, found 'one\.asvp' twice"):
        bulk.encode([arrays[0], tmp_path / "other" / "one.npy"], tmp_path / "out")
    with pytest.raises(TypeError, match="sources: expected paths, found ndarray"):
        bulk.encode([np.zeros((2, 2))], tmp_path / "out")
    with pytest.raises(ValueError, match="folder: expected a path, found a https: URL"):
        bulk.encode(arrays, "https://host/?secret")
    with pytest.raises(TypeError, match="key: cannot be sent to workers"):
        bulk.encode(arrays, tmp_path, key=AsvrKey(os.urandom(32), scene_id=1), scheduler="local")


def test_folders_of_pictures_are_known_by_their_files(tmp_path: Path) -> None:
    (tmp_path / "0.png").write_bytes(b"a")
    before = files._stamp(str(tmp_path))
    assert before == files._stamp(str(tmp_path))
    (tmp_path / "1.png").write_bytes(b"b")
    assert files._stamp(str(tmp_path)) != before
    assert files._stamp(str(tmp_path / "%d.png")) is None


def test_encrypted_streams_of_several_files(
    arrays: list[Path], tmp_path: Path, passphrase: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALPHASTREAM_PASSPHRASE", passphrase.hex())
    key = KeyFromEnvironment(scene_id=3)
    table = bulk.encode(arrays, tmp_path / "out", key=key, effort=1, resume=tmp_path / "parts", options=InputOptions())
    config = alphastream_gpu.Config(native_size=SIZE)
    assert len(bulk.statistics(table["target"], key=key, config=config)) == 16
    kept = "".join(one.read_text() for one in (tmp_path / "parts").iterdir())
    assert "KeyFromEnvironment" in kept
    assert passphrase.hex() not in kept


def test_exporting_several_streams(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    export = alphastream_gpu.export

    def counted(source: str, target: str, **options: Any) -> ExportReport:
        calls.append(Path(target).name)
        return export(source, target, **options)

    monkeypatch.setattr(alphastream_gpu, "export", counted)
    out = tmp_path / "out"
    options: Any = {"config": CONFIG, "resume": tmp_path / "parts"}
    table = bulk.export([path], out, ".npy", **options)
    assert table["target"].tolist() == [str(out / "person.npy")]
    assert table["bytes"].tolist() == [(out / "person.npy").stat().st_size]
    assert np.array_equal(np.load(out / "person.npy"), all_masks(DATA))
    assert bulk.export([path], out, ".npy", **options) == table
    assert calls == ["person.npy"]
    pictures = bulk.export([path], out, "/%d.png", bits=1, **options)
    assert pictures["bytes"].tolist() == [sum(one.stat().st_size for one in (out / "person").iterdir())]
    assert len(list((out / "person").glob("*.png"))) == N
    with pytest.raises(BulkError, match=r"missing\.asvp"):
        bulk.export([path.with_name("missing.asvp"), path], out, ".npy", **options)


def test_urls_with_secrets_are_not_sent_to_workers(tmp_path: Path) -> None:
    with badserver.Server(DATA) as server, pytest.raises(TypeError, match="cannot be sent to workers") as refusal:
        bulk.export([server.url() + "?token=secret"], tmp_path, ".npy", config=CONFIG, scheduler="tcp://127.0.0.1:1")
    assert "secret" not in str(refusal.value).replace("secrets", "")


def test_parts_are_not_kept_at_urls() -> None:
    with pytest.raises(ValueError, match="resume: expected a folder, found a s3: URL"):
        Parts("s3://bucket?secret", "statistics", {})
