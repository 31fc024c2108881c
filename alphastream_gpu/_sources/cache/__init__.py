"""
Cache: a disk cache for sources that are read from a server.

Strategy
--------
There is no index, no lock and no order of writes. A file of the cache belongs to one version of one server file
(:class:`~.record.Identity`), and its name says which. It is a sparse copy in pages of 8 KiB. Beside each page stands a
digest of the identity, the number and the bytes of the page. A page whose digest does not fit is not there, for
whatever reason: it was never written, the power failed while it was written, the system wrote its blocks in another
order, or another process writes it at this moment. It is then read from the server. Two processes that write the same
page write the same bytes. So a wrong byte cannot be read, and nothing must be repaired after a crash.

Rejected: SQLite, whose write-ahead log does not work on network file systems and whose connections must not pass a
fork. An index beside the data, which is right only if the system writes the data first, and which must be locked.

* ``record.py`` is pure: keys, identities, the form of a page, and which files are removed first.
* ``entry.py`` is one file of the cache, and ``folder.py`` the folder, with its rights, its size and its names.
* ``disk.py`` has the threads that use a file, and what happens after an error.
* ``source.py`` has :class:`CachedSource`: what is asked of the server, and what is read from the disk.
* ``spool.py`` is one file in place of the folder, for downloads that are resumed.
* ``fill.py`` fetches the rest of a file while nobody reads.
"""

from .folder import Folder
from .source import CachedSource, Remote
from .spool import Spool

__all__ = ["CachedSource", "Folder", "Remote", "Spool"]
