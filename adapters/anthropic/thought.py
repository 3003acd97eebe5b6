"""`reasoning_effort` -> thinking, effort, budget; and the sampling that goes with it.

Theory. Newer models think adaptively and take an effort; older ones take a budget of tokens inside `max_tokens`.
OpenAI's limit includes the reasoning, so a limit that the client gave is kept and the budget made to fit; a limit that
is ours grows by what the thinking may need. (platform.claude.com: extended thinking, adaptive thinking, effort;
2026-08-22. What's new in Sonnet 5.5: `between_tools`, 2026-11.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from adapters.claude import Claude
from adapters.codec import is_null
from adapters.errors import Unsupported
from adapters.fidelity import Report
from adapters.fields import Fields, integer, max_tokens, members, number, text

Object = dict[str, Any]
_BUDGETS: Final = {"minimal": 1_024, "low": 2_048, "medium": 8_192, "high": 16_384, "xhigh": 32_000, "max": 64_000}
LEAST_BUDGET: Final = 1_024
_EFFORTS: Final = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
_NATIVE: Final = ("type", "budget_tokens", "display", "block_binding")
_KINDS: Final = ("enabled", "adaptive", "disabled", "between_tools")
SAMPLING: Final = frozenset({"temperature", "top_p", "top_k"})
_DEFAULT_TOP_P: Final = 0.99
"""Models that refuse sampling still take values from here on (platform.claude.com, 2026-08-22)."""
_THINKING_TOP_P: Final = 0.95


@dataclass(slots=True)
class Thought:
    """What goes into the body about thinking."""

    max_tokens: int
    thinking: Object | None = None
    effort: str | None = None
    is_on: bool = False
    """The model thinks in this request, as far as anybody can know."""


def native_thinking(fields: Fields, report: Report | None = None) -> Object | None:
    """Returns `thinking` as a client wrote it in the protocol's own words.

    Others use the same name for words of their own (Z.AI's `clear_thinking`): what is not the protocol's is reported.
    """
    written = members(fields, "thinking")
    if written is None:
        return None
    known = {name: member for name, member in written.items() if name in _NATIVE and member is not None}
    if "budget_tokens" in known and not isinstance(known["budget_tokens"], int):
        raise Unsupported("thinking", "thinking.budget_tokens must be a whole number")
    if report is not None:
        report.drop(*(f"thinking.{name}" for name in written if name not in _NATIVE))
    return known if known.get("type") in _KINDS else None


def decide_thinking(
    fields: Fields, claude: Claude, default_max_tokens: int, report: Report, *, may_budget: bool
) -> Thought:
    """Returns what to send; `may_budget` is false where a budget would be refused: a forced tool, a turn without it."""
    wanted = text(fields, "reasoning_effort")
    if wanted is not None and wanted not in _EFFORTS:
        raise Unsupported("reasoning_effort", f"reasoning_effort {wanted[:32]!r} is not one of {', '.join(_EFFORTS)}")
    native = native_thinking(fields, report)
    limit = max_tokens(fields)
    if limit is not None and claude.max_tokens and limit > claude.max_tokens:
        report.drop("max_tokens" if is_null(fields.get("max_completion_tokens")) else "max_completion_tokens")
    if native == {"type": "enabled"}:
        native, wanted = None, wanted or "medium"  # other vendors' way to say "think", which names no budget
    if native is not None:
        if wanted is not None and (claude.effort(wanted) is None or native.get("type") == "enabled"):
            report.drop("reasoning_effort")
            wanted = None
        return _native(native, wanted, claude, _limit(limit, claude, default_max_tokens))
    if wanted is None:
        room = _BUDGETS["high"] if claude.thinks_by_default else 0
        return Thought(_limit(limit, claude, default_max_tokens + room), is_on=claude.thinks_by_default)
    if wanted in ("none", "minimal"):
        return _least(wanted, claude, _limit(limit, claude, default_max_tokens), report)
    if "adaptive" in claude.thinking:
        return _adaptive(wanted, claude, _limit(limit, claude, default_max_tokens + _BUDGETS[wanted]))
    if "enabled" in claude.thinking and may_budget:
        return _budgeted(wanted, limit, claude, default_max_tokens, report)
    report.drop("reasoning_effort")
    return Thought(_limit(limit, claude, default_max_tokens))


def _limit(wanted: int | None, claude: Claude, default: int) -> int:
    limit = default if wanted is None else wanted
    return min(limit, claude.max_tokens) if claude.max_tokens else limit


def _native(native: Object, wanted: str | None, claude: Claude, limit: int) -> Thought:
    kind = native.get("type")
    budget = native.get("budget_tokens")
    if kind == "enabled" and isinstance(budget, int) and budget >= limit:
        limit = _limit(budget + limit, claude, 0)
    effort = claude.effort(wanted) if wanted else None
    return Thought(limit, native, effort, is_on=kind in ("enabled", "adaptive"))


def _least(wanted: str, claude: Claude, limit: int, report: Report) -> Thought:
    """As little thinking as the model can do."""
    if "disabled" in claude.thinking:
        return Thought(limit, {"type": "disabled"} if claude.thinks_by_default else None)
    if "between_tools" in claude.thinking:
        return Thought(limit, {"type": "between_tools"})
    effort = claude.effort("low")
    if effort is not None or wanted == "minimal":
        report.drop("reasoning_effort")
    return Thought(limit, effort=effort, is_on=claude.thinks_by_default)


def _adaptive(wanted: str, claude: Claude, limit: int) -> Thought:
    thinking: Object = {"type": "adaptive"}
    if claude.hides_thinking:
        thinking["display"] = "summarized"
    return Thought(limit, thinking, claude.effort(wanted), is_on=True)


def _budgeted(wanted: str, limit: int | None, claude: Claude, default: int, report: Report) -> Thought:
    budget = _BUDGETS[wanted]
    most = _limit(limit, claude, default + budget)
    if most <= LEAST_BUDGET:
        report.drop("reasoning_effort")
        return Thought(most)
    # A quarter stays for the answer itself, as far as the smallest budget leaves it.
    budget = max(LEAST_BUDGET, min(budget, most * 3 // 4))
    return Thought(most, {"type": "enabled", "budget_tokens": budget}, is_on=True)


def sampling(fields: Fields, claude: Claude, thought: Thought, report: Report) -> Object:
    """Returns `temperature`, `top_p` and `top_k` as far as the model takes them, and reports the rest."""
    temperature = number(fields, "temperature")
    top_p = number(fields, "top_p")
    top_k = integer(fields, "top_k")
    if temperature is not None and not 0 <= temperature <= 1:
        report.drop("temperature")
        temperature = min(max(temperature, 0), 1)
    if claude.sampling == "none":
        _lose(report, temperature=temperature, top_p=top_p, top_k=top_k, least_top_p=_DEFAULT_TOP_P)
        return {}
    made: Object = {}
    if thought.is_on:
        if top_p is not None and top_p < _THINKING_TOP_P:
            report.drop("top_p")
            top_p = _THINKING_TOP_P
        _lose(report, temperature=temperature, top_p=None, top_k=top_k, least_top_p=0)
        return made if top_p is None else {"top_p": top_p}
    if claude.sampling == "one" and temperature is not None and top_p is not None:
        if temperature == 1:  # what happens anyway
            temperature = None
        else:
            _lose(report, temperature=None, top_p=top_p, top_k=None, least_top_p=1)
            top_p = None
    if temperature is not None:
        made["temperature"] = temperature
    if top_p is not None:
        made["top_p"] = top_p
    if top_k is not None:
        made["top_k"] = top_k
    return made


def _lose(
    report: Report, *, temperature: float | None, top_p: float | None, top_k: int | None, least_top_p: float
) -> None:
    """Reports the values that ask for something else than what happens without them."""
    if temperature is not None and temperature != 1:
        report.drop("temperature")
    if top_p is not None and top_p < least_top_p:
        report.drop("top_p")
    if top_k is not None:
        report.drop("top_k")
