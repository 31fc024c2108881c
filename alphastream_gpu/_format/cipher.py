"""
The ASVR cipher: scrypt for the key, ChaCha20 for header, table and blocks. No I/O.

Both come from `cryptography`, imported at first use: a program that reads only plain streams never loads it.
ASVR carries no authentication tag, so a wrong key shows only as a sizes table that does not inflate, and a
tampered block only as far as zlib's checksum sees it.
"""

from __future__ import annotations

import operator
import os
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from .._exceptions import DecodeError, KeyMismatchError, PassphraseError
from .._runtime.calls import SafeLock

__all__ = [
    "PASSPHRASE_VARIABLE",
    "AsvrKey",
    "KeyWords",
    "LateKey",
    "StreamCipher",
    "cipher_for",
    "key_mismatch",
    "passphrase_of",
    "said_in",
]

PASSPHRASE_VARIABLE: Final = "ALPHASTREAM_PASSPHRASE"
"""Environment variable that holds the caller's passphrase as 64 hex digits."""

PASSPHRASE_BYTES: Final = 32
_SCRYPT_N: Final = 16384
_SCRYPT_R: Final = 8
_SCRYPT_P: Final = 1
_KEY_BYTES: Final = 32
_TABLE_KEY_ID: Final = 0xFFFFFFFF
"""Header and sizes table are one keystream under this key id; block i uses i."""

_TABLE_CUTOFF: Final = _TABLE_KEY_ID
"""Frames from this index on would share the table's keystream; far above any frame limit, refused all the same."""


@dataclass(frozen=True, slots=True)
class KeyWords:
    """What messages call the parts of a key, so that callers read the names of what they can set; here Python's."""

    passphrase: str = "the passphrase (not shown)"
    scene_id: str = "scene_id={}"
    version: str = "version={!r}"
    resource_name: str = "resource_name={!r}"
    other_name: str = "AsvrKey(..., resource_name=)"
    """How to give another resource name."""


_PYTHON: Final = KeyWords()


class AsvrKey:
    """
    What an ASVR file's key is made from.

    The key itself is derived (scrypt, some 50 ms) once per resource name, at first use, and kept. Neither the
    passphrase nor the key appears in ``repr``, messages or pickles; the object cannot be pickled.

    Args:
        passphrase: the 32 bytes that belong to whoever made the files. None is built in.
        scene_id: the scene that the files were made for, 0..4294967295.
        version: the version text the files were made for, such as ``"1.5.0"``; ASCII.
        resource_name: the file's name as it was when encrypted, such as ``"pov_mask.asvr"``; ASCII. When omitted it is
            taken from the path or URL that is opened: the last part of the path, a URL's percent-decoded.

    Raises:
        PassphraseError: the passphrase is not 32 bytes long.
        ValueError: another argument is outside its range.
    """

    __slots__ = ("_keys", "_lock", "_passphrase", "_resource_name", "_scene_id", "_version", "_words")

    def __init__(
        self, passphrase: bytes, *, scene_id: int, version: str = "1.5.0", resource_name: str | None = None
    ) -> None:
        if not isinstance(passphrase, (bytes, bytearray, memoryview)):
            raise TypeError(f"passphrase: expected {PASSPHRASE_BYTES} bytes, found {type(passphrase).__name__}")
        passphrase = bytes(passphrase)
        if len(passphrase) != PASSPHRASE_BYTES:
            raise PassphraseError(f"passphrase: expected {PASSPHRASE_BYTES} bytes, found {len(passphrase)}")
        scene_id = operator.index(scene_id)
        if not 0 <= scene_id <= 0xFFFFFFFF:
            raise ValueError(f"scene_id: expected 0..4294967295, found {scene_id}")
        for name, text in (("version", version), ("resource_name", resource_name)):
            if not (text is None and name == "resource_name") and not isinstance(text, str):
                raise TypeError(f"{name}: expected a str, found {type(text).__name__}")
            if text is not None and not text.isascii():
                raise ValueError(f"{name}: expected ASCII, found {text!r}")
        self._passphrase = passphrase
        self._scene_id = scene_id
        self._version = version
        self._resource_name = resource_name
        self._keys: dict[str, bytes] = {}
        self._lock = SafeLock()
        self._words = _PYTHON

    @property
    def scene_id(self) -> int:
        """The scene that the files were made for, 0..4294967295."""
        return self._scene_id

    @property
    def version(self) -> str:
        """The version that the files were made for."""
        return self._version

    @property
    def resource_name(self) -> str | None:
        """The name that the file was encrypted under; None to take it from what is opened."""
        return self._resource_name

    @classmethod
    def from_environment(
        cls,
        *,
        scene_id: int,
        version: str = "1.5.0",
        resource_name: str | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> AsvrKey:
        """
        Take the passphrase from ``ALPHASTREAM_PASSPHRASE`` (64 hex digits).

        Args:
            scene_id: as of the class, 0..4294967295.
            version: as of the class.
            resource_name: as of the class.
            environ: where to look for the variable; ``os.environ`` when omitted.

        Raises:
            PassphraseError: the variable is not set, or does not hold 64 hex digits. Its value is never shown.
            ValueError: another argument is outside its range.
        """
        text = (os.environ if environ is None else environ).get(PASSPHRASE_VARIABLE, "")
        if not text.strip():
            raise PassphraseError(
                f"an ASVR stream needs its owner's passphrase: set {PASSPHRASE_VARIABLE} to its 64 hex digits"
                " (none is built in)"
            )
        passphrase = passphrase_of(text, PASSPHRASE_VARIABLE)
        return cls(passphrase, scene_id=scene_id, version=version, resource_name=resource_name)

    def _needed_for(self, head: bytes) -> AsvrKey:
        """The key of a stream that is not plain and begins with these bytes."""
        return self

    def _key(self, resource_name: str) -> bytes:
        """The key for a name, derived once."""
        with self._lock:
            key = self._keys.get(resource_name)
            if key is None:
                key = self._keys[resource_name] = self._derive(resource_name)
        return key

    def _derive(self, resource_name: str) -> bytes:
        from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

        salt = struct.pack("<I", self.scene_id) + self.version.encode("ascii") + resource_name.encode("ascii")
        return Scrypt(salt=salt, length=_KEY_BYTES, n=_SCRYPT_N, r=_SCRYPT_R, p=_SCRYPT_P).derive(self._passphrase)

    def __repr__(self) -> str:
        return (
            f"<AsvrKey scene_id={self.scene_id} version={self.version!r} resource_name={self.resource_name!r}"
            " passphrase=hidden>"
        )

    def __reduce__(self) -> str:
        raise TypeError("an AsvrKey holds a secret and cannot be pickled")


class LateKey(AsvrKey):
    """
    A key that is made only when a stream turns out not to be plain.

    Args:
        find: is given the stream's first bytes as stored, and returns the key; or raises what is to be said where there
            is none.
    """

    __slots__ = ("_find",)

    def __init__(self, find: Callable[[bytes], AsvrKey]) -> None:
        self._find = find

    def _needed_for(self, head: bytes) -> AsvrKey:
        return self._find(head)

    def __repr__(self) -> str:
        return "<LateKey>"


def said_in(words: KeyWords, key: AsvrKey) -> AsvrKey:
    """The same key, whose errors use other words."""
    key._words = words
    return key


def passphrase_of(text: str, name: str) -> bytes:
    """
    The passphrase that hexadecimal digits stand for.

    Args:
        text: 64 digits; white space around them is ignored.
        name: of the variable or option that has them, for the message.

    Raises:
        PassphraseError: not 64 hexadecimal digits. They are never shown.
    """
    text = text.strip()
    try:
        passphrase = bytes.fromhex(text)
    except ValueError:
        passphrase = b""
    if len(passphrase) != PASSPHRASE_BYTES:
        # No `from`: bytes.fromhex quotes a position only, but nothing about a secret belongs in a chain.
        raise PassphraseError(f"{name}: expected 64 hex digits, found {len(text)} characters that are not") from None
    return passphrase


def cipher_for(key: AsvrKey, resource_name: str) -> StreamCipher:
    """
    The cipher of one resource; the key's own `resource_name` wins over the argument.

    Takes some 50 ms of CPU for a name's first call: call it off the hot path.

    Args:
        key: the caller's.
        resource_name: the file's name.

    Raises:
        ValueError: the name is not ASCII.
    """
    name = _name_in(key, resource_name)
    if not name.isascii():
        raise ValueError(
            f"resource name: expected ASCII, found {name!r}; give the name the file was encrypted under as"
            f" {key._words.other_name}"
        )
    return StreamCipher(key._key(name))


def key_mismatch(key: AsvrKey, resource_name: str, reason: str) -> KeyMismatchError:
    """
    The error for a table that does not open, listing the four things the key depends on.

    Args:
        key: the caller's.
        resource_name: the file's name.
        reason: what was wrong with the table.
    """
    words = key._words
    return KeyMismatchError(
        f"sizes table: does not open with this key ({reason}). The key depends on four things: {words.passphrase},"
        f" {words.scene_id.format(key.scene_id)}, {words.version.format(key.version)} and"
        f" {words.resource_name.format(_name_in(key, resource_name))};"
        " one of them is not what the file was made with, or the file is not an ASVR or is damaged"
    )


def _name_in(key: AsvrKey, resource_name: str) -> str:
    return resource_name if key.resource_name is None else key.resource_name


class StreamCipher:
    """
    ChaCha20 under one derived key. Encrypting and decrypting are the same operation.
    """

    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        self._key = key

    def header_and_table(self, data: bytes | memoryview) -> bytes:
        """Apply the keystream to header and table, which are one run: `data` starts at the file's byte 0."""
        return self._apply(_TABLE_KEY_ID, data)

    def block(self, index: int, data: bytes | memoryview) -> bytes:
        """Apply the keystream to the whole block `index`, 0..2^32 - 2."""
        if not 0 <= index < _TABLE_CUTOFF:
            raise DecodeError(f"frame {index}: an ASVR cannot hold this many frames", frame_index=index)
        return self._apply(index, data)

    def _apply(self, key_id: int, data: bytes | memoryview) -> bytes:
        from cryptography.hazmat.primitives.ciphers import Cipher
        from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20

        nonce = bytes(12) + struct.pack("<I", key_id)
        return Cipher(ChaCha20(self._key, nonce), mode=None).encryptor().update(data)

    def __repr__(self) -> str:
        return "<StreamCipher key=hidden>"

    def __reduce__(self) -> str:
        raise TypeError("a StreamCipher holds a secret and cannot be pickled")
