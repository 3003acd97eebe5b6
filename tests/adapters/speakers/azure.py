"""Azure's wire: OpenAI's, under the v1 paths."""

from __future__ import annotations

import json

from adapters.azure import AzureAdapter
from adapters.types import HttpRequest
from tests.adapters.contract import Asked, Speaker


def says(case: Asked, request: HttpRequest) -> None:
    """Everything travels as it came, only the model's name is that of the deployment."""
    assert request.url.startswith("http://127.0.0.1:9/openai/v1/")
    assert json.loads(request.body) == {**case.fields, **case.added, "model": "upstream-model"}


SPEAKER = Speaker(AzureAdapter(), says)
