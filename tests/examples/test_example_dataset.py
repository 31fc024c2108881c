"""
The dataset for PyTorch: what it gives in worker processes of every kind, and with PyTorch itself where it is installed.
"""

from __future__ import annotations

import importlib.util
import multiprocessing
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from mask_dataset import MaskDataset
from support import ROOT, SAMPLE

import alphastream_gpu

SIZE = (256, 128)
STARTS = [name for name in ("fork", "forkserver", "spawn") if name in multiprocessing.get_all_start_methods()]
BATCHES = [[119, 0, 60], [7], [30, 30], [1, 2, 3, 4]]


def batch_of(dataset: MaskDataset, indices: list[int]) -> tuple[list[np.ndarray], int]:
    """A batch as a data loader's worker makes it, and how many processes have the stream open here: this one."""
    return dataset.__getitems__(indices), len(dataset)


@pytest.fixture(scope="module")
def expected() -> np.ndarray:
    with alphastream_gpu.open(SAMPLE) as stream:
        masks = [alphastream_gpu.rasterize(geometry, SIZE) for geometry in stream.read_frames()]
    return np.stack(masks) != 0


def test_its_items(expected: np.ndarray) -> None:
    dataset = MaskDataset(str(SAMPLE), SIZE)
    assert len(dataset) == len(expected)
    assert dataset[60].shape == (1, 128, 256)
    assert dataset[60].dtype == np.float32
    assert np.array_equal(dataset[60][0], expected[60])
    with pytest.raises(IndexError):
        dataset[len(dataset)]


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")  # from Python 3.12 on
@pytest.mark.parametrize("start", STARTS)
def test_in_workers(start: str, expected: np.ndarray) -> None:
    """The parent has used the dataset, as a program has that looked at an item first."""
    dataset = MaskDataset(str(SAMPLE), SIZE)
    assert dataset[0].any()
    context = multiprocessing.get_context(start)
    with ProcessPoolExecutor(2, context) as pool:
        for indices, (items, length) in zip(
            BATCHES, pool.map(batch_of, [dataset] * len(BATCHES), BATCHES), strict=True
        ):
            assert length == len(expected)
            assert all(np.array_equal(item[0], expected[index]) for index, item in zip(indices, items, strict=True))


def test_the_guide_shows_it() -> None:
    code = (ROOT / "examples" / "mask_dataset.py").read_text()
    shown = code[code.index("class MaskDataset") : code.index("def main")].strip()
    assert shown in (ROOT / "docs" / "training_data.md").read_text()


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="PyTorch is not installed, which takes gigabytes")
@pytest.mark.parametrize("start", STARTS)
def test_with_pytorch(start: str) -> None:
    script = Path(ROOT / "examples" / "mask_dataset.py")
    done = subprocess.run([sys.executable, script, "--start", start], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("120 masks; on average, ")
