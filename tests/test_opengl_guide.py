"""
The OpenGL guide: its code runs as it stands, and its picture is as docs/figures/draw.py draws it.
"""

from __future__ import annotations

import re
from typing import Any

import moderngl
import numpy as np
import pytest
from PIL import Image
from support import ROOT, sample_geometries

from alphastream_gpu import rasterize

GUIDE = ROOT / "docs" / "opengl.md"


def test_the_code_of_the_guide(
    ctx_session: moderngl.Context, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Block after block in one namespace, as a reader would type it in at the repository's root."""
    monkeypatch.chdir(ROOT)
    text = GUIDE.read_text("utf-8")
    blocks = list(re.finditer(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE))
    assert len(blocks) == text.count("```python") > 0
    namespace: dict[str, Any] = {"__name__": "guide"}
    try:
        for block in blocks:
            above = "\n" * text[: block.start(1)].count("\n")  # so that errors name the guide's line
            exec(compile(above + block[1], str(GUIDE), "exec"), namespace)
    finally:
        ctx_session.__enter__()
    assert capsys.readouterr().out.startswith("RenderStats(frames=")


def test_the_picture_of_the_orientation() -> None:
    """First panel: the array's first row on top. The others: what GL shows of it."""
    picture = np.asarray(Image.open(ROOT / "docs" / "figures" / "orientation.png").convert("RGB"))
    mask = rasterize(sample_geometries()[60], (600, 300))[:, :300] == 255
    for left, shown in ((90, mask), (502, mask[::-1]), (914, mask)):
        panel = picture[40:340, left + 8 : left + 292]  # beside the marks
        assert ((panel == (74, 124, 178)).all(axis=2) == shown[:, 8:292]).all()
