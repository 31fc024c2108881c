"""
Kernels: modules of plain Python functions over numpy arrays, compiled by numba where it is installed.

Strategy
--------
A module of kernels does not import numba and runs as plain Python; the tests compare the compiled functions with that.
This module copies the functions, and gives the copies new globals, in which they find each other compiled. Only the
functions that are called from outside have signatures. They are compiled at once, and numba keeps their machine code in
its cache folder. numba's cache notices a change only of the file that a function is in. So a module of kernels calls no
functions of other modules.

Compiling takes seconds, and reading the cache some tenths of a second. Code that must not wait calls
:meth:`Kernels.ready`, which starts a thread that compiles, and works without the compiled functions until they are
ready. A compiled function is not compiled again for arguments of other types, because that would take seconds within a
call. Such a call raises TypeError.

A process must not end while a thread is in LLVM: the thread would use objects that ``exit`` destroys, and crash. So
Python's exit waits for the thread, and the thread then begins no further function. The interpreter of a C host does not
end before the process, so no thread may compile there. A C host uses the machine code that numba has kept
(:meth:`Kernels.load_kept`).
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
import threading
import types
import weakref
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any, Final

__all__ = ["Kernels"]

_logger = logging.getLogger("alphastream_gpu")
_OPTIONS: Final[dict[str, Any]] = {"nogil": True, "error_model": "numpy", "boundscheck": False}
_all: Final[weakref.WeakSet[Kernels]] = weakref.WeakSet()
_is_told: Final = threading.Event()
"""Whether it was logged that nothing can be kept in a cache folder."""


class Kernels:
    """
    The functions of a module, compiled.

    All methods may be called from any thread.

    Args:
        module: full name of a module of kernels.
        signatures: for each function that is called from outside, its types in numba's notation.
        replacements: makes, when numba is there, what stands for functions of the module that Python has no fast form
            of, by their names.
    """

    def __init__(
        self,
        module: str,
        signatures: Mapping[str, str],
        *,
        replacements: Callable[[], Mapping[str, Any]] = dict,
    ) -> None:
        self._module = module
        self._signatures = signatures
        self._replacements = replacements
        self._lock = threading.Lock()
        """Held while the functions are compiled."""
        self._beginning = threading.Lock()
        """Held by the call that starts the thread; others do not wait for it."""
        self._made: SimpleNamespace | None = None
        self._thread: threading.Thread | None = None
        self._is_unusable = False
        self._is_compiling = False
        _all.add(self)

    @property
    def is_installed(self) -> bool:
        """Whether there is a numba that may work, without importing it."""
        try:
            return not self._is_unusable and importlib.util.find_spec("numba") is not None
        except ValueError:  # a program that forbids numba has put None into sys.modules
            return False

    def ready(self) -> SimpleNamespace | None:
        """
        The compiled functions by their names, or None as long as there are none. Never waits.

        The first call begins to compile, in a thread, if numba is installed.
        """
        is_to_begin = self._made is None and self._thread is None and not self._is_unusable
        if is_to_begin and self._beginning.acquire(blocking=False):
            try:
                self._begin()
            finally:
                self._beginning.release()
        return self._made

    def load(self) -> SimpleNamespace:
        """
        The compiled functions by their names; waits until they are compiled.

        Raises:
            ImportError: numba is not installed, or does not work here.
        """
        with self._lock:
            if self._made is None:
                if self._is_unusable:
                    raise ImportError("numba is not installed, or could not compile the functions; the log says why")
                self._is_compiling = True
                try:
                    self._made = self._compile()
                except Exception as exc:  # also what numba raises on a processor or a Python that it does not know
                    if isinstance(exc, ImportError):
                        raise
                    raise ImportError(f"numba does not work here: {type(exc).__name__}: {exc}") from exc
                finally:
                    self._is_compiling = False
            return self._made

    def load_kept(self) -> SimpleNamespace | None:
        """
        The compiled functions, if numba has them in its cache folder, which takes some tenths of a second; else None.
        Compiles nothing.
        """
        with self._lock:
            if self._made is None and self.is_installed:
                try:
                    self._made = self._compile(only_kept=True)
                except Exception as exc:  # a damaged file, a numba that does not work here
                    _logger.debug("%s: nothing that was compiled before can be used: %s", self._module, exc)
            return self._made

    def plain(self) -> SimpleNamespace:
        """The same functions as plain Python."""
        module = importlib.import_module(self._module)
        return SimpleNamespace(**{name: getattr(module, name) for name in self._signatures})

    def _begin(self) -> None:
        if self._thread is not None:
            return
        if not self.is_installed:
            self._is_unusable = True
            return
        thread = threading.Thread(target=self._compile_in_background, name="alphastream-compile", daemon=False)
        self._thread = thread
        try:
            thread.start()
        except RuntimeError:  # the system has no thread for it, or the interpreter is ending
            self._thread = None

    def _compile_in_background(self) -> None:
        try:
            self.load()
        except ImportError as exc:
            if threading.main_thread().is_alive():
                _logger.warning("%s is not compiled, so numpy does its work: %s", self._module, exc)
            self._is_unusable = True

    def _compile(self, *, only_kept: bool = False) -> SimpleNamespace:
        import numba

        module = importlib.import_module(self._module)
        scope = dict(vars(module))
        for name, function in vars(module).items():
            if isinstance(function, types.FunctionType) and function.__module__ == self._module:
                copy = types.FunctionType(function.__code__, scope, name, function.__defaults__, function.__closure__)
                copy.__module__, copy.__qualname__ = function.__module__, function.__qualname__
                scope[name] = numba.njit(**_OPTIONS)(copy)
        scope.update(self._replacements())
        made = SimpleNamespace()
        for name, signature in self._signatures.items():
            if only_kept:
                scope[name].enable_caching()
                if not _is_kept(scope[name], signature):
                    raise LookupError(f"{name} is not in numba's cache folder")
            elif not threading.main_thread().is_alive():
                raise ImportError("the interpreter is ending")
            setattr(made, name, self._compiled(scope[name], signature))
        return made

    def _compiled(self, dispatcher: Any, signature: str) -> Any:
        """Compile for one signature; from the cache folder, and into it, where that can be written."""
        try:
            dispatcher.enable_caching()
            dispatcher.compile(signature)
        except Exception as exc:  # no folder, a full disk, a file that is no cache; or the code is wrong: raised below
            reason = f"{type(exc).__name__}: {exc}"
            dispatcher = type(dispatcher)(dispatcher.py_func, targetoptions=dict(dispatcher.targetoptions))
            dispatcher.compile(signature)
            if not _is_told.is_set():
                _is_told.set()
                _logger.warning(
                    "compiled functions cannot be kept (%s), so each process compiles them for seconds; set"
                    " NUMBA_CACHE_DIR to a folder that can be written",
                    reason,
                )
        dispatcher.disable_compile()
        return dispatcher


def _is_kept(dispatcher: Any, signature: str) -> bool:
    """Whether numba has a function in its cache folder. Its cache has no public name, but has had this one since 2016;
    :meth:`Kernels.load_kept` takes an error as a no."""
    return dispatcher._cache.load_overload(signature, dispatcher.targetctx) is not None


def _after_fork() -> None:
    """
    Let a child compile, unless a thread of its parent was compiling.

    That thread is missing in the child. It may have held locks of numba and of Python's imports, for which the child
    would wait for ever. So the child does without what is not compiled.
    """
    is_interrupted = any(kernels._is_compiling for kernels in _all)
    for kernels in _all:
        kernels._lock, kernels._beginning = threading.Lock(), threading.Lock()
        kernels._thread = None
        kernels._is_compiling = False
        kernels._is_unusable |= is_interrupted and kernels._made is None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
