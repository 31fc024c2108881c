"""
The memory of masks: aligned, reused, bounded, and not from malloc.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from support import SAMPLE, sample_geometries

from alphastream_gpu import rasterize, rasterize_packed
from alphastream_gpu._geometry import aligned as _aligned
from alphastream_gpu._geometry.aligned import ALIGNMENT, _Memory, aligned_empty, aligned_zeros

MEGABYTE = 1 << 20


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> _Memory:
    """An empty memory for the test, which the package uses instead of its own."""
    memory = _Memory()
    monkeypatch.setattr(_aligned, "_memory", memory)
    return memory


@pytest.mark.parametrize("shape", [(0,), (3, 5), (1, 65536), (1024, 2048), (1001, 2047)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_shape_type_and_place(shape: tuple[int, ...], dtype: type) -> None:
    array = aligned_empty(shape, dtype)
    assert (array.shape, array.dtype) == (shape, dtype)
    assert array.ctypes.data % ALIGNMENT == 0
    assert array.flags.c_contiguous
    assert array.flags.writeable
    array[...] = 1
    assert not aligned_zeros(shape, dtype).any()


@pytest.mark.parametrize(
    "view", [lambda array: array[17:], lambda array: array.view(np.uint64).reshape(-1, 16), memoryview, np.asarray]
)
def test_memory_comes_back_when_the_last_view_is_gone(memory: _Memory, view: Callable[[Any], Any]) -> None:
    array = aligned_empty((MEGABYTE,))
    left = view(array)
    del array
    assert memory.n_kept == 0
    del left
    assert memory.n_kept == MEGABYTE


def test_memory_is_reused(memory: _Memory) -> None:
    first = aligned_empty((MEGABYTE,))
    address = first.ctypes.data
    del first
    assert memory.n_kept == MEGABYTE
    assert not memory._lent
    second = aligned_empty((MEGABYTE - 1000,))  # rounded up to the same size
    assert second.ctypes.data == address
    assert memory.n_kept == 0
    other = aligned_empty((MEGABYTE // 2,))
    assert other.ctypes.data != address
    assert len(memory._lent) == 2


def test_kept_memory_is_bounded_and_the_oldest_is_dropped() -> None:
    memory = _Memory(max_kept=4 * MEGABYTE)
    lent = [memory.lend(MEGABYTE) for _ in range(6)]
    addresses = [array.ctypes.data for array in lent]
    while lent:
        del lent[0]
    assert memory.n_kept == 4 * MEGABYTE
    again = [memory.lend(MEGABYTE) for _ in range(4)]
    assert [array.ctypes.data for array in again] == addresses[:1:-1]
    assert memory.n_kept == 0
    large = memory.lend(5 * MEGABYTE)
    del large
    assert memory.n_kept == 0


def test_nothing_is_kept_or_reused_while_the_lock_is_taken(memory: _Memory) -> None:
    array = aligned_empty((MEGABYTE,))
    with memory._lock:
        other = aligned_empty((MEGABYTE,))  # does not wait
        del array
        assert memory.n_kept == 0
    del other
    assert memory.n_kept == MEGABYTE


def test_masks_reuse_the_memory_of_dropped_masks(memory: _Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    n_new: list[int] = []
    from_system = _aligned._from_system
    monkeypatch.setattr(_aligned, "_from_system", lambda n_bytes: n_new.append(n_bytes) or from_system(n_bytes))
    geometry = sample_geometries()[60]
    for make in (rasterize, rasterize_packed, lambda geometry: rasterize(geometry, (3000, 1500))):
        first = make(geometry)
        expected = first.copy()
        del first
        kept = memory.n_kept
        assert n_new
        n_new.clear()
        second = make(geometry)
        assert not n_new
        assert (second == expected).all()
        del second
        assert memory.n_kept == kept


@pytest.mark.slow
def test_the_memory_of_a_mask_in_use_is_never_reused(memory: _Memory) -> None:
    """With several threads, and with the garbage collector running."""
    geometries = sample_geometries()[:16]
    expected = [rasterize(geometry, (256, 256)).copy() for geometry in geometries]
    wrong: list[int] = []

    def work(seed: int) -> None:
        rng = np.random.default_rng(seed)
        alive: dict[int, np.ndarray] = {}
        for _ in range(150):
            index = int(rng.integers(len(geometries)))
            alive[index] = rasterize(geometries[index], (256, 256))
            if rng.random() < 0.3:
                alive.pop(int(rng.choice(list(alive))))
            if rng.random() < 0.05:
                gc.collect(0)
            wrong.extend(index for index, mask in alive.items() if not (mask == expected[index]).all())

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_neither_shares_memory_nor_waits(memory: _Memory) -> None:
    array = aligned_zeros((MEGABYTE,))
    with memory._lock:  # as if another thread of the parent held it
        child = os.fork()
        if child == 0:
            code = 1
            try:
                array[:] = 1
                other = aligned_empty((MEGABYTE,))
                del other
                del array
                code = 0 if _aligned._memory.n_kept == MEGABYTE else 2
            finally:
                os._exit(code)
        assert os.waitpid(child, 0)[1] == 0
    assert not array.any()


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="it reads /proc")
def test_the_settings_of_malloc_do_not_change() -> None:
    """
    glibc returns a freed block to the system at once if it is larger than all blocks that were freed before. This still
    holds for a block of 1.5 MB after the import and after many masks, which are larger.
    """
    script = f"""
import asyncio, ctypes, sys
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096
def returned(n_bytes=3 << 19):
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    libc.free.argtypes = [ctypes.c_void_p]
    block = libc.malloc(n_bytes)
    ctypes.memset(block, 1, n_bytes)
    before = resident()
    libc.free(block)
    return before - resident() > n_bytes // 2
import alphastream_gpu
from alphastream_gpu import rasterize, rasterize_packed
async def read():
    async with await alphastream_gpu.open_async({str(SAMPLE)!r}) as stream:
        return [geometry async for geometry in stream.frames()]
for geometry in asyncio.run(read()):
    rasterize(geometry)
    rasterize_packed(geometry)
    rasterize(geometry, (1024, 512))
assert returned()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="page faults are counted differently")
def test_a_mask_costs_no_page_faults() -> None:
    """In a new process, whose malloc returns every large block to the system."""
    script = f"""
import asyncio, resource
import alphastream_gpu
from alphastream_gpu import rasterize
async def read():
    async with await alphastream_gpu.open_async({str(SAMPLE)!r}) as stream:
        return [geometry async for geometry in stream.frames()]
geometries = asyncio.run(read())
rasterize(geometries[0])
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for geometry in geometries:
    rasterize(geometry)
print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / len(geometries))
"""
    tunables = "glibc.malloc.mmap_threshold=131072:glibc.malloc.trim_threshold=131072"
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"GLIBC_TUNABLES": tunables},
    )
    # Without reuse there were 1,184. The remaining page faults are at the top of the heap and differ between runs.
    assert float(done.stdout) < 256
