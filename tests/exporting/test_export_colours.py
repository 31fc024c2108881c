"""
Exports with a colour video: the masks come back, colours and audio are those of the video, and so are times, projection
and stereo mode.
"""

from __future__ import annotations

import dataclasses
import io
import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest
from exported import back, exported, probed, same_export
from hypothesis import given
from hypothesis import strategies as st

import alphastream_gpu
from alphastream_gpu import AsvpWriter, Config, DecodeError, ExportProgress, TransportError, encode_mask
from alphastream_gpu._exporting import coders, composing
from alphastream_gpu._exporting.matching import matched
from alphastream_gpu._inputs.fisheye import Piece, matte_size

SIZE = (160, 80)
N_FRAMES = 20
RATE = Fraction(30)
CONFIG = Config(native_size=SIZE, fps=RATE)
EACH = [
    ("out.webm", {}, {}),
    ("out.mkv", {"codec": "vp9"}, {}),
    ("out.mov", {}, {}),
    ("out.mkv", {"codec": "prores"}, {}),
    ("out.mp4", {}, {"layout": "alpha-right"}),
    *(("out.mkv", {"codec": "ffv1", "layout": f"alpha-{side}"}, {"layout": f"alpha-{side}"})
      for side in ("right", "left", "bottom", "top")),
    *((f"out_FISHEYE190_alpha.{ending}", {"codec": codec, "layout": f"fisheye-{one}"}, {"layout": f"fisheye-{one}"})
      for one in "ab" for ending, codec in (("mp4", "h264"), ("mkv", "ffv1"))),
]  # fmt: skip
"""A target, options of the export, and the options by which `encode` reads it."""
each = pytest.mark.parametrize(("name", "options", "how"), EACH)
Masks = npt.NDArray[np.bool_]


def _masks() -> Masks:
    """Discs that move through both eyes."""
    y, x = np.mgrid[: SIZE[1], : SIZE[0]]
    return np.array([(x - 40 - 4 * k) ** 2 + (y - 40) ** 2 < (20 + k % 9) ** 2 for k in range(N_FRAMES)])


MASKS = _masks()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("colours")


@pytest.fixture(scope="module")
def source(folder: Path) -> Path:
    with AsvpWriter(folder / "masks.asvp") as writer:
        for mask in MASKS:
            writer.add_frame(encode_mask(mask))
    return folder / "masks.asvp"


@pytest.fixture(scope="module")
def video(folder: Path) -> Path:
    """A colour video with audio and a title."""
    return write_colours(folder / "colours.mp4", sound="aac")


@pytest.fixture(autouse=True)
def short_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Six frames, so that small videos have several segments."""
    whole = coders.colour_coder

    def short(*arguments: Any) -> coders.Coder:
        coder = whole(*arguments)
        return dataclasses.replace(coder, segment_frames=6)

    monkeypatch.setattr("alphastream_gpu._exporting.colour_videos.colour_coder", short)


def write_colours(
    path: Path | io.BytesIO,
    *,
    count: int = N_FRAMES,
    size: tuple[int, int] = SIZE,
    codec: str = "libx264",
    form: str = "yuv420p",
    rate: Fraction = RATE,
    ticks: Sequence[int] | None = None,
    tick: Fraction | None = None,
    sound: str = "",
    color_range: int = 0,
    options: dict[str, str] | None = None,
    container: str | None = None,
) -> Any:
    """Write a video with smooth colours that move, and a tone."""
    y, x = np.mgrid[: size[1], : size[0]]
    with av.open(path if isinstance(path, io.BytesIO) else str(path), "w", format=container) as file:
        file.metadata["title"] = "a test"
        stream: Any = file.add_stream(codec, rate=rate, options=options or {"crf": "10"})
        stream.width, stream.height = size
        stream.pix_fmt = form
        stream.codec_context.time_base = tick or 1 / rate
        if color_range:
            stream.codec_context.color_range = color_range
        audio: Any = file.add_stream(sound, rate=48000) if sound else None
        for number in range(count):
            pixels = np.stack([x * 3 + 4 * number, y * 5, x + y], axis=2) % 256
            frame: Any = av.VideoFrame.from_ndarray(pixels.astype(np.uint8), format="rgb24")
            if form != "rgb24":
                frame = frame.reformat(format=form, dst_color_range=color_range or 1)
            if color_range:
                frame.color_range = color_range
            frame.pts, frame.time_base = (number if ticks is None else ticks[number]), tick or 1 / rate
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
        if audio is not None:
            for number in range(int(count / rate * 48000) // 960):
                tone = np.sin((np.arange(960) + 960 * number) / 20)[None].astype(np.float32).repeat(2, axis=0)
                heard: Any = av.AudioFrame.from_ndarray(tone, format="fltp", layout="stereo")
                if sound == "libopus":
                    heard = av.AudioFrame.from_ndarray(tone.T.reshape(1, -1).copy(), format="flt", layout="stereo")
                heard.sample_rate, heard.pts, heard.time_base = 48000, 960 * number, Fraction(1, 48000)
                file.mux(audio.encode(heard))
            file.mux(audio.encode(None))
    return path


def frames_in(path: Path) -> list[Any]:
    with av.open(str(path)) as file:
        return list(file.decode(video=0))


def rows(plane: Any) -> npt.NDArray[np.uint8]:
    return np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[: plane.height, : plane.width]


def expected_masks(source: Path, options: dict[str, Any], size: tuple[int, int] = SIZE) -> Masks:
    """The masks in the size that the layout has."""
    fisheye = str(options.get("layout", "")).startswith("fisheye")
    with alphastream_gpu.open_array(source, matte_size(*size) if fisheye else size, config=CONFIG) as masks:
        found: Masks = masks[:] != 0
    return found


# Masks.


@each
def test_the_masks_come_back(
    source: Path, video: Path, tmp_path: Path, name: str, options: dict[str, Any], how: dict[str, Any]
) -> None:
    """Exactly, where the report says so. A lossy codec moves some pixels of the border."""
    report = exported(source, tmp_path / name, video=video, config=CONFIG, **options)
    found, expected = back(tmp_path / name, **how), expected_masks(source, how)
    n_wrong = int((found != expected).sum())
    assert report.is_lossless == (report.codec in ("ffv1", "prores"))
    if report.is_lossless:
        assert n_wrong == 0
    else:
        assert n_wrong < expected.sum() / (20 if "fisheye" in str(how) else 100)
    assert (report.frames, report.drift, report.resumed_from) == (N_FRAMES, 0, 0)
    assert report.layout == how.get("layout", "alpha")
    assert [one.name for one in tmp_path.iterdir()] == [name]


@pytest.mark.slow
@pytest.mark.parametrize("size", [(70, 50), (64, 40), (62, 38)])  # pieces begin at odd pixels
@pytest.mark.parametrize("layout", ["fisheye-a", "fisheye-b"])
def test_fisheye_of_other_sizes(source: Path, tmp_path: Path, layout: str, size: tuple[int, int]) -> None:
    video = write_colours(tmp_path / "colours.mp4", size=size)
    target = tmp_path / "out_MKX200_alpha.mkv"
    exported(source, target, video=video, codec="ffv1", layout=layout, config=CONFIG)
    assert (back(target, layout=layout) == expected_masks(source, {"layout": layout}, size)).all()


def test_what_ffmpeg_says_of_the_videos(source: Path, video: Path, tmp_path: Path) -> None:
    for name, codec, form in (
        ("out.webm", "vp9", "yuv420p"),
        ("out.mov", "prores", "yuva444p"),
        ("out.mp4", "h264", "yuv420p"),
        ("out_FISHEYE190_alpha.mp4", "h264", "yuv420p"),
    ):
        layout = "fisheye-b" if "FISHEYE" in name else "auto"
        exported(source, tmp_path / name, video=video, config=CONFIG, layout=layout)
        with av.open(str(tmp_path / name)) as file:
            stream: Any = file.streams.video[0]
            assert stream.codec_context.name == codec
            assert stream.codec_context.pix_fmt.startswith(form)
            assert stream.average_rate == RATE
            if codec == "vp9":
                assert {key.lower(): text for key, text in stream.metadata.items()}["alpha_mode"] == "1"
            if codec == "prores":
                assert stream.codec_context.codec_tag == "ap4h"
            assert len(list(file.decode(stream))) == N_FRAMES
        found = probed(tmp_path / name)
        assert (found["codec_name"], found["nb_read_frames"]) == (codec, str(N_FRAMES))
        assert found["pix_fmt"].startswith(form)
        if codec == "vp9":
            assert {key.lower(): text for key, text in found["tags"].items()}["alpha_mode"] == "1"
        if codec == "prores":
            assert found["codec_tag_string"] == "ap4h"


# Colours, audio, metadata.


@pytest.mark.parametrize("side", ["right", "left", "bottom", "top"])
def test_the_colours_are_those_of_the_video(source: Path, video: Path, tmp_path: Path, side: str) -> None:
    exported(source, tmp_path / "out.mkv", video=video, codec="ffv1", layout=f"alpha-{side}", config=CONFIG)
    width, height = SIZE
    for original, made in zip(frames_in(video), frames_in(tmp_path / "out.mkv"), strict=True):
        for number in range(3):
            half = 2 if number else 1
            y = height // half if side == "top" else 0
            x = width // half if side == "left" else 0
            found = rows(made.planes[number])[y : y + height // half, x : x + width // half]
            assert (found == rows(original.planes[number])).all()


def test_the_picture_between_the_corners_is_that_of_the_video(source: Path, video: Path, tmp_path: Path) -> None:
    for name, codec in (("x_FISHEYE190_alpha.mp4", "h264"), ("x_FISHEYE190_alpha.mkv", "ffv1")):
        target = tmp_path / name
        exported(source, target, video=video, layout="fisheye-b", codec=codec, config=CONFIG, quality=None)
        for original, made in zip(frames_in(video), frames_in(target), strict=True):
            a, b = (frame.to_ndarray(format="rgb24").astype(int)[17:63] for frame in (original, made))
            assert abs(a - b).mean() < 3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("form", "codec", "options", "color_range"),
    [
        ("yuvj420p", "libx264", {"crf": "10"}, 2),
        ("yuv420p10le", "libx264", {"crf": "10"}, 1),
        ("yuv444p", "libx264", {"crf": "10"}, 1),
        ("rgb24", "png", {"pred": "none"}, 0),
        ("rgba", "png", {"pred": "none"}, 0),
        ("yuva444p10le", "prores_ks", {"profile": "4444"}, 1),
        ("gray", "ffv1", {"level": "3"}, 2),
    ],
)
def test_colours_of_other_forms(
    source: Path, tmp_path: Path, form: str, codec: str, options: dict[str, str], color_range: int
) -> None:
    """The pictures look the same, in the range that the target says."""
    path = tmp_path / ("colours.mov" if codec == "png" else "colours.mkv")
    video = write_colours(path, codec=codec, form=form, options=options, color_range=color_range)
    for name, how in (("out.mov", {}), ("out.mkv", {"layout": "alpha-bottom", "codec": "ffv1"})):
        exported(source, tmp_path / name, video=video, config=CONFIG, **how)
        options_back = {"layout": how["layout"]} if how else {}
        assert (back(tmp_path / name, **options_back) == MASKS).all()
        for original, made in zip(frames_in(video), frames_in(tmp_path / name), strict=True):
            a, b = (frame.to_ndarray(format="rgb24").astype(int)[: SIZE[1]] for frame in (original, made))
            assert abs(a - b).mean() < 6, (name, form)


def test_audio_and_title(source: Path, video: Path, tmp_path: Path) -> None:
    def sound(path: Path) -> list[tuple[bytes, Fraction]]:
        with av.open(str(path)) as file:
            return [(bytes(one), one.pts * one.time_base) for one in file.demux(audio=0) if one.size]  # type: ignore[operator]

    for name, options in (("out.mov", {}), ("out.mp4", {}), ("out.mkv", {"codec": "prores"})):
        exported(source, tmp_path / name, video=video, config=CONFIG, **options)
        original, copied = sound(video), sound(tmp_path / name)
        kept = [one for one in original if 0 <= one[1] < N_FRAMES / RATE]
        assert len(kept) > 10
        assert [data for data, _ in copied] == [data for data, _ in kept]
        for (_, time), (_, expected) in zip(copied, kept, strict=True):
            assert abs(time - expected) <= Fraction(1, 1000)
        with av.open(str(tmp_path / name)) as file:
            assert file.metadata["title"] == "a test"


def test_audio_that_the_container_cannot_hold(source: Path, video: Path, tmp_path: Path) -> None:
    report = exported(source, tmp_path / "out.webm", video=video, config=CONFIG)
    assert "its audio is left out: 'webm' format does not support 'aac' codec" in report.notes[0]
    opus = write_colours(tmp_path / "colours.mkv", sound="libopus")
    report = exported(source, tmp_path / "out.webm", video=opus, config=CONFIG)
    assert report.notes == ()
    with av.open(str(tmp_path / "out.webm")) as file:
        assert [stream.codec_context.name for stream in file.streams] == ["vp9", "opus"]


def test_a_part(source: Path, video: Path, tmp_path: Path) -> None:
    """From a later frame on: colours, masks and audio begin together."""
    report = exported(
        source, tmp_path / "out.mkv", video=video, codec="prores", start=7, frames=9, config=CONFIG
    )  # fmt: skip
    assert report.frames == 9
    assert (back(tmp_path / "out.mkv") == MASKS[7:16]).all()
    original, made = frames_in(video)[7], frames_in(tmp_path / "out.mkv")[0]
    a, b = (frame.to_ndarray(format="rgb24").astype(int) for frame in (original, made))
    assert abs(a - b).mean() < 3
    with av.open(str(tmp_path / "out.mkv")) as file:
        times = [one.pts * one.time_base for one in file.demux(audio=0) if one.size]  # type: ignore[operator]
    assert times[0] < Fraction(1, 40)
    assert times[-1] < 9 / RATE


# Times.


def test_times_of_the_video_are_kept(source: Path, tmp_path: Path) -> None:
    """With pauses, as telephones record: each frame has its time, and the mask that is nearest to it."""
    ticks = [0, 30, 70, 110, 140, 400, 433, 466, 500]
    video = write_colours(tmp_path / "colours.mkv", count=len(ticks), ticks=ticks, tick=Fraction(1, 1000))
    for name in ("out.mkv", "out.mov"):
        report = exported(source, tmp_path / name, video=video, codec="prores", config=CONFIG)
        with av.open(str(tmp_path / name)) as file:
            stream = file.streams.video[0]
            times = [frame.pts * stream.time_base for frame in file.decode(stream)]  # type: ignore[operator]
        assert times == [Fraction(tick, 1000) for tick in ticks]
        nearest = [0, 1, 2, 3, 4, 12, 13, 14, 15]
        with alphastream_gpu._inputs.open_frames(tmp_path / name) as frames:
            decoded = [mask for _, mask in sorted({int(i): m for i, m in enumerate(frames)}.items())]
        assert (decoded[0] == MASKS[0]).all()
        assert report.frames == 9
        drifts = [abs(Fraction(t, 1000) - Fraction(k, 30)) for t, k in zip(ticks, nearest, strict=True)]
        assert report.drift == float(max(drifts))
        assert any("11 of 20 masks are not shown" in one for one in report.notes)


def test_the_mask_of_each_frame() -> None:
    found = matched("a.mp4", [10, 20, 30, 40], Fraction(1, 300), RATE, range(20), 20)
    assert (found.first, found.masks, found.ticks) == (0, (0, 1, 2, 3), (0, 10, 20, 30))
    assert (found.start, found.drift) == (0, 0)
    found = matched("a.mp4", [0, 4, 5, 6, 14, 15], Fraction(1, 300), RATE, range(1, 2), 20)
    assert (found.first, found.masks, found.ticks, found.start) == (2, (1, 1, 1), (0, 1, 9), Fraction(1, 60))
    assert found.drift == Fraction(5, 300)
    with pytest.raises(ValueError, match=r"video: a.mp4 has no frame at the time of a mask; it ends after 0.020 s"):
        matched("a.mp4", [0, 4, 6], Fraction(1, 300), RATE, range(5, 9), 20)


@given(
    st.lists(st.integers(0, 3000), min_size=1, max_size=30, unique=True).map(sorted),
    st.integers(0, 20),
    st.integers(1, 40),
    st.fractions(1, 120),
)
def test_matching_of_any_times(times: list[int], start: int, count: int, rate: Fraction) -> None:
    """Each frame that is left out is nearest to no mask of the range; each other one gets the nearest."""
    tick, frames = Fraction(1, 600), range(start, start + count)
    try:
        found = matched("a.mp4", times, tick, rate, frames, 60)
    except ValueError:
        found = None
    drifts = []
    for number, time in enumerate(times):
        seconds = (time - times[0]) * tick
        below = int(seconds * rate)
        nearest = min((below, below + 1), key=lambda k: (abs(seconds - k / rate), -k))
        if nearest in frames:
            assert found is not None
            assert found.masks[number - found.first] == nearest
            assert found.start + found.ticks[number - found.first] * tick == seconds
            drifts.append(abs(seconds - nearest / rate))
        elif found is not None:
            assert not 0 <= number - found.first < len(found.masks)
    assert (found is None) == (drifts == [])
    assert found is None or found.drift == max(drifts)


def test_notes_about_times(source: Path, video: Path, tmp_path: Path) -> None:
    """A wrong frame rate shows: the video is longer or shorter than the masks, and has as many frames."""
    report = exported(source, tmp_path / "a.mov", video=video, config=Config(native_size=SIZE, fps=60))
    assert report.frames == 10
    assert "its last 10 frames are left out: the masks end after 0.333 s, the video after 0.633 s" in report.notes[0]
    assert "10 of 20 masks are not shown" in report.notes[1]
    assert "it has as many frames as there are masks, but 30 a second" in report.notes[2]
    assert "set the frame rate to 30" in report.notes[2]
    report = exported(source, tmp_path / "b.mov", video=video, config=Config(native_size=SIZE, fps=15))
    assert report.frames == N_FRAMES
    assert "9 of 20 masks are not shown: no frame is nearest to them; the video ends after 0.633 s" in report.notes[0]
    assert "frames have the same mask as the frame before" in report.notes[1]


# Projection and stereo mode.


def element(number: int, body: bytes) -> bytes:
    return number.to_bytes((number.bit_length() + 7) // 8, "big") + struct.pack(">Q", len(body) | 1 << 56) + body


def write_spherical(path: Path) -> Path:
    """A video that says equirectangular and left-right, as the specification of Matroska has it."""
    sphere = element(0x7671, b"\1") + element(0x7672, struct.pack(">IIIII", 0, 0, 0, 0x40000000, 0x40000000))
    sphere += b"".join(element(0x7673 + k, struct.pack(">f", angle)) for k, angle in enumerate((10.0, -20.0, 0.0)))
    data = write_colours(io.BytesIO(), container="matroska").getvalue()
    path.write_bytes(grown(data, element(0x53B8, b"\1") + element(0x7670, sphere)))
    return path


def grown(data: bytes, extra: bytes) -> bytes:
    """Add elements to the description of the video, and leave out the index, whose places are no longer true."""
    found, place = b"", 0
    while place < len(data):
        length = 9 - data[place].bit_length()
        number = int.from_bytes(data[place : place + length], "big")
        place += length
        length = 9 - data[place].bit_length()
        size = int.from_bytes(data[place : place + length], "big") - (1 << 7 * length)
        place += length
        body = data[place : place + size]
        place += size
        if number in (0x18538067, 0x1654AE6B, 0xAE):  # segment, tracks, track
            body = grown(body, extra)
        if number not in (0x114D9B74, 0x1C53BB6B):  # places of elements, places of frames
            found += element(number, body + (extra if number == 0xE0 else b""))
    return found


def sphere_of(path: Path) -> dict[str, bytes]:
    frame = frames_in(path)[0]
    return {name: bytes(data) for name in ("SPHERICAL", "STEREO3D") if (data := frame.side_data.get(name)) is not None}


@pytest.mark.slow
def test_projection_and_stereo_mode(source: Path, tmp_path: Path) -> None:
    video = write_spherical(tmp_path / "colours.mkv")
    said = sphere_of(video)
    assert set(said) == {"SPHERICAL", "STEREO3D"}
    for name, options in (
        ("out.webm", {}),
        ("out.mkv", {"codec": "prores"}),
        ("x_FISHEYE190_alpha.mp4", {"layout": "fisheye-a"}),
        ("x_FISHEYE190_alpha.mkv", {"layout": "fisheye-a", "codec": "ffv1"}),
    ):
        report = exported(source, tmp_path / name, video=video, config=CONFIG, **options)
        if name.endswith("mp4"):  # FFmpeg also writes a newer box, vexu, which it reads as an unknown stereo mode
            content = (tmp_path / name).read_bytes()
            assert content[content.index(b"st3d") + 8] == 2  # left-right
            assert sphere_of(tmp_path / name)["SPHERICAL"] == said["SPHERICAL"]
        else:
            assert sphere_of(tmp_path / name) == said, name
        assert report.notes == ()
    copied = exported(source, tmp_path / "again.mov", video=video, config=CONFIG)
    assert copied.notes == ("FFmpeg writes no projection to .mov; stereo mode and all else are copied",)
    assert set(sphere_of(tmp_path / "again.mov")) == {"STEREO3D"}
    report = exported(source, tmp_path / "out.mp4", video=video, config=CONFIG)
    assert sphere_of(tmp_path / "out.mp4") == {}
    assert "its projection and stereo mode are not copied" in report.notes[0]


# Interruptions.


@pytest.mark.parametrize(
    ("name", "options", "how"),
    [pytest.param(*one, marks=[] if one[0] in ("out.webm", "out.mp4") else pytest.mark.slow) for one in EACH],
)
def test_a_killed_export_goes_on(
    source: Path, video: Path, tmp_path: Path, name: str, options: dict[str, Any], how: dict[str, Any]
) -> None:
    def progress(at: ExportProgress) -> None:
        if at.done >= 12:
            raise KeyboardInterrupt

    whole = tmp_path / "whole" / name
    whole.parent.mkdir()
    exported(source, whole, video=video, config=CONFIG, jobs=1, **options)
    with pytest.raises(KeyboardInterrupt):
        exported(source, tmp_path / name, video=video, config=CONFIG, jobs=2, progress=progress, **options)
    assert not (tmp_path / name).exists()
    (tmp_path / f".{name}.parts" / "00000000.mkv").unlink()
    seen: list[ExportProgress] = []
    report = exported(source, tmp_path / name, video=video, config=CONFIG, progress=seen.append, **options)
    assert report.resumed_from == 6
    assert seen[0].done == 6
    assert seen[-1] == ExportProgress("joining", N_FRAMES, N_FRAMES)
    assert same_export(tmp_path / name, whole, **how)
    assert sorted(one.name for one in tmp_path.iterdir()) == sorted([name, "whole"])


def test_another_colour_video(source: Path, video: Path, tmp_path: Path) -> None:
    def progress(at: ExportProgress) -> None:
        if at.done >= 12:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        exported(source, tmp_path / "out.mov", video=video, config=CONFIG, progress=progress)
    other = write_colours(tmp_path / "other.mp4")
    with pytest.raises(DecodeError, match="another job, with other video"):
        exported(source, tmp_path / "out.mov", video=other, config=CONFIG)


# Errors.


def test_a_damaged_colour_video(source: Path, video: Path, tmp_path: Path) -> None:
    content = bytearray(video.read_bytes())
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(content[: len(content) // 3])
    with pytest.raises(DecodeError, match="cut.mp4"):
        exported(source, tmp_path / "out.mov", video=cut, config=CONFIG)
    place = content.index(b"mdat") + 2500
    content[place : place + 1500] = bytes(1500)
    (tmp_path / "hole.mp4").write_bytes(content)
    with pytest.raises(DecodeError, match="hole.mp4"):
        exported(source, tmp_path / "out.mov", video=tmp_path / "hole.mp4", config=CONFIG)
    with pytest.raises(TransportError, match="no.mp4"):
        exported(source, tmp_path / "out.mov", video=tmp_path / "no.mp4", config=CONFIG)
    assert not (tmp_path / "out.mov").exists()


def test_a_video_that_is_turned(source: Path, tmp_path: Path) -> None:
    with av.open(str(tmp_path / "turned.mp4"), "w") as file:
        stream: Any = file.add_stream("libx264", rate=30)
        if not hasattr(stream, "set_display_rotation"):
            pytest.skip("this PyAV cannot write a rotation")
        stream.width, stream.height = SIZE
        stream.set_display_rotation(90)
        for number in range(3):
            frame: Any = av.VideoFrame(*SIZE, "yuv420p")
            frame.pts, frame.time_base = number, 1 / RATE
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    with pytest.raises(ValueError, match="video: turned.mp4 is turned or cropped by players"):
        exported(source, tmp_path / "out.mov", video=tmp_path / "turned.mp4", config=CONFIG)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("out.mp4", {"layout": "alpha"}, "target: .mp4 cannot hold an alpha channel; expected .webm"),
        ("out.webm", {"codec": "prores"}, "codec: expected vp9 for an alpha channel in .webm, found prores"),
        ("out.npy", {}, "video: is for videos"),
        ("out.mp4", {"layout": "fisheye-a"}, "a name by which players know the lens and the matte, such as clip_FISH"),
        ("out.mp4", {"quality": 52}, r"quality: expected 0\.\.51 for h264, found 52"),
        ("out.mov", {"quality": 5}, "quality: is for lossy videos"),
        ("out.mov", {"size": (8, 8)}, "size: the masks get the size of the colour video"),
        ("out.mov", {"layout": "side"}, "layout: expected one of auto, alpha"),
    ],
)
def test_options_that_do_not_fit(
    source: Path, video: Path, tmp_path: Path, name: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        exported(source, tmp_path / name, video=video, config=CONFIG, **options)
    assert list(tmp_path.iterdir()) == []


def test_a_layout_needs_a_video(source: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="layout: 'alpha-right' joins the mask with a colour video"):
        exported(source, tmp_path / "out.mp4", layout="alpha-right", config=CONFIG)


def test_a_url_as_colour_video(source: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="video: expected the path of a file, found a https: URL") as caught:
        exported(source, tmp_path / "out.mov", video="https://user:word@host/a.mp4?token=1", config=CONFIG)
    assert "token" not in str(caught.value)


def test_the_colour_video_is_not_overwritten(source: Path, tmp_path: Path) -> None:
    video = write_colours(tmp_path / "colours.mp4")
    before = video.read_bytes()
    with pytest.raises(ValueError, match="target: expected another file than the colour video"):
        exported(source, video, video=video, config=CONFIG)
    assert video.read_bytes() == before


def test_an_odd_size(source: Path, tmp_path: Path) -> None:
    video = write_colours(tmp_path / "odd.mkv", size=(61, 47), codec="ffv1", form="yuv444p", options={"level": "3"})
    with pytest.raises(ValueError, match="video: expected an even width and height, found 61 x 47"):
        exported(source, tmp_path / "out.mp4", video=video, config=CONFIG)
    exported(source, tmp_path / "out.mov", video=video, config=CONFIG)
    with alphastream_gpu.open_array(source, (61, 47), config=CONFIG) as masks:
        assert (back(tmp_path / "out.mov") == (masks[:] != 0)).all()


# Pictures.


@pytest.mark.parametrize("colour_space", [1, 2, 9])
@pytest.mark.parametrize("color_range", [1, 2])
@pytest.mark.parametrize(("x", "y"), [(0, 0), (3, 0), (0, 5), (3, 5)])
def test_red_divides_set_and_unset_pixels(x: int, y: int, color_range: int, colour_space: int) -> None:
    """By the definition of YUV. Luma outside of the piece is kept, and so is chroma that belongs to colours only."""
    rng = np.random.default_rng(x + y)
    mask = (rng.random((7, 9)) < 0.5).astype(np.uint8) * 255
    made: Any = av.VideoFrame(24, 18, "yuv420p")
    for plane in made.planes:
        rows(plane)[:] = rng.integers(20, 230, (plane.height, plane.width))
    before = [rows(plane).copy() for plane in made.planes]
    made.color_range, made.colorspace = color_range, colour_space
    composing._paste_yuv(made, Piece(range(y, y + 7), range(x, x + 9), range(7), range(9)), mask)
    of_red = {1: 0.2126, 9: 0.2627}.get(colour_space, 0.299)
    luma, chroma = rows(made.planes[0]).astype(float), rows(made.planes[2]).repeat(2, axis=0).repeat(2, axis=1)
    scaled = (luma - 16) / 219 if color_range == 1 else luma / 255
    red = scaled + 2 * (1 - of_red) * (chroma.astype(float) - 128) / (224 if color_range == 1 else 255)
    part = red[y : y + 7, x : x + 9]
    assert (part[mask > 0] > 0.97).all()
    assert (part[mask == 0] < 0.42).all()
    inside = np.zeros((18, 24), np.bool_)
    inside[y : y + 7, x : x + 9] = True
    assert (rows(made.planes[0])[~inside] == before[0][~inside]).all()
    covered = inside.reshape(9, 2, 12, 2).any(axis=(1, 3))
    for plane in (1, 2):
        assert (rows(made.planes[plane])[~covered] == before[plane][~covered]).all()


def test_a_picture_of_the_video_is_not_changed(video: Path) -> None:
    """Decoders predict the next picture from it."""
    frame = frames_in(video)[0]
    before = [bytes(plane) for plane in frame.planes]
    for layout, codec in (("alpha", "vp9"), ("alpha-right", "h264"), ("fisheye-a", "h264")):
        composer = composing.composer_for(layout, coders.colour_coder(codec, layout, 20), SIZE)  # type: ignore[arg-type]
        composer.picture(frame, np.full(composer.mask_size[::-1], 255, np.uint8))
        assert [bytes(plane) for plane in frame.planes] == before
