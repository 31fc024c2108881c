"""
Cipher: the encryption of ASVR, with scrypt for the key and ChaCha20 for header, sizes table and blocks. No I/O.

Both algorithms come from `cryptography`, which is imported at first use: a program that reads only plain streams does
not load it. ASVR has no authentication tag. So a wrong key is noticed only because the sizes table does not inflate,
and a changed block only by zlib's checksum.
"""

from __future__ import annotations

import operator
import os
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from .._exceptions import DecodeError, KeyMismatchError, PassphraseError
from .._runtime.calls import SafeLock

__all__ = [
    "PASSPHRASE_VARIABLE",
    "AsvrKey",
    "KeyFromEnvironment",
    "KeyWords",
    "LateKey",
    "StreamCipher",
    "cipher_for",
    "key_mismatch",
    "passphrase_in",
    "passphrase_of",
    "said_in",
]

PASSPHRASE_VARIABLE: Final = "ALPHASTREAM_PASSPHRASE"
"""The environment variable that holds the caller's passphrase as 64 hex digits."""

PASSPHRASE_BYTES: Final = 32
_SCRYPT_N: Final = 16384
_SCRYPT_R: Final = 8
_SCRYPT_P: Final = 1
_KEY_BYTES: Final = 32
_TABLE_KEY_ID: Final = 0xFFFFFFFF
"""The key id of the header and the sizes table, which share one keystream. Block i has the key id i."""

_TABLE_CUTOFF: Final = _TABLE_KEY_ID
"""The first frame index that is refused: it would share the table's keystream. Every frame limit is far below it."""


@dataclass(frozen=True, slots=True)
class KeyWords:
    """The names that messages use for the parts of a key. The defaults are the names in Python."""

    passphrase: str = "the passphrase (not shown)"
    scene_id: str = "scene_id={}"
    version: str = "version={!r}"
    resource_name: str = "resource_name={!r}"
    other_name: str = "AsvrKey(..., resource_name=)"
    """How a caller sets another resource name."""


_PYTHON: Final = KeyWords()


class AsvrKey:
    """
    The values that the key of an ASVR file is derived from.

    The key itself is derived by scrypt, which takes some 50 ms, at the first use of a resource name, and then kept.
    Neither the passphrase nor the key appears in ``repr`` or in messages. The object cannot be pickled; a
    :class:`KeyFromEnvironment` can.

    Args:
        passphrase: 32 bytes, from the owner of the files. This package contains no passphrase.
        scene_id: the scene that the files were made for, 0..4294967295.
        version: the version text that the files were made for, such as ``"1.5.0"``; ASCII.
        resource_name: the name of the file when it was encrypted, such as ``"pov_mask.asvr"``; ASCII. If omitted, it is
            the last part of the opened path, or of the percent-decoded path of the opened URL.

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
        self._passphrase = passphrase
        self._set(scene_id, version, resource_name)

    def _set(self, scene_id: int, version: str, resource_name: str | None) -> None:
        """Check and set what is no secret."""
        scene_id = operator.index(scene_id)
        if not 0 <= scene_id <= 0xFFFFFFFF:
            raise ValueError(f"scene_id: expected 0..4294967295, found {scene_id}")
        for name, text in (("version", version), ("resource_name", resource_name)):
            if not (text is None and name == "resource_name") and not isinstance(text, str):
                raise TypeError(f"{name}: expected a str, found {type(text).__name__}")
            if text is not None and not text.isascii():
                raise ValueError(f"{name}: expected ASCII, found {text!r}")
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
        """The name that the file was encrypted under; None if it is taken from the opened path or URL."""
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
        Make a key whose passphrase is the value of ``ALPHASTREAM_PASSPHRASE`` (64 hex digits).

        Args:
            scene_id: as for the class, 0..4294967295.
            version: as for the class.
            resource_name: as for the class.
            environ: the environment variables; ``os.environ`` if omitted.

        Raises:
            PassphraseError: the variable is not set, or its value is not 64 hex digits. The value is never shown.
            ValueError: another argument is outside its range.
        """
        passphrase = passphrase_in(os.environ if environ is None else environ)
        return AsvrKey(passphrase, scene_id=scene_id, version=version, resource_name=resource_name)

    def _needed_for(self, head: bytes) -> AsvrKey:
        """The key for a stream that is not plain and begins with the bytes `head`."""
        return self

    def _key(self, resource_name: str) -> bytes:
        """The key for a resource name. It is derived at the first call for that name."""
        with self._lock:
            key = self._keys.get(resource_name)
            if key is None:
                key = self._keys[resource_name] = self._derive(resource_name)
        return key

    def _derive(self, resource_name: str) -> bytes:
        from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

        salt = struct.pack("<I", self.scene_id) + self.version.encode("ascii") + resource_name.encode("ascii")
        return Scrypt(salt=salt, length=_KEY_BYTES, n=_SCRYPT_N, r=_SCRYPT_R, p=_SCRYPT_P).derive(self._secret())

    def _secret(self) -> bytes:
        return self._passphrase

    def __repr__(self) -> str:
        return (
            f"<AsvrKey scene_id={self.scene_id} version={self.version!r} resource_name={self.resource_name!r}"
            " passphrase=hidden>"
        )

    def __reduce__(self) -> str:
        raise TypeError(
            "an AsvrKey holds a secret and cannot be pickled; a KeyFromEnvironment can: it holds no passphrase"
        )


class KeyFromEnvironment(AsvrKey):
    """
    A key whose passphrase is read from ``ALPHASTREAM_PASSPHRASE`` (64 hex digits) where an encrypted stream is opened.

    It is accepted wherever an :class:`AsvrKey` is. It holds no secret until then, so it can be pickled: another process
    gets the three values and reads the variable of its own environment. Equal keys have equal values.

    Args:
        scene_id: as for :class:`AsvrKey`, 0..4294967295.
        version: as for :class:`AsvrKey`.
        resource_name: as for :class:`AsvrKey`.

    Raises:
        ValueError: an argument is outside its range.

    If the variable is missing or malformed, opening an encrypted stream raises :class:`PassphraseError`. A plain stream
    needs no passphrase.
    """

    __slots__ = ()

    def __init__(self, *, scene_id: int, version: str = "1.5.0", resource_name: str | None = None) -> None:
        self._set(scene_id, version, resource_name)

    def _secret(self) -> bytes:
        return passphrase_in(os.environ)

    def _values(self) -> tuple[int, str, str | None]:
        return self._scene_id, self._version, self._resource_name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, KeyFromEnvironment) and self._values() == other._values()

    def __hash__(self) -> int:
        return hash(self._values())

    def __repr__(self) -> str:
        return (
            f"KeyFromEnvironment(scene_id={self.scene_id}, version={self.version!r},"
            f" resource_name={self.resource_name!r})"
        )

    def __reduce__(self) -> tuple[Any, ...]:  # type: ignore[override]  # AsvrKey's raises
        return _key_from_environment, self._values()


def _key_from_environment(scene_id: int, version: str, resource_name: str | None) -> KeyFromEnvironment:
    return KeyFromEnvironment(scene_id=scene_id, version=version, resource_name=resource_name)


class LateKey(AsvrKey):
    """
    A key that is made only when a stream is found not to be plain.

    Args:
        find: takes the stream's first bytes as stored and returns the key. If there is no key, it raises the error for
            the caller.
    """

    __slots__ = ("_find",)

    def __init__(self, find: Callable[[bytes], AsvrKey]) -> None:
        self._find = find

    def _needed_for(self, head: bytes) -> AsvrKey:
        return self._find(head)

    def __repr__(self) -> str:
        return "<LateKey>"


def said_in(words: KeyWords, key: AsvrKey) -> AsvrKey:
    """Set the names that error messages about a key use; return the key."""
    key._words = words
    return key


def passphrase_in(environ: Mapping[str, str]) -> bytes:
    """
    The passphrase in environment variables.

    Raises:
        PassphraseError: the variable is not set, or its value is not 64 hex digits. The value is never shown.
    """
    text = environ.get(PASSPHRASE_VARIABLE, "")
    if not text.strip():
        raise PassphraseError(
            f"an ASVR stream needs its owner's passphrase: set {PASSPHRASE_VARIABLE} to its 64 hex digits"
            " (this package contains no passphrase)"
        )
    return passphrase_of(text, PASSPHRASE_VARIABLE)


def passphrase_of(text: str, name: str) -> bytes:
    """
    Convert the hexadecimal form of a passphrase to bytes.

    Args:
        text: 64 digits; white space around them is ignored.
        name: the name of the variable or option that the text is from, for the message.

    Raises:
        PassphraseError: the text is not 64 hexadecimal digits. The text is never shown.
    """
    text = text.strip()
    try:
        passphrase = bytes.fromhex(text)
    except ValueError:
        passphrase = b""
    if len(passphrase) != PASSPHRASE_BYTES:
        # `from None`: bytes.fromhex quotes only a position, but nothing about a secret belongs in a chain of errors.
        raise PassphraseError(f"{name}: expected 64 hex digits, found another text of {len(text)} characters") from None
    return passphrase


def cipher_for(key: AsvrKey, resource_name: str) -> StreamCipher:
    """
    Make the cipher of one resource.

    The first call for a resource name takes some 50 ms of CPU time, so it must not be made in time-critical code.

    Args:
        key: the caller's key. If it has a `resource_name`, that name is used.
        resource_name: the name of the file, for a key without a name.

    Raises:
        ValueError: the resource name is not ASCII.
    """
    name = _name_in(key, resource_name)
    if not name.isascii():
        raise ValueError(
            f"resource name: expected ASCII, found {name!r}; give the name that the file was encrypted under as"
            f" {key._words.other_name}"
        )
    return StreamCipher(key._key(name))


def key_mismatch(key: AsvrKey, resource_name: str, reason: str) -> KeyMismatchError:
    """
    Make the error for a sizes table that the key does not decrypt. Its message lists the four parts of the key.

    Args:
        key: the caller's key.
        resource_name: the name of the file.
        reason: what is wrong with the decrypted table.
    """
    words = key._words
    return KeyMismatchError(
        f"sizes table: cannot be decrypted with this key ({reason}). The key depends on four things:"
        f" {words.passphrase}, {words.scene_id.format(key.scene_id)}, {words.version.format(key.version)} and"
        f" {words.resource_name.format(_name_in(key, resource_name))};"
        " one of them differs from what the file was made with, or the file is damaged or not an ASVR"
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
        """Apply the keystream to header and table, which share one keystream. `data` starts at byte 0 of the file."""
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
