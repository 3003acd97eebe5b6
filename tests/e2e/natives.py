"""Recorded exchanges of protocols other than OpenAI's: the request told in OpenAI's words, and what must come back.

Only what shapes the answer is told again (tools, the number of inputs, whether it streams): the answer is what is
played. Requests are judged elsewhere.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Object = dict[str, Any]
USER = {"role": "user", "content": "?"}


@dataclass(frozen=True, slots=True)
class Told:
    """An exchange of a native protocol."""

    row: str
    path: str
    """The gateway's, such as `/v1/chat/completions`."""
    request: Object
    expect: Object | None


def told(exchange: Object) -> Told | None:
    """Returns a recorded exchange as an OpenAI client would have had it; None for what is no call of a model."""
    path = exchange["request"]["path"].partition("?")[0]
    for provider, pattern, row, tell in _ENDPOINTS:
        if exchange["provider"] == provider and re.search(pattern, path):
            body = exchange["request"]["body"]
            return tell(row, body if isinstance(body, dict) else {}, exchange)
    return None


def _chat(tools: Callable[[Object], list[Object]]) -> Callable[[str, Object, Object], Told]:
    def tell(row: str, body: Object, exchange: Object) -> Told:
        functions = tools(body)
        request: Object = {"messages": [USER]} | ({"tools": functions} if functions else {})
        return Told(row, "/v1/chat/completions", request, _expected(exchange))

    return tell


def _expected(exchange: Object) -> Object | None:
    """The expectation with the prompt's tokens counted OpenAI's way: what was cached, and what a tool of the provider's
    own put into the prompt, is part of them."""
    expect = exchange.get("expect")
    if expect is not None and expect.get("plan"):  # Cohere's plan of its tool calls is told as reasoning
        expect = {**expect, "thinking": expect["thinking"] + expect["plan"]}
    if expect is None or expect.get("in") is None:
        return expect
    cached = [expect.get(name) or 0 for name in ("cache_read", "cache_write")]
    if exchange["provider"] == "bedrock":
        usage = _bedrock_usage(exchange["response"])
        cached = [usage.get(name) or 0 for name in ("cacheReadInputTokens", "cacheWriteInputTokens")]
    if exchange["provider"] in ("gemini", "vertexai"):
        found = re.findall(r'"toolUsePromptTokenCount": ?(\d+)', _text_of(exchange["response"]))
        cached = [int(count) for count in found[-1:]]
    return {**expect, "in": expect["in"] + sum(cached)}


def _text_of(answer: Object) -> str:
    return answer["text"] if "text" in answer else json.dumps(answer["body"])


def _bedrock_usage(answer: Object) -> Object:
    if "body" in answer:
        return answer["body"].get("usage") or {}
    found = re.search(rb'"usage":(\{[^{}]*\})', base64.b64decode(answer["body_b64"]))
    return json.loads(found[1]) if found else {}


def _function(name: Any, schema: Any) -> Object:
    parameters = schema if isinstance(schema, dict) else {}
    return {"type": "function", "function": {"name": name, "parameters": {"type": "object", **parameters}}}


def _anthropic_tools(body: Object) -> list[Object]:
    tools = body.get("tools") or []
    return [_function(tool["name"], tool.get("input_schema")) for tool in tools if "input_schema" in tool]


def _gemini_tools(body: Object) -> list[Object]:
    found = []
    for tool in body.get("tools") or []:
        declared = tool.get("functionDeclarations") or tool.get("function_declarations") or []
        found += [_function(each["name"], each.get("parametersJsonSchema")) for each in declared]
    return found


def _bedrock_tools(body: Object) -> list[Object]:
    tools = (body.get("toolConfig") or {}).get("tools") or []
    specs = [tool["toolSpec"] for tool in tools if "toolSpec" in tool]
    return [_function(spec["name"], spec["inputSchema"].get("json")) for spec in specs]


def _openai_tools(body: Object) -> list[Object]:
    return [tool for tool in body.get("tools") or [] if tool.get("type") == "function"]


def _completions(row: str, body: Object, exchange: Object) -> Told:
    return Told(row, "/v1/completions", {"prompt": body.get("prompt") or "?"}, _expected(exchange))


def _features(row: str, body: Object, exchange: Object) -> Told:
    answer = exchange["response"]["body"]
    vectors = answer if isinstance(answer[0], list) else [answer]
    return Told(row, "/v1/embeddings", {"input": ["?"] * len(vectors)}, {"vectors": vectors})


def _embeddings(row: str, body: Object, exchange: Object) -> Told:
    answer = exchange["response"].get("body") or {}
    vectors = _vectors(answer)
    expect: Object | None = {"vectors": vectors} if vectors else exchange.get("expect")
    return Told(row, "/v1/embeddings", {"input": ["?"] * max(1, len(vectors))}, expect)


def _vectors(answer: Any) -> list[list[float]]:
    if "embedding" in answer:
        return [answer["embedding"]["values"]]
    found: Any = answer.get("embeddings") or []
    if isinstance(found, dict):
        found = next((found[kind] for kind in ("float", "float_") if kind in found), [])
    return [item["values"] if isinstance(item, dict) else item for item in found]


def _rerank(row: str, body: Object, exchange: Object) -> Told:
    answer = exchange["response"].get("body") or {}
    items = answer.get("results") or answer.get("data") or []
    documents = [doc if isinstance(doc, str) else doc.get("text", "?") for doc in body.get("documents") or ["?"]]
    request = {"query": body.get("query") or "?", "documents": documents}
    scores = [[item["index"], item["relevance_score"]] for item in items]
    return Told(row, "/v1/rerank", request, {"scores": scores})


_ENDPOINTS: tuple[tuple[str, str, str, Callable[[str, Object, Object], Told]], ...] = (
    ("anthropic", r"/v1/messages$", "anthropic", _chat(_anthropic_tools)),
    ("gemini", r":(streamG|g)enerateContent$", "gemini", _chat(_gemini_tools)),
    ("gemini", r":(batchEmbedContents|embedContent)$", "gemini", _embeddings),
    ("vertexai", r":(streamG|g)enerateContent$", "vertex", _chat(_gemini_tools)),
    ("bedrock", r"/converse(-stream)?$", "bedrock", _chat(_bedrock_tools)),
    ("cohere", r"/v2/chat$", "cohere", _chat(_openai_tools)),
    ("cohere", r"/v[12]/embed$", "cohere", _embeddings),
    ("cohere", r"/v[12]/rerank$", "cohere", _rerank),
    ("voyage", r"/v1/rerank$", "voyage", _rerank),
    ("ollama", r"/api/chat$", "ollama", _chat(_openai_tools)),
    ("ollama", r"/api/generate$", "ollama", _completions),
    ("huggingface", r"/feature-extraction/", "huggingface", _features),
)
"""Recorded provider, path, row that serves it here, and how it is told."""
