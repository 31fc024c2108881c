"""
The command line, on click and rich. Each command is a thin layer over the library. The exit codes are fixed.

0 done, 1 a check failed, 2 wrong usage, 3 the input is bad or unreachable, the output cannot be written, or GL was
required and is not available. __main__.py handles errors of standard output itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from fractions import Fraction
from functools import wraps
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

import click
import moderngl
import numpy as np
import numpy.typing as npt
from PIL import Image
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from . import __version__
from ._config import Config
from ._context.doctor import examine
from ._context.headless import create_headless_context
from ._exceptions import AlphaStreamError, DecodeError, GLUnavailableError, PassphraseError, mapped_errors
from ._format.cipher import PASSPHRASE_VARIABLE, AsvrKey, KeyWords, LateKey, said_in
from ._format.container import neither_plain_nor_opened
from ._geometry.frame import FrameGeometry
from ._geometry.size import MAX_NATIVE_EDGE
from ._gl import SHADER_METHODS, MaskRenderer
from ._open import open_async
from ._pipes import STANDARD, Input, input_of, standard_output
from ._raster import rasterize
from ._sources import as_source, is_http, with_http
from ._stream.metadata import Metadata
from ._stream.reader import StreamReader
from ._writing.convert import convert_blocks
from ._writing.whole_file import whole_file
from ._writing.writer import AsvpWriter, AsvrWriter

__all__ = ["cli"]

P = ParamSpec("P")
T = TypeVar("T")

EXIT_CHECK_FAILED: Final = 1
EXIT_WRONG_USAGE: Final = 2
EXIT_BAD_INPUT: Final = 3

KEY_WORDS: Final = KeyWords(
    passphrase=f"the passphrase in {PASSPHRASE_VARIABLE} (not shown)",
    scene_id="--scene-id {}",
    version="--stream-version {}",
    resource_name="--resource-name {}",
    other_name="--resource-name",
)
NEEDS: Final = f"--scene-id, and its owner's passphrase in {PASSPHRASE_VARIABLE} (64 hex digits)"

if TYPE_CHECKING:
    SizeType = click.ParamType[tuple[int, int]]
    RateType = click.ParamType[Fraction]
else:
    SizeType = RateType = click.ParamType  # generic only since click 8.4


class SizeParameter(SizeType):
    """``WxH``, such as 1024x512."""

    name = "WxH"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        if isinstance(value, tuple):
            return value
        match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", value)
        if match is None:
            self.fail(f"expected WIDTHxHEIGHT such as 1024x512, found {value!r}", param, ctx)
        size = int(match[1]), int(match[2])
        if not all(1 <= edge <= MAX_NATIVE_EDGE for edge in size):
            self.fail(f"expected edges of 1..{MAX_NATIVE_EDGE}, found {value!r}", param, ctx)
        return size


class RateParameter(RateType):
    """A frame rate: ``60``, ``59.94`` or ``60000/1001``."""

    name = "FPS"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Fraction:
        try:
            return Fraction(value)
        except (ValueError, ZeroDivisionError):
            self.fail(f"expected a rate such as 60, 59.94 or 60000/1001, found {value!r}", param, ctx)


def command(function: Callable[P, Coroutine[Any, Any, int]]) -> Callable[P, None]:
    """
    Run an async command. Turn our errors into one line on standard error and the exit code.

    The keyword `file` becomes an :class:`Input` before the event loop starts. Within the loop, the keyboard could not
    interrupt the reading of standard input.
    """

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            options = kwargs.get("options")
            if isinstance(options, StreamOptions):
                file = input_of(str(kwargs["file"]), options.config.http_whole_file_cap)
                kwargs["file"] = options.with_headers(file)
            code = asyncio.run(function(*args, **kwargs))
        except PassphraseError as exc:
            click.echo(f"alphastream: {_one_line(exc)}", err=True)
            sys.exit(EXIT_WRONG_USAGE)
        except AlphaStreamError as exc:
            click.echo(f"alphastream: {_one_line(exc)}", err=True)
            sys.exit(EXIT_BAD_INPUT)
        except ValueError as exc:  # an option that click could not check
            raise click.UsageError(_one_line(exc)) from exc
        except KeyboardInterrupt:
            click.echo("alphastream: interrupted", err=True)
            sys.exit(130)
        sys.exit(code)

    return run


def _one_line(text: object) -> str:
    return " ".join(str(text).split())


@dataclass(frozen=True, slots=True)
class StreamOptions:
    """What the file does not contain: native size, frame rate, and an ASVR's key."""

    native_size: tuple[int, int]
    fps: Fraction
    scene_id: int | None
    stream_version: str
    resource_name: str | None
    headers: dict[str, str] = field(repr=False)
    """HTTP headers, for a URL."""

    @property
    def config(self) -> Config:
        """Native size and frame rate."""
        return Config(native_size=self.native_size, fps=self.fps)

    def with_headers(self, file: Input) -> Input:
        """Return the input, to be read with the given headers."""
        if not self.headers:
            return file
        if not is_http(file.source):
            raise click.UsageError("--header is for http: and https: URLs")
        return replace(file, source=with_http(file.source, self.config, headers=self.headers, client=None))

    def key(self, file: Input) -> AsvrKey:
        """Return the key to read with. It is made only when a stream turns out not to be plain."""
        return LateKey(lambda head: self._key_to_read(file, head))

    def key_to_write(self, target_name: str | None) -> AsvrKey:
        """Return the key to write an ASVR with. The target's name is part of it."""
        if self.scene_id is None:
            raise click.UsageError("an .asvr output needs --scene-id")
        return self._key(self.scene_id, target_name, replace(KEY_WORDS, other_name="--target-name"))

    def _key_to_read(self, file: Input, head: bytes) -> AsvrKey:
        if self.scene_id is None:
            if _is_asvr(file.name):
                raise click.UsageError("an encrypted stream needs --scene-id")
            raise DecodeError(neither_plain_nor_opened(head, NEEDS))
        if file.is_standard and self.resource_name is None:
            raise click.UsageError("an encrypted stream on standard input needs --resource-name")
        return self._key(self.scene_id, self.resource_name, KEY_WORDS)

    def _key(self, scene_id: int, resource_name: str | None, words: KeyWords) -> AsvrKey:
        """Make a key. The passphrase comes only from the environment."""
        key = AsvrKey.from_environment(scene_id=scene_id, version=self.stream_version, resource_name=resource_name)
        return said_in(words, key)


def ascii_text(context: click.Context, option: click.Parameter, value: str | None) -> str | None:
    """Check a part of a key."""
    if value is not None and not value.isascii():
        raise click.BadParameter(f"expected ASCII, found {value!r}", context, option)
    return value


def headers_of(context: click.Context, option: click.Parameter, lines: Sequence[str]) -> dict[str, str]:
    """Parse headers from lines of ``Name: value``. No message shows a header, which may be a secret."""
    headers = {}
    for number, line in enumerate(lines, 1):
        name, colon, value = line.partition(":")
        if not colon or not name.strip() or not line.isprintable():
            raise click.BadParameter(f'header {number}: expected "Name: value" on one line', context, option)
        headers[name.strip()] = value.strip()
    return headers


def stream_options(function: Callable[..., T]) -> Callable[..., T]:
    """Add the options of a stream to a command, as its keyword `options`."""

    @wraps(function)
    def run(**given: Any) -> T:
        options = StreamOptions(**{field.name: given.pop(field.name) for field in fields(StreamOptions)})
        return function(options=options, **given)

    for option in reversed(
        (
            click.option(
                "--native-size",
                type=SizeParameter(),
                default="2048x1024",
                show_default=True,
                help="Size of the polygons' grid; the file does not contain it.",
            ),
            click.option(
                "--fps",
                type=RateParameter(),
                default="60",
                show_default=True,
                help="Frame rate; the file does not contain it.",
            ),
            click.option("--scene-id", type=click.IntRange(0, 0xFFFFFFFF), help="ASVR: the stream's scene number."),
            click.option(
                "--stream-version",
                default="1.5.0",
                show_default=True,
                callback=ascii_text,
                help="ASVR: the stream's version.",
            ),
            click.option(
                "--resource-name",
                callback=ascii_text,
                help="ASVR: the file's original name, if it was renamed or comes from standard input.",
            ),
            click.option(
                "--header",
                "headers",
                multiple=True,
                callback=headers_of,
                metavar="'NAME: VALUE'",
                help="HTTP header for the URL's own origin; may be repeated.",
            ),
        )
    ):
        run = option(run)
    return run


def _is_asvr(name: str) -> bool:
    return name.lower().endswith(".asvr")


class Commands(click.Group):
    """A group whose commands exit silently with 3 if the reader of their output is gone."""

    def make_context(self, *given: Any, **options: Any) -> click.Context:
        with _until_the_reader_has_gone():
            return super().make_context(*given, **options)

    def invoke(self, ctx: click.Context) -> Any:
        with _until_the_reader_has_gone():
            return super().invoke(ctx)


@contextlib.contextmanager
def _until_the_reader_has_gone() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:  # click would exit with 1, which means that a check failed
        sys.exit(EXIT_BAD_INPUT)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="alphastream")
def cli() -> None:
    """Exact alpha masks from ASVP and ASVR streams. FILE may be a URL, or - for standard input.

    Exit codes: 0 done, 1 a check failed, 2 wrong usage, 3 the input is bad or unreachable, or the output
    cannot be written. An ASVR's passphrase is read from ALPHASTREAM_PASSPHRASE (64 hex digits).
    """


@cli.command()
@click.argument("file")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@stream_options
@command
async def info(
    file: Input,
    as_json: bool,
    options: StreamOptions,
) -> int:
    """Show a stream's header and table."""
    async with await open_async(file.source, key=options.key(file), config=options.config) as stream:
        facts = _facts(stream.metadata)
    if as_json:
        click.echo(json.dumps(facts))
        return 0
    table = Table(show_header=False, box=None)
    for name, value in facts.items():
        shown = _duration(value) if name == "duration" else "unknown" if value is None else _shown(value)
        table.add_row(name.replace("_", " "), escape(shown))
    Console().print(table)
    return 0


def _facts(metadata: Metadata) -> dict[str, Any]:
    facts = asdict(metadata)
    facts["fps"] = str(metadata.fps)
    facts["duration"] = metadata.duration
    facts["trailing_bytes"] = metadata.trailing_bytes
    return facts


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return " x ".join(map(str, value))
    return f"{value:,}" if isinstance(value, int) else str(value)


def _duration(seconds: float) -> str:
    """``2.0 s``, ``4 min 32.9 s``, ``1 h 0 min 5.0 s``; three decimals below one second."""
    if seconds < 1:
        return f"{seconds:.3f} s"
    tenths = round(10 * seconds)
    minutes, tenths = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    parts = [f"{hours} h"] * (hours > 0) + [f"{minutes} min"] * (hours + minutes > 0)
    return " ".join([*parts, f"{tenths / 10:.1f} s"])


@cli.command()
@click.argument("file")
@click.option("--frame", "index", type=click.IntRange(0), required=True, help="Frame index, from 0.")
@click.option("--size", type=SizeParameter(), help="Size of the picture; native when omitted.")
@click.option(
    "--backend",
    type=click.Choice(["auto", "gl", "cpu"]),
    default="auto",
    show_default=True,
    help="What renders the mask; auto uses the CPU if there is no GL. The bits are the same.",
)
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False), required=True, help="PNG to write; - is standard output."
)
@stream_options
@command
async def render(
    file: Input,
    index: int,
    size: tuple[int, int] | None,
    backend: str,
    output: str,
    options: StreamOptions,
) -> int:
    """Render a frame's mask to a PNG."""
    async with await open_async(file.source, key=options.key(file), config=options.config) as stream:
        geometry = await stream.frame(index)
    mask, rendered_by = _mask(geometry, size or options.native_size, options.native_size, backend)
    _save_png(mask, output)
    covered = np.count_nonzero(mask) / mask.size
    is_standard = output == STANDARD
    click.echo(
        f"{'standard output' if is_standard else Path(output)}: frame {index}, {mask.shape[1]} x {mask.shape[0]},"
        f" {covered:.1%} covered, {rendered_by}",
        err=is_standard,
    )
    return 0


def _mask(
    geometry: FrameGeometry, size: tuple[int, int], native_size: tuple[int, int], backend: str
) -> tuple[npt.NDArray[np.uint8], str]:
    """Return the mask, and what rendered it."""
    if backend != "cpu":
        try:
            return _mask_by_gl(geometry, size, native_size)
        except GLUnavailableError as exc:
            if backend == "gl":
                raise
            click.echo(f"alphastream: rendering on the CPU: {_one_line(exc)}", err=True)
    return rasterize(geometry, size, native_size=native_size), "CPU (numpy)"


def _mask_by_gl(
    geometry: FrameGeometry, size: tuple[int, int], native_size: tuple[int, int]
) -> tuple[npt.NDArray[np.uint8], str]:
    """Render with the first shader method that the context supports, never by an upload of the CPU's mask."""
    context = create_headless_context()
    try:
        for renderer in _shader_renderers(context, native_size, SHADER_METHODS):
            with renderer:
                texture = context.texture(size, 1)
                mask = renderer.read(renderer.render(geometry, into=texture))
                texture.release()
                return mask, f"GL ({renderer.method}, {context.info['GL_RENDERER']})"
    finally:
        context.release()
    raise GLUnavailableError("no shader method is exact on this OpenGL; run alphastream doctor for details")


def _shader_renderers(
    context: moderngl.Context, native_size: tuple[int, int], methods: Sequence[str]
) -> Iterator[MaskRenderer]:
    """Yield a renderer for each method that is exact on a context. Unavailable methods are reported."""
    for method in methods:
        try:
            renderer = MaskRenderer(context, native_size=native_size, method=method)  # type: ignore[arg-type]
        except GLUnavailableError as exc:
            if len(methods) == 1:
                raise
            click.echo(f"alphastream: skipping {method}: {_one_line(exc)}", err=True)
            continue
        if renderer.method == method:
            yield renderer
        else:
            renderer.release()


def _save_png(mask: npt.NDArray[np.uint8], output: str) -> None:
    """Write a whole PNG or nothing. Standard output, a device or a pipe is written to directly."""
    picture = BytesIO()
    Image.fromarray(mask).save(picture, format="PNG")
    if output == STANDARD:
        _write_out(picture.getvalue())
        return
    path = Path(output)
    with mapped_errors(f"writing {str(path)!r}"):
        if path.exists() and not path.is_file():
            path.write_bytes(picture.getvalue())
            return
        with whole_file(path.resolve()) as file:
            file.write(picture.getvalue())


def _write_out(content: bytes | memoryview) -> None:
    """Write to standard output at once, so that an error is reported before the command reports success."""
    out = standard_output()
    out.write(content)
    out.flush()


@cli.command()
@click.argument("file")
@click.option(
    "--method",
    type=click.Choice(["all", *SHADER_METHODS]),
    default="all",
    show_default=True,
    help="GPU method to check; all checks every available method.",
)
@stream_options
@command
async def verify(
    file: Input,
    method: str,
    options: StreamOptions,
) -> int:
    """Compare GPU and CPU bit by bit.

    Checks every frame, with every method that the GPU supports. Exits with 1 at the first difference.
    """
    key = options.key(file)
    methods = SHADER_METHODS if method == "all" else (method,)
    context = create_headless_context()
    try:
        async with await open_async(file.source, key=key, config=options.config) as stream:
            with contextlib.ExitStack() as stack:
                renderers = [
                    stack.enter_context(one) for one in _shader_renderers(context, options.native_size, methods)
                ]
                if not renderers:
                    driver = context.info["GL_RENDERER"]
                    click.echo(f"alphastream: {driver}: the self-check failed for {' and '.join(methods)}", err=True)
                    return EXIT_CHECK_FAILED
                progress = stack.enter_context(_progress())
                task = progress.add_task("verify", total=stream.metadata.frame_count)
                index = 0
                async for geometry in stream.frames():
                    for renderer in renderers:
                        n_wrong = _difference(geometry, renderer)
                        if n_wrong:
                            progress.stop()
                            click.echo(
                                f"alphastream: frame {index}: {n_wrong} pixels differ between GPU and CPU, by"
                                f" {renderer.method}",
                                err=True,
                            )
                            return EXIT_CHECK_FAILED
                    index += 1
                    progress.advance(task)
                by_cpu = max(renderer.stats.cpu_fallbacks for renderer in renderers)
                names = " and ".join(renderer.method for renderer in renderers)
        in_both = f"; the CPU made both masks of {by_cpu} of them" if by_cpu else ""
        click.echo(f"{index} frames: GPU equals CPU, bit for bit, by {names}{in_both} ({context.info['GL_RENDERER']})")
        return 0
    finally:
        context.release()


def _difference(geometry: FrameGeometry, renderer: MaskRenderer) -> int:
    """Return how many pixels differ between GPU and CPU."""
    by_gpu = renderer.read(renderer.render(geometry))
    by_cpu = rasterize(geometry, native_size=renderer.native_size)
    return 0 if np.array_equal(by_gpu, by_cpu) else int((by_gpu != by_cpu).sum())


@cli.command()
@click.argument("file", metavar="IN")
@click.argument("target", metavar="OUT", type=click.Path(dir_okay=False))
@click.option("--target-name", callback=ascii_text, help="ASVR output: encrypt under this name instead of OUT's own.")
@stream_options
@command
async def convert(
    file: Input,
    target: str,
    target_name: str | None,
    options: StreamOptions,
) -> int:
    """Convert between ASVP and ASVR.

    The first bytes of IN determine its format. The ending of OUT, .asvp or .asvr, determines the new format.
    Compressed frames are kept as they are. An ASVR to ASVR conversion changes only the name: both files have the
    same passphrase, scene and version. Standard output (-) becomes an ASVP, or with --target-name an ASVR of that
    name. It is written after all frames are converted, so a pipe gets nothing if the conversion fails before that.
    """
    if target == STANDARD:
        standard_output()
        with tempfile.TemporaryDirectory() as folder:
            spool = Path(folder, "stream.asvp" if target_name is None else "stream.asvr")
            n_frames = await _convert(file, spool, target_name, options)
            with open(spool, "rb") as whole:
                n_bytes = os.fstat(whole.fileno()).st_size
                shutil.copyfileobj(whole, standard_output())
            standard_output().flush()
        click.echo(f"standard output: {n_frames} frames, {n_bytes:,} bytes", err=True)
        return 0
    path = Path(target)
    if path.suffix.lower() not in (".asvp", ".asvr"):
        raise click.UsageError(f"OUT: expected a name ending in .asvp or .asvr, or -, found {path.name!r}")
    n_frames = await _convert(file, path, target_name, options)
    click.echo(f"{path}: {n_frames} frames, {path.stat().st_size:,} bytes")
    return 0


async def _convert(file: Input, target: Path, target_name: str | None, options: StreamOptions) -> int:
    """Convert to a file, whose ending determines the format. Return the number of frames."""
    write_key = options.key_to_write(target_name) if _is_asvr(target.name) else None
    opened = as_source(file.source, options.config)
    try:
        reader = await StreamReader.open(opened, key=options.key(file), config=options.config)
        writer = AsvpWriter(target) if write_key is None else AsvrWriter(target, key=write_key)
        with writer, _progress() as progress:
            task = progress.add_task("convert", total=len(reader.index))
            async for done in convert_blocks(reader, writer):
                progress.update(task, completed=done)
    finally:
        await opened.aclose()
    return writer.frame_count


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(as_json: bool) -> None:
    """Check this machine's OpenGL.

    Prints a fix for each problem: a command or a variable. Exits with 1 if masks cannot be rendered with GL. A
    problem is a note if masks do not need the missing part, or have an alternative to it.
    """
    report = examine()
    if as_json:
        click.echo(json.dumps(report.as_dict(), indent=2))
    else:
        shown = set()
        for finding in report.findings:
            mark = "ok" if finding.ok else "MISSING" if finding.level == "needed" else "note"
            click.echo(f"{mark:7} {finding.name}: {_one_line(finding.detail)}")
            if finding.fix:
                click.echo(f"        fix: {'as above' if finding.fix in shown else finding.fix}")
                shown.add(finding.fix)
    sys.exit(0 if report.ok else EXIT_CHECK_FAILED)


@cli.command("build-capi")
@click.option(
    "-o",
    "--output",
    "directory",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="Folder to write to; created if it does not exist.",
)
def build_capi(directory: Path) -> None:
    """Build libalphastream.so, the C library, for this Python environment.

    Writes the library, its header, a pkg-config file and a CMake snippet. Needs a C compiler and Python's headers.
    """
    from ._capi.build import BuildError, build

    try:
        written = build(directory, version=__version__)
    except BuildError as exc:
        click.echo(f"alphastream: {_one_line(exc)}", err=True)
        sys.exit(EXIT_BAD_INPUT)
    except OSError as exc:
        click.echo(f"alphastream: cannot write {exc.filename or directory}: {exc.strerror or exc}", err=True)
        sys.exit(EXIT_BAD_INPUT)
    for path in written:
        click.echo(path)


def _progress() -> Progress:
    """Return a progress bar on standard error, so that standard output has only the command's result."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )
