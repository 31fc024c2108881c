"""
Hosts: programs that use a stream from event loops, child processes, signal handlers and finalizers. Every call must
return, and none may hang.
"""

from __future__ import annotations

import asyncio
import copy
import gc
import importlib.util
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
import time
import weakref
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
from badserver import Server
from hosts import skip_or_fail
from support import SAMPLE, asvp_of, code_of, sample_geometries, wait_until

import alphastream_gpu
from alphastream_gpu import (
    AlphaStream,
    AsvpWriter,
    ByteRange,
    ClosedError,
    Config,
    ErrorCode,
    MemorySource,
    NotReadyError,
)
from alphastream_gpu._runtime import calls as calls_module
from alphastream_gpu._runtime import exit as exit_module

ROOT = Path(__file__).resolve().parents[1]
SLOWLY = Config(prefetch_frames=0, get_frame_timebox=1000)
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
needs_signals = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no interval timers")


def need_module(name: str) -> None:
    """Skip if an optional host library is not installed. CI fails only if ALPHASTREAM_REQUIRE_HOST_LOOPS is set."""
    if importlib.util.find_spec(name) is None:
        skip_or_fail(f"{name} is not installed: pip install {name}", "ALPHASTREAM_REQUIRE_HOST_LOOPS")


def run(script: str, *, timeout: float = 60) -> str:
    """Run a program of a host; return its output. A program that hangs fails, with the stacks of its threads."""
    head = f"import faulthandler\nfaulthandler.dump_traceback_later({timeout}, exit=True)\nSAMPLE = {str(SAMPLE)!r}\n"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", head + textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=timeout + 30,
        check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT.parent)])},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


# Event loops.


async def _play_async() -> int:
    async with await alphastream_gpu.open_async(SAMPLE) as stream:
        return len([geometry async for geometry in stream.frames()]) + (await stream.frame(7)).channel_count * 0


def test_on_asyncio() -> None:
    assert asyncio.run(_play_async()) == 120


def test_on_uvloop() -> None:
    need_module("uvloop")
    import uvloop

    assert uvloop.run(_play_async()) == 120


def test_in_a_running_loop_as_in_jupyter() -> None:
    """A cell runs on a thread whose event loop is already running, so plain calls must not need a loop on that
    thread."""

    async def cell() -> None:
        with alphastream_gpu.open(SAMPLE, config=SLOWLY) as stream:
            assert stream.get_frame(7) is not None
        assert await _play_async() == 120

    asyncio.run(cell())


def test_in_a_jupyter_kernel() -> None:
    """Cells of a real kernel: blocking calls, top-level await, and an interrupt as by the button "stop"."""
    need_module("ipykernel")
    printed = run("""
        import threading
        from jupyter_client.manager import start_new_kernel
        manager, client = start_new_kernel(startup_timeout=60)
        def cell(code):
            def show(message):
                content = message["content"]
                print(content.get("ename", ""), content.get("text", ""), end="")
            client.execute_interactive(code, timeout=60, output_hook=show)
        try:
            cell(f"import alphastream_gpu; stream = alphastream_gpu.open({SAMPLE!r})")
            cell("print(len(stream.read_frame(7).points) > 0, len(list(stream.read_frames())))")
            cell("print(len([one async for one in stream.frames(0, 9)]))")
            cell("print(await stream.frame(7) == stream.read_frame(7))")
            threading.Timer(1.0, manager.interrupt_kernel).start()
            cell("while True: stream.get_frame(3, 64, 32)")
            cell("print(stream.get_geometry(3) == stream.read_frame(3)); stream.close()")
        finally:
            client.stop_channels()
            manager.shutdown_kernel(now=True)
    """)
    assert printed.split() == ["True", "120", "9", "True", "KeyboardInterrupt", "True"]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_on_anyio(backend: str) -> None:
    """Over HTTP, because httpcore gets the name of the running library from sniffio's context variable."""
    need_module("anyio")
    if backend == "trio":
        need_module("trio")
    import anyio

    async def main(url: str) -> None:
        for open_it in (alphastream_gpu.open, lambda url: alphastream_gpu.open(url, config=SLOWLY)):
            stream = open_it(url)
            wait_until(lambda stream=stream: stream.get_geometry(100) is not None)
            stream.close()
        stream = await anyio.to_thread.run_sync(alphastream_gpu.open, url)
        stream.close()

    with Server(SAMPLE.read_bytes()) as server:
        anyio.run(main, server.url(), backend=backend)


@pytest.mark.slow
def test_under_gevent() -> None:
    """Under gevent, Python's threads are parts of one thread of the system, which does not end."""
    need_module("gevent")
    printed = run("""
        from gevent import monkey
        monkey.patch_all()
        import time
        import alphastream_gpu
        with open(SAMPLE, "rb") as file:
            data = file.read()
        started = time.monotonic()
        for _ in range(4):
            with alphastream_gpu.open(data) as stream:
                while stream.get_frame(3) is None:
                    time.sleep(0.01)
        print(time.monotonic() - started)
    """)
    assert float(printed) < 6  # waiting for the thread of the system took 3 s for each stream


# Processes.


@pytest.mark.slow
@needs_fork
@pytest.mark.parametrize("call", ["get_frame", "get_geometry", "get_triangle_strip_vertices", "stats", "load_source"])
def test_a_stream_of_the_parent_raises_in_a_forked_child(call: str) -> None:
    """Also if another thread held the lock of the stream when the process forked."""
    printed = run(f"""
        import os, signal, threading
        import alphastream_gpu
        stream = alphastream_gpu.open(SAMPLE)
        go_on = True
        def hammer(k):
            i = k
            while go_on:
                i = (i * 31 + 7) % 120
                stream.get_geometry(i)
                stream.stats()
        threads = [threading.Thread(target=hammer, args=(k,)) for k in range(4)]
        for thread in threads: thread.start()
        messages = set()
        for _ in range(40):
            reads, writes = os.pipe()
            child = os.fork()
            if child == 0:
                signal.signal(signal.SIGALRM, signal.SIG_DFL)
                signal.alarm(20)
                try:
                    getattr(stream, {call!r})(*{{"stats": (), "load_source": (SAMPLE,)}}.get({call!r}, (3,)))
                except alphastream_gpu.ClosedError as exc:
                    os.write(writes, str(exc).encode())
                stream.close()
                assert repr(stream) == "<AlphaStream of the parent process>"
                stream.last_error(), stream.metadata
                os._exit(0)
            os.close(writes)
            assert os.waitpid(child, 0)[1] == 0
            messages.add(os.read(reads, 1000).decode())
            os.close(reads)
        go_on = False
        for thread in threads: thread.join()
        assert stream.get_geometry(3) is not None or stream.last_error()
        stream.close()
        print(messages)
    """)
    assert printed == "{'the stream was opened before a fork; open it again in the child'}\n"


def _play_in_child(path: str, answer: Connection) -> None:
    with alphastream_gpu.open(path) as stream:
        answer.send(stream.metadata.frame_count)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_worker_processes(method: str) -> None:
    """With processes and pipes instead of a pool: the locks of a pool need /dev/shm, which containers may not have."""
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"this system does not {method}")
    if method == "fork":
        run("""
            import multiprocessing, alphastream_gpu
            def work(path, answer):
                with alphastream_gpu.open(path) as stream:
                    answer.send(stream.metadata.frame_count)
            context = multiprocessing.get_context("fork")
            with alphastream_gpu.open(SAMPLE):
                pipes = [context.Pipe(duplex=False) for _ in range(4)]
                children = [context.Process(target=work, args=(SAMPLE, writes)) for _, writes in pipes]
                for child in children: child.start()
                assert [reads.recv() for reads, _ in pipes] == [120] * 4
                for child in children: child.join()
                assert [child.exitcode for child in children] == [0] * 4
        """)
        return
    context = multiprocessing.get_context("spawn")
    reads, writes = context.Pipe(duplex=False)
    child = context.Process(target=_play_in_child, args=(str(SAMPLE), writes))
    child.start()
    writes.close()  # so that recv() raises EOFError if the child dies
    assert reads.recv() == 120
    child.join()
    assert child.exitcode == 0


@pytest.mark.parametrize("duplicate", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_stream_cannot_be_copied(duplicate: Any) -> None:
    with (
        alphastream_gpu.open(SAMPLE) as stream,
        pytest.raises(TypeError, match="give the other process the path"),
    ):
        duplicate(stream)


@needs_fork
def test_a_lock_that_another_thread_held_is_free_in_a_child() -> None:
    lock = calls_module.SafeLock()
    held, release = threading.Event(), threading.Event()

    def hold() -> None:
        with pytest.raises(RuntimeError, match="un-acquired"), lock:  # the lock was replaced meanwhile
            held.set()
            release.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(60)
    try:
        calls_module._renew_after_fork()
        with lock, lock:
            pass
    finally:
        release.set()
        thread.join(60)


# Signals.


@pytest.mark.slow
@needs_signals
@pytest.mark.parametrize("call", ["stats", "close", "get_geometry", "get_frame", "load_source"])
def test_a_signal_handler_that_calls_the_stream(call: str) -> None:
    """The call of the handler returns or raises, and the interrupted main thread goes on."""
    arguments = {"stats": "", "close": "", "load_source": "SAMPLE"}.get(call, "3")
    n_signals = 8 if call == "load_source" else 1 if call == "close" else 150
    for _ in range(6 if call == "close" else 1):
        printed = run(f"""
            import random, signal
            import alphastream_gpu
            stream = alphastream_gpu.open(SAMPLE)
            n = 0
            def handler(*_):
                global n
                n += 1
                try:
                    stream.{call}({arguments})
                except alphastream_gpu.NotReadyError as exc:
                    assert "within another call" in str(exc)
                arm()
            def arm():
                signal.setitimer(signal.ITIMER_REAL, random.uniform(0.0005, 0.003))
            signal.signal(signal.SIGALRM, handler)
            arm()
            i = 0
            try:
                while n < {n_signals} or {call == "close"}:
                    i = (i * 31 + 7) % 250
                    stream.get_geometry(i)
            except alphastream_gpu.ClosedError:
                pass
            signal.signal(signal.SIGALRM, signal.SIG_IGN)  # a late handler would start the timer again
            stream.close()
            print("ok")
        """)
        assert printed == "ok\n"


@pytest.mark.slow
@needs_fork
@pytest.mark.parametrize("call", ["stats", "get_geometry", "close"])
def test_a_signal_handler_that_runs_while_the_process_forks(call: str) -> None:
    """
    ``concurrent.futures`` holds a lock during a fork. Another thread may wait for that lock and hold the stream's lock.
    """
    printed = run(f"""
        import concurrent.futures.thread, os, threading
        import alphastream_gpu
        from alphastream_gpu._runtime import calls as _calls
        stream = alphastream_gpu.open(SAMPLE)
        stream.get_geometry(3)
        theirs = concurrent.futures.thread._global_shutdown_lock
        waits = threading.Event()
        def other():
            with stream._lifetime.lock:
                waits.set()
                with theirs: pass
        thread = threading.Thread(target=other)
        seen = []
        os.register_at_fork(after_in_parent=lambda: seen.append(_calls._mark.lock.locked()))
        _calls._before_fork()
        theirs.acquire()
        thread.start()
        waits.wait()
        stream.{call}(*{(3,) if call == "get_geometry" else ()})  # the handler
        theirs.release()
        _calls._after_fork()
        thread.join()
        child = os.fork()
        if child == 0:
            os._exit(_calls._mark.lock.locked())
        assert os.waitpid(child, 0)[1] == 0
        assert seen == [False], seen
        stream.close()
        print("ok")
    """)
    assert printed == "ok\n"


def test_a_call_within_a_call_is_refused() -> None:
    """A signal handler may make such a call, and the outer call may hold any lock."""
    with alphastream_gpu.open(SAMPLE, config=SLOWLY) as stream:
        with calls_module.entered("outer"):
            assert stream.get_frame(3) is None
            error = stream.last_error()
            assert error is not None
            assert error.code is ErrorCode.NOT_READY
            assert "get_frame: called within another call of this library on the same thread" in error.message
            with pytest.raises(NotReadyError, match="load_source: called within another call"):
                stream.load_source(SAMPLE)
            with pytest.raises(NotReadyError, match="AlphaStream: called within another call"):
                alphastream_gpu.open(SAMPLE)
            assert stream.stats().failed == 1
        assert stream.get_frame(3) is not None


# Finalizers, and code of others on the library's threads.


def test_close_within_a_call_is_handed_over() -> None:
    source = MemorySource(SAMPLE.read_bytes())
    stream = alphastream_gpu.open(source)
    with calls_module.entered("outer"):
        stream.close()
        assert repr(stream) == "<AlphaStream closed>"
    with pytest.raises(ClosedError):
        stream.get_frame(3)
    wait_until(lambda: stream not in exit_module._open)
    stream.close()


def test_a_source_that_closes_its_stream_while_it_is_read() -> None:
    class Closing(MemorySource):
        stream: AlphaStream | None = None
        is_closed = False

        async def read(self, span: ByteRange) -> memoryview:
            if self.stream is not None:
                self.stream.close()
            return await super().read(span)

        async def aclose(self) -> None:
            self.is_closed = True

    source = Closing(SAMPLE.read_bytes())
    with alphastream_gpu.open(MemorySource(SAMPLE.read_bytes()), config=SLOWLY) as other:
        source.stream = alphastream_gpu.open(source, config=Config(prefetch_frames=0))
        with pytest.raises(ClosedError):
            wait_until(lambda: source.stream is None or source.stream.get_geometry(110) is not None)
            source.stream.get_geometry(111)
        assert other.get_geometry(100) is not None
        wait_until(lambda: source.is_closed)


@pytest.mark.slow
def test_finalizers_that_close_streams() -> None:
    """The collector runs them on any thread that allocates: of the event loop, of a pool, or one that is just
    starting."""
    printed = run(
        """
        import gc, threading
        import alphastream_gpu
        seen = set()
        class Player:
            def __init__(self):
                self.stream = alphastream_gpu.open(SAMPLE)
                self.on_end = self.finish  # a cycle
            def finish(self): ...
            def __del__(self):
                seen.add(threading.current_thread().name.split("_")[0])
                self.stream.close()
        gc.set_threshold(150)
        for _ in range(250):
            Player()
        gc.collect()
        print(sorted(seen))
        """,
        timeout=100,
    )
    assert "alphastream-loop" in printed


def test_a_finalizer_that_runs_while_threads_are_listed() -> None:
    """``threading.enumerate`` holds a lock that a thread needs to end, and the collector may run during that call."""
    printed = run("""
        import threading
        import alphastream_gpu
        first, second = alphastream_gpu.open(SAMPLE), alphastream_gpu.open(SAMPLE)
        second.read_frame(3)
        real = threading.enumerate
        def listing():
            threading.enumerate = real
            with threading._active_limbo_lock:
                second.close()
            return real()
        threading.enumerate = listing
        first.close()
        print("ok")
    """)
    assert printed == "ok\n"


def test_a_finalizer_on_a_pools_thread() -> None:
    def close() -> None:
        stream.close()

    stream = alphastream_gpu.open(SAMPLE)
    stream._lifetime.products._ahead_pool.submit(close).result(30)
    wait_until(lambda: stream not in exit_module._open)


# Exit.


def test_exit_closes_all_streams_even_if_one_fails() -> None:
    printed = run("""
        import asyncio, atexit
        import alphastream_gpu
        class Bad(alphastream_gpu.MemorySource):
            async def aclose(self): raise RuntimeError("mine")
        class Good(alphastream_gpu.MemorySource):
            async def aclose(self): __import__("os").write(1, b"closed\\n")
        with open(SAMPLE, "rb") as file:
            data = file.read()
        streams = [alphastream_gpu.open(kind(data)) for kind in (Bad, Good, Bad, Good, Good)]
    """)
    assert printed == "closed\n" * 3


@pytest.mark.slow
@pytest.mark.parametrize("how", ["time.sleep(1e6)", "await asyncio.sleep(1e6)"])
def test_exit_does_not_wait_for_a_source_that_hangs(how: str) -> None:
    started = time.monotonic()
    printed = run(f"""
        import asyncio, time
        import alphastream_gpu
        class Hanging(alphastream_gpu.MemorySource):
            async def aclose(self): {how}
        class Good(alphastream_gpu.MemorySource):
            async def aclose(self): __import__("os").write(1, b"closed\\n")
        with open(SAMPLE, "rb") as file:
            data = file.read()
        good = alphastream_gpu.open(Good(data))
        hanging = alphastream_gpu.open(Hanging(data))
        if {"await" not in how}:
            good.close()
    """)
    assert printed == "closed\n"
    assert time.monotonic() - started < 30


def test_closing_during_load_source_waits_until_the_source_is_closed() -> None:
    class Slow(MemorySource):
        state = "open"

        async def read(self, span: ByteRange) -> memoryview:
            self.state = "reading"
            await asyncio.sleep(3600)
            return await super().read(span)

        async def aclose(self) -> None:
            self.state = "closing"
            await asyncio.sleep(0.2)
            self.state = "closed"

    source, stream = Slow(SAMPLE.read_bytes()), AlphaStream()

    def load() -> None:
        with pytest.raises(ClosedError):
            stream.load_source(source)

    thread = threading.Thread(target=load)
    thread.start()
    wait_until(lambda: source.state == "reading")
    stream.close()
    assert source.state == "closed"
    thread.join(30)


@pytest.mark.slow
def test_a_replaced_source_is_released() -> None:
    class Plain(MemorySource):
        """A class that supports weak references."""

    source: Plain | None = Plain(SAMPLE.read_bytes())
    known = weakref.ref(source)
    with alphastream_gpu.open(source, config=SLOWLY) as stream:
        source = None
        for index in range(5):
            stream.get_frame(index)
            stream.get_triangle_strip_vertices(index)
        stream.load_source(asvp_of([]))

        def is_gone() -> bool:
            gc.collect()
            return known() is None

        wait_until(is_gone)  # a thread of a pool may still make a mask of its frames
        assert code_of(stream) is None


# All at once.


@needs_fork
@needs_signals
def test_storm(tmp_path: Path) -> None:
    """
    Seeks on eight threads, load_source, forks and signals at the same time, for ALPHASTREAM_STORM_SECONDS (4).

    No call hangs, each mask and each geometry is that of its frame in one of the two streams that are loaded in turn,
    and the memory does not grow.
    """
    seconds = float(os.environ.get("ALPHASTREAM_STORM_SECONDS", "4"))
    other = tmp_path / "reversed.asvp"
    with AsvpWriter(other) as writer:
        for geometry in reversed(sample_geometries()):
            writer.add_frame(geometry)
    printed = run(
        f"""
        import gc, os, random, signal, threading, time
        import alphastream_gpu
        OTHER, SIZE = {str(other)!r}, (256, 128)
        with open(SAMPLE, "rb") as file:
            data = file.read()
        with alphastream_gpu.open(SAMPLE) as stream:
            frames = list(stream.read_frames())
        masks = [alphastream_gpu.rasterize(frame, SIZE).tobytes() for frame in frames]
        assert len({{*masks}}) > 100
        right = {{
            "get_frame": lambda index, got: got.tobytes() in (masks[index], masks[119 - index]),
            "get_geometry": lambda index, got: got in (frames[index], frames[119 - index]),
        }}
        stream = alphastream_gpu.open(SAMPLE)
        begin, end = time.monotonic(), time.monotonic() + {seconds}
        errors, n, n_right, n_signals = [], [0] * 8, [0] * 8, 0
        def ask(rng):
            index, call = rng.randrange(120), rng.choice(["get_frame", "get_geometry"])
            before = n_signals
            got = getattr(stream, call)(index, *(SIZE if call == "get_frame" else ()))
            error = stream.last_error()
            # A handler that runs in between, on this thread, leaves the error of its own call.
            is_own = n_signals == before or threading.current_thread() is not threading.main_thread()
            assert not is_own or (got is None) == (error is not None), (got, error)
            assert got is None or right[call](index, got), (call, index)
            return got is not None
        def seek(k):
            rng = random.Random(k)
            try:
                while time.monotonic() < end:
                    n_right[k] += ask(rng)
                    n[k] += 1
                    time.sleep(0.05)
            except BaseException as exc:
                errors.append(repr(exc))
        def load():
            try:
                while time.monotonic() < end:
                    stream.load_source(random.choice([SAMPLE, OTHER, data]))
                    time.sleep(0.1)
            except BaseException as exc:
                errors.append(repr(exc))
        def handler(*_):
            global n_signals
            n_signals += 1
            stream.stats()
            stream.get_geometry(3)
            signal.setitimer(signal.ITIMER_REAL, random.uniform(0.001, 0.02))
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, 0.001)
        threads = [threading.Thread(target=seek, args=(k,)) for k in range(8)] + [threading.Thread(target=load)]
        for thread in threads: thread.start()
        n_forks, memory = 0, []
        while time.monotonic() < end:
            child = os.fork()
            if child == 0:
                signal.setitimer(signal.ITIMER_REAL, 0)
                signal.signal(signal.SIGALRM, signal.SIG_DFL)
                signal.alarm(20)
                try:
                    stream.get_frame(3)
                    os._exit(1)
                except alphastream_gpu.ClosedError:
                    stream.close()
                    os._exit(0)
            status = os.waitpid(child, 0)[1]
            assert status == 0, status
            n_forks += 1
            for _ in range(20):
                ask(random)
            if os.path.exists("/proc/self/statm"):
                with open("/proc/self/statm") as file:
                    memory.append(int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20)
            time.sleep(0.05)
        signal.signal(signal.SIGALRM, signal.SIG_IGN)  # a late handler would start the timer again
        for thread in threads: thread.join()
        stream.close()
        assert not errors, errors
        assert min(n) and min(n_right) and n_forks and n_signals, (n, n_right, n_forks, n_signals)
        # The caches, the pools and the masks ahead of both streams fill up in the first half.
        half = len(memory) // 2
        grown = max(memory[half:], default=0) - max(memory[:half], default=0)
        assert grown < 16, memory
        print("ok", sum(n), n_forks, n_signals, f"{{grown:.1f}} MiB")
        """,
        timeout=seconds + 60,
    )
    assert printed.startswith("ok ")
