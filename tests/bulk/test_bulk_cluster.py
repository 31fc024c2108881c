"""
Bulk jobs on clusters of dask with real processes, which are killed on the way: workers, the client, the scheduler.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from inputfiles import moving_masks
from test_mask_array import CONFIG, small_stream

from alphastream_gpu import AsvrKey, AsvrWriter, BulkError, KeyFromEnvironment, TransportError, bulk, open
from alphastream_gpu._bulk import dasks, jobs, tasks

dask = pytest.importorskip("dask")
distributed = pytest.importorskip("distributed")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL"),
]

N = 60
STREAM = small_stream(N)
QUICK = {
    "distributed.scheduler.allowed-failures": 0,
    "distributed.comm.timeouts.connect": "3s",
    "distributed.comm.retry.count": 0,
}
"""A scheduler gives up a task when the first worker ends, and a client gives up a scheduler after three seconds."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "person.asvp"
    path.write_bytes(STREAM)
    return path


@pytest.fixture
def cluster() -> Iterator[Any]:
    """Two processes."""
    with (
        dask.config.set(QUICK),
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0", host="127.0.0.1", silence_logs=50
        ) as made,
    ):
        yield made


@pytest.fixture
def client(cluster: Any) -> Iterator[Any]:
    with distributed.Client(cluster, set_as_default=False) as made:
        yield made


def expected(path: Path) -> str:
    return bulk.statistics(path, config=CONFIG, scheduler="process").to_json()


def slow(array: Any, start: int, stop: int, **options: Any) -> Any:
    """A task that takes a while."""
    time.sleep(0.2)
    return tasks.statistics_of(array, start, stop, **options)


def deadly(array: Any, start: int, stop: int, **options: Any) -> Any:
    """A task that ends its worker for one of the spans."""
    if start == 20:
        os.kill(os.getpid(), signal.SIGKILL)
    return slow(array, start, stop, **options)


@pytest.mark.parametrize("fetching", [False, True])
@pytest.mark.parametrize("status", ["running", "connecting", "closed"])
def test_a_result_that_is_lost_with_its_worker(status: str, fetching: bool) -> None:
    """The client cancels the future of a worker that ended, and all futures if the scheduler is gone."""

    def result() -> None:
        raise asyncio.CancelledError

    future = SimpleNamespace(status="finished" if fetching else "cancelled", result=result)
    job = dasks._Job(SimpleNamespace(status=status))
    if status == "running":
        assert job._outcome(SimpleNamespace(), future) is None  # type: ignore[arg-type]
    else:
        with pytest.raises(TransportError, match="the scheduler is gone"):
            job._outcome(SimpleNamespace(), future)  # type: ignore[arg-type]


def killing_at(n_frames: int, kill: Callable[[], object]) -> Callable[[int, int], None]:
    """A listener to the progress, which kills something once."""
    killed: list[int] = []

    def listen(done: int, total: int) -> None:
        if done >= n_frames and not killed:
            killed.append(done)
            kill()

    return listen


def test_the_same_bytes_after_a_worker_was_killed(
    path: Path, client: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(jobs, "statistics_of", slow)
    with dask.config.set({"distributed.scheduler.allowed-failures": 3}):
        workers = client.run(os.getpid)
        kill = killing_at(10, lambda: os.kill(next(iter(workers.values())), signal.SIGKILL))
        table = bulk.statistics(
            path, config=CONFIG, scheduler=client, span_frames=5, resume=tmp_path / "parts", progress=kill
        )
    assert table.to_json() == expected(path)
    assert len(list((tmp_path / "parts").iterdir())) == N // 5
    assert client.run(os.getpid).values() != workers.values()


def test_a_span_that_kills_its_workers_is_named(path: Path, client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "statistics_of", deadly)
    with pytest.raises(BulkError) as caught:
        bulk.statistics(path, config=CONFIG, scheduler=client, span_frames=5)
    assert caught.value.failures == (f"frames 20..24 of {path}: it ended each worker that it was given to",)
    assert [(part.start, part.stop) for part in caught.value.table.parts] == [(0, 20), (25, N)]


def test_a_damaged_frame_is_named(path: Path, client: Any) -> None:
    content = bytearray(STREAM)
    with open(path) as stream:
        offsets = stream._lifetime.open_session().reader.index.offsets
    content[int(offsets[7]) + 4 : int(offsets[7]) + 6] = b"xx"
    path.write_bytes(content)
    with pytest.raises(BulkError, match=r"1 not computed, .*frames 5\.\.9 of .*: frame 7: "):
        bulk.statistics(path, config=CONFIG, scheduler=client, span_frames=5)


def test_an_address_and_every_job(path: Path, cluster: Any, tmp_path: Path) -> None:
    address = cluster.scheduler_address
    other = tmp_path / "other.asvp"
    other.write_bytes(small_stream(N, seed=3))
    for job, arguments in (
        (bulk.statistics, ([path, other],)),
        (bulk.iou, ([(path, other)],)),
        (bulk.verify, ([path],)),
    ):
        options: Any = {"config": CONFIG, "span_frames": 17}
        if job is bulk.verify:
            options["method"] = "numpy"
        found = job(*arguments, scheduler=address, **options)  # type: ignore[operator]
        assert found.to_json() == job(*arguments, scheduler="process", **options).to_json()  # type: ignore[operator]
    import numpy as np

    for name in ("one", "two"):
        np.save(tmp_path / f"{name}.npy", moving_masks(5))
    inputs = [tmp_path / "one.npy", tmp_path / "two.npy"]
    table = bulk.encode(inputs, tmp_path / "out", scheduler=address, effort=1)
    assert table["frames"].tolist() == [5, 5]
    assert [Path(target).stat().st_size for target in table["target"]] == table["bytes"].tolist()


def test_no_secret_is_in_the_graph(
    tmp_path: Path, cluster: Any, client: Any, passphrase: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The workers of this cluster have no passphrase, so each span fails; its error has none, either. A worker that is
    started again, as on a machine that is busy, has the variable, whose text is not the passphrase of the file.
    """
    encrypted = tmp_path / "person.asvr"
    with AsvrWriter(encrypted, key=AsvrKey(passphrase, scene_id=7)) as writer:
        writer.add_frame(b"\0\0\0\0")
    client.wait_for_workers(2, timeout=60)
    monkeypatch.setenv("ALPHASTREAM_PASSPHRASE", passphrase.hex())
    seen: list[bytes] = []

    def look(*_: int) -> None:
        for key, state in list(cluster.scheduler.tasks.items()):
            seen.append(str(key).encode() + pickle.dumps(state.run_spec))

    with pytest.raises(BulkError, match=r"ALPHASTREAM_PASSPHRASE|the passphrase \(not shown\)") as caught:
        bulk.statistics(encrypted, key=KeyFromEnvironment(scene_id=7), scheduler=client, progress=look)
    assert passphrase.hex() not in str(caught.value)
    assert seen
    assert all(passphrase not in one and passphrase.hex().encode() not in one for one in seen)
    assert all(str(key).startswith("alphastream-") for key in cluster.scheduler.tasks)
    assert not any("person" in str(key) for key in cluster.scheduler.tasks)


SCRIPT = """
import os, signal, sys
from alphastream_gpu import Config, bulk

def die(done, total):
    if done >= 20:
        os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    path, parts, scheduler, is_killed = sys.argv[1:]
    table = bulk.statistics(
        path, config=Config(native_size=(24, 16)), scheduler=scheduler, resume=parts, span_frames=5,
        progress=die if is_killed == "killed" else None,
    )
    print(table.to_json())
"""


def test_the_same_bytes_after_the_client_was_killed(path: Path, tmp_path: Path) -> None:
    """With a cluster of its own, whose scheduler ends with it."""
    (tmp_path / "job.py").write_text(SCRIPT)
    parts = tmp_path / "parts"
    command = [sys.executable, tmp_path / "job.py", path, parts, "local"]
    killed = subprocess.run([*command, "killed"], capture_output=True, text=True, check=False, timeout=120)
    assert killed.returncode == -signal.SIGKILL
    n_kept = len(list(parts.iterdir()))
    assert 4 <= n_kept < N // 5
    kept = {one: one.stat().st_mtime_ns for one in parts.iterdir()}
    done = subprocess.run([*command, "whole"], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == expected(path)
    assert all(one.stat().st_mtime_ns == written for one, written in kept.items())


def test_the_same_bytes_after_the_scheduler_was_killed(path: Path, tmp_path: Path) -> None:
    (tmp_path / "serve.py").write_text("from distributed.cli.dask_scheduler import main\nmain()\n")
    (tmp_path / "work.py").write_text(
        "from distributed.cli.dask_worker import main\nif __name__ == '__main__':\n    main()\n"
    )
    where = tmp_path / "scheduler.json"
    quiet: Any = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    options = ["--host", "127.0.0.1", "--no-dashboard", "--port", "0", "--scheduler-file", where]
    scheduler = subprocess.Popen([sys.executable, tmp_path / "serve.py", *options], **quiet)
    options = ["--scheduler-file", where, "--nthreads", "1", "--no-dashboard", "--no-nanny", "--death-timeout", "60"]
    worker = subprocess.Popen([sys.executable, tmp_path / "work.py", *options], **quiet)
    try:
        with dask.config.set(QUICK):
            with distributed.Client(scheduler_file=str(where), set_as_default=False, timeout="60s") as client:
                client.wait_for_workers(1, timeout=60)
                with pytest.raises(TransportError, match="the scheduler is gone"):
                    bulk.statistics(
                        path,
                        config=CONFIG,
                        scheduler=client,
                        span_frames=1,
                        resume=tmp_path / "parts",
                        progress=killing_at(5, scheduler.kill),
                    )
            address = client.scheduler.address if client.scheduler is not None else "tcp://127.0.0.1:1"
            with pytest.raises(TransportError, match="scheduler 'tcp://.*': cannot be reached"):
                bulk.statistics(path, config=CONFIG, scheduler=address)
    finally:
        for process in (scheduler, worker):
            process.kill()
            process.wait()
    assert 5 <= len(list((tmp_path / "parts").iterdir())) <= N
    table = bulk.statistics(path, config=CONFIG, span_frames=1, resume=tmp_path / "parts")
    assert table.to_json() == expected(path)


def test_the_cluster_of_a_job_is_encrypted_and_keeps_memory() -> None:
    with dasks.local_cluster(2) as cluster, distributed.Client(cluster, set_as_default=False) as client:
        assert cluster.scheduler_address.startswith("tls://127.0.0.1:")
        found = client.run(os.environ.get, "MALLOC_TRIM_THRESHOLD_")
        assert set(found.values()) == {os.environ.get("MALLOC_TRIM_THRESHOLD_")}
    assert dasks.worker_environment({"A": 1, "MALLOC_TRIM_THRESHOLD_": 65536})["MALLOC_TRIM_THRESHOLD_"] is None


def test_clients_that_cannot_be_used(path: Path, cluster: Any) -> None:
    with pytest.raises(TypeError, match="expected the address of a scheduler, .* found int"):
        bulk.statistics(path, scheduler=5)

    async def within() -> None:
        async with distributed.Client(
            cluster.scheduler_address, asynchronous=True, set_as_default=False
        ) as asynchronous:
            bulk.statistics(path, scheduler=asynchronous)

    with pytest.raises(ValueError, match="expected a client that blocks, found an asynchronous one"):
        asyncio.run(within())
