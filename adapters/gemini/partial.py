"""A call whose arguments come as values at paths: Vertex's `partialArgs`.

It is never asked for, but a proxy may have switched it on. The pieces are no pieces of JSON text, so that the arguments
can only be told once all are there. (docs.cloud.google.com, streaming function call arguments, read 2026-11.)
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any, Final

from msgspec import Raw

from adapters.codec import JSON, as_list, as_object, as_text, decode, encode, is_null
from adapters.errors import Malformed
from adapters.types import MAX_EVENT_BYTES

Object = dict[str, Any]
_STEP: Final = re.compile(r"\.([A-Za-z_][A-Za-z0-9_-]*)|\[(\d{1,4})\]|\['([^']*)'\]|\[\"([^\"]*)\"\]")
_VALUES: Final = ("stringValue", "numberValue", "boolValue", "nullValue")
_MOST_STEPS: Final = 64
_MOST_ITEMS: Final = 1000
Step = str | int


class PartialCall:
    """Gathers the arguments of one call."""

    __slots__ = ("_left", "_root", "index")

    def __init__(self, index: int) -> None:
        self.index = index
        self._left = MAX_EVENT_BYTES
        self._root: Object = {}

    def add(self, pieces: Raw) -> None:
        """Lays the values of one event into the arguments; raises Malformed for an odd path, or beyond the cap."""
        if is_null(pieces):
            return
        self._left -= memoryview(pieces).nbytes
        if self._left < 0:
            raise Malformed("the arguments of a call in the upstream's answer are too long")
        for piece in map(as_object, as_list(decode(pieces))):
            name = next((name for name in _VALUES if name in piece), None)
            if name is not None:
                self._set(_steps(piece.get("jsonPath")), None if name == "nullValue" else piece[name])

    def arguments(self) -> str:
        """Returns what was gathered as JSON text."""
        return encode(self._root).decode()

    def _set(self, steps: list[Step], value: JSON) -> None:
        place: JSON = self._root
        for step, following in pairwise(steps):
            place = _member(place, step, [] if isinstance(following, int) else {})
        last = steps[-1]
        before: JSON = _member(place, last, None)
        place[last] = before + value if isinstance(before, str) and isinstance(value, str) else value


def _steps(path: JSON) -> list[Step]:
    text = as_text(path)
    steps: list[Step] = []
    at = 1
    while found := _STEP.match(text, at):
        steps.append(int(found[2]) if found[2] else next(group for group in found.groups() if group is not None))
        at = found.end()
    if not steps or at != len(text) or not text.startswith("$") or len(steps) > _MOST_STEPS:
        raise Malformed("the arguments of a call in the upstream's answer have a path that cannot be read")
    return steps


def _member(place: JSON, step: Step, missing: JSON) -> JSON:
    """Returns what is at `step` of `place`, `missing` put there if nothing was."""
    if isinstance(step, int) and isinstance(place, list) and step <= min(len(as_list(place)), _MOST_ITEMS):
        items = as_list(place)
        if step == len(items):
            items.append(missing)
        return items[step]
    if isinstance(step, str) and isinstance(place, dict):
        return as_object(place).setdefault(step, missing)
    raise Malformed("the arguments of a call in the upstream's answer contradict each other")
