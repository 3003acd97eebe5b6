"""Turns -> `system` and `messages`.

Theory. The protocol wants turns in alternation, results at once after their calls and before any words, no empty text,
a user's turn first and, from Claude 4.6 on, last. It merges neighbours of one role, so that is done here. What is
built must only grow with the conversation: signed reasoning is refused, and caches miss, if anything before it has
changed. So nothing here looks further than one turn ahead. (platform.claude.com: api/errors, tool use,
mid-conversation system messages, preserved thinking; 2026-08-22 and 2026-11.)
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Final

from adapters.anthropic.host import Host
from adapters.anthropic.media import Block, media_block
from adapters.anthropic.names import wire_id, wire_name
from adapters.claude import Claude
from adapters.codec import JSON, as_object
from adapters.conversation import Media, Part, Text, Thinking, Turn, leading_system
from adapters.distinct import Distinct
from adapters.errors import Unsupported
from adapters.fidelity import Report
from adapters.losses import note_losses
from adapters.settled import settle

FORMAT: Final = "anthropic-claude-v1"
"""The name of our reasoning in `reasoning_details`, as gateways that carry several vendors' write it."""
NOTHING: Final = "."
"""Stands for a user's turn that is missing or empty, which the protocol refuses."""
GO_ON: Final = "Continue."
"""Stands after a last turn of the assistant, which newer models refuse."""
_TTLS: Final = ("5m", "1h")


@dataclass(slots=True)
class History:
    """A conversation in the protocol's words."""

    system: list[Block] = field(default_factory=list[Block])
    messages: list[Block] = field(default_factory=list[Block])
    """Their content is blocks, or the text that would be the only one: most are nothing else."""
    has_thinking: bool = False
    """Signed reasoning goes back."""
    has_files: bool = False
    has_marks: bool = False
    """A block of the messages or of the system prompt is marked."""


def blocks_of(message: Block) -> list[Block]:
    """Returns the content of a message as blocks, which then are its content."""
    content: str | list[Block] = message["content"]
    if isinstance(content, str):
        content = message["content"] = [{"type": "text", "text": content}]
    return content


def build_history(turns: Sequence[Turn], claude: Claude, host: Host, report: Report, *, may_prefill: bool) -> History:
    """Returns the conversation; raises Unsupported naming a part that cannot be sent."""
    writer = _Writer(claude, host, report)
    first, rest = leading_system(turns)
    for turn in first:
        writer.lead(turn)
    settled = settle(rest)
    writer.write(settled)
    writer.finish(settled, may_prefill=may_prefill and claude.takes_prefill)
    return writer.history


def cache_mark(wanted: JSON) -> Block | None:
    """Returns a client's `cache_control` with what the protocol knows of it; None if it is none."""
    members = as_object(wanted)
    if members.get("type") != "ephemeral":
        return None
    ttl = members.get("ttl")
    return {"type": "ephemeral", "ttl": ttl} if ttl in _TTLS else {"type": "ephemeral"}


class _Writer:
    def __init__(self, claude: Claude, host: Host, report: Report) -> None:
        self.history = History()
        self._claude = claude
        self._host = host
        self._report = report
        self._ids = Distinct()
        self._names: dict[str, str] = {}
        """Names of tools -> the wire's, of those that were called."""
        self._awaited: deque[str] = deque()
        """Ids of the latest calls, in the order in which their results come."""

    def lead(self, turn: Turn) -> None:
        """Writes a system turn that stands before everything."""
        self.history.system += self._system_texts(turn)

    def write(self, turns: Sequence[Turn]) -> None:
        """Writes all other turns."""
        messages = self.history.messages
        for turn, following in zip_longest(turns, turns[1:]):
            role, words = turn.role, turn.words
            if role == "tool" and words is not None:
                block: Block = {"type": "tool_result", "tool_use_id": self._awaited.popleft()}
                if not _is_blank(words):
                    block["content"] = words
                self._open("user").append(block)
            elif words is not None and turn.calls:
                self._plain_calls(words, turn)
            elif not words or words.isspace() or role == "tool" or role == "system":
                self._turn(turn, following)
            elif messages and messages[-1]["role"] == role:
                blocks_of(messages[-1]).append({"type": "text", "text": words})
            else:
                messages.append({"role": role, "content": words})

    def _turn(self, turn: Turn, following: Turn | None) -> None:
        """Writes any turn; it may depend on the role that follows, which never changes later."""
        note_losses(turn, self._report, "name", "extra_content", "audio")
        if turn.role == "assistant":
            self._assistant(turn)
        elif turn.role == "tool":
            self._result(turn)
        elif turn.role == "system":
            self._inner_system(turn, following)
        else:
            self._open("user").extend(self._marked(self._parts(turn.parts), turn.cache))

    def finish(self, turns: Sequence[Turn], *, may_prefill: bool) -> None:
        """Puts words where the protocol refuses silence."""
        messages = self.history.messages
        if not messages or messages[0]["role"] != "user":
            messages.insert(0, {"role": "user", "content": []})
        for message in messages:
            if not message["content"]:
                message["content"].append({"type": "text", "text": NOTHING})
        last = messages[-1]
        if last["role"] == "assistant":
            ending = blocks_of(last)[-1]
            if may_prefill and ending["type"] == "text":
                ending["text"] = ending["text"].rstrip()
                return
            if turns and turns[-1].is_prefix:
                self._report.drop("messages.prefix")
            messages.append({"role": "user", "content": [{"type": "text", "text": GO_ON}]})

    def _open(self, role: str) -> list[Block]:
        """Returns the content of the message to write on: the last one if it has this role, else a new one."""
        messages = self.history.messages
        if messages and messages[-1]["role"] == role:
            return blocks_of(messages[-1])
        content: list[Block] = []
        messages.append({"role": role, "content": content})
        return content

    def _assistant(self, turn: Turn) -> None:
        blocks = self._thinking(turn.thinking) if turn.thinking else []
        for part in turn.parts:
            if isinstance(part, Media):
                self._report.drop("messages.content")
                blocks.append({"type": "text", "text": f"({part.kind} {part.name}".rstrip() + ", not shown again)"})
            elif not _is_blank(part.text):
                blocks.append(self._marked_one({"type": "text", "text": part.text}, part.cache))
        blocks += self._calls(turn)
        if blocks and blocks[-1]["type"] not in ("thinking", "redacted_thinking"):
            self._open("assistant").extend(self._marked(blocks, turn.cache))

    def _calls(self, turn: Turn) -> list[Block]:
        if not turn.calls:
            return []
        self._awaited.clear()
        blocks: list[Block] = []
        for call in turn.calls:
            id = wire_id(call.id, self._ids)
            self._awaited.append(id)
            name = self._names.get(call.name)
            if name is None:
                name = self._names[call.name] = wire_name(call.name)
            blocks.append({"type": "tool_use", "id": id, "name": name, "input": call.input()})
        return blocks

    def _plain_calls(self, words: str, turn: Turn) -> None:
        content = self._open("assistant")
        if not _is_blank(words):
            content.append({"type": "text", "text": words})
        content += self._calls(turn)

    def _result(self, turn: Turn) -> None:
        block: Block = {"type": "tool_result", "tool_use_id": self._awaited.popleft()}
        content = self._parts(turn.parts)
        marks = [mark for part in content if (mark := part.pop("cache_control", None))]
        if len(content) == 1 and content[0]["type"] == "text":
            block["content"] = content[0]["text"]
        elif content:
            block["content"] = content
        if turn.is_error:
            block["is_error"] = True
        self._open("user").extend(self._marked([block], turn.cache or (marks[-1] if marks else None)))

    def _thinking(self, thinking: Sequence[Thinking]) -> list[Block]:
        blocks: list[Block] = []
        for each in thinking:
            is_ours = each.format in ("", FORMAT)
            if is_ours and each.data:
                blocks.append({"type": "redacted_thinking", "data": each.data})
            elif is_ours and each.signature:
                blocks.append({"type": "thinking", "thinking": each.text, "signature": each.signature})
            else:
                self._report.drop(f"messages.{each.member}")
        if blocks:
            self.history.has_thinking = True
        return blocks

    def _parts(self, parts: Sequence[Part]) -> list[Block]:
        blocks: list[Block] = []
        for part in parts:
            if isinstance(part, Text):
                if not _is_blank(part.text):
                    blocks.append(self._marked_one({"type": "text", "text": part.text}, part.cache))
                continue
            block = media_block(part, self._host, self._report)
            self.history.has_files = self.history.has_files or block["source"]["type"] == "file"
            blocks.append(self._marked_one(block, part.cache))
        return blocks

    def _system_texts(self, turn: Turn) -> list[Block]:
        note_losses(turn, self._report, "name")
        for part in turn.media:
            raise Unsupported(part.where, f"{part.where}: system messages hold text only; send it as a user")
        texts = [part for part in turn.parts if isinstance(part, Text) and not _is_blank(part.text)]
        blocks = [self._marked_one({"type": "text", "text": part.text}, part.cache) for part in texts]
        return self._marked(blocks, turn.cache)

    def _inner_system(self, turn: Turn, following: Turn | None) -> None:
        """Keeps a later system turn where it stands: as such if the model knows it there, else among the user's."""
        blocks = self._system_texts(turn)
        if not blocks:
            return
        messages = self.history.messages
        is_behind_user = bool(messages) and messages[-1]["role"] == "user" and bool(messages[-1]["content"])
        if self._claude.has_inner_system and is_behind_user and (following is None or following.role == "assistant"):
            messages.append({"role": "system", "content": blocks})
            return
        for block in blocks:
            block["text"] = f"<system>\n{block['text']}\n</system>"
        self._open("user").extend(blocks)

    def _marked_one(self, block: Block, wanted: JSON) -> Block:
        if wanted is not None and (mark := cache_mark(wanted)) is not None:
            block["cache_control"] = mark
            self.history.has_marks = True
        return block

    def _marked(self, blocks: list[Block], wanted: JSON) -> list[Block]:
        """Puts a mark that stands on a whole message on its last block."""
        if blocks and wanted is not None:
            self._marked_one(blocks[-1], wanted)
        return blocks


def _is_blank(text: str) -> bool:
    return not text or text.isspace()
