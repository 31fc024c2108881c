"""
Options: the options that all commands that read a stream share, and their conversion to a Config and a key.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from fractions import Fraction
from functools import wraps
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from .._config import Config, check_option
from .._exceptions import DecodeError
from .._format.cipher import PASSPHRASE_VARIABLE, AsvrKey, KeyWords, LateKey, said_in
from .._format.container import neither_plain_nor_opened
from .._geometry.size import MAX_NATIVE_EDGE
from .._sources import is_http, with_http
from .._sources.http.address import header_problem, split_header
from .pipes import Input

__all__ = [
    "RateParameter",
    "SizeParameter",
    "StreamOptions",
    "WithoutSceneId",
    "ascii_text",
    "is_asvr",
    "key_to_read",
    "key_to_write",
    "stream_options",
]

T = TypeVar("T")

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
            rate = Fraction(value)
        except (ValueError, ZeroDivisionError):
            self.fail(f"expected a rate such as 60, 59.94 or 60000/1001, found {value!r}", param, ctx)
        try:
            check_option("fps", rate, shown_as="rate")
        except ValueError as exc:
            self.fail(str(exc), param, ctx)
        return rate


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
        return key_to_write(self.scene_id, self.stream_version, target_name)

    def _key_to_read(self, file: Input, head: bytes) -> AsvrKey:
        if self.scene_id is None and is_asvr(file.name):
            raise click.UsageError("an encrypted stream needs --scene-id")
        if self.scene_id is not None and not file.name and self.resource_name is None:
            where = "on standard input" if file.is_standard else "without a name"
            raise click.UsageError(f"an encrypted stream {where} needs --resource-name")
        return key_to_read(self.scene_id, self.stream_version, self.resource_name, head)


class WithoutSceneId(LateKey):
    """
    Stands for the key where no ``--scene-id`` was given. A stream that is not plain raises the error for users of the
    command line. In another process, which only gets streams that are plain, a copy of it is None.
    """

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(lambda head: key_to_read(None, "", None, head))

    def __reduce__(self) -> tuple[Any, ...]:  # type: ignore[override]  # AsvrKey's raises
        return type(None), ()


def key_to_read(scene_id: int | None, stream_version: str, resource_name: str | None, head: bytes) -> AsvrKey:
    """Return the key for a stream that is not plain, which begins with `head`."""
    if scene_id is None:
        raise DecodeError(neither_plain_nor_opened(head, NEEDS))
    return _key(scene_id, stream_version, resource_name, KEY_WORDS)


def key_to_write(scene_id: int | None, stream_version: str, target_name: str | None) -> AsvrKey:
    """Return the key to write an ASVR with. The target's name is part of it."""
    if scene_id is None:
        raise click.UsageError("an .asvr output needs --scene-id")
    return _key(scene_id, stream_version, target_name, replace(KEY_WORDS, other_name="--target-name"))


def _key(scene_id: int, stream_version: str, resource_name: str | None, words: KeyWords) -> AsvrKey:
    """Make a key. The passphrase comes only from the environment."""
    key = AsvrKey.from_environment(scene_id=scene_id, version=stream_version, resource_name=resource_name)
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
        found = split_header(line)
        if found is None:
            raise click.BadParameter(f'header {number}: expected "Name: value" on one line', context, option)
        problem = header_problem(*found)
        if problem:
            raise click.BadParameter(f"header {number}: {problem}", context, option)
        headers[found[0]] = found[1]
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


def is_asvr(name: str) -> bool:
    return name.lower().endswith(".asvr")
