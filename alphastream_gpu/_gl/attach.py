"""
Attaching to a host's context: a ``moderngl.Context`` around the one that is current, with nothing of the host's
changed.
"""

from __future__ import annotations

import moderngl

from .._exceptions import GLUnavailableError
from .functions import Functions
from .guest import Attaching
from .loader import CurrentContext

__all__ = ["attach", "without_default"]


def attach(current: CurrentContext) -> moderngl.Context:
    """
    The moderngl context for the GL context that is current on this thread.

    A program that uses moderngl has one already, its default (``moderngl.get_context()``), and its textures belong to
    that one. For others a new one is made around the current context; that is not made moderngl's default, which would
    be a choice for the whole program.

    Raises:
        GLUnavailableError: the context is older than OpenGL 3.3.
    """
    default: moderngl.Context | None = moderngl._store.default_context  # type: ignore[attr-defined]
    if default is not None:
        return default
    with Attaching(Functions(current), preserve=True), without_default():
        try:
            return moderngl.create_context(context=current)  # type: ignore[arg-type]
        except Exception as exc:  # moderngl.Error, or ValueError for an old version
            raise GLUnavailableError(f"the current OpenGL context cannot be used: {exc}") from exc


class without_default:  # noqa: N801 - a context manager, read as a phrase
    """Lets a context be made without its becoming moderngl's default, for which moderngl has no option."""

    def __enter__(self) -> None:
        self._before = moderngl._store.default_context  # type: ignore[attr-defined]

    def __exit__(self, *exc: object) -> None:
        moderngl._store.default_context = self._before  # type: ignore[attr-defined]
