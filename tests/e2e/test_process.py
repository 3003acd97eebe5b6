"""What a gateway process leaves behind: log lines, counts, and an orderly end."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from openai import APIError, InternalServerError, OpenAI

from tests.e2e.answers import completion, error, text_chunks
from tests.e2e.conftest import scripted_config
from tests.e2e.process import GatewayProcess, start_gateway
from tests.e2e.stage import Stage
from tests.upstreams.scripted import STALL, json_response, sse_response

SECRET = "sk-upstream-secret-0001"
HELLO: Any = [{"role": "user", "content": "a private question"}]


@pytest.fixture
def logging(tmp_path: Path, stage: Stage) -> Iterator[GatewayProcess]:
    """A gateway of this test alone that logs to stdout.log in `tmp_path`."""
    config = scripted_config(stage.url)
    process = start_gateway(tmp_path, config={**config, "server": {"grace_seconds": 1.5}})
    process.wait_until_ready()
    yield process
    assert process.stop() == 0, process.errors


def _client(process: GatewayProcess) -> OpenAI:
    return OpenAI(base_url=f"{process.url}/v1", api_key="sk-of-a-client", max_retries=0, timeout=20)


def test_each_request_is_one_line_with_counts_and_without_content(
    logging: GatewayProcess, scripted: Stage, tmp_path: Path
) -> None:
    scripted.play(
        json_response(completion("a private answer")),
        sse_response(text_chunks("a private ", "stream")),
        error(401, f"Incorrect API key provided: {SECRET}"),
    )
    with _client(logging) as client:
        client.chat.completions.create(model="stub/quick", messages=HELLO, extra_headers={"x-request-id": "one"})
        client.chat.completions.create(
            model="fast", messages=HELLO, stream=True, extra_headers={"x-request-id": "two"}
        ).response.read()
        with pytest.raises(InternalServerError):
            client.chat.completions.create(
                model="openai/gpt-5", messages=HELLO, extra_headers={"x-request-id": "three"}
            )
    assert logging.stop() == 0
    written = (tmp_path / "stdout.log").read_text()
    lines = [json.loads(line) for line in written.splitlines()]
    assert [line["id"] for line in lines] == ["one", "two", "three"]
    assert [line["status"] for line in lines] == [200, 200, 502]
    assert [line["deployment"] for line in lines] == ["stub/quick", "stub/quick", "openai/gpt-5"]
    assert [line["prompt_tokens"] for line in lines] == [7, 7, 0]
    assert [line["usage_source"] for line in lines] == ["reported", "reported", "none"]
    assert [line["error"] for line in lines] == [None, None, "upstream_auth_error"]
    for secret in ("private", SECRET, "sk-of-a-client"):
        assert secret not in written + logging.errors


def test_requests_are_counted_by_what_became_of_them(logging: GatewayProcess, scripted: Stage) -> None:
    scripted.play(json_response(completion()), error(500, "it burns"))
    with _client(logging) as client:
        client.chat.completions.create(model="fast", messages=HELLO)
        with pytest.raises(InternalServerError):
            client.chat.completions.create(model="fast", messages=HELLO)
    lines = httpx2.get(f"{logging.url}/metrics").text.splitlines()
    counts = [line for line in lines if line.startswith("anyport_requests_total{") and 'route="fast"' in line]
    assert len([line for line in counts if 'status="2xx"' in line and line.endswith(" 1.0")]) == 1, counts
    assert len([line for line in counts if 'status="5xx"' in line and line.endswith(" 1.0")]) == 1, counts
    assert not [line for line in lines if "private" in line]


def test_a_stream_that_is_nearly_done_ends_well_at_shutdown(logging: GatewayProcess, scripted: Stage) -> None:
    scripted.play(sse_response(text_chunks("a", "b", "c"), gap_seconds=0.05))
    words: list[str] = []
    with (
        _client(logging) as client,
        client.chat.completions.create(model="stub/quick", messages=HELLO, stream=True) as stream,
    ):
        for number, each in enumerate(stream):
            if number == 0:
                stopping = threading.Thread(target=logging.stop)
                stopping.start()
            words += [choice.delta.content or "" for choice in each.choices]
        stopping.join()
    assert "".join(words) == "abc"


def test_a_stream_that_does_not_end_is_cut_with_an_error_at_shutdown(logging: GatewayProcess, scripted: Stage) -> None:
    scripted.play(sse_response(text_chunks("a", "b")[:3], done=False, end=[STALL]))
    with (
        _client(logging) as client,
        client.chat.completions.create(model="stub/quick", messages=HELLO, stream=True) as stream,
    ):
        pieces = iter(stream)
        next(pieces)
        stopping = threading.Thread(target=logging.stop)
        stopping.start()
        with pytest.raises(APIError) as caught:
            for _ in pieces:
                pass
        stopping.join()
    assert caught.value.code == "server_shutting_down"
