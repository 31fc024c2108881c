"""
alphastream render: renders a frame's mask to a PNG.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from io import BytesIO
from pathlib import Path

import click
import moderngl
import numpy as np
import numpy.typing as npt
from PIL import Image

from .._context.headless import create_headless_context
from .._exceptions import GLUnavailableError, mapped_errors
from .._geometry.frame import FrameGeometry
from .._gl import SHADER_METHODS, MaskRenderer
from .._open import open_async
from .._raster import rasterize
from .._writing.whole_file import whole_file
from .options import SizeParameter, StreamOptions, stream_options
from .pipes import Input, Output, OutputParameter
from .running import cli, command, one_line

__all__ = ["render", "shader_renderers"]


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
@click.option("-o", "--output", type=OutputParameter(), required=True, help="PNG to write; - is standard output.")
@stream_options
@command
async def render(
    file: Input,
    index: int,
    size: tuple[int, int] | None,
    backend: str,
    output: Output,
    options: StreamOptions,
) -> Callable[[], int]:
    """Render a frame's mask to a PNG."""
    output.check()
    async with await open_async(file.source, key=options.key(file), config=options.config) as stream:
        geometry = await stream.frame(index)
    mask, rendered_by = _mask(geometry, size or options.native_size, options.native_size, backend)

    def deliver() -> int:
        _save_png(mask, output)
        covered = np.count_nonzero(mask) / mask.size
        click.echo(
            f"{output.shown}: frame {index}, {mask.shape[1]} x {mask.shape[0]}, {covered:.1%} covered, {rendered_by}",
            err=output.is_standard,
        )
        return 0

    return deliver


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
            click.echo(f"alphastream: rendering on the CPU: {one_line(exc)}", err=True)
    return rasterize(geometry, size, native_size=native_size), "CPU (numpy)"


def _mask_by_gl(
    geometry: FrameGeometry, size: tuple[int, int], native_size: tuple[int, int]
) -> tuple[npt.NDArray[np.uint8], str]:
    """Render with the first shader method that the context supports, never by an upload of the CPU's mask."""
    context = create_headless_context()
    try:
        for renderer in shader_renderers(context, native_size, SHADER_METHODS):
            with renderer:
                texture = context.texture(size, 1)
                mask = renderer.read(renderer.render(geometry, into=texture))
                texture.release()
                return mask, f"GL ({renderer.method}, {context.info['GL_RENDERER']})"
    finally:
        context.release()
    raise GLUnavailableError("no shader method is exact on this OpenGL; run alphastream doctor for details")


def shader_renderers(
    context: moderngl.Context, native_size: tuple[int, int], methods: Sequence[str]
) -> Iterator[MaskRenderer]:
    """
    Yield a renderer for each method that is exact on a context. Unavailable methods are reported.

    Raises:
        GLUnavailableError: no method is available; the error is that of the last one.
    """
    n_unavailable = 0
    for method in methods:
        try:
            renderer = MaskRenderer(context, native_size=native_size, method=method)  # type: ignore[arg-type]
        except GLUnavailableError as exc:
            n_unavailable += 1
            if n_unavailable == len(methods):
                raise
            click.echo(f"alphastream: skipping {method}: {one_line(exc)}", err=True)
            continue
        if renderer.method == method:
            yield renderer
        else:
            renderer.release()


def _save_png(mask: npt.NDArray[np.uint8], output: Output) -> None:
    """Write a whole PNG or nothing, except to a pipe or a device."""
    picture = BytesIO()
    Image.fromarray(mask).save(picture, format="PNG")
    if output.is_direct:
        picture.seek(0)
        output.write(picture)
        return
    path = Path(output.path)
    with mapped_errors(f"writing {str(path)!r}"), whole_file(path.resolve()) as file:
        file.write(picture.getvalue())
