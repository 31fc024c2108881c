"""
The renderer in a host: what restoring its state costs, batches beside single frames, the ring beside plain reads.

Each pair is measured in turns (A B A B), so that a change of the machine's mood meets both.
"""

from __future__ import annotations

from typing import Any

import moderngl
from conftest import facts, in_turns, report

from alphastream_gpu import FrameGeometry, MaskRenderer

THUMBNAIL = (256, 128)
BATCH = 64


def _once(benchmark: Any) -> None:
    """Be counted as a benchmark, which is what selects these tests; the timing is done in turns."""
    benchmark.pedantic(lambda: None, rounds=1)


def test_preserving_state(benchmark: Any, geometries: list[FrameGeometry], ctx: moderngl.Context) -> None:
    """What reading and restoring takes by itself, beside what setting takes anyway; and a frame's render call."""
    _once(benchmark)
    turns = 1000
    with MaskRenderer(ctx) as kind, MaskRenderer(ctx, preserve_state=False) as unkind:

        def only_state(renderer: MaskRenderer) -> None:
            for _ in range(turns):
                with renderer._drawing:
                    pass

        with_it, without = in_turns(lambda: only_state(kind), lambda: only_state(unkind))
        texture = ctx.texture(THUMBNAIL, 1)

        def play() -> None:
            for geometry in geometries:
                kind.render(geometry, into=texture)

        frame, _ = in_turns(play, lambda: None)
        texture.release()
    facts["preserve_state"] = (
        f"{(with_it - without) / turns * 1e6:.0f} us a call, of {frame / len(geometries) * 1e6:.0f} us for a frame at"
        " 256 x 128"
    )


def _batches(
    ctx: moderngl.Context, geometries: list[FrameGeometry], native_size: tuple[int, int]
) -> tuple[float, float]:
    """A frame's time by itself and in a batch, in seconds."""
    batch = geometries[:BATCH]
    with MaskRenderer(ctx, native_size=native_size) as renderer:
        texture, array = ctx.texture(THUMBNAIL, 1), ctx.texture_array((*THUMBNAIL, BATCH), 1)

        def singly() -> None:
            for geometry in batch:
                renderer.render(geometry, into=texture)
            ctx.finish()

        def together() -> None:
            renderer.render_many(batch, into=array)
            ctx.finish()

        single, many = in_turns(singly, together)
        texture.release()
        array.release()
    return single / BATCH, many / BATCH


def test_batches(benchmark: Any, geometries: list[FrameGeometry], ctx: moderngl.Context) -> None:
    """
    The sample at an eighth of its size; and beside it, without a bar, frames whose native size that is, made of the
    sample's by dividing its points: as many points for a sixty-fourth of the pixels, which no tracer would give.
    """
    _once(benchmark)
    single, many = _batches(ctx, geometries, (2048, 1024))
    report("render_many, 64 frames, 256 x 128", single / many, 2, "x single renders", at_least=True)
    facts["  of these, a frame of the batch"] = f"{many * 1e6:.0f} us; singly {single * 1e6:.0f} us"
    small = [FrameGeometry(geometry.points // 8, geometry.channel_offsets) for geometry in geometries]
    single, many = _batches(ctx, small, THUMBNAIL)
    facts["  the same points on a grid of 256 x 128"] = f"{single / many:.2f} x; {many * 1e6:.0f} us a frame"


def test_reading(benchmark: Any, geometries: list[FrameGeometry], ctx: moderngl.Context) -> None:
    _once(benchmark)
    frames = geometries[::4]
    for size in ((2048, 1024), THUMBNAIL):
        with MaskRenderer(ctx) as renderer:
            texture = ctx.texture(size, 1)

            def plain() -> None:
                for geometry in frames:
                    renderer.read(renderer.render(geometry, into=texture))  # noqa: B023 - called within the turn

            def ring() -> None:
                for _ in renderer.read_frames(frames, size=size):  # noqa: B023 - likewise
                    pass

            by_read, by_ring = (taken / len(frames) for taken in in_turns(plain, ring))
            texture.release()
        name = f"read_frames, {size[0]} x {size[1]}"
        facts[name] = (
            f"{by_ring * 1e6:.0f} us a frame = {by_ring / by_read:.2f} x render and read ({by_read * 1e6:.0f} us)"
        )
