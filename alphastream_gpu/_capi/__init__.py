"""
libalphastream: the C functions that players load, as a thin layer over AlphaStream.

``declarations`` generates header, cdef and shim from ``functions.toml``. ``build`` compiles them. ``shim.c`` starts the
interpreter. ``entry`` has the Python functions that the C functions call. ``handles`` maps handles to players, and
``player`` is the state of one handle.
"""

__all__ = []
