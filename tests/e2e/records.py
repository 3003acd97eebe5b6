"""Recorded exchanges with real providers, if they lie beside the checkout, and an upstream that plays them."""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from tests.e2e.natives import told
from tests.upstreams.scripted import FIN, Answer, Recorded, chunk, raw, response

FOLDER = Path(os.environ.get("ANYPORT_RECORDED") or Path(__file__).parents[3] / "shared" / "recorded")
PATHS = ("/chat/completions", "/completions", "/embeddings")
ROWS = {
    "alibaba": "alibaba",
    "anthropic": "openai-compatible",
    "azure": "azure",
    "bedrock": "openai-compatible",
    "cerebras": "cerebras",
    "compatible": "openai-compatible",
    "deepseek": "deepseek",
    "gemini-openai": "gemini-openai",
    "gpustack": "gpustack",
    "groq": "groq",
    "heroku": "openai-compatible",
    "huggingface": "huggingface",
    "mistral": "mistral",
    "moonshotai": "moonshot",
    "ollama": "ollama-openai",
    "openai": "openai",
    "openrouter": "openrouter",
    "perplexity": "perplexity",
    "snowflake": "snowflake",
    "together": "together",
    "voyage": "voyage",
    "writer": "writer",
    "xai": "xai",
    "zai": "zai",
}
"""Recorded provider -> row that serves it here; rows that the product does not have stand for plain servers."""
_UNKNOWN_REQUEST: dict[str, Any] = {"messages": [{"role": "user", "content": "?"}], "input": "?", "prompt": "?"}
_OWN_FRAMING = frozenset({"content-length", "transfer-encoding", "content-encoding", "connection", "content-type"})


@dataclass(frozen=True, slots=True)
class Record:
    """One exchange as it was recorded."""

    id: str
    provider: str
    row: str
    """The row that serves it here."""
    path: str
    """The operation's path, such as `/v1/chat/completions`."""
    request: dict[str, Any]
    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    is_stream: bool
    is_native: bool
    """The provider speaks a protocol of its own."""
    expect: dict[str, Any] | None

    @property
    def model(self) -> str:
        """The name under which the gateway serves this record."""
        return f"{self.row}/{self.id}"

    def call(self) -> dict[str, Any]:
        """Returns the recorded request for the gateway; a stream asks for usage, which is compared."""
        body = {**self.request, "model": self.model}
        if self.is_stream and self.path != "/v1/embeddings":
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        return body

    def head(self) -> bytes:
        """Returns the head of a chunked response."""
        return response(self.status, (*self.headers, ("transfer-encoding", "chunked")), length=False)

    def whole(self) -> Answer:
        """Returns the recorded answer."""
        if not self.is_stream:
            return raw(response(self.status, self.headers, self.body))
        return raw(self.head(), chunk(self.body), b"0\r\n\r\n")

    def in_pieces(self, size: int) -> Answer:
        """Returns the recorded answer in chunks of `size` bytes, each written by itself."""
        pieces = (chunk(self.body[at : at + size]) for at in range(0, len(self.body), size))
        return raw(self.head(), *pieces, b"0\r\n\r\n")

    def cut(self, at: int, *, properly: bool) -> Answer:
        """Returns the first `at` bytes, then a proper end of the body or a connection that just closes."""
        first = chunk(self.body[:at]) if at else b""
        return raw(self.head(), first, b"0\r\n\r\n") if properly else raw(self.head(), first, FIN)


def load() -> list[Record]:
    """Returns every record of a model that was called, in the order of the files."""
    lines = (line for file in sorted(FOLDER.glob("*.jsonl")) for line in _lines(file))
    return list(_records(lines))


def _lines(file: Path) -> list[str]:
    # Not splitlines(): a line separator of Unicode is an ordinary character inside JSON.
    return [line for line in file.read_text("utf-8").split("\n") if line]


def _records(lines: Iterator[str]) -> Iterator[Record]:
    for line in lines:
        exchange = json.loads(line)
        known = told(exchange)
        path = exchange["request"]["path"].partition("?")[0]
        ending = next((each for each in PATHS if path.endswith(each)), None)
        if known is None and (ending is None or exchange["provider"] not in ROWS):
            continue
        body, kind = _body(exchange["response"])
        headers = {name.lower(): value for name, value in exchange["response"].get("headers", {}).items()}
        kept = [(name, value) for name, value in headers.items() if name not in _OWN_FRAMING]
        asked = sent if isinstance(sent := exchange["request"]["body"], dict) else _UNKNOWN_REQUEST
        yield Record(
            id=exchange["id"],
            provider=exchange["provider"],
            row=known.row if known else ROWS[exchange["provider"]],
            path=known.path if known else f"/v1{ending}",
            request=known.request if known else asked,
            status=exchange["response"]["status"],
            headers=(*kept, ("content-type", kind)),
            body=body,
            is_stream=kind != "application/json" or "stream" in path.lower(),
            is_native=known is not None,
            expect=known.expect if known else exchange.get("expect"),
        )


def _body(answer: dict[str, Any]) -> tuple[bytes, str]:
    """Returns the recorded body and the type that it was sent as."""
    if "body_b64" in answer:
        return base64.b64decode(answer["body_b64"]), "application/vnd.amazon.eventstream"
    if "body" in answer:
        return json.dumps(answer["body"], ensure_ascii=False).encode(), "application/json"
    text = answer["text"]
    if re.search(r"(?m)^(data|event):", text):
        return text.encode(), "text/event-stream"
    return text.encode(), "application/x-ndjson" if text.startswith("{") else "application/json"


_ID = re.compile(r"[a-z][a-z-]+-[0-9a-z]{12}(~\d+)?")


def asked_for(request: Recorded) -> str:
    """Returns the id of the record that a request's model names, in the body or, with some protocols, in the path."""
    body: Any = request.json()
    found = _ID.search(body.get("model") or "") or _ID.search(unquote(request.path))
    assert found, request.path
    return found[0]
