"""
The context: which OpenGL a machine has, a context without a window, and why there is none.

``headless.py`` makes contexts, ``doctor.py`` and ``facts.py`` examine, ``causes.py`` and ``cures.py`` say what is wrong
and what to do. What is drawn in a context is in ``_gl``.
"""

__all__ = []
