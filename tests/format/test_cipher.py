"""
ASVR: the key, the keystream, and secrets that must never be shown.
"""

from __future__ import annotations

import asyncio
import copy
import hashlib
import logging
import os
import pickle
import struct
import zlib
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20
from support import SQUARE, asvp_of, block_of

import alphastream_gpu
from alphastream_gpu import AsvrKey, DecodeError, FrameGeometry, KeyMismatchError, PassphraseError
from alphastream_gpu._format.cipher import StreamCipher, cipher_for


def _keystream_xor(key: bytes, key_id: int, data: bytes) -> bytes:
    """ChaCha20 with counter 0 and the nonce of docs/format.md, in the 16-byte form of `cryptography`."""
    nonce = bytes(12) + struct.pack("<I", key_id)
    return Cipher(ChaCha20(key, nonce), mode=None).encryptor().update(data)


def _asvr_by_hand(passphrase: bytes, scene_id: int, version: str, name: str, blocks: list[bytes]) -> bytes:
    """Make an ASVR by the definition in docs/format.md, with the standard library's scrypt."""
    salt = struct.pack("<I", scene_id) + version.encode() + name.encode()
    key = hashlib.scrypt(passphrase, salt=salt, n=16384, r=8, p=1, maxmem=1 << 26, dklen=32)
    table = zlib.compress(b"".join(struct.pack("<Q", len(block)) for block in blocks))
    head = struct.pack("<IIII", 4, 0, 0x1234, len(table)) + table
    stored = [_keystream_xor(key, index, block) for index, block in enumerate(blocks)]
    return _keystream_xor(key, 0xFFFFFFFF, head) + b"".join(stored)


def _first(data: bytes | Path, key: AsvrKey) -> FrameGeometry:
    async def read() -> FrameGeometry:
        async with await alphastream_gpu.open_async(data, key=key) as stream:
            assert stream.metadata.container == "ASVR"
            assert stream.metadata.version == "4"
            return await stream.frame(stream.metadata.frame_count - 1)

    return asyncio.run(read())


def test_a_file_by_hand(passphrase: bytes, tmp_path: Path) -> None:
    data = _asvr_by_hand(
        passphrase, 85342, "1.5.0", "pov_mask.asvr", [block_of(struct.pack("<I", 0)), block_of(SQUARE)]
    )
    key = AsvrKey(passphrase, scene_id=85342, version="1.5.0", resource_name="pov_mask.asvr")
    assert _first(data, key) == FrameGeometry.from_payload(SQUARE)
    path = tmp_path / "pov_mask.asvr"
    path.write_bytes(data)
    assert _first(path, AsvrKey(passphrase, scene_id=85342)) == FrameGeometry.from_payload(SQUARE)


def test_the_error_for_a_wrong_key_lists_its_four_parts(passphrase: bytes, tmp_path: Path) -> None:
    path = tmp_path / "right.asvr"
    path.write_bytes(_asvr_by_hand(passphrase, 5, "1.5.0", "right.asvr", [block_of(SQUARE)]))
    other = bytes(32) if passphrase != bytes(32) else bytes([1]) * 32
    for key in (
        AsvrKey(other, scene_id=5),
        AsvrKey(passphrase, scene_id=6),
        AsvrKey(passphrase, scene_id=5, version="1.5.1"),
        AsvrKey(passphrase, scene_id=5, resource_name="wrong.asvr"),
    ):
        with pytest.raises(KeyMismatchError) as caught:
            alphastream_gpu.open(path, key=key)
        message = str(caught.value)
        for part in ("passphrase", f"scene_id={key.scene_id}", f"version='{key.version}'", "resource_name="):
            assert part in message
        assert other.hex() not in message
        assert passphrase.hex() not in message


def test_a_plain_file_with_a_key(passphrase: bytes) -> None:
    """The first bytes show that the file is plain. A key is not needed, and a given key has no effect."""
    key = AsvrKey(passphrase, scene_id=1, resource_name="x")
    with alphastream_gpu.open(asvp_of([block_of(SQUARE)]), key=key) as stream:
        assert stream.metadata.container == "ASVP"
    with pytest.raises(DecodeError) as caught:
        alphastream_gpu.open(b"ASVPPLN1" + bytes(64), key=key)
    assert not isinstance(caught.value, KeyMismatchError)


def test_an_encrypted_file_without_a_key(passphrase: bytes) -> None:
    encrypted = _asvr_by_hand(passphrase, 5, "1.5.0", "a.asvr", [block_of(SQUARE)])
    for content in (encrypted, b"<!DOCTYPE html><html></html>"):
        with pytest.raises(DecodeError, match="either an encrypted ASVR, which needs key=.* or not an alpha stream"):
            alphastream_gpu.open(content)
    with pytest.raises(TypeError, match="key: expected an AsvrKey, found bytes"):
        alphastream_gpu.open(encrypted, key=passphrase)  # type: ignore[arg-type]


def test_secrets_are_never_shown(passphrase: bytes, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    key = AsvrKey(passphrase, scene_id=5, resource_name="a.asvr")
    cipher = cipher_for(key, "ignored")
    texts = [repr(key), str(key), repr(cipher), str(cipher), caplog.text]
    for text in texts:
        assert repr(passphrase)[2:-1] not in text
        assert passphrase.hex() not in text
        assert cipher._key.hex() not in text
    for secret in (key, cipher):
        with pytest.raises(TypeError, match="secret"):
            pickle.dumps(secret)
        with pytest.raises(TypeError, match="secret"):
            copy.copy(secret)


def test_the_key_is_derived_once(passphrase: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    key = AsvrKey(passphrase, scene_id=5)
    derived = []
    monkeypatch.setattr(AsvrKey, "_derive", lambda self, name: derived.append(name) or bytes(32))
    for name in ("a", "b", "a", "b"):
        assert isinstance(cipher_for(key, name), StreamCipher)
    assert derived == ["a", "b"]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"passphrase": bytes(31)}, PassphraseError, "expected 32 bytes, found 31"),
        ({"passphrase": "x" * 32}, TypeError, "expected 32 bytes, found str"),
        ({"scene_id": -1}, ValueError, r"scene_id: expected 0\.\.4294967295, found -1"),
        ({"scene_id": 1 << 32}, ValueError, "scene_id"),
        ({"scene_id": 1.5}, TypeError, "integer"),
        ({"version": 15}, TypeError, "version: expected a str, found int"),
        ({"resource_name": b"x"}, TypeError, "resource_name: expected a str, found bytes"),
        ({"version": "1.5.ü"}, ValueError, "version: expected ASCII"),
        ({"resource_name": "maß.asvr"}, ValueError, "resource_name: expected ASCII"),
    ],
)
def test_bad_arguments(arguments: dict[str, object], error: type[Exception], message: str) -> None:
    passphrase = arguments.pop("passphrase", os.urandom(32))
    with pytest.raises(error, match=message):
        AsvrKey(passphrase, **{"scene_id": 1, **arguments})  # type: ignore[arg-type]


def test_the_environment_variable(passphrase: bytes) -> None:
    environ = {"ALPHASTREAM_PASSPHRASE": f" {passphrase.hex()}\n"}
    key = AsvrKey.from_environment(scene_id=9, environ=environ)
    assert key._passphrase == passphrase
    with pytest.raises(PassphraseError, match="set ALPHASTREAM_PASSPHRASE to"):
        AsvrKey.from_environment(scene_id=9, environ={})
    for text in ("abc", "zz" * 32, passphrase.hex()[:-2], passphrase.hex() + "00"):
        with pytest.raises(PassphraseError, match="expected 64 hex digits") as caught:
            AsvrKey.from_environment(scene_id=9, environ={"ALPHASTREAM_PASSPHRASE": text})
        assert text not in str(caught.value)
        assert caught.value.__suppress_context__
