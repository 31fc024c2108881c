"""
Bulk jobs: the areas of a long stream on two processes, beside a plain loop over the same task on one core.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
import streams
from conftest import facts, report

from alphastream_gpu import bulk, open_array
from alphastream_gpu._bulk.dasks import local_cluster

distributed = pytest.importorskip("distributed")

WORKERS = 2
FIELDS = ("area",)
FEW = 2048


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bulk") / "person.asvp"
    path.write_bytes(streams.asvp())
    return path


def cpu_seconds() -> float:
    return time.process_time()


def peak_megabytes() -> float:
    """Of this program alone: the peak in ``getrusage`` also counts the program that started it."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1000


def plain_loop(path: Path, n_frames: int) -> tuple[float, float]:
    """Seconds by the clock, and of the processor, of the same tasks one after the other, on one core."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        start, cpu = time.perf_counter(), time.process_time()
        with open_array(path) as array:
            for first in range(0, n_frames, 256):
                bulk.statistics_of(array, first, min(n_frames, first + 256), fields=FIELDS)
        return time.perf_counter() - start, time.process_time() - cpu
    finally:
        os.sched_setaffinity(0, cores)


def test_areas_on_two_processes(benchmark: Any, path: Path) -> None:
    plain_loop(path, 256)
    wall_of_loop, cpu_of_loop = plain_loop(path, streams.N_FRAMES)
    begun = time.perf_counter()
    with local_cluster(WORKERS) as cluster, distributed.Client(cluster, set_as_default=False) as client:
        bulk.statistics(path, fields=FIELDS, frames=(0, FEW), span_frames=64, scheduler=client)  # imports
        started = time.perf_counter() - begun
        cpu_before, peak_before = client.run(cpu_seconds), max(client.run(peak_megabytes).values())
        middle: list[float] = []

        def look(done: int, total: int) -> None:
            if not middle and 2 * done >= total:
                middle.append(max(client.run(peak_megabytes).values()))

        start = time.perf_counter()
        job = {"fields": FIELDS, "scheduler": client, "progress": look}
        table = benchmark.pedantic(lambda: bulk.statistics(path, **job), rounds=1)
        wall = time.perf_counter() - start
        cpu = sum(client.run(cpu_seconds).values()) - sum(cpu_before.values())
        peak = max(client.run(peak_megabytes).values())
    assert len(table) == streams.N_FRAMES
    report(
        f"bulk: areas of {streams.N_FRAMES:,} frames, {WORKERS} processes", wall / wall_of_loop, 0.6, "x a plain loop"
    )
    report("  processor time of the workers", cpu / cpu_of_loop, 1.2, "x a plain loop")
    report("  memory of a worker", peak, 200, "MB")
    report("  it grows in the second half by", peak - middle[0], 10, "MB")
    facts["  the plain loop takes"] = f"{wall_of_loop:.1f} s; processes and their imports {started:.1f} s more"
    facts["  before the job, a worker has"] = f"{peak_before:.0f} MB"


def test_the_variable_that_dask_sets(benchmark: Any, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the environment of the workers saves, on few frames."""
    _, cpu_of_loop = plain_loop(path, FEW)
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "65536")  # of the user, so that it stays
    with local_cluster(1) as cluster, distributed.Client(cluster, set_as_default=False) as client:
        bulk.statistics(path, fields=FIELDS, frames=(0, 256), scheduler=client)
        before = sum(client.run(cpu_seconds).values())
        options = {"fields": FIELDS, "frames": (0, FEW), "scheduler": client}
        benchmark.pedantic(lambda: bulk.statistics(path, **options), rounds=1)
        cpu = sum(client.run(cpu_seconds).values()) - before
    facts["  processor time with MALLOC_TRIM_THRESHOLD_=65536"] = f"{cpu / cpu_of_loop:.2f} x a plain loop"
