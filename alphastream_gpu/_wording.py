"""
Wording: the parts of error messages that differ between Python, C and the command line. Pure.

Strategy
--------
The code that raises an error does not know who reads the message: a Python program, a C host or a user of the command
line. Each of them can set different things. So a message is written for Python, and each part that names something to
set is a :class:`Phrase` of this module, which has the words for every reader. A reader's interface replaces the phrases
in a message: :func:`said_in_c` and :func:`said_on_command_line`.

An attribute of the exception with the name of the option was rejected. Messages become parts of other messages, such as
"not read within 30 s; so far: ...", and the attribute of the inner error would be lost.

The options of the encoder and of exports are handled in a simpler way, because there are many and C hosts do not have
them. Their messages name them as Python does, ``fit='pad'``, ``threshold=`` or ``native_size: expected``, and
:func:`said_on_command_line` replaces these by ``--fit pad``, ``--threshold`` and ``--native-size: expected``.

``tests/cli/test_wording.py`` checks that all other texts of the package contain no words of Python.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

__all__ = [
    "ABOUT_HEADERS",
    "ABOUT_SOURCE",
    "FROM_PIPE",
    "INSTEAD_OF_STRIP",
    "MAX_FRAMES",
    "MAX_FRAME_BYTES",
    "NEEDS_CACHE",
    "NOT_ASKED",
    "PATH_AS_CONTENT",
    "PHRASES",
    "SENT_HEADERS",
    "VALIDATED",
    "WHOLE_FILE_CAP",
    "Phrase",
    "said_in_c",
    "said_in_python",
    "said_on_command_line",
]


@dataclass(frozen=True)
class Phrase:
    """
    A part of a message in the words of each interface. ``{}`` stands for a number, in all forms or in none.

    In an f-string, a phrase is its form for Python.
    """

    python: str
    c: str
    command_line: str
    http_source: str = ""
    """The form for callers of ``HttpSource``, whose options have other names than those of ``Config``. Messages of that
    class are made of this form, and :func:`said_in_python` replaces it for a source that was made from a ``Config``."""
    begins: bool = False
    """Whether the phrase is found only at the start of a message, or of a message within a message."""

    def __str__(self) -> str:
        return self.python

    def of(self, number: int) -> str:
        """The form for Python, with a number."""
        return self.python.format(number)


ABOUT_SOURCE: Final = Phrase("source: expected", "base_url: expected", "input: expected", begins=True)
ABOUT_HEADERS: Final = Phrase("headers:", 'CV_set_option "http_header":', "--header:", begins=True)
SENT_HEADERS: Final = Phrase(
    "check whether the given client adds headers that HTTP does not allow, and check `headers`",
    'check the headers of CV_set_option "http_header"',
    "check the headers of --header",
)
FROM_PIPE: Final = Phrase(
    "so read a pipe into memory and open the bytes",
    "so write what the pipe holds to a file first",
    "so give the pipe by its path, not by a URL",  # a pipe that is given by its path is read into memory
)
PATH_AS_CONTENT: Final = Phrase(
    "give a path or URL as str or Path", "pass a path or URL as base_url", "give a path or URL as an argument"
)
WHOLE_FILE_CAP: Final = Phrase(
    "(http_whole_file_cap)",
    '(CV_set_option "http_whole_file_cap")',
    "by this command; download the file and give its path",
    http_source="(whole_file_cap)",
)
VALIDATED: Final = Phrase(
    "open it again, or see http_validate",
    'call CV_init again, or see CV_set_option "http_validate"',
    "run the command again",
    http_source="open it again, or see validate",
)
MAX_FRAME_BYTES: Final = Phrase(
    "max_frame_bytes={}", '{} bytes (CV_set_option "max_frame_bytes")', "the limit of {} bytes"
)
MAX_FRAMES: Final = Phrase("max_frames={} frames", '{} frames (CV_set_option "max_frames")', "the limit of {} frames")
NOT_ASKED: Final = Phrase(
    "the server is not asked (http_offline)",
    'the server is not asked (CV_set_option "http_offline")',
    "the server is not asked",
)
NEEDS_CACHE: Final = Phrase(
    "http_offline: needs cache_dir, the folder of the disk cache",
    'CV_set_option "http_offline": needs CV_set_option "cache_dir", the folder of the disk cache',
    "the disk cache has no folder",
)
INSTEAD_OF_STRIP: Final = Phrase(
    "use the mask or a parity strip", "use the mask, CV_get_frame", "render the mask instead"
)

PHRASES: Final = (
    ABOUT_SOURCE,
    ABOUT_HEADERS,
    SENT_HEADERS,
    FROM_PIPE,
    PATH_AS_CONTENT,
    WHOLE_FILE_CAP,
    VALIDATED,
    MAX_FRAME_BYTES,
    MAX_FRAMES,
    NOT_ASKED,
    NEEDS_CACHE,
    INSTEAD_OF_STRIP,
)


def said_in_c(message: str) -> str:
    """The message in the words for C hosts."""
    for phrase in PHRASES:
        message = _replaced(message, phrase, phrase.python, phrase.c)
    return message


_ENCODER_OPTIONS: Final = (
    "bits|channel|codec|effort|eye|fit|fps|frames|gaps|invert|jobs|layout|min_area|min_iou|native_size|objects|packed"
    "|quality|range|resume|size|start|threshold|tolerance|verify|video"
)
_AS_ARGUMENT: Final = re.compile(rf"(?<!\w)({_ENCODER_OPTIONS})=('?)([\w-]*)\2")
_AS_SUBJECT: Final = re.compile(rf"(?:^|(?<=: ))({_ENCODER_OPTIONS})(?=: )|\b(min_area|min_iou|native_size)\b")


def said_on_command_line(message: str) -> str:
    """The message in the words for users of the command line."""
    for phrase in PHRASES:
        message = _replaced(message, phrase, phrase.python, phrase.command_line)
    message = _AS_ARGUMENT.sub(lambda found: _as_option(found[1], found[3]), message)
    return _AS_SUBJECT.sub(lambda found: _as_option(found[0]), message)


def _as_option(name: str, value: str = "") -> str:
    """An argument of Python as an option of the command line."""
    word = name.replace("_", "-")
    if value in ("True", "False"):
        return f"--{word}" if value == "True" else f"--no-{word}"
    return f"--{word} {value}".rstrip()


def said_in_python(message: str) -> str:
    """The message of an ``HttpSource``, with the names of the options in ``Config``."""
    for phrase in PHRASES:
        if phrase.http_source:
            message = _replaced(message, phrase, phrase.http_source, phrase.python)
    return message


def _replaced(message: str, phrase: Phrase, old: str, new: str) -> str:
    start = r"(?:^|(?<=: ))" if phrase.begins else ""
    pattern = start + r"(\d+)".join(map(re.escape, old.split("{}")))
    return re.sub(pattern, lambda found: new.format(*found.groups()), message)
