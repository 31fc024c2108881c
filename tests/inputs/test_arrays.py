"""
Arrays: npy, npz, zarr, memory maps, iterables and other libraries' tensors.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from inputfiles import all_of, masks_of, moving_masks

from alphastream_gpu import ClosedError, DecodeError, TransportError
from alphastream_gpu._inputs import InputOptions, open_frames

MASKS = moving_masks()


@pytest.mark.parametrize("dtype", [np.bool_, np.uint8, np.int64, np.int8])
def test_dtypes_of_masks(dtype: Any) -> None:
    assert (masks_of(MASKS.astype(dtype)) == MASKS).all()
    assert (masks_of(MASKS[:, np.newaxis].astype(dtype)) == MASKS).all()
    assert (masks_of(MASKS[2].astype(dtype)) == MASKS[2:3]).all()


def test_values_of_integers() -> None:
    assert (masks_of(MASKS.astype(np.uint8) * 255) == MASKS).all()
    assert (masks_of(MASKS.astype(np.uint16) * 65535) == MASKS).all()
    soft = MASKS.astype(np.uint8) * 100
    with pytest.raises(
        ValueError, match=r"the array, frame 0: expected 0 and 1, or 0 and 255, found 100; pass threshold"
    ):
        masks_of(soft)
    assert (masks_of(soft, threshold=50) == MASKS).all()
    assert (masks_of(soft, objects=(100,)) == MASKS).all()
    with pytest.raises(ValueError, match="objects: expected numbers"):
        masks_of(soft, objects=("person",))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_need_a_threshold(dtype: Any) -> None:
    soft = np.where(MASKS, 0.75, 0.25).astype(dtype)
    with pytest.raises(ValueError, match="threshold: an array of float"):
        masks_of(soft)
    assert (masks_of(soft, threshold=0.5) == MASKS).all()
    with open_frames(soft, InputOptions(threshold=0.5)) as frames:
        assert "set above 0.5" in frames.about


@pytest.mark.parametrize("shape", [(4,), (2, 3, 4, 5), (2, 2, 3, 4, 5), (0, 5), (3, 20000, 2), (48, 64, 3)])
def test_other_shapes(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="the array: "):
        open_frames(np.zeros(shape, np.bool_))


@pytest.mark.parametrize("array", [np.zeros((2, 3, 4), complex), np.array(["a"]), np.zeros((2, 3, 4), object)])
def test_other_dtypes(array: np.ndarray) -> None:
    with pytest.raises(TypeError):
        open_frames(array)


def test_an_empty_stack() -> None:
    with open_frames(np.zeros((0, 4, 5), np.bool_)) as frames:
        assert frames.count == 0
        assert list(frames) == []


def test_npy(tmp_path: Path) -> None:
    np.save(tmp_path / "m.npy", MASKS)
    with open_frames(tmp_path / "m.npy") as frames:
        assert frames.count == 6
        assert (all_of(frames) == MASKS).all()
        assert (np.array(list(frames.read_from(4))) == MASKS[4:]).all()
    np.save(tmp_path / "f.npy", np.asfortranarray(MASKS))
    assert (masks_of(tmp_path / "f.npy") == MASKS).all()
    mapped = np.memmap(tmp_path / "m.raw", np.uint8, "w+", shape=MASKS.shape)
    mapped[:] = MASKS
    assert (masks_of(mapped) == MASKS).all()


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz(tmp_path: Path, save: Any) -> None:
    save(tmp_path / "one.npz", MASKS)
    with open_frames(tmp_path / "one.npz") as frames:
        assert (all_of(frames) == MASKS).all()
        assert (np.array(list(frames.read_from(4))) == MASKS[4:]).all()
    save(tmp_path / "many.npz", **{f"frame{i + 7}": mask for i, mask in enumerate(MASKS)})  # 10 comes after 9
    assert (masks_of(tmp_path / "many.npz") == MASKS).all()
    save(tmp_path / "mixed.npz", a=MASKS[0], b=MASKS[0, :5])
    with pytest.raises(DecodeError, match="expected one array, or arrays of one shape"):
        open_frames(tmp_path / "mixed.npz")


def test_pickles_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "o.npy", np.array([{}], object), allow_pickle=True)
    np.savez(tmp_path / "o.npz", np.array([{}], object))
    (tmp_path / "p.npy").write_bytes(pickle.dumps(MASKS))
    for name in ("o.npy", "o.npz", "p.npy"):
        with pytest.raises(DecodeError, match=name):
            open_frames(tmp_path / name)


def header_of(text: str) -> bytes:
    return b"\x93NUMPY\x01\0" + len(text).to_bytes(2, "little") + text.encode()


@pytest.mark.parametrize(
    "text",
    [
        "{'descr': '|b1', 'fortran_order': False, 'shape': (9000000000, 9000000000)}",
        "{'descr': '|b1', 'fortran_order': False, 'shape': (-1, 5, 5)}",
        "{'descr': '|b1', 'fortran_order': False, 'shape': (3, 5)",
        "{'descr': [('a', 'f4')], 'fortran_order': False, 'shape': (3, 5)}",
        "(" * 5000,
        "{'descr': '|b1', 'fortran_order': False, 'shape': (100, 5, 5)}",
    ],
)
def test_damaged_headers(tmp_path: Path, text: str) -> None:
    data = header_of(text) + b"\0" * 100
    (tmp_path / "d.npy").write_bytes(data)
    with zipfile.ZipFile(tmp_path / "d.npz", "w") as file:
        file.writestr("a.npy", data)
    for name in ("d.npy", "d.npz"):
        with pytest.raises((DecodeError, ValueError, TypeError)):
            masks_of(tmp_path / name)


@pytest.mark.parametrize("ending", ["npy", "npz"])
@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.95])
def test_files_that_are_cut_off(tmp_path: Path, ending: str, share: float) -> None:
    path = tmp_path / f"c.{ending}"
    if ending == "npy":
        np.save(path, MASKS)
    else:
        np.savez(path, MASKS)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(DecodeError, match=path.name):
        open_frames(path)


def test_damaged_data_in_npz(tmp_path: Path) -> None:
    """The frames before the damage come first."""
    path = tmp_path / "d.npz"
    masks = np.random.default_rng(0).random((60, 64, 64)) < 0.5
    np.savez_compressed(path, masks)
    data = bytearray(path.read_bytes())
    data[len(data) * 2 // 3 :][:40] = b"\xff" * 40
    middle = len(data) * 2 // 3
    data[middle : middle + 40] = b"\xff" * 40
    path.write_bytes(data)
    done = []
    with open_frames(path) as frames, pytest.raises(DecodeError, match="d.npz") as caught:
        for mask in frames:
            done.append(mask)
    assert caught.value.frame_index == len(done) > 20


@pytest.mark.parametrize("version", [2, 3])
def test_zarr(tmp_path: Path, version: int) -> None:
    zarr.save_array(str(tmp_path / "m.zarr"), MASKS, zarr_format=version)
    with open_frames(tmp_path / "m.zarr") as frames:
        assert (all_of(frames) == MASKS).all()
        assert (np.array(list(frames.read_from(4))) == MASKS[4:]).all()
    assert (masks_of(zarr.open_array(str(tmp_path / "m.zarr"), mode="r")) == MASKS).all()
    group = zarr.open_group(str(tmp_path / "g.zarr"), mode="w", zarr_format=version)
    group.create_array("masks", data=MASKS.astype(np.uint8), chunks=(1, 48, 64))
    assert (masks_of(tmp_path / "g.zarr") == MASKS).all()
    group.create_array("other", data=MASKS.astype(np.uint8))
    with pytest.raises(DecodeError, match="expected one array, found 2; name one: g.zarr/masks, g.zarr/other"):
        open_frames(tmp_path / "g.zarr")
    assert (masks_of(tmp_path / "g.zarr" / "masks") == MASKS).all()


def test_zarr_codecs_that_run_code_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "p.zarr"
    folder.mkdir()
    (folder / ".zarray").write_text(
        '{"zarr_format": 2, "shape": [1, 4, 4], "chunks": [1, 4, 4], "dtype": "|u1", "order": "C", "fill_value": 0, '
        '"compressor": null, "filters": [{"id": "pickle", "protocol": 5}]}'
    )
    (folder / "0.0.0").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(DecodeError, match="pickle"):
        masks_of(folder)


class Bomb:
    def __reduce__(self) -> Any:
        return pytest.fail, ("unpickled",)


@pytest.mark.parametrize("content", ["", "{}", "[", '{"zarr_format": 2}', '{"zarr_format": 9, "node_type": "array"}'])
@pytest.mark.parametrize("name", ["zarr.json", ".zarray", ".zgroup"])
def test_damaged_zarr(tmp_path: Path, content: str, name: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(DecodeError):
        open_frames(tmp_path)


def test_a_zarr_chunk_that_is_too_large(tmp_path: Path) -> None:
    zarr.create_array(str(tmp_path / "b.zarr"), shape=(9000, 9000, 9000), chunks=(9000, 9000, 9000), dtype="u1")
    with pytest.raises(DecodeError, match="expected chunks of at most"):
        open_frames(tmp_path / "b.zarr")


def test_iterables() -> None:
    assert (masks_of(list(MASKS)) == MASKS).all()
    assert (masks_of(tuple(MASKS[:, np.newaxis])) == MASKS).all()
    with open_frames(list(MASKS)) as frames:
        assert frames.count == 6
        assert (all_of(frames) == MASKS).all()
        assert (all_of(frames) == MASKS).all()  # once more
        assert (np.array(list(frames.read_from(4))) == MASKS[4:]).all()
    assert (masks_of(list(MASKS), start=2, frames=2) == MASKS[2:4]).all()


def test_a_generator_is_read_once() -> None:
    with open_frames(mask for mask in MASKS) as frames:
        assert frames.count is None
        masks = iter(frames)
        assert (next(masks) == MASKS[0]).all()
        assert (next(masks) == MASKS[1]).all()
        rest = list(frames.read_from(4))
        assert (np.array(rest) == MASKS[4:]).all()
        with pytest.raises(ValueError, match="an iterator can be read once"):
            list(frames)


def test_errors_of_an_iterable_pass() -> None:
    def failing() -> Iterator[np.ndarray]:
        yield MASKS[0]
        raise KeyError("mine")

    with open_frames(failing()) as frames, pytest.raises(KeyError, match="mine"):
        list(frames)


@pytest.mark.parametrize("frames", [[], iter([]), {}])
def test_no_frames(frames: Any) -> None:
    with pytest.raises(ValueError, match="expected at least one frame, found none"):
        open_frames(frames)


def test_frames_that_differ() -> None:
    with pytest.raises(ValueError, match=r"the iterable, frame 1: expected the shape \(48, 64\), found \(2, 2\)"):
        masks_of([MASKS[0], np.zeros((2, 2), np.bool_)])
    with pytest.raises(ValueError, match="frame 1: expected bool as in the first frame, found float64"):
        masks_of([MASKS[0], np.zeros((48, 64))])
    assert masks_of([MASKS[0].astype(float), MASKS[1]], threshold=0.5).tolist() == MASKS[:2].tolist()
    with pytest.raises(TypeError, match="frame 1: expected an array"):
        masks_of([MASKS[0], "text"])


@pytest.mark.parametrize("source", [None, 5, object()])
def test_other_sources(source: Any) -> None:
    with pytest.raises(TypeError, match="expected a path, an array, a dict or an iterable"):
        open_frames(source)


class Tensor:
    """As much of torch.Tensor as is used. It refuses numpy until it is detached and on the CPU."""

    def __init__(self, data: np.ndarray, state: str = "cuda, grad", dtype: str = "") -> None:
        self._data, self._state = data, state
        self.shape = data.shape
        self.dtype = f"torch.{dtype or data.dtype}"

    def __getitem__(self, index: Any) -> Tensor:
        return Tensor(self._data[index], self._state, self.dtype.removeprefix("torch."))

    def __len__(self) -> int:
        return len(self._data)

    def detach(self) -> Tensor:
        return Tensor(self._data, self._state.replace("grad", ""), self.dtype.removeprefix("torch."))

    def cpu(self) -> Tensor:
        return Tensor(self._data, self._state.replace("cuda", ""), self.dtype.removeprefix("torch."))

    def float(self) -> Tensor:
        return Tensor(self._data.astype(np.float32), self._state)

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        if "cuda" in self._state or "grad" in self._state or "bfloat16" in self.dtype:
            raise TypeError(f"cannot convert: {self._state}, {self.dtype}")
        return np.asarray(self._data, dtype)


def test_tensors() -> None:
    assert (masks_of(Tensor(MASKS)) == MASKS).all()
    assert (masks_of(Tensor(MASKS[:, np.newaxis].astype(np.uint8))) == MASKS).all()
    logits = np.where(MASKS, 3.0, -2.0)
    assert (masks_of(Tensor(logits, dtype="bfloat16"), threshold=0) == MASKS).all()
    assert (masks_of([Tensor(mask) for mask in MASKS]) == MASKS).all()


class Capsule:
    """An array that has DLPack alone."""

    def __init__(self, data: np.ndarray) -> None:
        self._data = data

    def __dlpack__(self, **options: Any) -> Any:
        return self._data.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self._data.__dlpack_device__()


def test_dlpack() -> None:
    assert (masks_of(Capsule(MASKS.astype(np.uint8))) == MASKS).all()
    assert (masks_of([Capsule(mask.astype(np.uint8)) for mask in MASKS]) == MASKS).all()


def test_closed_frames() -> None:
    frames = open_frames(MASKS)
    masks = iter(frames)
    next(masks)
    frames.close()
    frames.close()
    for iterator in (masks, iter(frames)):
        with pytest.raises(ClosedError, match="the array was closed"):
            next(iterator)


def test_names_in_messages(tmp_path: Path) -> None:
    with open_frames(MASKS, name="my masks") as frames:
        assert frames.about == "my masks, 6 frames of bool"
    with pytest.raises(ValueError, match="my masks, frame 0: expected 0 and 1"):
        masks_of(MASKS.astype(np.uint8) * 7, name="my masks")
    with pytest.raises(TransportError):
        open_frames(tmp_path / "none.npy", name="my masks")


def test_a_negative_index() -> None:
    with pytest.raises(ValueError, match="index: expected 0 or more, found -1"):
        open_frames(MASKS).read_from(-1)


def test_a_file_object_is_no_source() -> None:
    with pytest.raises((TypeError, ValueError)):
        open_frames(io.BytesIO(b"123"))


def test_inputs_that_cannot_be_joined(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", MASKS)
    np.savez(tmp_path / "b.npz", MASKS[:, :20])
    with pytest.raises(ValueError, match=r"the inputs differ: a.npz has \(64, 48\)"):
        open_frames([tmp_path / "a.npz", tmp_path / "b.npz"])
    assert len(masks_of([tmp_path / "a.npz", tmp_path / "a.npz"])) == 12


def test_fortran_order_in_npz(tmp_path: Path) -> None:
    np.savez(tmp_path / "f.npz", np.asfortranarray(MASKS))
    with pytest.raises(DecodeError, match="f.npz, arr_0.npy: Fortran order is not supported"):
        masks_of(tmp_path / "f.npz")


def test_masks_are_copies_and_can_be_packed() -> None:
    """A bool array of the caller is not written, and packed masks are those of the same frames."""
    given = [np.asfortranarray(mask) for mask in MASKS]
    with open_frames(given) as frames:
        for mask in frames:
            assert mask.flags.c_contiguous
            mask[:] = True
        assert (np.array(given) == MASKS).all()
        for start in (0, 3):
            packed = [bits.tolist() for bits in frames.packed_from(start)]
            assert packed == np.packbits(MASKS[start:], axis=2, bitorder="little").tolist()
        with pytest.raises(ValueError, match="index"):
            frames.packed_from(-1)
