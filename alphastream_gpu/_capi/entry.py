"""
Entry: the Python functions that the C shim calls. They convert C values to Python and back. None raises or prints.
"""

from __future__ import annotations

import ctypes
import logging
import os
import sys
import threading
from contextlib import suppress
from typing import Any, Final

from .._exceptions import ErrorCode
from .._format.cipher import PASSPHRASE_VARIABLE
from .._raster.compiled import twin
from .declarations import PREFIX, functions
from .handles import Handles
from .player import Player
from .states import FrameState, StreamState

__all__ = ["Entry", "bind"]

_SWITCH_SECONDS: Final = 0.0005
"""How long a busy thread may keep the GIL from a player's call. Python's default is ten times that, nearly half of the
time box."""
_DEFAULT_TIMEOUT_MS: Final = 10_000
_EXIT_SECONDS: Final = 2.0
_MAX_TEXT_BYTES: Final = 2000
_NOT_UTF8: Final = "expected UTF-8, found other bytes"


class Entry:
    """
    The library in one process.

    Args:
        ffi: the FFI object of the embedding module.
    """

    def __init__(self, ffi: Any) -> None:
        self._ffi = ffi
        self._handles = Handles()
        self._null = ffi.NULL
        self._no_text = ffi.new("char[]", b"")
        self.answers_to_a_fault = {
            "get_last_error_code": int(ErrorCode.INVALID),
            "get_last_error_text": ffi.new("char[]", b"internal error, please report it"),
            "get_state": int(StreamState.FAILED),
            "get_frame_state": int(FrameState.FAILED),
            "get_prefetch_state": int(FrameState.FAILED),
        }
        """The value that each function returns if it raises in spite of its checks. The others return zero."""
        self._no_handle = ffi.new("char[]", b"invalid handle: not created by libalphastream, or destroyed")

    def start(self, owns_interpreter: bool) -> None:
        """
        Prepare the interpreter. If the library owns it, nothing may be printed: standard error belongs to the host.
        """
        if not owns_interpreter:
            return
        twin.use_kept()  # no thread may compile in an interpreter that is never finalized
        sys.setswitchinterval(_SWITCH_SECONDS)
        sys.stdout = sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - open until exit
        logging.lastResort = None  # it prints warnings if there is no handler
        threading.excepthook = lambda arguments: None

    def exit(self) -> None:
        """Close the streams that the host left open."""
        self._handles.destroy_all(_EXIT_SECONDS)

    def create(self) -> Any:
        return self._ffi.cast("void*", self._handles.create())

    def destroy(self, handle: Any) -> None:
        self._handles.destroy(self._number(handle))

    def get_last_error_code(self, handle: Any) -> int:
        player = self._player(handle)
        if player is None:
            return -1
        error = player.error  # read once: another thread may clear it
        return 0 if error is None else int(error.code)

    def get_last_error_text(self, handle: Any) -> Any:
        player = self._player(handle)
        error = None if player is None else player.error
        if player is None or error is None:
            return self._no_handle if player is None else self._no_text
        text = " ".join(error.message.split()).encode("utf-8", "replace").replace(b"\0", b"?")
        text = text[:_MAX_TEXT_BYTES].decode("utf-8", "ignore").encode()  # cuts no character in two
        return player.texts.give(self._ffi.new("char[]", text))

    def get_total_frames(self, handle: Any) -> int:
        player = self._player(handle)
        return 0 if player is None else player.n_frames

    def get_frame_size(self, handle: Any) -> int:
        player = self._player(handle)
        return 0 if player is None else player.frame_size

    def init(
        self,
        handle: Any,
        base_url: Any,
        scene_id: int,
        width: int,
        height: int,
        version: Any,
        start_frame: int,
        l0_buffer_length: int,
        l1_buffer_length: int,
        l1_buffer_init_length: int,
        init_timeout_ms: int,
        data_timeout_ms: int,
    ) -> bool:
        player = self._player(handle)
        if player is None:
            return False
        try:
            url, version_text = self._text(base_url), self._text(version)
        except UnicodeDecodeError:
            return player.refuse_init(f"base_url, version: {_NOT_UTF8}")
        if not url:
            return player.refuse_init(
                f"base_url: expected a path or URL, found {'null' if url is None else 'an empty text'}"
            )
        return player.init(
            url,
            scene_id=scene_id,
            size=(width, height),
            version=version_text,
            start_frame=start_frame,
            ready_frames=l0_buffer_length,
            cache_frames=l1_buffer_length,
            init_frames=l1_buffer_init_length,
            init_timeout=(init_timeout_ms or _DEFAULT_TIMEOUT_MS) / 1000,
            data_timeout=(data_timeout_ms or _DEFAULT_TIMEOUT_MS) / 1000,
            environ=_environment(),
        )

    def set_option(self, handle: Any, name: Any, value: Any) -> bool:
        player = self._player(handle)
        if player is None:
            return False
        try:
            name_text, value_text = self._text(name), self._text(value)
        except UnicodeDecodeError:
            player.refuse(f"name, value: {_NOT_UTF8}")
            return False
        if name_text is None or value_text is None:
            player.refuse("name, value: expected texts, found null")
            return False
        return player.set_option(name_text, value_text)

    def get_frame(self, handle: Any, frame_index: int) -> Any:
        player = self._player(handle)
        mask = None if player is None else player.frame(frame_index)
        if mask is None:
            return self._null
        # Not mask.ctypes, which takes as long as everything else together.
        return self._ffi.cast("void*", mask.__array_interface__["data"][0])

    def get_triangle_strip_vertices(self, handle: Any, frame_index: int, out_vertices: Any, out_count: Any) -> bool:
        player = self._player(handle)
        if player is None:
            return False
        if not out_vertices or not out_count:
            player.refuse("out_vertices, out_count: expected addresses, found null")
            return False
        strip = player.strip(frame_index)
        if strip is None:
            return False
        out_vertices[0] = self._ffi.cast("float*", strip.__array_interface__["data"][0])
        out_count[0] = strip.size
        return True

    def get_state(self, handle: Any) -> int:
        player = self._player(handle)
        return int(StreamState.FAILED if player is None else player.state)

    def seek(self, handle: Any, frame_index: int, direction: int) -> bool:
        player = self._player(handle)
        return player is not None and player.seek(frame_index, reverse=direction < 0)

    def poll_frame(self, handle: Any, frame_index: int) -> Any:
        player = self._player(handle)
        mask = None if player is None else player.poll(frame_index)
        return self._null if mask is None else self._ffi.cast("void*", mask.__array_interface__["data"][0])

    def cancel_frame(self, handle: Any, frame_index: int) -> bool:
        player = self._player(handle)
        return player is not None and player.cancel(frame_index)

    def get_frame_state(self, handle: Any, frame_index: int) -> int:
        player = self._player(handle)
        return int(FrameState.FAILED if player is None else player.frame_state(frame_index))

    def get_buffered_ranges(self, handle: Any, out_ranges: Any, capacity: int) -> int:
        player = self._player(handle)
        if player is None:
            return 0
        if capacity and not out_ranges:
            player.refuse("out_ranges: expected an address, found null with a capacity above 0")
            return 0
        ranges = player.buffered()
        # One by one: an array of the capacity that the host says could not even be declared.
        for place, (start, stop) in enumerate(ranges[:capacity]):
            out_ranges[place].start, out_ranges[place].stop = start, stop
        return len(ranges)

    def get_buffered_seconds(self, handle: Any) -> float:
        player = self._player(handle)
        return 0.0 if player is None else player.buffered_seconds

    def prefetch(self, handle: Any, start: int, stop: int) -> int:
        player = self._player(handle)
        return 0 if player is None else player.prefetch(start, stop)

    def get_prefetch_state(self, handle: Any, prefetch_id: int) -> int:
        player = self._player(handle)
        return int(FrameState.FAILED if player is None else player.range_state(prefetch_id))

    def cancel_prefetch(self, handle: Any, prefetch_id: int) -> bool:
        player = self._player(handle)
        return player is not None and player.cancel_range(prefetch_id)

    def _number(self, handle: Any) -> int:
        return int(self._ffi.cast("uintptr_t", handle))

    def _player(self, handle: Any) -> Player | None:
        return self._handles.find(self._number(handle))

    def _text(self, pointer: Any) -> str | None:
        return None if pointer == self._null else self._ffi.string(pointer).decode("utf-8")


def bind(ffi: Any) -> Entry:
    """
    Connect the C shim to its Python functions.

    After an upgrade of the package, the library may be older, and have fewer functions.
    """
    entry = Entry(ffi)
    names = {function.name: function.name.removeprefix("CV_") for function in functions() if not function.constant}
    # An unexpected exception must not look like success.
    errors = entry.answers_to_a_fault
    for c_name, method in {"start": "start", "exit": "exit", **names}.items():
        options = {"error": errors[method]} if method in errors else {}
        connect = ffi.def_extern(name=PREFIX + c_name, onerror=_say_nothing, **options)
        with suppress(ffi.error):  # the library does not have the function
            connect(getattr(entry, method))
    return entry


def _say_nothing(exception: Any, value: Any, traceback: Any) -> None:
    """Ignore an unexpected exception, for which cffi would print a traceback."""


def _environment() -> dict[str, str]:
    """
    Return the passphrase variable as C sees it now. ``os.environ`` has the values from the interpreter's start, and a
    host may set the passphrase later.
    """
    getenv = ctypes.CDLL(None).getenv
    getenv.restype = ctypes.c_char_p
    found = getenv(PASSPHRASE_VARIABLE.encode())
    return {} if found is None else {PASSPHRASE_VARIABLE: found.decode("ascii", "replace")}
