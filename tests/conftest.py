"""
Fixtures: a GL context for the session, one that is checked for errors, a new one; the sample; the rasterizers; a
passphrase.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import Any

import moderngl
import numpy as np
import pytest
from hosts import skip_or_fail, summary
from hypothesis import HealthCheck, Phase, settings
from support import sample_geometries

import alphastream_gpu
from alphastream_gpu import FrameGeometry, GLUnavailableError, MaskRenderer
from alphastream_gpu._gl.attach import identity_of
from alphastream_gpu._gl.compute import missing
from alphastream_gpu._gl.drivers import is_software
from alphastream_gpu._raster.compiled import CompiledTwin
from alphastream_gpu._raster.grid import grid_of

METHODS = ("compute", "triangles", "upload")
"""The methods of a MaskRenderer. On a software driver, the first two are used only if the caller names them."""

# With threads, Mesa's software driver may free a lock that one of them holds: one run of the tests in sixty crashed.
# The driver reads this variable when it starts, and subprocesses of the tests inherit it. See docs/headless.md.
os.environ.setdefault("LP_NUM_THREADS", "0")

# The compiled twin starts a thread and imports numba after some masks, in whatever test makes them. The tests of the
# compiled twin load it themselves, as the parameter "compiled" of `rasterizer` does.
os.environ.setdefault("ALPHASTREAM_RASTERIZER", "numpy")

settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
# For `make test`, which is to take little time; `make test-all` tries a hundred examples of each.
settings.register_profile("quick", settings.get_profile("default"), max_examples=20)
# For mutation testing: the same examples in each run, without shrinking a failing example.
settings.register_profile(
    "mutants",
    settings.get_profile("default"),
    derandomize=True,
    max_examples=50,
    database=None,
    phases=[Phase.explicit, Phase.generate],
)
settings.load_profile("default")

_gl: list[moderngl.Context | str] = []


def gl_context() -> moderngl.Context | str:
    """The context of the session, or the message why it cannot be made."""
    if not _gl:
        try:
            _gl.append(alphastream_gpu.create_headless_context())
        except GLUnavailableError as exc:
            _gl.append(str(exc))
    return _gl[0]


def pytest_report_header() -> str:
    context = gl_context()
    return f"GL: {context if isinstance(context, str) else context.info['GL_RENDERER']}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that need OpenGL, so that they can be run separately on a machine with a doubtful driver."""
    for item in items:
        parameters = item.callspec.params if hasattr(item, "callspec") else {}
        if "ctx_session" in getattr(item, "fixturenames", ()) or parameters.get("rasterizer") in METHODS:
            item.add_marker("gl")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> Iterator[None]:
    """Print the summary of skipped tests as the last line before pytest's own, after the reasons of skips and failures.

    As the outermost wrapper, this runs last.
    """
    yield
    line = summary(terminalreporter.stats.get("skipped", []))
    if line:
        terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def ctx_session() -> Iterator[moderngl.Context]:
    """One context for the whole run. Without a driver: skip, or fail if ALPHASTREAM_REQUIRE_GL is set, as in CI."""
    context = gl_context()
    if isinstance(context, str):
        skip_or_fail(f"there is no OpenGL: {context}", "ALPHASTREAM_REQUIRE_GL")
    return context


@pytest.fixture
def ctx(ctx_session: moderngl.Context) -> Iterator[moderngl.Context]:
    """The context of the session. Asserts that there is no GL error before and after a test."""
    assert ctx_session.error == "GL_NO_ERROR"
    yield ctx_session
    assert ctx_session.error == "GL_NO_ERROR"


@pytest.fixture
def ctx_new(ctx_session: moderngl.Context) -> Iterator[moderngl.Context]:
    """A new context in its initial state. After the test, the context of the session is current again."""
    context = alphastream_gpu.create_headless_context()
    try:
        yield context
        assert context.error == "GL_NO_ERROR"
    finally:
        context.release()
        ctx_session.__enter__()


@pytest.fixture(autouse=True)
def _no_kept_arrays() -> Iterator[None]:
    """Close the streams that this process keeps open for copies of arrays: tests count threads and files."""
    yield
    reopening = sys.modules.get("alphastream_gpu._arrays.reopening")
    while reopening is not None and reopening._kept:
        reopening._kept.popitem()[1].close()


@pytest.fixture(scope="session")
def geometries() -> list[FrameGeometry]:
    """All frames of the sample."""
    return sample_geometries()


@pytest.fixture
def passphrase() -> bytes:
    """A new passphrase for each test."""
    return os.urandom(32)


class GLRasterizer:
    """
    Renders and reads back masks by one method, with the signature of ``rasterize``. Keeps a renderer for each native
    size.
    """

    def __init__(self, ctx: moderngl.Context, method: Any) -> None:
        self.ctx = ctx
        self.method = method
        self.renderers: dict[tuple[int, int], MaskRenderer] = {}

    @property
    def is_slow(self) -> bool:
        """Whether a mask of native size takes tens of milliseconds, as with compute shaders on the CPU."""
        return self.method == "compute" and is_software(self.ctx.info["GL_RENDERER"])

    def renderer(self, native_size: tuple[int, int]) -> MaskRenderer:
        if native_size not in self.renderers:
            renderer = MaskRenderer(self.ctx, native_size=native_size, method=self.method)
            self.renderers[native_size] = renderer
            assert renderer.method == self.method
        return self.renderers[native_size]

    def __call__(
        self, geometry: FrameGeometry, size: tuple[int, int] | None = None, *, native_size: tuple[int, int]
    ) -> np.ndarray:
        renderer = self.renderer(native_size)
        if size is None:
            return renderer.read(renderer.render(geometry))
        texture = self.ctx.texture(size, 1)
        texture.write(b"\x7f" * (size[0] * size[1]), alignment=1)  # neither 0 nor 255: every pixel must be written
        mask = renderer.read(renderer.render(geometry, into=texture))
        texture.release()
        return mask

    def release(self) -> None:
        for renderer in self.renderers.values():
            renderer.release()


@pytest.fixture(scope="session")
def _gl_rasterizers(ctx_session: moderngl.Context) -> Iterator[dict[str, GLRasterizer]]:
    rasterizers = {method: GLRasterizer(ctx_session, method) for method in METHODS}
    yield rasterizers
    for rasterizer in rasterizers.values():
        rasterizer.release()


def need_method(method: str, ctx: moderngl.Context) -> None:
    """Skip, or fail in CI, if the driver does not support a method."""
    if method == "compute" and (why := missing(identity_of(ctx).gl)) is not None:
        skip_or_fail(why, "ALPHASTREAM_REQUIRE_GL")


@pytest.fixture(params=METHODS)
def method(request: pytest.FixtureRequest, ctx: moderngl.Context) -> Any:
    """Runs a test with each method of rendering."""
    need_method(request.param, ctx)
    return request.param


class CompiledRasterizer:
    """The compiled twin, with the signature of ``rasterize``. Frames that are too large for it are drawn in parts."""

    def __init__(self) -> None:
        self.twin = CompiledTwin()
        self.twin.load()

    def __call__(
        self, geometry: FrameGeometry, size: tuple[int, int] | None = None, *, native_size: tuple[int, int]
    ) -> np.ndarray:
        mask = self.twin.draw(geometry, grid_of(native_size, size or native_size), None)
        if mask is None:
            half = geometry.channel_count // 2
            assert half, "a channel alone is too large"
            points, offsets = geometry.points, geometry.channel_offsets
            middle = offsets[half]
            parts = (
                FrameGeometry(points[:middle], offsets[: half + 1]),
                FrameGeometry(points[middle:], offsets[half:] - middle),
            )
            mask = np.bitwise_or(*(self(part, size, native_size=native_size) for part in parts))
        return mask


@pytest.fixture(scope="session")
def compiled_rasterizer() -> CompiledRasterizer:
    pytest.importorskip("numba")
    return CompiledRasterizer()


@pytest.fixture(params=["cpu", "compiled", *METHODS])
def rasterizer(request: pytest.FixtureRequest) -> Any:
    """Runs a test with both CPU twins and with each method of rendering, because all must make the same masks."""
    if request.param == "cpu":
        return alphastream_gpu.rasterize
    if request.param == "compiled":
        return request.getfixturevalue("compiled_rasterizer")
    need_method(request.param, request.getfixturevalue("ctx"))
    return request.getfixturevalue("_gl_rasterizers")[request.param]
