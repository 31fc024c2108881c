"""
optimize: encodes the frames of a stream again, in fewer bytes, with the same masks.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

from .._config import Config
from .._encoding import encode_block, optimize_geometry, prepare_encoder
from .._format.cipher import AsvrKey
from .._geometry.bits import count_set
from .._geometry.frame import FrameGeometry
from .._raster.coverage import rasterize_packed
from .._runtime.workers import threads_of
from .._sources import SourceLike
from .convert import stored_frames
from .encode import Progress, Verify, publish, step_of
from .encoding import digest_of, encode_runs
from .report import EncodeProgress, EncodeReport, Tally
from .spool import EncodedFrame, Spool, spool_path

__all__ = ["optimize"]

_RUN_FRAMES: Final = 32


def optimize(
    source: SourceLike,
    target: str | os.PathLike[str],
    *,
    key: AsvrKey | None = None,
    target_key: AsvrKey | None = None,
    config: Config | None = None,
    effort: int = 3,
    jobs: int | None = None,
    resume: bool = True,
    verify: Verify = True,
    progress: Progress | None = None,
) -> EncodeReport:
    """
    Encode the frames of a stream anew, without a changed pixel. No frame becomes larger.

    A frame is replaced only if the new block is smaller and gives the same mask at native size; masks of other sizes
    are samples of that one. Spool, interruption, `jobs`, `verify` and `progress` are as of :func:`encode`.

    Args:
        source: the stream, as :func:`open` takes it.
        target: the file to write: an ASVR if there is a `target_key`, else an ASVP.
        key: of an ASVR that is read.
        target_key: for an ASVR that is written; it may be `key`.
        config: options; the native size must be that of the stream.
        effort: 1..3; more is slower and smaller.
        jobs: threads, 1..256; as many as there are processors if omitted.
        resume: go on with a spool of the same job.
        verify: which frames are read back.
        progress: called with an :class:`EncodeProgress`.

    Raises:
        ValueError: an argument is outside its range.
        DecodeError: the stream is malformed.
        KeyMismatchError: the key is not that of the stream.
        TransportError: the stream cannot be read, or the target cannot be written.
        ImportError: a package that the encoder needs is missing; the message has the command that installs it.
        NotReadyError: the system cannot start a thread.
        ClosedError: a source of the caller was closed meanwhile.
    """
    started = time.monotonic()
    path, step, n_jobs = Path(target), step_of(verify), threads_of(jobs)
    tell: Progress = progress or (lambda progress: None)
    config = config or Config()
    with stored_frames(source, key, config) as frames:
        tell(EncodeProgress("compiling", 0, len(frames)))
        prepare_encoder()
        native_size = config.native_size
        job = {
            "kind": "optimize",
            "input": [frames.name, frames.n_bytes, len(frames)],
            "native_size": list(native_size),
            "effort": effort,
        }
        with Spool(spool_path(path), job, resume=resume) as spool:

            def on_frames(done: int) -> None:
                tell(EncodeProgress("encoding", done, len(frames)))

            on_frames(0)
            resumed = encode_runs(
                _in_runs(frames.read_from(0)),
                partial(_smaller, native_size, effort),
                lambda item: digest_of(item[0]),
                spool,
                jobs=n_jobs,
                on_frames=on_frames,
            )
            verified = publish(spool, path, target_key, native_size, step, n_jobs, tell)
            tally = Tally(spool)
            spool.remove()
        return EncodeReport(
            target=str(path),
            bytes=path.stat().st_size,
            native_size=native_size,
            fps=config.fps,
            about=f"{frames.name}: {len(frames)} frames, {frames.n_bytes:,} bytes",
            notes=(),
            verified=verified,
            resumed_from=resumed,
            seconds=time.monotonic() - started,
            bytes_before=frames.n_bytes,
            **tally.figures(),
        )


def _in_runs(frames: Iterator[tuple[bytes, FrameGeometry]]) -> Iterator[list[tuple[bytes, FrameGeometry]]]:
    while run := list(itertools.islice(frames, _RUN_FRAMES)):
        yield run


def _smaller(native_size: tuple[int, int], effort: int, run: list[tuple[bytes, FrameGeometry]]) -> list[EncodedFrame]:
    """The frames of a run, each in the smallest of its old block, the same payload compressed anew, and a new one."""
    made = []
    for old, geometry in run:
        bits = rasterize_packed(geometry, native_size=native_size)
        digest = digest_of(bits)
        new = optimize_geometry(geometry, native_size, effort)
        if digest_of(rasterize_packed(new, native_size=native_size)) != digest:
            new = geometry  # never seen; the old frame is right
        payloads = {geometry.to_payload(), new.to_payload()}
        block = min(old, *(encode_block(payload, effort) for payload in sorted(payloads)), key=len)
        made.append(EncodedFrame(block, digest, digest_of(old), count_set(bits), 0, 0, 0.0))
    return made
