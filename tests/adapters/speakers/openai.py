"""OpenAI's own wire."""

from __future__ import annotations

import json

from adapters.openai import OpenAIAdapter
from adapters.types import HttpRequest
from tests.adapters.contract import Asked, Speaker


def says(case: Asked, request: HttpRequest) -> None:
    """Everything travels as it came, only the model's name is the upstream's."""
    assert json.loads(request.body) == {**case.fields, **case.added, "model": "upstream-model"}


SPEAKER = Speaker(OpenAIAdapter(), says)
