"""
Headers and option names: Python, C and the command line have the same rules, and no message quotes a secret.
"""

from __future__ import annotations

import click
import pytest

from alphastream_gpu import HttpSource
from alphastream_gpu._capi.options import OPTION_NAMES, Options
from alphastream_gpu._cli.options import headers_of
from alphastream_gpu._sources.http.address import split_header

SECRET = "S3CRET"
BAD = (
    ("Range", SECRET),
    ("accept-ENCODING", SECRET),
    ("Content-Length", SECRET),
    ("transfer-encoding", SECRET),
    ("X-Key", f"{SECRET}\xa0"),
    ("X-Key", f"\xa0{SECRET}"),
    ("X-Key", f"{SECRET}\u20ac"),
    ("X-Key", f"{SECRET}\x85"),
    ("X-Key", f"{SECRET}\r\nHost: other"),
    ("X-Key", f"{SECRET}\x00"),
    ("X-Key", f"{SECRET}\x7f"),
    ("X Key", SECRET),
    ("", SECRET),
    ("X-\u00dcber", SECRET),
)
GOOD = (
    ("X-Key", "1"),
    ("authorization", "Bearer a=b:c"),
    ("X-Tab", "a\tb"),
    ("Host", "other.test"),
    ("x!#$%&'*+", "~"),
)


def _from_python(name: str, value: str) -> dict[str, str]:
    return HttpSource("http://host/x", headers={name: value})._headers


def _from_c(name: str, value: str) -> dict[str, str]:
    options = Options()
    options.set("http_header", f"{name}: {value}")
    assert SECRET not in repr(options)
    return options.headers


def _from_command_line(name: str, value: str) -> dict[str, str]:
    option = click.Option(["--header"])
    return headers_of(click.Context(click.Command("info")), option, [f"{name}: {value}"])


READERS = (_from_python, _from_c, _from_command_line)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(("name", "value"), BAD)
def test_a_header_that_cannot_be_sent(reader: object, name: str, value: str) -> None:
    assert callable(reader)
    with pytest.raises((ValueError, click.BadParameter)) as caught:
        reader(name, value)
    text = str(caught.value)
    assert SECRET not in text
    if name.lower() in ("range", "accept-encoding", "content-length", "transfer-encoding"):
        assert f"{name} cannot be set; the source sets it itself" in text


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(("name", "value"), GOOD)
def test_a_header_that_can_be_sent(reader: object, name: str, value: str) -> None:
    assert callable(reader)
    [(found, sent)] = reader(name, value).items()
    assert (found.lower(), sent) == (name.lower(), value)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("A:1", ("A", "1")),
        ("A: \t1 2\t ", ("A", "1 2")),
        ("A:", ("A", "")),
        ("A: b: c", ("A", "b: c")),
        ("A : 1", None),
        (" A: 1", None),
        ("A", None),
        ("A: 1\n", None),
        ("A: 1\r", None),
    ],
)
def test_a_line_with_a_header(line: str, expected: tuple[str, str] | None) -> None:
    assert split_header(line) == expected


def test_an_empty_value_removes_a_header_in_c() -> None:
    options = Options()
    options.set("http_header", "X-Key: 1")
    options.set("http_header", "x-key:")
    assert options.headers == {}


@pytest.mark.parametrize("name", ["ab" * 32, f"Authorization: {SECRET}", SECRET.lower(), "passphrases", " fps"])
def test_a_name_that_may_be_a_secret_is_not_quoted(name: str) -> None:
    """A host that swaps name and value passes a secret as the name."""
    options = Options()
    with pytest.raises(ValueError, match="^name: expected one of passphrase, ") as caught:
        options.set(name, "passphrase")
    known = ", ".join(OPTION_NAMES)
    found = f"found another text of {len(name)} characters; the name comes before the value"
    assert str(caught.value) == f"name: expected one of {known}, {found}"
    assert options == Options()
