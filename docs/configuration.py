"""
Write docs/configuration.md from the code: ``python docs/configuration.py``. A test compares the two.
"""

from __future__ import annotations

from dataclasses import MISSING
from pathlib import Path
from typing import Any

from alphastream_gpu._config import OPTIONS

HERE = Path(__file__).resolve().parent
HEAD = """# Configuration

The options of `Config`; `AlphaStreamBuilder` has a method for each. Generated from the code by
`docs/configuration.py`. A value outside its range is a `ValueError` that names the option, the value and the range.

| option | default | range | unit | what it is |
|---|---|---|---|---|
"""

TAIL = """

`Config` also has `http_headers` and `http_client`, for streams that are opened by a URL; see `alphastream_gpu.open`. A
`Config` neither shows nor compares them, and refuses to be pickled with them, because headers are secrets.
"""


def shown(value: Any, unit: str) -> str:
    if isinstance(value, tuple):
        return " x ".join(map(str, value))
    if unit == "bytes":
        for name, factor in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
            if value and value % factor == 0:
                return f"{value // factor} {name}"
    return str(value)


def table() -> str:
    rows = []
    for option in OPTIONS:
        meta = option.metadata
        unit = meta["unit"]
        default = "number of CPUs" if option.default is MISSING else shown(option.default, unit)
        choices = None
        if meta["low"] is None:
            choices = meta["high"] if isinstance(meta["high"], str) else ", ".join(map(str, meta["high"]))
        span = choices or f"{shown(meta['low'], unit)} .. {shown(meta['high'], unit)}"
        rows.append(f"| `{option.name}` | {default} | {span} | {unit} | {meta['doc']} |")
    return HEAD + "\n".join(rows) + TAIL


if __name__ == "__main__":
    (HERE / "configuration.md").write_text(table(), "utf-8", newline="\n")
