"""
Wheel and sdist: the same bytes wherever and whenever they are built, exactly the files that are meant, and at work away
from the checkout.

Here is what needs no network. Installing with all dependencies from PyPI, on every Python, is the noxfile's work.
"""

from __future__ import annotations

import email
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from support import ROOT, SAMPLE, golden_frames

import alphastream_gpu

SCRIPT = """
import asyncio, hashlib, sys
import alphastream_gpu
assert alphastream_gpu.__file__.startswith(sys.argv[2]), alphastream_gpu.__file__

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
NOT_IN_THE_SDIST = (".github",)


def build(source: Path, out: Path, *kinds: str, umask: int = 0o022, **variables: str) -> dict[str, Path]:
    """Wheel and sdist, each from `source` itself, with the build tools of this environment: nothing is downloaded."""
    mask = {} if os.name == "nt" else {"umask": umask}  # Windows has none
    done = subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", *kinds, "--outdir", str(out), str(source)],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
        **mask,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return {"wheel" if path.suffix == ".whl" else "sdist": path for path in out.iterdir()}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return build(ROOT, tmp_path_factory.mktemp("dist"), "--wheel", "--sdist")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The project's files: what git knows, or in an unpacked sdist all that there is."""
    if (ROOT / ".git").exists():
        listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
        done = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True)
        return [name for name in done.stdout.splitlines() if (ROOT / name).exists()]
    made = {".venv", ".nox", "build", "dist", "__pycache__", ".pytest_cache", ".hypothesis", ".benchmarks", "PKG-INFO"}
    paths = (path.relative_to(ROOT) for path in ROOT.rglob("*") if path.is_file())
    return [path.as_posix() for path in paths if not made & set(path.parts)]


def unpack(sdist: Path, folder: Path) -> Path:
    with tarfile.open(sdist) as archive:
        if hasattr(tarfile, "data_filter"):  # not before Python 3.11.4
            archive.extraction_filter = tarfile.data_filter
        archive.extractall(folder)
    (top,) = folder.iterdir()
    return top


@pytest.mark.slow
def test_the_wheel_is_the_package_and_its_shaders(built: dict[str, Path], files: list[str]) -> None:
    meant = {name for name in files if name.startswith("alphastream_gpu/")}
    meant |= {f"alphastream_gpu/{name}" for name in files if name.startswith("shaders/")}
    for name in ("py.typed", "_capi/shim.c", "_capi/functions.toml", "shaders/fill.vert.glsl"):
        assert f"alphastream_gpu/{name}" in meant
    info = f"alphastream_gpu-{alphastream_gpu.__version__}.dist-info"
    meant |= {f"{info}/{name}" for name in ("METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE")}
    with zipfile.ZipFile(built["wheel"]) as archive:
        names = archive.namelist()
        wheel = email.message_from_bytes(archive.read(f"{info}/WHEEL"))
    assert sorted(names) == sorted(meant)
    assert wheel["Root-Is-Purelib"] == "true"
    assert wheel.get_all("Tag") == ["py3-none-any"]


def test_the_sdist_is_the_whole_project(built: dict[str, Path], files: list[str]) -> None:
    """With tests, docs, examples and the Makefile, so that it can be tested and documented by itself."""
    top = f"alphastream_gpu-{alphastream_gpu.__version__}/"
    meant = {name for name in files if not name.startswith(NOT_IN_THE_SDIST)} | {"PKG-INFO"}
    with tarfile.open(built["sdist"]) as archive:
        names = [member.name.removeprefix(top) for member in archive if member.isfile()]
    assert sorted(names) == sorted(meant)


def test_the_metadata(built: dict[str, Path]) -> None:
    with zipfile.ZipFile(built["wheel"]) as archive:
        metadata = email.message_from_bytes(
            archive.read(f"alphastream_gpu-{alphastream_gpu.__version__}.dist-info/METADATA")
        )
    assert metadata["Version"] == alphastream_gpu.__version__
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert {"capi", "cli", "examples"} <= set(metadata.get_all("Provides-Extra", []))
    series = "Programming Language :: Python :: 3."
    claimed = [name.removeprefix(series) for name in metadata.get_all("Classifier", []) if name.startswith(series)]
    assert set(metadata["Requires-Python"].split(",")) == {f">=3.{claimed[0]}", "!=3.12.0", "!=3.12.1"}
    assert claimed == [str(minor) for minor in range(int(claimed[0]), int(claimed[-1]) + 1)]
    for requirement in metadata.get_all("Requires-Dist", []):
        assert ">=" in requirement or requirement.startswith("alphastream-gpu["), f"no lower bound: {requirement}"


@pytest.mark.slow
def test_the_same_bytes_elsewhere_at_another_time(built: dict[str, Path], tmp_path: Path) -> None:
    """From a copy in another folder: its files younger, made in another order, for the owner only; and in another
    place on earth."""
    copy = unpack(built["sdist"], tmp_path / "a" / "longer" / "path")
    os.utime(copy / "README.md", (1e9, 1e9))
    for path in sorted(copy.rglob("*"), reverse=True):
        if path.is_file():
            content = path.read_bytes()
            mode = path.stat().st_mode
            path.unlink()
            path.write_bytes(content)
            path.chmod(mode & 0o700)
    elsewhere = {"TZ": "Asia/Kathmandu", "LC_ALL": "C", "LANG": "C", "PYTHONHASHSEED": "7", "PYTHONUTF8": "0"}
    if not f"{ROOT}{sys.prefix}".isascii():  # Python before 3.13 could not read the .pth files of its environment then
        elsewhere |= {"LC_ALL": "C.UTF-8", "PYTHONUTF8": "1"}
    again = build(copy, tmp_path / "again", "--wheel", "--sdist", umask=0o077, **elsewhere)
    for kind, path in built.items():
        assert again[kind].name == path.name
        assert again[kind].read_bytes() == path.read_bytes(), kind


@pytest.mark.slow
def test_a_wheel_by_way_of_the_sdist_is_the_same(built: dict[str, Path], tmp_path: Path) -> None:
    """Which is the way that installers take, and `make build`."""
    made = build(ROOT, tmp_path / "dist")
    assert {kind: path.read_bytes() for kind, path in made.items()} == {
        kind: path.read_bytes() for kind, path in built.items()
    }


@pytest.mark.slow
@pytest.mark.usefixtures("ctx_session")
def test_the_unpacked_wheel_renders_the_sample(built: dict[str, Path], tmp_path: Path) -> None:
    """As pip would install it: a wheel is unpacked and no more. The dependencies are this environment's."""
    site = tmp_path / "site"
    with zipfile.ZipFile(built["wheel"]) as archive:
        archive.extractall(site)
    shutil.copy(SAMPLE, tmp_path / "sample.asvp")
    done = subprocess.run(
        [sys.executable, "-P", "-c", SCRIPT, "sample.asvp", str(site)],
        env={**os.environ, "PYTHONPATH": str(site)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == golden_frames()[60]["sha256"]
