"""What a request used is written down before its client has the end of the answer, whatever it takes for that."""

from __future__ import annotations

import json
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import pytest

from gateway.app import create_app
from gateway.http.drain import DrainSignal
from gateway.runtime import Runtime
from gateway.settings.load import load_settings
from gateway.storage.segments import read_lines
from tests.e2e.answers import completion, text_chunks
from tests.upstreams.scripted import Answer, ScriptedUpstream, json_response, raw, sse_response

KEY = "client-canary-0123456789"
BODY = {"model": "main", "messages": [{"role": "user", "content": "Hello!"}]}
CHUNKS = text_chunks("a ", "stream")


def in_one_piece() -> Answer:
    return raw(b"".join(step for step in sse_response(CHUNKS).steps if isinstance(step, bytes)))


def journaled(directory: Path) -> list[int]:
    """Returns the output tokens of each record that is on the disk."""
    files = (directory / "journal").glob("*.log")
    lines = [read_lines(file, 0, file.stat().st_size, 100) for file in files]
    return [record.output_tokens for each in lines for record in each.records]


@pytest.mark.parametrize(
    ("answer", "is_stream"),
    [
        (json_response(completion("Hi")), False),
        (sse_response(CHUNKS), True),
        (in_one_piece(), True),
        (sse_response(CHUNKS, end=[60.0]), True),
    ],
    ids=["whole", "stream", "stream in one piece", "stream whose connection stays open"],
)
async def test_a_record_is_in_the_journal_before_the_last_event_goes_out(
    tmp_path: Path, answer: Answer, is_stream: bool
) -> None:
    known: list[tuple[bytes, list[int]]] = []
    async with ScriptedUpstream([answer]) as upstream:
        provider = {"protocol": "openai", "requires_credential": False, "base_url": f"{upstream.url}/v1"}
        config = {
            "server": {"access_log": "off", "api_keys": [KEY]},
            "discovery": {"enabled": False},
            "storage": {"directory": str(tmp_path / "data")},
            "providers": {"stub": provider},
            "routes": {"main": {"deployments": [{"model": "stub/m"}]}},
        }
        file = tmp_path / "anyport.yaml"
        file.write_text(json.dumps(config))
        runtime = Runtime(load_settings(file, {}), {})
        runtime.books.open()
        app = create_app(runtime, drain=DrainSignal())
        body = json.dumps({**BODY, "stream": is_stream}).encode()

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body}

        async def send(message: MutableMapping[str, Any]) -> None:
            known.append((message.get("body", b""), journaled(tmp_path / "data")))

        headers = [(b"content-type", b"application/json"), (b"authorization", f"Bearer {KEY}".encode())]
        await app({"type": "http", "method": "POST", "path": "/v1/chat/completions", "headers": headers}, receive, send)
        await runtime.aclose()
    last = [journal for body, journal in known if b"[DONE]" in body or (b'"usage"' in body and not is_stream)]
    assert last == [[3]]
