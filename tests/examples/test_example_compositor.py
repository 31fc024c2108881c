"""
examples/compositor.py: the player's rules as pure functions, the blending pixel by pixel, files, URLs, and the window.
The seek bar, the stall sign and the statistics are tested in test_example_overlay.py.
"""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import compositor
import moderngl
import numpy as np
import pytest
from badserver import Server, status
from blending import Compositor, fit, frame_size, read_picture
from drawn import DrawnPlate, Room
from hosts import skip_or_fail
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from plates import PlateError, VideoPlate
from playing import Input, Key, Pointer, View, describe, follow, handle, press, rest, set_clock, steer, tick, wanted
from screen import Program, Screen, open_screen, started
from seekbar import Bar, Rect
from support import NATIVE, ROOT, SAMPLE, SQUARE, asvp_of, block_of

from alphastream_gpu import AsvrKey, AsvrWriter, Attempt, ErrorCode, FrameGeometry, LastError, PlaybackClock, rasterize
from alphastream_gpu._stream.timebase import frame_at, time_of

Picture = np.ndarray
EYES = ("both", "left", "right")
FPS = 60
SCRIPT = ROOT / "examples" / "compositor.py"
PICTURES = ROOT / "build" / "examples"
"""Where the pictures are left that CI keeps."""


@pytest.fixture
def av() -> Any:
    if importlib.util.find_spec("av") is None:
        skip_or_fail("PyAV is not installed: pip install av")
    import av

    return av


@pytest.fixture
def run(ctx: moderngl.Context, capfd: pytest.CaptureFixture[str]) -> Iterator[Callable[..., str]]:
    """The example in this process: its exit code is checked, its standard error returned."""

    def run_main(*arguments: object, code: int = 0) -> str:
        returned = compositor.main([str(argument) for argument in arguments])
        ctx.__enter__()
        out, err = capfd.readouterr()
        assert (returned, out) == (code, ""), err
        return err

    return run_main


# References, in numpy.


def blend(mask: Picture, plate: Picture, background: Picture, premultiplied: bool) -> Picture:
    inside = (mask > 0)[..., None]
    if not premultiplied:
        return np.where(inside, plate, background)
    return np.minimum(plate.astype(np.uint16) + np.where(inside, 0, background), 255).astype(np.uint8)


def seen(picture: Picture, eye: str) -> Picture:
    half = picture.shape[1] // 2
    return {"both": picture, "left": picture[:, :half], "right": picture[:, half:]}[eye]


def drawn_frame(geometry: FrameGeometry, index: int, size: tuple[int, int], eye: str = "both") -> Picture:
    """What a frame of the sample should look like with drawn colours."""
    whole = frame_size(eye, size)
    at = Fraction(2 * index + 1, 2 * FPS)
    mask = rasterize(geometry, whole, native_size=NATIVE)
    return seen(blend(mask, DrawnPlate().at(at, whole), Room().at(at, whole), False), eye)


def noise(seed: int, size: tuple[int, int]) -> Picture:
    return np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)


def load(path: Path) -> Picture:
    with Image.open(path) as picture:
        assert picture.mode == "RGB"
        return np.asarray(picture)


# The player's rules.


class FakeStream:
    """60 frames a second, each there or not as told; a frame's geometry tells its index."""

    def __init__(self) -> None:
        self.is_there = True
        self.is_stalled = False
        self.code = ErrorCode.TIMEOUT
        self.asked: list[int] = []
        self.sought: list[int] = []

    def get_geometry(self, index: int) -> FrameGeometry | None:
        self.asked.append(index)
        return FrameGeometry([(index, 0)]) if self.is_there else None

    def last_error(self) -> LastError | None:
        return None if self.is_there else LastError(self.code, "not there", self.asked[-1])

    def last_attempt(self, index: int) -> Attempt | None:
        return Attempt(index, "failed" if self.code is ErrorCode.TRANSPORT else "coming", None, None, None)

    def seek(self, index: int) -> None:
        self.sought.append(index)

    def frame_at(self, seconds: float) -> int:
        return frame_at(seconds, Fraction(FPS))

    def time_of(self, index: int) -> float:
        return time_of(index, Fraction(FPS))


class Player:
    """View, clock and stream put together as in the example, with a time of the test's own."""

    def __init__(self, n_frames: int = 120) -> None:
        self.now = 0.0
        self.clock = PlaybackClock(now=lambda: self.now)
        self.stream = FakeStream()
        self.view = View(n_frames=n_frames, n_jump=FPS)
        self.bar = Bar(Rect(10, 100, 4 * n_frames, 10), n_frames)
        steer(self.view, self.view, self.clock, self.stream)

    def press(self, *inputs: Input) -> None:
        before, self.view = self.view, handle(self.view, inputs, self.bar)
        steer(before, self.view, self.clock, self.stream)

    def at(self, frame: int) -> tuple[float, float]:
        """Where the pointer is over a frame of the bar."""
        return self.bar.rect.left + self.bar.column_of(frame), self.bar.rect.top

    def tick(self, seconds: float = 0.0) -> int | None:
        """Time passes; the frame that comes to the screen, if one does."""
        self.now += seconds
        self.view, geometry = tick(self.view, self.clock, self.stream)
        set_clock(self.view, self.clock, self.stream)
        return None if geometry is None else int(geometry.points[0, 0])


def test_plays_by_the_clock_and_begins_again_at_the_end() -> None:
    player = Player(n_frames=5)
    assert [player.tick(1 / FPS) for _ in range(8)] == [1, 2, 3, 4, 0, 1, 2, 3]
    assert player.view.n_late == 0
    assert player.tick() is None, "it is on the screen"
    assert len(player.stream.asked) == 8, "and is not asked for again"


def test_late_frames_are_dropped() -> None:
    player = Player()
    assert player.tick() == 0
    player.stream.is_there = False
    assert [player.tick(1 / FPS) for _ in range(3)] == [None] * 3
    player.stream.is_there = True
    assert player.tick(1 / FPS) == 4, "1..3 are over"
    assert player.tick(5 / FPS) == 9, "so are 5..8: nobody looked"
    assert player.stream.asked == [0, 1, 2, 3, 4, 9]
    assert player.view.n_late == 3 + 4


def test_space_pauses_and_goes_on_from_there() -> None:
    player = Player()
    assert player.tick(0.5) == 30
    player.now += 4.5 / FPS
    player.press(Key.PAUSE)
    assert player.tick(10) is None, "what was seen last stays, though the key came later"
    assert player.view.position == 30
    player.press(Key.PAUSE)
    assert player.tick(1 / FPS) == 31
    assert player.view.n_late == 0, "what is seen before the first picture or passes in a pause is not late"


def test_a_step_pauses() -> None:
    player = Player()
    assert player.tick(0.5) == 30
    player.press(Key.STEP)
    assert player.view.is_paused
    assert player.tick(1.0) == 31
    player.press(Key.STEP_BACK)
    player.press(Key.STEP_BACK)
    assert player.tick(1.0) == 29, "keys that come together move together"
    assert player.view.n_late == 0


def test_a_jump_is_a_second_and_goes_on_playing() -> None:
    player = Player()
    assert player.tick(0.5) == 30
    player.press(Key.JUMP)
    assert not player.view.is_paused
    assert player.tick() == 90
    player.press(Key.JUMP_BACK, Key.JUMP_BACK)
    assert player.tick() == 120 - 30, "before the first frame is the end"
    assert player.tick(1 / FPS) == 91
    player.press(Key.HOME)
    assert player.tick() == 0
    assert player.view.n_late == 0


def test_a_paused_player_waits_for_its_frame() -> None:
    player = Player()
    player.tick()
    player.stream.is_there = False
    player.press(Key.STEP)
    assert [player.tick(1.0), player.tick(1.0)] == [None, None]
    assert "waiting (TIMEOUT)" in describe(player.view, 0.0, "TIMEOUT")
    player.stream.is_there = True
    assert player.tick(1.0) == 1
    assert "frame 1 of 120 | paused" in describe(player.view, 0.0, "")


def test_e_picks_an_eye_and_q_quits() -> None:
    view = View(n_frames=1, n_jump=1)
    eyes = [view.eye]
    for _ in range(3):
        view = press(view, Key.EYE)
        eyes.append(view.eye)
    assert eyes == ["both", "left", "right", "both"]
    assert wanted(replace(view, shown=0, is_sought=False)) is None, "the frame is there, whatever the eye"
    assert press(view, Key.QUIT).is_closing


def test_the_clock_never_leads_back() -> None:
    view = View(n_frames=120, n_jump=60, position=10)
    assert follow(view, 9) is view
    assert follow(view, 11).position == 11
    assert follow(replace(view, is_paused=True), 11).position == 10
    assert wanted(replace(view, shown=11, is_sought=False)) is None
    assert wanted(replace(view, shown=11, is_sought=True)) == 10, "but a key does"


def test_rests_until_something_is_due() -> None:
    player = Player()
    assert rest(player.view, player.clock, player.stream) == pytest.approx(0.02), "the first frame is missing"
    player.tick()
    assert rest(player.view, player.clock, player.stream) == pytest.approx(1 / FPS)
    player.now += 0.01
    assert rest(player.view, player.clock, player.stream) == pytest.approx(1 / FPS - 0.01)
    player.now += 0.02
    assert rest(player.view, player.clock, player.stream) == 0.0
    player.press(Key.PAUSE)
    assert rest(player.view, player.clock, player.stream) == pytest.approx(0.25)
    player.press(Key.PAUSE, Key.JUMP)
    assert rest(player.view, player.clock, player.stream) == pytest.approx(0.02), "it is on its way"
    player.stream.code = ErrorCode.TRANSPORT
    assert rest(player.view, player.clock, player.stream) == pytest.approx(0.25), "a server that fails is left in peace"


def test_a_stall_skips_nothing() -> None:
    player = Player()
    assert player.tick(0.5) == 30
    player.stream.is_there, player.stream.is_stalled = False, True
    assert [player.tick(1 / FPS), player.tick(60.0)] == [None, None]
    assert player.view.is_waiting
    assert player.stream.asked[-2:] == [31, 31], "the same frame until it is there"
    player.stream.is_there, player.stream.is_stalled = True, False
    assert [player.tick(60.0), player.tick(1 / FPS)] == [31, 32]
    assert not player.view.is_waiting
    assert player.view.n_late == 0


def test_preparing_the_first_picture_makes_no_frame_late() -> None:
    """The clock stands until the first picture is drawn."""
    player = Player()
    player.view = replace(player.view, is_waiting=True)
    set_clock(player.view, player.clock, player.stream)
    player.now += 1.0
    player.view, _ = tick(player.view, player.clock, player.stream)
    assert player.view.shown == 0
    player.now += 1.0
    set_clock(player.view, player.clock, player.stream)
    assert player.tick(1 / FPS) == 1
    assert player.view.n_late == 0


def test_what_was_sought_is_waited_for() -> None:
    """Late or not."""
    player = Player()
    assert player.tick(0.5) == 30
    player.stream.is_there = False
    player.press(Key.JUMP)
    assert [player.tick(0.7), player.tick(0.7)] == [None, None]
    player.stream.is_there = True
    assert [player.tick(0.7), player.tick(1 / FPS)] == [90, 91]


def test_a_malformed_frame_is_passed_over() -> None:
    """It never comes, whether play or a seek got to it."""
    player = Player()
    assert player.tick(0.5) == 30
    player.stream.is_stalled = True
    player.stream.code = ErrorCode.DECODE
    for key, next_one in ((None, 32), (Key.JUMP, 93)):
        if key is not None:
            player.press(key)
        player.stream.is_there = False
        assert player.tick(1 / FPS) is None
        assert not player.view.is_waiting
        player.stream.is_there = True
        assert player.tick(1 / FPS) == next_one


def test_a_drag_holds_the_clock_and_seeks_the_newest_target() -> None:
    player = Player()
    assert player.tick(0.5) == 30
    player.press(Pointer("move", *player.at(5)))
    player.press(Pointer("press", player.at(5)[0], 50.0))
    assert not player.view.is_dragging, "not pressed on the bar"
    player.press(Pointer("press", *player.at(80)))
    assert player.tick(1.0) == 80
    assert player.tick(1.0) is None, "it is held"
    player.press(*(Pointer("move", player.at(frame)[0], -7.0) for frame in (70, 50, 40)))
    assert player.stream.sought == [80, 40], "of the moves that came together only the last"
    assert player.tick(1.0) == 40
    player.press(Pointer("move", *player.at(40)))
    assert player.tick(1.0) is None, "the same frame is not sought again"
    player.press(Pointer("move", 9999.0, 0.0))
    assert player.tick(1.0) == 119, "beyond its end is the end"
    player.press(Pointer("release", 0.0, 0.0), Pointer("move", *player.at(3)))
    assert player.tick(1 / FPS) == 0, "play goes on from there, and begins again"
    assert player.view.n_late == 0
    player.press(Pointer("press", *player.at(7)), Pointer("release", *player.at(7)))
    assert (player.tick(), player.view.position) == (7, 127), "in this round"


def test_no_drag_on_a_bar_that_is_hidden() -> None:
    player = Player()
    player.press(Pointer("press", *player.at(9)))
    player.press(Key.BAR)
    assert not player.view.is_dragging, "it is gone from under the pointer"
    player.press(Pointer("release", *player.at(9)), Pointer("press", *player.at(50)))
    assert (player.view.is_dragging, player.view.position) == (False, 9)
    player.press(Key.BAR, Pointer("press", *player.at(50)))
    assert (player.view.is_dragging, player.view.position) == (True, 50)


def test_a_step_is_no_seek() -> None:
    """The stream would take each for a jump, and would not find out that play goes backward."""
    player = Player()
    player.press(Key.STEP_BACK)
    player.press(Key.STEP)
    player.press(Key.JUMP)
    assert player.stream.sought == [60]


POINTERS = [Pointer(action, x, 105.0) for action in ("press", "move", "release") for x in (12.0, 30.0)]
INPUTS: list[Input] = [*(key for key in Key if key is not Key.QUIT), *POINTERS]


@given(
    st.lists(
        st.tuples(st.floats(0.0, 0.1), st.booleans(), st.booleans(), st.sampled_from([*len(INPUTS) * [None], *INPUTS]))
    )
)
def test_never_in_the_wrong_order(events: Sequence[tuple[float, bool, bool, Input | None]]) -> None:
    player = Player(n_frames=7)
    before: int | None = None
    n_passed = 0
    for seconds, is_there, is_stalled, one in events:
        if one is not None:
            player.press(one)
            if player.view.is_sought:
                before = None  # the user asked for another place
        player.stream.is_there, player.stream.is_stalled = is_there, is_stalled
        index = player.tick(seconds)
        shown = player.view.shown
        if index is None:
            continue
        assert shown is not None
        assert index == shown % 7
        assert shown == player.view.position
        if not player.view.is_standing:
            assert shown == player.stream.frame_at(player.clock.time()), "the clock's frame, no other"
        if before is not None:
            assert shown > before
            n_passed += shown - before - 1
        before = shown
    assert player.view.n_late == n_passed


@pytest.mark.parametrize(
    ("eye", "window", "box"),
    [
        ("both", (1024, 512), (0, 0, 1024, 512)),
        ("left", (640, 320), (160, 0, 320, 320)),
        ("both", (400, 300), (0, 50, 400, 200)),
        ("right", (301, 400), (0, 49, 301, 301)),
        ("both", (0, 0), (0, 0, 1, 1)),
    ],
)
def test_fits_into_a_window(eye: Any, window: tuple[int, int], box: tuple[int, ...]) -> None:
    assert fit(eye, NATIVE, window) == box


# Blending.


@pytest.fixture
def target(ctx: moderngl.Context) -> Iterator[moderngl.Framebuffer]:
    pixels = ctx.renderbuffer((2061, 1031), 4)
    framebuffer = ctx.framebuffer([pixels])
    framebuffer.clear(1.0, 0.0, 1.0, 1.0)
    yield framebuffer
    ctx.detect_framebuffer(0).use()  # or the context would go on with one that is released
    framebuffer.release()
    pixels.release()


@pytest.mark.parametrize("premultiplied", [False, True])
@pytest.mark.parametrize("eye", EYES)
@pytest.mark.parametrize("size", [(2048, 1024), (303, 151)])
def test_blends_like_numpy(
    ctx: moderngl.Context,
    target: moderngl.Framebuffer,
    geometries: list[FrameGeometry],
    size: tuple[int, int],
    eye: Any,
    premultiplied: bool,
) -> None:
    """Every pixel of a box within a larger framebuffer; a premultiplied plate may have a glow outside of the mask."""
    width, height = size if eye == "both" else (size[0] // 2, size[1])
    whole = frame_size(eye, (width, height))
    plate, background = noise(1, whole), noise(2, whole)
    mask = rasterize(geometries[60], whole, native_size=NATIVE)
    painter = Compositor(ctx, NATIVE, premultiplied=premultiplied)
    try:
        painter.draw(target, (5, 4, width, height), eye, geometries[60], plate, background)
        picture = read_picture(target, target.size)
    finally:
        painter.release()
    bottom = picture.shape[0] - 4
    box = picture[bottom - height : bottom, 5 : 5 + width]
    assert np.array_equal(box, seen(blend(mask, plate, background, premultiplied), eye))
    assert not np.array_equal(box, seen(blend(mask, plate, background, not premultiplied), eye))
    box[:] = 255, 0, 255
    assert (picture == (255, 0, 255)).all(), "nothing is drawn outside of the box"


def test_sends_pictures_anew(
    ctx: moderngl.Context, target: moderngl.Framebuffer, geometries: list[FrameGeometry]
) -> None:
    """Whichever changed; all of them into textures of another size."""
    painter = Compositor(ctx, NATIVE)
    try:
        for size in ((64, 32), (32, 16), (64, 32)):
            plate = noise(3, size)
            for background in (noise(4, size), noise(5, size)):
                painter.draw(target, (0, 0, *size), "both", geometries[0], plate, background)
                mask = rasterize(geometries[0], size, native_size=NATIVE)
                assert np.array_equal(read_picture(target, size), blend(mask, plate, background, False))
    finally:
        painter.release()


def test_a_mask_is_rendered_once(
    ctx: moderngl.Context, target: moderngl.Framebuffer, geometries: list[FrameGeometry]
) -> None:
    """Not each time that something over the picture changes; but for another frame, and for another size."""
    painter = Compositor(ctx, NATIVE)
    try:
        for index, size, n_rendered in (
            (0, (64, 32), 1),
            (0, (64, 32), 1),
            (1, (64, 32), 2),
            (0, (64, 32), 3),
            (0, (32, 16), 4),
            (0, (32, 16), 4),
        ):
            plate, background = noise(3, size), noise(4, size)
            painter.draw(target, (0, 0, *size), "both", geometries[index], plate, background)
            mask = rasterize(geometries[index], size, native_size=NATIVE)
            assert np.array_equal(read_picture(target, size), blend(mask, plate, background, False))
            assert painter._renderer.stats.frames == n_rendered
    finally:
        painter.release()


def test_the_room_moves_and_comes_round() -> None:
    room = Room()
    first, later = room.at(Fraction(0), (256, 128)), room.at(Fraction(1), (256, 128))
    assert np.array_equal(later[:, :96], first[:, 32:128]), "a quarter of an eye's width in a second"
    assert np.array_equal(later[:, :128], later[:, 128:])
    assert np.array_equal(room.at(Fraction(8), (256, 128)), first)
    assert room.at(Fraction(5), (33, 5)).shape == (5, 33, 3)
    assert DrawnPlate().at(Fraction(5), (33, 5)).shape == (5, 33, 3)


# Without a window.


@pytest.mark.slow
@pytest.mark.usefixtures("ctx")
def test_writes_pngs(geometries: list[FrameGeometry], tmp_path: Path) -> None:
    """As a user runs it, at native size."""
    command = [sys.executable, "-W", "error", str(SCRIPT), "--frames", "59:61", "--output", str(tmp_path / "o%04d.png")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert "2/2" in done.stderr, "the progress bar"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["o0059.png", "o0060.png"]
    for index in (59, 60):
        assert np.array_equal(load(tmp_path / f"o{index:04}.png"), drawn_frame(geometries[index], index, NATIVE))


@pytest.mark.parametrize("eye", EYES)
def test_writes_an_eye_at_another_size(
    run: Callable[..., str], geometries: list[FrameGeometry], tmp_path: Path, eye: str
) -> None:
    run(SAMPLE, "--eye", eye, "--size", "200x150", "--frames", "117:", "--output", tmp_path / "%d.png")
    for index in (117, 118, 119):
        expected = drawn_frame(geometries[index], index, (200, 150), eye)
        assert np.array_equal(load(tmp_path / f"{index}.png"), expected)


@pytest.mark.slow
def test_writes_a_movie(av: Any, run: Callable[..., str], geometries: list[FrameGeometry], tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    run("--frames", "0:30", "--output", path, "--size", "512x256", "--fps", "60000/1001")
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.mp4"], "nothing half done is left"
    with av.open(str(path)) as movie:
        stream = movie.streams.video[0]
        assert (stream.width, stream.height) == (512, 256)
        assert stream.average_rate == Fraction(60000, 1001)
        assert stream.codec_context.pix_fmt == "yuv420p"
        pictures = [frame.to_ndarray(format="rgb24") for frame in movie.decode(stream)]
    assert len(pictures) == 30
    for index, picture in enumerate(pictures):
        mask = rasterize(geometries[index], (512, 256), native_size=NATIVE) > 0
        at = Fraction(2 * index + 1, 2) / Fraction(60000, 1001)
        plate, room = DrawnPlate().at(at, (512, 256)), Room().at(at, (512, 256))
        error = picture.astype(int) - np.where(mask[..., None], plate, room)
        for part in (mask, ~mask):  # the person in the plate's colours, and the room around
            assert np.abs(error[part]).mean() < 5, "the picture"
            assert np.abs(error[part].mean(axis=0)).max() < 2.5, "its colours: another YUV matrix would be further off"


def test_a_failed_movie_leaves_nothing(av: Any, run: Callable[..., str], tmp_path: Path) -> None:
    bad = tmp_path / "bad.asvp"
    bad.write_bytes(asvp_of([block_of(SQUARE), block_of(SQUARE, length=7)]))
    (tmp_path / "out.mp4").write_text("an older one")
    assert "frame 1" in run(bad, "--size", "64x32", "--frames", ":", "--output", tmp_path / "out.mp4", code=3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.asvp", "out.mp4"]
    assert (tmp_path / "out.mp4").read_text() == "an older one"
    assert "cannot write" in run("--frames", "0:1", "--output", tmp_path / "no" / "x.mp4", code=3)
    assert "cannot write" in run("--frames", "0:1", "--output", tmp_path / "no" / "%d.png", "--size", "64x32", code=3)


def test_from_a_url(run: Callable[..., str], geometries: list[FrameGeometry], tmp_path: Path) -> None:
    with Server(SAMPLE.read_bytes()) as server:
        run(server.url(), "--size", "320x160", "--frames", "7:8", "--output", tmp_path / "%d.png")
        assert np.array_equal(load(tmp_path / "7.png"), drawn_frame(geometries[7], 7, (320, 160)))
        server.script = lambda request: status(404)
        err = run(server.url("/x.asvp?sig=hidden"), "--frames", ":1", "--output", tmp_path / "%d.png", code=3)
    assert "404" in err
    assert "hidden" not in err


def test_an_encrypted_stream(
    run: Callable[..., str],
    geometries: list[FrameGeometry],
    tmp_path: Path,
    passphrase: bytes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "person.asvr"
    with AsvrWriter(path, key=AsvrKey(passphrase, scene_id=7, version="2.0")) as writer:
        writer.add_frame(geometries[0])
    output = "--size", "320x160", "--frames", ":", "--output", tmp_path / "%d.png"
    monkeypatch.delenv("ALPHASTREAM_PASSPHRASE", raising=False)
    assert "ALPHASTREAM_PASSPHRASE" in run(path, "--scene-id", 7, *output, code=3)
    monkeypatch.setenv("ALPHASTREAM_PASSPHRASE", passphrase.hex())
    assert "scene-id" in run(path, *output, code=3)
    assert "cannot be decrypted with this key" in run(path, "--scene-id", 8, "--stream-version", "2.0", *output, code=3)
    run(path, "--scene-id", 7, "--stream-version", "2.0", *output)
    assert np.array_equal(load(tmp_path / "0.png"), drawn_frame(geometries[0], 0, (320, 160)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--frames", "0:2"], "--output go together"),
        (["--output", "x.mp4"], "--output go together"),
        (["--frames", "0:121", "--output", "%d.png"], "0 <= A < B <= 120"),
        (["--frames", "5:5", "--output", "%d.png"], "0 <= A < B <= 120"),
        (["--frames", "-1:5", "--output", "%d.png"], "expected"),
        (["--frames", "0:1" + 5000 * "0", "--output", "%d.png"], "expected A:B"),
        (["--frames", "0:2", "--output", "x.png"], "%04d"),
        (["--frames", "0:2", "--output", "%s%d.png"], "%04d"),
        (["--frames", "0:2", "--output", "x.avi"], ".mp4"),
        (["--frames", "0:2", "--output", "x.mp4", "--size", "33x32"], "even"),
        (["--frames", "0:2", "--output", "%d.png", "--screenshot", "x.png"], "--screenshot"),
        (["--premultiplied"], "--video"),
        (["--size", "0x3"], "1..16384"),
        (["--size", "9000x9", "--eye", "left"], "8192 wide"),
        (["--eye", "third"], "third"),
        (["--fps", "1/0"], "60000/1001"),
        (["--fps", "0.1"], "1..1000"),
        (["--what"], "--what"),
    ],
)
def test_wrong_usage(run: Callable[..., str], arguments: list[str], message: str) -> None:
    err = run(*arguments, code=2)
    assert message in err
    assert err.count("\n") == 1, "one line"


def test_bad_inputs(av: Any, run: Callable[..., str], tmp_path: Path) -> None:
    output = "--frames", "0:1", "--output", tmp_path / "%d.png"
    (tmp_path / "not.asvp").write_text("not a stream")
    for arguments in ([tmp_path / "no.asvp"], [tmp_path / "not.asvp"], [SAMPLE, "--video", tmp_path / "no.mp4"]):
        err = run(*arguments, *output, code=3)
        assert err.count("\n") == 1, "one line"
    assert list(tmp_path.glob("*.png")) == []


# The plate from a video.


def write_video(av: Any, path: Path, pictures: Sequence[Picture], rate: int) -> Path:
    """Without loss: PNG in QuickTime, or H.264 of RGB in Matroska, whose times are rounded to milliseconds."""
    codec = "png" if path.suffix == ".mov" else "libx264rgb"
    if codec not in av.codecs_available:
        skip_or_fail(f"this FFmpeg has no {codec}")
    with av.open(str(path), "w") as movie:
        options = {} if codec == "png" else {"qp": "0", "g": "8", "bf": "0"}
        stream = movie.add_stream(codec, rate=rate, options=options)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "rgb24"
        for n, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = n, Fraction(1, rate)
            movie.mux(stream.encode(frame))
        movie.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("premultiplied", [False, True])
def test_blends_a_video(
    av: Any, run: Callable[..., str], geometries: list[FrameGeometry], tmp_path: Path, premultiplied: bool
) -> None:
    """At half the stream's rate, and shorter: each of its frames is seen twice, the last one to the end."""
    size = (256, 128)
    masks = [rasterize(geometry, size, native_size=NATIVE) for geometry in geometries[:8]]
    plates = [noise(n, size) for n in range(3)]
    if premultiplied:
        plates = [plate * (masks[2 * n] > 0)[..., None] for n, plate in enumerate(plates)]
    video = write_video(av, tmp_path / "plate.mov", plates, FPS // 2)
    option = ["--premultiplied"] if premultiplied else []
    run("--video", video, *option, "--size", "256x128", "--frames", ":8", "--output", tmp_path / "%d.png")
    for index, mask in enumerate(masks):
        background = Room().at(Fraction(2 * index + 1, 2 * FPS), size)
        expected = blend(mask, plates[min(index // 2, 2)], background, premultiplied)
        assert np.array_equal(load(tmp_path / f"{index}.png"), expected), index


@pytest.mark.parametrize("suffix", [".mov", ".mkv"])
def test_a_video_is_read_by_its_times(av: Any, tmp_path: Path, suffix: str) -> None:
    """Forward, by leaps, backward, beyond the end: always the frame of the time asked for."""
    pictures = [noise(n, (64, 32)) for n in range(40)]
    plate = VideoPlate(str(write_video(av, tmp_path / f"plate{suffix}", pictures, 10)))
    try:
        for n in (0, 0, 1, 2, 7, 39, 38, 3, 35, 90, 39, 0, 30):
            picture = plate.at(Fraction(2 * n + 1, 20), (64, 32))
            assert np.array_equal(picture, pictures[min(n, 39)]), n
            assert plate.at(Fraction(2 * n + 1, 20), (64, 32)) is picture, "not converted again"
        assert plate.at(Fraction(0), (128, 16)).shape == (16, 128, 3)
    finally:
        plate.close()


class BadIndex:
    """A container whose index leads past the time that is sought, unless that is the beginning."""

    def __init__(self, container: Any) -> None:
        self.container = container

    def __getattr__(self, name: str) -> Any:
        return getattr(self.container, name)

    def seek(self, pts: int, *, stream: Any) -> None:
        self.container.seek(pts + stream.duration // 2 if pts else 0, stream=stream)


def test_a_poor_index_does_not_mislead(av: Any, tmp_path: Path) -> None:
    pictures = [noise(n, (64, 32)) for n in range(20)]
    plate = VideoPlate(str(write_video(av, tmp_path / "plate.mov", pictures, 10)))
    plate._container = BadIndex(plate._container)
    try:
        for n in (12, 3, 19, 0):
            assert np.array_equal(plate.at(Fraction(2 * n + 1, 20), (64, 32)), pictures[n])
    finally:
        plate.close()


def test_what_is_no_video(av: Any, tmp_path: Path) -> None:
    sound = tmp_path / "sound.wav"
    with av.open(str(sound), "w") as file:
        stream = file.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        file.mux(stream.encode(frame))
    with pytest.raises(PlateError, match="holds no video"):
        VideoPlate(str(sound))
    with pytest.raises(PlateError, match="No such file"):
        VideoPlate(str(tmp_path / "no.mp4"))


# The window.


@pytest.fixture(scope="module")
def screen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Screen]:
    if importlib.util.find_spec("glfw") is None:
        skip_or_fail("glfw is not installed: pip install glfw")
    with open_screen(tmp_path_factory.mktemp("screen")) as opened:
        yield opened


def frame_of(program: Program) -> int:
    """The frame that the title tells, or -1."""
    found = re.search(r"frame (\d+) of", program.title())
    return int(found[1]) if found else -1


def in_window(picture: Picture, window: tuple[int, int]) -> Picture:
    """In the middle, on black."""
    height, width = picture.shape[:2]
    whole = np.zeros((window[1], window[0], 3), np.uint8)
    left, top = (window[0] - width) // 2, window[1] - height - (window[1] - height) // 2
    whole[top : top + height, left : left + width] = picture
    return whole


@pytest.mark.slow
@pytest.mark.usefixtures("ctx")
def test_in_a_window(screen: Screen, geometries: list[FrameGeometry]) -> None:
    """From a URL: play, pause, jump, step, pick an eye, hide, grow, save the picture, quit."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    picture = PICTURES / "compositor.png"
    picture.unlink(missing_ok=True)
    with (
        Server(SAMPLE.read_bytes(), latency=0.002) as server,
        started(screen, SCRIPT, server.url(), "--size", "640x320", "--screenshot", picture) as program,
    ):
        program.find_window("person.asvp")
        first = program.until(lambda: frame_of(program) + 1, "a frame")
        program.until(lambda: frame_of(program) + 1 != first, "another frame")
        assert " fps | eye: both | late: " in program.title()
        program.press("space", "paused")
        program.press("b")

        program.press("Home", "frame 0 of 120 | paused | eye: both")
        program.expect_picture(drawn_frame(geometries[0], 0, (640, 320)))
        program.press("Left", "frame 119 of 120")
        program.press("Right", "frame 0 of 120")
        program.press("Up", "frame 60 of 120")
        program.press("Right", "frame 61 of 120")
        program.press("e", "eye: left")
        program.expect_picture(in_window(drawn_frame(geometries[61], 61, (320, 320), "left"), (640, 320)))
        program.hide_and_show()
        program.expect_picture(in_window(drawn_frame(geometries[61], 61, (320, 320), "left"), (640, 320)))
        program.press("e", "eye: right")
        program.resize(403, 500)
        program.expect_picture(in_window(drawn_frame(geometries[61], 61, (403, 403), "right"), (403, 500)))
        program.resize(640, 320)
        program.press("e", "eye: both")
        program.expect_picture(drawn_frame(geometries[61], 61, (640, 320)))

        program.press("space", " fps ")
        program.until(lambda: frame_of(program) not in (-1, 61), "play to go on")
        program.press("Left", "paused")
        program.press("Home", "frame 0 of 120")
        program.press("Up", "frame 60 of 120")
        screen.xdotool("key", "q")
        assert program.wait() == (0, "")
    assert np.array_equal(load(picture), drawn_frame(geometries[60], 60, (640, 320)))


@pytest.mark.slow
@pytest.mark.usefixtures("ctx")
def test_no_picture_of_a_stream_that_is_empty_or_bad(screen: Screen, tmp_path: Path) -> None:
    (tmp_path / "empty.asvp").write_bytes(asvp_of([]))
    with started(screen, SCRIPT, tmp_path / "empty.asvp") as program:
        code, err = program.wait()
        assert code == 3
        assert err == "compositor: empty.asvp: the stream has no frames\n"
    (tmp_path / "bad.asvp").write_bytes(asvp_of([block_of(SQUARE, length=7)]))
    with started(
        screen, SCRIPT, tmp_path / "bad.asvp", "--size", "64x32", "--screenshot", tmp_path / "x.png"
    ) as program:
        program.find_window("bad.asvp")
        program.until(lambda: "no frame yet | waiting (DECODE)" in program.title(), "the reason")
        screen.xdotool("key", "Escape")
        code, err = program.wait()
        assert code == 3
        assert err.startswith("compositor: no frame came: frame 0")
        assert err.count("\n") == 1, "one line"


@pytest.mark.slow
def test_no_display(screen: Screen) -> None:
    environment = {key: value for key, value in screen.environment.items() if key != "DISPLAY"}
    command = [sys.executable, "-W", "error", str(SCRIPT)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert re.fullmatch(r"compositor: no window: .+\n", done.stderr), done.stderr
