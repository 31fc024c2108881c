"""
Compiled: the kernels of the encoder, compiled by numba at first use.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Final

from .._runtime.kernels import Kernels
from . import areas, borders, cheapest, exact, splice, starts, tolerant

__all__ = ["kernels", "prepare_encoder"]

_MODULES: Final = (borders, areas, starts, exact, cheapest, tolerant, splice)
_kernels: Final = {module.__name__: Kernels(module.__name__, module.SIGNATURES) for module in _MODULES}
_ready: SimpleNamespace | None = None


def prepare_encoder(before: Callable[[], None] | None = None) -> None:
    """
    Compile the encoder, or load the compiled functions from numba's cache. Encoding does this by itself at first use.

    Compiling takes some 20 s, once for each version of this package and of numba; loading takes half a second.

    Args:
        before: called first, without arguments, if this process has not done so yet: for a message to a waiting user.

    Raises:
        ImportError: numba is not installed, or does not work here. The message has the command that installs it.
    """
    global _ready  # noqa: PLW0603 - set once, by whoever is first
    if _ready is not None:
        return
    if not all(kernels.is_installed for kernels in _kernels.values()):
        from .._extras import pip_command

        raise ImportError(
            f"encoding masks needs numba, of the extra alphastream-gpu[encode]; to install it: {pip_command('fast')}"
        )
    if before is not None:
        before()
    made = SimpleNamespace()
    for kernels in _kernels.values():
        vars(made).update(vars(kernels.load()))
    _ready = made


def kernels() -> SimpleNamespace:
    """
    The compiled functions of all modules, by their names.

    Raises:
        ImportError: as of :func:`prepare_encoder`.
    """
    if _ready is None:
        prepare_encoder()
    assert _ready is not None
    return _ready
