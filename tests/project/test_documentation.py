"""
The documentation keeps its word: every code block runs, compiles or parses, every link leads somewhere, and what is
made from the code is up to date.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import pickle
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import moderngl
import numpy as np
import pytest
import yaml
from badserver import Server
from hosts import need, skip_or_fail
from pages import PAGES, Block, anchors, blocks, drawing, links
from pages.standin import LACKING
from PIL import Image
from screen import open_screen, started
from support import ROOT, SAMPLE, sample_geometries

from alphastream_gpu import AsvrKey, AsvrWriter, rasterize

AROUND = ROOT / "tests" / "pages"
EXAMPLE_ORG = "https://example.org/"
"""Whatever pages read from there is the sample; a server of ours has it."""


class Workshop:
    """Where a page's blocks are run, one after the other: a folder, a namespace, an environment."""

    def __init__(self, folder: Path, request: pytest.FixtureRequest, stack: contextlib.ExitStack) -> None:
        self.folder, self.request, self.stack = folder, request, stack
        self.namespace: dict[str, Any] = {"__name__": "guide"}
        self.printed = ""
        self._server: Server | None = None
        (folder / "examples").symlink_to(ROOT / "examples")
        commands = folder / ".commands"
        commands.mkdir()
        for name in ("make", "pip", "apt-get", "python3"):
            self._stand_in(commands / name)
        (folder / ".options").mkdir()
        self._stand_in(folder / ".options" / "python")
        places = [commands, Path(sys.executable).parent, os.environ["PATH"]]
        self.environment = {**os.environ, "PATH": os.pathsep.join(map(str, places)), "COLUMNS": "80"}
        self.environment.pop("PYOPENGL_PLATFORM", None)  # EGL, which is for this process

    def _stand_in(self, path: Path) -> None:
        path.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{AROUND / "standin.py"}" {path.name} "$@"\n')
        path.chmod(0o755)

    def local(self, code: str) -> str:
        """Code that asks our server where it says example.org."""
        if EXAMPLE_ORG not in code:
            return code
        if self._server is None:
            self._server = self.stack.enter_context(Server(SAMPLE.read_bytes()))
        return code.replace(EXAMPLE_ORG, self._server.url("/"))


# What blocks need.


def gl(work: Workshop) -> None:
    """OpenGL. The session's context is current again afterwards."""
    ctx: moderngl.Context = work.request.getfixturevalue("ctx_session")
    work.stack.callback(ctx.__enter__)


def vulkan(work: Workshop) -> None:
    """A Vulkan device through wgpu."""
    try:
        import wgpu
        from wgpu.backends.wgpu_native.extras import set_instance_extras
    except ImportError as exc:
        skip_or_fail(f"{exc}; run: pip install wgpu")
    with contextlib.suppress(RuntimeError):  # there is an instance already
        set_instance_extras(backends=("Vulkan",))  # others would be tried, too: OpenGL's takes the current context away
    try:
        wgpu.gpu.request_adapter_sync(power_preference="high-performance")
    except RuntimeError as exc:
        skip_or_fail(f"no Vulkan driver: {exc}")

    def destroy() -> None:
        work.namespace["device"].destroy()

    work.stack.callback(destroy)


def show(work: Workshop) -> None:
    """The reader's own function that shows a mask."""
    work.namespace["show"] = lambda mask: None


def passphrase(work: Workshop) -> None:
    """The owner's passphrase, as a variable and in the environment."""
    given: bytes = work.request.getfixturevalue("passphrase")
    work.namespace["passphrase"] = given
    work.environment["ALPHASTREAM_PASSPHRASE"] = given.hex()
    work.request.getfixturevalue("monkeypatch").setenv("ALPHASTREAM_PASSPHRASE", given.hex())


def asvr(work: Workshop) -> None:
    """Encrypted files of scene 85342."""
    if "passphrase" not in work.namespace:
        passphrase(work)
    for name in ("pov_mask.asvr", "person.asvr"):
        key = AsvrKey(work.namespace["passphrase"], scene_id=85342, version="1.5.0")
        with AsvrWriter(work.folder / name, key=key) as writer:
            for geometry in sample_geometries()[:3]:
                writer.add_frame(geometry)


def compilers(work: Workshop) -> None:
    """What the C library is built with, and the source of a player."""
    if sys.platform != "linux":
        pytest.skip("the library is built on Linux alone")
    for program in ("cc", "pkg-config", "cmake"):
        need(program, f"apt-get install {program}")
    (work.folder / "player.c").write_text((ROOT / "examples" / "native" / "player.c").read_text())


def encoder() -> ModuleType:
    """The module that makes what the encoder reads. Skips on a machine without the encoder's packages."""
    for package in ("numba", "av", "pycocotools"):
        pytest.importorskip(package)
    return drawing("mattes")


def matte(work: Workshop) -> None:
    """A matte video, two with alpha or color in it, and a folder of pictures."""
    mattes = encoder()
    soft = mattes.soft_mattes()
    mattes.write_video(work.folder / "matte.mp4", soft)
    color = np.full((*soft[0].shape, 3), (150, 110, 90), np.uint8)
    mattes.write_video(work.folder / "person.mov", [np.dstack((color, one)) for one in soft[:8]], codec="prores_ks")
    beside = [np.concatenate((color, np.dstack((one, one, one))), axis=1) for one in soft[:8]]
    mattes.write_video(work.folder / "beside.mp4", beside)
    (work.folder / "frames").mkdir()
    for index, one in enumerate(soft[:8]):
        Image.fromarray(one).save(work.folder / "frames" / f"frame_{index:04}.png")


def sam2(work: Workshop) -> None:
    """What SAM 2 returned, and its predictor."""
    mattes = encoder()
    work.namespace.update(video_segments=mattes.sam2_results(), predictor=mattes.Predictor(), inference_state=None)


def coco(work: Workshop) -> None:
    """Annotations with run lengths, and the same with polygons."""
    mattes = encoder()
    mattes.write_coco(work.folder / "annotations.json")
    mattes.write_coco(work.folder / "polygons.json", as_polygons=True)


def deovr(work: Workshop) -> None:
    """Fisheye videos in both layouts."""
    mattes = encoder()
    for name, layout, n_frames in (("clip", "fisheye-b", mattes.FRAMES), ("other", "fisheye-a", 4)):
        pictures = [mattes.packed(one, layout) for one in mattes.soft_mattes()[:n_frames]]
        mattes.write_video(work.folder / f"{name}_FISHEYE190_alpha.mp4", pictures)


def ray(work: Workshop) -> None:
    """Ray where it is installed; otherwise a stand-in for what the page uses, because Ray takes 600 MB."""
    if find_spec("ray") is None:
        cloudpickle = pytest.importorskip("cloudpickle")
        stand_in = ModuleType("ray")
        stand_in.data = SimpleNamespace(  # type: ignore[attr-defined]
            from_items=lambda items: SimpleNamespace(
                flat_map=lambda function: SimpleNamespace(
                    take_all=lambda: [
                        row for item in items for row in pickle.loads(cloudpickle.dumps((function, item)))[0](item)
                    ]
                )
            )
        )
        work.request.getfixturevalue("monkeypatch").setitem(sys.modules, "ray", stand_in)


def formats(work: Workshop) -> None:
    """A colour video for the sample, and what opens exports."""
    mattes = encoder()
    pytest.importorskip("zarr")
    pictures = [mattes.colours(rasterize(geometry, (640, 320))) for geometry in sample_geometries()]
    mattes.write_video(work.folder / "colours.mp4", pictures, rate=60)


SETTINGS: dict[str, Callable[[Workshop], None]] = {
    setting.__name__: setting
    for setting in (gl, vulkan, show, passphrase, asvr, compilers, matte, sam2, coco, deovr, formats, ray)
}


# What is done with blocks, by language and marker.


def run_python(work: Workshop, block: Block) -> None:
    """As if typed in at the repository's root, after the blocks above."""
    above = "\n" * (block.line - 1)  # so that errors name the page's line
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(above + work.local(block.code), PAGES[block.page], "exec"), work.namespace)
    work.printed = printed.getvalue()


def run_shell(work: Workshop, block: Block) -> None:
    """In bash, with stand-ins for what installs; exported variables stay for the blocks below."""
    environment = dict(work.environment)
    if block.marker == "only options":
        environment["PATH"] = f"{work.folder / '.options'}:{environment['PATH']}"
    script = f"set -euo pipefail\n{work.local(block.code)}\nenv -0 > .exported"
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=work.folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if done.returncode == LACKING:
        skip_or_fail(done.stderr.strip())
    assert done.returncode == 0, f"{block}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    work.printed = done.stdout
    if block.marker != "only options":
        exported = (work.folder / ".exported").read_text().split("\0")
        work.environment = dict(one.split("=", 1) for one in exported if one)


def run_on_a_screen(work: Workshop, block: Block) -> None:
    """It shows frames of the sample, every pixel right, and ends at the escape key."""
    script = work.folder / f"{block.value}.py"
    script.write_text(work.local(block.code))
    work.request.getfixturevalue("ctx_session")  # on a machine with OpenGL
    folder = work.folder / ".screen"
    folder.mkdir(exist_ok=True)
    person, room = np.array((255, 204, 153)), np.array((51, 102, 153))  # the colours of all guides' shaders
    with open_screen(folder) as screen, started(screen, script) as program:
        screen.xdotool("mousemove", "799", "599")  # the pointer is in the picture
        program.find_window(block.value)
        height, width = program.picture().shape[:2]
        expected = {
            np.where(rasterize(geometry, (width, height))[..., None], person, room).astype(np.uint8).tobytes()
            for geometry in sample_geometries()
        }
        program.until(lambda: program.picture().tobytes() in expected, f"{block}: a frame of the sample")
        screen.xdotool("keydown", "Escape")  # and not up again before the program looks
        assert program.wait() == (0, "")


def compare_output(work: Workshop, block: Block) -> None:
    """With what the block before printed; ``...`` is anything within a line."""

    def pattern(text: str) -> str:
        return re.escape(text.rstrip()).replace(re.escape("..."), ".*")

    printed = "\n".join(line.rstrip() for line in work.printed.rstrip().splitlines())
    if block.marker == "output":
        assert re.fullmatch(pattern(block.code), printed), f"{block}: it prints\n{printed}"
        return
    rest = printed.splitlines()
    for line in block.code.splitlines():
        at = next((number for number, one in enumerate(rest) if re.fullmatch(pattern(line), one)), None)
        assert at is not None, f"{block}: {line!r} is not in, or not in this order\n{printed}"
        rest = rest[at + 1 :]


def compile_c(work: Workshop, block: Block) -> None:
    """Against the header that the page has built."""
    source = work.folder / "block.c"
    source.write_text(_within(block))
    command = ["gcc", "-std=c11", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", "-I", "capi", source]
    done = subprocess.run(command, cwd=work.folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{block}: {done.stderr}"


def compile_glsl(work: Workshop, block: Block) -> None:
    ctx: moderngl.Context = work.request.getfixturevalue("ctx_session")
    ctx.program(
        vertex_shader="#version 330\nout vec2 uv;\nvoid main() { uv = vec2(0); gl_Position = vec4(0); }",
        fragment_shader=_within(block),
    ).release()


def build_cmake(work: Workshop, block: Block) -> None:
    """A project that finds the library which the page has built, and links."""
    (work.folder / "CMakeLists.txt").write_text(_within(block))
    for command in (["cmake", "-B", "cmake"], ["cmake", "--build", "cmake"]):
        done = subprocess.run(command, cwd=work.folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{block}: {done.stdout}{done.stderr}"


def _within(block: Block) -> str:
    around = (AROUND / block.value).read_text()
    assert around.count("BLOCK") == 1
    return around.replace("BLOCK", block.code)


def run_workflow(work: Workshop, block: Block) -> None:
    """Every `run` of every job."""
    jobs = yaml.safe_load(block.code)["jobs"]
    commands = [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]
    assert commands
    for command in commands:
        run_shell(work, Block(block.page, block.line, "sh", command))


def parse_json(work: Workshop, block: Block) -> None:
    json.loads(block.code)


def parse_toml(work: Workshop, block: Block) -> None:
    tomllib.loads(block.code)


def leave(work: Workshop, block: Block) -> None:
    """Nothing to run."""


RUNNERS: dict[tuple[str, str], Callable[[Workshop, Block], None]] = {
    # language and marker; a block that is not in here fails
    ("python", ""): run_python,
    ("python", "needs"): run_python,
    ("python", "on a screen"): run_on_a_screen,
    ("sh", ""): run_shell,
    ("sh", "needs"): run_shell,
    ("sh", "only options"): run_shell,
    ("text", "output"): compare_output,
    ("text", "part of the output"): compare_output,
    ("c", "within"): compile_c,
    ("glsl", "within"): compile_glsl,
    ("cmake", "within"): build_cmake,
    ("yaml", "workflow"): run_workflow,
    ("json", ""): parse_json,
    ("toml", ""): parse_toml,
    ("", "diagram"): leave,
}


@pytest.fixture
def work(tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workshop]:
    with contextlib.ExitStack() as stack:
        made = Workshop(tmp_path, request, stack)
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "path", [*sys.path])  # guides append to it
        yield made


def test_every_block_is_covered() -> None:
    """By a runner, with settings that there are."""
    for page in PAGES:
        for block in blocks(page):
            assert (block.language, block.marker) in RUNNERS, (
                f"{block}: nobody runs a block in {block.language or 'no language'} with the marker"
                f" {block.marker!r}; see tests/pages/__init__.py"
            )
            if block.marker == "needs":
                assert set(block.value.split(", ")) <= set(SETTINGS), f"{block}: {block.value}"


def _marks(page: str) -> list[pytest.MarkDecorator]:
    """What a machine must have for all of a page."""
    marks = []
    if any(
        (block.marker == "needs" and "gl" in block.value.split(", "))
        or block.marker == "on a screen"
        or block.language == "glsl"
        for block in blocks(page)
    ):
        marks.append(pytest.mark.gl)
    if any(RUNNERS.get((block.language, block.marker)) in (run_shell, run_workflow) for block in blocks(page)):
        marks.append(pytest.mark.skipif(sys.platform == "win32", reason="the pages' commands are those of a shell"))
    return marks


@pytest.mark.slow
@pytest.mark.parametrize("page", [pytest.param(page, marks=_marks(page)) for page in PAGES if any(blocks(page))])
def test_the_code_of(page: str, work: Workshop) -> None:
    """Block after block, as a reader would take them."""
    done: set[str] = set()
    for block in blocks(page):
        for name in block.value.split(", ") if block.marker == "needs" else ():
            if name not in done:
                SETTINGS[name](work)
                done.add(name)
        RUNNERS[block.language, block.marker](work, block)


def test_docstrings_have_no_examples_that_nobody_runs() -> None:
    for path in (ROOT / "alphastream_gpu").rglob("*.py"):
        assert ">>>" not in path.read_text(), f"{path}: run it in a test, or put it into a guide"


# Links.


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    """Files and headings of the repository; the others are for `make linkcheck`."""
    for line, target in links(page):
        if re.match(r"\w+:", target):
            continue
        file, _, anchor = target.partition("#")
        path = (PAGES[page].parent / file).resolve() if file else PAGES[page]
        assert path.is_file(), f"{page}:{line}: {target} is not there"
        if anchor:
            assert anchor in anchors(path), f"{page}:{line}: {path.name} has no heading {anchor!r}"


def test_every_page_is_on_the_site() -> None:
    index = (ROOT / "docs" / "index.md").read_text()
    listed = re.findall(r"^.+ <(\w+)>$", index, re.MULTILINE)
    assert sorted([*listed, "index"]) == sorted(path.stem for path in (ROOT / "docs").glob("*.md"))


# What is made from the code.


@pytest.mark.slow
@pytest.mark.parametrize("page", ["architecture.md", "commands.md", "errors.md", "troubleshooting.md"])
def test_tables_are_what_the_code_says(page: str) -> None:
    script = f"import sys, tables; sys.stdout.write(tables.with_tables({page!r}))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=ROOT / "docs"
    )
    assert done.returncode == 0, done.stderr
    assert (ROOT / "docs" / page).read_text() == done.stdout, "run: python docs/tables.py"


def test_troubleshooting_knows_what_the_doctor_looks_at() -> None:
    from alphastream_gpu._context import facts as _facts

    text = (ROOT / "docs" / "troubleshooting.md").read_text()
    source = (ROOT / "alphastream_gpu" / "_context/doctor.py").read_text()
    names = re.findall(r'Finding\(\s*f?"([\w ]+?)(?: \{[^"]*)?"', source)
    assert len(names) > 10
    for name in {*names, *_facts._PACKAGES, *_facts._LIBRARIES}:
        assert f"`{name}" in text, name


@pytest.mark.slow
@pytest.mark.parametrize("name", ["circles", "mask", "show", "guide_video", "guide_sam2", "guide_coco", "guide_deovr"])
def test_figures_are_as_the_code_draws_them(name: str) -> None:
    """Those made of masks alone: text and slanted lines are drawn otherwise by other versions of Pillow."""
    draw = drawing("draw")
    with Image.open(ROOT / "docs" / "figures" / f"{name}.png") as kept:
        assert np.array_equal(np.asarray(kept), np.asarray(draw.FIGURES[name]())), "run: python docs/figures/draw.py"


def test_the_reference_has_every_name() -> None:
    import alphastream_gpu

    listed: dict[str, list[str]] = {"alphastream_gpu": ["__version__"], "alphastream_gpu.bulk": []}
    module = ""
    text = (ROOT / "docs" / "reference.md").read_text()
    for kind, name in re.findall(r"^\.\. (currentmodule|auto\w+):: ([\w.]+)", text, re.MULTILINE):
        if kind == "currentmodule":
            module = name
        else:
            listed[module].append(name)
    assert sorted(listed["alphastream_gpu"]) == alphastream_gpu.__all__
    assert sorted(listed["alphastream_gpu.bulk"]) == alphastream_gpu.bulk.__all__
