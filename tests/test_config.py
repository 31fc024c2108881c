"""
Config: the ranges of the options, equality, and the builder.
"""

from __future__ import annotations

import inspect
from dataclasses import Field
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import alphastream_gpu
from alphastream_gpu import AlphaStreamBuilder, AsvrKey, Config
from alphastream_gpu._config import OPTIONS, option_from_text


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
        ({"cache_dir": ""}, "cache_dir: expected a path or None, found ''"),
        ({"cache_dir": 5}, "cache_dir: expected a path or None, found 5"),
        ({"cache_dir": b"x"}, "cache_dir: expected a path or None"),
        ({"cache_dir": "x\0y"}, "cache_dir: expected a path or None"),
        ({"cache_bytes": 5}, r"cache_bytes: expected 1048576\.\.1099511627776 bytes, found 5"),
        ({"prefetch": "some"}, "prefetch: expected 'ahead' or 'all', found 'some'"),
        ({"http_validate": "weak"}, r"http_validate: expected 'etag' or 'size' or 'none', found 'weak'"),
    ],
)
def test_options_outside_their_range(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Config(**options)  # type: ignore[arg-type]


def test_numbers_of_numpy_are_numbers() -> None:
    """They are converted to Python's numbers, because sums of numpy's could wrap or lose digits."""
    config = Config(
        native_size=np.array([512, 256]),  # type: ignore[arg-type]
        fps=np.float32(59.94),  # type: ignore[arg-type]
        cache_frames=np.uint8(200),  # type: ignore[arg-type]
        prefetch_frames=np.int64(5),  # type: ignore[arg-type]
        init_timeout=np.float32(5),  # type: ignore[arg-type]
        http2=np.bool_(False),  # type: ignore[arg-type]
    )
    assert config == Config(
        native_size=(512, 256),
        fps=59.94,
        cache_frames=200,
        prefetch_frames=5,
        init_timeout=5,
        http2=False,  # type: ignore[arg-type]
    )
    assert {type(getattr(config, one.name)) for one in OPTIONS} == {tuple, Fraction, int, float, bool, str, type(None)}
    assert {type(edge) for edge in config.native_size} == {int}
    for rate in (np.int16(60), np.float64(60), np.array(60), np.array(60.0)):
        assert type(Config(fps=rate).fps.numerator) is int  # type: ignore[arg-type]
        assert Config(fps=rate).fps == 60  # type: ignore[arg-type]
    for wrong in ({"fps": np.float32("nan")}, {"fps": np.array([60, 30])}, {"cache_frames": np.bool_(True)}):
        with pytest.raises(ValueError, match="expected"):
            Config(**wrong)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("fps", "60000/1001", Fraction(60000, 1001)),
        ("fps", "59.94", Fraction("59.94")),
        ("native_size", " 4096x2048\n", (4096, 2048)),
        ("http2", "true", True),
        ("http2", "0", False),
        ("get_frame_timebox", "2.5", 2.5),
        ("cache_frames", "7", 7),
        ("processing", "both", "both"),
        ("cache_dir", " films/cache ", "films/cache"),
        ("cache_dir", "", None),
    ],
)
def test_options_from_texts(name: str, text: str, value: object) -> None:
    found = option_from_text(name, text)
    assert (found, type(found)) == (value, type(value))


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
    with pytest.raises(ValueError, match="source: not set"):
        AlphaStreamBuilder().open()
    with pytest.raises(ValueError, match="cache_frames: expected"):
        AlphaStreamBuilder().cache_frames(0).build()
    with pytest.raises(AttributeError, match="cash_frames"):
        _ = AlphaStreamBuilder().cash_frames  # type: ignore[attr-defined]


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_the_builder_has_a_method_for_each_option(option: Field[Any]) -> None:
    """It takes what the option takes, and its docstring states the range."""
    method = getattr(AlphaStreamBuilder, option.name)
    default = getattr(Config(), option.name)
    builder = AlphaStreamBuilder()
    arguments = default if option.name == "native_size" else (default,)
    assert method(builder, *arguments) is builder
    assert builder.config() == Config(**{option.name: default})
    assert builder._options == {option.name: default}
    if option.name not in {"native_size", "fps"}:
        assert inspect.signature(method).parameters[option.name].annotation == option.type
        low, high = option.metadata["low"], option.metadata["high"]
        choices = high if isinstance(high, str) else " or ".join(map(repr, high)) if low is None else ""
        text = choices or f"{low}..{high} {option.metadata['unit']}"
        assert f"{option.name}: {text}." in inspect.getdoc(method)
