"""
The error classes and the table that maps foreign errors to them.
"""

from __future__ import annotations

import pickle
import zlib
from collections.abc import Iterator

import pytest

import alphastream_gpu
from alphastream_gpu import AlphaStreamError, ErrorCode
from alphastream_gpu._exceptions import ERROR_MAP, mapped_errors

CODES = {
    "AlphaStreamError": ErrorCode.INVALID,
    "BulkError": ErrorCode.TRANSPORT,
    "ClosedError": ErrorCode.INVALID,
    "DecodeError": ErrorCode.DECODE,
    "FrameNotFoundError": ErrorCode.NOT_FOUND,
    "FrameTimeoutError": ErrorCode.TIMEOUT,
    "GLUnavailableError": ErrorCode.NOT_READY,
    "KeyMismatchError": ErrorCode.DECODE,
    "NotReadyError": ErrorCode.NOT_READY,
    "PassphraseError": ErrorCode.INVALID,
    "TransportError": ErrorCode.TRANSPORT,
    "WrongContextError": ErrorCode.INVALID,
}


def test_every_error_is_in_the_tree_and_has_its_code() -> None:
    everything = {name: getattr(alphastream_gpu, name) for name in alphastream_gpu.__all__}
    errors = {name for name, thing in everything.items() if isinstance(thing, type) and issubclass(thing, Exception)}
    assert errors == set(CODES)
    for name, code in CODES.items():
        error = getattr(alphastream_gpu, name)
        assert issubclass(error, AlphaStreamError)
        assert error.code is code


def test_codes_have_the_documented_numbers() -> None:
    assert {code.name: int(code) for code in ErrorCode} == {
        "NONE": 0,
        "NOT_FOUND": 3,
        "INVALID": -1,
        "NOT_READY": -2,
        "TIMEOUT": -3,
        "DECODE": -4,
        "TRANSPORT": -5,
    }


@pytest.mark.parametrize("name", CODES)
def test_errors_survive_pickling(name: str) -> None:
    error = getattr(alphastream_gpu, name)("what, where", frame_index=4)
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert (str(again), again.frame_index) == ("what, where", 4)


@pytest.mark.parametrize("builtin", [ValueError, OSError, IndexError, TimeoutError, RuntimeError])
def test_errors_are_also_builtin_exceptions(builtin: type[Exception]) -> None:
    assert any(issubclass(getattr(alphastream_gpu, name), builtin) for name in CODES)


@pytest.mark.parametrize(
    ("foreign", "ours"),
    [
        (zlib.error("bad"), alphastream_gpu.DecodeError),
        (TimeoutError(), alphastream_gpu.FrameTimeoutError),
        (FileNotFoundError(2, "No such file", "secret/path"), alphastream_gpu.TransportError),
        (ConnectionResetError(), alphastream_gpu.TransportError),
    ],
)
def test_the_mapping_table(foreign: Exception, ours: type[AlphaStreamError]) -> None:
    with pytest.raises(ours, match=r"^doing this: ") as caught, mapped_errors("doing this"):
        raise foreign
    assert caught.value.__cause__ is foreign
    assert "secret" not in str(caught.value)


def test_the_table_puts_subclasses_first() -> None:
    for number, (foreign, _) in enumerate(ERROR_MAP):
        assert not any(issubclass(foreign, earlier) for earlier, _ in ERROR_MAP[:number])


def test_our_errors_and_bugs_pass_through() -> None:
    for error in (alphastream_gpu.ClosedError("x"), KeyError("a bug")):
        with pytest.raises(type(error)) as caught, mapped_errors("doing this"):
            raise error
        assert caught.value is error


def test_private_kinds_of_errors_show_under_their_public_names() -> None:
    from alphastream_gpu._format.deflate import OverLimitError
    from alphastream_gpu._sources.base import SilentServerError
    from alphastream_gpu._stream.products import TimeBoxEndedError

    def kinds(cls: type[AlphaStreamError]) -> Iterator[type[AlphaStreamError]]:
        for kind in cls.__subclasses__():
            yield kind
            yield from kinds(kind)

    found = {kind for kind in kinds(AlphaStreamError) if kind.__module__.partition(".")[0] == "alphastream_gpu"}
    assert {OverLimitError, SilentServerError, TimeBoxEndedError} < found
    for kind in found:
        public = getattr(alphastream_gpu, kind.__name__)
        assert issubclass(kind, public)
        assert (kind.__module__, kind.__qualname__) == ("alphastream_gpu", public.__name__)
        error = kind("what", frame_index=3)
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), str(again), again.frame_index) == (public, "what", 3)
    assert repr(SilentServerError("what")) == "FrameTimeoutError('what')"
