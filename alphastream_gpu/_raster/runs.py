"""
Runs: makes masks from runs of pixels, one for each segment and row. Kernels, compiled by numba (_runtime/kernels.py).

Strategy
--------
In each row, a segment has one run of pixels [left, right]: the pixels of its line, and the crossing pixel. Sort the
runs of a channel in a row. The pixels from the first run to the second, from the third to the fourth and so on are set,
runs included. So the outline needs no pass of its own.

A segment has D rows below its upper end and is m pixels wide. In row k, counted from the upper end, it has

- if it is steep (D > m): the pixel at ``k m / D``, rounded, which is both the crossing and the line's pixel. If the
  quotient is exactly half-way, the crossing is the even pixel, and the line takes the pixel toward the start of the
  segment. The run then has both. Quotient and remainder are advanced from row to row without a division, unless the
  distances between the rows that are shown differ by more than one.
- if it is flat: the pixels up to ``floor((m (2 k + 1) - up) / (2 D))``, from the one after the end of row k - 1. `up`
  is 1 if the segment goes upward, because ties of the line go toward the start, else 0. This run contains the crossing.
  One step makes a whole run, so a flat segment costs no more than its rows.

Some runs have no crossing: horizontal segments, the row of a segment's lower end, the lines of two-point channels. They
are stored twice, which leaves the parity of all other pixels as it is.

Runs are sorted by left and not by crossing. If that changes the order of two runs, they overlap, so the pixels between
their crossings are set in either order. A run is stored as the number ``channel << 32 | left + 1 << 16 | right + 1``,
with `left` and `right` clipped to -1 .. width. Clipping keeps the order, so runs beside the window still count.

Runs are stored row by row. At first each row has room for a few runs. If that is not enough, the runs of each row are
counted, and stored again. Rows that the output does not show have no runs. A row is sorted just before it is drawn,
when the next step needs it anyway.

Numbers are int64. A product of two distances can need all of uint64; ``_divided`` is the only function with that type,
because numpy and numba convert int64 with uint64 to float64.

Functions with arrays as arguments are called a few times in each frame only: numba counts references to each array,
which takes longer than a run does. So ``_store`` is long, and each of the two functions that draw contains the sorting
loop. Tables are unsigned, so that the compiler sees that indices are not negative, and makes one ``memset`` of a span.

Rejected: counting the runs of every frame (a tenth of the time of a small mask); a linked list for each row (following
it takes longer than counting); explicit vector instructions for spans (no faster than ``memset``); bytes between spans
written once (the compiler makes no ``memset`` of them).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["draw", "draw_packed"]

Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]
Uint16 = npt.NDArray[np.uint16]
Uint32 = npt.NDArray[np.uint32]
Mask = npt.NDArray[np.uint8]

_LONG_ROW = 48
"""Runs of a row. Sorting more of them by insertion takes longer than by a heap."""
_ROOM = 36
"""Runs that a row has room for at first. Rows of the sample have up to 32, most have 4. Not a power of two: then the
beginnings of the rows would share a few lines of the processor's cache."""
_MOST_RUNS_AT_FIRST = 1 << 22
"""The most runs, as the product of points and rows, that a frame may have to be stored without counting them first. If
the rows have no room for them, that takes some 10 ms in vain."""


def draw(  # noqa: PLR0912 - see "Strategy": its parts cannot take arrays
    points: Int32,
    offsets: Int32,
    width: int,
    height: int,
    first_row: Uint16,
    samples: Uint16,
    out_row: Uint16,
    first_column: Uint16,
    stride: int,
    is_even: bool,
    changes: Int32,
    slots: Uint32,
    runs: Int64,
    out: Mask,
    value: int,
) -> bool:
    """
    Draw a mask. The *raster rows* are the native rows that the output shows: any of them, in ascending order.

    Args:
        points: int32 (n, 2), the points of a frame.
        offsets: int32 (channels + 1,), the offsets of its channels.
        width: of the native grid.
        height: of the native grid.
        first_row: uint16 (height + 1,): the first raster row that is at or below a native row.
        samples: uint16 (rows + 1,): the native row of each raster row, and `height`.
        out_row: uint16 (rows + 1,): the first output row that shows a raster row, and the number of output rows.
        first_column: uint16 (width + 1,): the first output column that shows a native column or one to its right.
        stride: the least distance between two raster rows, in native rows; 1 if there is one row.
        is_even: whether all of these distances are the same.
        changes: int32 (rows + 1,), scratch.
        slots: uint32 (rows,), scratch.
        runs: int64 (most runs,), scratch.
        out: uint8 (output rows, output columns), gets 0 and `value`. Every element is written.
        value: 1..255, of the pixels that are set.

    Returns:
        Whether `runs` has room for the runs of the frame. If it has not, nothing is drawn.
    """
    room = _lay_out(points, offsets, width, height, first_row, samples, stride, is_even, changes, slots, runs)
    if room < 0:
        return False
    columns = out.shape[1]
    begin = np.int64(0)
    for row in range(samples.size - 1):
        if room > 0:
            begin = row * room
        end = np.int64(slots[row])
        top = np.int64(out_row[row])
        for x in range(columns):
            out[top, x] = 0
        if end - begin > _LONG_ROW:
            _sort_long(runs, begin, end)
        else:
            for i in range(begin + 1, end):
                run = runs[i]
                if runs[i - 1] > run:
                    runs[i] = runs[i - 1]
                    k = i - 1
                    while k > begin and runs[k - 1] > run:
                        runs[k] = runs[k - 1]
                        k -= 1
                    runs[k] = run
        for i in range(begin, end, 2):
            left = (runs[i] >> 16) & 0xFFFF
            right = max(runs[i] & 0xFFFF, runs[i + 1] & 0xFFFF)
            low = np.int64(first_column[max(left - 1, 0)])
            high = np.int64(first_column[min(right, width)])
            for x in range(low, high):
                out[top, x] = value
        begin = end
        for again in range(top + 1, np.int64(out_row[row + 1])):
            for x in range(columns):
                out[again, x] = out[top, x]
    return True


def draw_packed(  # noqa: PLR0912 - likewise
    points: Int32,
    offsets: Int32,
    width: int,
    height: int,
    first_row: Uint16,
    samples: Uint16,
    out_row: Uint16,
    first_column: Uint16,
    stride: int,
    is_even: bool,
    changes: Int32,
    slots: Uint32,
    runs: Int64,
    out: Mask,
) -> bool:
    """
    Draw a mask with one bit per pixel, the lowest bit leftmost.

    `out` is uint8 (output rows, ceil(output columns / 8)). The other arguments and the result are those of
    :func:`draw`.
    """
    room = _lay_out(points, offsets, width, height, first_row, samples, stride, is_even, changes, slots, runs)
    if room < 0:
        return False
    out[:] = 0
    columns = out.shape[1]
    begin = np.int64(0)
    for row in range(samples.size - 1):
        if room > 0:
            begin = row * room
        end = np.int64(slots[row])
        top = np.int64(out_row[row])
        if end - begin > _LONG_ROW:
            _sort_long(runs, begin, end)
        else:
            for i in range(begin + 1, end):
                run = runs[i]
                if runs[i - 1] > run:
                    runs[i] = runs[i - 1]
                    k = i - 1
                    while k > begin and runs[k - 1] > run:
                        runs[k] = runs[k - 1]
                        k -= 1
                    runs[k] = run
        for i in range(begin, end, 2):
            left = (runs[i] >> 16) & 0xFFFF
            right = max(runs[i] & 0xFFFF, runs[i + 1] & 0xFFFF)
            low = np.int64(first_column[max(left - 1, 0)])
            high = np.int64(first_column[min(right, width)]) - 1
            if low <= high:
                first = low >> 3
                last = high >> 3
                head = (255 << (low & 7)) & 255
                tail = 255 >> (7 - (high & 7))
                if first == last:
                    out[top, first] |= head & tail
                else:
                    out[top, first] |= head
                    out[top, last] |= tail
                    for x in range(first + 1, last):
                        out[top, x] = 255
        begin = end
        for again in range(top + 1, np.int64(out_row[row + 1])):
            for x in range(columns):
                out[again, x] = out[top, x]
    return True


def _lay_out(
    points: Int32,
    offsets: Int32,
    width: int,
    height: int,
    first_row: Uint16,
    samples: Uint16,
    stride: int,
    is_even: bool,
    changes: Int32,
    slots: Uint32,
    runs: Int64,
) -> Any:
    """
    Store the runs of a frame, row by row. `slots` becomes where the rows end.

    Returns:
        The distance between the beginnings of rows, or 0 if each row begins where the one above ends; -1 if there are
        more runs than `runs` has room for.
    """
    n_rows = samples.size - 1
    room = np.int64(0)
    if points.shape[0] * n_rows <= _MOST_RUNS_AT_FIRST:
        room = np.int64(min(_ROOM, runs.size // n_rows))
    if room > 0:
        for row in range(n_rows):
            slots[row] = row * room
        _store(False, points, offsets, width, height, first_row, samples, stride, is_even, changes, slots, runs)
        for row in range(n_rows):
            if np.int64(slots[row]) > (row + 1) * room:
                room = np.int64(0)
                break
    if room == 0:
        n_runs = _store(True, points, offsets, width, height, first_row, samples, stride, is_even, changes, slots, runs)
        if n_runs > runs.size:
            return np.int64(-1)
        _store(False, points, offsets, width, height, first_row, samples, stride, is_even, changes, slots, runs)
    return room


def _store(  # noqa: PLR0912, PLR0915 - likewise
    is_counting: bool,
    points: Int32,
    offsets: Int32,
    width: int,
    height: int,
    first_row: Uint16,
    samples: Uint16,
    stride: int,
    is_even: bool,
    changes: Int32,
    slots: Uint32,
    runs: Int64,
) -> Any:
    """
    Count the runs of each row, or store them.

    Counting sets `slots` to the place in `runs` where each row begins. Storing moves the slots to where the rows end. A
    row that needs more room than it has goes on in the next one; at the end of `runs`, places are written repeatedly.

    Returns:
        The number of runs; 0 if they are stored.
    """
    n_rows = samples.size - 1
    last_place = np.int64(runs.size - 1)
    if is_counting:
        for row in range(n_rows + 1):
            changes[row] = 0
    for channel in range(offsets.size - 1):
        start = np.int64(offsets[channel])
        stop = np.int64(offsets[channel + 1])
        n_points = stop - start
        if n_points < 2:
            continue
        is_line = n_points == 2
        base = (channel << 32) + (1 << 16) + 1
        before_y = np.int64(points[stop - 1, 1])
        ax = np.int64(points[start, 0])
        ay = np.int64(points[start, 1])
        bx = np.int64(points[start + 1, 0])
        by = np.int64(points[start + 1, 1])
        after = start + 1
        for _ in range(n_points):  # twice the one segment of a line
            after = start if after + 1 == stop else after + 1
            cx = np.int64(points[after, 0])
            cy = np.int64(points[after, 1])
            if ay < by:
                x0 = ax
                y0 = ay
                x1 = bx
                y1 = by
                up = np.int64(0)
                is_end = is_line or cy < by  # the next segment draws nothing in the row of this one's lower end
            else:
                x0 = bx
                y0 = by
                x1 = ax
                y1 = ay
                up = np.int64(1)
                is_end = is_line or before_y < ay
            if y1 >= 0 and y0 < height:
                depth = y1 - y0
                extent = abs(x1 - x0)
                first = np.int64(first_row[max(y0, np.int64(0))])
                last = np.int64(first_row[min(y1, np.int64(height))])
                is_end = (is_end or depth <= extent) and y1 < height and first_row[y1 + 1] > last
                if is_counting:
                    changes[first] += 1
                    changes[last] -= 1
                    if is_end:
                        changes[last] += 2
                        changes[last + 1] -= 2
                else:
                    sign = np.int64(-1) if x1 < x0 else np.int64(1)
                    left = min(x0, x1)
                    right = max(x0, x1)
                    is_clipped = left < 0 or right >= width
                    twice = 2 * depth
                    if depth > extent:
                        left = x1
                        right = x1
                        if first < last:
                            x, rest = _steep(np.int64(samples[first]) - y0, extent, depth)
                            x = x0 + sign * x
                            step = np.int64(0)
                            more = 2 * extent
                            if stride > 1:
                                step, more = _divided(stride, extent, depth)
                                step *= sign
                                more *= 2
                            for row in range(first, last):
                                low = x
                                high = x
                                if rest == 0:
                                    low, high = _half_way(x, sign, up, is_line)
                                if is_clipped:
                                    low = _clipped(low, width)
                                    high = _clipped(high, width)
                                place = np.int64(slots[row])
                                runs[min(place, last_place)] = base + (low << 16) + high
                                slots[row] = place + 1
                                x += step
                                rest += more
                                if rest >= twice:
                                    rest -= twice
                                    x += sign
                                if not is_even:
                                    gap = np.int64(samples[row + 1]) - np.int64(samples[row])
                                    if gap == stride + 1:
                                        rest += 2 * extent
                                        if rest >= twice:
                                            rest -= twice
                                            x += sign
                                    elif gap > stride and row + 1 < last:
                                        x, rest = _steep(np.int64(samples[row + 1]) - y0, extent, depth)
                                        x = x0 + sign * x
                    elif depth > 0:
                        step, more = _divided(1, extent, depth)
                        more *= 2
                        if first < last:
                            behind, rest = _flat(np.int64(samples[first]) - y0, extent, depth, step, more, up)
                            skipped = np.int64(0)
                            skipped_more = np.int64(0)
                            if stride > 1:
                                skipped, skipped_more = _divided(stride - 1, extent, depth)
                                skipped_more *= 2
                            for row in range(first, last):
                                begin = max(behind, 0)
                                behind += step
                                rest += more
                                if rest >= twice:
                                    rest -= twice
                                    behind += 1
                                low = x0 + begin
                                high = x0 + behind - 1
                                if sign < 0:
                                    low = x0 - behind + 1
                                    high = x0 - begin
                                if is_clipped:
                                    low = _clipped(low, width)
                                    high = _clipped(high, width)
                                place = np.int64(slots[row])
                                runs[min(place, last_place)] = base + (low << 16) + high
                                slots[row] = place + 1
                                if stride > 1:
                                    behind += skipped
                                    rest += skipped_more
                                    if rest >= twice:
                                        rest -= twice
                                        behind += 1
                                if not is_even:
                                    gap = np.int64(samples[row + 1]) - np.int64(samples[row])
                                    if gap == stride + 1:
                                        behind += step
                                        rest += more
                                        if rest >= twice:
                                            rest -= twice
                                            behind += 1
                                    elif gap > stride and row + 1 < last:
                                        k = np.int64(samples[row + 1]) - y0
                                        behind, rest = _flat(k, extent, depth, step, more, up)
                        if is_end:
                            behind, rest = _flat(depth, extent, depth, step, more, up)
                            if sign > 0:
                                left = x0 + behind
                            else:
                                right = x0 - behind
                    if is_end:
                        run = base + (_clipped(left, width) << 16) + _clipped(right, width)
                        place = np.int64(slots[last])
                        runs[min(place, last_place)] = run
                        runs[min(place + 1, last_place)] = run
                        slots[last] = place + 2
            if not is_line:
                before_y = ay
                ax = bx
                ay = by
                bx = cx
                by = cy
    n_runs = np.int64(0)
    if is_counting:
        in_row = np.int64(0)
        for row in range(n_rows):
            in_row += changes[row]
            slots[row] = n_runs
            n_runs += in_row
    return n_runs


def _clipped(x: Any, width: Any) -> Any:
    """A column, or -1 left of the window, or `width` right of it."""
    return min(max(x, -1), width)


def _divided(a: Any, b: Any, divisor: Any) -> Any:
    """The quotient and the remainder of ``a * b / divisor``, for a <= divisor < 2^32 and b < 2^32."""
    product = np.uint64(a) * np.uint64(b)
    quotient = product // np.uint64(divisor)
    return np.int64(quotient), np.int64(product - quotient * np.uint64(divisor))


def _steep(k: Any, extent: Any, depth: Any) -> Any:
    """For row k of a steep segment: ``k * extent / depth``, halves up, and what remains, in units of 1 / (2 depth)."""
    if k == 0:
        return np.int64(0), np.int64(depth)
    distance, rest = _divided(k, extent, depth)
    rest = 2 * rest + depth
    if rest >= 2 * depth:
        return distance + 1, rest - 2 * depth
    return distance, rest


def _half_way(x: Any, sign: Any, up: Any, is_line: Any) -> Any:
    """The run of a row where the crossing is half-way between `x` and the pixel before it."""
    line = x if up else x - sign
    even = x - sign * (x & 1)
    if is_line:  # a two-point channel has no crossing pixels
        even = line
    return min(line, even), max(line, even)


def _flat(k: Any, extent: Any, depth: Any, step: Any, more: Any, up: Any) -> Any:
    """
    For row k of a flat segment: where its run begins, in pixels from the upper end, and what remains, in units of
    1 / (2 depth). In row 0, the run of an unbounded line begins, which is less than 0.

    `step` and `more` are the quotient and twice the remainder of ``extent / depth``. With ``k * extent / depth`` they
    give the quotient of ``(2 k - 1) extent - up`` and ``2 depth`` by one division, or by none at either end.
    """
    distance = np.int64(extent)
    rest = np.int64(0)
    if k == 0:
        distance = np.int64(0)
    elif k < depth:
        distance, rest = _divided(k, extent, depth)
    distance += 1 - (step >> 1)
    rest = 2 * rest - (step & 1) * depth - (more >> 1) - up
    if rest < 0:
        return distance - 1, rest + 2 * depth
    return distance, rest


def _sort_long(runs: Int64, begin: Any, end: Any) -> None:
    """Heapsort: its time is bounded, whatever the order of the runs is."""
    n = end - begin
    for top in range(n // 2 - 1, -1, -1):
        _sift(runs, begin, top, n)
    for last in range(n - 1, 0, -1):
        run = runs[begin]
        runs[begin] = runs[begin + last]
        runs[begin + last] = run
        _sift(runs, begin, 0, last)


def _sift(runs: Int64, begin: Any, top: Any, n: Any) -> None:
    """Move the run at `top` down to its place in a heap of `n` runs."""
    run = runs[begin + top]
    k = top
    while 2 * k + 1 < n:
        child = 2 * k + 1
        if child + 1 < n and runs[begin + child + 1] > runs[begin + child]:
            child += 1
        if runs[begin + child] <= run:
            break
        runs[begin + k] = runs[begin + child]
        k = child
    runs[begin + k] = run
