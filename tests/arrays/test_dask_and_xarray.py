"""
Dask and xarray over an array of masks: the same masks, and slices that come down to the reader.
"""

from __future__ import annotations

import importlib
import pickle
import sys
import tomllib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import dask
import dask.array
import numpy as np
import pytest
import xarray
from support import ROOT
from test_mask_array import CONFIG, DATA, N, all_masks, none_kept

from alphastream_gpu import ClosedError, MaskArray, open_array
from alphastream_gpu._arrays.engine import AlphaStreamBackend

__all__ = ["none_kept"]

NATIVE: Any = {"native_size": (24, 16), "fps": Fraction(30000, 1001)}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "person.asvp"
    path.write_bytes(DATA)
    return path


@pytest.fixture
def masks(path: Path) -> Iterator[MaskArray]:
    with open_array(path, config=CONFIG, chunk_frames=4) as opened:
        yield opened


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The shapes of all blocks that are made."""
    shapes: list[tuple[int, ...]] = []
    real = MaskArray._fill

    def noted(self: MaskArray, block: Any, frames: Any, grid: Any) -> None:
        shapes.append(block.shape)
        real(self, block, frames, grid)

    monkeypatch.setattr(MaskArray, "_fill", noted)
    return shapes


# Dask


def test_a_dask_array(masks: MaskArray, read: list[Any]) -> None:
    array = masks.to_dask()
    assert (array.shape, array.dtype, array.chunks[0]) == (masks.shape, masks.dtype, (4, 4, 1))
    assert masks.to_dask(5).chunks[0] == (5, 4)
    assert isinstance(array._meta, np.ndarray)
    assert read == []
    assert (array.compute() == all_masks(DATA)).all()
    with pytest.raises(ValueError, match="chunk_frames: expected 1 or more frames, found 0"):
        masks.to_dask(0)


@pytest.mark.parametrize(
    ("key", "shapes"),
    [
        ((slice(0, 3), slice(5, 9), slice(2, 4)), [(3, 4, 2)]),
        ((slice(2, 6), slice(5, 9)), [(2, 4, 24), (2, 4, 24)]),
        ((slice(None, None, 4),), [(1, 16, 24)] * 3),
        ((3, slice(5, 9), 7), [(1, 4, 1)]),
    ],
)
def test_crops_come_down_to_the_reader(masks: MaskArray, read: list[Any], key: Any, shapes: list[Any]) -> None:
    """Dask fuses the slices with the getters of the chunks."""
    part = masks.to_dask()[key]
    found = part.compute(scheduler="synchronous")
    assert (found == all_masks(DATA)[key]).all()
    assert sorted(read) == sorted(shapes)


def test_crops_of_computations_come_down_too(masks: MaskArray, read: list[Any]) -> None:
    areas = (masks.to_dask()[1:3, 5:9, 2:4] > 0).sum(axis=(1, 2))
    assert (areas.compute(scheduler="synchronous") == (all_masks(DATA)[1:3, 5:9, 2:4] > 0).sum(axis=(1, 2))).all()
    assert read == [(2, 4, 2)]


@pytest.mark.parametrize("scheduler", ["threads", pytest.param("processes", marks=pytest.mark.slow)])
def test_workers_open_the_source(masks: MaskArray, scheduler: str) -> None:
    areas = masks.to_dask(2).astype(np.int64).sum(axis=(1, 2)).compute(scheduler=scheduler, num_workers=2)
    assert (areas == all_masks(DATA).astype(np.int64).sum(axis=(1, 2))).all()


def test_names_follow_the_content(masks: MaskArray, path: Path) -> None:
    """Dask keeps results by these names."""
    with open_array(path, config=CONFIG) as same, open_array(path, (12, 8), config=CONFIG) as other:
        assert dask.base.tokenize(masks) == dask.base.tokenize(same)  # type: ignore[no-untyped-call]
        assert dask.base.tokenize(masks) != dask.base.tokenize(other)  # type: ignore[no-untyped-call]


def test_without_dask(masks: MaskArray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dask.array", None)
    with pytest.raises(ImportError, match=r"to_dask\(\) needs dask .*pip install"):
        masks.to_dask()


# xarray


def opened(path: Path, **options: Any) -> xarray.Dataset:
    return xarray.open_dataset(path, engine=AlphaStreamBackend, **{**NATIVE, **options})


def test_a_dataset(path: Path, read: list[Any]) -> None:
    with opened(path) as dataset:
        mask = dataset["mask"]
        assert mask.dims == ("time", "y", "x")
        assert mask.shape == (N, 16, 24)
        assert mask.dtype == np.uint8
        assert np.allclose(dataset["time"], np.arange(N) * 1001 / 30000, atol=0, rtol=1e-15)
        assert dataset["y"].values.tolist() == list(range(16))
        assert dataset["x"].values.tolist() == list(range(24))
        assert dataset.attrs["fps"] == "30000/1001"
        assert (dataset.attrs["native_width"], dataset.attrs["native_height"]) == (24, 16)
        assert len(dataset.attrs["fingerprint"]) == 64
        assert read == []
        assert (mask.values == all_masks(DATA)).all()


def test_other_sizes_show_native_pixels(path: Path) -> None:
    with opened(path, size=(12, 32), dtype="bool") as dataset:
        assert dataset["x"].values.tolist() == list(range(0, 24, 2))
        assert dataset["y"].values.tolist() == [row // 2 for row in range(32)]
        assert (dataset["mask"].values == all_masks(DATA, (12, 32), "bool")).all()


def test_selections_come_down_to_the_reader(path: Path, read: list[Any]) -> None:
    expected = all_masks(DATA)
    with opened(path) as dataset:
        mask = dataset["mask"]
        assert (mask.isel(time=3, y=slice(5, 9)).values == expected[3, 5:9]).all()
        assert (mask.sel(x=slice(2, 4), y=7, time=0).values == expected[0, 7, 2:5]).all()
        assert (mask.isel(time=[5, 1, 5], x=[0, 20]).values == expected[[5, 1, 5]][:, :, [0, 20]]).all()
        assert (mask[::-2].values == expected[::-2]).all()
        points = xarray.DataArray([1, 4, 6], dims="p")
        assert (mask.isel(time=points, y=points, x=points).values == expected[[1, 4, 6], [1, 4, 6], [1, 4, 6]]).all()
        assert mask.sel(time=0.1, method="nearest")["time"] == dataset["time"][3]
    assert read[:4] == [(1, 4, 24), (1, 1, 3), (2, 16, 2), (5, 16, 24)]


def test_chunks_of_the_file(path: Path, read: list[Any]) -> None:
    with opened(path, chunk_frames=4, chunks={}) as dataset:
        mask = dataset["mask"]
        assert mask.chunks == ((4, 4, 1), (16,), (24,))
        with dask.config.set(scheduler="synchronous"):
            areas = (mask.isel(time=slice(1, 3), y=slice(5, 9), x=slice(2, 4)) > 0).sum(("y", "x")).values
        assert (areas == (all_masks(DATA)[1:3, 5:9, 2:4] > 0).sum(axis=(1, 2))).all()
    assert read == [(2, 4, 2)]


def test_a_dataset_is_pickled_and_closed(path: Path) -> None:
    dataset = opened(path)
    copy = pickle.loads(pickle.dumps(dataset))
    dataset.close()
    with pytest.raises(ClosedError):
        dataset["mask"].values  # noqa: B018
    assert (copy["mask"][2].values == all_masks(DATA)[2]).all()
    copy.close()


def test_several_files_one_after_the_other(path: Path) -> None:
    other = path.with_name("second.asvp")
    other.write_bytes(DATA)
    found = xarray.open_mfdataset(
        [path, other], engine=AlphaStreamBackend, combine="nested", concat_dim="time", **NATIVE
    )
    with found:
        assert found["mask"].shape == (2 * N, 16, 24)
        assert (found["mask"].values == np.concatenate([all_masks(DATA)] * 2)).all()


def test_variables_that_are_left_out(path: Path) -> None:
    with opened(path, drop_variables="x") as dataset:
        assert sorted(dataset.variables) == ["mask", "time", "y"]


def test_xarray_finds_the_engine() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    module, _, name = project["entry-points"]["xarray.backends"]["alphastream"].partition(":")
    assert getattr(importlib.import_module(module), name) is AlphaStreamBackend
    guess = AlphaStreamBackend().guess_can_open
    assert [guess(one) for one in ("a.asvp", Path("b.ASVR"), "https://x/c.asvp?d=1", "d.nc", 5)] == [
        True,
        True,
        True,
        False,
        False,
    ]
