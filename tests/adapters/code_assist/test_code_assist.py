"""Code Assist: what is special about Gemini's bodies in an envelope."""

from __future__ import annotations

import json

import pytest

from adapters.code_assist import CodeAssistAdapter
from adapters.failures import FailureKind
from adapters.options import Options
from adapters.types import Head, Target
from tests.engine.doubles import call_of

ADAPTER = CodeAssistAdapter()
TARGET = Target("models/gemini-2.5-pro", "https://cloudcode-pa.googleapis.com/v1internal", {})
RESET = "You have exhausted your capacity on this model. Your quota will reset after {}."


def failure(message: str) -> tuple[FailureKind, float | None]:
    body = json.dumps([{"error": {"code": 429, "message": message, "status": "RESOURCE_EXHAUSTED"}}]).encode()
    found = ADAPTER.failure(TARGET, Head(429), body)
    return found.kind, found.retry_after


@pytest.mark.parametrize(
    ("said", "seconds"), [("12h34m16s", 45256.0), ("59m3.5s", 3543.0), ("7s", 7.0), ("0s", None), ("a while", None)]
)
def test_the_wait_stands_in_the_words(said: str, seconds: float | None) -> None:
    assert failure(RESET.format(said)) == (FailureKind.RATE_LIMIT, seconds)


def test_the_envelope_names_the_model_alone_and_the_project_if_there_is_one() -> None:
    body = json.loads(ADAPTER.request(call_of(), TARGET).body)
    assert body["model"] == "gemini-2.5-pro"
    assert "project" not in body
    target = Target(TARGET.model, TARGET.base_url, {}, options=Options(project="p-1"))
    assert json.loads(ADAPTER.request(call_of(), target).body)["project"] == "p-1"


def test_what_the_envelope_has_no_place_for_is_reported() -> None:
    request = ADAPTER.request(call_of(service_tier="flex"), TARGET)
    assert "service_tier" in request.dropped
    assert "serviceTier" not in json.loads(request.body)["request"]


def test_another_programs_use_that_is_forbidden_speaks_against_the_login() -> None:
    details = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "TOS_VIOLATION"}]
    error = {"code": 403, "message": "no", "status": "PERMISSION_DENIED", "details": details}
    found = ADAPTER.failure(TARGET, Head(403), json.dumps({"error": error}).encode())
    assert (found.kind, found.code) == (FailureKind.AUTH, "TOS_VIOLATION")
