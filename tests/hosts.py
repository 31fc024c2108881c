"""
What tests need beside the package: toolkits, servers, compilers. Missing ones skip; in CI they fail.
"""

from __future__ import annotations

import os
import shutil
from typing import NoReturn

import pytest

__all__ = ["lacking", "need"]


def lacking(reason: str) -> NoReturn:
    """Skip with the reason; fail where ALPHASTREAM_REQUIRE_HOSTS is set, as in CI."""
    if os.environ.get("ALPHASTREAM_REQUIRE_HOSTS"):
        pytest.fail(f"ALPHASTREAM_REQUIRE_HOSTS is set, and {reason}")
    pytest.skip(reason)


def need(program: str, cure: str) -> str:
    """A program's path."""
    found = shutil.which(program)
    if found is None:
        lacking(f"{program} is not installed: {cure}")
    return found
