"""
Method: the interface of a method, which is one way to make masks on a context. The renderer calls it.
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
    A way to make masks. It plans frames without GL, and carries the plans out.

    Args:
        ctx: the context, current on this thread.
        gl: the context's functions.
        native_size: ``(width, height)`` of the grid that points are on.
        counts: counters to add to: ``draws``, ``dispatches``, ``uploaded_bytes``, ``gl_objects``.
    """

    name: ClassVar[str]
    stores: ClassVar[bool] = False
    """Whether the method's shaders store into the target, instead of drawing or writing it."""
    guard: AbstractContextManager[None]
    """The states that :meth:`render` touches. It encloses :meth:`render` and queries of the target."""

    def __init__(
        self, ctx: moderngl.Context, gl: Functions, native_size: tuple[int, int], counts: Counter[str]
    ) -> None:
        self._ctx = ctx
        self._gl = gl
        self._native_size = native_size
        self._counts = counts

    @abstractmethod
    def plan(self, geometry: FrameGeometry, size: tuple[int, int]) -> Plan | None:
        """Plan a frame for an output of `size`. None if the CPU twin must make the mask. Calls no GL."""

    @abstractmethod
    def render(self, plans: Sequence[Plan], target: Target, first_layer: int | None) -> None:
        """
        Carry out plans for frames, inside :attr:`guard`.

        Args:
            plans: the plans of one or more frames, for the target's size.
            target: the texture that gets the masks.
            first_layer: the layer of the first frame; the others follow. None for one frame and a 2D texture.
        """

    @abstractmethod
    def release(self) -> None:
        """Release every GL object created here, with the context current. May be called again."""


def build_program(ctx: moderngl.Context, gl: Functions, name: str, *, has_version: bool = True) -> Any:
    """
    Build one of the package's programs: a ``moderngl.Program`` or ``moderngl.ComputeShader``.

    Raises:
        GLUnavailableError: the driver rejects the program. The message has the driver's message and the number of each
            source file.
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
            f"the driver {gl.driver} rejects the shaders of {name} (source numbers: {numbers}): {exc}"
        ) from exc


def release(thing: Any) -> None:
    """
    Release a moderngl object or an attachment.

    A host's context may have the gc mode "context_gc", in which moderngl collects dropped objects. It would also
    collect a released object, and fail. So this function removes the object's reference to its context.
    """
    thing.release()
    if isinstance(getattr(thing, "ctx", None), moderngl.Context):
        del thing.ctx
