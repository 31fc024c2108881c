"""
Videos: real files of each kind, written by FFmpeg's libraries, and read as the masks that they were made of.
"""

from __future__ import annotations

import io
import struct
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from inputfiles import all_of, gray_of, masks_of, moving_masks, rgba_of, write_video

from alphastream_gpu import DecodeError
from alphastream_gpu._inputs import InputOptions, open_frames
from alphastream_gpu._inputs.cropping import container_crop
from alphastream_gpu._inputs.planes import channel_of, depth_of

MASKS = moving_masks()

ALPHA = {
    "ProRes 4444": ("a.mov", "prores_ks", "yuva444p10le"),
    "PNG in MOV": ("a.mov", "png", "rgba"),
    "QuickTime Animation": ("a.mov", "qtrle", "argb"),
    "VP8 in WebM": ("a.webm", "libvpx", "yuva420p"),
    "VP9 in WebM": ("a.webm", "libvpx-vp9", "yuva420p"),
    "FFV1 in Matroska": ("a.mkv", "ffv1", "yuva420p"),
    "CineForm": ("a.mov", "cfhd", "gbrap12le"),
    "UT Video": ("a.avi", "utvideo", "gbrap"),
}


@pytest.mark.parametrize("kind", ALPHA)
def test_a_real_alpha_channel(tmp_path: Path, kind: str) -> None:
    name, codec, form = ALPHA[kind]
    size = (128, 64)
    masks = moving_masks(size=size)
    options = {"auto-alt-ref": "0", "crf": "4", "b:v": "4M"} if "vpx" in codec else {}
    path = write_video(tmp_path / name, rgba_of(masks), codec=codec, form=form, given="rgba", options=options)
    with open_frames(path) as frames:
        assert frames.size == size
        assert frames.fps == 25
        assert frames.count == 6
        assert "channel alpha" in frames.about
        found = all_of(frames)
    if codec in ("libvpx", "libvpx-vp9", "prores_ks", "cfhd"):  # lossy colour; alpha may be, too
        assert (found != masks).mean() < 0.005
    else:
        assert (found == masks).all()


@pytest.mark.parametrize(
    ("name", "codec", "form"),
    [
        ("g.mkv", "ffv1", "gray"),
        ("g.mkv", "ffv1", "gray16le"),
        ("g.mp4", "libx264", "gray"),
        ("g.mov", "png", "gray"),
        ("g.mov", "png", "monob"),
        ("g.avi", "ffv1", "yuv420p"),
        ("g.mp4", "libx264", "yuv420p"),
        ("g.mp4", "libx264", "yuv420p10le"),
        ("g.mp4", "libx265", "yuv420p"),
        ("g.mp4", "libsvtav1", "yuv420p"),
        ("g.avi", "mjpeg", "yuvj420p"),
        ("g.mkv", "ffv1", "yuv422p10le"),
        ("g.mov", "qtrle", "rgb24"),
        ("g.mov", "prores_ks", "yuv422p10le"),
        ("g.avi", "rawvideo", "yuyv422"),
        ("g.avi", "rawvideo", "bgr24"),
        ("g.nut", "rawvideo", "p010le"),
        ("g.nut", "rawvideo", "ya8"),
        ("g.nut", "rawvideo", "gray16be"),
    ],
)
def test_luma(tmp_path: Path, name: str, codec: str, form: str) -> None:
    masks = moving_masks(size=(128, 96))
    options = {"libx264": {"qp": "0"}, "libx265": {"x265-params": "lossless=1:log-level=0"}, "libsvtav1": {"crf": "5"}}
    path = write_video(tmp_path / name, gray_of(masks), codec=codec, form=form, options=options.get(codec))
    found = masks_of(path)
    if codec in ("libsvtav1", "mjpeg", "prores_ks"):
        assert (found != masks).mean() < 0.005
    else:
        assert (found == masks).all()


def test_floats_are_luma_of_16_bits() -> None:
    frame = av.VideoFrame.from_ndarray(np.array([[0, 0.25, 0.5, 1]] * 2, np.float32), format="grayf32le")
    assert depth_of(frame.format) == 16
    values = channel_of(frame, "luma", is_full=True)
    assert values is not None
    assert values.tolist() == [[0, 16384, 32768, 65535]] * 2


@pytest.mark.parametrize(("low", "high", "said"), [(0, 255, 2), (16, 235, 1), (0, 255, None), (16, 235, None)])
def test_the_range_of_luma_is_said_or_found(tmp_path: Path, low: int, high: int, said: int | None) -> None:
    """A ramp between the ends is cut at half of the real range."""
    ramp = np.linspace(low, high, 64).round().astype(np.uint8)
    picture = np.concatenate(
        (np.tile(ramp, (16, 1)), np.full((16, 64), low, np.uint8), np.full((16, 64), high, np.uint8))
    )
    path = write_video(tmp_path / "g.mkv", [picture] * 2, codec="ffv1", form="gray", color_range=said)
    with open_frames(path) as frames:
        assert f"range {low}..{high} ({'said by the file' if said else 'found from the values'})" in frames.about
        assert f"set above {(low + high) / 2:g}" in frames.about
        assert (all_of(frames) == (picture > (low + high) / 2)).all()


def test_a_range_can_be_forced_and_a_wrong_one_is_noted(tmp_path: Path) -> None:
    path = write_video(tmp_path / "g.mkv", gray_of(MASKS), codec="ffv1", form="gray", color_range=1)
    with open_frames(path) as frames:
        assert "range 16..235" in frames.about
        assert "range='full'" in frames.notes[0]
    with open_frames(path, InputOptions(range="full")) as frames:
        assert "range 0..255 (as asked for)" in frames.about
        assert frames.notes == []


@pytest.mark.parametrize("channel", ["red", "green", "blue"])
def test_a_matte_in_one_colour(tmp_path: Path, channel: str) -> None:
    masks = {name: np.roll(MASKS, shift, axis=1) for shift, name in enumerate(("red", "green", "blue"))}
    pictures = np.stack([np.where(masks[name], 255, 0).astype(np.uint8) for name in masks], axis=-1)
    for codec, form in (("rawvideo", "bgr24"), ("ffv1", "yuv444p")):
        path = write_video(tmp_path / f"{codec}.avi", list(pictures), codec=codec, form=form, given="rgb24")
        assert (masks_of(path, channel=channel) == masks[channel]).all()


def test_opaque_alpha_is_not_taken(tmp_path: Path) -> None:
    pictures = rgba_of(np.ones_like(MASKS))
    for picture, mask in zip(pictures, MASKS, strict=True):
        picture[..., :3] = np.where(mask, 255, 0)[..., np.newaxis]
    path = write_video(tmp_path / "a.mov", pictures, codec="qtrle", form="argb", given="rgba")
    with open_frames(path) as frames:
        assert "all is opaque" in frames.notes[0]
        assert (all_of(frames) == MASKS).all()


def test_alpha_that_becomes_transparent_late_is_taken(tmp_path: Path) -> None:
    masks = np.ones((50, 16, 16), np.bool_)
    masks[49, 3:5, 3:9] = False
    path = write_video(tmp_path / "a.mov", rgba_of(masks), codec="qtrle", form="argb", given="rgba")
    assert (masks_of(path) == masks).all()


def test_there_may_be_no_alpha(tmp_path: Path) -> None:
    path = write_video(tmp_path / "g.mkv", gray_of(MASKS), codec="ffv1", form="gray")
    with pytest.raises(ValueError, match="channel: g.mkv has no alpha channel"):
        open_frames(path, InputOptions(channel="alpha"))


@pytest.mark.parametrize("layout", ["alpha-right", "alpha-left", "alpha-bottom", "alpha-top"])
def test_colour_beside_alpha(tmp_path: Path, layout: str) -> None:
    colour = np.random.default_rng(1).integers(0, 256, MASKS.shape, np.uint8)
    alpha = np.array(gray_of(MASKS))
    parts = (colour, alpha) if layout in ("alpha-right", "alpha-bottom") else (alpha, colour)
    pictures = np.concatenate(parts, axis=2 if layout in ("alpha-right", "alpha-left") else 1)
    path = write_video(tmp_path / "c.mp4", list(pictures), codec="libx264", form="yuv444p", options={"qp": "0"})
    assert (masks_of(path, layout=layout) == MASKS).all()


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_rotation_is_honoured(tmp_path: Path, degrees: int) -> None:
    """FFmpeg's rotation is counterclockwise, as numpy's."""
    path = write_video(tmp_path / "r.mov", gray_of(MASKS), codec="png", form="gray", rotation=degrees)
    found = masks_of(path)
    assert (found == np.rot90(MASKS, degrees // 90, axes=(1, 2))).all()


def test_cropping_is_honoured(tmp_path: Path) -> None:
    """H.264 codes whole blocks of 16, and says how much of them is the picture."""
    masks = moving_masks(size=(50, 38))
    path = write_video(tmp_path / "c.mp4", gray_of(masks), codec="libx264", form="yuv420p", options={"qp": "0"})
    assert (masks_of(path) == masks).all()


def test_times(tmp_path: Path) -> None:
    """Of the frames that are read, after the first frame of the video. Pictures and arrays have none."""
    path = write_video(tmp_path / "t.mp4", gray_of(MASKS), codec="libx264", form="gray", rate=25)
    with open_frames(path, InputOptions(start=2, frames=3)) as frames:
        assert frames.times == pytest.approx([2 / 25, 3 / 25, 4 / 25])
    with open_frames(MASKS) as frames:
        assert frames.times is None


def test_b_frames_come_in_the_order_of_their_times(tmp_path: Path) -> None:
    masks = moving_masks(40)
    options = {"qp": "0", "bf": "3", "g": "12"}
    path = write_video(tmp_path / "b.mp4", gray_of(masks), codec="libx264", form="yuv420p", options=options)
    assert (masks_of(path) == masks).all()


@pytest.mark.parametrize("name", ["v.mkv", "v.mp4", "v.nut"])
def test_a_variable_rate_becomes_constant(tmp_path: Path, name: str) -> None:
    """30 frames a second, the fourth and fifth missing, and one more in between at the end."""
    ticks = [0, 33, 67, 167, 200, 210, 233, 267, 300]
    masks = moving_masks(len(ticks))
    path = write_video(
        tmp_path / name, gray_of(masks), codec="libx264", form="gray", rate=30, times=ticks,
        time_base=Fraction(1, 1000), options={"qp": "0"},
    )  # fmt: skip
    with open_frames(path) as frames:
        assert frames.fps == 30
        assert "variable frame rate" in frames.notes[0]
        assert "9 frames became 10; 2 repeated, 1 dropped" in frames.notes[0]
        assert (all_of(frames) == masks[[0, 1, 2, 2, 2, 3, 5, 6, 7, 8]]).all()
        assert frames.times == [ticks[number] / 1000 for number in (0, 1, 2, 2, 2, 3, 5, 6, 7, 8)]
        for index in (0, 3, 4, 5, 9, 10):
            rest = list(frames.read_from(index))
            assert len(rest) == 10 - index
            assert not rest or (rest[0] == masks[[0, 1, 2, 2, 2, 3, 5, 6, 7, 8][index]]).all()


def test_a_video_is_brought_to_another_rate(tmp_path: Path) -> None:
    path = write_video(tmp_path / "g.mkv", gray_of(MASKS), codec="ffv1", form="gray", rate=30)
    with open_frames(path, InputOptions(fps=Fraction(60))) as frames:
        assert frames.fps == 60
        assert frames.count == 12
        assert (all_of(frames) == np.repeat(MASKS, 2, axis=0)).all()
    with open_frames(path, InputOptions(fps=Fraction(15))) as frames:
        assert frames.count == 3


@pytest.mark.parametrize("rate", [Fraction(24000, 1001), Fraction(30000, 1001), Fraction(60), Fraction(60000, 1001)])
@pytest.mark.parametrize("name", ["r.mkv", "r.mp4", "r.avi"])
def test_usual_rates_are_found(tmp_path: Path, name: str, rate: Fraction) -> None:
    masks = moving_masks(70, (16, 32))
    path = write_video(tmp_path / name, gray_of(masks), codec="ffv1", form="gray", rate=rate)
    with open_frames(path) as frames:
        assert frames.fps == rate
        assert frames.notes == []
        assert frames.count == 70


def test_start_frames_and_resuming(tmp_path: Path) -> None:
    masks = moving_masks(20)
    path = write_video(tmp_path / "g.mkv", gray_of(masks), codec="ffv1", form="gray")
    with open_frames(path, InputOptions(start=3, frames=10)) as frames:
        assert frames.count == 10
        assert (all_of(frames) == masks[3:13]).all()
        assert (np.array(list(frames.read_from(7))) == masks[10:13]).all()
        assert list(frames.read_from(10)) == []
    with pytest.raises(ValueError, match=r"start: expected 0\.\.19 in g.mkv, found 20"):
        open_frames(path, InputOptions(start=20))


def cut(path: Path, share: float) -> Path:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


@pytest.mark.parametrize(("name", "codec"), [("d.mkv", "ffv1"), ("d.avi", "ffv1"), ("d.webm", "libvpx-vp9")])
def test_a_file_that_is_cut_off(tmp_path: Path, name: str, codec: str) -> None:
    masks = moving_masks(50)
    form = "gray" if codec == "ffv1" else "yuv420p"
    path = cut(write_video(tmp_path / name, gray_of(masks), codec=codec, form=form), 0.6)
    assert_damaged(path, masks, 5)


def assert_damaged(path: Path, masks: np.ndarray, least: int) -> None:
    """The frames before the damage come first, then the error that names the frame."""
    done = []
    with open_frames(path) as frames, pytest.raises(DecodeError) as caught:
        for mask in frames:
            done.append(mask)
    assert least <= len(done) < len(masks)
    assert (np.array(done) != masks[: len(done)]).mean() < 0.01
    assert caught.value.frame_index == len(done)
    assert path.name in str(caught.value)
    assert "the frames before are complete" in str(caught.value)


def test_an_mp4_that_is_cut_off_after_its_index(tmp_path: Path) -> None:
    masks = moving_masks(50)
    options = {"qp": "0"}
    write_video(tmp_path / "whole.mp4", gray_of(masks), codec="libx264", form="gray", options=options)
    with (
        av.open(str(tmp_path / "whole.mp4")) as old,
        av.open(str(tmp_path / "d.mp4"), "w", options={"movflags": "faststart"}) as new,
    ):
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(old.streams.video[0]):
            if packet.size:
                packet.stream = stream
                new.mux(packet)
    assert_damaged(cut(tmp_path / "d.mp4", 0.7), masks, 5)


@pytest.mark.parametrize("seed", range(6))
def test_damaged_bytes(tmp_path: Path, seed: int) -> None:
    """
    FFV1 checks itself: a damaged frame is an error, and never a wrong mask. Where the container is damaged, FFmpeg
    goes on at its next cluster, without an error; the pause in the times is noted.
    """
    masks = moving_masks(50, (256, 128))
    path = write_video(
        tmp_path / "d.mkv", gray_of(masks), codec="ffv1", form="gray", options={"level": "3", "slicecrc": "1"}
    )
    data = bytearray(path.read_bytes())
    rng = np.random.default_rng(seed)
    place = int(rng.integers(len(data) // 3, len(data) * 9 // 10))
    data[place : place + 60] = rng.integers(0, 256, 60, np.uint8).tobytes()
    path.write_bytes(data)
    with open_frames(path) as frames:
        pauses = frames.notes
    if not pauses:
        assert_damaged(path, masks, 5)
        return
    assert "the longest pause is" in pauses[0]
    found = []
    with suppress(DecodeError):
        for mask in open_frames(path):
            found.append(mask)
    assert all(any((mask == one).all() for one in masks) for mask in found)


@pytest.mark.parametrize("content", [b"", b"no video", b"\0" * 5000, b"#EXTM3U\n#EXTINF:1,\n/etc/passwd\n"])
def test_no_video(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "n.mp4"
    path.write_bytes(content)
    with pytest.raises(DecodeError, match="n.mp4: "):
        open_frames(path)


def test_sound_alone_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "s.wav"
    path.write_bytes(b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0\1\0\1\0\x44\xac\0\0\x88\x58\1\0\2\0\x10\0data\0\0\0\0")
    with pytest.raises(DecodeError):
        open_frames(path)


def test_a_frame_of_another_size(tmp_path: Path) -> None:
    """H.264 may change its size in the middle of a stream."""
    small = write_video(tmp_path / "a.h264", gray_of(MASKS), codec="libx264", form="yuv420p")
    large = write_video(tmp_path / "b.h264", gray_of(moving_masks(size=(96, 64))), codec="libx264", form="yuv420p")
    path = tmp_path / "both.h264"
    path.write_bytes(small.read_bytes() + large.read_bytes())
    with open_frames(path) as frames, pytest.raises(DecodeError, match="expected 64 x 48 pixels as in the first"):
        list(frames)


def test_several_files_are_joined(tmp_path: Path) -> None:
    first = write_video(tmp_path / "1.mkv", gray_of(MASKS), codec="ffv1", form="gray")
    second = write_video(tmp_path / "2.mkv", gray_of(~MASKS), codec="ffv1", form="gray")
    both = np.concatenate((MASKS, ~MASKS))
    with open_frames([first, second]) as frames:
        assert frames.count == 12
        assert (all_of(frames) == both).all()
        assert (np.array(list(frames.read_from(8))) == both[8:]).all()


def test_cropping_of_a_container_is_honoured(tmp_path: Path) -> None:
    """Matroska's PixelCropLeft (8) and PixelCropTop (4), put in the place of a void, since FFmpeg writes none."""
    path = write_video(tmp_path / "c.mkv", gray_of(MASKS), codec="ffv1", form="gray")
    data = path.read_bytes()
    start = data.index(bytes.fromhex("e08ab08140ba8130"))
    old = data[start : start + 27]
    assert old[16:18] == b"\xec\x01", "a void of 11 bytes after MaxBlockAdditionID"
    crop = bytes.fromhex("54cc8108 54bb8104")
    new = b"\xe0\x92" + old[2:12] + crop + old[12:16] + b"\xec\x81\0"
    assert len(new) == len(old)
    path.write_bytes(data.replace(old, new, 1))
    with open_frames(path) as frames:
        assert frames.size == (56, 44)
        assert (all_of(frames) == MASKS[:, 4:, 8:]).all()


def grown(data: bytes, path: list[bytes], extra: bytes) -> bytes:
    """Boxes of MP4, with something added at the end of the innermost of a path."""
    place = 0
    while place < len(data):
        size = int.from_bytes(data[place : place + 4], "big")
        if data[place + 4 : place + 8] == path[0]:
            inner = data[place + 8 : place + size]
            if len(path) > 1:
                skipped = {b"stsd": 8}.get(path[0], 0)
                inner = inner[:skipped] + grown(inner[skipped:], path[1:], extra)
            else:
                inner += extra
            return data[:place] + (len(inner) + 8).to_bytes(4, "big") + path[0] + inner + data[place + size :]
        place += size
    raise AssertionError(path)


@pytest.mark.parametrize("degrees", [0, 90])
def test_the_clean_aperture_is_honoured(tmp_path: Path, degrees: int) -> None:
    """56 x 44 pixels whose center lies 4 to the right and 2 below the picture's."""
    path = write_video(tmp_path / "c.mov", gray_of(MASKS), codec="png", form="gray", rotation=degrees)
    clap = struct.pack(">I4sIIIIiIiI", 40, b"clap", 56, 1, 44, 1, 4, 1, 2, 1)
    boxes = [b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd", b"png "]
    path.write_bytes(grown(path.read_bytes(), boxes, clap))
    assert (masks_of(path) == np.rot90(MASKS[:, 4:, 8:], degrees // 90, axes=(1, 2))).all()


@pytest.mark.parametrize(
    "start",
    [
        b"\x1a\x45\xdf\xa3",
        b"\0\0\0\x10moov",
        b"\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67\xff\x16\x54\xae\x6b\xff",
    ],
)
def test_damaged_words_about_cropping(start: bytes) -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        data = start + rng.integers(0, 256, 300, np.uint8).tobytes()
        left, top, right, bottom = container_crop(io.BytesIO(data), 64, 48)
        assert min(left, top, right, bottom) >= 0
        assert left + right < 64
        assert top + bottom < 48


def fisheye_pictures(layout: str, mattes: np.ndarray) -> list[np.ndarray]:
    """RGB pictures of 200 x 100: noise in green and blue, and the matte (40 x 80) in the corners of red."""
    rng = np.random.default_rng(0)
    pictures = []
    for matte in mattes:
        picture = rng.integers(0, 256, (100, 200, 3), np.uint8)
        picture[..., 0] = 0
        red = picture[..., 0]
        left, right = np.where(matte, 255, 0).astype(np.uint8).reshape(40, 2, 40).swapaxes(0, 1)
        if layout == "fisheye-a":
            for eye, start in ((left, 0), (right, 100)):
                red[:20, start : start + 20], red[:20, start + 80 : start + 100] = eye[:20, :20], eye[:20, 20:]
                red[80:, start : start + 20], red[80:, start + 80 : start + 100] = eye[20:, :20], eye[20:, 20:]
        else:
            red[80:, 80:120], red[:20, 80:120] = left[:20], left[20:]
            red[80:, 180:], red[80:, :20] = right[:20, :20], right[:20, 20:]
            red[:20, 180:], red[:20, :20] = right[20:, :20], right[20:, 20:]
        pictures.append(picture)
    return pictures


@pytest.mark.parametrize("layout", ["fisheye-a", "fisheye-b"])
@pytest.mark.parametrize(("name", "codec", "form"), [("f.avi", "rawvideo", "bgr24"), ("f.mp4", "libx264", "yuv444p")])
def test_fisheye_videos(tmp_path: Path, layout: str, name: str, codec: str, form: str) -> None:
    mattes = moving_masks(size=(80, 40))
    options = {"qp": "0"} if codec == "libx264" else {}
    path = write_video(
        tmp_path / name, fisheye_pictures(layout, mattes), codec=codec, form=form, given="rgb24", options=options
    )
    with open_frames(path, InputOptions(layout=layout)) as frames:  # type: ignore[arg-type]
        assert frames.size == (80, 40)
        assert "channel red" in frames.about
        assert f"layout {layout}" in frames.about
        assert (all_of(frames) == mattes).all()
    assert (masks_of(path, layout=layout, eye="left") == mattes[:, :, :40]).all()


def test_another_angle_is_noted(tmp_path: Path) -> None:
    path = write_video(tmp_path / "r.mov", gray_of(MASKS), codec="png", form="gray", rotation=30)
    with open_frames(path) as frames:
        assert "no multiple of 90" in frames.notes[0]
        assert (all_of(frames) == MASKS).all()


def test_a_leap_in_time(tmp_path: Path) -> None:
    path = write_video(
        tmp_path / "l.mkv", gray_of(MASKS[:4]), codec="ffv1", form="gray", times=[0, 40, 80, 10**9],
        time_base=Fraction(1, 1000),
    )  # fmt: skip
    with pytest.raises(DecodeError, match="l.mkv: the times span .* frames; expected at most 16777216"):
        open_frames(path)


def test_webm_frames_without_alpha_are_an_error(tmp_path: Path) -> None:
    """As FFmpeg joins streams: the file says that there is alpha, and some packets have none."""
    with_alpha = write_video(
        tmp_path / "a.webm", rgba_of(MASKS), codec="libvpx-vp9", form="yuva420p", given="rgba", options={"g": "1"}
    )
    without = write_video(tmp_path / "b.webm", gray_of(MASKS), codec="libvpx-vp9", form="yuv420p", options={"g": "1"})
    with (
        av.open(str(with_alpha)) as first,
        av.open(str(without)) as second,
        av.open(str(tmp_path / "c.webm"), "w") as new,
    ):
        stream = new.add_stream_from_template(first.streams.video[0])
        stream.metadata["alpha_mode"] = "1"
        start = 0
        for old in (first, second):
            for packet in old.demux(old.streams.video[0]):
                if packet.size:
                    packet.pts, packet.dts = start, start
                    start += 40
                    packet.stream = stream
                    new.mux(packet)
    done = []
    with (
        open_frames(tmp_path / "c.webm") as frames,
        pytest.raises(DecodeError, match="expected a frame with alpha, found one without, at frame 6 of 12"),
    ):
        for mask in frames:
            done.append(mask)
    assert (np.array(done) != MASKS).mean() < 0.005
