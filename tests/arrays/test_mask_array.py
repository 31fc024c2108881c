"""
MaskArray: indexing compared with numpy's on the array of all masks; what is read; closing, pickling and forking.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import threading
from fractions import Fraction
from pathlib import Path
from typing import Any

import badserver
import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from support import SAMPLE, asvp_of, block_of, payload_of

import alphastream_gpu
from alphastream_gpu import (
    AsvrKey,
    ClosedError,
    Config,
    DecodeError,
    KeyFromEnvironment,
    MaskArray,
    MemorySource,
    TransportError,
    open_array,
    rasterize,
)
from alphastream_gpu._arrays import array as array_module
from alphastream_gpu._arrays import reopening

CONFIG = Config(native_size=(24, 16), fps=Fraction(30))
N = 9


def small_stream(n_frames: int = N, seed: int = 1) -> bytes:
    rng = np.random.default_rng(seed)
    frames = []
    for _ in range(n_frames):
        steps = rng.integers(-9, 10, (rng.integers(3, 9), 2)).tolist()
        frames.append(block_of(payload_of([(tuple(rng.integers(0, 20, 2).tolist()), steps)])))
    return asvp_of(frames)


def all_masks(data: Any, size: tuple[int, int] | None = None, dtype: Any = np.uint8) -> np.ndarray:
    with alphastream_gpu.open(data, config=CONFIG) as stream:
        return np.stack([rasterize(one, size, native_size=(24, 16), dtype=dtype) for one in stream.read_frames()])


DATA = small_stream()


@pytest.fixture(params=[("uint8", None), ("bool", (30, 7))], ids=str)
def both(request: pytest.FixtureRequest) -> Any:
    """A lazy array, and the array of all of its masks."""
    dtype, size = request.param
    with open_array(DATA, size, dtype=dtype, config=CONFIG) as masks:
        yield masks, all_masks(DATA, size, dtype)


# Indexing


def one_key(length: int) -> st.SearchStrategy[Any]:
    ends = st.none() | st.integers(-length - 2, length + 2)
    steps = st.none() | st.integers(-4, 4).filter(bool)
    return st.integers(-length, length - 1) | st.builds(slice, ends, ends, steps)


def list_key(length: int) -> st.SearchStrategy[Any]:
    some = st.lists(st.integers(-length, length - 1), max_size=5)
    return some | some.map(lambda it: np.array(it, np.intp)) | st.lists(st.booleans(), min_size=length, max_size=length)


@st.composite
def keys(draw: st.DrawFn, shape: tuple[int, ...], most_lists: int = 1) -> Any:
    n_keys = draw(st.integers(0, 3))
    n_dots = draw(st.booleans()) if n_keys < 3 else draw(st.integers(0, 1))
    behind = draw(st.integers(0, n_keys)) if n_dots else 0
    axes = [*range(n_keys - behind), *range(3 - behind, 3)]
    listed = draw(st.sets(st.sampled_from(axes), max_size=most_lists)) if axes else set()
    found = [draw((list_key if axis in listed else one_key)(shape[axis])) for axis in axes]
    if n_dots:
        found.insert(n_keys - behind, ...)
    key = tuple(found)
    return key[0] if len(key) == 1 and draw(st.booleans()) else key


@hypothesis_settings(max_examples=400)
@given(data=st.data())
def test_indexing_is_numpys(both: Any, data: st.DataObject) -> None:
    masks, expected = both
    key = data.draw(keys(expected.shape))
    wanted = expected[key]
    found = masks[key]
    assert type(found) is type(wanted)
    assert found.dtype == wanted.dtype
    assert found.shape == wanted.shape
    assert (found == wanted).all()


@pytest.mark.slow
@hypothesis_settings(max_examples=100)
@given(data=st.data())
def test_outer_indexing_takes_each_axis_by_itself(both: Any, data: st.DataObject) -> None:
    masks, expected = both
    key = data.draw(keys(expected.shape, most_lists=3))
    parts = list(key) if isinstance(key, tuple) else [key]
    if any(part is ... for part in parts):
        at = next(place for place, part in enumerate(parts) if part is ...)
        parts[at : at + 1] = [slice(None)] * (4 - len(parts))
    parts += [slice(None)] * (3 - len(parts))
    wanted = expected
    for axis, part in enumerate(parts):
        kept = np.array(part, np.intp) if isinstance(part, list) and not part else part
        kept = [part] if isinstance(part, int) else kept
        wanted = wanted[(slice(None),) * axis + (kept,)]
    dropped = tuple(axis for axis, part in enumerate(parts) if isinstance(part, int))
    wanted = wanted.squeeze(dropped)
    found = masks.oindex[key]
    assert found.shape == wanted.shape
    assert (found == wanted).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    "key",
    [
        np.int64(3),
        np.array(2),
        (0, slice(None), [1, 2]),
        (0, ..., [1, 2]),
        (slice(None), 3, ..., [1, 2]),
        (..., 3, [1, 2]),
        ([], 3),
        (1, 2, 3),
        np.array([0, 8], np.uint8),
        np.array([-1, 3], np.int8),
        range(2, 6),
        (range(1, 5), 2),
        ((1, 2),),
        np.arange(N) > 4,
        (),
        ...,
    ],
)
def test_forms_of_indices(both: Any, key: Any) -> None:
    masks, expected = both
    assert masks[key].shape == expected[key].shape
    assert (masks[key] == expected[key]).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("key", "message"),
    [
        (N, r"index 9 is out of bounds for the frames \(axis 0\) with size 9"),
        (-N - 1, "index -10 is out of bounds"),
        ((0, 99), r"index 99 is out of bounds for the rows \(axis 1\)"),
        ((0, 0, [0, 99]), r"index 99 is out of bounds for the columns \(axis 2\)"),
        (10**30, "out of bounds"),
        ([0, 10**30], "integers or bools, found object"),
        (None, r"newaxis\) is not supported; index the result"),
        ((..., 1, ...), "one ellipsis"),
        ((0, 0, 0, 0), "too many indices: the array has 3 dimensions, found 4"),
        (([0], [0]), r"several lists .* masks.oindex"),
        ([[0, 1], [2, 3]], "must have one dimension, found 2"),
        ([[0], [1, 2]], "must have one dimension, found lists of different lengths"),
        (np.zeros((N, 16, 24), bool), "must have one dimension, found 3"),
        ([True, False], "expected 9 bools for the frames, found 2"),
        (True, "a single bool is not supported"),
        (np.array(True), "must have one dimension, found 0"),
        (1.0, "only integers, slices, ... and one list .* found float"),
        ("time", "found str"),
        ([0.5], "integers or bools, found float64"),
        (np.array([], np.float64), "integers or bools, found float64"),
        ({1}, "found set"),
    ],
)
def test_what_is_left_out(both: Any, key: Any, message: str) -> None:
    with pytest.raises(IndexError, match=message):
        both[0][key]


def test_selections_of_an_empty_array() -> None:
    with open_array(asvp_of([]), config=CONFIG) as masks:
        assert masks.shape == (0, 16, 24)
        assert masks[:].shape == (0, 16, 24)
        assert masks[[], 3].shape == (0, 24)
        assert list(masks) == []
        assert masks.chunks == (1, 16, 24)
        with pytest.raises(IndexError, match="out of bounds"):
            masks[0]


# What is read and drawn


def test_only_what_is_indexed_is_read_and_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    shapes: list[Any] = []
    real = array_module.drawn

    def counted(geometry: Any, grid: Any, out: Any, value: int) -> Any:
        shapes.append(grid.shape)
        return real(geometry, grid, out, value)

    monkeypatch.setattr(array_module, "drawn", counted)
    batches: list[list[int]] = []
    with open_array(DATA, config=CONFIG) as masks:
        read = masks._stream.read_batch  # type: ignore[union-attr]

        def noted(indices: Any) -> Any:
            batches.append(list(indices))
            return read(indices)

        monkeypatch.setattr(masks._stream, "read_batch", noted)
        masks[3:3]
        masks[2, :0]
        assert batches == []
        masks[[7, 2, 7], 3:5, 4]
        assert batches == [[2, 7]]
        assert shapes == [(2, 1), (2, 1)]


def test_long_selections_are_read_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(array_module, "_BATCH_FRAMES", 4)
    expected = all_masks(DATA)
    with open_array(DATA, config=CONFIG) as masks:
        assert (masks[::-1] == expected[::-1]).all()
        assert (masks[[8, 0, 3, 3, 1, 7, 8]] == expected[[8, 0, 3, 3, 1, 7, 8]]).all()
        assert (np.stack(list(masks)) == expected).all()


def test_results_are_the_callers() -> None:
    with open_array(DATA, config=CONFIG) as masks:
        one, again = masks[2], masks[2]
        one[:] = 7
        assert (masks[2] == again).all()
        assert not np.shares_memory(masks[1:3], masks[1:3])


def test_the_sample() -> None:
    with open_array(SAMPLE) as masks, alphastream_gpu.open(SAMPLE) as stream:
        assert masks.shape == (120, 1024, 2048)
        crop = masks[60, 300:556, 500:756]
        assert (crop == rasterize(stream.read_frame(60))[300:556, 500:756]).all()


# Attributes and conversion


def test_arrays_are_made_by_open_array() -> None:
    with pytest.raises(TypeError, match=r"made by open_array\(\)"):
        MaskArray()


def test_attributes() -> None:
    with open_array(DATA, (12, 8), dtype="bool", config=CONFIG) as masks, alphastream_gpu.open(DATA) as stream:
        assert masks.shape == (N, 8, 12)
        assert (masks.ndim, masks.size, masks.nbytes, len(masks)) == (3, N * 96, N * 96, N)
        assert masks.dtype == np.bool_
        assert masks.chunks == (N, 8, 12)
        assert masks.fps == 30
        assert masks.native_size == (24, 16)
        assert masks.fingerprint == stream.fingerprint
        assert repr(masks) == "<MaskArray 9 x 8 x 12 bool>"
    assert repr(masks) == "<MaskArray 9 x 8 x 12 bool closed>"


@pytest.mark.parametrize(
    ("size", "chunk", "expected"), [(None, None, 32), ((64, 64), None, 120), ((8192, 8192), None, 1), (None, 7, 7)]
)
def test_hints_for_chunks(size: Any, chunk: int | None, expected: int) -> None:
    with open_array(SAMPLE, size, chunk_frames=chunk) as masks:
        assert masks.chunks[0] == expected


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"size": (0, 5)}, ValueError, "size: expected width and height"),
        ({"dtype": "float32"}, ValueError, "dtype: expected uint8 or bool, found float32"),
        ({"chunk_frames": 0}, ValueError, "chunk_frames: expected 1 or more frames, found 0"),
        ({"chunk_frames": 1.5}, TypeError, "integer"),
    ],
)
def test_options_are_checked(options: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        open_array(DATA, config=CONFIG, **options)


def test_conversion_to_an_array(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = all_masks(DATA)
    with open_array(DATA, config=CONFIG) as masks:
        assert (np.asarray(masks) == expected).all()
        assert np.asarray(masks, dtype=np.float32).dtype == np.float32
        with pytest.raises(ValueError, match="without a copy"):
            np.asarray(masks, copy=False)
        monkeypatch.setattr(array_module, "_MOST_CONVERTED", masks.nbytes - 1)
        with pytest.raises(ValueError, match=r"all 9 masks would take .* iterate over them, or use to_dask\(\)"):
            np.asarray(masks)
        assert (masks[:] == expected).all()


# Errors and the end


def test_a_bad_frame() -> None:
    data = asvp_of([block_of(payload_of([])), b"nonsense"])
    with open_array(data, config=CONFIG) as masks:
        assert not masks[0].any()
        with pytest.raises(DecodeError, match="frame 1"):
            masks[:]


def test_a_closed_array() -> None:
    masks = open_array(DATA, config=CONFIG)
    iterator = iter(masks)
    next(iterator)
    masks.close()
    masks.close()
    for use in (lambda: masks[0], lambda: masks[3:3], lambda: next(iter(masks)), lambda: np.asarray(masks)):
        with pytest.raises(ClosedError, match="the array is closed"):
            use()
    assert masks.shape == (N, 16, 24)


def test_a_dropped_array_closes_its_stream() -> None:
    masks = open_array(DATA, config=CONFIG)
    stream = masks._stream
    assert stream is not None
    masks[0]
    del masks
    assert stream._lifetime.is_closed  # and no ResourceWarning, which is an error in tests


def test_threads() -> None:
    expected = all_masks(DATA)
    wrong: list[Any] = []

    def use(seed: int) -> None:
        rng = np.random.default_rng(seed)
        for _ in range(50):
            key = (rng.integers(0, N, 3), slice(int(rng.integers(0, 16)), None))
            if not (masks[key] == expected[key]).all():
                wrong.append(key)

    with open_array(DATA, config=CONFIG) as masks:
        threads = [threading.Thread(target=use, args=(seed,)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong


# Other processes


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "person.asvp"
    path.write_bytes(DATA)
    return path


@pytest.fixture(autouse=True)
def none_kept() -> Any:
    yield
    for one in reopening._kept.values():
        one.close()
    reopening._kept.clear()


def test_a_copy_opens_the_file_when_it_is_indexed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    with open_array(path.name, (12, 8), dtype="bool", config=CONFIG, chunk_frames=3) as masks:
        data = pickle.dumps(masks)
    monkeypatch.chdir("/")
    expected = all_masks(DATA, (12, 8), "bool")
    copies = [pickle.loads(data) for _ in range(3)]
    assert len(reopening._kept) == 0
    for copy in copies:
        assert (copy.shape, copy.dtype, copy.chunks, copy.fps) == (masks.shape, masks.dtype, masks.chunks, masks.fps)
        assert (copy[2:5] == expected[2:5]).all()
    assert len(reopening._kept) == 1  # once for all copies
    copies[0].close()
    with pytest.raises(ClosedError):
        copies[0][0]
    assert (copies[1][0] == expected[0]).all()


def test_only_some_streams_are_kept(path: Path) -> None:
    data = []
    for _ in range(reopening._MOST_STREAMS + 3):
        with open_array(path, config=CONFIG) as masks:
            data.append(pickle.dumps(masks))
    copies = [pickle.loads(one) for one in data]
    for copy in copies:
        copy[0]
    assert len(reopening._kept) == reopening._MOST_STREAMS
    assert (copies[0][1] == copies[-1][1]).all()


def test_a_file_that_changed_is_refused(path: Path) -> None:
    with open_array(path, config=CONFIG) as masks:
        copy = pickle.loads(pickle.dumps(masks))
    path.write_bytes(small_stream(seed=2))
    with pytest.raises(TransportError, match=r"the file has changed .* expected the fingerprint \w{12}\.\.\., found"):
        copy[0]
    path.write_bytes(DATA)
    assert (copy[0] == all_masks(DATA)[0]).all()


def a_url() -> str:
    return os.environ["TEST_URL"]


def test_what_is_pickled(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Content in memory, and a function that returns a URL."""
    with open_array(DATA, config=CONFIG) as masks:
        copy = pickle.loads(pickle.dumps(masks))
        assert (copy[3] == masks[3]).all()
    with badserver.Server(DATA) as server:
        monkeypatch.setenv("TEST_URL", server.url() + "?signature=secret")
        with open_array(a_url, config=CONFIG) as masks:
            data = pickle.dumps(masks)
            assert b"secret" not in data
            assert (pickle.loads(data)[3] == masks[3]).all()
        for one in reopening._kept.values():
            one.close()


def test_mirrors_are_pickled(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    with open_array(["missing.asvp", path.name], config=CONFIG) as masks:
        data = pickle.dumps(masks)
        monkeypatch.chdir("/")
        copy = pickle.loads(data)
        assert (copy[3] == masks[3]).all()
        copy.close()
    with badserver.Server(DATA) as server, open_array([path, server.url() + "?token=1"], config=CONFIG) as masks:
        with pytest.raises(TypeError) as refusal:
            pickle.dumps(masks)
        assert refusal.match("URL with a query, a user or a password")


def test_secrets_are_not_pickled(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(source: Any, **options: Any) -> Any:
        with open_array(source, **{"config": CONFIG, **options}) as masks:
            pickle.dumps(masks)

    with pytest.raises(TypeError, match="a KeyFromEnvironment can"):
        refused(path, key=AsvrKey(bytes(32), scene_id=1))
    with pytest.raises(TypeError, match="array of a MemorySource cannot be pickled"):
        refused(MemorySource(DATA))
    with badserver.Server(DATA) as server:
        for url in (f"{server.url()}?token=1", server.url().replace("//", "//user:word@")):
            with pytest.raises(TypeError, match="URL with a query, a user or a password"):
                refused(url)
        with pytest.raises(TypeError, match="headers are secrets"):
            refused(server.url(), config=Config(native_size=(24, 16), http_headers={"x-token": "secret"}))
        refused(server.url())
    refused(path, key=KeyFromEnvironment(scene_id=1))


def _sum_of(masks: MaskArray, index: int) -> int:
    return int(masks[index].sum())


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_workers(path: Path, method: str) -> None:
    expected = all_masks(DATA).sum(axis=(1, 2))
    with open_array(path, config=CONFIG) as masks:
        assert masks[0].sum() == expected[0]
        with multiprocessing.get_context(method).Pool(2) as pool:
            found = pool.starmap(_sum_of, [(masks, index) for index in range(N)])
    assert found == expected.tolist()


_parents: list[MaskArray] = []


def _sum_of_parents(index: int) -> int:
    return int(_parents[0][index].sum())


@pytest.mark.slow
@pytest.mark.parametrize("source", ["path", "bytes"])
def test_a_forked_child_uses_the_array_of_its_parent(path: Path, source: str) -> None:
    with open_array(path if source == "path" else DATA, config=CONFIG) as masks:
        masks[0]
        _parents.append(masks)
        try:
            with multiprocessing.get_context("fork").Pool(2) as pool:
                found = pool.map(_sum_of_parents, range(N))
        finally:
            _parents.clear()
        assert found == all_masks(DATA).sum(axis=(1, 2)).tolist()
        assert masks[0].any() == (found[0] > 0)
