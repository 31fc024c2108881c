"""
``python -m alphastream_gpu`` and the ``alphastream`` command: the door to the CLI, which is an optional extra.
"""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line; without its packages, say in one sentence how to get them."""
    try:
        from ._cli import cli
    except ModuleNotFoundError as exc:
        if exc.name not in ("click", "rich", "PIL"):
            raise
        sys.exit(f"alphastream: the command line needs {exc.name}; install it with: pip install 'alphastream-gpu[cli]'")
    cli()


if __name__ == "__main__":
    main()
