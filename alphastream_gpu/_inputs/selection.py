"""
Selection: decides which objects are used, from the option `objects`.

A number is an object's id. A text is the name of a category; ``category:3`` is the category with the number 3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .faults import WrongOptionError

__all__ = ["Selection"]


class Selection:
    """
    Args:
        objects: the option; None for all.
    """

    def __init__(self, objects: Sequence[str | int] | None) -> None:
        self._objects = objects
        self._ids = {one for one in objects or () if isinstance(one, int)}
        self._texts = {one for one in objects or () if isinstance(one, str)}
        self._names: dict[Any, str] = {}
        self._has_tracks = False
        self._seen: set[str | int] = set()

    def begin(self, annotations: Any, categories: Any) -> None:
        """
        Look at a COCO file. If any annotation has a track id, numbers are track ids, else they are annotations' ids.

        Args:
            annotations: the list of the file.
            categories: the list of the file, or None.
        """
        self._names = {one["id"]: str(one.get("name", "")) for one in categories or ()}
        self._has_tracks = any(_track(one) is not None for one in annotations)

    def has(self, annotation: Mapping[str, Any]) -> bool:
        """Whether an annotation of a COCO file is wanted."""
        if self._objects is None:
            return True
        category = annotation.get("category_id")
        track = _track(annotation)
        return self.wants(track if self._has_tracks else annotation.get("id"), category, self._names.get(category, ""))

    def wants(self, number: Any, category: Any = None, category_name: str = "") -> bool:
        """
        Whether an object is wanted.

        Args:
            number: its id; None if it has none.
            category: the number of its category; likewise.
            category_name: the name of its category.
        """
        if self._objects is None:
            return True
        # Python's 1 == 1.0 == True: ids that trackers give as floats are meant
        found = {one for one in (number,) if one in self._ids}
        found |= {one for one in (category_name, f"category:{category}", str(number)) if one in self._texts}
        self._seen |= found
        return bool(found)

    def check(self, name: str) -> None:
        """
        Check, after everything was asked for, that each wanted object was there.

        Raises:
            WrongOptionError: one was not.
        """
        missing = [one for one in self._objects or () if one not in self._seen]
        if missing:
            known = f"; its categories are {', '.join(sorted(self._names.values())[:20])}" if self._names else ""
            raise WrongOptionError(f"objects: {missing[0]!r} is not in {name}{known}")


def _track(annotation: Mapping[str, Any]) -> Any:
    """The id of the object that an annotation shows, in the places where tools write it."""
    attributes = annotation.get("attributes")
    for place in (annotation, attributes if isinstance(attributes, Mapping) else {}):
        for key in ("track_id", "instance_id"):
            if place.get(key) is not None:
                return place[key]
    return None
