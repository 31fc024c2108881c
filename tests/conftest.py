"""
Fixtures: the GL context at three grades of cleanliness, the sample, the rasterizers, a passphrase of the test's own.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import moderngl
import numpy as np
import pytest
from hosts import lacking, summary
from hypothesis import HealthCheck, Phase, settings
from support import sample_geometries

import alphastream_gpu
from alphastream_gpu import FrameGeometry, GLUnavailableError, MaskRenderer
from alphastream_gpu._gl.attach import identity_of
from alphastream_gpu._gl.compute import missing
from alphastream_gpu._gl.drivers import is_software

METHODS = ("compute", "triangles", "upload")
"""How a MaskRenderer can make masks; on a software driver none but the last is taken unless it is named."""

# With threads, Mesa's software driver may free a lock that one of them holds: one run of the tests in sixty crashed. It
# reads this when it starts; the tests' subprocesses inherit it. docs/headless.md has the whole story.
os.environ.setdefault("LP_NUM_THREADS", "0")

settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
# For mutation testing: the same examples each time, and no time spent on making a failing one smaller.
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
    """The session's context, or why there is none."""
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
    """Mark what asks for OpenGL, so that a machine whose driver is in doubt can run the two halves apart."""
    for item in items:
        parameters = item.callspec.params if hasattr(item, "callspec") else {}
        if "ctx_session" in getattr(item, "fixturenames", ()) or parameters.get("rasterizer") in METHODS:
            item.add_marker("gl")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> Iterator[None]:
    """The very last line above pytest's own: as the outermost wrapper, after the reasons of skips and failures."""
    yield
    line = summary(terminalreporter.stats.get("skipped", []))
    if line:
        terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def ctx_session() -> Iterator[moderngl.Context]:
    """One context for the whole run. Without a driver: skip, or fail where ALPHASTREAM_REQUIRE_GL is set, as in CI."""
    context = gl_context()
    if isinstance(context, str):
        lacking(f"there is no OpenGL: {context}", "ALPHASTREAM_REQUIRE_GL")
    return context


@pytest.fixture
def ctx(ctx_session: moderngl.Context) -> Iterator[moderngl.Context]:
    """The session's context; asserts that a test neither finds nor leaves a GL error."""
    assert ctx_session.error == "GL_NO_ERROR"
    yield ctx_session
    assert ctx_session.error == "GL_NO_ERROR"


@pytest.fixture
def ctx_new(ctx_session: moderngl.Context) -> Iterator[moderngl.Context]:
    """A context of the test's own, in its first state. The session's one is current again afterwards."""
    context = alphastream_gpu.create_headless_context()
    try:
        yield context
        assert context.error == "GL_NO_ERROR"
    finally:
        context.release()
        ctx_session.__enter__()


@pytest.fixture(scope="session")
def geometries() -> list[FrameGeometry]:
    """All frames of the sample."""
    return sample_geometries()


@pytest.fixture
def passphrase() -> bytes:
    """A new one for each test: none is ever built in."""
    return os.urandom(32)


class GLRasterizer:
    """
    A renderer of one method and its read-back, with the face of ``rasterize``; renderers are kept per native size.
    """

    def __init__(self, ctx: moderngl.Context, method: Any) -> None:
        self.ctx = ctx
        self.method = method
        self.renderers: dict[tuple[int, int], MaskRenderer] = {}

    @property
    def is_slow(self) -> bool:
        """Whether a mask of native size takes tens of milliseconds: compute shaders, run by the CPU."""
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
    """Skip, or fail in CI, where the driver has no compute shaders."""
    if method == "compute" and (why := missing(identity_of(ctx).gl)) is not None:
        lacking(why, "ALPHASTREAM_REQUIRE_GL")


@pytest.fixture(params=METHODS)
def method(request: pytest.FixtureRequest, ctx: moderngl.Context) -> Any:
    """Each method of rendering, one after the other."""
    need_method(request.param, ctx)
    return request.param


@pytest.fixture(params=["cpu", *METHODS])
def rasterizer(request: pytest.FixtureRequest) -> Any:
    """The CPU twin and each method of rendering, one after the other: whatever a test says of masks, it says of all."""
    if request.param == "cpu":
        return alphastream_gpu.rasterize
    need_method(request.param, request.getfixturevalue("ctx"))
    return request.getfixturevalue("_gl_rasterizers")[request.param]
