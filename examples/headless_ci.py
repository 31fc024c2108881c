"""
The shortest whole program: a frame's mask by OpenGL without a window, checked against its known hash, as in CI.

    python examples/headless_ci.py [--output mask.png]
"""

import argparse
import hashlib
from pathlib import Path

import alphastream_gpu

parser = argparse.ArgumentParser(description="Render frame 60 of the sample through EGL and check its hash.")
parser.add_argument("--output", metavar="PNG", help="save the mask, too")
options = parser.parse_args()

with alphastream_gpu.open(Path(__file__).with_name("person_sbs.asvp")) as stream:
    geometry = stream.read_frame(60)
with alphastream_gpu.MaskRenderer(alphastream_gpu.create_headless_context()) as renderer:
    mask = renderer.read(renderer.render(geometry))

assert hashlib.sha256(mask).hexdigest() == "6e510309c68263a8bdc394e8379a19d98cc08abf6701116e2aca2bd3d83e32df"

if options.output:
    from PIL import Image

    Image.fromarray(mask).save(options.output)
