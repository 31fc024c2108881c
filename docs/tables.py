"""
Write the tables of architecture.md, errors.md, troubleshooting.md and commands.md from the code:
``python docs/tables.py``. A test compares them.

What a code, a class or a lack is comes from the code; what to do about an error is said here. A code, class or lack
that is new has no words here, which fails with a KeyError.
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
from alphastream_gpu._context.cures import _REMEDIES, Situation

__all__ = ["TABLES", "with_tables"]

HERE = Path(__file__).resolve().parent

WHAT_TO_DO = {
    ErrorCode.NONE: "Nothing.",
    ErrorCode.NOT_FOUND: "Ask for another frame; `metadata.frame_count` tells how many there are.",
    ErrorCode.INVALID: "Fix the call. In C also: the handle is null, destroyed or made up; this is a forked child; the"
    " passphrase is missing or malformed.",
    ErrorCode.NOT_READY: "Load a source. After another one was loaded meanwhile: ask again.",
    ErrorCode.TIMEOUT: "Show the last mask again, and ask again for the next picture.",
    ErrorCode.DECODE: "A frame: skip it, others may be fine. A file: it is damaged, or the [key](keys.md) is wrong.",
    ErrorCode.TRANSPORT: "Ask again; the message tells what failed. Nothing is remembered as failed.",
    "AlphaStreamError": "Catch it to catch all of them.",
    "DecodeError": "See which frame the message names. Is it over a limit, raise `max_frame_bytes` or `max_frames`;"
    " where a cover strip is refused, use the mask.",
    "KeyMismatchError": "Check the four things that a [key](keys.md) is made from; the message lists them.",
    "PassphraseError": "Set `ALPHASTREAM_PASSPHRASE` to 64 hexadecimal digits, or give `AsvrKey` 32 bytes. In C also:"
    ' `CV_set_option(handle, "passphrase", ...)`.',
    "TransportError": "Try again, or see to the disk, the network or the server.",
    "FrameNotFoundError": "Ask for an index from 0 to `frame_count - 1`.",
    "NotReadyError": "`load_source` first.",
    "FrameTimeoutError": "Try again, or give more time: `init_timeout`, `http_deadline`, `get_frame_timebox`.",
    "GLUnavailableError": "Do what the message says; [Troubleshooting](troubleshooting.md) has all of it.",
    "WrongContextError": "Call the renderer on its thread, with its context current, and not from within its own call.",
    "ClosedError": "Open the stream again. While another thread closes it, this is how waiting calls end.",
}
"""By code, and by the class's name."""

MEANS = {
    Situation.EGL_LIBRARY: "Contexts without a window come from EGL. Its library is not installed, or does not load.",
    Situation.GL_LIBRARY: "OpenGL's own library is not installed, or does not load.",
    Situation.X11_LIBRARY: "Only contexts through an X server need it.",
    Situation.OPENGL_LIBRARY: "Only PyOpenGL needs it, when it goes through EGL.",
    Situation.VENDOR: "EGL is there, but no file names a driver's library, or the library named does not load.",
    Situation.DRIVER: "It is there and fails when it is started: the wrong one is forced, or half of it is installed.",
    Situation.NODE: "GPUs are files, `/dev/dri/renderD128` and so on, and this user may not open this one.",
    Situation.VERSION: "Masks need OpenGL 3.3 core.",
    Situation.CURRENT: "A thread has one current context, and the one to be made goes through another interface.",
    Situation.DISPLAY: "Windows need one; masks do not.",
    Situation.DEVICE_INDEX: "A device was chosen by a variable that is not a number from 0.",
    Situation.GLCONTEXT: "The package that makes contexts was built without the part for this way.",
    Situation.GLFW: "Only windows need it, as in the examples.",
    Situation.DIFFERENT: "The driver draws some pixel otherwise than it should, so the CPU makes the masks.",
    Situation.SOFTWARE: "The CPU draws: the same masks, slower.",
    Situation.OTHER: "What the driver says is shown as it is.",
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


def cures() -> str:
    sections = []
    for situation in Situation:
        remedy = _REMEDIES[situation]
        lines = [f"### {situation.value[0].upper()}{situation.value[1:]}", "", MEANS[situation], ""]
        seen = [f"`{_readable(pattern)}`" for pattern, one, _ in _MEANINGS if one is situation]
        if seen:
            lines.append(f"- what drivers and libraries say: {', '.join(seen)}")
        if remedy.culprits:
            lines.append(f"- if it is set, unset {' or '.join(f'`{name}`' for name in remedy.culprits)}")
        if remedy.debian:
            lines.append(f"- Debian, Ubuntu: `apt-get install {remedy.debian}`")
            lines.append(f"- Fedora: `dnf install {remedy.fedora}`")
        if remedy.words:
            lines.append(f"- {remedy.words}")
        if remedy.has_nvidia_cure:
            lines.append("- an NVIDIA GPU in a container: [see above](#in-a-container-with-an-nvidia-gpu)")
        sections.append("\n".join(lines))
    return "\n\n".join(sections)


def _readable(pattern: str) -> str:
    """A pattern as somebody would say it who has seen the text."""
    return re.sub(r"\\w\+|\.\*", "...", pattern).replace("\\", "").replace("|", "` or `")


def commands() -> str:
    """Each command with its arguments and options, as click has them."""
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
    """The modules of the package by room, the lowest room first, with what their docstrings begin with."""
    levels = layout.levels()
    lines = ["| room | file | what is in it |", "|---|---|---|"]
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
    "troubleshooting.md": {"cures": cures},
    "commands.md": {"commands": commands},
}


def with_tables(page: str) -> str:
    """A page's text with its tables as the code has them now."""
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
