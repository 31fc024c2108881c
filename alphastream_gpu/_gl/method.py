"""
Method: what a way to make masks on a context offers to the renderer.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, ClassVar, Generic, TypeVar

import moderngl

from .._exceptions import GLUnavailableError
from .._geometry.frame import FrameGeometry
from .functions import Functions
from .shaders import PROGRAMS, shader_source, source_names
from .target import Target

__all__ = ["Method", "build_program", "release"]

Plan = TypeVar("Plan")


class Method(ABC, Generic[Plan]):
    """
    A way to make masks: plans frames without GL, and carries the plans out.

    Args:
        ctx: the context, current on this thread.
        gl: its functions.
        native_size: ``(width, height)`` of the grid that points are on.
        counts: counters to add to: ``draws``, ``dispatches``, ``uploaded_bytes``, ``gl_objects``.
    """

    name: ClassVar[str]
    stores: ClassVar[bool] = False
    """Whether its shaders store into the target, instead of drawing or writing."""
    guard: AbstractContextManager[None]
    """The states that :meth:`render` touches; around it, and around looking at the target."""

    def __init__(
        self, ctx: moderngl.Context, gl: Functions, native_size: tuple[int, int], counts: Counter[str]
    ) -> None:
        self._ctx = ctx
        self._gl = gl
        self._native_size = native_size
        self._counts = counts

    @abstractmethod
    def plan(self, geometry: FrameGeometry, size: tuple[int, int]) -> Plan | None:
        """What to do for a frame and an output of `size`; None if the CPU twin must make the mask. Calls no GL."""

    @abstractmethod
    def render(self, plans: Sequence[Plan], target: Target, first_layer: int | None) -> None:
        """
        Carry plans for frames out, inside :attr:`guard`.

        Args:
            plans: of one frame or more, for the target's size.
            target: where the masks go.
            first_layer: the layer of the first frame, the others following; None for a 2D texture, and one frame.
        """

    @abstractmethod
    def release(self) -> None:
        """Release every GL object made here, with the context current. May be called again."""


def build_program(ctx: moderngl.Context, gl: Functions, name: str, *, has_version: bool = True) -> Any:
    """
    Build one of the package's programs: a ``moderngl.Program`` or ``moderngl.ComputeShader``.

    Raises:
        GLUnavailableError: the driver refuses it; the message has the driver's words, and which number is which file.
    """
    program = PROGRAMS[name]
    sources: dict[str, Any] = {
        argument: shader_source(part, program.defines, has_version=has_version)
        for argument, part in program.parts.items()
    }
    try:
        if "compute_shader" in sources:
            return ctx.compute_shader(sources["compute_shader"])
        return ctx.program(**sources)
    except moderngl.Error as exc:
        numbers = ", ".join(str(source_names(part)) for part in program.parts.values())
        raise GLUnavailableError(
            f"the driver {gl.driver} refuses the shaders of {name} (source numbers: {numbers}): {exc}"
        ) from exc


def release(thing: Any) -> None:
    """
    Release an object of moderngl's, or an attachment.

    A host's context may have the mode "context_gc", in which moderngl collects what is dropped; what is released
    already it would collect as well, and trip over.
    """
    thing.release()
    if isinstance(getattr(thing, "ctx", None), moderngl.Context):
        del thing.ctx
