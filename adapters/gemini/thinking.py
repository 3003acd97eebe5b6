"""How hard a model shall think, and whether its thoughts are shown: `thinkingConfig`.

The client may say it in OpenAI's word (`reasoning_effort`), in OpenRouter's object (`reasoning`), in Anthropic's
(`thinking`), or in Google's own (`thinking_config`). A model takes a level or a budget, never both: 400. The budgets
are those of Google's own OpenAI endpoint. (ai.google.dev/gemini-api/docs/thinking and openai, read 2026-11.)
"""

from __future__ import annotations

from typing import Any, Final

from msgspec import Struct

from adapters.codec import JSON, as_object
from adapters.errors import Unsupported
from adapters.fidelity import Report
from adapters.fields import Fields, members, text
from adapters.gemini.models import Level, Model

Object = dict[str, Any]
EFFORTS: Final = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
_LEVELS: Final[dict[str, Level]] = {
    "none": "MINIMAL", "minimal": "MINIMAL", "low": "LOW", "medium": "MEDIUM",
    "high": "HIGH", "xhigh": "HIGH", "max": "HIGH",
}  # fmt: skip
_BUDGETS: Final = {"none": 0, "minimal": 1024, "low": 1024, "medium": 8192, "high": 24_576}
_ORDER: Final[tuple[Level, ...]] = ("MINIMAL", "LOW", "MEDIUM", "HIGH")
_MOST_LOW: Final = 1024
_MOST_MEDIUM: Final = 8192


class Wish(Struct, frozen=True):
    """What the client wants of the model's thinking."""

    effort: str = ""
    """One of `EFFORTS`; empty if the client said nothing."""
    budget: int | None = None
    """Tokens; -1 means as many as the model likes."""
    is_shown: bool | None = None
    where: str = ""
    """The field that said it, for errors and reports."""


def thinking_config(fields: Fields, own: Object, model: Model, report: Report) -> Object | None:
    """Returns `thinkingConfig`, None to leave it to the model; `own` is what the client wrote in Google's words."""
    wish = read_wish(fields)
    if own:
        if wish.where and (wish.effort or wish.budget is not None):
            raise Unsupported(wish.where, f"give either {wish.where} or Google's thinking_config, not both")
        return own
    made = _steered(wish, model, report)
    is_off = wish.effort == "none" or wish.budget == 0  # asking for thoughts that are switched off is refused
    is_shown = wish.is_shown if wish.is_shown is not None else bool(made) or model.shows_thoughts
    if is_shown and not is_off and (made or model.shows_thoughts):
        made["includeThoughts"] = True
    return made or None


def read_wish(fields: Fields) -> Wish:
    """Returns what the client wants; raises Unsupported for a word or type that nobody knows."""
    if (effort := text(fields, "reasoning_effort")) is not None:
        return Wish(_checked(effort, "reasoning_effort"), where="reasoning_effort")
    if reasoning := members(fields, "reasoning"):
        return _of_openrouter(reasoning)
    if thinking := members(fields, "thinking"):
        return _of_anthropic(thinking)
    return Wish()


def _of_openrouter(reasoning: Object) -> Wish:
    effort = reasoning.get("effort")
    is_shown = False if reasoning.get("exclude") is True else None
    if effort is not None:
        return Wish(_checked(effort, "reasoning.effort"), is_shown=is_shown, where="reasoning.effort")
    budget = _budget(reasoning.get("max_tokens"), "reasoning.max_tokens")
    off = "none" if reasoning.get("enabled") is False else ""
    return Wish(off, budget, is_shown, "reasoning.max_tokens" if budget is not None else "reasoning")


def _of_anthropic(thinking: Object) -> Wish:
    if thinking.get("type") == "disabled":
        return Wish("none", where="thinking")
    return Wish(
        budget=_budget(thinking.get("budget_tokens"), "thinking.budget_tokens"), is_shown=True, where="thinking"
    )


def _checked(effort: JSON, where: str) -> str:
    if effort not in EFFORTS:
        raise Unsupported(where, f"{where} must be one of {', '.join(EFFORTS)}")
    return str(effort)


def _budget(value: JSON, where: str) -> int | None:
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= -1):
        return value
    raise Unsupported(where, f"{where} must be a number of tokens")


def _steered(wish: Wish, model: Model, report: Report) -> Object:
    if not wish.effort and wish.budget is None:
        return {}
    if model.budget is not None:
        return {"thinkingBudget": _as_budget(wish, model.budget, model, report)}
    if model.levels:
        return {"thinkingLevel": _as_level(wish, model, report)}
    if wish.effort != "none":
        report.drop(wish.where)
    return {}


def _as_budget(wish: Wish, limits: tuple[int, int], model: Model, report: Report) -> int:
    least, most = limits
    wanted = wish.budget if wish.budget is not None else _BUDGETS.get(wish.effort, most)
    if wanted == -1 or (wanted == 0 and model.can_stop_thinking):
        return wanted
    if wanted == 0:
        report.drop(wish.where)  # it will think, if only a little
    return max(max(least, 1), min(most, wanted))


def _as_level(wish: Wish, model: Model, report: Report) -> Level:
    if wish.budget is not None:
        report.drop(wish.where)  # a level is only near to it
        wanted: Level = _nearest(wish.budget)
    else:
        wanted = _LEVELS[wish.effort]
    if wish.effort == "none" and "MINIMAL" not in model.levels:
        report.drop(wish.where)
    above: list[Level] = [level for level in model.levels if _ORDER.index(level) >= _ORDER.index(wanted)]
    return above[0] if above else model.levels[-1]


def _nearest(budget: int) -> Level:
    if budget in (0, -1):
        return "MINIMAL" if budget == 0 else "HIGH"
    if budget <= _MOST_LOW:
        return "LOW"
    return "MEDIUM" if budget <= _MOST_MEDIUM else "HIGH"


def own_thinking(value: JSON) -> Object:
    """Returns Google's `thinking_config` in the names of the wire; raises Unsupported for level and budget at once."""
    names = {
        "thinking_budget": "thinkingBudget",
        "thinking_level": "thinkingLevel",
        "include_thoughts": "includeThoughts",
    }
    found = {names.get(name, name): each for name, each in as_object(value).items()}
    if "thinkingBudget" in found and "thinkingLevel" in found:
        raise Unsupported("thinking_config", "thinking_config takes a level or a budget, not both")
    if isinstance(found.get("thinkingLevel"), str):
        found["thinkingLevel"] = found["thinkingLevel"].upper()
    return found
