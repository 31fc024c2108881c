"""
libalphastream: the C functions that players load, as a thin shell over AlphaStream.

``declarations`` makes header, cdef and shim from ``functions.toml``; ``build`` compiles them; ``shim.c`` starts the
interpreter; ``entry`` is what the C functions call, on ``handles`` of ``player``.
"""

__all__ = []
