"""
alphastream verify: compares the GPU's mask of every frame with the CPU's, bit by bit.
"""

from __future__ import annotations

import contextlib

import click
import numpy as np

from .._context.headless import create_headless_context
from .._geometry.frame import FrameGeometry
from .._gl import SHADER_METHODS, MaskRenderer
from .._open import open_async
from .._raster import rasterize
from .options import StreamOptions, stream_options
from .pipes import Input
from .render import shader_renderers
from .running import EXIT_CHECK_FAILED, cli, command, progress_bar

__all__ = ["verify"]


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

    Checks every frame, with every method that the GPU supports. Exits with 1 at the first difference, or if no method
    passes its self-check; with 3 if no method is available.
    """
    key = options.key(file)
    methods = SHADER_METHODS if method == "all" else (method,)
    context = create_headless_context()
    try:
        async with await open_async(file.source, key=key, config=options.config) as stream:
            with contextlib.ExitStack() as stack:
                renderers = [
                    stack.enter_context(one) for one in shader_renderers(context, options.native_size, methods)
                ]
                if not renderers:
                    driver = context.info["GL_RENDERER"]
                    click.echo(f"alphastream: {driver}: the self-check failed for every available method", err=True)
                    return EXIT_CHECK_FAILED
                progress = stack.enter_context(progress_bar())
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
