"""
The sample person over a moving background: masks rendered by the GPU, blended with a colour plate in a shader.

In a window, at the pace of the clock:

    python examples/compositor.py                                  # the sample, with drawn colours
    python examples/compositor.py https://example.org/person.asvp --video person.mp4 --eye left

    space  pause, go on            left, right  a frame back, on (and pause)      e  both eyes, left, right
    home   to the first frame      down, up     a second back, on                 q  quit (escape too)
    b      the seek bar            s            statistics

A click on the seek bar seeks, and so does dragging along it. Its stripes are the frames that are here already. If play
has to wait for the source, three dots appear in the middle.

Or without a window, every frame of A:B in order (B is not included; either may be left out):

    python examples/compositor.py --frames 0:120 --output person.mp4
    python examples/compositor.py --frames 60: --output 'out%04d.png' --size 1024x512

A stream and its video are side by side: the left eye is the left half. What is computed for each pixel of mask, plate
(the person's colours) and background, in numbers from 0 to 1:

    straight, as cameras record       mask * plate + (1 - mask) * background
    --premultiplied                           plate + (1 - mask) * background

A premultiplied plate has been multiplied by the mask already: outside of the person it is black, or what it has there,
such as a glow, is added. The masks are exact, 0 or 1, so each result is one of the inputs bit for bit, or their sum up
to 1; it makes no difference whether the numbers stand for light or for sRGB. Masks that were filtered or scaled
smoothly should be blended in linear light.

Exit codes: 0 done, 2 wrong usage, 3 an input is bad or unreachable, or there is no OpenGL 3.3. An encrypted stream
needs --scene-id, and its owner's passphrase in ALPHASTREAM_PASSPHRASE.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from time import monotonic
from typing import Final, NoReturn
from urllib.parse import urlsplit

import moderngl
from blending import Box, Compositor, fit, frame_size, read_picture, view_size
from drawn import DrawnPlate, Room
from outputs import Movie, Output, PngSequence, is_pattern
from overlay import Looks, Overlay
from PIL import Image
from plates import PlateError, Size, Source, VideoPlate
from playing import EYES, Eye, View, handle, rest, set_clock, steer, tick
from readings import Readings
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from seekbar import SIGN_STEPS, Bar, place, stall_sign
from window import Window, WindowError

import alphastream_gpu
from alphastream_gpu import (
    AlphaStream,
    AlphaStreamError,
    AsvrKey,
    Config,
    DecodeError,
    FrameGeometry,
    PlaybackClock,
)

SAMPLE: Final = Path(__file__).resolve().parent / "person_sbs.asvp"
EXIT_USAGE, EXIT_BAD_INPUT = 2, 3
MAX_EDGE: Final = 16384
"""Of the textures that desktop GL hardware guarantees to offer."""
SIGN_STEPS_A_SECOND: Final = 4


class UsageError(Exception):
    """Options that do not go together, or not with the stream."""


class NothingToShowError(Exception):
    """A stream that is empty, or of which no frame came."""


@dataclass(frozen=True, slots=True)
class Scene:
    """
    A stream's frames with their colours and their background.
    """

    stream: AlphaStream
    compositor: Compositor
    plate: Source
    room: Source

    def draw(self, target: moderngl.Framebuffer, box: Box, eye: Eye, index: int, geometry: FrameGeometry) -> None:
        """Draw a frame into a box of the framebuffer."""
        # The middle of the frame's time: a video whose times are rounded, to milliseconds say, is never a frame off.
        seconds = (index + Fraction(1, 2)) / self.stream.metadata.fps
        size = frame_size(eye, box[2:])
        self.compositor.draw(target, box, eye, geometry, self.plate.at(seconds, size), self.room.at(seconds, size))


@contextmanager
def open_scene(options: argparse.Namespace, stream: AlphaStream, ctx: moderngl.Context) -> Iterator[Scene]:
    """Everything that a picture is made of."""
    plate: Source = DrawnPlate() if options.video is None else VideoPlate(options.video)
    with closing(plate), closing(Room()) as room:
        compositor = Compositor(ctx, stream.metadata.native_size, premultiplied=options.premultiplied)
        try:
            yield Scene(stream, compositor, plate, room)
        finally:
            compositor.release()


# Without a window.


def write_frames(options: argparse.Namespace) -> None:
    """Compose every frame asked for, in order, and write it."""
    size = options.size or view_size(options.eye, options.config.native_size)
    with open_stream(options) as stream:
        start, stop = frame_range(options.frames, stream.metadata.frame_count)
        with ExitStack() as stack:
            ctx = alphastream_gpu.create_headless_context()
            stack.callback(ctx.release)
            scene = stack.enter_context(open_scene(options, stream, ctx))
            framebuffer = ctx.framebuffer([ctx.renderbuffer(size, 4)])
            output = stack.enter_context(open_output(options.output, size, options.config.fps))
            progress = stack.enter_context(progress_bar())
            task = progress.add_task("compose", total=stop - start)
            index = start
            for geometry in stream.read_frames(start, stop):
                scene.draw(framebuffer, (0, 0, *size), options.eye, index, geometry)
                output.write(index, read_picture(framebuffer, size))
                progress.update(task, advance=1)
                index += 1


def frame_range(text: str, n_frames: int) -> tuple[int, int]:
    """First frame and one past the last, from ``A:B``."""
    first, _, end = text.partition(":")
    start, stop = int(first or 0), int(end or n_frames)
    if not 0 <= start < stop <= n_frames:
        raise UsageError(f"--frames: expected A:B with 0 <= A < B <= {n_frames}, the stream's frames; found {text!r}")
    return start, stop


def open_output(path: str, size: Size, fps: Fraction) -> Output:
    """Choose by the name's ending."""
    return PngSequence(path) if path.lower().endswith(".png") else Movie(path, size, fps)


def progress_bar() -> Progress:
    """On standard error, so that standard output stays free."""
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    return Progress(*columns, console=Console(stderr=True))


# In a window.


def show(options: argparse.Namespace) -> None:
    """Play in a window until it is closed."""
    width, height = view_size(options.eye, options.config.native_size)
    size = options.size or (max(1, width // 2), max(1, height // 2))
    name = Path(urlsplit(options.file).path).name
    with ExitStack() as stack:
        stream = stack.enter_context(open_stream(options))
        if stream.metadata.frame_count == 0:
            raise NothingToShowError(f"{name}: the stream has no frames")
        window = stack.enter_context(closing(Window(size, name)))
        ctx = moderngl.create_context(require=330)
        scene = stack.enter_context(open_scene(options, stream, ctx))
        overlay = Overlay(ctx)
        stack.callback(overlay.release)
        play(Canvas(window, ctx.screen, scene, overlay), name, options.eye, options.screenshot)


@dataclass(frozen=True, slots=True)
class Canvas:
    """
    A window with what is drawn into it.
    """

    window: Window
    screen: moderngl.Framebuffer
    scene: Scene
    overlay: Overlay

    def draw(self, view: View, geometry: FrameGeometry | None, looks: Looks) -> None:
        """Draw the picture as large as it fits in, on black, and the overlay over it."""
        size = self.window.size
        self.screen.clear()
        if geometry is not None and view.shown is not None:
            box = fit(view.eye, self.scene.stream.metadata.native_size, size)
            self.scene.draw(self.screen, box, view.eye, view.shown % view.n_frames, geometry)
        self.overlay.draw(self.screen, size, looks)


def play(canvas: Canvas, name: str, eye: Eye, screenshot: str | None) -> None:
    """Show the frame that the clock says until somebody quits; then save the picture, if that is asked for."""
    window, stream = canvas.window, canvas.scene.stream
    metadata = stream.metadata
    view = View(n_frames=metadata.frame_count, n_jump=round(metadata.fps), eye=eye, is_waiting=True)
    clock = PlaybackClock()
    readings = Readings(stream)
    geometry: FrameGeometry | None = None
    drawn: tuple[object, ...] = ()
    title = ""
    while not view.is_closing:
        view, arrived = tick(view, clock, stream)
        geometry = arrived or geometry
        readings.renew(view)
        bar = place(window.size, view.n_frames, window.scale)
        looks = dress(view, stream, bar, window.size, readings.rows)
        wanted = view.shown, view.eye, window.size, looks
        if wanted != drawn or window.is_exposed:
            canvas.draw(view, geometry, looks)
            window.swap()
            drawn = wanted
        set_clock(view, clock, stream)  # now, so that no frame is late because the first picture took long to prepare
        if readings.title != title:
            title = readings.title
            window.set_title(f"{name} | {title}")
        before, view = view, handle(view, window.inputs(rest(view, clock, stream)), bar)
        if view != before:
            steer(before, view, clock, stream)
    if screenshot is not None:
        if geometry is None:
            error = stream.last_error()
            raise NothingToShowError(f"no frame came{f': {error.message}' if error else ''}")
        canvas.draw(view, geometry, looks)  # again: after a swap, there is nothing to be read
        Image.fromarray(read_picture(canvas.screen, window.size)).save(screenshot, format="PNG")


def dress(view: View, stream: AlphaStream, bar: Bar, window: Size, rows: tuple[tuple[str, str], ...]) -> Looks:
    """What lies over the picture now."""
    fills = bar.fills(stream.buffered(), view.position % view.n_frames) if view.has_bar else ()
    if view.is_waiting and stream.is_stalled:
        step = int(SIGN_STEPS_A_SECOND * monotonic()) % SIGN_STEPS
        fills += stall_sign(window, step, bar.scale)
    return Looks(fills, rows if view.has_statistics else (), bar.scale)


# The command line.


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """
    Options from the command line.

    Raises:
        UsageError: an option is unknown or wrong, or options do not go together.
        PassphraseError: a --scene-id, and the environment has no passphrase.
    """
    summary, details = (__doc__ or "").strip().split("\n", 1)
    parser = Parser(description=summary, epilog=details, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("file", nargs="?", default=str(SAMPLE), metavar="FILE", help="ASVP or ASVR, a path or URL; default: the sample")
    add("--video", metavar="FILE", help="the person's colours, side by side; drawn when omitted")
    add("--premultiplied", action="store_true", help="the video has been multiplied by the mask")
    add("--eye", choices=EYES, default="both", help="which half of the picture to show; default: %(default)s")
    add("--size", type=size_of, metavar="WxH", help="of the output; default: native, in a window half of that")
    add("--frames", type=check_range, metavar="A:B", help="without a window: which frames, B not included")
    add("--output", metavar="OUT", help="without a window: out.mp4 or out%%04d.png")
    add("--screenshot", metavar="PNG", help="save what the window shows when it is closed")
    add("--native-size", type=size_of, default="2048x1024", metavar="WxH", help="of the stream; default: %(default)s")
    add("--fps", type=rate_of, default="60", help="of the stream, such as 60000/1001; default: %(default)s")
    add("--scene-id", type=int, help="ASVR: the scene it was made for")
    add("--stream-version", default="1.5.0", help="ASVR: the version it was made for; default: %(default)s")
    add("--resource-name", help="ASVR: the file's original name, if it was renamed")
    options = parser.parse_args(arguments)
    check(options)
    return options


def check(options: argparse.Namespace) -> None:
    """Refuse options that do not go together, and make the stream's config and key of others."""
    if (options.frames is None) != (options.output is None):
        raise UsageError("--frames and --output go together: they say what is written without a window")
    if options.premultiplied and options.video is None:
        raise UsageError("--premultiplied tells of a --video; the drawn colours are straight")
    if options.eye != "both" and options.size is not None and 2 * options.size[0] > MAX_EDGE:
        raise UsageError(f"--size: one eye is at most {MAX_EDGE // 2} wide, half of what a texture is")
    if options.screenshot is not None and options.output is not None:
        raise UsageError("--screenshot is for the window; --output writes pictures without one")
    try:
        options.config = Config(native_size=options.native_size, fps=options.fps)
        options.key = key_of(options)
    except AlphaStreamError:  # no passphrase; a ValueError too
        raise
    except ValueError as exc:
        raise UsageError(str(exc)) from exc
    if options.output is not None:
        check_output(options.output, options.size or view_size(options.eye, options.native_size))


def check_output(path: str, size: Size) -> None:
    """Know before any work whether the output can be written."""
    if path.lower().endswith(".png"):
        if not is_pattern(path):
            raise UsageError(f"--output: expected one number such as %04d in the name, found {path!r}")
    elif not path.lower().endswith(".mp4"):
        raise UsageError(f"--output: expected a name ending in .mp4 or .png, found {path!r}")
    elif size[0] % 2 or size[1] % 2:
        raise UsageError(f"--size: an .mp4 needs even edges, found {size[0]}x{size[1]}")


def key_of(options: argparse.Namespace) -> AsvrKey | None:
    """The key of an encrypted stream, if there is a --scene-id. Its passphrase comes from the environment alone."""
    if options.scene_id is None:
        return None
    return AsvrKey.from_environment(
        scene_id=options.scene_id, version=options.stream_version, resource_name=options.resource_name
    )


def open_stream(options: argparse.Namespace) -> AlphaStream:
    """The stream. Whether it is encrypted is seen by its first bytes, not by its name."""
    try:
        return alphastream_gpu.open(options.file, key=options.key, config=options.config)
    except DecodeError as exc:
        if options.key is not None:
            raise
        raise DecodeError(f"{exc}; an encrypted one needs --scene-id") from exc


def size_of(text: str) -> Size:
    """``WxH``, within what GL's textures can be."""
    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text)
    size = (int(match[1]), int(match[2])) if match else (0, 0)
    if not all(1 <= edge <= MAX_EDGE for edge in size):
        raise argparse.ArgumentTypeError(f"expected edges of 1..{MAX_EDGE} such as 1024x512, found {text!r}")
    return size


def rate_of(text: str) -> Fraction:
    """A rate such as 60, 59.94 or 60000/1001."""
    try:
        return Fraction(text)
    except (ValueError, ZeroDivisionError) as exc:
        raise argparse.ArgumentTypeError(f"expected a rate such as 60 or 60000/1001, found {text!r}") from exc


def check_range(text: str) -> str:
    """``A:B``; what the stream has is not known yet."""
    if re.fullmatch(r"\d{0,9}:\d{0,9}", text) is None:
        raise argparse.ArgumentTypeError(f"expected A:B such as 0:120, found {text!r}")
    return text


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; tell errors in one line, and return the exit code."""
    try:
        options = parse(arguments)
        if options.output is None:
            show(options)
        else:
            write_frames(options)
    except UsageError as exc:
        return fail(exc, EXIT_USAGE)
    except ModuleNotFoundError as exc:
        return fail(f"{exc}; run, in the checkout: pip install '.[examples]'", EXIT_BAD_INPUT)
    except ImportError as exc:  # a package did not find a library of the system
        return fail(f"{exc}; run: alphastream doctor, which says what to install", EXIT_BAD_INPUT)
    except (AlphaStreamError, NothingToShowError, PlateError, WindowError, moderngl.Error) as exc:
        return fail(exc, EXIT_BAD_INPUT)
    except OSError as exc:  # streams and videos have errors of their own
        return fail(f"cannot write {exc.filename or ''}: {exc.strerror or exc}", EXIT_BAD_INPUT)
    except KeyboardInterrupt:
        return fail("interrupted", 130)
    return 0


def fail(message: object, code: int) -> int:
    """One line on standard error."""
    print("compositor:", " ".join(str(message).split()), file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
