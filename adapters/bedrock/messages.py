"""Turns -> `system` and `messages` of Converse.

Theory. Converse wants user and assistant by turns, the user first, no blank text, and every result of a turn's calls
in the one message that follows. So neighbours of one role are laid together, and what would be blank is left out or
said in words. Tool blocks may only stand in a request that has tools: without them they are told as text, since a
conversation that forgets what its tools said would be another one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any, Final

from adapters.bedrock.media import media_block
from adapters.bedrock.models import Model
from adapters.bedrock.names import call_id, tool_name
from adapters.codec import JSON, as_object
from adapters.conversation import Part, Text, Thinking, Turn, leading_system
from adapters.distinct import Distinct
from adapters.errors import Unsupported
from adapters.fidelity import Report
from adapters.losses import note_losses

Object = dict[str, Any]
CLAUDE_FORMAT: Final = "anthropic-claude-v1"
"""Who made a signature, in OpenRouter's words: any platform that serves Claude takes it back."""
OWN_FORMAT: Final = "bedrock-converse-v1"
"""Encrypted reasoning as Converse encodes it, and signatures of models other than Claude."""
NOTHING: Final = "."
"""Stands for a user's turn that is missing or blank, which Bedrock refuses."""
NO_OUTPUT: Final = "(empty)"
"""Stands for a tool's result without text."""
GO_ON: Final = "Continue."
"""Stands after a last turn of the assistant, where the model refuses one."""
MOST_CACHE_POINTS: Final = 4
_TTLS: Final = ("5m", "1h")


class CachePoints:
    """Gives out the cache points of one request, as many as Bedrock takes."""

    __slots__ = ("_left", "_model", "_report")

    def __init__(self, model: Model, report: Report) -> None:
        self._left = MOST_CACHE_POINTS
        self._model = model
        self._report = report

    def after(self, cache: JSON, *, is_tool: bool = False) -> list[Object]:
        """Returns what follows a block that the client marked: a cache point, or nothing."""
        if cache is None:
            return []
        takes = self._model.caches_tools if is_tool else self._model.caches
        if not takes or not self._left:
            self._report.drop("tools.cache_control" if is_tool else "messages.cache_control")
            return []
        self._left -= 1
        point: Object = {"type": "default"}
        ttl = as_object(cache).get("ttl")
        if ttl in _TTLS and self._model.claude.is_known:
            point["ttl"] = ttl
        elif ttl == "1h":
            self._report.drop("messages.cache_control.ttl")
        return [{"cachePoint": point}]


class Writer:
    """Writes the conversation of one request."""

    def __init__(self, model: Model, points: CachePoints, report: Report) -> None:
        self._model = model
        self._points = points
        self._report = report
        self._names = Distinct()
        self._ids = Distinct()
        self._awaited: deque[str] = deque()
        """Ids of the last turn's calls, in the order in which their results follow."""
        self.system: list[Object] = []
        self.messages: list[Object] = []

    def write(self, turns: Sequence[Turn], *, has_tools: bool, is_thinking: bool) -> None:
        """Writes `turns`, which are settled; raises Unsupported naming the part that cannot be sent."""
        head, rest = leading_system(turns)
        if not has_tools:
            rest = [self._told(turn) for turn in rest]
        for turn in head:
            self._system(turn)
        for turn in rest:
            self._turn(turn)
        claude = self._model.claude
        self._ends(may_prefill=not (claude.is_known and (is_thinking or not claude.takes_prefill)))
        if rest and rest[-1].is_prefix and self.messages[-1]["role"] == "user":
            self._report.drop("messages.prefix")

    def _system(self, turn: Turn) -> None:
        if turn.media:
            raise Unsupported(turn.media[0].where, f"{turn.where}: system messages can only hold text")
        note_losses(turn, self._report, "name", "audio")
        self.system.extend(self._parts(turn))

    def _turn(self, turn: Turn) -> None:
        words, role = turn.words, turn.role
        if words and not words.isspace() and (role == "user" or role == "assistant") and not turn.calls:
            self._say(role, [{"text": words}])
            return
        note_losses(turn, self._report, "name", "audio")
        if turn.role == "assistant":
            self._say("assistant", self._answer(turn))
            return
        if turn.role == "tool":
            self._say("user", self._result(turn))
            return
        if turn.role == "system":
            self._report.drop("messages.role")
        blocks = self._parts(turn)
        if not any("text" in block for block in blocks):
            has_file = any("document" in block for block in blocks)
            if has_file or not blocks:
                blocks.insert(0, {"text": "The attached document:" if has_file else NOTHING})
        self._say("user", blocks)

    def _say(self, role: str, blocks: list[Object]) -> None:
        if not blocks:
            return
        if self.messages and self.messages[-1]["role"] == role:
            self.messages[-1]["content"].extend(blocks)
        else:
            self.messages.append({"role": role, "content": blocks})

    def _parts(self, turn: Turn) -> list[Object]:
        blocks: list[Object] = []
        for part in turn.parts:
            blocks.extend(self._part(part))
        if blocks:
            blocks.extend(self._points.after(turn.cache))
        return blocks

    def _part(self, part: Part) -> list[Object]:
        if not isinstance(part, Text):
            return [media_block(part, self._names, self._report), *self._points.after(part.cache)]
        return [{"text": part.text}, *self._points.after(part.cache)] if part.text.strip() else []

    def _answer(self, turn: Turn) -> list[Object]:
        blocks = [block for thought in turn.thinking for block in self._thinking(thought)]
        for part in turn.parts:
            if isinstance(part, Text):
                blocks.extend(self._part(part))
                continue
            self._report.drop("messages.content")
            blocks.append({"text": f"({part.kind} {part.name}".rstrip() + ", not shown again)"})
        blocks.extend(
            {"toolUse": {"toolUseId": self._id(call.id), "name": tool_name(call.name), "input": call.input()}}
            for call in turn.calls
        )
        if blocks and "reasoningContent" not in blocks[-1]:
            blocks.extend(self._points.after(turn.cache))
        return blocks

    def _id(self, id: str) -> str:
        """Agents and some servers use an id twice, which Bedrock refuses."""
        made = call_id(id, self._ids, is_short=self._model.short_ids)
        self._awaited.append(made)
        return made

    def _thinking(self, thought: Thinking) -> list[Object]:
        """Returns what Bedrock takes back: only what it can verify."""
        is_claude = self._model.claude.is_known
        if thought.data and thought.format in ("", OWN_FORMAT):
            return [{"reasoningContent": {"redactedContent": thought.data}}]
        own = ("", CLAUDE_FORMAT) if is_claude else (OWN_FORMAT,)
        if thought.signature and thought.format in own:
            return [{"reasoningContent": {"reasoningText": {"text": thought.text, "signature": thought.signature}}}]
        self._report.drop(f"messages.{thought.member}")
        return []

    def _result(self, turn: Turn) -> list[Object]:
        content: list[Object] = []
        for part in turn.parts:
            if isinstance(part, Text):
                content.extend([{"text": part.text}] if part.text.strip() else [])
            elif part.kind == "audio":
                raise Unsupported(part.where, f"{part.where}: results of tools cannot hold sounds")
            else:
                content.append(media_block(part, self._names, self._report))
        result: Object = {
            "toolUseId": self._awaited.popleft(),
            "content": content or [{"text": NO_OUTPUT}],
        }
        if turn.is_error and self._model.result_status:
            result["status"] = "error"
        marks = [part.cache for part in turn.parts if part.cache is not None]
        mark: JSON = marks[-1] if marks else turn.cache
        return [{"toolResult": result}, *self._points.after(mark)]

    def _told(self, turn: Turn) -> Turn:
        """Returns a turn of calls or results in words."""
        if turn.role == "tool":
            head = Text(f"Result of the tool {turn.tool_name}: " if turn.tool_name else "Result of a tool: ")
            return Turn("user", turn.index, rich=(head, *turn.parts), cache=turn.cache)
        if not turn.calls:
            return turn
        for _ in turn.thinking:
            self._report.drop("messages.reasoning_details")
        called = tuple(Text(f"Called the tool {call.name} with {call.arguments or '{}'}") for call in turn.calls)
        return Turn("assistant", turn.index, rich=(*turn.parts, *called), name=turn.name, cache=turn.cache)

    def _ends(self, *, may_prefill: bool) -> None:
        """Makes the conversation begin with the user and end as the model can go on."""
        messages = self.messages
        if not messages or messages[0]["role"] == "assistant":
            messages.insert(0, {"role": "user", "content": [{"text": NOTHING}]})
        last = messages[-1]
        if last["role"] != "assistant":
            return
        if not may_prefill:
            messages.append({"role": "user", "content": [{"text": GO_ON}]})
            return
        blocks = last["content"]
        if "text" in blocks[-1]:
            blocks[-1] = {"text": blocks[-1]["text"].rstrip()}
