"""What an explanation is told to go wrong: `0=429:20,1=timeout` makes the first two attempts fail."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from adapters.failures import Failure, FailureKind
from gateway.settings.scalars import MAX_SECONDS

_ENTRY: Final = re.compile(r"(\d{1,4})\s*=\s*([a-z_0-9]+)(?::(\d{1,9}(?:\.\d{0,3})?))?", re.ASCII)
_STATUS: Final = re.compile(r"[345]\d\d", re.ASCII)
_MAX_SHOWN: Final = 60
REFUSED: Final = "refused"
RESET: Final = "reset"
WORDS: Final = tuple(dict.fromkeys(("timeout", REFUSED, RESET, *FailureKind)))
"""What may be scripted besides a status."""
_STATUSES: Final[Mapping[FailureKind, int]] = {
    FailureKind.SERVER: 500,
    FailureKind.OVERLOADED: 503,
    FailureKind.RATE_LIMIT: 429,
    FailureKind.QUOTA: 429,
    FailureKind.AUTH: 401,
    FailureKind.MODEL_MISSING: 404,
    FailureKind.CONTEXT_LENGTH: 400,
    FailureKind.CONTENT_FILTER: 400,
    FailureKind.BAD_REQUEST: 400,
}
"""The status that failures of a kind mostly come with."""


class BadScript(ValueError):
    """The script cannot be read; the message names the word and what is allowed."""


@dataclass(frozen=True, slots=True)
class Mishap:
    """How one attempt is to fail: a status or one of `WORDS`, and how long the upstream asks to be left alone."""

    word: str
    retry_after: float | None = None

    @property
    def status(self) -> int | None:
        """The status of the answer; None if there is no answer, or only its meaning is given."""
        return int(self.word) if self.word.isdigit() else None

    def failure(self) -> Failure:
        """Returns the failure of a word that is a kind."""
        kind = FailureKind(self.word)
        return Failure(kind, f"{kind.value}, as told", status=_STATUSES.get(kind), retry_after=self.retry_after)


Script = Mapping[int, Mishap]
"""Attempt, counted from 0 -> how it fails; all others succeed."""


def read_script(text: str) -> Script:
    """Returns what a script says; raises BadScript."""
    script: dict[int, Mishap] = {}
    for entry in filter(None, map(str.strip, text.split(","))):
        match = _ENTRY.fullmatch(entry)
        if match is None:
            raise BadScript(
                f"{_shown(entry)} is no failure of an attempt; write ATTEMPT=FAILURE, such as 0=429:20,1=timeout"
            )
        number, word, seconds = int(match[1]), match[2], match[3]
        if word not in WORDS and not _STATUS.fullmatch(word):
            known = f"known are the statuses 300 to 599, {', '.join(WORDS)}"
            raise BadScript(f"{_shown(word)} in {_shown(entry)} is no failure; {known}")
        if number in script:
            raise BadScript(f"attempt {number} is told to fail twice; attempts are counted from 0")
        if seconds is not None and float(seconds) > MAX_SECONDS:
            raise BadScript(f"{seconds} in {_shown(entry)} is over {MAX_SECONDS}: a wait is in seconds")
        script[number] = Mishap(word, None if seconds is None else float(seconds))
    return script


def _shown(text: str) -> str:
    return repr(text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + "...")
