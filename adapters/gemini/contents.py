"""Turns of a conversation as Gemini's `contents`.

Theory. Each turn becomes one content, so that a longer conversation begins with the bytes of the shorter one. The
results of a step's calls travel together in one user content, in the order of the calls; the text of a user who
speaks up behind them is a content of its own. Signatures go back where they came from: beside the call, or beside the
last text of the answer. Where a step has lost its signature (another provider's history, a client that drops unknown
members), the documented stand-in takes its place. (ai.google.dev/gemini-api/docs/thought-signatures and
function-calling, read 2026-11.)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec

from adapters.codec import JSON, as_object, as_text, decode
from adapters.conversation import Media, Part, Text, Thinking, ToolCall, Turn
from adapters.fidelity import Report
from adapters.gemini.media import media_part
from adapters.gemini.models import Model
from adapters.gemini.names import sent_name
from adapters.losses import note_losses

Object = dict[str, Any]
_LOST: Final = ("name", "cache_control", "audio")
FORMAT: Final = "google-gemini-v1"
"""What `reasoning_details` of this protocol are called, in OpenRouter's words."""
STAND_IN: Final = "skip_thought_signature_validator"
_BLANK: Final = "."
"""Said where the protocol demands words and there are none."""
_GO_ON: Final = "Continue."


def build_contents(turns: Sequence[Turn], model: Model, report: Report, *, is_vertex: bool) -> list[Object]:
    """Returns the contents of the settled `turns`, without leading system turns; raises Unsupported."""
    return _Builder(model, report, is_vertex=is_vertex).contents(turns)


def system_parts(turns: Sequence[Turn], report: Report) -> list[Object]:
    """Returns the parts of `systemInstruction`: one text for each part of the leading system turns."""
    texts: list[str] = []
    for turn in turns:
        note_losses(turn, report, *_LOST)
        if turn.media:
            report.drop("messages.content")
        texts += [part.text for part in turn.parts if isinstance(part, Text) and part.text]
    return [{"text": text} for text in texts]


class _Builder:
    def __init__(self, model: Model, report: Report, *, is_vertex: bool) -> None:
        self._model = model
        self._report = report
        self._is_vertex = is_vertex

    def contents(self, turns: Sequence[Turn]) -> list[Object]:
        made: list[Object] = []
        results: list[Object] = []
        shown: list[Object] = []
        for turn in turns:
            words, role = turn.words, turn.role
            if words and (role == "user" or role == "assistant") and not turn.calls:
                if results:
                    made += _results_content(results, shown)
                made.append({"role": "user" if role == "user" else "model", "parts": [{"text": words}]})
                continue
            note_losses(turn, self._report, *_LOST)
            if turn.role == "tool":
                result, extra = self._result(turn)
                results.append(result)
                shown += extra
                continue
            if results:
                made += _results_content(results, shown)
            if parts := list(self._parts(turn)):
                made.append({"role": "model" if turn.role == "assistant" else "user", "parts": parts})
        made += _results_content(results, shown)
        self._close(made, turns)
        return made

    def _close(self, made: list[Object], turns: Sequence[Turn]) -> None:
        """Makes the conversation begin and end as the protocol demands."""
        if not made or made[0]["role"] == "model":
            made.insert(0, {"role": "user", "parts": [{"text": _BLANK}]})
        if made[-1]["role"] == "user":
            last = made[-1]["parts"]
            if not any(part.get("text", "").strip() or "functionResponse" in part for part in last):
                last.append({"text": _BLANK})
        elif turns[-1].role == "user":
            made.append({"role": "user", "parts": [{"text": _BLANK}]})
        elif not self._model.continues_answers:
            self._report.drop("messages.prefix")
            made.append({"role": "user", "parts": [{"text": _GO_ON}]})

    def _parts(self, turn: Turn) -> Iterator[Object]:
        if turn.role == "assistant":
            yield from self._answer(turn)
            return
        if turn.role == "system":
            self._report.drop("messages.role")
        yield from self._shown(turn.parts)

    def _shown(self, parts: Sequence[Part]) -> Iterator[Object]:
        for part in parts:
            if isinstance(part, Media):
                yield media_part(part, self._model, self._report, is_vertex=self._is_vertex)
            elif part.text:
                yield {"text": part.text}

    def _answer(self, turn: Turn) -> Iterator[Object]:
        """The parts of an earlier answer: thoughts that are signed, text, calls."""
        signatures = [found] if turn.extra is not None and (found := signature_of(turn.extra)) else []
        for thought in turn.thinking:
            if signature := self._signature(thought):
                if thought.text:
                    yield {"text": thought.text, "thought": True, "thoughtSignature": signature}
                elif signature not in signatures:
                    signatures.append(signature)
        said = list(self._shown(turn.parts))
        # The last one belongs to the last text; of earlier ones nobody knows the place, so they stand alone before.
        for signature in signatures[:-1]:
            yield {"text": "", "thoughtSignature": signature}
        if signatures:
            if said and "text" in said[-1]:
                said[-1]["thoughtSignature"] = signatures[-1]
            else:
                said.append({"text": "", "thoughtSignature": signatures[-1]})
        yield from said
        yield from self._calls(turn.calls)

    def _signature(self, thought: Thinking) -> str:
        if thought.format == FORMAT and (thought.signature or thought.data):
            return thought.signature or thought.data
        is_plain = not thought.signature and not thought.data and not thought.format
        self._report.drop("messages.reasoning_content" if is_plain else "messages.reasoning_details")
        return ""

    def _calls(self, calls: Sequence[ToolCall]) -> Iterator[Object]:
        for index, call in enumerate(calls):
            made: Object = {"name": sent_name(call.name), "args": call.input()}
            if call.id:
                made = {"id": call.id, **made}
            part: Object = {"functionCall": made}
            signature = "" if call.extra is None else signature_of(call.extra)
            if not signature and index == 0 and self._model.needs_signatures:
                signature = STAND_IN
            if signature:
                part["thoughtSignature"] = signature
            yield part

    def _result(self, turn: Turn) -> tuple[Object, list[Object]]:
        """Returns one `functionResponse`, and the parts that have no place in it."""
        made: Object = {"name": sent_name(turn.tool_name or "unknown")}
        if turn.call_id:
            made = {"id": turn.call_id, **made}
        made["response"] = {"error": turn.text} if turn.is_error else _response(turn.text)
        shown = list(self._shown(turn.media)) if turn.words is None else []
        if shown and self._model.has_media_in_results:
            made["parts"] = shown
            shown = []
        return {"functionResponse": made}, shown


def _results_content(results: list[Object], shown: list[Object]) -> list[Object]:
    """Returns the contents of the gathered results and of what they show, and empties the lists."""
    made = [{"role": "user", "parts": list(parts)} for parts in (results, shown) if parts]
    results.clear()
    shown.clear()
    return made


def _response(text: str) -> Object:
    """Returns a result as the object that the protocol wants: its own, or the text as `output`."""
    if text.lstrip().startswith("{"):
        try:
            found: JSON = decode(text)
        except (msgspec.DecodeError, RecursionError):
            return {"output": text}
        return as_object(found)
    return {"output": text}


def signature_of(extra: JSON) -> str:
    """Returns the thought signature in an `extra_content`, "" if there is none."""
    signature = as_object(as_object(extra).get("google")).get("thought_signature")
    return as_text(signature)
