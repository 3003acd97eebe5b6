"""What must be remembered of one choice while its stream runs: tool calls, think tags, the finish."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from adapters.codec import as_list, as_object
from adapters.openai.shapes import (
    ThinkTags,
    argument_text,
    as_function_call,
    asks_with_functions,
    finish_reason,
    join_content,
    lift_reasoning,
)
from adapters.rules import ParamRules
from adapters.types import Call

Object = dict[str, Any]


@dataclass(slots=True)
class ToolCall:
    """One tool call of a stream as the client knows it."""

    index: int
    id: str
    has_arguments: bool = False


class ChoiceState:
    """Memory of one choice. `watch_call` runs on every tool delta, `repair` only where something is irregular."""

    __slots__ = (
        "_call_id",
        "_rules",
        "_sources",
        "_tags",
        "begun_now",
        "has_role",
        "index",
        "is_finished",
        "repeats_role",
        "tool_calls",
        "wants_function_call",
    )

    def __init__(self, index: int, call: Call, rules: ParamRules) -> None:
        self.index = index
        self.has_role = False
        """The client has been told whose turn this is, or will be by the chunk at hand."""
        self.repeats_role = False
        """The chunk at hand says so again, as all of OpenRouter's, z.ai's and TGI's do."""
        self.wants_function_call = asks_with_functions(call, rules)
        self.is_finished = False
        self.tool_calls: dict[int | str | tuple[str, int], ToolCall] = {}
        """Upstream's index (or id, or position where it sends neither) -> call."""
        self.begun_now: list[int] = []
        """Keys of the calls that `watch_call` saw begin in the chunk at hand: a repair begins them again."""
        self._call_id = call.id
        self._rules = rules
        self._sources = 0
        self._tags = ThinkTags() if rules.reasoning_out == "think_tags" else None

    @property
    def lacks_arguments(self) -> bool:
        """True if a call has begun and no argument text came for it."""
        return any(not call.has_arguments for call in self.tool_calls.values())

    def watch_role(self, is_said: bool) -> bool:
        """Returns whether the delta must be rewritten: whose turn it is belongs into the first one.

        `repeats_role` says that it stands in a later one as well, from where it can be cut out.
        """
        if self.has_role:
            self.repeats_role = is_said
            return False
        self.has_role = is_said
        return not is_said

    def watch_call(self, index: int | None, id: str | None, type: str | None, function: bytes) -> bool:
        """Returns whether the delta must be rewritten; a regular one is taken into the memory here."""
        if self.wants_function_call:
            return True
        known = self.tool_calls.get(index) if index is not None else None
        has_text = b'"arguments":"' in function and b'"arguments":""' not in function
        if known is not None and known.index == index and not id and type is None and b'"name"' not in function:
            known.has_arguments = known.has_arguments or has_text
            return not has_text and b'"arguments":""' not in function
        is_regular_start = (
            known is None
            and index == len(self.tool_calls)
            and bool(id)
            and type == "function"
            and b'"name":"' in function
            and (has_text or b'"arguments":""' in function)
        )
        if is_regular_start and index is not None and id:
            self.tool_calls[index] = ToolCall(index, id, has_text)
            self.begun_now.append(index)
            return False
        return True

    def repair(self, choice: Object) -> Object | None:
        """Puts a decoded choice right, in place; returns a choice to send before it, or None."""
        if self.repeats_role:  # an SDK that adds up deltas would make "assistantassistant" of it
            as_object(choice.get("delta")).pop("role", None)
            self.repeats_role = False
        before = self._repair(choice)
        if not self.has_role and "delta" in choice:
            choice["delta"] = {"role": "assistant", **as_object(choice["delta"])}
            self.has_role = True
        if self.wants_function_call:
            choice["finish_reason"] = as_function_call(as_object(choice.get("delta")), choice.get("finish_reason"))
            if before is not None:
                as_function_call(as_object(before["delta"]), None)
        return before

    def _repair(self, choice: Object) -> Object | None:
        for key in self.begun_now:
            del self.tool_calls[key]
        self.begun_now.clear()
        choice.pop("message", None)  # Perplexity repeats the whole text so far beside each delta
        delta = as_object(choice.get("delta"))
        join_content(delta)
        lift_reasoning(delta)
        for source in map(as_object, as_list(delta.get("annotations"))):
            # Without an index, the OpenAI SDK's accumulator raises at the second one (OpenRouter sends many).
            source.setdefault("index", self._sources)
            self._sources += 1
        for position, call in enumerate(map(as_object, as_list(delta.get("tool_calls")))):
            self._repair_call(call, position)
        word = choice.get("finish_reason")
        if isinstance(word, str):
            choice["finish_reason"] = finish_reason(word, bool(self.tool_calls))
        self._split_text(delta, is_last=choice.get("finish_reason") is not None)
        return self._missing_arguments() if choice.get("finish_reason") is not None else None

    def _repair_call(self, call: Object, position: int) -> None:
        function = as_object(call.get("function"))
        known = self._known(call, function, position)
        text = argument_text(function.get("arguments"))
        if known is None:
            known = self._begin(call, position)
            call.update(index=known.index, id=known.id, type=call.get("type") or "function")
        else:
            for name in ("id", "type"):
                call.pop(name, None)
            function.pop("name", None)
            call["index"] = known.index
        known.has_arguments = known.has_arguments or bool(text)
        if call.get("type", "function") == "function":
            call["function"] = {**function, "arguments": text}

    def _known(self, call: Object, function: Object, position: int) -> ToolCall | None:
        """Finds the call that a delta goes on with; a new id together with a name begins another call."""
        index, id = call.get("index"), call.get("id")
        if index is None:
            same = next((known for known in self.tool_calls.values() if id and known.id == id), None)
            if same is not None or id:
                return same
            if function.get("name"):
                return None
            return self.tool_calls.get(("at", position)) or next(reversed(self.tool_calls.values()), None)
        known = self.tool_calls.get(index)
        if known is not None and id and id != known.id and function.get("name"):
            return next((other for other in self.tool_calls.values() if other.id == id), None)
        return known

    def _begin(self, call: Object, position: int) -> ToolCall:
        index, number = call.get("index"), len(self.tool_calls)
        id = call.get("id") or f"call_{self._call_id.removeprefix('chatcmpl-')}{self.index}{number}"
        begun = ToolCall(number, id)
        key: int | str | tuple[str, int] = index if isinstance(index, int) and index not in self.tool_calls else id
        if index is None and not call.get("id"):
            key = ("at", position)
            if earlier := self.tool_calls.pop(key, None):
                self.tool_calls[earlier.id] = earlier
        self.tool_calls[key] = begun
        return begun

    def _split_text(self, delta: Object, *, is_last: bool) -> None:
        if self._tags is None:
            return
        content = delta.get("content")
        pieces = [self._tags.feed(content)] if isinstance(content, str) else []
        if is_last:
            pieces.append(self._tags.close())
        if not pieces:
            return
        reasoning = "".join(piece[0] for piece in pieces)
        delta["content"] = "".join(piece[1] for piece in pieces)
        if reasoning:
            delta["reasoning_content"] = reasoning

    def _missing_arguments(self) -> Object | None:
        """A delta that completes calls without arguments to `{}`, the only JSON that means none."""
        calls = [call for call in self.tool_calls.values() if not call.has_arguments]
        for call in calls:
            call.has_arguments = True
        if not calls:
            return None
        deltas = [{"index": call.index, "function": {"arguments": "{}"}} for call in calls]
        return {"index": self.index, "delta": {"tool_calls": deltas}, "finish_reason": None}
