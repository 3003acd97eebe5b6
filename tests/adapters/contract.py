"""What every adapter must do with a request, as named cases: what goes in, and what the upstream must be able to read.

A protocol takes part by a module in speakers/: how to find in its own wire form what a case is about. A case that a
protocol cannot express must raise `Unsupported` naming the field.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from adapters.types import Adapter, Call, HttpRequest, Operation, Target
from gateway.http.api.inbound import read_call
from tests.adapters.recorded import target_of

USER = {"role": "user", "content": "hello"}
TOOL = {"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}}
CALLS = [
    {"id": f"call_{number}", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}} for number in (1, 2)
]
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
AUDIO = {"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}]}
SCHEMA = {"name": "s", "strict": True, "schema": {"type": "object", "properties": {}}}


@dataclass(frozen=True, slots=True)
class Asked:
    """One case: the fields of a request beside `model`."""

    fields: Mapping[str, Any]
    param: str = ""
    """The field that the case is about, `messages` if empty."""
    operation: Operation = Operation.CHAT
    added: Mapping[str, Any] = field(default_factory=dict)
    """What OpenAI's wire gets beside what the client sent."""


def asked(*messages: Any, param: str = "", added: Mapping[str, Any] | None = None, **fields: Any) -> Asked:
    return Asked({"messages": [*messages] or [USER], **fields}, param, added=added or {})


COUNTED = {"stream_options": {"include_usage": True}}
CASES: dict[str, Asked] = {
    "chat": asked(USER),
    "system": asked({"role": "system", "content": "be kind"}, USER),
    "developer": asked({"role": "developer", "content": "be kind"}, USER),
    "several turns": asked(USER, {"role": "assistant", "content": "hi"}, USER),
    "names": asked({**USER, "name": "ann"}),
    "text parts": asked({"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}),
    "image": asked({"role": "user", "content": [{"type": "text", "text": "what?"}, IMAGE]}),
    "image as a bare string": asked({"role": "user", "content": [{"type": "image_url", "image_url": "https://x/a.png"}]}),
    "audio": asked(AUDIO),
    "empty text": asked({"role": "user", "content": ""}),
    "many tongues": asked({"role": "user", "content": "é漢字🙂\u2028\u0000\u202e\ufeff"}),
    "tools": asked(tools=[TOOL], param="tools"),
    "tool choice by word": asked(tools=[TOOL], tool_choice="required", param="tool_choice"),
    "tool choice by name": asked(
        tools=[TOOL], tool_choice={"type": "function", "function": {"name": "f"}}, param="tool_choice"
    ),
    "one call at a time": asked(tools=[TOOL], parallel_tool_calls=False, param="parallel_tool_calls"),
    "tool calls and their answers": asked(
        USER,
        {"role": "assistant", "content": None, "tool_calls": CALLS},
        {"role": "tool", "tool_call_id": "call_1", "content": "1"},
        {"role": "tool", "tool_call_id": "call_2", "content": "2"},
    ),
    "tool calls beside text": asked(USER, {"role": "assistant", "content": "wait", "tool_calls": CALLS[:1]}),
    "old functions": asked(functions=[TOOL["function"]], function_call="auto", param="functions"),
    "old function turns": asked(
        USER,
        {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
        {"role": "function", "name": "f", "content": "1"},
    ),
    "reasoning of earlier turns": asked(USER, {"role": "assistant", "content": "hi", "reasoning_content": "hm"}, USER),
    "reasoning details": asked(
        USER, {"role": "assistant", "content": "hi", "reasoning_details": [{"type": "reasoning.text", "text": "x"}]}
    ),
    "json mode": asked(response_format={"type": "json_object"}, param="response_format"),
    "json schema": asked(response_format={"type": "json_schema", "json_schema": SCHEMA}, param="response_format"),
    "text mode": asked(response_format={"type": "text"}, param="response_format"),
    "stop string": asked(stop="x", param="stop"),
    "stop list": asked(stop=["x", "y"], param="stop"),
    "temperature": asked(temperature=0.5, param="temperature"),
    "zero": asked(temperature=0, param="temperature"),
    "top p": asked(top_p=0.9, param="top_p"),
    "penalties": asked(presence_penalty=-1, frequency_penalty=1.5, param="presence_penalty"),
    "max tokens": asked(max_tokens=5, param="max_tokens"),
    "max completion tokens": asked(max_completion_tokens=5, param="max_completion_tokens"),
    "seed": asked(seed=18446744073709551615, param="seed"),
    "choices": asked(n=2, param="n"),
    "log probabilities": asked(logprobs=True, top_logprobs=2, param="logprobs"),
    "logit bias": asked(logit_bias={"50256": -100}, param="logit_bias"),
    "reasoning effort": asked(reasoning_effort="low", param="reasoning_effort"),
    "user": asked(user="u\u202e", param="user"),
    "metadata": asked(metadata={"a": "b"}, store=True, param="metadata"),
    "unknown fields": asked(vendor_field={"a": [1, None, 1.50]}, param="vendor_field"),
    "nulls": asked(temperature=None, stop=None, tools=None, n=None, param="temperature"),
    "stream": asked(stream=True, param="stream", added=COUNTED),
    "stream, usage asked": asked(stream=True, stream_options={"include_usage": True}, param="stream_options"),
    "stream, usage refused": asked(
        stream=True, stream_options={"include_usage": False, "x": 1}, param="stream_options",
        added={"stream_options": {"include_usage": True, "x": 1}},
    ),
    "stream, options null": asked(stream=True, stream_options=None, param="stream_options", added=COUNTED),
    "text completion": Asked({"prompt": ["a", "b"], "echo": True}, "prompt", Operation.COMPLETIONS),
    "text completion stream": Asked({"prompt": "a", "stream": True}, "prompt", Operation.COMPLETIONS, COUNTED),
    "embedding": Asked({"input": "a"}, "input", Operation.EMBEDDINGS),
    "embeddings": Asked({"input": ["a", "b"], "dimensions": 8}, "input", Operation.EMBEDDINGS),
    "embedding of tokens": Asked({"input": [1, 2, 3]}, "input", Operation.EMBEDDINGS),
    "embedding as base64": Asked({"input": "a", "encoding_format": "base64"}, "encoding_format", Operation.EMBEDDINGS),
}  # fmt: skip


def call_for(case: Asked) -> Call:
    body = json.dumps({"model": "p/m", **case.fields}, ensure_ascii=False).encode()
    return read_call(case.operation, body, id="chatcmpl-1", created=1)


@dataclass(frozen=True, slots=True)
class Speaker:
    """One protocol under the contract."""

    adapter: Adapter
    judge: Callable[[Asked, HttpRequest], None]
    """Fails unless the upstream request says what the case is about, or reports it as dropped."""
    unsupported: frozenset[str] = frozenset()
    """Cases that the protocol cannot express."""
    target: Target | None = None
    """Where the cases are sent, if not to a model that nobody knows at the protocol's usual paths."""

    def target_of(self) -> Target:
        return self.target or target_of(protocol=self.adapter.protocol)


@cache
def speakers() -> dict[str, Speaker]:
    """Returns the speakers of the modules beside this one, by protocol."""
    names = sorted(path.stem for path in (Path(__file__).parent / "speakers").glob("[a-z]*.py"))
    modules = [importlib.import_module(f"tests.adapters.speakers.{name}") for name in names]
    return {module.SPEAKER.adapter.protocol: module.SPEAKER for module in modules}
