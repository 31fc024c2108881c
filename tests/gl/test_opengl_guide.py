"""
The picture of the OpenGL guide equals what docs/figures/draw.py draws.
"""

from __future__ import annotations

import numpy as np
from PIL import Image
from support import ROOT, sample_geometries

from alphastream_gpu import rasterize


def test_the_picture_of_the_orientation() -> None:
    """The first panel has the array's first row on top. The others show what GL draws."""
    picture = np.asarray(Image.open(ROOT / "docs" / "figures" / "orientation.png").convert("RGB"))
    mask = rasterize(sample_geometries()[60], (600, 300))[:, :300] == 255
    for left, shown in ((90, mask), (502, mask[::-1]), (914, mask)):
        panel = picture[40:340, left + 8 : left + 292]  # beside the marks
        assert ((panel == (74, 124, 178)).all(axis=2) == shown[:, 8:292]).all()
