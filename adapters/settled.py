"""The order that most protocols demand: each assistant turn with calls is followed at once by one result for each call.

Clients that cancel a call leave it without a result, and agents that trim their history leave results without a call;
both are refused upstream with a 400, and both can be told truthfully instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from adapters.conversation import Text, ToolCall, Turn

NO_RESULT: Final = "No result: the call was not carried out."


def settle(turns: Iterable[Turn]) -> list[Turn]:
    """Returns the turns with every call answered at once: results moved up, made up where missing, orphans as text."""
    waiting = list(turns)
    if _is_settled(waiting):
        return waiting
    results, orphans = _matched(waiting)
    settled: list[Turn] = []
    for position, turn in enumerate(waiting):
        if turn.role == "tool":
            if position in orphans:
                settled.append(_orphan(turn))
            continue
        settled.append(turn)
        for call in turn.calls:
            result = results.get((position, call.id))
            settled.append(result or _no_result(turn, call))
    return settled


def _is_settled(turns: Sequence[Turn]) -> bool:
    """True if nothing has to be done, as for most conversations: each call has its result in its place, and no more."""
    calls: tuple[ToolCall, ...] = ()
    answered = 0
    for turn in turns:
        if turn.role == "tool":
            if answered == len(calls) or calls[answered].id != turn.call_id:
                return False
            answered += 1
        elif answered < len(calls):
            return False
        elif turn.calls:
            calls, answered = turn.calls, 0
            if len(calls) > 1 and len({call.id for call in calls}) < len(calls):
                return False
        elif calls:
            calls, answered = (), 0
    return answered == len(calls)


def _matched(turns: Sequence[Turn]) -> tuple[dict[tuple[int, str], Turn], set[int]]:
    """Returns (position of the calling turn, call id) -> result, and the positions of results without a call.

    A result belongs to the nearest call with its id before it; of several the last counts, since that is what the
    agent stands by.
    """
    results: dict[tuple[int, str], Turn] = {}
    callers: dict[str, int] = {}
    orphans: set[int] = set()
    for position, turn in enumerate(turns):
        if turn.role == "tool":
            caller = callers.get(turn.call_id)
            if caller is None:
                orphans.add(position)
            else:
                results[caller, turn.call_id] = turn
        elif turn.calls:
            callers.update((call.id, position) for call in turn.calls)
    return results, orphans


def _no_result(turn: Turn, call: ToolCall) -> Turn:
    return Turn("tool", turn.index, rich=(Text(NO_RESULT),), call_id=call.id, tool_name=call.name, is_error=True)


def _orphan(turn: Turn) -> Turn:
    """A result without its call, told as what it is: text."""
    head = f"Result of the tool {turn.tool_name}: " if turn.tool_name else "Result of a tool: "
    return Turn("user", turn.index, rich=(Text(head), *turn.parts), cache=turn.cache)
