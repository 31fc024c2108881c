"""
MaskRenderer: renders exact masks on the GPU, into an R8 texture.

Strategy
--------
There are three methods (docs/methods.md): compute shaders, triangles drawn with blending, and the CPU twin with an
upload. Each method has a file, which names the host's states that the method touches. choice.py picks one. This module
has the public interface, and the fallback for frames that a method cannot render, which the CPU twin makes. owner.py
says who may call, and target.py what is rendered into.
"""

from __future__ import annotations

import operator
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from types import TracebackType
from typing import Any, Final, Protocol, TypeVar, overload

import moderngl
import numpy as np
import numpy.typing as npt

from .._exceptions import GLUnavailableError
from .._geometry.frame import FrameGeometry, check_geometry
from .._geometry.size import check_size
from .._raster.coverage import rasterize
from . import enums as e
from .attach import attach, identity_of
from .choice import SHADER_METHODS, Chooser, MethodName
from .functions import Functions
from .guest import Making, Reading
from .method import Method, release
from .owner import Call, Owner
from .readback import Ring, Slot
from .target import Attachment, Target, find_target
from .undocumented import is_released

__all__ = ["MaskRenderer", "RenderStats"]

Mask = npt.NDArray[np.uint8]
Texture = TypeVar("Texture", moderngl.Texture, moderngl.TextureArray, int)

_RING: Final = 3
"""Frames in flight in :meth:`MaskRenderer.read_frames`: one rendered, one copied, one fetched."""


class RenderedStream(Protocol):
    """The part of an ``AlphaStream`` that :meth:`MaskRenderer.for_stream` needs."""

    @property
    def metadata(self) -> Any: ...

    def _prepare_for_renderers(self) -> None: ...


@dataclass(frozen=True, slots=True)
class RenderStats:
    """
    Counters of what a renderer has done since it was created.
    """

    frames: int = 0
    """Masks rendered, by any method."""
    compute_frames: int = 0
    """Masks made by compute shaders."""
    triangle_frames: int = 0
    """Masks made by drawing triangles."""
    upload_frames: int = 0
    """Masks made by the CPU twin, and uploaded, or yielded directly by :meth:`MaskRenderer.read_frames`."""
    cpu_fallbacks: int = 0
    """Uploaded masks that the shader method in use could not make, because of points too far away, too many points, or
    too many overlapping channels."""
    draws: int = 0
    """GL draw calls."""
    dispatches: int = 0
    """GL calls that dispatch compute shaders."""
    uploaded_bytes: int = 0
    """Bytes of points and of CPU masks sent to GL."""
    gl_objects: int = 0
    """GL objects created; constant once every size has been seen."""


class MaskRenderer:
    """
    Renders masks into textures of a context that the caller owns.

    Use the renderer on the thread where the context is current. Release it there, or leave its ``with`` block there.
    The context must be desktop OpenGL 3.3 or newer. No GL object is created per frame: buffers and textures are reused,
    and grow when a frame needs more.

    Every call leaves the context's state as it was. So a call may come anywhere in a host's frame, except between the
    begin and the end of a conditional render, of transform feedback, or of a query that counts what is drawn
    (docs/opengl.md).

    Args:
        ctx: the caller's context. It is never released or switched here. When omitted, the context that is current on
            this thread, whoever created it.
        native_size: ``(width, height)`` of the grid that the points are on, 1..16384 each.
        preserve_state: whether to read and restore the state. If not, the states that a method touches are undefined
            after each call (docs/methods.md lists them).
        method: ``"compute"`` uses compute shaders (OpenGL 4.3, or the extensions that provide them). ``"triangles"``
            uses draws (any OpenGL 3.3). ``"upload"`` uses the CPU twin. ``"auto"`` uses the fastest exact method:
            compute on a GPU, triangles on a GPU without compute, upload if the driver is software. The bits are the
            same. Before its first use on a context, a shader method renders a small scene. If the result differs from
            the CPU twin's, the log ``alphastream_gpu`` gets one warning, and the next method is used.

    Raises:
        GLUnavailableError: no context is current, the context is too old or too small, or the method that was asked for
            by name is not available. The message has the reason.
        WrongContextError: the current context is not the one of `ctx`.
        ValueError: a size is outside its range, or the method is unknown.
    """

    def __init__(
        self,
        ctx: moderngl.Context | None = None,
        *,
        native_size: tuple[int, int] = (2048, 1024),
        preserve_state: bool = True,
        method: MethodName = "auto",
    ) -> None:
        if method not in ("auto", *SHADER_METHODS, "upload"):
            raise ValueError(f"method: expected auto, compute, triangles or upload, found {method!r}")
        self._native_size = check_size("native_size", native_size)
        self._counts: Counter[str] = Counter()
        self._texture: moderngl.Texture | None = None
        self._readable: moderngl.Texture | None = None
        self._ctx = attach() if ctx is None else ctx
        identity = identity_of(self._ctx)
        self._owner = Owner(identity)
        gl = self._gl = identity.gl
        _check_context(gl, self._native_size)
        self._making = Making(gl, self._ctx, preserve=preserve_state)
        self._reading = Reading(gl, preserve=preserve_state)
        self._ring = Ring(gl, self._reading)
        self._attachment = Attachment(gl)
        self._counts["gl_objects"] += 1
        chooser = Chooser(self._ctx, identity, self._native_size, self._counts, preserve_state=preserve_state)
        self._method: Method[Any]
        self._method = self._upload = chooser.upload()
        try:
            chosen, self._is_exact = chooser.choose(method)
        except BaseException:
            self.release()
            raise
        self._method = chosen or self._upload

    @classmethod
    def for_stream(
        cls,
        stream: RenderedStream,
        ctx: moderngl.Context | None = None,
        *,
        preserve_state: bool = True,
        method: MethodName = "auto",
    ) -> MaskRenderer:
        """
        Create a renderer with the stream's native size.

        From then on, the stream prepares frames for renderers where it decodes them, off the rendering thread.

        Args:
            stream: an :class:`AlphaStream`. It is used only in this call.
            ctx: as in the constructor.
            preserve_state: as in the constructor.
            method: as in the constructor.

        Raises:
            GLUnavailableError: as in the constructor.
            NotReadyError: nothing is loaded.
            ClosedError: the stream is closed.
        """
        stream._prepare_for_renderers()
        native_size = stream.metadata.native_size
        return cls(ctx, native_size=native_size, preserve_state=preserve_state, method=method)

    @property
    def native_size(self) -> tuple[int, int]:
        """``(width, height)`` of the grid that the points are on."""
        return self._native_size

    @property
    def method(self) -> str:
        """The method in use, ``"compute"``, ``"triangles"`` or ``"upload"``."""
        return self._method.name

    @property
    def is_exact(self) -> bool:
        """Whether :attr:`method`, and every method that was tried before it, passed the self-check."""
        return self._is_exact

    @property
    def stats(self) -> RenderStats:
        """A snapshot of the counters."""
        return RenderStats(**{option.name: self._counts[option.name] for option in fields(RenderStats)})

    @overload
    def render(self, geometry: FrameGeometry, *, into: None = None, layer: int | None = None) -> moderngl.Texture: ...

    @overload
    def render(self, geometry: FrameGeometry, *, into: Texture, layer: int | None = None) -> Texture: ...

    def render(self, geometry: FrameGeometry, *, into: Any = None, layer: int | None = None) -> Any:
        """
        Render a frame's mask.

        Args:
            geometry: the frame.
            into: an R8 texture of the caller's: ``ctx.texture(size, 1)``, or the GL name of a GL_TEXTURE_2D of the
                host's, mutable or immutable. Its size decides the scaling. The caller keeps ownership. When omitted, a
                texture of native size that belongs to the renderer. The next such call overwrites it.
            layer: the layer to render to, from 0, if `into` is an array texture (a ``moderngl.TextureArray`` or the
                name of a GL_TEXTURE_2D_ARRAY).

        Returns:
            `into`, or the renderer's texture: GL_R8, 0.0 or 1.0. The first row in memory is the mask's top row.
            ``texture.glo`` is the texture's name.

        Raises:
            ValueError: `into` is not a single-sampled R8 texture, is released, or belongs to another context; or the
                layer does not exist.
            TypeError: `into` is not a 2D texture, or, if a layer is given, not an array texture.
            ClosedError: the renderer is released.
            WrongContextError: the call comes on another thread than the one that created the renderer, while its
                context is not current, from within another of its calls, or inside a transform feedback or a counting
                query.
        """
        check_geometry("geometry", geometry)
        layer = _checked_layer(layer)
        with Call(self._owner), self._method.guard:
            texture = self._own_texture() if into is None else into
            target = find_target(
                self._gl, self._ctx, texture, is_array=layer is not None, is_stored=self._method.stores
            )
            _check_layers(target, 0 if layer is None else layer, 1)
            self._render([geometry], target, layer)
        return texture

    def render_many(
        self, geometries: Iterable[FrameGeometry], *, into: moderngl.TextureArray | int, first_layer: int = 0
    ) -> None:
        """
        Render frames into the layers of an array texture.

        With compute shaders, the whole batch takes one upload and three dispatches. A batch that would need too much
        memory at once is split, and each part takes as many. The other methods render one frame after the other. The
        masks are the same as those of :meth:`render`, bit for bit.

        Args:
            geometries: the frames.
            into: an R8 array texture of the caller's (``ctx.texture_array((width, height, layers), 1)``), or the GL
                name of one.
            first_layer: the layer of the first frame, from 0. The others follow. Other layers do not change.

        Raises:
            ValueError: `into` is not an R8 array texture, is released, belongs to another context, or has too few
                layers.
            TypeError: `into` is not an array texture.
            ClosedError: the renderer is released.
            WrongContextError: as in :meth:`render`.
        """
        geometries = list(geometries)  # an iterable's own code must run before the state is changed
        for geometry in geometries:
            check_geometry("geometry", geometry)
        start = operator.index(first_layer)
        with Call(self._owner), self._method.guard:
            target = find_target(self._gl, self._ctx, into, is_array=True, is_stored=self._method.stores)
            _check_layers(target, start, len(geometries))
            self._render(geometries, target, start)

    def read(
        self,
        texture: moderngl.Texture | moderngl.TextureArray | int,
        *,
        layer: int | None = None,
        out: Mask | None = None,
    ) -> Mask:
        """
        Read a mask back. Waits for the GPU.

        Args:
            texture: an R8 texture, for example one that :meth:`render` returned.
            layer: the layer to read, from 0, if `texture` is an array texture.
            out: the array to write to, uint8 (height, width), C-contiguous and writable. It saves an allocation.

        Returns:
            uint8 (height, width), 0 or 255, row 0 at the top: `out`, or a new, writable array. The caller owns it in
            both cases.

        Raises:
            ValueError: `texture` is not a single-sampled R8 texture, is released, or belongs to another context; the
                layer does not exist; or `out` has another shape or layout.
            TypeError: `texture` is not a 2D texture, or, if a layer is given, not an array texture; or `out` is not a
                uint8 array.
            ClosedError: the renderer is released.
            WrongContextError: as in :meth:`render`.
        """
        layer = _checked_layer(layer)
        with Call(self._owner), self._reading:
            target = find_target(self._gl, self._ctx, texture, is_array=layer is not None)
            _check_layers(target, 0 if layer is None else layer, 1)
            mask = _checked_out(out, target.size)
            self._attachment.read(target, layer, mask)
        return mask

    def read_frames(
        self, geometries: Iterable[FrameGeometry], *, size: tuple[int, int] | None = None, out: Mask | None = None
    ) -> Iterator[Mask]:
        """
        Render frames and read them back, each while the next ones are rendered.

        Pixels are copied into a ring of pixel buffers, and fetched two frames later. With a GPU, reading back costs a
        copy and no waiting. The host's state is also restored between the frames, so that the host may continue. With
        the method ``"upload"`` the masks come from the CPU twin, without a texture.

        Args:
            geometries: the frames. They are taken one by one, two ahead of the yielded mask.
            size: ``(width, height)`` of the masks; native when omitted.
            out: an array to write every mask to, uint8 (height, width), C-contiguous and writable. It is yielded each
                time, and holds a mask until the next one is asked for.

        Yields:
            A mask for each frame, in order: uint8 (height, width), as :meth:`read` returns. Without `out`, each mask is
            a new array that the caller owns. If the caller drops masks one by one, the next masks reuse their memory.

        Raises:
            ValueError: a size is outside its range, or `out` has another shape or layout.
            TypeError: `out` is not a uint8 array.
            ClosedError: the next frame is asked for and the renderer is released.
            WrongContextError: as in :meth:`render`, when the next frame is asked for.
        """
        size = self._native_size if size is None else check_size("size", size)
        if out is not None:
            _checked_out(out, size)
        return self._read_frames(iter(geometries), size, out)

    def release(self) -> None:
        """
        Release every GL object created here, including the renderer's own texture. May be called again.

        Raises:
            WrongContextError: the call comes on another thread than the one that created the renderer, while its
                context is not current, or from within another of its calls.
        """
        if not self._owner.retire():
            return
        if self._method is not self._upload:
            self._method.release()
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
        state = " released" if self._owner.is_released else ""
        return f"<MaskRenderer {width}x{height} {self.method}{state}>"

    # Rendering and reading.

    def _render(self, geometries: Sequence[FrameGeometry], target: Target, first_layer: int | None) -> None:
        """Render frames into a target or its layers, inside the method's guard."""
        method = self._method
        plans: list[Any] = []
        layer = first_layer
        for geometry in geometries:
            plan = method.plan(geometry, target.size)
            if plan is not None:
                plans.append(plan)
                continue
            layer = self._carry_out(method, plans, target, layer)
            plans.clear()
            with self._upload.guard:
                layer = self._carry_out(self._upload, [self._upload.plan(geometry, target.size)], target, layer)
            self._counts["cpu_fallbacks"] += 1
        self._carry_out(method, plans, target, layer)

    def _carry_out(self, method: Method[Any], plans: Sequence[Any], target: Target, layer: int | None) -> int | None:
        """Render plans with a method, count them, and return the next layer."""
        if not plans:
            return layer
        method.render(plans, target, layer)
        self._counts["frames"] += len(plans)
        self._counts[_COUNTERS[method.name]] += len(plans)
        return None if layer is None else layer + len(plans)

    def _read_frames(
        self, geometries: Iterator[FrameGeometry], size: tuple[int, int], out: Mask | None
    ) -> Iterator[Mask]:
        if self._method is self._upload:
            for geometry in geometries:
                yield self._rasterized(geometry, size, out)
            return
        slots: deque[Slot] = deque()
        try:
            for geometry in geometries:
                slots.append(self._copy(geometry, size))
                if len(slots) == _RING:
                    yield self._fetch(slots, out)
            while slots:
                yield self._fetch(slots, out)
        finally:
            for slot in slots:
                self._ring.give(slot)

    def _rasterized(self, geometry: FrameGeometry, size: tuple[int, int], out: Mask | None) -> Mask:
        """Return the CPU twin's mask without using GL."""
        check_geometry("geometry", geometry)
        with Call(self._owner):
            mask = rasterize(geometry, size, native_size=self._native_size)
            self._counts["frames"] += 1
            self._counts["upload_frames"] += 1
        if out is None:
            return mask
        np.copyto(out, mask)
        return out

    def _copy(self, geometry: FrameGeometry, size: tuple[int, int]) -> Slot:
        """Render a frame and start to copy it."""
        check_geometry("geometry", geometry)
        with Call(self._owner):
            texture = self._readable
            if texture is None or texture.size != size:
                self._readable = None
                if texture is not None:
                    release(texture)
                texture = self._readable = self._new_texture(size)
            target = Target(texture.glo, e.GL_TEXTURE_2D, *size, 1)
            with self._method.guard:
                self._render([geometry], target, None)
            n_made = self._ring.n_made
            with self._reading:
                self._attachment.attach(target, None, binding=e.GL_READ_FRAMEBUFFER)
                try:
                    slot = self._ring.copy(*size)
                finally:
                    self._attachment.detach()
            self._counts["gl_objects"] += self._ring.n_made - n_made
        return slot

    def _fetch(self, slots: deque[Slot], out: Mask | None) -> Mask:
        """Fetch the oldest slot's mask."""
        with Call(self._owner):
            slot = slots[0]
            mask = np.empty((slot.height, slot.width), np.uint8) if out is None else out
            self._ring.fetch(slot, mask)
        self._ring.give(slots.popleft())
        return mask

    def _new_texture(self, size: tuple[int, int]) -> moderngl.Texture:
        with self._making:
            texture = self._ctx.texture(size, 1)
        self._counts["gl_objects"] += 1
        return texture

    def _own_texture(self) -> moderngl.Texture:
        if self._texture is None or is_released(self._texture):  # released by a caller
            self._texture = self._new_texture(self._native_size)
        return self._texture


_COUNTERS: Final = {"compute": "compute_frames", "triangles": "triangle_frames", "upload": "upload_frames"}


def _check_context(gl: Functions, native_size: tuple[int, int]) -> None:
    limit = min(gl.integer(e.GL_MAX_TEXTURE_SIZE), *gl.integers(e.GL_MAX_VIEWPORT_DIMS)[:2])
    if max(native_size) > limit:
        raise GLUnavailableError(
            f"the driver {gl.driver} supports textures of at most {limit} pixels per edge, found a native size of"
            f" {native_size[0]} x {native_size[1]}"
        )


def _checked_out(out: Mask | None, size: tuple[int, int]) -> Mask:
    """Check `out`, or create an array for a mask of `size`."""
    if out is None:
        return np.empty(size[::-1], np.uint8)
    if not isinstance(out, np.ndarray) or out.dtype != np.uint8:
        raise TypeError(f"out: expected a uint8 array, found {getattr(out, 'dtype', type(out).__name__)}")
    if out.shape != size[::-1] or not out.flags.c_contiguous or not out.flags.writeable:
        raise ValueError(
            f"out: expected the shape {size[::-1]}, C-contiguous and writable, found {out.shape} with strides"
            f" {out.strides}{'' if out.flags.writeable else ', read-only'}"
        )
    return out


def _checked_layer(layer: int | None) -> int | None:
    if isinstance(layer, bool):
        raise TypeError("layer: expected an int, found bool")
    return None if layer is None else operator.index(layer)


def _check_layers(target: Target, first: int, count: int) -> None:
    if first < 0 or first + count > target.n_layers:
        raise ValueError(
            f"layer: expected 0..{target.n_layers - 1}, found {first}" + (f"..{first + count - 1}" if count > 1 else "")
        )
