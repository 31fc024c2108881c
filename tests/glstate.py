"""
Reads, changes and compares the whole GL state of a context through PyOpenGL. Also counts the living GL objects, records
debug messages, and makes contexts of any kind through EGL.

PyOpenGL is used because it shares no code with the package. Its error checking is off, because a pending error of the
host belongs to the state, too.
"""

from __future__ import annotations

import ctypes
import gc
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

os.environ.setdefault("PYOPENGL_PLATFORM", "egl")

import OpenGL

OpenGL.ERROR_CHECKING = False
OpenGL.CONTEXT_CHECKING = False

from OpenGL import GL  # noqa: E402 - after its settings
from OpenGL.raw.GL.VERSION import GL_1_1, GL_2_0  # noqa: E402 - work without a current EGL context
from OpenGL.raw.GL.VERSION.GL_1_0 import glGetIntegerv, glIsEnabled  # noqa: E402 - faster, for a thousand calls
from OpenGL.raw.GL.VERSION.GL_1_3 import glActiveTexture  # noqa: E402
from OpenGL.raw.GL.VERSION.GL_3_0 import glGetIntegeri_v, glIsEnabledi  # noqa: E402
from OpenGL.raw.GL.VERSION.GL_3_2 import glGetInteger64i_v  # noqa: E402

CAPABILITIES = (
    "BLEND", "COLOR_LOGIC_OP", "CULL_FACE", "DEBUG_OUTPUT", "DEBUG_OUTPUT_SYNCHRONOUS", "DEPTH_CLAMP", "DEPTH_TEST",
    "DITHER", "FRAMEBUFFER_SRGB", "LINE_SMOOTH", "MULTISAMPLE", "POLYGON_OFFSET_FILL", "POLYGON_OFFSET_LINE",
    "POLYGON_OFFSET_POINT", "POLYGON_SMOOTH", "PRIMITIVE_RESTART", "PRIMITIVE_RESTART_FIXED_INDEX",
    "PROGRAM_POINT_SIZE", "RASTERIZER_DISCARD", "SAMPLE_ALPHA_TO_COVERAGE", "SAMPLE_ALPHA_TO_ONE", "SAMPLE_COVERAGE",
    "SAMPLE_MASK", "SAMPLE_SHADING", "SCISSOR_TEST", "STENCIL_TEST", "TEXTURE_CUBE_MAP_SEAMLESS",
    *(f"CLIP_DISTANCE{i}" for i in range(8)),
)  # fmt: skip
INTEGERS = {
    # name: values
    "DRAW_FRAMEBUFFER_BINDING": 1, "READ_FRAMEBUFFER_BINDING": 1, "RENDERBUFFER_BINDING": 1, "DRAW_BUFFER0": 1,
    "READ_BUFFER": 1, "SCISSOR_BOX": 4, "BLEND_SRC_RGB": 1, "BLEND_DST_RGB": 1, "BLEND_SRC_ALPHA": 1,
    "BLEND_DST_ALPHA": 1, "BLEND_EQUATION_RGB": 1, "BLEND_EQUATION_ALPHA": 1, "LOGIC_OP_MODE": 1, "COLOR_WRITEMASK": 4,
    "DEPTH_WRITEMASK": 1, "DEPTH_FUNC": 1, "STENCIL_FUNC": 1, "STENCIL_REF": 1, "STENCIL_VALUE_MASK": 1,
    "STENCIL_FAIL": 1, "STENCIL_PASS_DEPTH_FAIL": 1, "STENCIL_PASS_DEPTH_PASS": 1, "STENCIL_WRITEMASK": 1,
    "STENCIL_BACK_FUNC": 1, "STENCIL_BACK_WRITEMASK": 1, "STENCIL_CLEAR_VALUE": 1, "CULL_FACE_MODE": 1, "FRONT_FACE": 1,
    "POLYGON_MODE": 1, "PROVOKING_VERTEX": 1, "CURRENT_PROGRAM": 1, "PROGRAM_PIPELINE_BINDING": 1,
    "VERTEX_ARRAY_BINDING": 1, "ARRAY_BUFFER_BINDING": 1, "ELEMENT_ARRAY_BUFFER_BINDING": 1,
    "PIXEL_PACK_BUFFER_BINDING": 1, "PIXEL_UNPACK_BUFFER_BINDING": 1, "COPY_READ_BUFFER_BINDING": 1,
    "COPY_WRITE_BUFFER_BINDING": 1, "UNIFORM_BUFFER_BINDING": 1, "TRANSFORM_FEEDBACK_BUFFER_BINDING": 1,
    "DRAW_INDIRECT_BUFFER_BINDING": 1, "DISPATCH_INDIRECT_BUFFER_BINDING": 1, "SHADER_STORAGE_BUFFER_BINDING": 1,
    "ATOMIC_COUNTER_BUFFER_BINDING": 1, "QUERY_BUFFER_BINDING": 1, "TEXTURE_BUFFER_BINDING": 1,
    "TRANSFORM_FEEDBACK_BINDING": 1, "ACTIVE_TEXTURE": 1, "PACK_ALIGNMENT": 1, "PACK_ROW_LENGTH": 1,
    "PACK_SKIP_ROWS": 1, "PACK_SKIP_PIXELS": 1, "PACK_SKIP_IMAGES": 1, "PACK_IMAGE_HEIGHT": 1, "PACK_SWAP_BYTES": 1,
    "PACK_LSB_FIRST": 1, "UNPACK_ALIGNMENT": 1, "UNPACK_ROW_LENGTH": 1, "UNPACK_SKIP_ROWS": 1, "UNPACK_SKIP_PIXELS": 1,
    "UNPACK_SKIP_IMAGES": 1, "UNPACK_IMAGE_HEIGHT": 1, "UNPACK_SWAP_BYTES": 1, "UNPACK_LSB_FIRST": 1,
    "PRIMITIVE_RESTART_INDEX": 1, "SAMPLE_COVERAGE_INVERT": 1, "CLAMP_READ_COLOR": 1, "LINE_SMOOTH_HINT": 1,
    "POLYGON_SMOOTH_HINT": 1, "FRAGMENT_SHADER_DERIVATIVE_HINT": 1, "CLIP_ORIGIN": 1, "CLIP_DEPTH_MODE": 1,
}  # fmt: skip
FLOATS = {
    "COLOR_CLEAR_VALUE": 4, "DEPTH_CLEAR_VALUE": 1, "DEPTH_RANGE": 2, "BLEND_COLOR": 4, "LINE_WIDTH": 1,
    "POINT_SIZE": 1, "POLYGON_OFFSET_FACTOR": 1, "POLYGON_OFFSET_UNITS": 1, "SAMPLE_COVERAGE_VALUE": 1,
    "MIN_SAMPLE_SHADING_VALUE": 1, "POINT_FADE_THRESHOLD_SIZE": 1,
}  # fmt: skip
TEXTURE_BINDINGS = {
    "TEXTURE_2D": "TEXTURE_BINDING_2D", "TEXTURE_2D_ARRAY": "TEXTURE_BINDING_2D_ARRAY",
    "TEXTURE_3D": "TEXTURE_BINDING_3D", "TEXTURE_CUBE_MAP": "TEXTURE_BINDING_CUBE_MAP",
    "TEXTURE_RECTANGLE": "TEXTURE_BINDING_RECTANGLE", "TEXTURE_1D": "TEXTURE_BINDING_1D",
    "TEXTURE_BUFFER": "TEXTURE_BINDING_BUFFER", "TEXTURE_1D_ARRAY": "TEXTURE_BINDING_1D_ARRAY",
    "TEXTURE_CUBE_MAP_ARRAY": "TEXTURE_BINDING_CUBE_MAP_ARRAY",
    "TEXTURE_2D_MULTISAMPLE": "TEXTURE_BINDING_2D_MULTISAMPLE",
    "TEXTURE_2D_MULTISAMPLE_ARRAY": "TEXTURE_BINDING_2D_MULTISAMPLE_ARRAY",
}  # fmt: skip
BY_BUFFER = (
    "BLEND_SRC_RGB", "BLEND_DST_RGB", "BLEND_SRC_ALPHA", "BLEND_DST_ALPHA", "BLEND_EQUATION_RGB",
    "BLEND_EQUATION_ALPHA",
)  # fmt: skip
INDEXED_BUFFERS = {
    # kind: the number of bindings that are compared
    "UNIFORM_BUFFER": 8, "SHADER_STORAGE_BUFFER": 4, "ATOMIC_COUNTER_BUFFER": 4, "TRANSFORM_FEEDBACK_BUFFER": 4,
}  # fmt: skip
IMAGE_UNIT = (
    "IMAGE_BINDING_NAME", "IMAGE_BINDING_LEVEL", "IMAGE_BINDING_LAYERED", "IMAGE_BINDING_LAYER", "IMAGE_BINDING_ACCESS",
    "IMAGE_BINDING_FORMAT",
)  # fmt: skip
N_BUFFERS = 8
N_IMAGE_UNITS = 4
N_VIEWPORTS = 16
"""The number of viewports that every OpenGL has; Mesa has no more."""


@cache
def gl(name: str) -> Any:
    """The constant with a name without the prefix GL_."""
    return int(getattr(GL, f"GL_{name}"))


_values = (ctypes.c_int * 16)()
_long = (ctypes.c_int64 * 1)()


def _integers(name: str, count: int) -> tuple[int, ...]:
    glGetIntegerv(gl(name), _values)
    return tuple(_values[:count])


def _integers_at(name: str, index: int, count: int = 1) -> tuple[int, ...]:
    glGetIntegeri_v(gl(name), index, _values)
    return tuple(_values[:count])


def _indexed(get: Callable[..., None], kind: Any, name: str, index: int, count: int) -> tuple[Any, ...]:
    values = (kind * 16)()
    get(gl(name), index, values)
    return tuple(values[:count])


@cache
def units() -> list[int]:
    """The texture units that are compared: the first 13, the last one, and the one that moderngl uses for itself."""
    return [*range(13), _integers("MAX_COMBINED_TEXTURE_IMAGE_UNITS", 1)[0] - 1, _last_of_moderngl()]


def _last_of_moderngl() -> int:
    return _integers("MAX_TEXTURE_IMAGE_UNITS", 1)[0] - 1


def snapshot() -> dict[str, Any]:
    """All state that a host can set, by name."""
    state: dict[str, Any] = {name: glIsEnabled(gl(name)) for name in CAPABILITIES}
    state |= {name: _integers(name, count) for name, count in INTEGERS.items()}
    for name, count in FLOATS.items():
        values = (ctypes.c_float * 16)()
        GL.glGetFloatv(gl(name), values)
        state[name] = tuple(values[:count])
    for i in range(N_BUFFERS):
        state[f"BLEND {i}"] = glIsEnabledi(gl("BLEND"), i)
        state[f"COLOR_WRITEMASK {i}"] = _indexed(GL.glGetBooleani_v, ctypes.c_ubyte, "COLOR_WRITEMASK", i, 4)
        for name in BY_BUFFER:
            state[f"{name} {i}"] = _integers_at(name, i)
    for i in range(N_VIEWPORTS):
        state[f"VIEWPORT {i}"] = _indexed(GL.glGetFloati_v, ctypes.c_float, "VIEWPORT", i, 4)
        state[f"SCISSOR_BOX {i}"] = _integers_at("SCISSOR_BOX", i, 4)
        state[f"SCISSOR_TEST {i}"] = glIsEnabledi(gl("SCISSOR_TEST"), i)
    for kind, count in INDEXED_BUFFERS.items():
        for i in range(count):
            state[f"{kind}_BINDING {i}"] = _integers_at(f"{kind}_BINDING", i)
            for part in ("START", "SIZE"):
                glGetInteger64i_v(gl(f"{kind}_{part}"), i, _long)
                state[f"{kind}_{part} {i}"] = _long[0]
    for i in range(N_IMAGE_UNITS):
        state |= {f"{name} {i}": _integers_at(name, i) for name in IMAGE_UNIT}
    active = _integers("ACTIVE_TEXTURE", 1)[0]
    for unit in units():
        glActiveTexture(gl("TEXTURE0") + unit)
        for binding in TEXTURE_BINDINGS.values():
            state[f"{binding} {unit}"] = _integers(binding, 1)
        state[f"SAMPLER_BINDING {unit}"] = _integers("SAMPLER_BINDING", 1)
    glActiveTexture(active)
    return state


def difference(before: dict[str, Any], after: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """The values that differ, before and after."""
    return {name: (before[name], after[name]) for name in before if before[name] != after[name]}


KINDS: dict[str, tuple[Any, Any, Any]] = {
    "textures": (GL.glIsTexture, GL.glGenTextures, GL.glDeleteTextures),
    "buffers": (GL.glIsBuffer, GL.glGenBuffers, GL.glDeleteBuffers),
    "framebuffers": (GL.glIsFramebuffer, GL.glGenFramebuffers, GL.glDeleteFramebuffers),
    "vertex arrays": (GL.glIsVertexArray, GL.glGenVertexArrays, GL.glDeleteVertexArrays),
    "programs": (GL.glIsProgram, None, None),
    "shaders": (GL.glIsShader, None, None),
    "samplers": (GL.glIsSampler, GL.glGenSamplers, GL.glDeleteSamplers),
    "queries": (GL.glIsQuery, GL.glGenQueries, GL.glDeleteQueries),
    "renderbuffers": (GL.glIsRenderbuffer, GL.glGenRenderbuffers, GL.glDeleteRenderbuffers),
}
"""For each kind of GL object: how to test a name, to make names, and to delete them."""


def live_names() -> dict[str, int]:
    """The number of GL objects of each kind."""
    gc.collect()  # objects in reference cycles of earlier tests are released now, and not between two counts
    return {kind: len(names_of(kind)) for kind in KINDS}


def names_of(kind: str) -> list[int]:
    """The names of the GL objects of a kind."""
    is_one, generate, delete = KINDS[kind]
    return [name for name in range(1, _beyond(generate, delete)) if is_one(name)]


def _beyond(generate: Any, delete: Any) -> int:
    """
    A name above all names in use. Some drivers return the lowest free name. Others return the last name plus one, so
    their names grow without limit in thousands of tests.
    """
    if generate is None:  # programs and shaders share their names
        name = GL.glCreateShader(GL.GL_VERTEX_SHADER)
        GL.glDeleteShader(name)
        return max(4096, int(name) + 1)
    names = (ctypes.c_uint * 1)()
    generate(1, names)
    delete(1, names)
    return max(4096, names[0] + 1)


@contextmanager
def listening() -> Iterator[list[str]]:
    """
    Enable debug output; yield a list that gets the messages of the context.

    PyOpenGL reads pending errors when it sets its first callback, so a test must cause errors of the host afterwards.

    Messages about performance and of type OTHER are left out, such as the place of a buffer in memory, or that a
    framebuffer of the host is incomplete.
    """
    heard: list[str] = []

    @GL.GLDEBUGPROC
    def hear(_source: int, kind: int, _id: int, _severity: int, length: int, message: Any, _user: Any) -> None:
        if kind not in (gl("DEBUG_TYPE_PERFORMANCE"), gl("DEBUG_TYPE_OTHER")):
            heard.append(message[:length].decode("utf-8", "replace").strip())

    before = [(gl(name), glIsEnabled(gl(name))) for name in ("DEBUG_OUTPUT", "DEBUG_OUTPUT_SYNCHRONOUS")]
    GL.glDebugMessageCallback(hear, None)
    GL.glDebugMessageControl(gl("DONT_CARE"), gl("DONT_CARE"), gl("DONT_CARE"), 0, None, True)
    GL.glEnable(gl("DEBUG_OUTPUT_SYNCHRONOUS"))
    GL.glEnable(gl("DEBUG_OUTPUT"))
    try:
        yield heard
    finally:
        GL.glDebugMessageCallback(GL.GLDEBUGPROC(0), None)
        for name, was_enabled in before:
            (GL.glEnable if was_enabled else GL.glDisable)(name)


def pending_errors() -> list[int]:
    """Read and clear the pending errors."""
    errors = []
    while len(errors) < 8 and (error := int(GL.glGetError())):
        errors.append(error)
    return errors


def _clear_nothing() -> None:
    """Clear a framebuffer without attachments."""
    before, empty = _integers("DRAW_FRAMEBUFFER_BINDING", 1)[0], new(GL.glGenFramebuffers)
    GL.glBindFramebuffer(gl("DRAW_FRAMEBUFFER"), empty)
    GL.glClear(gl("COLOR_BUFFER_BIT"))
    GL.glBindFramebuffer(gl("DRAW_FRAMEBUFFER"), before)
    GL.glDeleteFramebuffers(1, ctypes.c_uint(empty))


WRONG_CALLS: dict[str, Callable[[], object]] = {
    "INVALID_ENUM": lambda: GL.glEnable(0x1234),
    "INVALID_VALUE": lambda: GL.glClear(0xFFFFFFFF),
    "INVALID_OPERATION": lambda: GL.glBindVertexArray(12345678),
    "INVALID_FRAMEBUFFER_OPERATION": _clear_nothing,
}
"""Wrong calls of a host, by the error that each leaves pending. They change no other state."""


class EGLContext:
    """
    A context of a host with the framebuffer of a window (a pbuffer), made without moderngl. It is current on this
    thread after it is made.

    The display is that of the EGL context that is current when the first one is made. If none is current, it is the
    display of Mesa without a window system.

    Args:
        version: the requested version of OpenGL.
        is_es: whether to make an OpenGL ES context.
        is_core: the profile, for version 3.2 or later.
        share: the context to share objects with.
    """

    _SIZE = (64, 48)

    def __init__(
        self,
        version: tuple[int, int] = (4, 5),
        *,
        is_es: bool = False,
        is_core: bool = True,
        share: EGLContext | None = None,
    ) -> None:
        self._api = 0x30A0 if is_es else 0x30A2
        self._display = _egl_display()
        _egl("eglBindAPI", self._api)
        chosen, count = ctypes.c_void_p(), ctypes.c_int()
        # surface type: pbuffer; renderable type: OpenGL ES 3 or OpenGL; 8 bits of red
        asked = _egl_list(0x3033, 1, 0x3040, 0x40 if is_es else 8, 0x3024, 8)
        assert _egl("eglChooseConfig", self._display, asked, ctypes.byref(chosen), 1, ctypes.byref(count))
        assert count.value, "EGL does not have this configuration"
        profile = () if is_es or version < (3, 2) else (0x30FD, 1 if is_core else 2)
        asked = _egl_list(0x3098, version[0], 0x30FB, version[1], *profile)
        self.handle = _egl("eglCreateContext", self._display, chosen, share and share.handle, asked)
        """The address of the context."""
        assert self.handle, "EGL cannot make this context"
        asked = _egl_list(0x3057, self._SIZE[0], 0x3056, self._SIZE[1])
        self.surface = _egl("eglCreatePbufferSurface", self._display, chosen, asked)
        self.make_current()

    def make_current(self) -> None:
        """Make the context current on this thread."""
        _egl("eglBindAPI", self._api)
        assert _egl("eglMakeCurrent", self._display, self.surface, self.surface, self.handle)

    def leave(self) -> None:
        """Make no context current on this thread, by the API and the display of this context."""
        _egl("eglBindAPI", self._api)
        assert _egl("eglMakeCurrent", self._display, None, None, None)

    @staticmethod
    def leave_any() -> None:
        """Make no context current on this thread, whatever made the current one."""
        if (display := _egl("eglGetCurrentDisplay")) is not None:
            assert _egl("eglMakeCurrent", display, None, None, None)

    def destroy(self) -> None:
        """Destroy the context, which must not be current on another thread. No context is current then."""
        self.leave()
        assert _egl("eglDestroySurface", self._display, self.surface)
        assert _egl("eglDestroyContext", self._display, self.handle)
        _egl("eglBindAPI", 0x30A2)  # for code that does not bind an API

    @staticmethod
    def current_parts() -> tuple[Any, ...]:
        """The display, surfaces and context that are current on this thread in EGL."""
        surfaces = (_egl("eglGetCurrentSurface", what) for what in (0x3059, 0x305A))
        return (_egl("eglGetCurrentDisplay"), *surfaces, _egl("eglGetCurrentContext"))


_EGL_FUNCTIONS: dict[str, tuple[Any, ...]] = {
    # name: result, arguments
    "eglBindAPI": (ctypes.c_uint, ctypes.c_uint),
    "eglChooseConfig": (ctypes.c_uint, *[ctypes.c_void_p] * 3, ctypes.c_int, ctypes.c_void_p),
    "eglCreateContext": (ctypes.c_void_p, *[ctypes.c_void_p] * 4),
    "eglCreatePbufferSurface": (ctypes.c_void_p, *[ctypes.c_void_p] * 3),
    "eglDestroyContext": (ctypes.c_uint, *[ctypes.c_void_p] * 2),
    "eglDestroySurface": (ctypes.c_uint, *[ctypes.c_void_p] * 2),
    "eglGetCurrentContext": (ctypes.c_void_p,),
    "eglGetCurrentDisplay": (ctypes.c_void_p,),
    "eglGetCurrentSurface": (ctypes.c_void_p, ctypes.c_int),
    "eglGetPlatformDisplay": (ctypes.c_void_p, ctypes.c_uint, *[ctypes.c_void_p] * 2),
    "eglInitialize": (ctypes.c_uint, *[ctypes.c_void_p] * 3),
    "eglMakeCurrent": (ctypes.c_uint, *[ctypes.c_void_p] * 4),
}


def _egl(name: str, *arguments: Any) -> Any:
    result, *kinds = _EGL_FUNCTIONS[name]
    return ctypes.CFUNCTYPE(result, *kinds)((name, ctypes.CDLL("libEGL.so.1")))(*arguments)


def _egl_list(*values: int) -> Any:
    return (ctypes.c_int * (len(values) + 1))(*values, 0x3038)


@cache
def _egl_display() -> int:
    """The display of all contexts, which can share objects only within one display."""
    display = _egl("eglGetCurrentDisplay") or _egl("eglGetPlatformDisplay", 0x31DD, None, None)
    assert _egl("eglInitialize", display, None, None)
    return int(display)


def immutable_texture(
    size: tuple[int, int], *, layers: int = 0, kind: str = "R8", fill: bool = True, levels: int = 1
) -> int:
    """A grey texture with immutable storage, made by GL 4.5 without binding it."""
    target = gl("TEXTURE_2D_ARRAY") if layers else gl("TEXTURE_2D")
    name = ctypes.c_uint()
    GL.glCreateTextures(target, 1, name)
    if layers:
        GL.glTextureStorage3D(name.value, levels, gl(kind), *size, layers)
    else:
        GL.glTextureStorage2D(name.value, levels, gl(kind), *size)
    if fill:
        GL.glClearTexImage(name.value, 0, gl("RED"), gl("UNSIGNED_BYTE"), b"\x7f")
    return name.value


def new(make: Callable[..., None]) -> int:
    """A new name from ``glGenBuffers`` or a similar function."""
    name = ctypes.c_uint()
    make(1, name)
    return name.value


def _texture(kind: str) -> int:
    """A small texture of a kind, with mipmap filters but without mipmaps, so that sampling it gives zeros."""
    texture = new(GL.glGenTextures)
    target = gl(kind)
    GL.glBindTexture(target, texture)
    pixels = bytes(4 * 4 * 4 * 4)
    if kind == "TEXTURE_BUFFER":
        GL.glTexBuffer(target, gl("R32I"), new(GL.glCreateBuffers))
    elif kind == "TEXTURE_2D_MULTISAMPLE":
        GL.glTexImage2DMultisample(target, 4, gl("RGBA8"), 4, 4, True)
    elif kind == "TEXTURE_2D_MULTISAMPLE_ARRAY":
        GL.glTexImage3DMultisample(target, 4, gl("RGBA8"), 4, 4, 2, True)
    elif kind == "TEXTURE_1D":
        GL.glTexImage1D(target, 0, gl("RGBA8"), 4, 0, gl("RGBA"), gl("UNSIGNED_BYTE"), pixels)
    elif kind in ("TEXTURE_2D", "TEXTURE_RECTANGLE", "TEXTURE_1D_ARRAY"):
        GL.glTexImage2D(target, 0, gl("RGBA8"), 4, 4, 0, gl("RGBA"), gl("UNSIGNED_BYTE"), pixels)
    elif kind in ("TEXTURE_3D", "TEXTURE_2D_ARRAY", "TEXTURE_CUBE_MAP_ARRAY"):
        depth = 6 if kind == "TEXTURE_CUBE_MAP_ARRAY" else 4
        GL.glTexImage3D(target, 0, gl("RGBA8"), 4, 4, depth, 0, gl("RGBA"), gl("UNSIGNED_BYTE"), bytes(4 * 4 * 4 * 6))
    else:
        for face in range(6):
            target = gl("TEXTURE_CUBE_MAP_POSITIVE_X") + face
            GL.glTexImage2D(target, 0, gl("RGBA8"), 4, 4, 0, gl("RGBA"), gl("UNSIGNED_BYTE"), pixels)
    return texture


def host_program(shade: str = "vec4(0.25)") -> int:
    """Make a program of a host."""
    program = GL.glCreateProgram()
    for kind, source in (
        ("VERTEX_SHADER", "#version 330 core\nin vec2 at; void main() { gl_Position = vec4(at, 0.0, 1.0); }"),
        ("FRAGMENT_SHADER", f"#version 330 core\nout vec4 colour; void main() {{ colour = {shade}; }}"),
    ):
        shader = GL.glCreateShader(gl(kind))
        GL.glShaderSource(shader, source)
        GL.glCompileShader(shader)
        GL.glAttachShader(program, shader)
        GL.glDeleteShader(shader)
    GL.glLinkProgram(program)
    return int(program)


def _framebuffers() -> None:
    """Bind different framebuffers for drawing and reading, with depth, stencil, sRGB colour and unusual draw
    buffers."""
    for binding in ("DRAW_FRAMEBUFFER", "READ_FRAMEBUFFER"):
        texture = new(GL.glGenTextures)
        GL.glBindTexture(gl("TEXTURE_2D"), texture)
        GL.glTexImage2D(gl("TEXTURE_2D"), 0, gl("SRGB8_ALPHA8"), 8, 8, 0, gl("RGBA"), gl("UNSIGNED_BYTE"), None)
        GL.glBindFramebuffer(gl(binding), new(GL.glGenFramebuffers))
        GL.glFramebufferTexture2D(gl(binding), gl("COLOR_ATTACHMENT1"), gl("TEXTURE_2D"), texture, 0)
        depth = new(GL.glGenRenderbuffers)
        GL.glBindRenderbuffer(gl("RENDERBUFFER"), depth)
        GL.glRenderbufferStorage(gl("RENDERBUFFER"), gl("DEPTH24_STENCIL8"), 8, 8)
        GL.glFramebufferRenderbuffer(gl(binding), gl("DEPTH_STENCIL_ATTACHMENT"), gl("RENDERBUFFER"), depth)
    GL.glDrawBuffer(gl("COLOR_ATTACHMENT1"))
    GL.glReadBuffer(gl("COLOR_ATTACHMENT1"))


def _vertex_array() -> None:
    """Bind a vertex array with an element buffer and an attribute that reads past its buffer."""
    GL.glBindVertexArray(new(GL.glGenVertexArrays))
    for binding in ("ELEMENT_ARRAY_BUFFER", "ARRAY_BUFFER"):
        GL.glBindBuffer(gl(binding), new(GL.glGenBuffers))
        GL.glBufferData(gl(binding), 64, bytes(64), gl("STATIC_DRAW"))
    GL.glEnableVertexAttribArray(3)
    GL_2_0.glVertexAttribPointer(3, 4, gl("FLOAT"), False, 16, None)
    GL.glVertexAttribDivisor(3, 5)


def _samplers(units: list[int]) -> None:
    sampler = new(GL.glGenSamplers)
    GL.glSamplerParameteri(sampler, gl("TEXTURE_MIN_FILTER"), gl("NEAREST_MIPMAP_LINEAR"))
    GL.glSamplerParameteri(sampler, gl("TEXTURE_COMPARE_MODE"), gl("COMPARE_REF_TO_TEXTURE"))
    for unit in units:
        GL.glBindSampler(unit, sampler)


def _textures(units: list[int]) -> None:
    for unit in units:
        GL.glActiveTexture(gl("TEXTURE0") + unit)
        for kind in TEXTURE_BINDINGS:
            _texture(kind)


def _pixel_store(direction: str) -> None:
    for name, value in (("ALIGNMENT", 8), ("ROW_LENGTH", 77), ("SKIP_ROWS", 3), ("SKIP_PIXELS", 5), ("SWAP_BYTES", 1),
                        ("LSB_FIRST", 1), ("IMAGE_HEIGHT", 9), ("SKIP_IMAGES", 2)):  # fmt: skip
        GL.glPixelStorei(gl(f"{direction}_{name}"), value)


def _pixel_buffer(direction: str) -> None:
    GL.glBindBuffer(gl(f"PIXEL_{direction}_BUFFER"), new(GL.glGenBuffers))
    GL.glBufferData(gl(f"PIXEL_{direction}_BUFFER"), 16, b"\x55" * 16, gl("STREAM_DRAW"))


def _stencil() -> None:
    GL.glEnable(gl("STENCIL_TEST"))
    GL.glStencilFuncSeparate(gl("FRONT"), gl("NEVER"), 3, 0x0F)
    GL.glStencilFuncSeparate(gl("BACK"), gl("GREATER"), 2, 0xF0)
    GL.glStencilOp(gl("INVERT"), gl("INCR"), gl("DECR_WRAP"))
    GL.glStencilMaskSeparate(gl("FRONT"), 0x55)
    GL.glStencilMaskSeparate(gl("BACK"), 0xAA)
    GL.glClearStencil(7)


def _depth() -> None:
    GL.glEnable(gl("DEPTH_TEST"))
    GL.glDepthFunc(gl("NEVER"))
    GL.glDepthMask(False)
    GL.glDepthRange(0.25, 0.5)
    GL.glClearDepth(0.125)


def _blend_functions() -> None:
    GL.glBlendFuncSeparate(gl("ZERO"), gl("CONSTANT_COLOR"), gl("DST_ALPHA"), gl("SRC_ALPHA_SATURATE"))
    GL.glBlendEquationSeparate(gl("FUNC_REVERSE_SUBTRACT"), gl("MIN"))
    GL.glBlendColor(0.1, 0.2, 0.3, 0.4)


def _blend_functions_by_buffer() -> None:
    for i in range(N_BUFFERS):
        GL.glBlendFuncSeparatei(i, gl("ZERO"), gl("ONE") if i % 2 else gl("ZERO"), gl("DST_ALPHA"), gl("SRC_COLOR"))
        GL.glBlendEquationSeparatei(i, gl("MIN") if i % 2 else gl("MAX"), gl("FUNC_SUBTRACT"))


def _viewports() -> None:
    for i in range(N_VIEWPORTS):
        GL.glViewportIndexedf(i, 1.5 + i, 2.25, 3.0, 4.75)
        GL.glScissorIndexed(i, i, 1, 2, 3)
        GL.glEnablei(gl("SCISSOR_TEST"), i)


def _scissors(viewports: range, box: tuple[int, int, int, int]) -> None:
    for i in viewports:
        GL.glScissorIndexed(i, *box)
        GL.glEnablei(gl("SCISSOR_TEST"), i)


def _indexed_buffers(kind: str, *, whole: bool = False) -> None:
    """Bind ranges of buffers, or whole buffers, and another buffer to the binding without an index."""
    for i in range(INDEXED_BUFFERS[kind]):
        buffer = new(GL.glGenBuffers)
        GL.glBindBufferBase(gl(kind), i, buffer)
        if whole and i == 1:
            continue  # this buffer has no storage
        GL.glBufferData(gl(kind), 4096, b"\x55" * 4096, gl("STATIC_DRAW"))
        if not whole:
            GL.glBindBufferRange(gl(kind), i, buffer, 256 * (i + 1), 64 + 16 * i)
    GL.glBindBuffer(gl(kind), new(GL.glGenBuffers))


def image_texture() -> int:
    """An array texture with mipmap levels, which is not bound."""
    name = ctypes.c_uint()
    GL.glCreateTextures(gl("TEXTURE_2D_ARRAY"), 1, name)
    GL.glTextureStorage3D(name.value, 3, gl("RGBA8"), 8, 8, 5)
    return name.value


def _image_unit(unit: int, *, level: int, layered: bool, layer: int, access: str, kind: str) -> None:
    GL.glBindImageTexture(unit, image_texture(), level, layered, layer, gl(access), gl(kind))


def _image_units() -> None:
    for unit in range(N_IMAGE_UNITS):
        _image_unit(unit, level=unit % 3, layered=unit % 2 == 1, layer=unit, access="READ_ONLY", kind="R32UI")


def _pipeline() -> None:
    """Bind a pipeline object. A program may be bound, too, and both bindings must be kept."""
    pipeline = new(GL.glGenProgramPipelines)
    GL.glBindProgramPipeline(pipeline)


POISONS: dict[str, Callable[[], None]] = {
    **{name: lambda name=name: GL.glEnable(gl(name)) for name in CAPABILITIES if name not in ("DITHER", "MULTISAMPLE")},
    "DITHER off": lambda: GL.glDisable(gl("DITHER")),
    "MULTISAMPLE off": lambda: GL.glDisable(gl("MULTISAMPLE")),
    "framebuffers": _framebuffers,
    "viewports and scissors": _viewports,
    "scissor of every viewport, a pixel": lambda: _scissors(range(N_VIEWPORTS), (1, 1, 1, 1)),
    "scissor of every viewport, nothing": lambda: (GL.glEnable(gl("SCISSOR_TEST")), GL.glScissor(0, 0, 0, 0)),
    "scissor of viewport 3": lambda: _scissors(range(3, 4), (1, 1, 1, 1)),
    "scissor of viewport 0": lambda: _scissors(range(1), (1, 1, 1, 1)),
    "scissor of every viewport but the first": lambda: _scissors(range(1, N_VIEWPORTS), (0, 0, 1, 1)),
    "blend functions": lambda: (GL.glEnable(gl("BLEND")), _blend_functions()),
    "blend functions by buffer": lambda: (GL.glEnable(gl("BLEND")), _blend_functions_by_buffer()),
    "blend enables by buffer": lambda: [GL.glEnablei(gl("BLEND"), i) for i in (0, 2, 5)],
    "logic operation": lambda: (GL.glEnable(gl("COLOR_LOGIC_OP")), GL.glLogicOp(gl("NOOP"))),
    "colour mask": lambda: GL.glColorMask(False, False, True, False),
    "colour masks by buffer": lambda: [GL.glColorMaski(i, i % 2, 0, 1, i % 3 == 0) for i in range(N_BUFFERS)],
    "clear colour": lambda: GL.glClearColor(0.5, 0.25, 0.125, 1.0),
    "depth": _depth,
    "stencil": _stencil,
    "cull front and back": lambda: (GL.glEnable(gl("CULL_FACE")), GL.glCullFace(gl("FRONT_AND_BACK"))),
    "front face": lambda: (GL.glEnable(gl("CULL_FACE")), GL.glFrontFace(gl("CW"))),
    "sample mask": lambda: (GL.glEnable(gl("SAMPLE_MASK")), GL.glSampleMaski(0, 0)),
    "sample coverage": lambda: (GL.glEnable(gl("SAMPLE_COVERAGE")), GL.glSampleCoverage(0.0, False)),
    "sample shading": lambda: (GL.glEnable(gl("SAMPLE_SHADING")), GL.glMinSampleShading(0.75)),
    "polygon mode line": lambda: GL.glPolygonMode(gl("FRONT_AND_BACK"), gl("LINE")),
    "polygon mode point": lambda: GL.glPolygonMode(gl("FRONT_AND_BACK"), gl("POINT")),
    "polygon offset": lambda: (GL.glEnable(gl("POLYGON_OFFSET_FILL")), GL.glPolygonOffset(9.0, 1e6)),
    "points": lambda: (GL.glPointSize(5.0), GL.glPointParameterf(gl("POINT_FADE_THRESHOLD_SIZE"), 3.0)),
    "provoking vertex": lambda: GL.glProvokingVertex(gl("FIRST_VERTEX_CONVENTION")),
    "clip control": lambda: GL.glClipControl(gl("UPPER_LEFT"), gl("ZERO_TO_ONE")),
    "clamp": lambda: GL.glClampColor(gl("CLAMP_READ_COLOR"), gl("FALSE")),
    "hints": lambda: [GL.glHint(gl(name), gl("FASTEST")) for name in ("LINE_SMOOTH_HINT", "POLYGON_SMOOTH_HINT",
                                                                      "FRAGMENT_SHADER_DERIVATIVE_HINT")],
    "program": lambda: GL.glUseProgram(host_program()),
    "pipeline": _pipeline,
    "vertex array": _vertex_array,
    "textures, unit 0": lambda: _textures([0]),
    "textures, other units": lambda: _textures(units()[1:]),
    "active unit": lambda: GL.glActiveTexture(gl("TEXTURE0") + 11),
    "samplers": lambda: _samplers(units()),
    "pack store": lambda: _pixel_store("PACK"),
    "unpack store": lambda: _pixel_store("UNPACK"),
    "pack buffer": lambda: _pixel_buffer("PACK"),
    "unpack buffer": lambda: _pixel_buffer("UNPACK"),
    "primitive restart at 0": lambda: (GL.glEnable(gl("PRIMITIVE_RESTART")), GL.glPrimitiveRestartIndex(0)),
    "primitive restart at 2": lambda: (GL.glEnable(gl("PRIMITIVE_RESTART")), GL.glPrimitiveRestartIndex(2)),
    "buffers": lambda: [GL.glBindBuffer(gl(name), new(GL.glGenBuffers)) for name in (
        "COPY_READ_BUFFER", "COPY_WRITE_BUFFER", "DRAW_INDIRECT_BUFFER", "DISPATCH_INDIRECT_BUFFER", "QUERY_BUFFER",
        "TEXTURE_BUFFER")],
    "shader storage buffers, whole": lambda: _indexed_buffers("SHADER_STORAGE_BUFFER", whole=True),
    **{f"{kind.lower().replace('_', ' ')}s, ranges": lambda kind=kind: _indexed_buffers(kind)
       for kind in INDEXED_BUFFERS},
    "image unit 0, all layers to read and write": lambda: _image_unit(
        0, level=0, layered=True, layer=0, access="READ_WRITE", kind="RGBA8"),
    "image unit 0, a layer of a level": lambda: _image_unit(
        0, level=1, layered=False, layer=2, access="WRITE_ONLY", kind="R32F"),
    "image units": _image_units,
}  # fmt: skip
"""Functions that set one state each to an unusual value, which would change or prevent the drawing of a library that
does not set that state itself."""


# More state, which only compatibility contexts have.

COMPATIBILITY_CAPABILITIES = (
    "ALPHA_TEST", "POLYGON_STIPPLE", "FOG", "LIGHTING", "LIGHT0", "TEXTURE_2D", "NORMALIZE", "COLOR_MATERIAL",
    "LINE_STIPPLE", "POINT_SPRITE", "VERTEX_PROGRAM_TWO_SIDE", "INDEX_LOGIC_OP", "COLOR_SUM", "AUTO_NORMAL",
    "TEXTURE_GEN_S", "MAP2_VERTEX_3",
)  # fmt: skip
CLIENT_ARRAYS = ("VERTEX_ARRAY", "COLOR_ARRAY", "TEXTURE_COORD_ARRAY")
TRANSFERS = {
    "MAP_COLOR": 1, "MAP_STENCIL": 1, "INDEX_SHIFT": 3, "INDEX_OFFSET": 5, "RED_SCALE": 0.25, "GREEN_SCALE": 0.5,
    "ALPHA_SCALE": 0.125, "DEPTH_SCALE": 0.75, "RED_BIAS": 0.5, "BLUE_BIAS": 0.25, "ALPHA_BIAS": -1.0,
}  # fmt: skip
"""Pixel transfer. Each value would change the red channel when pixels are read or uploaded, or is for a channel that
must stay unchanged."""
COMPATIBILITY_FLOATS = {
    "ALPHA_TEST_REF": 1, "CURRENT_COLOR": 4, "TEXTURE_MATRIX": 16, "MODELVIEW_MATRIX": 16, "CLAMP_VERTEX_COLOR": 1,
    "CLAMP_FRAGMENT_COLOR": 1, **dict.fromkeys(TRANSFERS, 1),
}  # fmt: skip
_MAP = (ctypes.c_float * 4)(0.75, 0.5, 0.25, 0.0)
_CORNERS = (ctypes.c_float * 6)()


def compatibility_snapshot() -> dict[str, Any]:
    """The state of compatibility contexts that :func:`snapshot` does not have."""
    state: dict[str, Any] = {"POLYGON_MODE of both faces": _integers("POLYGON_MODE", 2)}
    for name in ("ALPHA_TEST_FUNC", "MATRIX_MODE", "CLIENT_ACTIVE_TEXTURE", "SHADE_MODEL", "LIST_BASE"):
        state[name] = _integers(name, 1)
    active = _integers("ACTIVE_TEXTURE", 1)[0]
    GL.glActiveTexture(gl("TEXTURE0"))  # higher units have no texture matrix
    for name, count in COMPATIBILITY_FLOATS.items():
        values = (ctypes.c_float * 16)()
        GL.glGetFloatv(gl(name), values)
        state[name] = tuple(values[:count])
    state |= {name: GL.glIsEnabled(gl(name)) for name in COMPATIBILITY_CAPABILITIES + CLIENT_ARRAYS}
    GL.glActiveTexture(active)
    size = _integers("PIXEL_MAP_R_TO_R_SIZE", 1)[0]
    values = (ctypes.c_float * size)()
    packed = _integers("PIXEL_PACK_BUFFER_BINDING", 1)[0]
    GL.glBindBuffer(gl("PIXEL_PACK_BUFFER"), 0)  # otherwise the values would be written to it
    GL.glGetPixelMapfv(gl("PIXEL_MAP_R_TO_R"), values)
    GL.glBindBuffer(gl("PIXEL_PACK_BUFFER"), packed)
    state["PIXEL_MAP_R_TO_R"] = tuple(values)
    return state


def _fixed_function() -> None:
    active = _integers("ACTIVE_TEXTURE", 1)[0]
    GL.glActiveTexture(gl("TEXTURE0"))
    for name in COMPATIBILITY_CAPABILITIES:
        if name not in ("ALPHA_TEST", "POLYGON_STIPPLE"):
            GL.glEnable(gl(name))
    GL.glColor4f(0.1, 0.2, 0.3, 0.4)
    GL.glShadeModel(gl("FLAT"))
    GL.glMatrixMode(gl("TEXTURE"))
    GL.glScalef(9.0, 0.0, 3.0)
    GL.glActiveTexture(active)


def _client_arrays() -> None:
    """Set client arrays in memory, without a vertex array object, as in OpenGL 1.1."""
    GL.glBindVertexArray(0)
    GL.glBindBuffer(gl("ARRAY_BUFFER"), 0)
    for name in CLIENT_ARRAYS:
        GL.glEnableClientState(gl(name))
    GL_1_1.glVertexPointer(2, gl("FLOAT"), 0, _CORNERS)
    GL_1_1.glColorPointer(3, gl("FLOAT"), 0, _CORNERS)
    GL_1_1.glTexCoordPointer(2, gl("FLOAT"), 0, _CORNERS)


def _pixel_map() -> None:
    unpacked = _integers("PIXEL_UNPACK_BUFFER_BINDING", 1)[0]
    GL.glBindBuffer(gl("PIXEL_UNPACK_BUFFER"), 0)  # otherwise the map would be read from it
    GL.glPixelMapfv(gl("PIXEL_MAP_R_TO_R"), 4, _MAP)
    GL.glBindBuffer(gl("PIXEL_UNPACK_BUFFER"), unpacked)
    GL.glPixelTransferi(gl("MAP_COLOR"), 1)


def _stipple() -> None:
    unpacked = _integers("PIXEL_UNPACK_BUFFER_BINDING", 1)[0]
    GL.glBindBuffer(gl("PIXEL_UNPACK_BUFFER"), 0)
    GL.glPolygonStipple((ctypes.c_ubyte * 4096)())  # draws no pixel, with any pixel-store settings
    GL.glBindBuffer(gl("PIXEL_UNPACK_BUFFER"), unpacked)
    GL.glEnable(gl("POLYGON_STIPPLE"))


COMPATIBILITY_POISONS: dict[str, Callable[[], None]] = {
    "alpha test": lambda: (GL.glEnable(gl("ALPHA_TEST")), GL.glAlphaFunc(gl("NEVER"), 0.5)),
    "polygon stipple": _stipple,
    "polygon modes of faces": lambda: (
        GL.glPolygonMode(gl("FRONT"), gl("LINE")), GL.glPolygonMode(gl("BACK"), gl("POINT"))),
    "polygon mode of the back": lambda: (
        GL.glPolygonMode(gl("FRONT"), gl("FILL")), GL.glPolygonMode(gl("BACK"), gl("LINE"))),
    "pixel map": _pixel_map,
    **{name: lambda name=name, value=value: GL.glPixelTransferf(gl(name), value) for name, value in TRANSFERS.items()
       if name != "MAP_COLOR"},
    "fixed function": _fixed_function,
    "client arrays": _client_arrays,
    "clamps": lambda: [GL.glClampColor(gl(f"CLAMP_{name}_COLOR"), gl("TRUE")) for name in ("VERTEX", "FRAGMENT")],
}  # fmt: skip
"""As POISONS, to be set in this order."""
