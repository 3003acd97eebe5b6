"""Hugging Face's router: OpenAI's wire with the model first; embeddings as the feature-extraction task."""

from __future__ import annotations

import json

from adapters.huggingface import HuggingFaceAdapter
from adapters.types import HttpRequest, Operation
from tests.adapters.contract import Asked, Speaker


def says(case: Asked, request: HttpRequest) -> None:
    """Chats travel as they came, but for the model's place and the list of stops; embeddings in the task's words."""
    body = json.loads(request.body)
    if case.operation is Operation.EMBEDDINGS:
        assert request.url.endswith("/hf-inference/models/upstream-model/pipeline/feature-extraction")
        assert body == {"inputs": case.fields["input"]}
        assert request.dropped == (("dimensions",) if "dimensions" in case.fields else ())
        return
    assert request.url.endswith("/v1/chat/completions")
    assert next(iter(body)) == "model"
    expected = {**case.fields, **case.added, "model": "upstream-model"}
    if isinstance(expected.get("stop"), str):
        expected["stop"] = [expected["stop"]]
    assert body == expected


SPEAKER = Speaker(HuggingFaceAdapter(), says, unsupported=frozenset({"embedding of tokens"}))
