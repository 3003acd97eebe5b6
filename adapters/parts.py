"""One call as several, and several answers as one: for upstreams that make one choice, or read one input, at a time.

Theory. A part is an ordinary call: an adapter, a decoder and the attempt loop treat it like any other, and know
nothing of its siblings. What the client gets must look as if one upstream had answered: one id, one time, one model,
choices and vectors numbered in the order that the client can expect, the counts of all parts together, one end.

A part counts for one choice. What an upstream sends beyond the one that it was asked for is left out: it would be told
as another part's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec
from msgspec import Raw

from adapters.chunks import usage_object
from adapters.codec import JSON, as_object, decode, encode, is_null, join_object, raw, split_object
from adapters.errors import Malformed, Unsupported
from adapters.fields import integer
from adapters.framing.sse import DONE, DONE_FRAME, data_of, frame
from adapters.types import Call, Operation, Reply, Usage

MAX_COPIED_BYTES: Final = 64 * 1024 * 1024
"""Most bytes that the parts of one call may hold together besides the inputs: each part repeats the other fields."""
_CONSTANT: Final = ("id", "object", "created", "model")
_raws: Final = msgspec.json.Decoder(list[Raw]).decode
_objects: Final = msgspec.json.Decoder(list[dict[str, Raw]]).decode
_FIRST: Final = (b"", b"0", b"null")


def split_choices(call: Call, most: int = 16) -> Sequence[Call]:
    """Returns one call for each of the `n` choices that were asked for, all equal and without `n`.

    Raises Unsupported for less than one choice, more than `most`, and several choices of several prompts.
    """
    count = integer(call.fields, "n") if "n" in call.fields else None
    if count is None or count == 1:
        return (call,)
    if count < 1:
        raise Unsupported("n", "n must be at least 1")
    if count > most:
        raise Unsupported("n", f"n must be at most {most} for this provider, got {count}")
    if len(_items(call.fields.get("prompt"))) > 1:
        raise Unsupported("n", "n above 1 goes with one prompt only for this provider")
    return (_with(call, {name: value for name, value in call.fields.items() if name != "n"}),) * count


def split_inputs(call: Call, size: int = 1, most: int = 2048) -> Sequence[Call]:
    """Returns calls of at most `size` inputs each, in the order of the inputs; an array of tokens is one input.

    Raises Unsupported for more than `most` calls, and for other fields too long to be repeated in each of them.
    """
    items = _items(call.fields.get("input"))
    if len(items) <= size:
        return (call,)
    groups = [items[start : start + size] for start in range(0, len(items), size)]
    if len(groups) > most:
        message = f"input may hold at most {most * size} items for this provider, got {len(items)}"
        raise Unsupported("input", message)
    rest = sum(memoryview(value).nbytes for name, value in call.fields.items() if name != "input")
    if rest * len(groups) > MAX_COPIED_BYTES:
        raise Unsupported("input", "the other fields are too long to be repeated for each input")
    return [_with(call, {**call.fields, "input": raw(group)}) for group in groups]


def join_replies(call: Call, replies: Sequence[Reply]) -> Reply:
    """Returns the answers of all parts, in the parts' order, as the one answer to `call`.

    Raises Malformed for embeddings that are not as many as the inputs: they could belong to other texts.
    """
    if len(replies) == 1:
        return replies[0]
    bodies = [split_object(reply.body) for reply in replies]
    whole = dict(bodies[0])
    if call.operation is Operation.EMBEDDINGS:
        vectors = [vector for body in bodies for vector in _in_order(_objects(body["data"]))]
        expected = len(_items(call.fields.get("input"))) or 1
        if len(vectors) != expected:
            raise Malformed(f"the upstream made {len(vectors)} embeddings of {expected} inputs")
        whole["data"] = _numbered(vectors)
    else:
        whole["choices"] = _numbered([_objects(body["choices"])[0] for body in bodies])
    counted = [decode(body["usage"]) for body in bodies if not is_null(body.get("usage"))]
    if counted:
        whole["usage"] = raw(_sum(counted))
    usage = sum_usage(reply.usage for reply in replies)
    return Reply(join_object(whole), usage, replies[0].model, replies[0].finish)


def sum_usage(usages: Iterable[Usage | None]) -> Usage | None:
    """Returns the counts of all parts together, None if no part has any; `estimated` if one has none."""
    every = tuple(usages)
    known = [usage for usage in every if usage is not None]
    if not known:
        return None
    return Usage(
        prompt=sum(usage.prompt for usage in known),
        completion=sum(usage.completion for usage in known),
        cached_prompt=sum(usage.cached_prompt for usage in known),
        cache_write=sum(usage.cache_write for usage in known),
        cache_write_1h=sum(usage.cache_write_1h for usage in known),
        reasoning=sum(usage.reasoning for usage in known),
        estimated=len(known) < len(every) or any(usage.estimated for usage in known),
        billed=_sum_billed(known),
        calls=sum(usage.calls for usage in known),
    )


def _sum_billed(known: Sequence[Usage]) -> tuple[int, int] | None:
    if all(usage.billed is None for usage in known):
        return None
    billed = [usage.billed or (usage.prompt, usage.completion) for usage in known]
    return sum(prompt for prompt, _ in billed), sum(completion for _, completion in billed)


class StreamJoiner:
    """Tells the streams of several parts as one: choice k is what part k says."""

    __slots__ = ("_call", "_constant")

    def __init__(self, call: Call) -> None:
        self._call = call
        self._constant: dict[str, Raw] = {}

    def feed(self, part: int, frames: bytes) -> bytes:
        """Returns whole frames of part `part`, as a decoder gave them, as frames of choice `part`."""
        out: list[bytes] = []
        for block in frames.split(b"\n\n"):
            data = data_of(block)
            if data and data != DONE:
                out.append(self._retold(part, data))
            elif block.startswith(b":"):
                out.append(block + b"\n\n")
        return b"".join(out)

    def close(self, usage: Usage | None) -> bytes:
        """Returns the last frames, after every part has ended: the counts of all if the client asked, and the end."""
        if usage is None or not self._call.wants_usage:
            return DONE_FRAME
        last = {**self._constant, "choices": Raw(b"[]"), "usage": usage_object(usage)}
        return frame(encode(last)) + DONE_FRAME

    def _retold(self, part: int, data: bytes) -> bytes:
        """Returns b"" for a frame without choices: counts and what else concerns one part only."""
        members = split_object(data)
        found = members.get("choices")
        choices = [] if found is None or is_null(found) else _objects(found)
        choices = [choice for choice in choices if bytes(choice.get("index", b"")) in _FIRST]
        if not choices:
            return b""
        for choice in choices:
            choice["index"] = raw(part)
        members["choices"] = raw(choices)
        if not is_null(members.get("usage")):
            del members["usage"]
        if not self._constant:
            self._constant = {name: members[name] for name in _CONSTANT if name in members}
        return frame(join_object({**members, **self._constant}))


def _with(call: Call, fields: dict[str, Raw]) -> Call:
    return msgspec.structs.replace(call, fields=fields, body=join_object(fields))


def _items(member: Raw | None) -> list[Raw]:
    """Returns the texts or token arrays of a list; an empty list for one text or one token array."""
    if member is None or bytes(memoryview(member)[:1]) != b"[":
        return []
    items = _raws(member)
    is_tokens = bool(items) and bytes(memoryview(items[0])[:1]) not in (b'"', b"[")
    return [] if is_tokens else items


def _in_order(vectors: list[dict[str, Raw]]) -> list[dict[str, Raw]]:
    if len(vectors) == 1:
        return vectors
    by_place = {bytes(vector.get("index", raw(place))): vector for place, vector in enumerate(vectors)}
    try:
        return [by_place[b"%d" % place] for place in range(len(vectors))]
    except KeyError:
        raise Malformed("the embeddings of the upstream's answer are not numbered one by one") from None


def _numbered(members: list[dict[str, Raw]]) -> Raw:
    for index, member in enumerate(members):
        member["index"] = raw(index)
    return raw(members)


def _sum(values: Sequence[JSON]) -> JSON:
    """Adds up numbers, also inside objects; of everything else the first that is not null counts."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    if isinstance(known[0], dict):
        names = dict.fromkeys(name for value in known for name in as_object(value))
        return {name: _sum([as_object(value).get(name) for value in known]) for name in names}
    numbers = [value for value in known if isinstance(value, int | float) and not isinstance(value, bool)]
    return sum(numbers) if len(numbers) == len(known) else known[0]
