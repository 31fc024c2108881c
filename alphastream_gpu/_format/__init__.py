"""
Format: reads and writes the bytes of a stream. No I/O, and no function waits.

``container.py`` has the header and the sizes table, ``block.py`` a frame as it is stored, ``polystream.py`` the payload
of a frame, ``cipher.py`` the encryption, ``names.py`` the names of resources. docs/format.md describes the format.
"""

__all__ = []
