"""What each Claude model accepts, wherever it is served: data, and the look-up by a model's name.

A model that is newer than the table is taken for the newest of its family, since each generation so far has taken
back more than it gave. What is no Claude at all gets nothing optional. (platform.claude.com: models overview, effort,
thinking troubleshooting, structured outputs, 2026-08-22; what's new in Opus 5.5 and Sonnet 5.5, 2026-11.)
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final, Literal

ThinkingMode = Literal["adaptive", "enabled", "disabled", "between_tools"]
Sampling = Literal["both", "one", "none"]
ForcedTools = Literal["yes", "not_enabled", "no"]


@dataclass(frozen=True, slots=True)
class Claude:
    """The abilities of one model. The defaults are those of a model that nobody here knows."""

    thinking: frozenset[ThinkingMode] = frozenset()
    """Values of `thinking.type` that it takes."""
    thinks_by_default: bool = False
    efforts: tuple[str, ...] = ()
    """Values of `output_config.effort`, ascending; empty if it takes none."""
    sampling: Sampling = "both"
    """Whether it takes `temperature` and `top_p` together, one of them, or neither (nor `top_k`)."""
    forced_tools: ForcedTools = "yes"
    """Whether a tool can be forced; `not_enabled` means: not while `thinking.type` is `enabled`."""
    takes_prefill: bool = True
    """The conversation may end with words of the assistant (never while it thinks)."""
    max_tokens: int = 0
    """Most tokens of one answer; 0 if unknown."""
    has_json_schema: bool = False
    """It takes `output_config.format` and strict tools."""
    has_inner_system: bool = False
    """It takes messages of the role `system` behind a user's turn."""
    binds_thinking: bool = False
    """Thinking sent back is refused if anything before it has changed."""
    hides_thinking: bool = False
    """Its thinking comes without text unless `display: summarized` asks for it."""
    is_known: bool = True
    """It is a Claude."""

    @property
    def budgets_thinking(self) -> bool:
        """True for a model that thinks by a budget of tokens only."""
        return "enabled" in self.thinking and "adaptive" not in self.thinking

    def effort(self, wanted: str) -> str | None:
        """Returns the strongest effort that it takes and that is not above `wanted`; None if it takes none."""
        if wanted not in _EFFORTS or not self.efforts:
            return None
        allowed = _EFFORTS[: _EFFORTS.index(wanted) + 1]
        return next((effort for effort in reversed(allowed) if effort in self.efforts), self.efforts[0])


_EFFORTS: Final = ("low", "medium", "high", "xhigh", "max")
_MODES_5: Final[frozenset[ThinkingMode]] = frozenset({"adaptive"})
_MODES_47: Final[frozenset[ThinkingMode]] = frozenset({"adaptive", "disabled"})
_MODES_46: Final[frozenset[ThinkingMode]] = frozenset({"adaptive", "enabled", "disabled"})
_MODES_45: Final[frozenset[ThinkingMode]] = frozenset({"enabled", "disabled"})
_MODES_SONNET_55: Final[frozenset[ThinkingMode]] = frozenset({"adaptive", "between_tools"})

UNKNOWN: Final = Claude(is_known=False)
_UNNUMBERED: Final = Claude()
_CLAUDE_3: Final = Claude(max_tokens=4_096)
_CLAUDE_35: Final = replace(_CLAUDE_3, max_tokens=8_192)
_CLAUDE_4: Final = Claude(thinking=_MODES_45, forced_tools="not_enabled", max_tokens=64_000)
_OPUS_4: Final = replace(_CLAUDE_4, max_tokens=32_000)
_CLAUDE_45: Final = replace(_CLAUDE_4, sampling="one", has_json_schema=True)
_CLAUDE_46: Final = replace(
    _CLAUDE_45,
    thinking=_MODES_46,
    efforts=("low", "medium", "high", "max"),
    takes_prefill=False,
    max_tokens=128_000,
)
_OPUS_47: Final = replace(
    _CLAUDE_46, thinking=_MODES_47, efforts=_EFFORTS, sampling="none", forced_tools="yes", hides_thinking=True
)
_OPUS_48: Final = replace(_OPUS_47, has_inner_system=True)
_SONNET_5: Final = replace(_OPUS_47, thinks_by_default=True)
_OPUS_5: Final = replace(_SONNET_5, has_inner_system=True)
_FABLE_5: Final = replace(_OPUS_5, thinking=_MODES_5)
_FABLE_51: Final = replace(_FABLE_5, forced_tools="no", binds_thinking=True)
_OPUS_55: Final = _FABLE_51
_SONNET_55: Final = replace(_FABLE_51, thinking=_MODES_SONNET_55)
_HAIKU_55: Final = replace(_OPUS_5, binds_thinking=True)
_MYTHOS_PREVIEW: Final = replace(
    _FABLE_5,
    thinking=frozenset({"adaptive", "enabled"}),
    efforts=("low", "medium", "high", "max"),
    forced_tools="no",
    has_inner_system=False,
)

Version = tuple[int, int]
_MODELS: Final[dict[str, tuple[tuple[Version, Claude], ...]]] = {
    "opus": (
        ((3, 0), _CLAUDE_3),
        ((4, 0), _OPUS_4),
        ((4, 1), replace(_OPUS_4, sampling="one")),
        ((4, 5), replace(_CLAUDE_45, efforts=("low", "medium", "high"))),
        ((4, 6), _CLAUDE_46),
        ((4, 7), _OPUS_47),
        ((4, 8), _OPUS_48),
        ((5, 0), _OPUS_5),
        ((5, 5), _OPUS_55),
    ),
    "sonnet": (
        ((3, 0), _CLAUDE_3),
        ((3, 5), _CLAUDE_35),
        ((3, 7), _CLAUDE_4),
        ((4, 0), _CLAUDE_4),
        ((4, 5), _CLAUDE_45),
        ((4, 6), _CLAUDE_46),
        ((5, 0), _SONNET_5),
        ((5, 5), _SONNET_55),
    ),
    "haiku": (
        ((3, 0), _CLAUDE_3),
        ((3, 5), _CLAUDE_35),
        ((4, 0), _CLAUDE_4),
        ((4, 5), _CLAUDE_45),
        ((5, 5), _HAIKU_55),
    ),
    "fable": (((5, 0), _FABLE_5), ((5, 1), _FABLE_51)),
    "mythos": (((5, 0), _FABLE_5), ((5, 1), _FABLE_51)),
}
"""Family -> the versions at which something changed, ascending."""

# A version's second part has one or two digits: what follows with eight is the date of a snapshot.
_NEW_NAME: Final = re.compile(r"claude-(opus|sonnet|haiku|fable|mythos)-(\d{1,2})(?:[-.](\d{1,2})(?!\d))?(?!\d)")
_OLDEST_NAME: Final = re.compile(r"claude-(?:instant|v?[12])\b")
_OLD_NAME: Final = re.compile(r"claude-(\d)(?:[-.](\d)(?!\d))?-(opus|sonnet|haiku)")


@lru_cache(maxsize=1024)
def claude(model: str) -> Claude:
    """Returns what the model takes that a name of any platform means.

    `claude-opus-4-6`, `us.anthropic.claude-sonnet-4-5-20250929-v1:0` (Bedrock), `claude-haiku-4-5@20251001` (Google
    Cloud) and `anthropic/claude-3.5-sonnet` (gateways) are all read.
    """
    name = model.lower()
    if "claude-mythos-preview" in name:
        return _MYTHOS_PREVIEW
    if found := _NEW_NAME.search(name):
        family, major, minor = found.groups()
    elif found := _OLD_NAME.search(name):
        major, minor, family = found.groups()
    else:
        return _CLAUDE_3 if _OLDEST_NAME.search(name) else _UNNUMBERED if "claude" in name else UNKNOWN
    version = (int(major), int(minor or 0))
    versions = _MODELS[family]
    return next((model for since, model in reversed(versions) if since <= version), versions[0][1])
