"""What becomes of each field of a request on its way into another protocol.

Theory. A translator that forgets a field lies by silence: the client believes that its `seed` was used. So each
protocol has a table that names every field it knows and its fate, `survey` walks the fields that really came, and
what is in no table counts as dropped. A field that asks for what happens anyway (`n: 1`, `logprobs: false`) is no
loss and is not reported. docs/fidelity.md is printed from the same tables.

`Report` gathers the losses of one request. Losses below the top level (`messages.name`, `tools.function.strict`) are
reported by the code that meets them, under the path that the table uses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from msgspec import Raw

from adapters.codec import is_null
from adapters.errors import Unsupported


class Fate(StrEnum):
    """The five things that can happen to a field."""

    PASSED = "passed"
    """Sent under its own name with its own meaning."""
    RENAMED = "renamed"
    """Sent under another name, or in another shape, with the same meaning."""
    EMULATED = "emulated"
    """Not known to the upstream; the same effect is reached in another way."""
    DROPPED = "dropped"
    """Not sent; named in `x-anyport-dropped`."""
    REFUSED = "refused"
    """Answered with a 400 that names the field: leaving it out would change what the answer means."""


@dataclass(frozen=True, slots=True)
class Treatment:
    """The fate of one field, and what a reader of the table should know about it."""

    fate: Fate
    to: str = ""
    """Where it goes in the upstream's body."""
    note: str = ""
    """Conditions, borders, or the reason of a refusal."""


Table = Mapping[str, Treatment]
"""Path of a field (`stop`, `messages.name`, `tools.function.strict`) -> what becomes of it."""


def passed(note: str = "") -> Treatment:
    """A field that is sent as it is."""
    return Treatment(Fate.PASSED, "", note)


def renamed(to: str, note: str = "") -> Treatment:
    """A field that is sent under another name or in another shape."""
    return Treatment(Fate.RENAMED, to, note)


def emulated(note: str) -> Treatment:
    """A field whose effect is reached in another way."""
    return Treatment(Fate.EMULATED, "", note)


def dropped(note: str = "") -> Treatment:
    """A field that is left out and reported."""
    return Treatment(Fate.DROPPED, "", note)


def refused(note: str) -> Treatment:
    """A field that is answered with a 400."""
    return Treatment(Fate.REFUSED, "", note)


_NEUTRAL: Final[Mapping[str, frozenset[bytes]]] = {
    "n": frozenset({b"1"}),
    "best_of": frozenset({b"1"}),
    "logprobs": frozenset({b"false"}),
    "top_logprobs": frozenset({b"0"}),
    "presence_penalty": frozenset({b"0", b"0.0"}),
    "frequency_penalty": frozenset({b"0", b"0.0"}),
    "logit_bias": frozenset({b"{}"}),
    "store": frozenset({b"false"}),
    "echo": frozenset({b"false"}),
    "modalities": frozenset({b'["text"]', b'[ "text" ]'}),
    "service_tier": frozenset({b'"auto"', b'"default"'}),
    "metadata": frozenset({b"{}"}),
    "stop": frozenset({b"[]", b'""'}),
    "tools": frozenset({b"[]"}),
    "functions": frozenset({b"[]"}),
    "suffix": frozenset({b'""'}),
    "user": frozenset({b'""'}),
    "response_format": frozenset({b'{"type":"text"}', b'{"type": "text"}'}),
    "encoding_format": frozenset({b'"float"'}),
    "return_documents": frozenset({b"false"}),
    "parallel_tool_calls": frozenset({b"true"}),
}
"""Values that ask for what every protocol does anyway."""


def is_neutral(name: str, value: Raw) -> bool:
    """True for a value that asks for nothing: null, or what happens without it."""
    values = _NEUTRAL.get(name)
    return is_null(value) or (values is not None and bytes(value) in values)


class Report:
    """The losses of one request, in the order in which they were met."""

    __slots__ = ("_dropped",)

    def __init__(self) -> None:
        self._dropped: dict[str, None] = {}

    def drop(self, *names: str) -> None:
        """Notes fields that the upstream will not see, or not with their full meaning."""
        for name in names:
            self._dropped[name] = None

    @property
    def dropped(self) -> tuple[str, ...]:
        """The fields that were lost, each once."""
        return tuple(self._dropped)


def survey(fields: Mapping[str, Raw], table: Table) -> Report:
    """Returns a report that already holds every top-level field the table drops or does not know.

    Raises Unsupported for a field that the table refuses. Fields of the other fates are the adapter's to place.
    """
    report = Report()
    for name, value in fields.items():
        treatment = table.get(name)
        fate = Fate.DROPPED if treatment is None else treatment.fate
        if (fate is not Fate.DROPPED and fate is not Fate.REFUSED) or is_neutral(name, value):
            continue
        if treatment is not None and fate is Fate.REFUSED:
            raise Unsupported(name, f"{name}: {treatment.note}")
        report.drop(name)
    return report
