"""
Attaching to a host's context: a ``moderngl.Context`` around the one that is current, with nothing of the host's
changed.
"""

from __future__ import annotations

from weakref import WeakKeyDictionary

import moderngl

from .._exceptions import GLUnavailableError, WrongContextError
from .guest import Attaching
from .identity import Identity
from .loader import CurrentContext, current_context

__all__ = ["attach", "identity_of", "without_default"]

_identities: WeakKeyDictionary[moderngl.Context, Identity] = WeakKeyDictionary()
"""Which GL context each moderngl context stands for."""
_attached: list[moderngl.Context] = []
"""Made here; kept, because moderngl's contexts are never collected, and found again by their identities."""


def identity_of(ctx: moderngl.Context) -> Identity:
    """
    The identity of the current GL context, which must be the one that `ctx` stands for.

    moderngl does not tell which that is. The first time, the caller's word is taken for it.

    Raises:
        TypeError: no moderngl context.
        GLUnavailableError: it is released, or too old, or no context is current.
        WrongContextError: another context is current.
    """
    if not isinstance(ctx, moderngl.Context):
        raise TypeError(f"ctx: expected a moderngl.Context, found {type(ctx).__name__}")
    if _is_released(ctx):
        raise GLUnavailableError("ctx: it is released")
    known = _identities.get(ctx)
    if known is None:
        known = _identities[ctx] = Identity(current_context())
    elif not known.is_current():
        current_context()  # whether there is any
        raise WrongContextError("ctx: another OpenGL context is current on this thread; make that of ctx current first")
    return known


def attach() -> moderngl.Context:
    """
    The moderngl context for the GL context that is current on this thread.

    A program that uses moderngl has one already, its default (``moderngl.get_context()``), and its textures belong to
    that one. For others a new one is made around the current context, once; that is not made moderngl's default, which
    would be a choice for the whole program.

    Raises:
        GLUnavailableError: no context is current, or it is no desktop OpenGL of 3.3 or newer.
    """
    current = current_context()
    default: moderngl.Context | None = moderngl._store.default_context  # type: ignore[attr-defined]
    candidates = [*_attached] if default is None else [default, *_attached]
    for ctx in candidates:
        if not _is_released(ctx) and ctx in _identities and _identities[ctx].is_current():
            return ctx
    is_unknown = default is not None and not _is_released(default) and default not in _identities
    if default is not None and is_unknown and _stands_for(default, current):
        _identities[default] = Identity(current)
        return default
    identity = Identity(current)
    errors = identity.gl.take_errors()  # moderngl would, and keep them
    try:
        with Attaching(identity.gl, preserve=True), without_default():
            ctx = moderngl.create_context(context=current)  # type: ignore[arg-type]
    except Exception as exc:  # moderngl.Error, or ValueError for an old version
        raise GLUnavailableError(f"the current OpenGL context cannot be used: {exc}") from exc
    finally:
        identity.gl.put_back_errors(errors)
    _attached[:] = [one for one in _attached if _identities[one].current.handle != current.handle]  # those are gone
    _attached.append(ctx)
    _identities[ctx] = identity
    return ctx


def _stands_for(ctx: moderngl.Context, current: CurrentContext) -> bool:
    """
    Whether a moderngl context that nobody told us of stands for the current GL context.

    It is asked to make its own one current while none is. A loader that a program brings along may not do that; then it
    is not known, and a context is attached.
    """
    try:
        with current.set_aside():
            ctx.__enter__()  # type: ignore[no-untyped-call]
            try:
                found = current_context()
            finally:
                ctx.__exit__(None, None, None)  # type: ignore[no-untyped-call]
    except Exception:  # glcontext raises bare ones
        return False
    return (found.interface, found.handle) == (current.interface, current.handle)


def _is_released(ctx: moderngl.Context) -> bool:
    return type(ctx.mglo).__name__ == "InvalidObject"


class without_default:  # noqa: N801 - a context manager, read as a phrase
    """Lets a context be made without its becoming moderngl's default, for which moderngl has no option."""

    def __enter__(self) -> None:
        self._before = moderngl._store.default_context  # type: ignore[attr-defined]

    def __exit__(self, *exc: object) -> None:
        moderngl._store.default_context = self._before  # type: ignore[attr-defined]
