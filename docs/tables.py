"""
Write the tables of architecture.md, errors.md, troubleshooting.md and commands.md from the code:
``python docs/tables.py``. A test compares them.

The code describes each error code, class and situation. This module adds what to do about it. A new code, class or
situation without a text here raises a KeyError.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from inspect import cleandoc, getdoc
from pathlib import Path

import click
import griffe
import layout

from alphastream_gpu import AlphaStreamError, ErrorCode, _exceptions
from alphastream_gpu._capi.declarations import error_codes
from alphastream_gpu._cli import cli
from alphastream_gpu._context.causes import _MEANINGS
from alphastream_gpu._context.fixes import _FIXES, Situation

__all__ = ["TABLES", "with_tables"]

HERE = Path(__file__).resolve().parent

WHAT_TO_DO = {
    ErrorCode.NONE: "Nothing.",
    ErrorCode.NOT_FOUND: "Ask for an existing frame; `metadata.frame_count` is the number of frames.",
    ErrorCode.INVALID: "Fix the call. In C also: the handle is invalid; the process is a forked child; the passphrase"
    " is missing or malformed.",
    ErrorCode.NOT_READY: "Load a source. If another source was loaded meanwhile, ask again.",
    ErrorCode.TIMEOUT: "Show the last mask again, and ask again at the next picture.",
    ErrorCode.DECODE: "A frame: skip it; other frames may be valid. A file: it is damaged, or the [key](keys.md) is"
    " wrong.",
    ErrorCode.TRANSPORT: "Ask again. The message names the failure. No failure is cached.",
    "AlphaStreamError": "Catch this class to catch all errors.",
    "DecodeError": "The message names the frame. If a limit is exceeded, raise `max_frame_bytes` or `max_frames`. If"
    " a cover strip is refused, use the mask.",
    "KeyMismatchError": "Check the four values that a [key](keys.md) is made from. The message lists them.",
    "PassphraseError": "Set `ALPHASTREAM_PASSPHRASE` to 64 hexadecimal digits, or pass 32 bytes to `AsvrKey`. In C"
    ' also: `CV_set_option(handle, "passphrase", ...)`.',
    "TransportError": "Try again, or check the disk, the network or the server.",
    "FrameNotFoundError": "Ask for an index from 0 to `frame_count - 1`.",
    "NotReadyError": "Call `load_source` first.",
    "FrameTimeoutError": "Try again, or raise `init_timeout`, `http_deadline` or `get_frame_timebox`.",
    "GLUnavailableError": "Follow the message. [Troubleshooting](troubleshooting.md) lists all fixes.",
    "WrongContextError": "Call the renderer on its thread, with its context current, and not from within its own call.",
    "BulkError": "The message names what failed. With `resume=`, the same call computes only that again.",
    "ClosedError": "Open the stream again. If another thread closes a stream, waiting calls raise this error.",
}
"""By error code, and by the name of the class."""

MEANS = {
    Situation.EGL_LIBRARY: "Contexts without a window need EGL. The EGL library is not installed, or does not load.",
    Situation.GL_LIBRARY: "The OpenGL library is not installed, or does not load.",
    Situation.X11_LIBRARY: "Only contexts through an X server need this library.",
    Situation.OPENGL_LIBRARY: "Only PyOpenGL needs this library, when it uses EGL.",
    Situation.VENDOR: "EGL is installed, but no vendor file names a driver's library, or that library does not load.",
    Situation.DRIVER: "The driver is installed but does not start. A variable selects the wrong driver, or only a part"
    " of the driver is installed.",
    Situation.NODE: "A GPU is a file, such as `/dev/dri/renderD128`. This user has no permission to open it.",
    Situation.VERSION: "Masks need OpenGL 3.3 core.",
    Situation.CURRENT: "A thread has one current context. A context of another interface cannot replace it.",
    Situation.DISPLAY: "Windows need an X server; masks do not.",
    Situation.DEVICE_INDEX: "The variable that selects a device is not a number from 0.",
    Situation.GLCONTEXT: "The package that creates contexts was built without the part for this interface.",
    Situation.GLFW: "Only windows need GLFW, as in the examples.",
    Situation.DIFFERENT: "The driver draws some pixels wrong, so the CPU makes the masks.",
    Situation.SOFTWARE: "The CPU renders the same masks, but slower.",
    Situation.OTHER: "The driver's message is shown unchanged.",
}


def codes() -> str:
    in_c = {error.name: name for name, error in error_codes().items()}
    members = griffe.load("alphastream_gpu._exceptions", search_paths=[HERE.parent])["ErrorCode"].members
    rows = ["| code | name | what it means | what to do |", "|---|---|---|---|"]
    for code in ErrorCode:
        said = members[code.name].docstring
        assert said is not None
        rows.append(f"| {int(code)} | `{code.name}`, in C `{in_c[code.name]}` | {said.value} | {WHAT_TO_DO[code]} |")
    return "\n".join(rows)


def classes() -> str:
    rows = ["| class | code | what it means | what to do |", "|---|---|---|---|"]
    for name in _exceptions.__all__:
        error = getattr(_exceptions, name)
        if not issubclass(error, AlphaStreamError):
            continue
        others = ", ".join(f"`{base.__name__}`" for base in error.__bases__ if base is not AlphaStreamError)
        also = f", also {others}" if error is not AlphaStreamError else ""
        meaning = (getdoc(error) or "").partition("\n")[0]
        rows.append(f"| `{name}`{also} | `{error.code.name}` | {meaning} | {WHAT_TO_DO[name]} |")
    return "\n".join(rows)


def fixes() -> str:
    """What is wrong in each situation, and its fixes."""
    sections = []
    for situation in Situation:
        fix = _FIXES[situation]
        lines = [f"### {situation.value[0].upper()}{situation.value[1:]}", "", MEANS[situation], ""]
        seen = [f"`{_readable(pattern)}`" for pattern, one, _ in _MEANINGS if one is situation]
        if seen:
            lines.append(f"- messages of drivers and libraries: {', '.join(seen)}")
        if fix.variables:
            lines.append(f"- variables to unset, if set: {', '.join(f'`{name}`' for name in fix.variables)}")
        if fix.debian:
            lines.append(f"- Debian, Ubuntu: `apt-get install {fix.debian}`")
            lines.append(f"- Fedora: `dnf install {fix.fedora}`")
        if fix.words:
            lines.append(f"- {fix.words}")
        if fix.has_nvidia_fix:
            lines.append("- an NVIDIA GPU in a container: [see above](#in-a-container-with-an-nvidia-gpu)")
        sections.append("\n".join(lines))
    return "\n\n".join(sections)


def _readable(pattern: str) -> str:
    """Return a pattern in the form of the messages that it matches."""
    return re.sub(r"\\w\+|\.\*", "...", pattern).replace("\\", "").replace("|", "` or `")


def commands() -> str:
    """Each command with its arguments and options, from click."""
    sections = []
    for name, command in sorted(cli.commands.items()):
        context = click.Context(command, info_name=f"alphastream {name}")
        usage = " ".join([context.info_name or "", *command.collect_usage_pieces(context)[1:]])
        rows = [f"### {name}", "", f"`{usage} [OPTIONS]`", "", *(cleandoc(command.help or "").splitlines()), ""]
        options = [option for option in command.params if isinstance(option, click.Option)]
        if options:
            rows += ["| option | what it is |", "|---|---|", *(_option(option, context) for option in options)]
        sections.append("\n".join(rows).rstrip())
    return "\n\n".join(sections)


def _option(option: click.Option, context: click.Context) -> str:
    kind = option.type
    if isinstance(kind, click.Choice):
        value = "/".join(kind.choices)
    elif option.is_flag:
        value = ""
    else:
        value = {"integer range": "N", "WxH": "WxH"}.get(kind.name, kind.name.upper())
    names = ", ".join(f"`{name}{' ' + value if value and name.startswith('--') else ''}`" for name in option.opts)
    default = option.get_default(context)
    remark = " Required." if option.required else f" Default: {default}." if option.show_default else ""
    return f"| {names} | {option.help}{remark} |"


def modules() -> str:
    """The modules of the package by room, the lowest room first, with the first sentence of their docstrings."""
    levels = layout.levels()
    lines = ["| part | file | what is in it |", "|---|---|---|"]
    for room in sorted(levels, key=lambda room: (levels[room], room)):
        names = sorted(name for name in layout.module_imports() if layout.room_of(name) == room)
        for name in names:
            is_folder = (layout.PACKAGE / name.replace(".", "/")).is_dir() and name != ""
            place = "" if is_folder else f"`{(name.replace('.', '/') or '__init__').removeprefix(room + '/')}.py`"
            where = f"`{room}/`" if name == room and is_folder else ""
            if is_folder and name != room:
                place = f"`{name.removeprefix(room + '.')}/`"
            lines.append(f"| {where} | {place} | {layout.purpose(name).replace('|', chr(92) + '|')} |")
    return "\n".join(lines)


TABLES: dict[str, dict[str, Callable[[], str]]] = {
    "architecture.md": {"modules": modules},
    "errors.md": {"codes": codes, "classes": classes},
    "troubleshooting.md": {"fixes": fixes},
    "commands.md": {"commands": commands},
}


def with_tables(page: str) -> str:
    """Return a page's text with its tables generated from the current code."""
    text = (HERE / page).read_text()
    for name, make in TABLES[page].items():
        begin, end = f"<!-- made by docs/tables.py: {name} -->\n", "\n<!-- end -->"
        before, _, rest = text.partition(begin)
        assert rest, f"{page}: no place for {name}"
        text = f"{before}{begin}\n{make()}\n{end}{rest.partition(end)[2]}"
    return text


if __name__ == "__main__":
    for page in TABLES:
        (HERE / page).write_text(with_tables(page))
