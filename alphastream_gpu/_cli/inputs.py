"""
Inputs: the options of the commands that read masks from videos, pictures and arrays.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import wraps
from typing import Any, Final, TypeVar, get_args

import click

from .._inputs import InputOptions
from .._inputs.options import Channel, Eye, Fit, Gaps, Layout, Range
from .options import RateParameter, SizeParameter
from .running import one_line

__all__ = ["input_options", "is_number"]

T = TypeVar("T")

_CHOICES: Final = {
    "range": (Range, "Whether a video's luma spans all values or 16..235."),
    "channel": (Channel, "What holds the matte."),
    "layout": (Layout, "Where the matte is in the picture."),
    "eye": (Eye, "Which half of a side-by-side picture."),
    "fit": (Fit, "What to do with masks of another size than --native-size."),
    "gaps": (Gaps, "What to do about missing numbers between the names of pictures."),
}


def is_number(context: click.Context, option: click.Parameter, value: float | None) -> float | None:
    """Refuse NaN, which lies in every range of click and is met by every check."""
    if value is not None and math.isnan(value):
        raise click.BadParameter("expected a number, found nan", context, option)
    return value


def input_options(function: Callable[..., T]) -> Callable[..., T]:
    """Add the options of how an input is read to a command, as its keyword `inputs`."""

    @wraps(function)
    def run(**given: Any) -> T:
        names = ("threshold", "invert", "packed", "native_size", "fps", "start", "frames", *_CHOICES)
        taken = {name: given.pop(name) for name in names}
        objects = tuple(int(one) if one.isdecimal() else one for one in given.pop("objects"))
        try:
            inputs = InputOptions(**taken, objects=objects or None)
        except ValueError as exc:
            raise click.UsageError(one_line(exc)) from exc
        return function(inputs=inputs, **given)

    choices = [
        click.option(
            f"--{name}", type=click.Choice(get_args(words)), default=get_args(words)[0], show_default=True, help=text
        )
        for name, (words, text) in _CHOICES.items()
    ]
    others = [
        click.option("--threshold", type=float, help="A pixel above it is set; half of the real range if omitted."),
        click.option("--invert", is_flag=True, help="Exchange set and unset."),
        click.option("--packed", is_flag=True, help="An npy file has 8 pixels in a byte; see --native-size."),
        click.option("--native-size", type=SizeParameter(), help="Size of the masks; the input's if omitted."),
        click.option("--fps", type=RateParameter(), help="Frame rate; a video is converted to it."),
        click.option("--objects", multiple=True, metavar="ID|CATEGORY", help="Objects to use; may be repeated."),
        click.option("--start", type=click.IntRange(0), default=0, show_default=True, help="First frame."),
        click.option("--frames", type=click.IntRange(1), help="Most frames; all if omitted."),
    ]
    for option in reversed([*others, *choices]):
        run = option(run)
    return run
