"""
The form of the disk cache's files: digests, names, gaps and victims, against plain definitions.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import format_datetime
from hashlib import blake2b, sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphastream_gpu._sources.cache.record import (
    PAGE_BYTES,
    FileInCache,
    Identity,
    at_least_a_minute_old,
    fill_bytes,
    gaps,
    is_name,
    key_of,
    pack_head,
    pack_page,
    pack_stamp,
    page_of,
    place_of,
    read_head,
    read_stamp,
    victims,
)

ONE = Identity(key_of("https://example.org/a.asvp"), ("etag", '"v1"'), 20_000)


@pytest.mark.parametrize(
    "url",
    [
        "https://example.org/films/a.asvp",
        "https://EXAMPLE.org:443/films/a.asvp",
        "HTTPS://user:secret@example.org/films/a.asvp?token=1#x",
    ],
)
def test_the_key_has_no_user_query_or_fragment(url: str) -> None:
    assert key_of(url) == key_of("https://example.org/films/a.asvp?token=2")


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/films/a.asvp",
        "https://example.org:444/films/a.asvp",
        "https://example.net/films/a.asvp",
        "https://example.org/films/A.asvp",
        "https://example.org/films/a.asvp/",
    ],
)
def test_other_files_have_other_keys(url: str) -> None:
    assert key_of(url) != key_of("https://example.org/films/a.asvp")


def test_the_form_is_that_of_the_documentation() -> None:
    """Written out by hand, so that a change of the form is noticed. It needs another number in its version."""
    text = json.dumps([1, 8192, ONE.key, "etag", '"v1"', 20_000], separators=(",", ":")).encode()
    salt = sha256(text).digest()
    page = bytes(range(200)) * 18 + b"x" * 16
    page = page[: 20_000 - 2 * 8192]
    digest = blake2b(b"page" + (2).to_bytes(8, "little") + page, digest_size=16, key=salt).digest()
    assert pack_page(ONE, 2, page) == digest + page
    assert ONE.name == f"{ONE.key}-{salt.hex()[:32]}.pages"
    assert (place_of(0), place_of(1), ONE.n_pages, ONE.n_bytes) == (4096, 4096 + 8208, 3, 4096 + 3 * 8208)
    body = len(text).to_bytes(2, "little") + text
    head = blake2b(b"head" + body, digest_size=16, key=salt).digest() + body
    assert pack_head(ONE) == head + bytes(2048 - len(head))


@given(st.integers(0, 2), st.integers(0, 20), st.integers(0, 8300), st.binary(min_size=1, max_size=1))
def test_a_damaged_page_is_none(number: int, other: int, at: int, byte: bytes) -> None:
    page = b"p" * ONE.page_length(number)
    record = pack_page(ONE, number, page)
    found = page_of(ONE, number, memoryview(record))
    assert found is not None
    assert bytes(found) == page
    damaged = record[:at] + byte + record[at + 1 :]
    if damaged != record:
        assert page_of(ONE, number, memoryview(damaged)) is None
    assert page_of(ONE, number, memoryview(record[:at])) is None or at >= len(record)
    for identity in (replace(ONE, validator=("etag", '"v2"')), replace(ONE, length=20_001), replace(ONE, key="0" * 32)):
        assert page_of(identity, number, memoryview(record)) is None
    if other != number and other < 2 and number < 2:
        assert page_of(ONE, other, memoryview(record)) is None


@given(st.binary(max_size=3000))
def test_any_head_is_refused_or_right(head: bytes) -> None:
    assert read_head(head, ONE.name) is None


@given(st.integers(0, 2047), st.integers(0, 255))
def test_a_damaged_head_is_none(at: int, byte: int) -> None:
    head = pack_head(ONE)
    damaged = head[:at] + bytes([byte]) + head[at + 1 :]
    assert read_head(damaged, ONE.name) == (ONE if damaged == head else None)
    assert read_head(head, ONE.name.replace(".pages", "x")) is None
    for text in ("[" * 1000, "null", '{"a": 1}', "[1,8192,1,2,3,4]", '[1,8192,"a","b","c",1e400]'):
        body = len(text).to_bytes(2, "little") + text.encode()
        assert read_head(bytes(16) + body, ONE.name) is None


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_stamps(at: float) -> None:
    stamp = pack_stamp(ONE, at)
    assert read_stamp(ONE, stamp) == (at if 0 < at < float("inf") else 0.0)
    assert read_stamp(replace(ONE, length=5), stamp) == read_stamp(ONE, stamp[:-1]) == 0.0
    assert read_stamp(ONE, bytes(2048)) == 0.0


@given(st.sets(st.integers(0, 60)), st.integers(0, 5))
def test_gaps(missing: set[int], bridge: int) -> None:
    """Each missing page is in one run; a page that is there is in a run only if it lies in a short bridge."""
    runs = gaps(sorted(missing), bridge)
    covered = [number for run in runs for number in run]
    assert covered == sorted(set(covered))
    expected = set(missing)
    for number in range(61):
        before = [one for one in missing if one < number]
        after = [one for one in missing if one > number]
        if before and after and min(after) - max(before) - 1 <= bridge:
            expected.add(number)
    assert set(covered) == expected


@given(
    st.lists(st.tuples(st.integers(0, 50), st.integers(0, 5)), max_size=12),
    st.integers(0, 300),
    st.one_of(st.none(), st.integers(0, 11)),
)
def test_victims(sizes: list[tuple[int, int]], limit: int, kept: int | None) -> None:
    """One by one, the file that was not used for the longest time, until the rest fits."""
    files = [FileInCache(f"{k:02}", n_bytes, used) for k, (n_bytes, used) in enumerate(sizes)]
    keep = "" if kept is None else f"{kept:02}"
    left = {one.name: one for one in files}
    expected = []
    while sum(one.n_bytes for one in left.values()) > limit:
        removable = [one for one in left.values() if one.name != keep]
        if not removable:
            break
        oldest = min(removable, key=lambda one: (one.used_at, one.name))
        expected.append(oldest.name)
        del left[oldest.name]
    assert victims(files, limit, keep=keep) == expected


def test_names() -> None:
    assert is_name(ONE.name)
    assert is_name(ONE.name, ONE.key)
    assert not is_name(ONE.name, "0" * 32)
    for name in ("", "a.pages", f"{ONE.name}x", f"../{ONE.name}", ONE.name.upper()):
        assert not is_name(name)


def test_a_validator_of_any_length_is_no_error() -> None:
    assert ONE.is_usable
    assert not replace(ONE, validator=("etag", "x" * 3000)).is_usable
    assert not replace(ONE, validator=("etag", "\U0001f600" * 170)).is_usable
    longest = replace(ONE, validator=("etag", "\U0001f600" * 150), length=2**63 - 1)
    assert len(pack_head(longest)) == 2048
    assert read_head(pack_head(longest), longest.name) == longest


@pytest.mark.parametrize(
    ("age", "is_settled"), [(0, False), (59, False), (60, True), (61, True), (1e9, True), (-100, False)]
)
def test_last_modified_must_be_a_minute_old(age: float, is_settled: bool) -> None:
    modified = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    text = format_datetime(modified, usegmt=True)
    assert at_least_a_minute_old(text, modified.timestamp() + age) == is_settled


@pytest.mark.parametrize("text", ["", "yesterday", "Fri, 99 Jan 2026 03:04:05 GMT", "\0"])
def test_an_invalid_last_modified_is_not_old(text: str) -> None:
    assert not at_least_a_minute_old(text, 1e12)


@given(st.floats(0, 1e12))
def test_how_much_is_fetched_while_idle(rate: float) -> None:
    n_bytes = fill_bytes(rate)
    assert n_bytes % PAGE_BYTES == 0
    assert 2 * PAGE_BYTES <= n_bytes <= 1024 * 1024
    assert n_bytes <= max(2 * PAGE_BYTES, rate * 0.2)
