"""What goes to the model itself, past Converse's own members: thinking, `top_k`, one call at a time.

Each family has its own words for them in `additionalModelRequestFields`. (Claude: docs.aws.amazon.com/bedrock, extended
and adaptive thinking; Nova 2: docs.aws.amazon.com/nova, extended thinking; gpt-oss: `reasoning_effort`; 2026-11-21.)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from adapters.bedrock.messages import CLAUDE_FORMAT
from adapters.bedrock.models import Model
from adapters.bedrock.names import tool_name
from adapters.codec import as_object, is_null
from adapters.conversation import Turn
from adapters.fidelity import Report
from adapters.fields import Fields, boolean, integer, max_tokens, members, text
from adapters.tools import Toolbox, ToolChoice

Object = dict[str, Any]
_BUDGETS: Final = {"minimal": 1_024, "low": 2_048, "medium": 8_192, "high": 16_384, "xhigh": 32_000, "max": 64_000}
"""Effort -> tokens of thinking, for models that are told a budget."""
_LEAST_BUDGET: Final = 1_024
_WORDS: Final = ("type", "budget_tokens", "display", "block_binding")
_KINDS: Final = ("enabled", "adaptive", "disabled", "between_tools")
_BARE: Final[Object] = {"type": "enabled"}
"""A wish to think without a budget, which Claude refuses: other vendors' way to say it."""
_NOVA_EFFORTS: Final = {
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "high",
    "max": "high",
}
_OPENAI_EFFORTS: Final = {"none": "low", "minimal": "low", "low": "low", "medium": "medium", "high": "high"}


def model_fields(
    fields: Fields, knows: Model, toolbox: Toolbox, turns: Sequence[Turn], config: Object | None, report: Report
) -> Object:
    """Returns `additionalModelRequestFields`; takes `toolChoice` out of `config` where the model is told itself."""
    found = _thinking(fields, knows, toolbox, turns, report)
    is_budgeted = as_object(found.get("thinking")).get("type") == "enabled"
    may_force = knows.claude.forced_tools == "yes" or (knows.claude.forced_tools == "not_enabled" and not is_budgeted)
    if not may_force and config is not None and _forces(toolbox.choice) and "toolChoice" in config:
        del config["toolChoice"]
        report.drop("function_call" if toolbox.is_legacy else "tool_choice")
    top_k = integer(fields, "top_k")
    if top_k is not None:
        if knows.top_k and "thinking" not in found and knows.claude.sampling != "none":
            _place(found, knows.top_k, top_k)
        else:
            report.drop("top_k")
    if boolean(fields, "parallel_tool_calls") is False and config is not None:
        if knows.claude.is_known:
            config.pop("toolChoice", None)
            found["tool_choice"] = _one_at_a_time(toolbox.choice, may_force=may_force)
        else:
            report.drop("parallel_tool_calls")
    return {**found, **(members(fields, "additionalModelRequestFields") or {})}


def _place(found: Object, path: tuple[str, ...], value: int) -> None:
    for name in path[:-1]:
        found = found.setdefault(name, {})
    found[path[-1]] = value


def _one_at_a_time(choice: ToolChoice | None, *, may_force: bool) -> Object:
    """Returns Claude's own `tool_choice`: Converse has no word for one call at a time."""
    alone: Object = {"disable_parallel_tool_use": True}
    if choice is None or choice.mode == "auto" or not may_force:
        return {"type": "auto", **alone}
    if choice.mode == "named":
        return {"type": "tool", "name": tool_name(choice.name), **alone}
    return {"type": "any", **alone}


def _thinking(fields: Fields, knows: Model, toolbox: Toolbox, turns: Sequence[Turn], report: Report) -> Object:
    effort = text(fields, "reasoning_effort")
    own = members(fields, "thinking")
    if knows.effort == "claude":
        native = None if own is None else _native(own, report)
        if native == _BARE:
            effort = effort or "medium"
        elif native is not None:
            return _beside_native(native, effort, knows, report)
        return {} if effort is None else _claude(effort, fields, knows, toolbox, turns, report)
    if own is not None:
        report.drop("thinking")
    if effort is None:
        return {}
    if knows.effort == "openai" and effort in _OPENAI_EFFORTS:
        if effort == "none":
            report.drop("reasoning_effort")
        return {"reasoning_effort": _OPENAI_EFFORTS[effort]}
    if knows.effort == "nova" and effort in _NOVA_EFFORTS:
        return {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": _NOVA_EFFORTS[effort]}}
    if not (knows.effort == "nova" and effort == "none"):
        report.drop("reasoning_effort")
    return {}


def _native(own: Object, report: Report) -> Object | None:
    """Returns `thinking` in Anthropic's words, None for what is none; both losses are reported."""
    known = {name: member for name, member in own.items() if name in _WORDS}
    if known.get("type") not in _KINDS:
        report.drop("thinking")
        return None
    report.drop(*(f"thinking.{name}" for name in own if name not in _WORDS))
    return known


def _beside_native(native: Object, effort: str | None, knows: Model, report: Report) -> Object:
    level = knows.claude.effort(effort) if effort is not None and native["type"] == "adaptive" else None
    if effort is not None and level is None:
        report.drop("reasoning_effort")
    return {"thinking": native, "output_config": {"effort": level}} if level else {"thinking": native}


def _claude(
    effort: str, fields: Fields, knows: Model, toolbox: Toolbox, turns: Sequence[Turn], report: Report
) -> Object:
    claude = knows.claude
    if effort == "none":
        if not claude.thinks_by_default:
            return {}
        if "disabled" in claude.thinking:
            return {"thinking": {"type": "disabled"}}
    elif "adaptive" in claude.thinking:
        thinking: Object = {"type": "adaptive"}
        if claude.hides_thinking:
            thinking["display"] = "summarized"
        level = claude.effort("low" if effort == "minimal" else effort)
        return {"thinking": thinking, "output_config": {"effort": level}} if level else {"thinking": thinking}
    elif claude.budgets_thinking and effort in _BUDGETS:
        budget = _budget(effort, max_tokens(fields))
        if budget and not _forces(toolbox.choice) and _can_think(turns):
            return {"thinking": {"type": "enabled", "budget_tokens": budget}}
    report.drop("thinking" if is_null(fields.get("reasoning_effort")) else "reasoning_effort")
    return {}


def _budget(effort: str, limit: int | None) -> int:
    """Returns the tokens that may be thought, 0 if the limit of the answer leaves none."""
    budget = _BUDGETS[effort]
    if limit is None:
        return budget
    # A quarter stays for the answer itself, as far as the smallest budget leaves it.
    return max(_LEAST_BUDGET, min(budget, limit * 3 // 4)) if limit > _LEAST_BUDGET else 0


def _forces(choice: ToolChoice | None) -> bool:
    return choice is not None and choice.mode in ("required", "named")


def _can_think(turns: Sequence[Turn]) -> bool:
    """False while a call is being answered that was made without thinking, or whose thinking did not come back.

    Claude refuses to think then (docs.aws.amazon.com/bedrock, extended thinking with tool use, 2026-11-21).
    """
    last = next((turn for turn in reversed(turns) if turn.role in ("assistant", "user")), None)
    if last is None or not last.calls:
        return True
    return any((each.signature or each.data) and each.format in ("", CLAUDE_FORMAT) for each in last.thinking)
