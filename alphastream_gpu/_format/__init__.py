"""
The format: what the bytes of a stream mean. No I/O, and nothing that waits.

``container.py`` has the header and the table of sizes, ``block.py`` a frame as it is stored, ``polystream.py`` what is
in it, ``cipher.py`` the encryption, ``names.py`` what a resource is called. docs/format.md describes all of it.
"""

__all__ = []
