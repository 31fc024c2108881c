"""
MaskRenderer: exact masks in shaders, into an R8 texture.

Strategy
--------
mask = parity fill | outline | half-way crossings (docs/coverage.md, "Why a GPU makes the same bits"). A frame whose
channels do not overlap and whose target has the native size, or a power of two less, takes two draws, straight into the
target: the fill with XOR blending, the outline over it. Channels that overlap others are filled in between, into the
components of a scratch texture (four parity planes at a time), and ORed in by a resolve draw over their box alone. For
other sizes, all that happens in a native scratch texture, and one more resolve draw scales it.

What is uploaded is the polygons: 8 bytes a segment and 6 a triangle, in one write to one buffer that is reused.

The renderer is a guest in somebody's context. guest.py keeps the state, target.py looks at what is to be drawn into,
passes.py draws; here is decided what is drawn how, and who may ask.
"""

from __future__ import annotations

import logging
import operator
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from types import TracebackType
from typing import Final, TypeVar
from weakref import WeakKeyDictionary

import moderngl
import numpy as np
import numpy.typing as npt

from .._exceptions import ClosedError, GLUnavailableError
from .._geometry import FrameGeometry
from .._raster.coverage import check_size, rasterize
from . import enums as e
from .attach import attach, current_of
from .functions import Functions
from .guest import Drawing, Making, Reading, Writing
from .mesh import MAX_SEGMENTS, MAX_VIEWPORT, SCRATCH_COMPONENTS, grid_for, plan_batch, plan_draw
from .passes import MAX_LAYERS, Passes, release
from .planes import MAX_CHANNELS
from .readback import Ring, Slot
from .selfcheck import NATIVE_SIZE as CHECK_SIZE
from .selfcheck import count_wrong_pixels
from .shaders import LAYER_BY_VERTEX_EXTENSION
from .target import Attachment, Target, find_target

__all__ = ["MaskRenderer", "RenderStats"]

_logger = logging.getLogger("alphastream_gpu")

Mask = npt.NDArray[np.uint8]
Texture = TypeVar("Texture", moderngl.Texture, moderngl.TextureArray, int)

_BATCH_SCRATCH_BYTES: Final = 1 << 26
"""Most bytes of scratch textures that a batch may take: 64 MiB. Larger batches are drawn in parts."""
_RING: Final = 3
"""Frames in flight of :meth:`MaskRenderer.read_frames`: one drawn, one copied, one fetched."""
_exact: WeakKeyDictionary[moderngl.Context, dict[str, bool]] = WeakKeyDictionary()
"""Contexts that were checked, and which variants of the shaders are exact there."""
_reported: set[str] = set()
"""What was said of drivers, which is not said again."""


@dataclass(frozen=True, slots=True)
class RenderStats:
    """
    What a renderer has done since it was made.
    """

    frames: int = 0
    """Masks rendered, fallbacks included."""
    draws: int = 0
    """GL draw calls."""
    uploaded_bytes: int = 0
    """Bytes of vertices and of CPU masks sent to GL."""
    cpu_fallbacks: int = 0
    """Masks that the CPU twin made, because the shaders could not be exact for the frame, or are not on this driver."""
    gl_objects: int = 0
    """GL objects made; constant once every size has been seen."""


class MaskRenderer:
    """
    Renders masks into textures of a context that the caller owns.

    Use it on the thread where the context is current; release it there, or leave the ``with`` block there. The context
    must offer OpenGL 3.3. No GL object is made per frame: buffers and textures are reused, and grow when a frame
    needs more.

    Every call leaves the context's state as it found it, so it may stand anywhere in a host's frame but between the
    begin and the end of a query, a conditional render or transform feedback (docs/opengl.md).

    At first use on a context it draws a small scene and compares it with the CPU twin's. On a driver that gets a bit
    wrong it says so once, in the log ``alphastream_gpu``, and from then on uploads masks that the CPU made.

    Args:
        ctx: the caller's context. Never released or switched here. When omitted, the one that is current on this
            thread, whoever made it.
        native_size: ``(width, height)`` of the grid that the points are on, 1..16384 each.
        preserve_state: whether to read and restore the state. Without, the framebuffers, program, vertex array, array
            buffer, texture unit 0, viewport, blending and pixel-store settings are undefined after each call, and all
            tests that masks do not pass through are off. Saves some 25 microseconds a call.

    Raises:
        GLUnavailableError: no context is current, or it is too old, too small, or refuses the shaders.
        ValueError: a size outside its range.
    """

    def __init__(
        self,
        ctx: moderngl.Context | None = None,
        *,
        native_size: tuple[int, int] = (2048, 1024),
        preserve_state: bool = True,
    ) -> None:
        self._native_size = check_size("native_size", native_size)
        self._counts = dict.fromkeys((option.name for option in fields(RenderStats)), 0)
        self._released = False
        self._thread = threading.get_ident()
        self._texture: moderngl.Texture | None = None
        self._readable: moderngl.Texture | None = None
        self._passes: dict[str, Passes] = {}
        self._attachment: Attachment | None = None
        self._ctx = attach() if ctx is None else ctx
        self._current = current_of(self._ctx)
        if self._ctx.version_code < 330:
            raise GLUnavailableError(f"expected OpenGL 3.3 or newer, found {self._ctx.version_code / 100:.1f}")
        gl = self._gl = Functions(self._current, self._ctx.version_code)
        _check_context(gl, self._native_size)
        self._max_viewport = min(MAX_VIEWPORT, *gl.integers(e.GL_MAX_VIEWPORT_DIMS)[:2])
        self._drawing = Drawing(gl, preserve=preserve_state)
        self._making = Making(gl, self._ctx, preserve=preserve_state)
        self._writing = Writing(gl, preserve=preserve_state)
        self._reading = Reading(gl, preserve=preserve_state)
        by_vertex = ("layered_by_vertex",) if LAYER_BY_VERTEX_EXTENSION in gl.extensions else ()
        self._layered: tuple[str, ...] = (*by_vertex, "layered")
        self._ring = Ring(gl)
        try:
            with self._drawing:
                self._attachment = Attachment(gl)
                self._counts["gl_objects"] += 1
                self._is_exact("single")
        except BaseException:
            self.release()
            raise

    @property
    def native_size(self) -> tuple[int, int]:
        """``(width, height)`` of the grid that the points are on."""
        return self._native_size

    @property
    def is_exact(self) -> bool:
        """Whether the driver passed the self-check; where it did not, masks are made by the CPU and uploaded."""
        return _exact[self._ctx]["single"]

    @property
    def stats(self) -> RenderStats:
        """A snapshot of the counters."""
        return RenderStats(**self._counts)

    def render(self, geometry: FrameGeometry, *, into: Texture | None = None, layer: int | None = None) -> Texture:
        """
        Render a frame's mask.

        Args:
            geometry: the frame.
            into: an R8 texture of the caller's: ``ctx.texture(size, 1)``, or the GL name of a GL_TEXTURE_2D that the
                host made, mutable or immutable. Its size decides the scaling. It stays the caller's. When omitted, a
                texture of native size that belongs to the renderer and is overwritten by the next such call.
            layer: which layer to render to, 0 being the first, where `into` is an array texture (a
                ``moderngl.TextureArray`` or the name of a GL_TEXTURE_2D_ARRAY).

        Returns:
            `into`, or the renderer's texture: GL_R8, 0.0 or 1.0, the first row in memory being the mask's top row.
            ``texture.glo`` is its name.

        Raises:
            ValueError: `into` is no single-sampled R8 texture, is released, or belongs to another context; no such
                layer.
            TypeError: `into` is no 2D texture, or no array texture where a layer is given.
            ClosedError: the renderer is released.
            GLUnavailableError: called on another thread than the one that made the renderer, or its context is not
                current.
        """
        self._check_usable()
        _check_geometry(geometry)
        layer = _checked_layer(layer)
        with self._drawing:
            texture = self._own_texture() if into is None else into
            target = find_target(self._gl, self._ctx, texture, is_array=layer is not None)
            _check_layers(target, 0 if layer is None else layer, 1)
            self._render(geometry, target, layer)
        return texture  # type: ignore[return-value]  # the renderer's own where into is None

    def render_many(
        self, geometries: Iterable[FrameGeometry], *, into: moderngl.TextureArray | int, first_layer: int = 0
    ) -> None:
        """
        Render frames into the layers of an array texture, together.

        That takes one upload and two draws, or four where channels overlap.

        The masks are those of :meth:`render`, bit for bit. Batches that would take too much scratch memory or too many
        vertices are drawn in parts.

        Args:
            geometries: the frames.
            into: an R8 array texture of the caller's (``ctx.texture_array((width, height, layers), 1)``), or the GL
                name of one.
            first_layer: where the first frame goes, from 0; the others follow. Other layers are left alone.

        Raises:
            ValueError: `into` is no R8 array texture, is released, or belongs to another context; it has too few
                layers.
            TypeError: `into` is no array texture.
            ClosedError: the renderer is released.
            GLUnavailableError: as of :meth:`render`.
        """
        self._check_usable()
        geometries = list(geometries)  # what an iterable does meanwhile must be done before the state is ours
        for geometry in geometries:
            _check_geometry(geometry)
        start = operator.index(first_layer)
        with self._drawing:
            target = find_target(self._gl, self._ctx, into, is_array=True)
            _check_layers(target, start, len(geometries))
            for part in _parts(geometries, self._layers_at_once(target.size)):
                self._render_part(part, target, start)
                start += len(part)

    def read(self, texture: moderngl.Texture | moderngl.TextureArray | int, *, layer: int | None = None) -> Mask:
        """
        Read a mask back. Waits for the GPU.

        Args:
            texture: an R8 texture, such as :meth:`render` returned or took.
            layer: which layer, where it is an array texture.

        Returns:
            uint8 (height, width), 0 or 255, row 0 at the top; new, writable, the caller's.

        Raises:
            ValueError: `texture` is no single-sampled R8 texture, is released, or belongs to another context; no such
                layer.
            TypeError: `texture` is no 2D texture, or no array texture where a layer is given.
            ClosedError: the renderer is released.
            GLUnavailableError: as of :meth:`render`.
        """
        self._check_usable()
        layer = _checked_layer(layer)
        with self._reading:
            target = find_target(self._gl, self._ctx, texture, is_array=layer is not None)
            _check_layers(target, 0 if layer is None else layer, 1)
            return self._read(target, layer)

    def read_frames(
        self, geometries: Iterable[FrameGeometry], *, size: tuple[int, int] | None = None
    ) -> Iterator[Mask]:
        """
        Render frames and read them back, each while the next ones are being drawn.

        Pixels are copied into one of a ring of pixel buffers, and fetched from it two frames later: with a GPU, reading
        back costs the copy and no waiting. State is left alone between the frames, too, so that the host may go on.

        Args:
            geometries: the frames; taken one by one, two ahead of what is given out.
            size: ``(width, height)`` of the masks; native when omitted.

        Yields:
            A mask for each frame, in order: uint8 (height, width), as :meth:`read` returns.

        Raises:
            ValueError: a size outside its range.
            ClosedError: the renderer is released, when the next frame is asked for.
            GLUnavailableError: as of :meth:`render`, when the next frame is asked for.
        """
        size = self._native_size if size is None else check_size("size", size)
        return self._read_frames(iter(geometries), size)

    def release(self) -> None:
        """
        Release every GL object made here, the renderer's own texture included. May be called again.

        Raises:
            GLUnavailableError: called on another thread than the one that made the renderer, or its context is not
                current.
        """
        if self._released:
            return
        self._check_thread()
        self._released = True
        for passes in self._passes.values():
            passes.release()
        self._passes.clear()
        self._ring.release()
        for thing in (self._texture, self._readable, self._attachment):
            if thing is not None:
                release(thing)

    def __enter__(self) -> MaskRenderer:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.release()

    def __repr__(self) -> str:
        width, height = self._native_size
        return f"<MaskRenderer {width}x{height}{' released' if self._released else ''}>"

    def _render(self, geometry: FrameGeometry, target: Target, layer: int | None) -> None:
        """Render one frame, inside Drawing."""
        with self._attached(target, layer) as attachment:
            plan = None
            if self._is_exact("single"):
                plan = plan_draw(geometry, self._native_size, target.size, max_viewport=self._max_viewport)
            if plan is None:
                self._upload(rasterize(geometry, target.size, native_size=self._native_size), target, layer)
            else:
                self._passes["single"].draw(plan, attachment, target, range(1))
        self._counts["frames"] += 1

    def _render_part(self, geometries: Sequence[FrameGeometry], target: Target, first_layer: int) -> None:
        """Render some frames into neighbouring layers, inside Drawing."""
        plan = variant = None
        if len(geometries) > 1 and self._is_exact("single"):
            variant = next((one for one in self._layered if self._is_exact(one)), None)
        if variant is not None:
            plan = plan_batch(geometries, self._native_size, target.size, max_viewport=self._max_viewport)
        if variant is None or plan is None:
            for layer, geometry in enumerate(geometries, first_layer):
                self._render(geometry, target, layer)
            return
        with self._attached(target, None) as attachment:
            self._passes[variant].draw(plan, attachment, target, range(first_layer, first_layer + len(geometries)))
        self._counts["frames"] += len(geometries)

    @contextmanager
    def _attached(self, target: Target, layer: int | None) -> Iterator[Attachment]:
        attachment = self._attachment
        assert attachment is not None  # made by the constructor
        attachment.attach(target, layer)
        try:
            yield attachment
        finally:
            attachment.bind()
            attachment.detach()

    def _upload(self, mask: Mask, target: Target, layer: int | None) -> None:
        """Send a CPU mask, inside Drawing."""
        gl = self._gl
        with self._writing:
            gl.glBindTexture(target.kind, target.name)
            pixels = (e.GL_RED, e.GL_UNSIGNED_BYTE, mask.ctypes.data)
            if layer is None:
                gl.glTexSubImage2D(target.kind, 0, 0, 0, *target.size, *pixels)
            else:
                gl.glTexSubImage3D(target.kind, 0, 0, 0, layer, *target.size, 1, *pixels)
        self._counts["uploaded_bytes"] += mask.nbytes
        self._counts["cpu_fallbacks"] += 1

    def _read(self, target: Target, layer: int | None) -> Mask:
        """Read a mask, inside Reading."""
        mask = np.empty((target.height, target.width), np.uint8)
        with self._attached_for_reading(target, layer):
            pixels = (e.GL_RED, e.GL_UNSIGNED_BYTE, mask.ctypes.data)
            self._gl.glReadPixels(0, 0, *target.size, *pixels)
        return mask

    @contextmanager
    def _attached_for_reading(self, target: Target, layer: int | None) -> Iterator[None]:
        attachment = self._attachment
        assert attachment is not None  # made by the constructor
        attachment.attach(target, layer, binding=e.GL_READ_FRAMEBUFFER)
        try:
            yield
        finally:
            attachment.detach()

    def _read_frames(self, geometries: Iterator[FrameGeometry], size: tuple[int, int]) -> Iterator[Mask]:
        slots: deque[Slot] = deque()
        try:
            for geometry in geometries:
                slots.append(self._copy(geometry, size))
                if len(slots) == _RING:
                    yield self._fetch(slots)
            while slots:
                yield self._fetch(slots)
        finally:
            for slot in slots:
                self._ring.give(slot)

    def _copy(self, geometry: FrameGeometry, size: tuple[int, int]) -> Slot:
        """Render a frame and begin to copy it."""
        self._check_usable()
        _check_geometry(geometry)
        with self._drawing:
            texture = self._readable
            if texture is None or texture.size != size:
                if texture is not None:
                    release(texture)
                texture = self._readable = self._new_texture(size)
            target = Target(texture.glo, e.GL_TEXTURE_2D, *size, 1)
            self._render(geometry, target, None)
            n_buffers = self._ring.n_buffers
            with self._reading, self._attached_for_reading(target, None):
                slot = self._ring.copy(*size)
            self._counts["gl_objects"] += self._ring.n_buffers - n_buffers
        return slot

    def _fetch(self, slots: deque[Slot]) -> Mask:
        """The oldest slot's mask."""
        self._check_usable()
        with self._reading:
            mask = self._ring.fetch(slots[0])
        self._ring.give(slots.popleft())
        return mask

    def _is_exact(self, variant: str) -> bool:
        """Whether a variant of the shaders draws the scene right on this context; looked at once. Inside Drawing."""
        known = _exact.setdefault(self._ctx, {})
        if not known.get(variant, True):
            return False
        if variant not in self._passes:
            try:
                self._passes[variant] = Passes(
                    self._ctx, self._gl, self._drawing, self._making, self._counts, variant=variant
                )
            except GLUnavailableError as exc:
                if variant == "single":
                    raise
                known[variant] = False
                self._report(f"the OpenGL driver {self._gl.driver} refuses the {variant} shaders: {exc}")
                return False
        if variant not in known:
            before = dict(self._counts)
            n_wrong = count_wrong_pixels(lambda geometry, size: self._check_mask(variant, geometry, size))
            self._counts.update(draws=before["draws"], uploaded_bytes=before["uploaded_bytes"])
            known[variant] = n_wrong == 0
            if n_wrong:
                then = "uploading CPU masks instead" if variant == "single" else "drawing batches another way"
                self._report(
                    f"the OpenGL driver {self._gl.driver} gets {n_wrong} pixels of the self-check wrong with the"
                    f" {variant} shaders; {then}"
                )
        return known[variant]

    def _check_mask(self, variant: str, geometry: FrameGeometry, size: tuple[int, int]) -> Mask:
        """The scene as a variant draws it; the layered one into the last two of three layers, of which the last is
        read."""
        is_layered = variant != "single"
        plan = plan_batch([geometry] * 2, CHECK_SIZE, size) if is_layered else plan_draw(geometry, CHECK_SIZE, size)
        assert plan is not None  # the scene is small
        with self._making:
            texture = self._ctx.texture_array((*size, 3), 1) if is_layered else self._ctx.texture(size, 1)
        try:
            kind = e.GL_TEXTURE_2D_ARRAY if is_layered else e.GL_TEXTURE_2D
            target = Target(texture.glo, kind, *size, 3 if is_layered else 1)
            with self._attached(target, None) as attachment:
                self._passes[variant].draw(plan, attachment, target, range(1, 3) if is_layered else range(1))
            with self._reading:
                return self._read(target, 2 if is_layered else None)
        finally:
            release(texture)

    @staticmethod
    def _report(message: str) -> None:
        """Once for each driver and what it gets wrong."""
        if message not in _reported:
            _reported.add(message)
            _logger.warning("%s", message)

    def _new_texture(self, size: tuple[int, int]) -> moderngl.Texture:
        with self._making:
            texture = self._ctx.texture(size, 1)
        self._counts["gl_objects"] += 1
        return texture

    def _own_texture(self) -> moderngl.Texture:
        if self._texture is None or type(self._texture.mglo).__name__ == "InvalidObject":  # a caller may release it
            self._texture = self._new_texture(self._native_size)
        return self._texture

    def _layers_at_once(self, size: tuple[int, int]) -> int:
        """How many layers a batch may have, a power of two, for its scratch textures to stay within bounds."""
        grid = grid_for(self._native_size, size)
        components = SCRATCH_COMPONENTS if grid.size == size else SCRATCH_COMPONENTS + 1
        most = max(1, _BATCH_SCRATCH_BYTES // (components * grid.width * grid.height))
        return min(MAX_LAYERS, 1 << (most.bit_length() - 1))

    def _check_usable(self) -> None:
        if self._released:
            raise ClosedError("the renderer is released")
        self._check_thread()

    def _check_thread(self) -> None:
        # GL calls go to whatever context this thread has, if any: a crash, or a mask in somebody else's texture.
        if threading.get_ident() != self._thread:
            raise GLUnavailableError(
                "the renderer belongs to the thread that made it, where its context is current; make one renderer per"
                " thread and context, and hand geometry over instead"
            )
        if not self._current.is_current():
            raise GLUnavailableError(
                "the renderer's OpenGL context is not current on this thread, or is gone; make it current first, and"
                " release the renderer before its context"
            )


def _parts(geometries: Sequence[FrameGeometry], most: int) -> Iterator[Sequence[FrameGeometry]]:
    """Runs of frames that are few enough, and small enough together, to be drawn at once."""
    start = n_points = n_channels = 0
    for i, geometry in enumerate(geometries):
        points, channels = len(geometry.points), len(geometry.channel_offsets) - 1
        if i > start and (
            i - start == most or n_points + points > MAX_SEGMENTS or n_channels + channels > MAX_CHANNELS
        ):
            yield geometries[start:i]
            start, n_points, n_channels = i, 0, 0
        n_points += points
        n_channels += channels
    if start < len(geometries):
        yield geometries[start:]


def _check_context(gl: Functions, native_size: tuple[int, int]) -> None:
    limit = min(gl.integer(e.GL_MAX_TEXTURE_SIZE), *gl.integers(e.GL_MAX_VIEWPORT_DIMS)[:2])
    if max(native_size) > limit:
        raise GLUnavailableError(
            f"the driver {gl.driver} has textures of at most {limit} pixels, found a native size of"
            f" {native_size[0]} x {native_size[1]}"
        )


def _check_geometry(geometry: object) -> None:
    if not isinstance(geometry, FrameGeometry):
        raise TypeError(f"geometry: expected a FrameGeometry, found {type(geometry).__name__}")


def _checked_layer(layer: int | None) -> int | None:
    if isinstance(layer, bool):
        raise TypeError("layer: expected an int, found bool")
    return None if layer is None else operator.index(layer)


def _check_layers(target: Target, first: int, count: int) -> None:
    if first < 0 or first + count > target.n_layers:
        raise ValueError(
            f"layer: expected 0..{target.n_layers - 1}, found {first}" + (f"..{first + count - 1}" if count > 1 else "")
        )
