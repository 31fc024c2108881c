"""
What examples/compositor.py draws over its picture: the geometry of the seek bar and the stall sign, the statistics, and
all of it in a window, on a stream whose server stalls and goes on.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator, Sequence
from fractions import Fraction

import moderngl
import numpy as np
import overlay
import pytest
import seekbar
from badserver import Server, once
from blending import read_picture
from drawn import DrawnPlate, Room
from hosts import skip_or_fail
from hypothesis import given
from hypothesis import strategies as st
from overlay import Looks, Overlay, draw_panel
from PIL import Image
from plates import NO_PICTURE
from playing import View
from readings import in_bytes, table
from screen import Program, Screen, open_screen, started
from seekbar import SIGN_STEPS, Bar, Fill, Rect, place, stall_sign
from support import NATIVE, ROOT, asvp_of, block_of

from alphastream_gpu import FrameGeometry, Stats, rasterize

Picture = np.ndarray
FPS = 60
SCRIPT = ROOT / "examples" / "compositor.py"
PICTURES = ROOT / "build" / "examples"
"""Where the pictures are left that CI keeps."""

bars = st.builds(Bar, st.builds(Rect, st.just(16), st.just(5), st.integers(1, 900), st.just(10)), st.integers(1, 5000))


def paint(picture: Picture, fills: Sequence[Fill]) -> Picture:
    """Rectangles over a picture, in numpy; what lies outside is cut off."""
    painted = picture.copy()
    for (left, top, width, height), colour in fills:
        painted[max(0, top) : max(0, top + height), max(0, left) : max(0, left + width)] = colour
    return painted


# The geometry.


def test_a_bar_at_its_place() -> None:
    bar = place((640, 320), 1200)
    assert bar.rect == Rect(16, 294, 608, 10)
    assert place((1280, 640), 1200, scale=2).rect == Rect(32, 588, 1216, 20)
    for window in ((0, 0), (1, 1), (40, 20)):
        assert place(window, 1200).rect.width >= 1, "also in a window that is too small"
    assert [bar.is_grabbed(y) for y in (277.9, 278, 299, 319)] == [False, True, True, True]


def test_frames_and_columns() -> None:
    bar = Bar(Rect(16, 0, 608, 10), 1200)
    assert [bar.frame_at(x) for x in (-3.0, 16.0, 16.9, 17.0, 320.0, 623.0, 624.0, 9e9)] == [
        0,
        0,
        0,
        1,
        600,
        1198,
        1199,
        1199,
    ]
    assert [bar.column_of(frame) for frame in (0, 1, 2, 600, 1199)] == [0, 1, 2, 304, 607]
    assert bar.head(600) == Rect(16 + 304 - 2, -4, 4, 18)
    assert bar.stripes([(0, 120), (600, 601), (1190, 1200)]) == [
        Rect(16, 0, 61, 10),
        Rect(16 + 304, 0, 1, 10),
        Rect(16 + 603, 0, 5, 10),
    ]


@given(bars)
def test_a_click_on_a_frame_seeks_it(bar: Bar) -> None:
    """If each has a column; otherwise one that is less than a column away."""
    n_skipped = max(0, bar.n_frames - 1) // bar.rect.width
    for frame in {0, 1, bar.n_frames // 3, bar.n_frames - 1} & set(range(bar.n_frames)):
        column = bar.column_of(frame)
        assert 0 <= column < bar.rect.width
        clicked = bar.frame_at(bar.rect.left + column)
        assert abs(clicked - frame) <= n_skipped
        assert clicked == frame or bar.rect.width < bar.n_frames
        before = bar.frame_at(bar.rect.left + column - 1)
        assert before < frame or column == 0, "the first of its columns"


@given(bars, st.data())
def test_a_column_is_coloured_if_a_click_finds_its_frame_here(bar: Bar, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(0, bar.n_frames), max_size=6)))
    ranges = list(zip(cuts[::2], cuts[1::2], strict=False))
    coloured = [x for left, _, width, _ in bar.stripes(ranges) for x in range(left, left + width)]
    assert coloured == sorted(set(coloured)), "in order, and none twice"
    columns = range(bar.rect.left, bar.rect.left + bar.rect.width)
    assert coloured == [x for x in columns if any(start <= bar.frame_at(x) < stop for start, stop in ranges)]


def test_the_sign_is_in_the_middle() -> None:
    for scale in (1, 2):
        (box, _), *dots = stall_sign((640, 320), 1, scale)
        assert (box.left + box.width / 2, box.top + box.height / 2) == (320, 160)
        assert (box.width, box.height) == (84 * scale, 44 * scale)
        assert [colour == seekbar.LIT for _, colour in dots] == [False, True, False]
        assert [dot.left - box.left for dot, _ in dots] == [16 * scale, 36 * scale, 56 * scale]
    assert len({stall_sign((640, 320), step) for step in range(SIGN_STEPS)}) == SIGN_STEPS


# The statistics.


def test_the_table() -> None:
    view = View(n_frames=120, n_jump=60, position=130, n_late=3)
    stats = Stats(
        reads=4,
        bytes_read=41371,
        requests=6,
        bytes_fetched=1_234_567,
        retries=2,
        bandwidth=2.5e9,
        latency=0.0123,
        retry_reasons={"https://example.org/?sig=hidden": 2},
    )
    assert table(view, stats, "stalled", "TIMEOUT", 59.6, 48, 0.8) == (
        ("state", "stalled (TIMEOUT)"),
        ("frame", "10 of 120"),
        ("pictures", "60 a second, 3 late"),
        ("buffered", "48 frames, 0.8 s ahead"),
        ("reads", "4, 41.4 kB"),
        ("requests", "6, 2 repeated"),
        ("fetched", "1.2 MB"),
        ("bandwidth", "2.5 GB a second"),
        ("latency", "12.3 ms"),
    )
    nothing = dict(table(view, Stats(), "opening", "", 0.0, 0, 0.0))
    assert (nothing["state"], nothing["bandwidth"], nothing["latency"]) == ("opening", "unknown", "unknown")
    assert [in_bytes(number) for number in (999, 1000, 999_949, 1e6)] == ["999 B", "1.0 kB", "999.9 kB", "1.0 MB"]


def test_a_panel() -> None:
    rows = (("state", "playing"), ("frame", "10 of 120"))
    for scale in (1, 2):
        panel = draw_panel(rows, scale)
        padding, line = overlay.PADDING * scale, overlay.LINE_HEIGHT * scale
        assert panel.shape == (2 * padding + 2 * line, overlay.PANEL_WIDTH * scale, 3)
        is_text = (panel != overlay.PANEL).any(axis=2)
        assert not is_text[: padding // 2].any()
        assert not is_text[-padding:].any()
        assert not is_text[:, :padding].any()
        for top in (padding, padding + line):
            for left in (padding, padding + overlay.VALUE_LEFT * scale):
                assert is_text[top : top + line, left : left + line].any(), "a name, a value"
    assert np.array_equal(draw_panel(rows), draw_panel(rows))
    long = draw_panel((("state", 200 * "m"),))
    assert (long[:, -overlay.PADDING :] == overlay.PANEL).all(), "cut off"


@pytest.fixture
def target(ctx: moderngl.Context) -> Iterator[moderngl.Framebuffer]:
    pixels = ctx.renderbuffer((400, 200), 4)
    framebuffer = ctx.framebuffer([pixels])
    framebuffer.clear(1.0, 0.0, 1.0, 1.0)
    yield framebuffer
    ctx.detect_framebuffer(0).use()  # or the context would go on with one that is released
    framebuffer.release()
    pixels.release()


def test_draws_like_numpy(ctx: moderngl.Context, target: moderngl.Framebuffer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every pixel; what lies outside is cut off; texts are drawn when they change, not with each picture."""
    n_drawn = 0

    def counted(*arguments: object) -> Picture:
        nonlocal n_drawn
        n_drawn += 1
        return draw_panel(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(overlay, "draw_panel", counted)
    size = (400, 200)
    expected = np.full((200, 400, 3), (255, 0, 255), np.uint8)
    fills = (
        *place(size, 50).fills([(0, 10), (30, 50)], 0),
        *place((500, 90), 3).fills([(1, 2)], 2),
        *stall_sign((30, 20), 0),
        *stall_sign(size, 2),
    )
    rows = (("state", "playing"), ("frame", "1 of 2"))
    painter = Overlay(ctx)
    try:
        ctx.enable_only(moderngl.BLEND | moderngl.DEPTH_TEST)  # as what was drawn before may leave them
        ctx.blend_func = moderngl.ZERO, moderngl.ONE
        for looks in (
            Looks(fills),
            Looks(fills, rows),
            Looks(fills[:3], rows),
            Looks((), (*rows, ("late", "none"))),
            Looks((), rows, scale=2),
            Looks((), rows, scale=2),
        ):
            painter.draw(target, size, looks)
            expected = paint(expected, looks.fills)
            if looks.rows:
                panel, margin = draw_panel(looks.rows, looks.scale), seekbar.MARGIN * looks.scale
                place_of_panel = expected[margin : margin + panel.shape[0], margin : margin + panel.shape[1]]
                place_of_panel[:] = panel[: place_of_panel.shape[0], : place_of_panel.shape[1]]
            assert np.array_equal(read_picture(target, size), expected)
    finally:
        painter.release()
        ctx.blend_func = moderngl.DEFAULT_BLENDING
        ctx.enable_only(moderngl.NOTHING)
    assert n_drawn == 3


# The window.

N_FRAMES = 1200
WINDOW = (640, 320)
BAR = place(WINDOW, N_FRAMES)


@pytest.fixture(scope="module")
def screen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Screen]:
    if importlib.util.find_spec("glfw") is None:
        skip_or_fail("glfw is not installed: pip install glfw")
    with open_screen(tmp_path_factory.mktemp("screen")) as opened:
        yield opened


class Watched:
    """The compositor's window over a stream of N_FRAMES frames, which are those of the sample again and again."""

    def __init__(self, program: Program, geometries: list[FrameGeometry]) -> None:
        self.program, self._geometries = program, geometries

    @property
    def frame(self) -> int:
        """The frame that the title tells, or -1."""
        found = re.search(r"frame (\d+) of", self.program.title())
        return int(found[1]) if found else -1

    def blended(self, frame: int) -> Picture:
        """The picture of a frame, without anything over it."""
        at = Fraction(2 * frame + 1, 2 * FPS)
        mask = rasterize(self._geometries[frame % len(self._geometries)], WINDOW, native_size=NATIVE)
        return np.where((mask > 0)[..., None], DrawnPlate().at(at, WINDOW), Room().at(at, WINDOW))

    @staticmethod
    def head(picture: Picture) -> int:
        """The first frame of the column that the play head is at; 0 if no head is seen."""
        top = BAR.head(0).top
        columns = np.flatnonzero((picture[top] == seekbar.HEAD).all(axis=1))
        return BAR.frame_at(int(columns[0]) + seekbar.HEAD_WIDTH // 2) if columns.size else 0

    def ranges(self, picture: Picture, head: int) -> list[tuple[int, int]]:
        """
        Ranges of frames that have the buffered colour on the bar. Under the play head, the next column that is visible
        on the same side of its frame decides.
        """
        left, top, width, height = BAR.rect
        bar = picture[top + height // 2, left : left + width]
        is_here = (bar == seekbar.BUFFERED).all(axis=1)
        covered, middle = BAR.head(head).grown(BAR.scale), BAR.column_of(head)
        first, end = covered.left - left, covered.left - left + covered.width
        is_here[max(0, first) : middle] = first > 0 and is_here[first - 1]
        is_here[middle:end] = end < width and is_here[end]
        edges = np.flatnonzero(np.diff(np.concatenate(([0], is_here, [0]))))
        return [(BAR.frame_at(left + a), BAR.frame_at(left + b)) for a, b in edges.reshape(-1, 2)]

    def expect(
        self, name: str, shown: int, head: int | None, *, n_ranges: int | None = None, is_stalled: bool = False
    ) -> tuple[int, list[tuple[int, int]]]:
        """
        Wait until every pixel of the window is as expected, and save the picture.

        Args:
            name: of the picture's file.
            shown: the frame.
            head: the frame that the play head is at; None: any.
            n_ranges: how many ranges the bar shows; where they end is not checked.
            is_stalled: whether the sign is there, with any of its dots lit.

        Returns:
            The frame of the play head, and the ranges of frames that are here.
        """
        below, picture = self.blended(shown), NO_PICTURE
        signs = [stall_sign(WINDOW, step) for step in range(SIGN_STEPS)] if is_stalled else [()]

        def is_seen() -> bool:
            nonlocal picture
            picture = self.program.picture().copy()
            at = self.head(picture) if head is None else head
            ranges = self.ranges(picture, at)
            fills = BAR.fills(ranges, at)
            is_settled = n_ranges in (None, len(ranges))
            return is_settled and any(np.array_equal(picture, paint(below, (*fills, *sign))) for sign in signs)

        try:
            self.program.until(is_seen, name)
        finally:
            Image.fromarray(picture).save(PICTURES / name)
        at = self.head(picture) if head is None else head
        return at, self.ranges(picture, at)

    def expect_panel(self, name: str, frame: int) -> None:
        """Wait for the statistics of a frame that is paused, over its picture without the bar."""
        margin, padding, line = seekbar.MARGIN, overlay.PADDING, overlay.LINE_HEIGHT
        sample = draw_panel((("state", "paused"), ("frame", f"{frame} of {N_FRAMES}"), *(7 * (("", ""),))))
        height, width = sample.shape[:2]
        below, picture, panel = self.blended(frame), NO_PICTURE, NO_PICTURE

        def is_seen() -> bool:
            nonlocal picture, panel
            picture = self.program.picture().copy()
            panel = picture[margin : margin + height, margin : margin + width].copy()
            expected = below.copy()
            expected[margin : margin + height, margin : margin + width] = panel
            return np.array_equal(picture, expected) and np.array_equal(
                panel[: padding + 2 * line], sample[: padding + 2 * line]
            )

        try:
            self.program.until(is_seen, name)
        finally:
            Image.fromarray(picture).save(PICTURES / name)
        is_text = (panel != overlay.PANEL).any(axis=(1, 2))[padding : height - padding]
        assert is_text.reshape(-1, line).any(axis=1).all(), "on each of its lines"

    def frame_under(self, frame: int) -> int:
        """The frame that the pointer finds at the column of a frame."""
        return BAR.frame_at(BAR.rect.left + BAR.column_of(frame))

    def click(self, frame: int) -> int:
        """Click on the bar at a frame; return the one that the pointer finds there."""
        self.program.point(self._at(frame), "mousedown 1", "mouseup 1")
        return self.frame_under(frame)

    def drag(self, first: int, *frames: int) -> None:
        """Press at the first frame, move to the others, and release, away from the bar."""
        moves = [self._at(frame, BAR.rect.top - 100) for frame in frames]
        self.program.point(self._at(first), "mousedown 1", *moves, "mouseup 1")

    @staticmethod
    def _at(frame: int, y: int = BAR.rect.top + 3) -> str:
        return f"{BAR.rect.left + BAR.column_of(frame)},{y}"


@pytest.mark.slow
@pytest.mark.usefixtures("ctx")
def test_a_seek_a_stall_and_a_recovery(screen: Screen, geometries: list[FrameGeometry]) -> None:
    """From a server that stops and goes on: play, click, drag, stall, recover, seek while it stalls, statistics."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    blocks = [block_of(geometry.to_payload()) for geometry in geometries]
    is_open = True
    with (
        Server(asvp_of(N_FRAMES // len(blocks) * blocks), script=lambda _: once(lambda: is_open)) as server,
        started(screen, SCRIPT, server.url(), "--size", "640x320") as program,
    ):
        window = Watched(program, geometries)
        program.find_window("person.asvp")
        program.until(lambda: window.frame >= 0, "a frame")
        program.press("space", "paused")
        program.press("Home", "frame 0 of 1200 | paused")
        _, ((start, _),) = window.expect("player_start.png", 0, 0, n_ranges=1)
        assert start == 0

        sought = window.click(600)
        _, (first, second) = window.expect("player_seek.png", sought, sought, n_ranges=2)
        assert first[0] == 0
        assert first[1] < second[0] <= sought < second[1]

        is_open = False
        program.press("space", " fps ")
        program.until(lambda: "waiting" in program.title(), "a stall")
        stalled = window.frame
        assert sought < stalled < N_FRAMES
        head, (_, (_, end)) = window.expect("player_stall.png", stalled, None, n_ranges=2, is_stalled=True)
        assert head > stalled - 2, "a column is two frames"
        assert abs(end - head) <= 2, "the stripe ends where play does"
        is_open = True
        program.until(lambda: " fps " in program.title() and window.frame > stalled, "play to go on")
        program.press("space", "paused")
        shown = window.frame
        window.expect("player_recovery.png", shown, shown)

        is_open = False
        sought = window.click(1000)
        _, ranges = window.expect("player_seek_stall.png", shown, sought, is_stalled=True)
        assert not any(start <= sought < stop for start, stop in ranges)
        is_open = True
        window.expect("player_seek_recovery.png", sought, sought)

        window.drag(1000, 300, 900, 400)
        window.expect("player_drag.png", window.frame_under(400), window.frame_under(400))

        program.press("b")
        program.expect_picture(window.blended(window.frame_under(400)))
        program.press("s")
        window.expect_panel("player_statistics.png", window.frame_under(400))
        program.press("s")
        program.expect_picture(window.blended(window.frame_under(400)))
        screen.xdotool("key", "q")
        assert program.wait() == (0, "")
