"""
encode: encodes the masks of any input to a stream file and verifies the file. An interrupted run can be continued.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import Any, Final, Literal

from .._config import Config
from .._encoding import prepare_encoder
from .._exceptions import DecodeError, mapped_errors
from .._format.cipher import AsvrKey
from .._inputs import Frames, InputOptions, open_frames
from .._raster.coverage import rasterize_packed
from .._runtime.workers import in_order, threads_of
from .._stream.stream import AlphaStream
from .encoding import FrameCoder, digest_of, encode_runs, in_runs
from .report import EncodeProgress, EncodeReport, Tally
from .spool import Spool, spool_path
from .whole_file import sync_folder
from .writer import AsvpWriter, AsvrWriter

__all__ = ["Progress", "Verify", "encode", "publish", "step_of"]

Progress = Callable[[EncodeProgress], None]
Verify = bool | Literal["exact", "sample", "none"]

_SAMPLE_STEP: Final = 16
"""Of so many frames, one is read back for ``verify="sample"``."""
_TELL_EVERY: Final = 64
"""Frames between two reports of progress, where a frame takes less than a millisecond."""
_VERIFIED_FRAMES: Final = 16
"""Frames that a thread reads back at a time."""


def encode(
    source: object,
    target: str | os.PathLike[str],
    *,
    key: AsvrKey | None = None,
    tolerance: float = 0.0,
    min_iou: float | None = None,
    min_area: int = 0,
    effort: int = 2,
    stable: bool = True,
    options: InputOptions | None = None,
    jobs: int | None = None,
    resume: bool = True,
    verify: Verify = True,
    progress: Progress | None = None,
) -> EncodeReport:
    """
    Encode masks to a stream file, and read it back to verify it.

    While it runs, the frames are kept in a spool beside the target. If the process is killed, the same call goes on
    from there, and writes the same bytes as a call without interruption. The target appears when it is complete.

    Args:
        source: a path of a video, a picture, a folder of pictures, an array or a COCO file; a list of paths; an array
            or an iterable of masks. :class:`InputOptions` says how it is read.
        target: the file to write: an ASVR if there is a `key`, else an ASVP.
        key: the caller's key, for an ASVR.
        tolerance: pixels, 0..64. 0 is exact: every pixel of every mask is as it was. Above 0: see
            :func:`encode_mask`.
        min_iou: 0.5..1, in place of a tolerance: each frame has the largest of some tolerances at which the
            intersection over union of its mask and the given one is at least this. Not beside `min_area`.
        min_area: pixels; spots and holes that are smaller are dropped first.
        effort: 1..3; more is slower and smaller.
        stable: above tolerance 0, prefer the vertices of the frame before, so that still outlines stand still.
        options: how the input is read.
        jobs: threads, 1..256; as many as there are processors if omitted.
        resume: go on with a spool of the same job. False begins anew.
        verify: read back every frame (True or "exact"), every 16th ("sample"), or none (False or "none"). A mask that
            was read back is compared by its hash with the one that was measured.
        progress: called on this thread, with an :class:`EncodeProgress`, after each batch of frames.

    Raises:
        ValueError: an argument is outside its range or does not fit the input, the masks have different sizes, or there
            are no frames.
        TypeError: this kind of source is not supported.
        DecodeError: the input is damaged. The frames before are kept in the spool.
        TransportError: the input cannot be read, or the target cannot be written.
        ImportError: a package that the input or the encoder needs is missing; the message has the command that
            installs it.
        NotReadyError: the system cannot start a thread.
    """
    started = time.monotonic()
    path, step, n_jobs, tell = Path(target), step_of(verify), threads_of(jobs), progress or _tell_nobody
    given = options or InputOptions()
    with contextlib.closing(open_frames(source, given)) as frames:
        coder = FrameCoder(frames.size, tolerance, min_iou, min_area, effort, stable)
        tell(EncodeProgress("compiling", 0, frames.count))
        prepare_encoder()
        job = {"kind": "encode", "input": frames.about, **_as_json(coder), **_as_json(given)}
        del job["frames"]  # a job for fewer frames begins with the same ones: those before the damage, for example
        with Spool(spool_path(path), job, resume=resume) as spool:
            resumed = _encode_frames(frames, coder, spool, n_jobs, tell)
            if not len(spool):
                spool.remove()
                raise ValueError(f"source: expected masks, found none ({frames.about})")
            verified = publish(spool, path, key, frames.size, step, n_jobs, tell)
            tally = Tally(spool)
            spool.remove()
        return EncodeReport(
            target=str(path),
            bytes=path.stat().st_size,
            native_size=frames.size,
            fps=frames.fps,
            about=frames.about,
            notes=tuple(frames.notes),
            verified=verified,
            resumed_from=resumed,
            seconds=time.monotonic() - started,
            source_times=None if frames.times is None else tuple(frames.times[: tally.n_frames]),
            **tally.figures(),
        )


def publish(
    spool: Spool, path: Path, key: AsvrKey | None, native_size: tuple[int, int], step: int, n_jobs: int, tell: Progress
) -> int:
    """
    Write the frames of a spool to a file, and verify it. The file appears under its name only when it was verified.

    Args:
        spool: the frames.
        path: the target.
        key: for an ASVR.
        native_size: of the masks.
        step: each of so many frames is read back; 0 for none.
        n_jobs: threads that verify.
        tell: is told of progress.

    Returns:
        How many frames were read back.

    Raises:
        DecodeError: a frame gives another mask than was measured.
        TransportError: writing or reading failed.
    """
    # In a folder of its own, under the final name: an ASVR's encryption depends on it.
    folder = path.with_name(f".{path.name}.unverified")
    unverified = folder / path.name
    with mapped_errors(f"writing {str(path)!r}"):
        folder.mkdir(exist_ok=True)
    try:
        writer = AsvpWriter(unverified) if key is None else AsvrWriter(unverified, key=key)
        with writer:
            for done, frame in enumerate(spool):
                if done % _TELL_EVERY == 0:
                    tell(EncodeProgress("writing", done, len(spool)))
                writer.add_block(frame.block, check=False)
        tell(EncodeProgress("writing", len(spool), len(spool)))
        verified = _verify(unverified, key, native_size, spool, step, n_jobs, tell) if step else 0
        with mapped_errors(f"writing {str(path)!r}"):
            os.replace(unverified, path)
            sync_folder(path.parent)
    finally:
        with contextlib.suppress(OSError):
            unverified.unlink(missing_ok=True)
            for left in folder.glob("*.tmp"):  # of a run that was killed here
                left.unlink()
            folder.rmdir()
    return verified


def step_of(verify: Verify) -> int:
    """Of how many frames one is read back; 0 for none."""
    steps: dict[object, int] = {True: 1, "exact": 1, "sample": _SAMPLE_STEP, False: 0, "none": 0}
    if not isinstance(verify, (bool, str)) or verify not in steps:
        raise ValueError(f"verify: expected True, 'exact', 'sample', 'none' or False, found {verify!r}")
    return steps[verify]


def _verify(
    path: Path, key: AsvrKey | None, native_size: tuple[int, int], spool: Spool, step: int, n_jobs: int, tell: Progress
) -> int:
    """Read frames back from a file, and compare the hashes of their masks, in threads. Returns how many."""

    def verify(indices: range) -> int:
        for index, geometry in zip(indices, stream.read_batch(indices), strict=True):
            if digest_of(rasterize_packed(geometry, native_size=native_size)) != spool.digests[index]:
                raise DecodeError(
                    f"frame {index}: read back from the new file, it gives another mask than was encoded; the file was"
                    " not kept. Check the disk, and report this if it happens again",
                    frame_index=index,
                )
        return len(indices)

    n_frames, n_verified, run = len(spool), 0, _VERIFIED_FRAMES * step
    runs = (range(first, min(first + run, n_frames), step) for first in range(0, n_frames, run))
    tell(EncodeProgress("verifying", 0, n_frames))
    with AlphaStream(config=Config(native_size=native_size, prefetch_frames=0, ready_frames=0)) as stream:
        stream.load_source(path, key=key)
        with closing(in_order(verify, runs, jobs=n_jobs, name="alphastream-verify", may_call=True)) as counts:
            for count in counts:
                n_verified += count
                tell(EncodeProgress("verifying", min(n_verified * step, n_frames), n_frames))
    return n_verified


def _encode_frames(frames: Frames, coder: FrameCoder, spool: Spool, n_jobs: int, tell: Progress) -> int:
    """Encode what the spool does not have yet; returns how many frames it had."""

    def on_frames(done: int) -> None:
        tell(EncodeProgress("encoding", done, frames.count))

    on_frames(0)
    runs = in_runs(frames.packed_from(0), coder.run_frames)
    return encode_runs(runs, coder.encode, digest_of, spool, jobs=n_jobs, on_frames=on_frames)


def _as_json(options: FrameCoder | InputOptions) -> dict[str, Any]:
    """Fields as values that JSON has, for the first line of a spool."""
    plain = {name: str(value) if isinstance(value, Fraction) else value for name, value in asdict(options).items()}
    found: dict[str, Any] = json.loads(json.dumps(plain))
    return found


def _tell_nobody(progress: EncodeProgress) -> None:
    """No progress is asked for."""
