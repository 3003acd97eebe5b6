"""The OpenAPI description says what errors and answers have."""

from __future__ import annotations

import json
from typing import Any

from fastapi import FastAPI

from adapters.failures import Failure, FailureKind
from gateway.app import INFERENCE_PATHS
from gateway.domain import Attempt
from gateway.engine.client_errors import client_error
from gateway.http.api.own_usage import OWN_SNAPSHOT_PATH, OWN_USAGE_PATH
from gateway.http.openapi import describe


def responses(path: str) -> Any:
    return describe(FastAPI())["paths"][path]["post"]["responses"]


def test_an_error_has_the_members_that_the_description_names() -> None:
    failure = Failure(FailureKind.SERVER, "oops", status=500)
    attempts = [Attempt(1, "a/b", 0.0, failure), Attempt(2, "c/d", 0.0, is_lost=True)]
    error = json.loads(client_error(failure, deployment="a/b", message="oops", attempts=attempts).body())["error"]
    for path in INFERENCE_PATHS:
        schema = responses(path)["default"]["content"]["application/json"]["schema"]["properties"]["error"]
        assert set(error) == set(schema["properties"])
        assert set(schema["required"]) == set(error) - {"details"}
        item = schema["properties"]["details"]["properties"]["attempts"]["items"]
        first, second = error["details"]["attempts"]
        assert set(first) == set(item["properties"])
        assert set(second) >= set(item["required"])
        assert {first["kind"], second["kind"]} <= set(item["properties"]["kind"]["enum"])


def test_answers_and_errors_name_the_headers_of_ours() -> None:
    ours = {"x-anyport-attempts", "x-anyport-deployment", "x-anyport-fallback", "x-anyport-overhead-ms"}
    for path in INFERENCE_PATHS:
        assert all(ours <= set(answer["headers"]) for answer in responses(path).values())


def test_questions_about_usage_are_described_with_their_parameters() -> None:
    paths = describe(FastAPI())["paths"]
    assert [each["name"] for each in paths[OWN_USAGE_PATH]["get"]["parameters"]] == ["from", "to"]
    assert [each["name"] for each in paths[OWN_SNAPSHOT_PATH]["get"]["parameters"]] == ["from"]
