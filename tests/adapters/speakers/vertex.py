"""Vertex AI: Gemini's bodies at other addresses, and its own call for embeddings."""

from __future__ import annotations

import json
from typing import Any

from adapters.types import HttpRequest, Operation
from adapters.vertex import VertexAdapter
from tests.adapters.contract import Asked, Speaker
from tests.adapters.speakers.gemini import judge_chat

ROOT = "http://127.0.0.1:9/publishers/google/models/upstream-model"


def says(case: Asked, request: HttpRequest) -> None:
    """Every field stands where Vertex looks for it, or is reported."""
    body = json.loads(request.body)
    if case.operation is Operation.EMBEDDINGS:
        assert request.url == f"{ROOT}:predict"
        judge_prediction(case, body)
        return
    verb = "streamGenerateContent?alt=sse" if case.fields.get("stream") else "generateContent"
    assert request.url == f"{ROOT}:{verb}"
    judge_chat(case, body, request.dropped)


def judge_prediction(case: Asked, body: dict[str, Any]) -> None:
    asked = case.fields["input"]
    texts = asked if isinstance(asked, list) else [asked]
    assert body["instances"] == [{"content": text} for text in texts]
    wanted = case.fields.get("dimensions")
    assert body.get("parameters") == ({"outputDimensionality": wanted} if wanted else None)


SPEAKER = Speaker(VertexAdapter(), says, unsupported=frozenset({"choices", "embedding of tokens"}))
