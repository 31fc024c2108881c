"""
Compute: makes masks by three dispatches, without per-point work on the CPU.

Strategy
--------
``cross`` runs several lanes per segment. The lanes set the line's pixels in plane 0 of a bitmap, and flip each row's
crossing in the parity plane of the segment's channel. ``fill`` runs one work group per row. It turns flips into
parities by a prefix XOR: shifts within a word, then the parity of the words before it. ``resolve`` runs one thread per
four output pixels, and stores them into the target. A frame uploads some 4.5 KB. A batch takes the same three
dispatches; the last two have the frame as their third dimension.

All arithmetic is in 32-bit integers. A frame that could overflow them, or keep the GPU busy for long, is left to the
CPU twin.

Stores into an incomplete texture are lost without an error. A target that is not storable (`Target.is_storable`) gets
its mask by a copy from a texture of our own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import moderngl
import numpy as np
import numpy.typing as npt

from .._exceptions import GLUnavailableError
from .._geometry.frame import FrameGeometry
from . import enums as e
from .functions import Functions
from .guest import Copying, Dispatching, Making
from .method import Method, build_program, release
from .packing import Package
from .shaders import COMPUTE_EXTENSIONS
from .target import Attachment, Target

__all__ = ["MAX_EXTENT", "MAX_POINTS", "MAX_STEPS", "Compute"]

MAX_POINTS: Final = 1 << 18
"""Most points in a dispatch; real frames have some 540. With eight lanes per point, they fill half of the work groups
that every OpenGL 4.3 offers in one dimension."""
MAX_STEPS: Final = 1 << 26
"""Most segment pixels, and most crossings, in a dispatch. Each is an atomic operation. In the worst case, all of them
change the same word, one after the other."""
MAX_EXTENT: Final = 65535
"""Largest width and height of a channel's box: products of two extents fit unsigned 32 bits
(shaders/shared/line.glsl)."""
MAX_COORDINATE: Final = 1 << 30
"""Largest magnitude of a coordinate: sums of two coordinates fit int32."""
MAX_PLANES: Final = 32
"""Most parity planes: `fill` keeps one carry bit per plane in a word."""
MAX_WORK_BYTES: Final = 1 << 27
"""Most bytes of bitmaps for all frames of a dispatch: 128 MiB. 64 frames of 2048 x 1024 take 48 to 64 MiB."""

_SMALL: Final = 1 << 15
"""Coordinates up to this magnitude always fit: they are within one extent of each other."""
_GROUP: Final = 64
"""Threads in a work group of `cross`."""
_TILE: Final = (128, 4)
"""Output pixels of a work group of `resolve`: width and height."""
_FEW_POINTS: Final = 4096
"""Up to this many points, each point gets 32 lanes, otherwise 8. Few points leave a GPU idle, and many do not."""
_AFTERWARDS: Final = (
    e.GL_TEXTURE_FETCH_BARRIER_BIT
    | e.GL_SHADER_IMAGE_ACCESS_BARRIER_BIT
    | e.GL_PIXEL_BUFFER_BARRIER_BIT
    | e.GL_TEXTURE_UPDATE_BARRIER_BIT
    | e.GL_FRAMEBUFFER_BARRIER_BIT
)
"""Barriers for every way in which a host may use the texture next."""


class ComputePlan(NamedTuple):
    """A frame that can be dispatched."""

    geometry: FrameGeometry
    planes: npt.NDArray[np.int32]
    n_planes: int
    n_steps: int
    """Upper bound of the number of pixels that the segments have inside the window."""


class Compute(Method[ComputePlan]):
    """
    Masks by compute shaders.

    Raises:
        GLUnavailableError: the context has no compute shaders, or the driver rejects the package's.
    """

    name = "compute"
    stores = True

    def __init__(
        self,
        ctx: moderngl.Context,
        gl: Functions,
        native_size: tuple[int, int],
        counts: Counter[str],
        *,
        preserve_state: bool,
    ) -> None:
        super().__init__(ctx, gl, native_size, counts)
        if (why := missing(gl)) is not None:
            raise GLUnavailableError(why)
        self.guard = Dispatching(gl, preserve=preserve_state)
        self._copying = Copying(gl, preserve=preserve_state)
        self._making = Making(gl, ctx, preserve=preserve_state)
        self._row_words = (native_size[0] + 31) // 32
        self._plane_words = self._row_words * native_size[1]
        most = min(MAX_WORK_BYTES, gl.integer(e.GL_MAX_SHADER_STORAGE_BLOCK_SIZE) % (1 << 32))
        self._most_planes = most // (4 * self._plane_words)
        """Most bitmaps of native size in the working memory."""
        self._package = Package()
        self._programs: dict[str, Any] = {}
        self._input = self._work = 0
        self._n_masks = self._n_planes = 0
        self._is_clean = False
        self._beside: moderngl.Texture | None = None
        self._attachment: Attachment | None = None
        try:
            with self.guard:
                self._make()
        except BaseException:
            self.release()
            raise

    def _make(self) -> None:
        has_version = self._gl.version_code >= 430
        for name in ("cross", "fill", "resolve"):
            program = build_program(self._ctx, self._gl, f"{name}_compute", has_version=has_version)
            self._programs[name] = program
        self._has_version = has_version
        self._input = self._gl.new("glGenBuffers")
        self._work = self._gl.new("glGenBuffers")
        self._counts["gl_objects"] += 5

    def plan(self, geometry: FrameGeometry, size: tuple[int, int]) -> ComputePlan | None:
        """Check the frame against the bounds. The frame computes the data of its channels only once."""
        planes, n_planes = geometry.planes, geometry.plane_count
        n_points = len(geometry.points)
        if planes is None or n_planes > MAX_PLANES or n_planes + 2 > self._most_planes or n_points > MAX_POINTS:
            return None
        if len(planes) > MAX_POINTS:  # empty channels are uploaded too
            return None
        left, top, right, bottom = geometry.bounds
        if (min(left, top) < -_SMALL or max(right, bottom) >= _SMALL) and not _fits(geometry):
            return None
        n_steps = n_points * min(max(right - left, bottom - top), max(self._native_size))
        if n_steps > MAX_STEPS:
            n_steps = _count_steps(geometry)
            if n_steps > MAX_STEPS:
                return None
        return ComputePlan(geometry, planes, n_planes, n_steps)

    def render(self, plans: Sequence[ComputePlan], target: Target, first_layer: int | None) -> None:
        """Dispatch as many frames at once as the bounds allow."""
        if len(plans) == 1 and target.is_storable:
            self._dispatch(plans, target, first_layer)
            return
        layer = first_layer
        for part in self._parts(plans, len(plans) if target.is_storable else 1):
            if target.is_storable:
                self._dispatch(part, target, layer)
            else:
                self._dispatch_beside(part, target, layer)
            layer = None if layer is None else layer + len(part)

    def release(self) -> None:
        """Release every GL object created here."""
        for name in (self._input, self._work):
            if name:
                self._gl.delete("glDeleteBuffers", name)
        self._input = self._work = 0
        for thing in (*self._programs.values(), self._beside, self._attachment):
            if thing is not None:
                release(thing)
        self._programs.clear()
        self._beside = self._attachment = None

    def _parts(self, plans: Sequence[ComputePlan], most: int) -> Iterator[Sequence[ComputePlan]]:
        """Split frames into runs that stay within every bound."""
        start = n_points = n_steps = n_planes = 0
        for i, plan in enumerate(plans):
            n_points += len(plan.geometry.points)
            n_steps += plan.n_steps
            n_planes = max(n_planes, plan.n_planes)
            n_frames = i - start + 1
            if i > start and (
                n_frames > most
                or n_points > MAX_POINTS
                or n_steps > MAX_STEPS
                or n_frames * (n_planes + 2) > self._most_planes
            ):
                yield plans[start:i]
                start, n_points, n_steps, n_planes = i, len(plan.geometry.points), plan.n_steps, plan.n_planes
        if start < len(plans):
            yield plans[start:]

    def _dispatch(self, plans: Sequence[ComputePlan], target: Target, layer: int | None) -> None:
        """Render frames into a storable target."""
        gl, package = self._gl, self._package
        n_frames = len(plans)
        n_planes = max([plan.n_planes for plan in plans])
        n_points = sum([len(plan.geometry.points) for plan in plans])
        is_layered = n_frames > 1
        resolve = self._resolve(is_layered)
        gl.glBindBufferBase(e.GL_SHADER_STORAGE_BUFFER, 1, self._work)
        self._reserve(n_frames, n_planes)
        lane_bits = 5 if n_points <= _FEW_POINTS else 3
        width, height = self._native_size
        package.pack(
            [plan.geometry for plan in plans],
            [plan.planes for plan in plans],
            n_planes=n_planes,
            lane_bits=lane_bits,
            native_width=width,
            native_height=height,
            row_words=self._row_words,
            bits_at=self._n_masks * self._plane_words,
            output_width=target.width,
            output_height=target.height,
            first_layer=layer or 0,
        )
        gl.glBindBufferBase(e.GL_SHADER_STORAGE_BUFFER, 0, self._input)
        gl.glBufferData(e.GL_SHADER_STORAGE_BUFFER, package.n_bytes, package.address, e.GL_STREAM_DRAW)
        gl.glBindImageTexture(0, target.name, 0, is_layered, 0 if is_layered else layer or 0, e.GL_WRITE_ONLY, e.GL_R8)
        self._is_clean = False  # an interrupt would leave flips in the planes
        if n_points:
            gl.glUseProgram(self._programs["cross"].glo)
            gl.glDispatchCompute(((n_points << lane_bits) + _GROUP - 1) // _GROUP, 1, 1)
            gl.glMemoryBarrier(e.GL_SHADER_STORAGE_BARRIER_BIT)
        gl.glUseProgram(self._programs["fill"].glo)
        gl.glDispatchCompute(height, 1, n_frames)
        gl.glMemoryBarrier(e.GL_SHADER_STORAGE_BARRIER_BIT)
        self._is_clean = True
        gl.glUseProgram(resolve)
        columns, rows = -(-target.width // _TILE[0]), -(-target.height // _TILE[1])
        gl.glDispatchCompute(columns, rows, n_frames)
        gl.glMemoryBarrier(_AFTERWARDS)
        self._counts["dispatches"] += 3 if n_points else 2
        self._counts["uploaded_bytes"] += package.n_bytes

    def _dispatch_beside(self, plans: Sequence[ComputePlan], target: Target, layer: int | None) -> None:
        """Render one frame into a texture of our own, and copy it to the target."""
        gl = self._gl
        beside = self._own_target(target.size)
        self._dispatch(plans, beside, None)
        with self._copying:
            if self._attachment is None:
                self._attachment = Attachment(gl)
                self._counts["gl_objects"] += 1
            self._attachment.attach(beside, binding=e.GL_READ_FRAMEBUFFER)
            gl.glBindTexture(target.kind, target.name)
            if layer is None:
                gl.glCopyTexSubImage2D(target.kind, 0, 0, 0, 0, 0, *target.size)
            else:
                gl.glCopyTexSubImage3D(target.kind, 0, 0, 0, layer, 0, 0, *target.size)
            self._attachment.detach()

    def _own_target(self, size: tuple[int, int]) -> Target:
        texture = self._beside
        if texture is None or texture.size != size:
            if texture is not None:
                self._beside = None
                release(texture)
            with self._making:
                texture = self._beside = self._ctx.texture(size, 1)
            self._counts["gl_objects"] += 1
        return Target(texture.glo, e.GL_TEXTURE_2D, *size, 1)

    def _resolve(self, is_layered: bool) -> int:
        """Return the name of the last stage's program. The program for batches is built on first use."""
        name = "resolve_layered" if is_layered else "resolve"
        if name not in self._programs:
            built = build_program(self._ctx, self._gl, "resolve_compute_layered", has_version=self._has_version)
            self._programs[name] = built
            self._counts["gl_objects"] += 1
        return int(self._programs[name].glo)

    def _reserve(self, n_frames: int, n_planes: int) -> None:
        """Ensure that the bound buffer has working memory for these frames, with all planes zero."""
        if n_frames <= self._n_masks and n_frames * (n_planes + 1) <= self._n_planes and self._is_clean:
            return
        self._is_clean = False  # an interrupt before the allocation would leave wrong sizes
        self._n_masks = max(self._n_masks, n_frames)
        self._n_planes = max(self._n_planes, n_frames * (n_planes + 1))
        if self._n_masks + self._n_planes > self._most_planes:  # both maxima together exceed the bound
            self._n_masks, self._n_planes = n_frames, n_frames * (n_planes + 1)
        zeros = np.zeros((self._n_masks + self._n_planes) * self._plane_words, np.uint32)
        self._gl.glBufferData(e.GL_SHADER_STORAGE_BUFFER, zeros.nbytes, zeros.ctypes.data, e.GL_STREAM_DRAW)
        if self._gl.buffer_size(e.GL_SHADER_STORAGE_BUFFER) != zeros.nbytes:
            self._n_masks = self._n_planes = 0
            raise GLUnavailableError(f"the driver {self._gl.driver} has no memory for {zeros.nbytes} bytes of bitmaps")


def missing(gl: Functions) -> str | None:
    """Return why compute shaders do not work on a context, or None if they do."""
    if gl.version_code >= 430:
        return None
    absent = [extension for extension in COMPUTE_EXTENSIONS if extension not in gl.extensions]
    if not absent:
        return None
    version = f"{gl.version_code // 100}.{gl.version_code // 10 % 10}"
    return f"compute shaders need OpenGL 4.3, found {version} without {', '.join(absent)} ({gl.driver})"


def _fits(geometry: FrameGeometry) -> bool:
    """Return whether every channel's box is small enough, and no point is near the ends of int32."""
    boxes = geometry.boxes.astype(np.int64)
    extents = boxes[:, 2:] - boxes[:, :2]
    return bool((extents <= MAX_EXTENT).all() and (np.abs(boxes) <= MAX_COORDINATE).all())


def _count_steps(geometry: FrameGeometry) -> int:
    """Return the total length of all segments. A closing segment counts as the extent of its channel's box."""
    points = geometry.points.astype(np.int64)
    lengths = np.abs(np.diff(points, axis=0)).max(axis=1, initial=0)
    offsets = geometry.channel_offsets
    between = offsets[1:-1] - 1  # a channel's end and the next one's start form no segment
    lengths[between[(between >= 0) & (between < len(lengths))]] = 0
    boxes = geometry.boxes.astype(np.int64)
    return int(lengths.sum() + (boxes[:, 2:] - boxes[:, :2]).max(axis=1, initial=0).sum())
