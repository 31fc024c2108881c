"""
The functions behind the C library, called in this process, and how they affect each other.
"""

from __future__ import annotations

import threading
from pathlib import Path

import cffi
import pytest
from support import SQUARE, asvp_of, block_of, wait_until

from alphastream_gpu._capi.entry import Entry
from alphastream_gpu._capi.handles import Handles


@pytest.mark.parametrize("bad", ["null", "empty", "not UTF-8", "missing"])
def test_a_failed_init_ends_the_stream_before_it(tmp_path_factory: pytest.TempPathFactory, bad: str) -> None:
    """For any reason of the failure. The header documents that nothing is loaded then."""
    folder = tmp_path_factory.mktemp("streams")
    path = folder / "good.asvp"
    path.write_bytes(asvp_of([block_of(SQUARE)]))
    ffi = cffi.FFI()
    entry = Entry(ffi)
    handle = entry.create()

    def init(url: bytes | None) -> bool:
        text = ffi.NULL if url is None else ffi.new("char[]", url)
        return entry.init(handle, text, 0, 16, 8, ffi.NULL, 0, 0, 0, 0, 0, 0)

    try:
        assert init(str(path).encode())
        assert (entry.get_total_frames(handle), entry.get_frame_size(handle)) == (1, 128)
        assert not init({"null": None, "empty": b"", "not UTF-8": b"\xff", "missing": str(folder / "no").encode()}[bad])
        assert entry.get_last_error_code(handle) == (-5 if bad == "missing" else -1)
        assert (entry.get_total_frames(handle), entry.get_frame_size(handle)) == (0, 0)
        assert entry.get_frame(handle, 0) == ffi.NULL
        assert entry.get_last_error_code(handle) == -2
        assert init(str(path).encode())
        assert entry.get_last_error_code(handle) == 0
    finally:
        entry.exit()


def test_the_last_stream_ends_also_without_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own thread closes it. If no thread can be started, the caller closes it and waits."""
    path = tmp_path / "good.asvp"
    path.write_bytes(asvp_of([block_of(SQUARE)]))
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name == "alphastream-leaving":
            raise RuntimeError("can't start new thread")
        start(thread)

    ffi = cffi.FFI()
    entry = Entry(ffi)
    handle = entry.create()
    url = ffi.new("char[]", str(path).encode())
    monkeypatch.setattr(threading.Thread, "start", refuse)
    try:
        for _ in range(2):
            assert entry.init(handle, url, 0, 16, 8, ffi.NULL, 0, 0, 0, 0, 0, 0)
        assert not entry.init(handle, ffi.NULL, 0, 16, 8, ffi.NULL, 0, 0, 0, 0, 0, 0)
        assert entry.get_total_frames(handle) == 0
    finally:
        entry.exit()
    wait_until(lambda: not any(thread.name.startswith("alphastream") for thread in threading.enumerate()))


@pytest.mark.parametrize("name", ["MainThread", "alphastream-loop"])
def test_exit_waits_for_streams_that_are_being_closed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not wait for the calling thread, or for a thread that is just being started."""
    gate = threading.Event()
    closing = threading.Thread(target=gate.wait, name="alphastream-leaving")
    closing.start()
    starting = threading.Thread(name="alphastream-decode_0")
    monkeypatch.setitem(threading._limbo, starting, starting)  # type: ignore[attr-defined]
    monkeypatch.setattr(threading.current_thread(), "name", name)
    opener = threading.Timer(0.1, gate.set)
    opener.start()
    Handles().destroy_all(30)
    assert gate.is_set()
    assert not closing.is_alive()
    opener.join()
