"""Code Assist: Gemini's bodies in an envelope."""

from __future__ import annotations

import json

from adapters.code_assist import CodeAssistAdapter
from adapters.types import HttpRequest
from tests.adapters.contract import Asked, Speaker
from tests.adapters.speakers.gemini import judge_chat


def says(case: Asked, request: HttpRequest) -> None:
    """Every field stands where Code Assist looks for it, or is reported."""
    verb = "streamGenerateContent?alt=sse" if case.fields.get("stream") else "generateContent"
    assert request.url == f"http://127.0.0.1:9:{verb}"
    body = json.loads(request.body)
    assert set(body) == {"model", "user_prompt_id", "request"}
    assert body["model"] == "upstream-model"
    judge_chat(case, body["request"], request.dropped)


SPEAKER = Speaker(CodeAssistAdapter(), says, unsupported=frozenset({"choices"}))
