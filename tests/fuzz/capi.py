"""
Fuzz target: the functions behind the C library, called with whatever a host may pass.

The input is a sequence of calls: handles that are right, destroyed or made up; paths, names and numbers of any kind;
streams that are right, bent or none. They go to `Entry` with a real cffi FFI and no compiled library. Whatever comes:
nothing raises, the code is one of the table's, there is a text exactly where there is a code, and what was handed out
stays as it was for as long as the header says.
"""

from __future__ import annotations

import atexit
import gc
import os
import shutil
import tempfile
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import cffi
import numpy as np
from support import SQUARE, asvp_of, block_of

from alphastream_gpu import ErrorCode, FrameGeometry, rasterize
from alphastream_gpu._capi.declarations import cdef, error_codes
from alphastream_gpu._capi.entry import Entry
from alphastream_gpu._capi.options import OPTION_NAMES
from alphastream_gpu._capi.states import FrameState, StreamState
from alphastream_gpu._format.cipher import PASSPHRASE_VARIABLE
from fuzz import Feed, within_memory
from fuzz.container import built

__all__ = ["check"]

_MEMORY = 24 << 20
"""Bytes: three handles, their threads and caches, and masks of 64 KiB made ahead, 256 a handle at the most, and 16 that
were polled."""
_MOST_CALLS = 40
_MOST_PIXELS = 1 << 16
_CODES: Final = {int(code) for code in error_codes().values()}
_NUMBERS = (0, 1, 2, 3, 8, 100, 120, 0xFFFF, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF)
_SIZES = (1, 2, 8, 24, 63, 64, 65, 200, 0, 16384, 16385, 0xFFFF_FFFF)
_GOOD = asvp_of([block_of(SQUARE), block_of(b"\0\0\0\0"), b"\xff" * 9, block_of(SQUARE)])
_GOOD_FRAMES = {0: SQUARE, 1: b"\0\0\0\0", 3: SQUARE}
_VALUES: Final = (
    None, b"", b"0", b"1", b"2", b"12.5", b"-1", b"1e400", b"nan", b"true", b"no", b"both", b"none", b"60000/1001",
    b"1/0", b"64x32", b"9x9x9", b"X-Name: a value", b"X-Name: a\r\nB: c", b"  " + 64 * b"a", 64 * b"g", 5000 * b"9",
)  # fmt: skip
_STAYS = (".", "/nowhere/at.all", "", "file://host/x.asvp", "ftp://host/x.asvp", "http://[x", "file:good.asvp", "\x00")


@dataclass
class _Handed:
    """What a handle has handed out, and what it held at that time."""

    pointer: Any
    data: bytes


@dataclass
class _Host:
    """What the caller knows of a handle."""

    handle: Any
    size: tuple[int, int] | None = None
    """Of the masks; None where nothing is loaded."""
    is_good: bool = False
    has_options: bool = False
    """What options may change is not known: the stream's size, its limits, whether its masks are ready in time."""
    mask: _Handed | None = None
    strip: _Handed | None = None
    polled: _Handed | None = None


@dataclass
class _Session:
    """One input's calls."""

    feed: Feed
    ffi: Any
    entry: Entry
    hosts: list[_Host] = field(default_factory=list)
    dead: list[Any] = field(default_factory=list)

    def run(self) -> None:
        calls = (self.create, self.destroy, self.init, self.option, self.frame, self.frame, self.strip, self.ask)
        later = (self.poll, self.poll, self.advance)
        try:
            for _ in range(_MOST_CALLS):
                if not self.feed:
                    break
                number = self.feed.number()
                # The others keep the numbers that they have in the kept inputs.
                (calls if number < 0xD0 else later)[number % len(calls if number < 0xD0 else later)]()
            for host in self.hosts:
                self.check_handed(host)
        finally:
            self.entry.exit()
        for host in self.hosts:
            assert self.entry.get_last_error_code(host.handle) == -1

    def create(self) -> None:
        if len(self.hosts) < 3:
            handle = self.entry.create()
            assert handle != self.ffi.NULL
            assert all(handle != other for other in [*self.dead, *(host.handle for host in self.hosts)])
            self.hosts.append(_Host(handle))
            self.check_state(self.hosts[-1])
            assert self.code(self.hosts[-1]) == 0

    def destroy(self) -> None:
        host = self.pick()
        if host is None:
            return
        self.check_handed(host)
        self.entry.destroy(host.handle)
        self.hosts.remove(host)
        self.dead.append(host.handle)
        self.entry.destroy(host.handle)
        self.check_none(host.handle)

    def init(self) -> None:
        host = self.pick()
        if host is None:
            return
        feed = self.feed
        url, is_good = self.url()
        width, height = _SIZES[feed.number() % len(_SIZES)], _SIZES[feed.number() % len(_SIZES)]
        if width <= 16384 and height <= 16384 and width * height > _MOST_PIXELS:
            width = height = 100
        spelled = (None, b"1.5.0", feed.take(3))[feed.number() % 3]
        version = self.ffi.NULL if spelled is None else self.text(spelled)
        is_good = is_good and not host.has_options and _is_utf8((spelled or b"").partition(b"\0")[0])
        numbers = [_NUMBERS[feed.number() % len(_NUMBERS)] for _ in range(7)]
        # As a host may wait for frames that never come: no more than 300 ms here.
        numbers[5] = min(numbers[5] or 300, 300)
        scene, start, ready, cached, ahead, init_ms, data_ms = numbers
        done = self.entry.init(
            host.handle, url, scene, width, height, version, start, ready, cached, ahead, init_ms, data_ms
        )
        assert isinstance(done, bool)
        assert done == (self.code(host) == 0)
        is_size = 1 <= width <= 16384 and 1 <= height <= 16384
        assert is_size or not done
        if is_good and is_size:
            # A machine that is busy elsewhere may take the tenth of a second that a host allows at the least.
            assert done or self.code(host) == ErrorCode.TIMEOUT, self.message(host.handle)
        host.size, host.is_good = ((width, height), is_good) if done else (None, False)
        self.check_state(host)

    def option(self) -> None:
        """A name and a value of any kind: it is set, or refused with a text that does not show a passphrase."""
        host = self.pick()
        if host is None:
            return
        kind = self.feed.number()
        name = OPTION_NAMES[kind % len(OPTION_NAMES)].encode() if kind < 0xE0 else self.feed.take(kind & 0x1F)
        value = _VALUES[self.feed.number() % len(_VALUES)]
        if value is None:
            value = self.feed.take(self.feed.number())
        pointers = [self.ffi.new("char[]", text) for text in (name, value)]
        is_null = kind % 64 == 9
        done = self.entry.set_option(host.handle, pointers[0], self.ffi.NULL if is_null else pointers[1])
        assert isinstance(done, bool)
        assert done == (self.code(host) == 0)
        host.has_options |= done
        text = value.partition(b"\0")[0].strip()
        if name == b"passphrase" and len(text) > 8:
            assert text.decode("latin-1") not in self.message(host.handle)
        self.check_state(host)

    def frame(self) -> None:
        host = self.pick()
        if host is None:
            return
        index = self.index()
        self.check_handed(host)
        host.mask = None
        pointer = self.entry.get_frame(host.handle, index)
        code = self.code(host)
        if pointer == self.ffi.NULL:
            assert code != 0
        else:
            assert code == 0
            assert host.size is not None
            assert int(self.ffi.cast("uintptr_t", pointer)) % 64 == 0
            width, height = host.size
            data = bytes(self.ffi.buffer(pointer, width * height))
            assert not set(data) - {0, 255}
            host.mask = _Handed(pointer, data)
            if host.is_good:
                geometry = FrameGeometry.from_payload(_GOOD_FRAMES[index])
                assert data == rasterize(geometry, host.size).tobytes()
        if host.is_good and index > 3:
            assert code == 3
        self.check_state(host)

    def strip(self) -> None:
        host = self.pick()
        if host is None:
            return
        index = self.index()
        self.check_handed(host)
        vertices, count = self.ffi.new("float**"), self.ffi.new("size_t*")
        lacking = self.feed.number()
        given = (self.ffi.NULL if lacking % 8 == 1 else vertices, self.ffi.NULL if lacking % 8 == 2 else count)
        if self.ffi.NULL not in given:
            host.strip = None
        done = self.entry.get_triangle_strip_vertices(host.handle, index, *given)
        assert isinstance(done, bool)
        assert done == (self.code(host) == 0)
        assert (vertices[0] != self.ffi.NULL) <= done
        if done:
            data = bytes(self.ffi.buffer(vertices[0], 4 * count[0])) if count[0] else b""
            assert count[0] % 2 == 0
            assert np.isfinite(np.frombuffer(data, np.float32)).all()
            host.strip = _Handed(vertices[0], data)
        self.check_state(host)

    def poll(self) -> None:
        """A mask as soon as it is ready, how far it is, and sometimes the end of waiting for it."""
        host = self.pick()
        if host is None:
            return
        index, number = self.index(), self.feed.number()
        self.check_handed(host)
        host.polled = None
        pointer = self.entry.poll_frame(host.handle, index)
        assert (pointer == self.ffi.NULL) == (self.code(host) != 0)
        if pointer != self.ffi.NULL:
            assert host.size is not None
            assert int(self.ffi.cast("uintptr_t", pointer)) % 64 == 0
            width, height = host.size
            data = bytes(self.ffi.buffer(pointer, width * height))
            host.polled = _Handed(pointer, data)
            if host.is_good:
                assert data == rasterize(FrameGeometry.from_payload(_GOOD_FRAMES[index]), host.size).tobytes()
        self.check_state(host)
        state = self.entry.get_frame_state(host.handle, index)
        assert state in FrameState._value2member_map_
        assert (state < 0) == (self.code(host) != 0)
        assert host.polled is None or state == FrameState.READY or host.has_options
        self.check_state(host)
        if number % 4 == 1:
            done = self.entry.cancel_frame(host.handle, index)
            assert done == (self.code(host) == 0)
            assert done or host.size is None or index >= self.entry.get_total_frames(host.handle)
            self.check_handed(host)
        if number % 4 == 2:
            done = self.entry.seek(host.handle, index, number - 128)
            assert isinstance(done, bool)
            assert done == (self.code(host) == 0)

    def advance(self) -> None:
        """Ranges of any kind, and the ranges that are here, in memory that is too small, large enough, or missing."""
        host = self.pick()
        if host is None:
            return
        entry, ffi, handle = self.entry, self.ffi, host.handle
        start, stop, number = self.index(), self.index(), self.feed.number()
        identity = entry.prefetch(handle, start, stop)
        assert (identity != 0) == (self.code(host) == 0)
        for other in (identity, self.feed.number(4)):
            state = entry.get_prefetch_state(handle, other)
            assert state in FrameState._value2member_map_
            assert (state < 0) == (self.code(host) != 0)
            if number % 2:
                assert entry.cancel_prefetch(handle, other) == (self.code(host) == 0)
        capacity = (0, 1, 2, 3, 1 << 31, (1 << 64) - 1)[number % 6]
        array = ffi.new("alphastream_range[]", 4)  # there are four frames
        ffi.buffer(array)[:] = b"\xa5" * ffi.sizeof(array)
        is_null = number >= 0xE0
        count = entry.get_buffered_ranges(handle, ffi.NULL if is_null else array, capacity)
        assert (self.code(host) == 0) == (host.size is not None and not (is_null and capacity))
        n_written = 0 if is_null or self.code(host) != 0 else min(count, capacity)
        assert bytes(ffi.buffer(array)[16 * n_written :]) == b"\xa5" * (64 - 16 * n_written)
        ranges = [(one.start, one.stop) for one in array[0:n_written]]
        assert all(one[0] < one[1] <= entry.get_total_frames(handle) for one in ranges)
        assert all(before[1] < after[0] for before, after in pairwise(ranges))
        self.check_state(host)

    def ask(self) -> None:
        """A handle that is none, and a little time for threads to be late."""
        made_up = self.feed.number(8)
        for host in self.hosts:
            if int(self.ffi.cast("uintptr_t", host.handle)) == made_up:
                return
        self.check_none(self.ffi.cast("void*", made_up))
        if made_up % 16 == 1:
            gc.collect()

    def pick(self) -> _Host | None:
        if not self.hosts:
            self.create()
        return self.hosts[self.feed.number() % len(self.hosts)]

    def index(self) -> int:
        number = self.feed.number()
        return self.feed.number(8) if number == 0xFF else number % 6

    def url(self) -> tuple[Any, bool]:
        """A path of any kind, and whether it leads to the good stream."""
        kind = self.feed.number()
        folder = _folder()
        match kind % 8:
            case 0:
                return self.ffi.NULL, False
            case 1:
                return self.text(self.feed.take(kind >> 3)), False
            case 2:
                return self.text(_STAYS[(kind >> 3) % len(_STAYS)].encode()), False
            case 3 | 4:
                name = "bent.asvr" if kind == 4 else "bent.asvp"  # scrypt takes 50 ms, so seldom
                (folder / name).write_bytes(built(self.feed.take(kind)))
                return self.text(os.fsencode(folder / name)), False
            case 5:
                return self.text(os.fsencode(folder)), False
            case _:
                return self.text(os.fsencode(folder / "good.asvp")), True

    def text(self, data: bytes) -> Any:
        """A C string. Addresses of servers are left out: nothing here may leave the machine."""
        return self.ffi.new("char[]", b"x" if data.lower().startswith(b"http") and b"[" not in data else data)

    def code(self, host: _Host) -> int:
        code = self.entry.get_last_error_code(host.handle)
        assert code in _CODES
        return int(code)

    def message(self, handle: Any) -> str:
        text: str = self.ffi.string(self.entry.get_last_error_text(handle)).decode("utf-8")
        assert "\n" not in text
        assert not text.startswith("internal error")
        return text

    def check_state(self, host: _Host) -> None:
        """What the other functions say fits."""
        assert bool(self.message(host.handle)) == (self.code(host) != 0)
        width, height = host.size or (0, 0)
        assert self.entry.get_frame_size(host.handle) == width * height
        n_frames = self.entry.get_total_frames(host.handle)
        assert n_frames == 4 if host.is_good else n_frames >= 0
        assert host.size is not None or n_frames == 0
        code, state = self.code(host), self.entry.get_state(host.handle)
        assert state in StreamState._value2member_map_
        assert (state > StreamState.OPENING) == (host.size is not None)
        assert (self.entry.get_buffered_seconds(host.handle) > 0) <= (host.size is not None)
        assert self.code(host) == code

    def check_handed(self, host: _Host) -> None:
        """What was handed out is still there, unchanged."""
        for handed in (host.mask, host.strip, host.polled):
            if handed is not None and handed.data:
                assert bytes(self.ffi.buffer(handed.pointer, len(handed.data))) == handed.data, "changed after the call"

    def check_none(self, handle: Any) -> None:
        """What every function says of a handle that is none."""
        entry, null = self.entry, self.ffi.NULL
        assert entry.get_last_error_code(handle) == -1
        assert self.message(handle)
        assert entry.get_total_frames(handle) == 0
        assert entry.get_frame_size(handle) == 0
        assert entry.get_frame(handle, 0) == null
        assert not entry.get_triangle_strip_vertices(handle, 0, self.ffi.new("float**"), self.ffi.new("size_t*"))
        assert not entry.init(handle, self.text(b"x"), 0, 8, 8, null, 0, 0, 0, 0, 1, 1)
        assert entry.get_state(handle) == entry.get_frame_state(handle, 0) == entry.get_prefetch_state(handle, 1) == -1
        assert entry.poll_frame(handle, 0) == null
        assert not entry.cancel_frame(handle, 0)
        assert not entry.seek(handle, 0, 1)
        assert not entry.prefetch(handle, 0, 1)
        assert not entry.cancel_prefetch(handle, 1)
        assert entry.get_buffered_ranges(handle, null, 7) == 0
        assert entry.get_buffered_seconds(handle) == 0.0
        entry.destroy(handle)


def check(data: bytes, *, always_measure: bool = False) -> None:
    """No sequence of calls raises, lies about its outcome, or takes back what it gave."""
    _folder()
    os.environ.setdefault(PASSPHRASE_VARIABLE, os.urandom(32).hex())
    ffi = _ffi()
    within_memory(lambda: _Session(Feed(data), ffi, Entry(ffi)).run(), data, _MEMORY, always=always_measure)


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


@cache
def _ffi() -> Any:
    ffi = cffi.FFI()
    ffi.cdef(cdef())  # for its structures
    return ffi


@cache
def _folder() -> Path:
    """The process's own folder for streams."""
    folder = Path(tempfile.mkdtemp(prefix="alphastream-fuzz-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    (folder / "good.asvp").write_bytes(_GOOD)
    return folder
