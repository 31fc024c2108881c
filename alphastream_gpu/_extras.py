"""
Extras: the pip commands that install the packages of the optional parts.
"""

from __future__ import annotations

import re
import shlex
from importlib.metadata import PackageNotFoundError, requires

__all__ = ["pip_command"]


def pip_command(extra: str) -> str:
    """
    Return the command that installs the packages of an extra. An empty `extra` stands for the required packages.

    The command names the packages themselves, not ``alphastream-gpu[extra]``. So it works for a checkout, for a wheel,
    and for a release on an index.
    """
    try:
        required = requires("alphastream-gpu") or []
    except PackageNotFoundError:  # a source tree that is on the path but not installed
        return f"python -m pip install '.[{extra}]' (in the checkout)"
    wanted = []
    for one in required:
        requirement, _, condition = one.partition(";")
        found = re.search(r"""extra\s*==\s*["']([\w-]+)["']""", condition)
        if (found[1] if found else "") == extra:
            wanted.append(re.sub(r"\s", "", requirement))
    return f"python -m pip install {' '.join(map(shlex.quote, wanted))}"
