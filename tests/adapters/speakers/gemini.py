"""Gemini's generateContent: contents of parts, one configuration object, schemas beside functions."""

from __future__ import annotations

import json
from typing import Any

from adapters.gemini import GeminiAdapter
from adapters.types import HttpRequest, Operation
from tests.adapters.contract import Asked, Speaker

TOP = {"systemInstruction", "tools", "toolConfig", "generationConfig", "serviceTier", "contents"}
CONFIG = {
    "temperature": ("temperature", 0.5), "top_p": ("topP", 0.9), "max_tokens": ("maxOutputTokens", 5),
    "max_completion_tokens": ("maxOutputTokens", 5), "presence_penalty": ("presencePenalty", -1),
    "frequency_penalty": ("frequencyPenalty", 1.5), "seed": ("seed", 2**31 - 1), "logprobs": ("responseLogprobs", True),
    "top_logprobs": ("logprobs", 2),
    "reasoning_effort": ("thinkingConfig", {"thinkingLevel": "LOW", "includeThoughts": True}),
}  # fmt: skip
CALLING = {
    "required": {"mode": "ANY"},
    "auto": {"mode": "AUTO"},
}
ELSEWHERE = {"messages", "stream", "stream_options", "tools", "functions", "tool_choice", "function_call", "stop", "n"}
PARTS = {"text", "inlineData", "fileData", "functionCall", "functionResponse", "thoughtSignature"}


def says(case: Asked, request: HttpRequest) -> None:
    """Every field stands where Gemini looks for it, or is reported."""
    body = json.loads(request.body)
    if case.operation is Operation.EMBEDDINGS:
        judge_embeddings(case, request.url, body)
        return
    verb = "streamGenerateContent?alt=sse" if case.fields.get("stream") else "generateContent"
    assert request.url == f"http://127.0.0.1:9/models/upstream-model:{verb}"
    judge_chat(case, body, request.dropped)


def judge_chat(case: Asked, body: dict[str, Any], dropped: tuple[str, ...]) -> None:
    assert set(body) <= TOP
    assert list(body)[-1] == "contents"
    config = body.get("generationConfig", {})
    for name, value in case.fields.items():
        if value is None or name in dropped or name in ELSEWHERE:
            continue
        if name == "response_format":
            judge_format(value, config)
        else:
            there, expected = CONFIG[name]
            assert config[there] == (value if name == "temperature" else expected), name
    if case.fields.get("stop"):
        assert config["stopSequences"] == [*case.fields["stop"]]
    judge_tools(case, body)
    judge_contents(case, body, dropped)


def judge_format(wanted: dict[str, Any], config: dict[str, Any]) -> None:
    kind = wanted["type"]
    assert config.get("responseMimeType") == (None if kind == "text" else "application/json")
    assert ("responseJsonSchema" in config) is (kind == "json_schema")


def judge_tools(case: Asked, body: dict[str, Any]) -> None:
    functions = [tool["function"] for tool in case.fields.get("tools") or ()] or case.fields.get("functions") or []
    declared = [each for tool in body.get("tools", ()) for each in tool["functionDeclarations"]]
    assert declared == [{"name": each["name"], "description": each["description"]} for each in functions]
    choice = case.fields.get("tool_choice") or case.fields.get("function_call")
    if isinstance(choice, str):
        assert body["toolConfig"] == {"functionCallingConfig": CALLING[choice]}
    elif choice:
        assert body["toolConfig"] == {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f"]}}
    else:
        assert "toolConfig" not in body


def judge_contents(case: Asked, body: dict[str, Any], dropped: tuple[str, ...]) -> None:
    contents = body["contents"]
    assert all(content["role"] in ("user", "model") and content["parts"] for content in contents)
    assert all(part and set(part) <= PARTS for content in contents for part in content["parts"])
    assert contents[0]["role"] == contents[-1]["role"] == "user"
    asked = case.fields["messages"]
    texts = [text for message in asked for text in texts_of(message)]
    said = [part["text"] for part in body.get("systemInstruction", {}).get("parts", ())]
    said += [part["text"] for content in contents for part in content["parts"] if "text" in part]
    assert [text for text in said if text not in (".", "Continue.")] == texts
    for message in asked:
        assert ("name" in message and message["role"] == "user") <= ("messages.name" in dropped)
        assert ("reasoning_content" in message) <= ("messages.reasoning_content" in dropped)
    calls = [part["functionCall"] for content in contents for part in content["parts"] if "functionCall" in part]
    results = [
        part["functionResponse"] for content in contents for part in content["parts"] if "functionResponse" in part
    ]
    assert [(each["id"], each["name"]) for each in calls] == [(each["id"], each["name"]) for each in results]
    assert len(calls) == sum(len(message.get("tool_calls") or ()) + ("function_call" in message) for message in asked)


def texts_of(message: dict[str, Any]) -> list[str]:
    content = message["content"]
    if message["role"] in ("tool", "function"):
        return []
    if isinstance(content, list):
        return [part["text"] for part in content if part["type"] == "text"]
    return [content] if content else []


def judge_embeddings(case: Asked, url: str, body: dict[str, Any]) -> None:
    asked = case.fields["input"]
    verb = "batchEmbedContents" if isinstance(asked, list) else "embedContent"
    assert url == f"http://127.0.0.1:9/models/upstream-model:{verb}"
    requests = body["requests"] if isinstance(asked, list) else [body]
    extra = {"outputDimensionality": case.fields["dimensions"]} if "dimensions" in case.fields else {}
    texts = asked if isinstance(asked, list) else [asked]
    assert requests == [
        {"model": "models/upstream-model", "content": {"parts": [{"text": text}]}, **extra} for text in texts
    ]


SPEAKER = Speaker(GeminiAdapter(), says, unsupported=frozenset({"choices", "embedding of tokens"}))
