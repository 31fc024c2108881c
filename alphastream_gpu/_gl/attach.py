"""
Attach: wraps a host's current GL context in a ``moderngl.Context``, without changing the host's state.
"""

from __future__ import annotations

from weakref import WeakKeyDictionary

import moderngl

from .._exceptions import GLUnavailableError, WrongContextError
from .guest import Attaching
from .identity import Identity
from .loader import CurrentContext, current_context
from .undocumented import default_context, is_released, without_default

__all__ = ["attach", "identity_of"]

_identities: WeakKeyDictionary[moderngl.Context, Identity] = WeakKeyDictionary()
"""The GL context that each moderngl context wraps."""
_attached: list[moderngl.Context] = []
"""Contexts created here. moderngl never collects its contexts, so they are kept, and found again by identity."""


def identity_of(ctx: moderngl.Context) -> Identity:
    """
    Return the identity of the current GL context, which must be the one that `ctx` wraps.

    moderngl does not record which GL context a ``moderngl.Context`` wraps. The first call for a `ctx` assumes that the
    current context is the right one.

    Raises:
        TypeError: `ctx` is not a moderngl context.
        GLUnavailableError: `ctx` is released, its OpenGL is too old, or no context is current.
        WrongContextError: another context is current.
    """
    if not isinstance(ctx, moderngl.Context):
        raise TypeError(f"ctx: expected a moderngl.Context, found {type(ctx).__name__}")
    if is_released(ctx):
        raise GLUnavailableError("ctx: the context is released")
    known = _identities.get(ctx)
    if known is None:
        known = _identities[ctx] = Identity(current_context())
    elif not known.is_current():
        current_context()  # raises if no context is current
        raise WrongContextError("ctx: another OpenGL context is current on this thread; make ctx current first")
    return known


def attach() -> moderngl.Context:
    """
    Return the moderngl context for the GL context that is current on this thread.

    A program that uses moderngl already has a default context (``moderngl.get_context()``), and its textures belong to
    that context. For other programs, this function creates one moderngl context around the current GL context. The new
    context does not become moderngl's default, because a default affects the whole program.

    Raises:
        GLUnavailableError: no context is current, or the current one is not desktop OpenGL 3.3 or newer.
    """
    current = current_context()
    default = default_context()
    candidates = [*_attached] if default is None else [default, *_attached]
    for ctx in candidates:
        if not is_released(ctx) and ctx in _identities and _identities[ctx].is_current():
            return ctx
    is_unknown = default is not None and not is_released(default) and default not in _identities
    if default is not None and is_unknown and _stands_for(default, current):
        _identities[default] = Identity(current)
        return default
    identity = Identity(current)
    errors = identity.gl.take_errors()  # otherwise moderngl would take and keep them
    try:
        with Attaching(identity.gl, preserve=True), without_default():
            ctx = moderngl.create_context(context=current)  # type: ignore[arg-type]
    except Exception as exc:  # moderngl.Error, or ValueError for an old version
        raise GLUnavailableError(f"the current OpenGL context cannot be used: {exc}") from exc
    finally:
        identity.gl.put_back_errors(errors)
    _attached[:] = [one for one in _attached if _identities[one].current.handle != current.handle]  # destroyed
    _attached.append(ctx)
    _identities[ctx] = identity
    return ctx


def _stands_for(ctx: moderngl.Context, current: CurrentContext) -> bool:
    """
    Return whether a moderngl context of unknown identity wraps the current GL context.

    While no context is current, `ctx` is asked to make its own one current. A program's custom loader may not do that.
    Then the answer is False, and the caller attaches a new context.
    """
    try:
        with current.set_aside():
            ctx.__enter__()  # type: ignore[no-untyped-call]
            try:
                found = current_context()
            finally:
                ctx.__exit__(None, None, None)  # type: ignore[no-untyped-call]
    except Exception:  # glcontext raises bare Exception
        return False
    return (found.interface, found.handle) == (current.interface, current.handle)
