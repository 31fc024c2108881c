"""
KeyFromEnvironment: opens what an AsvrKey opens, and holds no secret when it is pickled.
"""

from __future__ import annotations

import copy
import pickle
import secrets
from pathlib import Path

import pytest
from support import SAMPLE, SQUARE

import alphastream_gpu
from alphastream_gpu import AsvrKey, AsvrWriter, KeyFromEnvironment, PassphraseError
from alphastream_gpu._format.cipher import PASSPHRASE_VARIABLE

PASSPHRASE = secrets.token_bytes(32)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "scene.asvr"
    with AsvrWriter(path, key=AsvrKey(PASSPHRASE, scene_id=7)) as writer:
        writer.add_frame(SQUARE)
    return path


def test_it_opens_what_the_passphrase_opens(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PASSPHRASE_VARIABLE, PASSPHRASE.hex())
    key = KeyFromEnvironment(scene_id=7)
    with alphastream_gpu.open(path, key=key) as stream:
        assert stream.metadata.container == "ASVR"
        again = path.with_name("again.asvr")
        with AsvrWriter(again, key=key) as writer:
            writer.add_frame(stream.read_frame(0))
    with alphastream_gpu.open(again, key=AsvrKey(PASSPHRASE, scene_id=7)) as stream:
        assert stream.read_frame(0).to_payload() == SQUARE


def test_the_variable_is_read_where_the_stream_is_opened(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PASSPHRASE_VARIABLE, raising=False)
    key = KeyFromEnvironment(scene_id=7)
    with alphastream_gpu.open(SAMPLE, key=key):
        pass  # a plain stream needs no passphrase
    with pytest.raises(PassphraseError, match=f"set {PASSPHRASE_VARIABLE}"):
        alphastream_gpu.open(path, key=key)
    monkeypatch.setenv(PASSPHRASE_VARIABLE, "12")
    with pytest.raises(PassphraseError, match="expected 64 hex digits"):
        alphastream_gpu.open(path, key=key)
    monkeypatch.setenv(PASSPHRASE_VARIABLE, PASSPHRASE.hex())
    alphastream_gpu.open(path, key=key).close()


def test_it_is_pickled_without_secrets(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PASSPHRASE_VARIABLE, PASSPHRASE.hex())
    key = KeyFromEnvironment(scene_id=7, version="1.6.0", resource_name="scene.asvr")
    with pytest.raises(alphastream_gpu.KeyMismatchError):
        alphastream_gpu.open(path, key=key)  # derives a key, which is kept
    data = pickle.dumps(key)
    assert PASSPHRASE not in data
    assert PASSPHRASE.hex().encode() not in data
    assert all(derived not in data for derived in key._keys.values())
    for other in (pickle.loads(data), copy.deepcopy(key)):
        assert other == key
        assert hash(other) == hash(key)
        assert not other._keys
        assert (other.scene_id, other.version, other.resource_name) == (7, "1.6.0", "scene.asvr")
    assert key != KeyFromEnvironment(scene_id=8, version="1.6.0", resource_name="scene.asvr")
    assert repr(key) == "KeyFromEnvironment(scene_id=7, version='1.6.0', resource_name='scene.asvr')"


def test_arguments_are_checked() -> None:
    with pytest.raises(ValueError, match="scene_id: expected"):
        KeyFromEnvironment(scene_id=-1)
    with pytest.raises(TypeError, match="a KeyFromEnvironment can"):
        pickle.dumps(AsvrKey(PASSPHRASE, scene_id=1))
