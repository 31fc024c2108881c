"""
Messages for users of the command line and for C hosts: they name only what these can set.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest
from support import PACKAGE

from alphastream_gpu import Config, HttpSource, _cli, _wording
from alphastream_gpu._config import OPTIONS as CONFIG_OPTIONS
from alphastream_gpu._sources.http.source import _OPTIONS
from alphastream_gpu._wording import PHRASES, said_in_c, said_in_python, said_on_command_line

CONFIG = [option.name for option in CONFIG_OPTIONS if "_" in option.name or option.name == "http2"]
OF_PYTHON = re.compile(
    r"\b(await|aclose|asynchronous|bytes-like|str|Path|None|True|False|ndarray|uint8|int32|pickled)\b"
    r"|\b(AlphaStream|AsvrKey|AsyncClient|Config|FrameGeometry|HttpSource|MaskRenderer|MemorySource|Source)\b"
    r"|\b(callable|moderngl|finalizer)\b|\w\(\)|\b[a-z_0-9]+=|`",
)
"""Words that tell only Python callers something."""
OPTIONS = re.compile(rf"\b({'|'.join([*CONFIG, *(name for name in _OPTIONS if '_' in name)])})\b")

ONLY_PYTHON = {
    "__init__": "attributes of the package",
    "_arrays": "arrays for Python programs",
    "_builder": "the fluent interface",
    "testing": "for authors of sources",
    "_gl": "contexts of the caller; the commands make their own",
    "_context/doctor": "a report, no error",
    "_context/facts": "a report, no error",
    "_context/making": "causes of other errors, explained by causes.py",
    "_capi/declarations": "C code",
    "_capi/build": "C code, and errors about the compiler and packages",
    "_sources/guest": "sources of the caller",
    "_sources/http/locate": "URL callables",
    "_stream/clock": "the clock of Python callers",
    "_geometry/frame": "arguments of FrameGeometry",
    "_inputs/detections": "objects of Python libraries",
    "_inputs/options": "values of InputOptions, which click checks before",
    "_raster/compiled": "the types of a compiled function",
}
"""Modules whose messages reach only Python callers."""
ONLY_PYTHON_TEXTS = (
    "strict=False accepts",  # without a key; the command line and C hosts always give a LateKey
    "AsvrKey(..., resource_name=)",  # KeyWords for Python; the others have their own
    "scene_id={}",
    "version={!r}",
    "resource_name={!r}",
    "cannot be pickled",
    "cannot be pickled or copied",
    "key: expected an AsvrKey",
    "expected a str, found",
    "headers, client: only for",
    "a contiguous bytes-like object or a Source",
    "client: ",
    "the URL callable",
    "expected str names",
    "a signal handler, a finalizer",
    "add frames before close()",
    "expected a FrameGeometry or its payload",
    "device=",  # the device of create_headless_context; the command line has no such option
    "glfw.make_context_current(None)",  # nothing is current when a command creates a context
    "httpx.AsyncClient | Callable",  # a type
    "::1]",  # the types of a compiled function
    "Literal['uint8'] | type[np.uint8]",  # a type
    "expected a slice or a list of integers or bools",  # arguments of rasterize
    "expected one dimension of integers or bools",
    "dtype: expected uint8 or bool",
    "bytes | bytearray | memoryview",
    "str | os.PathLike[str] | Source",
    "as the first mirror",
    "bytes={",  # the header Range
    "NVIDIA_DRIVER_CAPABILITIES=",
    "get_frame and get_geometry wait",
    "kind: expected",
    "verify: expected True",
    "out: expected an array of uint8",  # the caller's array
    "mask: expected bool or uint8",  # of encode_mask
    "mask: expected an array of uint8",  # of MaskEncoder.encode_packed
    "found an asynchronous one",  # a client of dask
    "expected the address of a scheduler",
)
ENCODER = (
    "_comparing/",
    "_encoding/",
    "_exporting/",
    "_inputs/",
    "_writing/encod",
    "_writing/jobs",
    "_writing/spool",
    "_writing/trial",
)
"""Modules whose messages reach no C host. The command line replaces their options by a rule."""


def texts() -> Iterator[tuple[str, str]]:
    """Each text with a space in the package, in the form ``module, text``; a replaced part is ``{}``."""
    for path in sorted(PACKAGE.rglob("*.py")):
        module = str(path.relative_to(PACKAGE).with_suffix(""))
        if not any(module == name or module.startswith(f"{name}/") for name in ONLY_PYTHON):
            for text in texts_of(ast.parse(path.read_text("utf-8"))):
                yield module, said_on_command_line(text) if module.startswith(ENCODER) else text


def texts_of(tree: ast.AST) -> Iterator[str]:
    """The texts below a node, but no docstrings, reprs, log records, types, or descriptions of options."""
    if isinstance(tree, ast.Expr) and isinstance(tree.value, ast.Constant):
        return
    if isinstance(tree, ast.FunctionDef) and tree.name in ("__repr__", "_option"):
        return
    if isinstance(tree, ast.Call):
        name = ast.unparse(tree.func)
        if name.startswith(("_log.", "click.option", "_option", "re.compile")):
            return
    if isinstance(tree, ast.JoinedStr):
        yield "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in tree.values)
    elif isinstance(tree, ast.Constant) and isinstance(tree.value, str) and " " in tree.value:
        yield tree.value
    else:
        for child in ast.iter_child_nodes(tree):
            yield from texts_of(child)


def test_no_message_names_what_only_python_callers_can_set() -> None:
    """A part of a message that does is a phrase of _wording.py, and no text of its module contains it."""
    wrong = [
        (module, text)
        for module, text in texts()
        if module != "_wording"
        and (OF_PYTHON.search(text) or (OPTIONS.search(text) and module not in ("_config", "_capi/options")))
        and not any(known in text for known in ONLY_PYTHON_TEXTS)
    ]
    assert wrong == []


def test_the_search_finds_such_messages() -> None:
    for text in (
        "over max_frame_bytes=12",
        "up to 5 bytes (whole_file_cap)",
        "see http_validate",
        "needs key=AsvrKey(...)",
        "give a path as str or Path",
        "await it first",
        "pass Config(http2=True)",
    ):
        assert OF_PYTHON.search(text) or OPTIONS.search(text), text


def test_each_phrase_has_the_words_of_each_interface() -> None:
    for phrase in PHRASES:
        assert phrase.python.count("{}") == phrase.c.count("{}") == phrase.command_line.count("{}")
        message = f"{phrase.of(12)} more" if "{}" in phrase.python else f"{phrase} more"
        assert not OF_PYTHON.search(said_in_c(message)), phrase
        in_c = re.sub(r'CV_set_option "\w+"', "", said_in_c(message))
        assert not OPTIONS.search(in_c), phrase
        on_command_line = said_on_command_line(message)
        assert not OF_PYTHON.search(on_command_line), phrase
        assert not OPTIONS.search(on_command_line), phrase
        assert "CV_" not in on_command_line


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("native_size: expected 9 x 9", "--native-size: expected 9 x 9"),
        (
            "pass fit='stretch' or 'pad', or leave native_size out",
            "pass --fit stretch or 'pad', or leave --native-size out",
        ),
        ("a.npy: threshold: an array of int16 needs one", "a.npy: --threshold: an array of int16 needs one"),
        ("pass threshold= and fps=, or", "pass --threshold and --fps, or"),
        ("pass resume=False to begin anew", "pass --no-resume to begin anew"),
        ("3 numbers are missing (gaps=repeat)", "3 numbers are missing (--gaps repeat)"),
        ("frame 3: range 0..255, frames of 9 x 9", "frame 3: range 0..255, frames of 9 x 9"),
        ("retina_masks=True and my_fit=3", "retina_masks=True and my_fit=3"),
    ],
)
def test_options_of_the_encoder(message: str, said: str) -> None:
    assert said_on_command_line(message) == said


def test_every_option_of_the_encoder_is_known() -> None:
    """Of the command, and of the rule that rewrites messages."""
    encode, export = ({parameter.name for parameter in _cli.cli.commands[name].params} for name in ("encode", "export"))
    known = set(_wording._ENCODER_OPTIONS.split("|"))
    assert known <= encode | export
    assert encode - known == {"sources", "output", "stable", "dry_run", "as_json", "scene_id", "stream_version"} | {
        "target_name"
    }
    assert export - known == {"file", "output", "as_json", "scene_id", "stream_version", "resource_name", "headers"}


def test_every_phrase_is_used_and_listed() -> None:
    named = {name: thing for name, thing in vars(_wording).items() if isinstance(thing, _wording.Phrase)}
    assert set(PHRASES) == set(named.values())
    code = "".join(path.read_text("utf-8") for path in PACKAGE.rglob("*.py") if path.name != "_wording.py")
    assert [name for name in named if not re.search(rf"\{{{name}\b", code)] == []


def test_phrases_in_a_message_within_a_message() -> None:
    inner = f"sizes table: inflates past 80 bytes, more than {_wording.MAX_FRAMES.of(10)}"
    message = f"not read within 3 s; so far: {inner}"
    assert said_in_c(message).endswith('more than 10 frames (CV_set_option "max_frames")')
    assert said_on_command_line(message).endswith("more than the limit of 10 frames")
    assert said_on_command_line("the source: expected") == "the source: expected"
    assert said_on_command_line("opening: source: expected a path") == "opening: input: expected a path"


@pytest.mark.parametrize("name", [name for name, option in _OPTIONS.items() if name != option])
def test_http_sources_have_their_own_names_of_options(name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name}: expected"):
        HttpSource("http://host/a.asvp", **{name: -1})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=f"^http_{name}: expected"):
        Config(**{f"http_{name}": -1})
    assert said_in_python("up to 5 bytes (whole_file_cap)") == "up to 5 bytes (http_whole_file_cap)"
