"""
Detections: readers of the results of SAM 2, supervision and ultralytics. They are recognized by their attributes, so
none of these packages is imported.

| input | frames | objects |
|---|---|---|
| ``{frame: {object: logits}}`` | its keys, ascending; gaps as in names | the inner keys |
| ``(frame, object_ids, logits)``, iterated | the first item, ascending by 1 | `object_ids` |
| supervision's ``Detections``, iterated | in order | `tracker_id`; `class_id`, ``data["class_name"]`` |
| ultralytics' ``Results``, iterated | in order | ``boxes.id``; ``boxes.cls``, `names` |
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from operator import index
from typing import Any

import numpy as np
import numpy.typing as npt

from .arrays import IterableReader, Meaning, as_array, frame_shape, is_array
from .frames import Matte, Reader
from .names import numbered_plan, ranges_of
from .options import MAX_FRAMES, InputOptions
from .selection import Selection

__all__ = ["reader_of_iterable", "reader_of_mapping"]


def reader_of_mapping(name: str, source: Mapping[Any, Any], options: InputOptions) -> Reader:
    """
    A reader of ``{frame: {object: logits}}``, or of ``{frame: mask}``.

    Raises:
        ValueError: there is no frame, frames are missing, or an object is not there.
        TypeError: a key or a value is of another type.
    """
    return _MappingReader(name, source, options)


def reader_of_iterable(name: str, source: Iterable[Any], options: InputOptions) -> Reader:
    """
    A reader of an iterable of arrays, of ``(frame, object_ids, logits)``, of Detections or of Results.

    Raises:
        ValueError: there is no frame, or an option does not fit.
        TypeError: the items are of another type.
    """
    iterator = iter(source)
    try:
        first = next(iterator)
    except StopIteration:
        raise ValueError(f"{name}: expected at least one frame, found none") from None
    is_once = iterator is source
    whole: Iterable[Any] = chain((first,), iterator) if is_once else source
    if is_array(first) or not _is_detection(first):
        return IterableReader(name, whole, options)
    # logits, from SAM 2 alone, are above 0
    default = 0.0 if isinstance(first, tuple) else None
    mattes: Iterable[Any] = _Mattes(name, whole, options)
    if is_once:
        mattes = iter(mattes)
    return IterableReader(name, mattes, _without_objects(options), default=default)


class _MappingReader(Reader):
    def __init__(self, name: str, source: Mapping[Any, Any], options: InputOptions) -> None:
        super().__init__()
        self.name = name
        if not source:
            raise ValueError(f"{name}: expected at least one frame, found none")
        try:
            self._items = {index(key): source[key] for key in source}
        except TypeError:
            raise TypeError(f"{name}: expected frame numbers as keys, found {next(iter(source))!r}") from None
        self._keys = sorted(self._items)
        try:
            self._plan = numbered_plan(self._keys, options.gaps)
        except ValueError as exc:
            raise ValueError(f"{name}: {exc}") from None
        if ranges_of(self._keys):
            self.notes.append(f"{name}: frames are missing (gaps={options.gaps})")
        self.count = len(self._plan)
        self._options = options
        self._check_objects(name, options)
        sample = next((matte for matte in map(self._united, self._keys) if matte is not None), None)
        if sample is None:
            raise ValueError(f"{name}: expected an object in some frame, found none")
        self._meaning = Meaning(_without_objects(options), 0.0)
        self._meaning.begin(sample.dtype)
        self.threshold = self._meaning.threshold
        self.size = (sample.shape[1], sample.shape[0])
        self.found = f"{name}, {self.count} frames of {self._meaning.said}"

    def _check_objects(self, name: str, options: InputOptions) -> None:
        if options.objects is None:
            return
        known = {key for item in self._items.values() if isinstance(item, Mapping) for key in item}
        for one in options.objects:
            if one not in known:
                raise ValueError(
                    f"objects: {one!r} is not in {name}; found {', '.join(map(repr, sorted(known, key=str)[:20]))}"
                )

    def _united(self, key: int) -> Matte | None:
        """None if there is no object."""
        item = self._items[key]
        if not isinstance(item, Mapping):
            return _plane(item)
        wanted = self._options.objects
        return _union([_plane(mask) for number, mask in item.items() if wanted is None or number in wanted])

    def read(self, first: int) -> Iterator[Matte]:
        for frame in range(first, len(self._plan)):
            place = self._plan[frame]
            matte = None if place is None else self._united(self._keys[place])
            if matte is None:
                empty = np.zeros((self.size[1], self.size[0]), np.bool_)
                yield self._meaning.matte(empty)
                continue
            try:
                yield self._meaning.matte(matte)
            except ValueError as exc:
                raise ValueError(f"{self.name}, frame {frame}: {exc}") from None


class _Mattes:
    """The mattes of detections; frames without objects get the size of the first that has some."""

    def __init__(self, name: str, items: Iterable[Any], options: InputOptions) -> None:
        self._name = name
        self._items = items
        self._options = options

    def __len__(self) -> int:
        items: Any = self._items
        return len(items)

    def __iter__(self) -> Iterator[Matte]:
        waiting, like = 0, None
        for is_new, matte in self._with_gaps():
            if matte is None and like is None:
                waiting += 1
                continue
            if matte is not None:
                like = matte
            elif is_new or self._options.gaps == "empty":
                assert like is not None
                like = _empty(like)
            assert like is not None
            for _ in range(waiting):
                yield _empty(like)
            waiting = 0
            yield like
        if waiting:
            size = self._options.native_size
            if size is None:
                raise ValueError(f"{self._name}: no frame has a mask, so its size is unknown; pass native_size=")
            for _ in range(waiting):
                yield np.zeros((size[1], size[0]), np.bool_)

    def _with_gaps(self) -> Iterator[tuple[bool, Matte | None]]:
        """Each frame's matte, None if it has no object; and (False, None) for each missing frame."""
        expected: int | None = None
        gaps = self._options.gaps
        for number, item in enumerate(self._items):
            try:
                matte, frame = _matte_of(item, self._options)
            except (ValueError, TypeError) as exc:
                raise type(exc)(f"{self._name}, frame {number}: {exc}") from None
            if frame is not None:
                missing = 0 if expected is None else frame - expected
                if missing < 0 or missing > MAX_FRAMES or (missing and gaps == "error"):
                    raise ValueError(
                        f"{self._name}: expected frame {expected}, found {frame}; pass frames in ascending order, or "
                        "gaps='repeat', 'empty' or 'close'"
                    )
                expected = frame + 1
                for _ in range(missing if gaps != "close" else 0):
                    yield False, None
            yield True, matte


def _is_detection(item: Any) -> bool:
    return (isinstance(item, tuple) and len(item) == 3) or hasattr(item, "masks") or hasattr(item, "mask")


def _matte_of(item: Any, options: InputOptions) -> tuple[Matte | None, int | None]:
    """The united matte of a frame, None if it has no object; and the frame's number, if the item says it."""
    wanted = Selection(options.objects)
    if isinstance(item, tuple) and len(item) == 3:
        frame, ids, masks = item
        return _stack(masks, [wanted.wants(_number(one)) for one in ids]), index(frame)
    if hasattr(item, "masks"):
        return _of_results(item, wanted), None
    if not hasattr(item, "mask"):
        raise TypeError(f"expected an array, Detections, Results or (frame, object_ids, logits), found "
                        f"{type(item).__name__}")  # fmt: skip
    if item.mask is None:
        return None, None
    count = len(item.mask)
    tracks = _list(getattr(item, "tracker_id", None), count)
    classes = _list(getattr(item, "class_id", None), count)
    names = _list((getattr(item, "data", None) or {}).get("class_name"), count)
    used = [wanted.wants(_number(tracks[i]), _number(classes[i]), str(names[i])) for i in range(count)]
    return _stack(item.mask, used), None


def _of_results(item: Any, wanted: Selection) -> Matte | None:
    """Ultralytics. By default its masks are of the size that the network saw, with borders added."""
    if item.masks is None:
        return None
    data = item.masks.data
    size, original = tuple(data.shape[-2:]), tuple(item.orig_shape)
    if len(data) and size != original:
        raise ValueError(
            f"the masks are of the network's size {size} (height, width), the pictures of {original}; predict with "
            "retina_masks=True"
        )
    boxes, names, count = getattr(item, "boxes", None), getattr(item, "names", None) or {}, len(data)
    tracks, classes = (_list(getattr(boxes, name, None), count) for name in ("id", "cls"))
    used = [wanted.wants(_number(tracks[i]), _number(classes[i]), str(names.get(_number(classes[i]), "")))
            for i in range(count)]  # fmt: skip
    matte = _stack(data, used)
    return None if matte is None else matte if matte.dtype == np.bool_ else matte > 0.5  # floats 0.0 and 1.0


def _stack(masks: Any, used: Sequence[bool]) -> Matte | None:
    if len(masks) != len(used):
        raise ValueError(f"expected as many masks as objects, found {len(masks)} and {len(used)}")
    return _union([_plane(mask) for mask, is_used in zip(masks, used, strict=True) if is_used])


def _union(planes: Sequence[Matte]) -> Matte | None:
    """The highest value at each pixel: the union of masks, and of logits."""
    if not planes:
        return None
    united = planes[0]
    for plane in planes[1:]:
        if plane.shape != united.shape:
            raise ValueError(f"expected masks of one shape, found {united.shape} and {plane.shape}")
        united = np.maximum(united, plane)
    return united


def _plane(mask: Any) -> npt.NDArray[Any]:
    array = as_array(mask)
    while array.ndim > 2 and array.shape[0] == 1:
        array = array[0]
    if array.ndim != 2:
        raise ValueError(f"expected a mask of shape (height, width) or (1, height, width), found {array.shape}")
    frame_shape(array.shape)
    return array


def _empty(like: Matte) -> Matte:
    return np.full(like.shape, -np.inf, like.dtype) if like.dtype.kind == "f" else np.zeros_like(like)


def _list(values: Any, count: int) -> list[Any]:
    found = [None] * count if values is None else as_list(values)
    if len(found) != count:
        raise ValueError(f"expected {count} ids, found {len(found)}")
    return found


def as_list(values: Any) -> list[Any]:
    return list(values.tolist() if hasattr(values, "tolist") else values)


def _number(value: Any) -> Any:
    """An id as an int; trackers and tensors have floats and scalars of their own."""
    value = value.item() if hasattr(value, "item") else value
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _without_objects(options: InputOptions) -> InputOptions:
    """For mattes that the objects were chosen in."""
    from dataclasses import replace

    return replace(options, objects=None)
