"""What every rejected request has in common."""

from __future__ import annotations

from tests.faults.client import Answer
from tests.faults.stage import Scene, Stage


async def assert_rejected(
    stage: Stage, scene: Scene, answer: Answer, expected: tuple[int, str | None, str | None]
) -> str:
    """Asserts status, code and parameter, and that nobody was called; returns the message."""
    error = answer.error
    assert (answer.status, error["code"], error["param"]) == expected, error
    assert error["type"] == "invalid_request_error"
    assert answer.headers["x-should-retry"] == "false"
    assert not scene.requests
    record = await stage.gateway.record(answer.id)
    assert (record["status"], record["error"], record["attempts"]) == (expected[0], error["code"], 0)
    assert record["provider"] == ""
    return error["message"]
