"""
The built wheel, in a clean environment and away from the checkout.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest
from support import ROOT, SAMPLE, golden_frames

SCRIPT = """
import asyncio, hashlib, sys
import alphastream_gpu
assert 'site-packages' in alphastream_gpu.__file__, alphastream_gpu.__file__

async def main():
    async with await alphastream_gpu.open_async(sys.argv[1]) as stream:
        return await stream.frame(60)

geometry = asyncio.run(main())
ctx = alphastream_gpu.create_headless_context()
with alphastream_gpu.MaskRenderer(ctx) as renderer:
    mask = renderer.read(renderer.render(geometry))
assert (mask == alphastream_gpu.rasterize(geometry)).all()
print(hashlib.sha256(mask).hexdigest())
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built by way of the sdist, so that both are whole."""
    out = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, "-m", "build", "--outdir", str(out), str(ROOT)], check=True, capture_output=True)
    (built,) = out.glob("*.whl")
    assert list(out.glob("*.tar.gz"))
    return built


def test_the_wheel_has_shaders_and_types(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    expected = {path.relative_to(ROOT).as_posix() for path in (ROOT / "shaders").rglob("*.glsl")}
    assert {f"alphastream_gpu/{name}" for name in expected} <= names
    assert "alphastream_gpu/py.typed" in names
    assert not any(name.startswith(("tests", "bench", "shaders")) for name in names)


@pytest.mark.usefixtures("ctx_session")
def test_the_installed_wheel_renders_the_sample(wheel: Path, tmp_path: Path) -> None:
    environment = tmp_path / "venv"
    venv.create(environment, with_pip=True)
    python = environment / ("Scripts" if os.name == "nt" else "bin") / "python"
    subprocess.run([python, "-m", "pip", "install", "-q", str(wheel)], check=True, capture_output=True)
    shutil.copy(SAMPLE, tmp_path / "sample.asvp")
    done = subprocess.run(
        [python, "-c", SCRIPT, "sample.asvp"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == golden_frames()[60]["sha256"]
