"""Bedrock's Converse, and its embeddings, as a model of Amazon's takes them."""

from __future__ import annotations

import json
from typing import Any

from adapters.bedrock import BedrockAdapter
from adapters.types import HttpRequest, Operation, Target
from tests.adapters.contract import Asked, Speaker
from tests.adapters.recorded import target_of

MODEL = "us.amazon.nova-2-lite-v1:0"
HELLO = [{"role": "user", "content": [{"text": "hello"}]}]
SPEC = {
    "toolSpec": {
        "name": "f",
        "description": "d",
        "inputSchema": {"json": {"type": "object", "properties": {}}},
    }
}
CALLS = [{"toolUse": {"toolUseId": f"call_{number}", "name": "f", "input": {"a": 1}}} for number in (1, 2)]
DROPPED = {
    "presence_penalty": ("presence_penalty", "frequency_penalty"),
    "seed": ("seed",),
    "logprobs": ("logprobs", "top_logprobs"),
    "logit_bias": ("logit_bias",),
    "user": ("user",),
    "vendor_field": ("vendor_field",),
}


def says(case: Asked, request: HttpRequest) -> None:
    body = json.loads(request.body)
    if case.operation is Operation.EMBEDDINGS:
        assert request.url.endswith("/model/us.amazon.nova-2-lite-v1%3A0/invoke")
        assert body["singleEmbeddingParams"]["text"]["value"] == case.fields["input"]
        return
    action = "converse-stream" if case.fields.get("stream") else "converse"
    assert request.url.endswith(f"/model/us.amazon.nova-2-lite-v1%3A0/{action}")
    assert body.keys() <= {
        "messages", "system", "inferenceConfig", "toolConfig", "outputConfig", "additionalModelRequestFields",
        "serviceTier", "requestMetadata",
    }  # fmt: skip
    assert list(body)[-1] == "messages"
    if case.param:
        assert_param(case, body, request.dropped)
    else:
        assert_messages(case, body, request.dropped)


def assert_param(case: Asked, body: dict[str, Any], dropped: tuple[str, ...]) -> None:
    param, fields = case.param, case.fields
    inference = body.get("inferenceConfig", {})
    if param in DROPPED:
        assert set(dropped) == set(DROPPED[param])
        return
    if param == "parallel_tool_calls":
        assert dropped == ("parallel_tool_calls",)
    elif param == "metadata":
        assert body["requestMetadata"] == {"a": "b"}
        assert dropped == ("store",)
    elif fields.get("response_format", {}).get("type") == "json_schema":
        assert dropped == ("response_format.json_schema.strict",)
    else:
        assert dropped == ()
    if param in ("tools", "functions", "tool_choice", "parallel_tool_calls"):
        assert body["toolConfig"]["tools"] == [SPEC]
    if param == "tool_choice":
        wanted = {"any": {}} if fields["tool_choice"] == "required" else {"tool": {"name": "f"}}
        assert body["toolConfig"]["toolChoice"] == wanted
    elif param == "response_format":
        assert_form(fields["response_format"]["type"], body)
    elif param == "stop":
        wanted = fields["stop"] if isinstance(fields["stop"], list) else [fields["stop"]]
        assert inference == {"stopSequences": wanted}
    elif param in ("temperature", "top_p"):
        name = {"temperature": "temperature", "top_p": "topP"}[param]
        assert inference == ({} if fields[param] is None else {name: fields[param]})
    elif param in ("max_tokens", "max_completion_tokens"):
        assert inference == {"maxTokens": 5}
    elif param == "reasoning_effort":
        assert body["additionalModelRequestFields"]["reasoningConfig"]["maxReasoningEffort"] == "low"


def assert_form(kind: str, body: dict[str, Any]) -> None:
    if kind == "json_schema":
        assert body["toolConfig"]["toolChoice"] == {"tool": {"name": "answer_in_this_form"}}
    elif kind == "json_object":
        assert "JSON" in body["system"][-1]["text"]
    else:
        assert body == {"messages": HELLO}


def assert_messages(case: Asked, body: dict[str, Any], dropped: tuple[str, ...]) -> None:
    """The messages must be found in order, whatever they are laid together to."""
    given = case.fields["messages"]
    said = [block for message in body["messages"] for block in message["content"]]
    assert [message["role"] for message in body["messages"]] == alternating(len(body["messages"]))
    for message in given:
        content = message.get("content")
        texts = [content] if isinstance(content, str) else [part.get("text") for part in content or []]
        for text in filter(None, texts):
            if message["role"] in ("system", "developer"):
                assert {"text": text} in body["system"]
            elif message["role"] in ("tool", "function"):
                results = [block.get("toolResult", {}).get("content") for block in said]
                told = [block["text"] for block in said if "text" in block]
                assert [{"text": text}] in results or text in told
            else:
                assert {"text": text} in said
        if message.get("name") and message["role"] == "user":
            assert "messages.name" in dropped
        if message.get("tool_calls"):
            called = "".join(block.get("text", "") for block in said)
            assert called.count("Called the tool f") == len(message["tool_calls"])
        if message.get("reasoning_content") or message.get("reasoning_details"):
            assert {"messages.reasoning_content", "messages.reasoning_details"} & set(dropped)
        for part in content if isinstance(content, list) else ():
            if part["type"] == "image_url":
                assert {"image": {"format": "png", "source": {"bytes": "iVBORw0KGgo="}}} in said


def alternating(count: int) -> list[str]:
    return [("user", "assistant")[number % 2] for number in range(count)]


TARGET: Target = target_of(model=MODEL, protocol="bedrock")
SPEAKER = Speaker(
    BedrockAdapter(),
    says,
    frozenset({"image as a bare string", "audio", "embeddings", "embedding of tokens"}),
    TARGET,
)
