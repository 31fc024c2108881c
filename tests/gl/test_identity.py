"""
Identity of OpenGL contexts: the same context, another, one that shares objects, one at the address of a destroyed one.
Also which moderngl context wraps a GL context, and which thread a renderer belongs to.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Iterator
from typing import Any

import moderngl
import pytest
from glstate import (
    GL,
    POISONS,
    EGLContext,
    difference,
    gl,
    immutable_texture,
    listening,
    live_names,
    new,
    pending_errors,
    snapshot,
)

from alphastream_gpu import GLUnavailableError, MaskRenderer, WrongContextError, create_headless_context, rasterize
from alphastream_gpu._gl import attach, choice, identity, selfcheck
from alphastream_gpu._gl.functions import Functions
from alphastream_gpu._gl.identity import Identity
from alphastream_gpu._gl.loader import current_context

NATIVE = selfcheck.NATIVE_SIZE
SCENE = selfcheck.scene()
METHODS = ("compute", "triangles", "upload")
PATIENCE = 300
"""Most threads that are created until one has the number of the first."""

every_method = pytest.mark.parametrize("name", METHODS)


@pytest.fixture
def contexts(ctx_session: moderngl.Context) -> Iterator[Callable[..., EGLContext]]:
    """Creates hosts' contexts without moderngl, and destroys them at the end."""
    made: list[EGLContext] = []

    def make(**options: Any) -> EGLContext:
        made.append(EGLContext(**options))
        return made[-1]

    try:
        yield make
        for context in made:
            if context.handle:
                context.make_current()
                assert GL.glGetError() == 0
    finally:
        for context in made:
            destroy(context)
        ctx_session.__enter__()


@pytest.fixture
def default(monkeypatch: pytest.MonkeyPatch) -> Callable[[moderngl.Context], None]:
    """Makes a context moderngl's default."""
    return lambda ctx: monkeypatch.setattr(moderngl._store, "default_context", ctx)


def destroy(context: EGLContext) -> None:
    if context.handle:
        context.destroy()
        context.handle = 0


def reborn(known: Identity, first: EGLContext, make: Callable[..., EGLContext], **options: Any) -> EGLContext:
    """
    Create a new context at the address of a destroyed one.

    The allocator may not reuse an address. So the address of the second context is set in the identity of the first.
    """
    destroy(first)
    again = make(**options)
    known.current.handle = again.handle
    assert known.current.is_current()
    return again


def make_objects(count: int = 40) -> dict[str, int]:
    """Create objects of a host with many names, among them the names that a renderer had. Return their number."""
    for number in range(count):
        GL.glBindSampler(0, new(GL.glGenSamplers))
        for kind in ("ARRAY_BUFFER", "ELEMENT_ARRAY_BUFFER"):
            GL.glBindVertexArray(new(GL.glGenVertexArrays))
            GL.glBindBuffer(gl(kind), new(GL.glGenBuffers))
        renderbuffer = new(GL.glGenRenderbuffers)
        GL.glBindRenderbuffer(gl("RENDERBUFFER"), renderbuffer)
        GL.glBindFramebuffer(gl("FRAMEBUFFER"), new(GL.glGenFramebuffers))
        texture = immutable_texture(NATIVE)
        if number % 2:
            GL.glFramebufferTexture(gl("FRAMEBUFFER"), gl("COLOR_ATTACHMENT0"), texture, 0)
        else:
            GL.glFramebufferRenderbuffer(gl("FRAMEBUFFER"), gl("COLOR_ATTACHMENT0"), gl("RENDERBUFFER"), renderbuffer)
        GL.glCreateProgram()
    GL.glBindSampler(0, 0)
    GL.glBindVertexArray(0)
    GL.glBindFramebuffer(gl("FRAMEBUFFER"), 0)
    assert GL.glGetError() == 0
    return live_names()


def renderer_of(name: str, ctx: moderngl.Context | None = None) -> MaskRenderer:
    """Create a renderer with an exact method of that name."""
    made = MaskRenderer(ctx, native_size=NATIVE, method=name)  # type: ignore[arg-type]
    assert (made.method, made.is_exact) == (name, True)
    return made


def is_current(known: Identity) -> bool:
    """Return the answer. Check that it changed no state, raised no GL error, and sent no debug message."""
    before = snapshot()
    with listening() as heard:
        answer = known.is_current()
    assert heard == []
    assert pending_errors() == []
    assert difference(before, snapshot()) == {}
    return answer


def pretend_older(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make contexts report OpenGL 3.3 without extensions."""

    class Older(Functions):
        def _checked_version(self, context: Any) -> int:
            super()._checked_version(context)
            return 330

        def has(self, version_code: int, extension: str) -> bool:
            return self.version_code >= version_code

    monkeypatch.setattr(identity, "Functions", Older)


# Identities.


@pytest.fixture(params=["OpenGL 4.5", "OpenGL 3.3"])
def is_older(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """With and without functions that query objects by name."""
    if request.param == "OpenGL 3.3":
        pretend_older(monkeypatch)
    return request.param == "OpenGL 3.3"


def test_the_same_context_with_every_state_changed(contexts: Callable[..., EGLContext], is_older: bool) -> None:
    contexts()
    plain = snapshot()
    known = Identity(current_context())
    assert (known.gl.glGetTextureParameteriv is None) == is_older
    assert difference(plain, snapshot()) == {}
    assert is_current(known)
    for poison in POISONS.values():
        poison()
    before = snapshot()
    late = Identity(current_context())
    assert difference(before, snapshot()) == {}
    assert is_current(known)
    assert is_current(late)
    assert pending_errors() == []


def test_an_error_of_the_host_stays_pending(contexts: Callable[..., EGLContext], is_older: bool) -> None:
    contexts()
    known = Identity(current_context())
    GL.glEnable(0x1234)
    assert known.is_current()
    Identity(current_context())
    assert pending_errors() == [gl("INVALID_ENUM")]


@pytest.mark.slow
def test_another_context_and_no_context(contexts: Callable[..., EGLContext], is_older: bool) -> None:
    first = contexts()
    known = Identity(current_context())
    second = contexts()
    objects = make_objects()
    assert not is_current(known)
    assert live_names() == objects
    other = Identity(current_context())
    assert is_current(other)
    second.leave()
    assert not known.is_current()
    assert not other.is_current()
    first.make_current()
    assert is_current(known)
    assert not is_current(other)


@pytest.mark.slow
def test_a_context_that_shares_objects(contexts: Callable[..., EGLContext], is_older: bool) -> None:
    first = contexts()
    known = Identity(current_context())
    sharing = contexts(share=first)
    make_objects()
    assert not is_current(known)
    other = Identity(current_context())
    assert is_current(other)
    first.make_current()
    assert is_current(known)
    assert not is_current(other)
    sharing.make_current()
    assert is_current(other)


def test_a_context_on_another_thread(contexts: Callable[..., EGLContext], is_older: bool) -> None:
    first = contexts()
    known = Identity(current_context())
    first.leave()
    answers = []

    def look() -> None:
        answers.append(known.is_current())
        first.make_current()
        answers.append(is_current(known))
        first.leave()

    in_thread(look)
    assert answers == [False, True]


def in_thread(work: Callable[[], None]) -> None:
    """Run a call in its own thread, and raise its exception."""
    errors: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as exc:
            errors.append(exc)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    for error in errors:
        raise error


@pytest.mark.slow
@pytest.mark.parametrize("is_shared", [False, True])
def test_a_context_at_the_same_address(contexts: Callable[..., EGLContext], is_older: bool, is_shared: bool) -> None:
    """
    Also if the context that shared its objects still exists, and with it the objects.

    Mesa also shares framebuffers, although the specification forbids it.
    """
    survivor = contexts() if is_shared else None
    first = contexts(share=survivor)
    known = Identity(current_context())
    reborn(known, first, contexts, share=survivor)
    assert not is_current(known)
    objects = make_objects()
    assert not is_current(known)
    assert live_names() == objects
    again = Identity(current_context())
    assert is_current(again)
    assert not is_current(known)


def test_a_renderbuffer_that_a_sharing_context_deleted(contexts: Callable[..., EGLContext], is_older: bool) -> None:
    """It stays bound, but cannot be bound again when an identity is created."""
    first = contexts()
    renderbuffer = new(GL.glGenRenderbuffers)
    GL.glBindRenderbuffer(gl("RENDERBUFFER"), renderbuffer)
    contexts(share=first)
    GL.glDeleteRenderbuffers(1, ctypes.c_uint(renderbuffer))
    first.make_current()
    before = snapshot()
    with listening() as heard:
        known = Identity(current_context())
    assert pending_errors() == []
    assert heard == []
    assert set(difference(before, snapshot())) <= {"RENDERBUFFER_BINDING"}
    assert is_current(known)


# Renderers.


@pytest.mark.slow
@every_method
def test_a_renderer_whose_context_is_not_current(contexts: Callable[..., EGLContext], name: str) -> None:
    first = contexts()
    made = renderer_of(name)
    frames = made.read_frames([SCENE] * 5)
    next(frames)
    texture = immutable_texture(NATIVE)
    second = contexts()
    objects = make_objects()
    before = snapshot()
    for call in calls_of(made, texture):
        with pytest.raises(WrongContextError, match="OpenGL context is not current on this thread"):
            call()
    with pytest.raises(WrongContextError, match="is not current on this thread"):
        next(frames)
    assert difference(before, snapshot()) == {}
    assert live_names() == objects
    second.leave()
    for call in calls_of(made, texture):
        with pytest.raises(WrongContextError, match="OpenGL context is not current on this thread"):
            call()
    first.make_current()
    made.render(SCENE, into=texture)
    assert (made.read(texture) == rasterize(SCENE, native_size=NATIVE)).all()
    made.release()


def calls_of(made: MaskRenderer, texture: int) -> list[Callable[[], object]]:
    """Every call that uses GL. The last one is a release."""
    return [
        lambda: made.render(SCENE),
        lambda: made.render(SCENE, into=texture),
        lambda: made.render_many([SCENE], into=texture),
        lambda: made.read(texture),
        lambda: next(made.read_frames([SCENE])),
        made.release,
    ]


@pytest.mark.slow
@every_method
@pytest.mark.parametrize("is_shared", [False, True])
def test_a_renderer_whose_context_is_destroyed(
    contexts: Callable[..., EGLContext], monkeypatch: pytest.MonkeyPatch, name: str, is_shared: bool
) -> None:
    """A new context has its address, and objects of the same names. They are not deleted, and nothing is taken over."""
    survivor = contexts() if is_shared else None
    first = contexts(share=survivor)
    stale = renderer_of(name)
    stale.render(SCENE)
    list(stale.read_frames([SCENE] * 4))
    assert stale._owner.identity.exact_methods == ({name} if name != "upload" else set())
    reborn(stale._owner.identity, first, contexts, share=survivor)
    for _ in range(2):
        before, objects = snapshot(), live_names()
        with listening() as heard:
            for call in calls_of(stale, 1):
                with pytest.raises(WrongContextError, match="is not current on this thread"):
                    call()
        assert pending_errors() == []
        assert heard == []
        assert difference(before, snapshot()) == {}
        assert live_names() == objects
        make_objects()
    checks: list[int] = []
    real = choice.count_wrong_pixels
    monkeypatch.setattr(choice, "count_wrong_pixels", lambda render: checks.append(1) or real(render))
    for _ in range(2):
        with renderer_of(name) as made:
            assert made._owner.identity is not stale._owner.identity
            assert made._ctx is not stale._ctx
            texture = immutable_texture(NATIVE)
            made.render(SCENE, into=texture)
            assert (made.read(texture) == rasterize(SCENE, native_size=NATIVE)).all()
    assert len(checks) == (name != "upload")
    with pytest.raises(WrongContextError, match="another OpenGL context is current on this thread"):
        MaskRenderer(stale._ctx, native_size=NATIVE)


@every_method
def test_a_context_that_shares_its_textures(contexts: Callable[..., EGLContext], name: str) -> None:
    """Each context has a renderer, for the same textures."""
    first = contexts()
    one = renderer_of(name)
    texture = immutable_texture(NATIVE)
    second = contexts(share=first)
    with renderer_of(name) as other:
        assert other._ctx is not one._ctx
        other.render(SCENE, into=texture)
        assert (other.read(texture) == rasterize(SCENE, native_size=NATIVE)).all()
        GL.glFinish()
        with pytest.raises(WrongContextError, match="is not current on this thread"):
            one.read(texture)
        first.make_current()
        assert (one.read(texture) == rasterize(SCENE, native_size=NATIVE)).all()
        one.release()
        second.make_current()
        other.render(SCENE, into=texture)
        assert (other.read(texture) == rasterize(SCENE, native_size=NATIVE)).all()


# Threads.


@every_method
def test_a_thread_with_the_number_of_one_that_ended(contexts: Callable[..., EGLContext], name: str) -> None:
    context = contexts()
    context.leave()
    made: list[MaskRenderer] = []
    numbers: list[int] = []

    def make() -> None:
        context.make_current()
        made.append(renderer_of(name))
        made[0].render(SCENE)
        numbers.append(threading.get_ident())
        context.leave()

    def try_calls() -> None:
        numbers.append(threading.get_ident())
        if numbers[-1] != numbers[0]:
            return
        context.make_current()
        texture = immutable_texture(NATIVE)
        for call in calls_of(made[0], texture):
            with pytest.raises(WrongContextError, match="belongs to the thread that created it"):
                call()
        with renderer_of(name) as own:
            own.render(SCENE, into=texture)
            assert (own.read(texture) == rasterize(SCENE, native_size=NATIVE)).all()
        assert pending_errors() == []
        context.leave()

    in_thread(make)
    for _ in range(PATIENCE):
        in_thread(try_calls)
        if numbers[-1] == numbers[0]:
            return
    pytest.skip("the system gives no thread's number twice")


# The current context, and moderngl's default.


class Loader:
    """A program's loader, which passes its context to moderngl. ``with`` does not make that context current."""

    def load_opengl_function(self, name: str) -> int:
        return current_context().load_opengl_function(name)

    def __enter__(self) -> Loader:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def release(self) -> None:
        pass


class FailingLoader(Loader):
    def __enter__(self) -> Loader:
        raise OSError("it cannot be made current")


def check_not_taken(ctx: moderngl.Context) -> None:
    """Check that a renderer without `ctx` does not use this context, and preserves the current one and its state."""
    parts, before = EGLContext.current_parts(), snapshot()
    with listening() as heard, MaskRenderer(native_size=NATIVE) as made:
        assert made._ctx is not ctx
        assert EGLContext.current_parts() == parts
        assert (made.read(made.render(SCENE)) == rasterize(SCENE, native_size=NATIVE)).all()
        if type(ctx.mglo).__name__ != "InvalidObject":
            with pytest.raises(ValueError, match="belongs to another context than the renderer"):
                made.render(SCENE, into=FakeTexture(ctx))  # type: ignore[type-var]
    assert heard == []
    assert EGLContext.current_parts() == parts
    assert difference(before, snapshot()) == {}
    assert pending_errors() == []


class FakeTexture(moderngl.Texture):
    """Stands for a texture of a context that is not current, where none can be created."""

    def __init__(self, ctx: moderngl.Context) -> None:
        self.ctx = ctx
        self.mglo = object()


def test_a_default_of_the_program_that_is_current(
    ctx_new: moderngl.Context, default: Callable[[moderngl.Context], None]
) -> None:
    default(ctx_new)
    with MaskRenderer(native_size=NATIVE) as made:
        assert made._ctx is ctx_new
        texture = ctx_new.texture(NATIVE, 1)
        assert (made.read(made.render(SCENE, into=texture)) == rasterize(SCENE, native_size=NATIVE)).all()
    assert moderngl.get_context() is ctx_new


def test_a_default_that_we_created_while_another_is_current(
    ctx_new: moderngl.Context, default: Callable[[moderngl.Context], None], contexts: Callable[..., EGLContext]
) -> None:
    default(ctx_new)
    contexts()
    check_not_taken(ctx_new)
    ctx_new.__enter__()
    with MaskRenderer(native_size=NATIVE) as made:
        assert made._ctx is ctx_new


@pytest.fixture
def plain(ctx_session: moderngl.Context, monkeypatch: pytest.MonkeyPatch) -> Iterator[moderngl.Context]:
    """A context of moderngl and glcontext that is moderngl's default, and has no identity yet."""
    monkeypatch.setattr(moderngl._store, "default_context", None)  # restored afterwards
    made = moderngl.create_context(standalone=True, backend="egl")
    assert moderngl._store.default_context is made
    try:
        yield made
    finally:
        made.release()
        ctx_session.__enter__()


def test_a_default_by_glcontext_that_is_current(plain: moderngl.Context) -> None:
    texture = plain.texture(NATIVE, 1)
    before, parts = snapshot(), EGLContext.current_parts()
    for _ in range(2):
        with MaskRenderer(native_size=NATIVE) as made:
            assert made._ctx is plain
            assert (made.read(made.render(SCENE, into=texture)) == rasterize(SCENE, native_size=NATIVE)).all()
    assert moderngl.get_context() is plain
    assert EGLContext.current_parts() == parts
    assert difference(before, snapshot()) == {}


def test_a_default_by_glcontext_while_another_is_current(
    plain: moderngl.Context, contexts: Callable[..., EGLContext]
) -> None:
    texture = plain.texture(NATIVE, 1)
    host = contexts()
    for _ in range(2):
        check_not_taken(plain)
    assert moderngl.get_context() is plain
    plain.__enter__()
    with MaskRenderer(native_size=NATIVE) as made:
        assert made._ctx is plain
        assert (made.read(made.render(SCENE, into=texture)) == rasterize(SCENE, native_size=NATIVE)).all()
        host.make_current()
        with pytest.raises(WrongContextError, match="is not current on this thread"):
            made.render(SCENE)
        plain.__enter__()


def test_a_default_by_glcontext_that_is_current_on_another_thread(
    plain: moderngl.Context, contexts: Callable[..., EGLContext]
) -> None:
    plain.__exit__(None, None, None)
    contexts()  # replaces it on this thread
    is_held, may_end = threading.Event(), threading.Event()
    found: list[bool] = []

    def hold() -> None:
        plain.__enter__()
        handle = current_context().handle
        is_held.set()
        may_end.wait(30)
        found.append(current_context().handle == handle)
        EGLContext.leave_any()

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        assert is_held.wait(30)
        check_not_taken(plain)
    finally:
        may_end.set()
        thread.join()
    assert found == [True]


def test_a_default_around_a_loader_of_the_program(
    contexts: Callable[..., EGLContext], default: Callable[[moderngl.Context], None]
) -> None:
    """Its context cannot be determined. So it is not used until it is passed in, even if it wraps the current one."""
    first = contexts()
    around = moderngl.create_context(context=Loader())  # type: ignore[arg-type]
    default(around)
    texture = around.texture(NATIVE, 1)
    second = contexts()
    own = immutable_texture(NATIVE)
    assert own == texture.glo
    with MaskRenderer(native_size=NATIVE) as made:
        assert made._ctx is not around
        with pytest.raises(ValueError, match="belongs to another context than the renderer"):
            made.render(SCENE, into=texture)
        made.render(SCENE, into=own)
        assert (made.read(own) == rasterize(SCENE, native_size=NATIVE)).all()
    check_not_taken(around)
    first.make_current()
    check_not_taken(around)
    with MaskRenderer(around, native_size=NATIVE) as made:
        made.render(SCENE, into=texture)
        assert (made.read(texture) == rasterize(SCENE, native_size=NATIVE)).all()
    with MaskRenderer(native_size=NATIVE) as made:
        assert made._ctx is around  # its identity is known now
    second.make_current()
    check_not_taken(around)
    with pytest.raises(WrongContextError, match="another OpenGL context is current on this thread"):
        MaskRenderer(around, native_size=NATIVE)


def test_a_default_that_fails_or_is_released(
    contexts: Callable[..., EGLContext], default: Callable[[moderngl.Context], None]
) -> None:
    contexts()
    failing = moderngl.create_context(context=FailingLoader())  # type: ignore[arg-type]
    default(failing)
    check_not_taken(failing)
    released = moderngl.create_context(context=Loader())  # type: ignore[arg-type]
    released.release()
    default(released)
    check_not_taken(released)


def test_attaching_again_finds_the_same_context(
    contexts: Callable[..., EGLContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    """moderngl never collects contexts. So there is one per GL context, and each method is checked once on it."""
    checks: list[int] = []
    real = choice.count_wrong_pixels
    monkeypatch.setattr(choice, "count_wrong_pixels", lambda render: checks.append(1) or real(render))
    first, second = contexts(), contexts()
    wrappers = set()
    for _ in range(3):
        for context in (first, second):
            context.make_current()
            for name in METHODS:
                with renderer_of(name) as made:
                    wrappers.add(made.render(SCENE).ctx)
    assert len(wrappers) == 2
    assert len(checks) == 4


@pytest.mark.slow
def test_contexts_that_come_and_go(contexts: Callable[..., EGLContext]) -> None:
    """Of the contexts at the same address, only the last one is kept."""
    before = len(attach._attached)
    handles = set()
    for _ in range(20):
        context = contexts()
        handles.add(context.handle)
        with renderer_of("triangles") as made:
            assert (made.read(made.render(SCENE)) == rasterize(SCENE, native_size=NATIVE)).all()
        destroy(context)
    assert len(attach._attached) - before <= len(handles)


def test_a_context_that_is_not_the_current_one(ctx_new: moderngl.Context, ctx_session: moderngl.Context) -> None:
    """Calls would go to the current context, and draw into its texture of the same name."""
    MaskRenderer(ctx_new, native_size=NATIVE).release()
    ctx_session.__enter__()
    try:
        with pytest.raises(WrongContextError, match="ctx: another OpenGL context is current on this thread"):
            MaskRenderer(ctx_new, native_size=NATIVE)
    finally:
        ctx_new.__enter__()


def test_no_context_is_current(contexts: Callable[..., EGLContext], ctx_new: moderngl.Context) -> None:
    MaskRenderer(ctx_new, native_size=NATIVE).release()
    contexts().leave()
    for ctx in (None, ctx_new):
        with pytest.raises(GLUnavailableError, match=r"no OpenGL context is current on this thread \(asked: .*EGL"):
            MaskRenderer(ctx, native_size=NATIVE)
    ctx_new.__enter__()


def test_objects_that_are_not_contexts(ctx_session: moderngl.Context) -> None:
    with pytest.raises(TypeError, match="ctx: expected a moderngl.Context, found str"):
        MaskRenderer("x")  # type: ignore[arg-type]
    released = create_headless_context()
    released.release()
    ctx_session.__enter__()
    with pytest.raises(GLUnavailableError, match="ctx: .* released"):
        MaskRenderer(released)
