"""
Options: their ranges, their value, and the builder that takes them one by one.
"""

from __future__ import annotations

import pytest

import alphastream_gpu
from alphastream_gpu import AlphaStreamBuilder, AsvrKey, Config


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"native_size": (0, 5)}, r"native_size: expected 1x1\.\.16384x16384 pixels, found \(0, 5\)"),
        ({"native_size": 5}, "native_size: expected"),
        ({"fps": 0}, r"fps: expected 1\.\.1000 frames/s, found 0"),
        ({"fps": "fast"}, "fps: expected"),
        ({"fps": float("nan")}, "fps: expected"),
        ({"init_timeout": 0.05}, r"init_timeout: expected 0\.1\.\.300\.0 s, found 0\.05"),
        ({"decode_workers": 65}, r"decode_workers: expected 1\.\.64 threads, found 65"),
        ({"decode_workers": 1.5}, "decode_workers: expected"),
        ({"decode_workers": True}, "decode_workers: expected"),
        ({"max_frame_bytes": 1 << 30}, "max_frame_bytes: expected"),
        ({"max_frames": 0}, "max_frames: expected"),
        ({"http2": "no"}, r"http2: expected False or True, found 'no'"),
        ({"http_validate": "weak"}, r"http_validate: expected 'etag' or 'size' or 'none', found 'weak'"),
    ],
)
def test_options_outside_their_range(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Config(**options)  # type: ignore[arg-type]


def test_config_is_a_value() -> None:
    assert Config() == Config(fps=60)
    assert Config(fps=59.94).fps == alphastream_gpu.Config(fps="59.94").fps  # type: ignore[arg-type]
    assert hash(Config()) == hash(Config())
    with pytest.raises(AttributeError):
        Config().fps = 3  # type: ignore[misc, assignment]


def test_the_builder_gives_the_same_stream(passphrase: bytes) -> None:
    builder = AlphaStreamBuilder().native_size(512, 256).fps(30).cache_frames(64).prefetch_frames(8).http_retries(1)
    assert builder.config() == Config(
        native_size=(512, 256), fps=30, cache_frames=64, prefetch_frames=8, http_retries=1
    )
    with builder.build() as stream:
        assert stream.config == builder.config()
    key = AsvrKey(passphrase, scene_id=1)
    assert builder.key(key).strict(False).source(b"") is builder
    with pytest.raises(ValueError, match="none was named"):
        AlphaStreamBuilder().open()
    with pytest.raises(ValueError, match="cache_frames: expected"):
        AlphaStreamBuilder().cache_frames(0).build()
    with pytest.raises(AttributeError, match="no attribute 'cash_frames'; options"):
        _ = AlphaStreamBuilder().cash_frames
    assert "http_backoff" in dir(builder)
    assert builder.http_backoff.__doc__ == "Pause before the first repetition; doubles, with jitter on top."
