"""
A screen for tests of windows: an X server without a monitor, simulated key presses, and programs with a window.
"""

from __future__ import annotations

import os
import re
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hosts import skip_or_fail
from PIL import Image

PATIENCE = 20.0
"""Timeout in seconds for actions that usually take milliseconds."""

Picture = np.ndarray
"""uint8 (height, width, 3), RGB, row 0 at the top."""


class Screen:
    """The screen of an X server."""

    def __init__(self, display: str, folder: Path) -> None:
        self.environment = {**os.environ, "DISPLAY": display}
        self.environment.pop("WAYLAND_DISPLAY", None)  # toolkits would prefer it
        self.folder = folder

    def xdotool(self, *arguments: str) -> str:
        """Run xdotool; return its output, which is empty if it finds nothing."""
        command = ["xdotool", *arguments]
        done = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
        return done.stdout.strip()

    def picture(self) -> Picture:
        """The picture on the screen, from the memory of the server: an XWD file with 32 bits per pixel."""
        data = (self.folder / "Xvfb_screen0").read_bytes()
        head = [int(word) for word in np.frombuffer(data, ">u4", 25)]
        header_size, width, height, byte_order, bits, row_bytes, n_colours = (head[i] for i in (0, 4, 5, 7, 11, 12, 19))
        assert bits == 32
        rows = np.frombuffer(data, np.uint8, height * row_bytes, header_size + 12 * n_colours)
        pixels = rows.reshape(height, row_bytes)[:, : 4 * width].reshape(height, width, 4)
        return pixels[..., 2::-1] if byte_order == 0 else pixels[..., 1:]  # BGRX or XRGB


@contextmanager
def open_screen(folder: Path) -> Iterator[Screen]:
    """Start an X server on a free display. Skips the test if the server or xdotool is not installed."""
    for program in ("Xvfb", "xdotool"):
        if shutil.which(program) is None:
            skip_or_fail(f"{program} is not installed: apt-get install xvfb xdotool")
    ours, theirs = os.pipe()
    # Without -noreset, the server resets when its last client leaves, which may be xdotool, and drops clients that are
    # just connecting.
    options = f"-noreset -screen 0 800x600x24 -nolisten tcp -displayfd {theirs} -fbdir".split()
    with open(folder / "log", "wb") as log:
        server = subprocess.Popen(["Xvfb", *options, str(folder)], pass_fds=[theirs], stdout=log, stderr=log)
    try:
        os.close(theirs)
        with open(ours, "rb", buffering=0) as pipe:
            is_ready = select.select([pipe], [], [], PATIENCE)[0]
            number = pipe.readline().decode().strip() if is_ready else ""
        assert number, f"Xvfb did not start: {(folder / 'log').read_text()}"
        yield Screen(f":{number}", folder)
    finally:
        server.terminate()
        server.wait()


class Program:
    """A Python program with one window, driven by keys."""

    def __init__(self, screen: Screen, script: Path, *arguments: object) -> None:
        command = [sys.executable, "-W", "error", str(script), *map(str, arguments)]
        self._screen = screen
        self._process = subprocess.Popen(command, env=screen.environment, stderr=subprocess.PIPE, text=True)
        self._window = ""

    def until(self, condition: Callable[[], Any], what: str) -> Any:
        """Poll until a condition is true; fail if the program ends."""
        deadline = time.monotonic() + PATIENCE
        while not (found := condition()):
            if self._process.poll() is not None:
                pytest.fail(f"{what}: the program ended: {self.wait()}")
            if time.monotonic() > deadline:
                pytest.fail(f"{what}: not within {PATIENCE} s; the title is {self.title()!r}")
            time.sleep(0.005)
        return found

    def find_window(self, name: str) -> None:
        """Wait for the window and set the keyboard focus to it, because there is no window manager."""
        self._window = self.until(lambda: self._search(name), "a window").split()[0]
        self.until(self._has_focus, "the focus")

    def title(self) -> str:
        return self._screen.xdotool("getwindowname", self._window) if self._window else ""

    def press(self, key: str, *expected: str) -> None:
        """Press a key, and wait until the title contains all expected texts."""
        self._screen.xdotool("key", key)
        self.until(lambda: all(part in self.title() for part in expected), f"{expected} after {key}")

    def point(self, *actions: str) -> None:
        """Move the pointer and use its buttons, by commands of xdotool such as ``"400,290"``, ``"mousedown 1"``."""
        arguments: list[str] = []
        for action in actions:
            x, _, y = action.partition(",")
            arguments += ["mousemove", "--window", self._window, x, y] if y else action.split()
        self._screen.xdotool(*arguments)

    def resize(self, width: int, height: int) -> None:
        self._screen.xdotool("windowsize", self._window, str(width), str(height))

    def hide_and_show(self) -> None:
        """Remove the window from the screen, which discards its picture, and show it again."""
        self._screen.xdotool("windowunmap", "--sync", self._window)
        self._screen.xdotool("windowmap", "--sync", self._window)
        self.until(self._has_focus, "the focus")

    def picture(self) -> Picture:
        """The picture on the screen at the place of the window."""
        answer = self._screen.xdotool("getwindowgeometry", "--shell", self._window)
        place = {name: int(value) for name, value in re.findall(r"^(\w+)=(-?\d+)$", answer, re.M)}
        x, y = place["X"], place["Y"]
        return self._screen.picture()[y : y + place["HEIGHT"], x : x + place["WIDTH"]]

    def expect_picture(self, expected: Picture) -> None:
        """Wait until every pixel of the window is as expected."""
        try:
            self.until(lambda: np.array_equal(self.picture(), expected), "the expected picture")
        except pytest.fail.Exception:
            for name, picture in (("expected", expected), ("found", self.picture())):
                Image.fromarray(np.ascontiguousarray(picture)).save(self._screen.folder / f"{name}.png")
            print(f"see {self._screen.folder}/expected.png and found.png")
            raise

    def wait(self) -> tuple[int, str]:
        """Wait until the program has ended; return its exit code and its output on standard error."""
        _, err = self._process.communicate(timeout=PATIENCE)
        return self._process.returncode, err

    def kill(self) -> None:
        """Kill the program if it is still running."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()

    def _search(self, name: str) -> str:
        return self._screen.xdotool("search", "--onlyvisible", "--name", name)

    def _has_focus(self) -> bool:
        self._screen.xdotool("windowfocus", self._window)
        return self._screen.xdotool("getwindowfocus") == self._window


@contextmanager
def started(screen: Screen, script: Path, *arguments: object) -> Iterator[Program]:
    """Run a program on a screen. It is killed at the end of the test."""
    program = Program(screen, script, *arguments)
    try:
        yield program
    finally:
        program.kill()
