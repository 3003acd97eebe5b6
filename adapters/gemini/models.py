"""What each Gemini model accepts, wherever it is served: data, and the look-up by a model's name.

A model that is newer than the table, or whose name says no version, is taken for the newest of its family where
that is the careful choice, and nothing is taken from it that only a known model refuses.
(ai.google.dev/gemini-api/docs: thinking, latest-model, text-generation; docs.cloud.google.com: guides for Gemini 4;
read 2026-11.)
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

Level = Literal["MINIMAL", "LOW", "MEDIUM", "HIGH"]
_ALL: Final[tuple[Level, ...]] = ("MINIMAL", "LOW", "MEDIUM", "HIGH")
_FROM_LOW: Final[tuple[Level, ...]] = ("LOW", "MEDIUM", "HIGH")
_ENDS: Final[tuple[Level, ...]] = ("LOW", "HIGH")
PREFIXES: Final = ("models/", "publishers/google/models/", "google/", "gemini/")
"""What people write before a model's name."""


@dataclass(frozen=True, slots=True)
class Model:
    """The abilities of one model. The defaults are those of a model that nobody here knows."""

    levels: tuple[Level, ...] = _FROM_LOW
    """Values of `thinkingLevel`, ascending; empty if it takes none."""
    budget: tuple[int, int] | None = None
    """Least and most of `thinkingBudget`; None if it takes none."""
    can_stop_thinking: bool = False
    """A budget of 0 is taken."""
    shows_thoughts: bool = False
    """It is known to think, so that `includeThoughts` can be sent unasked."""
    most_candidates: int = 1
    has_penalties: bool = True
    uses_sampling: bool = True
    """temperature, topP and topK change something."""
    has_json_schema: bool = True
    """It takes `parametersJsonSchema` and `responseJsonSchema`; others the OpenAPI subset only."""
    has_form_with_tools: bool = True
    """A form of the answer and functions can be asked for together."""
    needs_signatures: bool = True
    """The first call of each step must carry a thought signature."""
    has_validated_mode: bool = True
    has_media_in_results: bool = True
    """Images of a tool's result stand in its `functionResponse`."""
    takes_addresses: bool = True
    """Public https addresses are fetched by the model's server."""
    continues_answers: bool = False
    """The conversation may end with words of the model."""

    @property
    def thinks(self) -> bool:
        """True for a model whose thinking can be steered."""
        return bool(self.levels) or self.budget is not None


_NAME: Final = re.compile(r"gemini-(?P<version>\d+(?:\.\d+)?)(?:-(?P<family>flash-lite|[a-z]+))?(?P<rest>.*)")
_OTHER_ARTS: Final = re.compile(r"-(image|tts|audio|live|embedding|computer-use|robotics)")
"""Variants whose thinking cannot be steered by level or budget."""
_LATEST: Final = frozenset({"gemini-pro-latest", "gemini-flash-latest", "gemini-flash-lite-latest"})
_MINIMAL: Final = frozenset({(3.0, "flash"), (3.1, "flash-lite"), (3.5, "flash-lite"), (3.5, "flash"), (3.6, "flash")})
_BUDGETS: Final = {"pro": (128, 32_768), "flash": (0, 24_576), "flash-lite": (512, 24_576)}


@lru_cache(maxsize=256)
def model_of(name: str) -> Model:
    """Returns the abilities of the model with this upstream name."""
    bare = bare_name(name)
    if bare.startswith("gemma"):
        return Model(levels=(), has_json_schema=False, needs_signatures=False, continues_answers=True)
    found = _NAME.fullmatch(bare)
    if found is None:
        return Model(shows_thoughts=bare in _LATEST)
    version, family = float(found["version"]), found["family"] or ""
    is_plain = _OTHER_ARTS.search(found.string) is None
    if version < 2.5:
        return _of_2()
    if version < 3:
        return _of_25(family, is_plain=is_plain)
    return _of_3(version, family, is_plain=is_plain)


def bare_name(name: str) -> str:
    """Returns a model's name without what says that it is Google's."""
    for prefix in PREFIXES:
        name = name.removeprefix(prefix)
    return name


def _of_2() -> Model:
    return Model(
        levels=(),
        most_candidates=8,
        has_json_schema=False,
        has_form_with_tools=False,
        needs_signatures=False,
        has_validated_mode=False,
        has_media_in_results=False,
        takes_addresses=False,
        continues_answers=True,
    )


def _of_25(family: str, *, is_plain: bool) -> Model:
    return Model(
        levels=(),
        budget=_BUDGETS.get(family) if is_plain else None,
        can_stop_thinking=family != "pro",
        shows_thoughts=is_plain and family in ("pro", "flash"),  # Flash-Lite does not think unless told to
        most_candidates=8,
        has_form_with_tools=False,
        needs_signatures=False,
        has_validated_mode=False,
        has_media_in_results=False,
        continues_answers=True,
    )


def _of_3(version: float, family: str, *, is_plain: bool) -> Model:
    is_newest = version >= 3.6 or (version >= 3.5 and family == "flash-lite")
    return Model(
        levels=_levels(version, family) if is_plain else (),
        shows_thoughts=is_plain,
        has_penalties=version < 4,
        uses_sampling=not is_newest,
        continues_answers=not is_newest,
    )


def _levels(version: float, family: str) -> tuple[Level, ...]:
    if (version, family) == (3.0, "pro"):
        return _ENDS
    return _ALL if (version, family) in _MINIMAL else _FROM_LOW
