"""
Attaching to a host's context: a ``moderngl.Context`` around the one that is current, with nothing of the host's
changed.
"""

from __future__ import annotations

from weakref import WeakKeyDictionary

import moderngl

from .._exceptions import GLUnavailableError
from .functions import Functions
from .guest import Attaching
from .loader import CurrentContext, current_context

__all__ = ["attach", "current_of", "without_default"]

_handles: WeakKeyDictionary[moderngl.Context, CurrentContext] = WeakKeyDictionary()
"""Which GL context each moderngl context was first seen on."""
_attached: dict[tuple[str, int, str], moderngl.Context] = {}
"""Made here, by interface, handle and driver; kept, because moderngl's contexts are never collected."""


def current_of(ctx: moderngl.Context) -> CurrentContext:
    """
    The current GL context, which must be the one of `ctx`.

    moderngl does not tell which that is; it is remembered from the first time, when the caller's word is taken for it.

    Raises:
        TypeError: no moderngl context.
        GLUnavailableError: it is released, or another context is current, or none.
    """
    if not isinstance(ctx, moderngl.Context):
        raise TypeError(f"ctx: expected a moderngl.Context, found {type(ctx).__name__}")
    if _is_released(ctx):
        raise GLUnavailableError("ctx: it is released")
    current = current_context()
    known = _handles.setdefault(ctx, current)
    if (known.interface, known.handle) != (current.interface, current.handle):
        raise GLUnavailableError(
            "ctx: another OpenGL context is current on this thread; make that of ctx current first"
        )
    return current


def attach() -> moderngl.Context:
    """
    The moderngl context for the GL context that is current on this thread.

    A program that uses moderngl has one already, its default (``moderngl.get_context()``), and its textures belong to
    that one. For others a new one is made around the current context, once; that is not made moderngl's default, which
    would be a choice for the whole program.

    Raises:
        GLUnavailableError: no context is current, or it is older than OpenGL 3.3.
    """
    current = current_context()
    default: moderngl.Context | None = moderngl._store.default_context  # type: ignore[attr-defined]
    if default is not None and not _is_released(default):
        known = _handles.setdefault(default, current)
        if (known.interface, known.handle) == (current.interface, current.handle):
            return default
    gl = Functions(current)
    key = (current.interface, current.handle, gl.driver)  # an address may be another context's later
    if key not in _attached:
        errors = gl.take_errors()  # moderngl would, and keep them
        try:
            with Attaching(gl, preserve=True), without_default():
                _attached[key] = moderngl.create_context(context=current)  # type: ignore[arg-type]
        except Exception as exc:  # moderngl.Error, or ValueError for an old version
            raise GLUnavailableError(f"the current OpenGL context cannot be used: {exc}") from exc
        finally:
            gl.put_back_errors(errors)
        _handles[_attached[key]] = current
    return _attached[key]


def _is_released(ctx: moderngl.Context) -> bool:
    return type(ctx.mglo).__name__ == "InvalidObject"


class without_default:  # noqa: N801 - a context manager, read as a phrase
    """Lets a context be made without its becoming moderngl's default, for which moderngl has no option."""

    def __enter__(self) -> None:
        self._before = moderngl._store.default_context  # type: ignore[attr-defined]

    def __exit__(self, *exc: object) -> None:
        moderngl._store.default_context = self._before  # type: ignore[attr-defined]
