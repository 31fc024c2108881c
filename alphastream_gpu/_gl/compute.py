"""
Compute: masks by three dispatches, without a plan for each point on the CPU.

Strategy
--------
``cross`` has some lanes for each segment: they set the line's pixels in plane 0 of a bitmap, and flip each row's
crossing in the parity plane of the segment's channel. ``fill`` has a work group for each row, and turns flips into
parities by a prefix XOR: shifts within a word, then the parity of the words before it. ``resolve`` has a thread for
four output pixels, and stores them into the target. A frame is some 4.5 KB of uploads; a batch is the same three
dispatches, with the frame in the third dimension of the last two.

Only integers are computed, in 32 bits. What could overflow them, or keep the GPU busy for long, is left to the CPU
twin.

Stores into a texture that is not complete are lost without an error. Such a target (`Target.is_storable`) gets the mask
through a texture of our own and a copy.
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
"""Most points of a dispatch; real frames have some 540. With eight lanes each they fill half of the work groups that
every OpenGL 4.3 offers in a row."""
MAX_STEPS: Final = 1 << 26
"""Most pixels of segments, and as many crossings, in a dispatch: atomic operations, in the worst case one after the
other on the same word."""
MAX_EXTENT: Final = 65535
"""Widest and highest box of a channel: products of two extents fit unsigned 32 bits (shaders/shared/line.glsl)."""
MAX_COORDINATE: Final = 1 << 30
"""Largest magnitude of a coordinate: sums of two fit int32."""
MAX_PLANES: Final = 32
"""Most planes: `fill` carries a bit for each in a word."""
MAX_WORK_BYTES: Final = 1 << 27
"""Most bytes of the bitmaps, all frames of a dispatch together: 128 MiB. 64 frames of 2048 x 1024 take 48 to 64."""

_SMALL: Final = 1 << 15
"""Coordinates that surely fit: within one extent of each other."""
_GROUP: Final = 64
"""Threads of a work group of `cross`."""
_TILE: Final = (128, 4)
"""Pixels of a work group of `resolve`."""
_FEW_POINTS: Final = 4096
"""Up to so many points each gets 32 lanes, beyond 8: few points leave a GPU idle, and many do not."""
_AFTERWARDS: Final = (
    e.GL_TEXTURE_FETCH_BARRIER_BIT
    | e.GL_SHADER_IMAGE_ACCESS_BARRIER_BIT
    | e.GL_PIXEL_BUFFER_BARRIER_BIT
    | e.GL_TEXTURE_UPDATE_BARRIER_BIT
    | e.GL_FRAMEBUFFER_BARRIER_BIT
)
"""However a host uses the texture next."""


class ComputePlan(NamedTuple):
    """A frame that can be dispatched."""

    geometry: FrameGeometry
    planes: npt.NDArray[np.int32]
    n_planes: int
    n_steps: int
    """At least as many as its segments have pixels inside the window."""


class Compute(Method[ComputePlan]):
    """
    Masks by compute shaders.

    Raises:
        GLUnavailableError: the context has no compute shaders, or the driver refuses these.
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
        """Bitmaps of native size that the working memory may have."""
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
        """Only what bounds it is looked at; what a frame knows of its channels was computed once."""
        planes, n_planes = geometry.planes, geometry.plane_count
        n_points = len(geometry.points)
        if planes is None or n_planes > MAX_PLANES or n_planes + 2 > self._most_planes or n_points > MAX_POINTS:
            return None
        if len(planes) > MAX_POINTS:  # empty channels are uploaded, too
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
        """As many frames at once as bounds allow."""
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
        """Release every GL object made here."""
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
        """Runs of frames that stay within every bound together."""
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
        self._is_clean = False  # an interrupt leaves flips behind
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
        """Render one frame into a texture of our own, and copy it."""
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
        """The name of the last stage's program; the one for batches is built when it is needed."""
        name = "resolve_layered" if is_layered else "resolve"
        if name not in self._programs:
            built = build_program(self._ctx, self._gl, "resolve_compute_layered", has_version=self._has_version)
            self._programs[name] = built
            self._counts["gl_objects"] += 1
        return int(self._programs[name].glo)

    def _reserve(self, n_frames: int, n_planes: int) -> None:
        """Have working memory for so many frames, its planes zero, in the buffer that is bound."""
        if n_frames <= self._n_masks and n_frames * (n_planes + 1) <= self._n_planes and self._is_clean:
            return
        self._is_clean = False  # an interrupt before the storage is there leaves the sizes untrue
        self._n_masks = max(self._n_masks, n_frames)
        self._n_planes = max(self._n_planes, n_frames * (n_planes + 1))
        if self._n_masks + self._n_planes > self._most_planes:  # the largest of both together would be too much
            self._n_masks, self._n_planes = n_frames, n_frames * (n_planes + 1)
        zeros = np.zeros((self._n_masks + self._n_planes) * self._plane_words, np.uint32)
        self._gl.glBufferData(e.GL_SHADER_STORAGE_BUFFER, zeros.nbytes, zeros.ctypes.data, e.GL_STREAM_DRAW)
        if self._gl.buffer_size(e.GL_SHADER_STORAGE_BUFFER) != zeros.nbytes:
            self._n_masks = self._n_planes = 0
            raise GLUnavailableError(f"the driver {self._gl.driver} has no memory for {zeros.nbytes} bytes of bitmaps")


def missing(gl: Functions) -> str | None:
    """What keeps compute shaders from working on a context, in words; None if nothing does."""
    if gl.version_code >= 430:
        return None
    absent = [extension for extension in COMPUTE_EXTENSIONS if extension not in gl.extensions]
    if not absent:
        return None
    version = f"{gl.version_code // 100}.{gl.version_code // 10 % 10}"
    return f"compute shaders need OpenGL 4.3, found {version} without {', '.join(absent)} ({gl.driver})"


def _fits(geometry: FrameGeometry) -> bool:
    """Whether every channel's box is small enough, and no point is near the ends of int32."""
    boxes = geometry.boxes.astype(np.int64)
    extents = boxes[:, 2:] - boxes[:, :2]
    return bool((extents <= MAX_EXTENT).all() and (np.abs(boxes) <= MAX_COORDINATE).all())


def _count_steps(geometry: FrameGeometry) -> int:
    """The lengths of all segments together, closing ones by their channel's box."""
    points = geometry.points.astype(np.int64)
    lengths = np.abs(np.diff(points, axis=0)).max(axis=1, initial=0)
    offsets = geometry.channel_offsets
    between = offsets[1:-1] - 1  # from one channel's end to the next one's start is no segment
    lengths[between[(between >= 0) & (between < len(lengths))]] = 0
    boxes = geometry.boxes.astype(np.int64)
    return int(lengths.sum() + (boxes[:, 2:] - boxes[:, :2]).max(axis=1, initial=0).sum())
