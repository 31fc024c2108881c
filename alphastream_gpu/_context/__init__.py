"""
Context: examines a machine's OpenGL, creates contexts without a window, and explains why none can be created.

``headless.py`` creates contexts. ``doctor.py`` and ``facts.py`` examine the machine. ``causes.py`` explains what is
wrong, and ``fixes.py`` how to fix it. ``_gl`` draws in the contexts.
"""

__all__ = []
