"""
What the host programs share: their command line, which frame is due, and the shaders of the scene that each of them
draws. What differs, a toolkit's window, context and GL objects, is in the programs.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NoReturn

import alphastream_gpu
from alphastream_gpu import AlphaStream, AlphaStreamError, FrameGeometry, PlaybackClock

__all__ = ["CORNERS", "FRAGMENT_SHADER", "VERTEX_SHADER", "Player", "Size", "cannot_import", "run"]

Size = tuple[int, int]
"""(width, height) in pixels."""

VERTEX_SHADER: Final = Path(__file__).with_name("host_scene.vert.glsl").read_text(encoding="utf-8")
FRAGMENT_SHADER: Final = Path(__file__).with_name("host_scene.frag.glsl").read_text(encoding="utf-8")
CORNERS: Final = (-1.0, -1.0, 3.0, -1.0, -1.0, 3.0)
"""One triangle over the whole window, x and y of each corner."""


def cannot_import(exc: ImportError, packages: str) -> NoReturn:
    """
    End the program in one line: a Python package is missing, or a package did not find a library of the system.

    Args:
        exc: what an import raised.
        packages: the Python packages that the program needs, as arguments for pip.
    """
    if isinstance(exc, ModuleNotFoundError):
        remedy, code = f"pip install {packages}", 1
    else:
        remedy, code = "alphastream doctor, which says what to install", 3
    print(f"{Path(sys.argv[0]).name}: {exc}; run: {remedy}", file=sys.stderr)
    sys.exit(code)


class Player:
    """The frame to show now; a stream begins again at its end."""

    def __init__(self, stream: AlphaStream, geometry: FrameGeometry, index: int, n_pictures: int | None) -> None:
        self.native_size = stream.metadata.native_size
        self.index = index
        """Of the frame that was asked for last."""
        self._stream, self._geometry, self._n_left = stream, geometry, n_pictures
        self._clock = PlaybackClock()
        self._clock.seek(stream.time_of(index))

    @property
    def is_over(self) -> bool:
        """Whether as many pictures were asked for as the command line wants."""
        return self._n_left == 0

    def play(self) -> None:
        """Go on from here; until then, the same frame is due all the time."""
        self._clock.play()

    def next_geometry(self) -> FrameGeometry:
        """The frame that is due, or, if it is not there in time, the one before."""
        due = self._stream.frame_at(self._clock.time()) % self._stream.metadata.frame_count
        geometry = self._stream.get_geometry(due)  # within 12 ms; None if it is still coming
        if geometry is not None:
            self._geometry, self.index = geometry, due
        if self._n_left:
            self._n_left -= 1
        return self._geometry


def run(description: str, show: Callable[[Player, Size, Path | None], None], argv: Sequence[str]) -> int:
    """
    Read the command line, open the stream, and show it.

    Args:
        description: for ``--help``.
        show: takes a player, the picture's size, and the file to save one picture to, or None to play in a window.
        argv: the command line without the program's name.

    Returns:
        The exit code: 0, or 3 where the input is bad or unreachable or there is no OpenGL. Wrong usage exits with 2.
    """
    parser = argparse.ArgumentParser(description=description)
    sample = Path(__file__).with_name("person_sbs.asvp")
    parser.add_argument("file", nargs="?", default=str(sample), help="ASVP file or URL (default: the sample)")
    parser.add_argument("--frame", type=int, default=0, metavar="N", help="the frame to begin with (default: 0)")
    parser.add_argument("--size", type=_size, default=(1024, 512), metavar="WxH", help="default: 1024x512")
    parser.add_argument("--frames", type=int, metavar="N", help="quit after so many")
    parser.add_argument("--output", type=Path, metavar="PNG", help="save the first picture, without a window, and quit")
    options = parser.parse_args(argv)
    try:
        with alphastream_gpu.open(options.file) as stream:
            first = stream.read_frame(options.frame)  # waits for it, and tells what is wrong
            if options.output is not None:
                options.output.parent.mkdir(parents=True, exist_ok=True)
            show(Player(stream, first, options.frame, options.frames), options.size, options.output)
    except (AlphaStreamError, OSError) as exc:
        print(f"{parser.prog}: {exc}", file=sys.stderr)
        return 3
    return 0


def _size(text: str) -> Size:
    width, _, height = text.partition("x")
    try:
        size = int(width), int(height)
    except ValueError:
        size = 0, 0
    if not all(0 < side <= 8192 for side in size):
        raise argparse.ArgumentTypeError(f"expected WxH, 1..8192 each, found {text!r}")
    return size
