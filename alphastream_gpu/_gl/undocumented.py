"""
Undocumented: the parts of moderngl that this package uses although they are not documented. Look here first when
moderngl is upgraded.
"""

from __future__ import annotations

from typing import Any

import moderngl

__all__ = ["default_context", "is_released", "without_default"]


def is_released(thing: Any) -> bool:
    """Whether a context or a texture of moderngl is released. moderngl then replaces its inner object."""
    return type(thing.mglo).__name__ == "InvalidObject"


def default_context() -> moderngl.Context | None:
    """moderngl's default context, if there is one. ``moderngl.get_context()`` would create one."""
    context: moderngl.Context | None = moderngl._store.default_context  # type: ignore[attr-defined]
    return context


class without_default:  # noqa: N801 - a context manager, read as a phrase
    """Creates a context without making it moderngl's default. moderngl has no option for that."""

    def __enter__(self) -> None:
        self._before = default_context()

    def __exit__(self, *exc: object) -> None:
        moderngl._store.default_context = self._before  # type: ignore[attr-defined]
