"""
export: writes the masks of a stream for other programs. An interrupted run can be continued.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass
from fractions import Fraction
from operator import index
from pathlib import Path
from typing import IO, Any

from .._config import Config
from .._exceptions import TransportError, mapped_errors
from .._format.cipher import AsvrKey
from .._format.names import scheme_of
from .._geometry.size import check_size
from .._open import open
from .._runtime.workers import threads_of
from .._sources import SourceLike
from .._stream.stream import AlphaStream
from .choice import Choice, Codec, Layout, choose
from .coco import CocoTarget
from .coders import mask_coder
from .colour_videos import JoinedVideo
from .colours import ColourVideo
from .drawing import Drawing
from .faults import needed
from .flat import npy_target, raw_target
from .journal import Journal, journal_path
from .mask_videos import MaskVideo
from .matching import matched
from .npz import write_npz
from .pieces import Target, export_pieces
from .pngs import PngTarget
from .report import ExportProgress, ExportReport
from .zarrs import ZarrTarget

__all__ = ["Progress", "export"]

Progress = Callable[[ExportProgress], None]


def export(
    source: SourceLike,
    target: str | os.PathLike[str] | IO[bytes],
    *,
    key: AsvrKey | None = None,
    config: Config | None = None,
    size: tuple[int, int] | None = None,
    start: int = 0,
    frames: int | None = None,
    codec: Codec = "auto",
    video: str | os.PathLike[str] | None = None,
    layout: Layout = "auto",
    quality: int | None = None,
    bits: int = 8,
    packed: bool = False,
    jobs: int | None = None,
    resume: bool = True,
    progress: Progress | None = None,
) -> ExportReport:
    """
    Write the masks of a stream for other programs: as a video, pictures, an array or annotations.

    The ending of the target says what is written. ``.npy``: an array of uint8 (frames, height, width), 0 and 255.
    ``.npz``: the same, compressed, under the name `masks`. ``.png`` with the place of a number, such as
    ``out/%06d.png``: a picture for each frame, whose number is that of the frame in the stream. ``.zarr``: an array of
    bool in a Zarr store of format 3. ``.json``: COCO annotations with compressed run lengths. ``.mkv``, ``.mp4`` and
    ``.mov``: a lossless gray video. ``.raw`` and ``.gray``: gray pictures without a header.

    With a colour video, the target is a video with its colours, its audio and the masks. Each frame gets the mask whose
    time is nearest; the first mask belongs to the first frame. ``.webm``: VP9 with an alpha channel. ``.mov``: ProRes
    4444. ``.mp4``: H.264 with the mask beside the colours. docs/formats.md has all layouts.

    While it runs, a journal beside the target says what is done. If the process is killed, the same call goes on from
    there, and writes the same bytes as a call without interruption; x264 itself rarely writes others. The target
    appears when it is complete; of a folder of pictures, each picture does. An npz file is begun anew.

    Args:
        source: the stream, as :func:`open` takes it.
        target: a path, which is replaced if it is there; or a file that is open for writing, which gets gray pictures
            without a header, such as the standard input of FFmpeg.
        key: of an ASVR.
        config: options; native size and frame rate must be those of the stream.
        size: ``(width, height)`` of the masks in pixels, 1..16384 each; the native size if omitted. With a
            colour video, they get its size.
        start: the first frame, from 0.
        frames: the most frames, from 1; all if omitted.
        codec: of a video. Masks alone: ``"ffv1"``, the default of .mkv, or ``"h264"``, that of .mp4 and .mov. With
            colours: ``"vp9"``, ``"prores"``, ``"h264"`` or ``"ffv1"``.
        video: the path of a colour video.
        layout: where the mask is in a video with colours: ``"alpha"`` is the alpha channel; ``"alpha-right"``,
            ``"alpha-left"``, ``"alpha-bottom"`` and ``"alpha-top"`` are beside the colours; ``"fisheye-a"`` and
            ``"fisheye-b"`` are the corners of the picture.
        quality: the constant rate factor with colours, 0..51 for H.264 (18 if omitted), 0..63 for VP9 (24); less is
            better.
        bits: of a pixel in a PNG, 1 or 8.
        packed: for npy and npz, eight pixels in a byte, as of :func:`rasterize_packed`.
        jobs: threads, 1..256; as many as there are processors if omitted.
        resume: go on with an export that was interrupted. False begins anew.
        progress: called on this thread with an :class:`ExportProgress`.

    Raises:
        ValueError: an option is outside its range or does not fit the target; the message names what is allowed.
        TypeError: `source` has an unsupported type.
        DecodeError: the stream is malformed, or an interrupted export to the same target was another one.
        KeyMismatchError: the key is not that of the stream.
        TransportError: the stream cannot be read, or the target cannot be written.
        FrameTimeoutError: the stream is not open within ``config.init_timeout``.
        ImportError: a package that the target needs is missing; the message has the command that installs it.
        NotReadyError: the system cannot start a thread.
        ClosedError: a source of the caller was closed meanwhile.

    Exceptions of an open file that is written to, such as BrokenPipeError, pass unchanged.
    """
    started = time.monotonic()
    tell: Progress = progress or _tell_nobody
    config = config or Config()
    wanted = None if size is None else check_size("size", size)
    n_jobs = threads_of(jobs)
    path = None if hasattr(target, "write") else _path_of(os.fspath(target), "target")
    chosen = choose(
        ".raw" if path is None else path.name,
        codec=codec,
        layout=layout,
        has_colours=video is not None,
        quality=quality,
        bits=bits,
        is_packed=packed,
    )
    if video is not None and size is not None:
        raise ValueError("size: the masks get the size of the colour video; leave it out")
    with open(source, key=key, config=config) as stream:
        part = _part_of(stream.metadata.frame_count, start, frames)
        if path is None:
            done = _to_file(target, stream, part, wanted or config.native_size, n_jobs, tell)  # type: ignore[arg-type]
        elif video is not None:
            done = _with_colours(_path_of(os.fspath(video), "video"), path, stream, chosen, part, n_jobs, resume, tell)
        else:
            done = _masks_alone(path, stream, chosen, part, wanted or config.native_size, n_jobs, resume, tell)
    return ExportReport(
        target="" if path is None else str(path),
        kind=chosen.kind,
        codec=chosen.codec,
        layout=chosen.layout,
        frames=done.n_frames,
        bytes=0 if path is None else _bytes_of(path, chosen, part),
        size=done.size,
        fps=config.fps,
        is_lossless=chosen.is_lossless,
        drift=done.drift,
        notes=done.notes,
        resumed_from=done.resumed,
        seconds=time.monotonic() - started,
    )


@dataclass(frozen=True, slots=True)
class _Done:
    """What differs between exports, for the report."""

    n_frames: int
    size: tuple[int, int]
    resumed: int = 0
    drift: float | None = None
    notes: tuple[str, ...] = ()


def _to_file(
    file: IO[bytes], stream: AlphaStream, frames: range, size: tuple[int, int], jobs: int, tell: Progress
) -> _Done:
    """Write gray pictures to an open file. Its errors are the caller's: a pipe whose reader is gone, for example."""
    for done, mask in enumerate(Drawing(stream, size).ahead(frames, jobs)):
        tell(ExportProgress("exporting", done, len(frames)))
        left = mask.data.cast("B")
        while left:  # a raw file, such as a pipe without a buffer, may take only a part
            left = left[file.write(left) :]
    tell(ExportProgress("exporting", len(frames), len(frames)))
    return _Done(len(frames), size)


def _masks_alone(
    path: Path,
    stream: AlphaStream,
    chosen: Choice,
    frames: range,
    size: tuple[int, int],
    jobs: int,
    resume: bool,
    tell: Progress,
) -> _Done:
    drawing = Drawing(stream, size)
    exporting, joining = _tellers(tell, len(frames))
    _prepare(path, chosen)
    if chosen.kind == "npz":
        write_npz(path, frames, drawing, is_packed=chosen.is_packed, jobs=jobs, tell=exporting)
        return _Done(len(frames), size)
    made = _target_of(chosen, path, frames, size, stream.config.fps)
    job = _job_of(stream, chosen, frames, size, made.piece_frames)
    with Journal(journal_path(path), job, resume=resume) as journal:
        resumed = export_pieces(made, frames, drawing, journal, jobs=jobs, on_frames=exporting)
        made.finish(dict(sorted(journal.records.items())), joining)
        journal.remove()
    return _Done(len(frames), size, resumed)


def _with_colours(
    video: Path,
    path: Path,
    stream: AlphaStream,
    chosen: Choice,
    frames: range,
    jobs: int,
    resume: bool,
    tell: Progress,
) -> _Done:
    needed("av", "PyAV")
    with mapped_errors(f"reading {video.name}"):
        if path.exists() and path.samefile(video):
            raise ValueError("target: expected another file than the colour video")
    with closing(ColourVideo(video)) as colours:
        matching = matched(
            colours.name, colours.times, colours.time_base, stream.config.fps, frames, stream.metadata.frame_count
        )
        made = JoinedVideo(path, chosen, colours, matching)
        exporting, joining = _tellers(tell, made.n_frames)
        _prepare(path, chosen)
        job = _job_of(stream, chosen, frames, made.mask_size, made.piece_frames)
        with mapped_errors(f"reading {colours.name}"):
            state = video.stat()
        job["video"] = [colours.name, state.st_size, state.st_mtime_ns, len(colours.times)]
        with Journal(journal_path(path), job, resume=resume) as journal:
            drawing = Drawing(stream, made.mask_size)
            resumed = made.export(drawing, journal, jobs=jobs, on_frames=exporting)
            made.finish(joining)
            journal.remove()
    notes = (*matching.notes, *made.notes)
    return _Done(made.n_frames, made.size, resumed, float(matching.drift), notes)


def _tellers(tell: Progress, total: int) -> tuple[Callable[[int], None], Callable[[int], None]]:
    """What tells the progress of both stages."""

    def exporting(done: int) -> None:
        tell(ExportProgress("exporting", done, total))

    def joining(done: int) -> None:
        tell(ExportProgress("joining", done, total))

    return exporting, joining


def _target_of(chosen: Choice, path: Path, frames: range, size: tuple[int, int], rate: Fraction) -> Target:
    if chosen.kind == "raw":
        return raw_target(path, frames, size)
    if chosen.kind == "npy":
        return npy_target(path, frames, size, is_packed=chosen.is_packed)
    if chosen.kind == "png":
        return PngTarget(path, frames, chosen.bits)
    if chosen.kind == "coco":
        return CocoTarget(path, size, rate)
    if chosen.kind == "zarr":
        return ZarrTarget(path, frames, size, rate)
    assert chosen.codec is not None
    return MaskVideo(path, frames, mask_coder(chosen.codec), size, rate)


def _job_of(
    stream: AlphaStream, chosen: Choice, frames: range, size: tuple[int, int], piece_frames: int
) -> dict[str, Any]:
    """What is exported and how, for the first line of a journal."""
    return {
        "kind": "export",
        "input": stream.fingerprint,
        "native_size": list(stream.config.native_size),
        "fps": str(stream.config.fps),
        "size": list(size),
        "start": frames.start,
        "frames": len(frames),
        "piece_frames": piece_frames,
        **{f"target_{name}": value for name, value in asdict(chosen).items()},
    }


def _path_of(given: str | bytes, option: str) -> Path:
    text = os.fsdecode(given)
    scheme = scheme_of(text)
    if scheme is not None:  # not quoted: the query and the user information may be secrets
        raise ValueError(f"{option}: expected the path of a file, found a {scheme}: URL")
    path = Path(text)
    if not path.name:
        raise ValueError(f"{option}: expected the path of a file, found {text!r}")
    return path


def _prepare(path: Path, chosen: Choice) -> None:
    """Refuse a target that cannot be replaced, and create the folder of pictures."""
    with mapped_errors(f"creating {str(path)!r}"):
        if chosen.kind == "png":
            path.parent.mkdir(exist_ok=True)
        if path.is_dir() and chosen.kind != "zarr":
            raise TransportError(f"creating {str(path)!r}: it is a directory")


def _part_of(n_frames: int, start: int, frames: int | None) -> range:
    """The frames that are exported."""
    if not n_frames:
        raise ValueError("source: expected frames, found none")
    first, most = index(start), n_frames if frames is None else index(frames)
    if not 0 <= first < n_frames:
        raise ValueError(f"start: expected 0..{max(0, n_frames - 1)} in this stream, found {first}")
    if most < 1:
        raise ValueError(f"frames: expected 1 or more, found {most}")
    return range(first, min(first + most, n_frames))


def _bytes_of(path: Path, chosen: Choice, frames: range) -> int:
    """Bytes of the target, of all its files."""
    with mapped_errors(f"reading {str(path)!r}"):
        if chosen.kind == "png":
            return sum(one.stat().st_size for one in PngTarget(path, frames, chosen.bits).paths())
        if path.is_dir():
            return sum(one.stat().st_size for one in path.rglob("*") if one.is_file())
        return path.stat().st_size


def _tell_nobody(progress: ExportProgress) -> None:
    """No progress is asked for."""
