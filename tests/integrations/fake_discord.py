"""A Discord on loopback: keeps messages, counts calls, holds its limits, and signs what it sends as the real one does.

On the same port it plays a model, which writes what the prompt tells it to.
"""

from __future__ import annotations

import http.client
import itertools
import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

APPLICATION = "1199999999999999999"
BOT_TOKEN = "bot-canary-0123456789"
PATH = "/integrations/discord/interactions"
WAIT_SECONDS = 30.0
Answer = tuple[int, dict[str, str], Any]


@dataclass(frozen=True)
class Call:
    """One call of the API."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any
    at: float
    status: int


@dataclass
class Told:
    """One interaction: what was answered at once, and the messages that followed."""

    token: str
    status: int = 0
    reply: Any = None
    seconds: float = 0.0
    is_live: bool = False
    messages: dict[str, str] = field(default_factory=dict)
    refusals: list[Answer] = field(default_factory=list)
    """What the next calls are answered with, instead of what they ask for."""
    calls: list[Call] = field(default_factory=list)

    @property
    def texts(self) -> list[str]:
        return list(self.messages.values())


class FakeDiscord:
    """The API's server, and the sender of interactions."""

    def __init__(self) -> None:
        self.key = Ed25519PrivateKey.generate()
        self.told: dict[str, Told] = {}
        self.calls: list[Call] = []
        self._numbers = itertools.count(500)
        self._news = threading.Condition()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def public_key(self) -> str:
        return self.key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def signed(self, body: bytes, at: float | None = None) -> dict[str, str]:
        timestamp = str(int(time.time() if at is None else at))
        signature = self.key.sign(timestamp.encode() + body).hex()
        return {"x-signature-ed25519": signature, "x-signature-timestamp": timestamp}

    def interaction(self, guild: str | None, prompt: Any, **options: Any) -> tuple[Told, bytes]:
        """Returns what somebody's `/ask` becomes."""
        number = next(self._numbers)
        told = self.told[f"token-{number}"] = Told(f"token-{number}")
        text = prompt if isinstance(prompt, str) else json.dumps(prompt)
        given = [{"name": name, "type": 3, "value": value} for name, value in {"prompt": text, **options}.items()]
        body: dict[str, Any] = {
            "type": 2,
            "id": str(number),
            "application_id": APPLICATION,
            "token": told.token,
            "version": 1,
            "data": {"id": "1", "name": "ask", "type": 1, "options": given},
            "authorizing_integration_owners": {"0": guild} if guild else {"1": "77"},
        }
        who = {"id": "77", "username": "somebody"}
        body |= {"guild_id": guild, "member": {"user": who}} if guild else {"user": who}
        return told, json.dumps(body).encode()

    def send(self, port: int, told: Told, body: bytes) -> Told:
        """Sends an interaction to a gateway; one that is to be answered later can be answered from now on."""
        began = time.monotonic()
        told.status, told.reply = post(port, body, self.signed(body))
        told.seconds = time.monotonic() - began
        with self._news:
            told.is_live = told.status == 200 and told.reply["type"] == 5
            self._news.notify_all()
        return told

    def ask(self, port: int, guild: str | None, prompt: Any, **options: Any) -> Told:
        return self.send(port, *self.interaction(guild, prompt, **options))

    def wait(self, told: Told, text: str) -> list[str]:
        """Returns the messages once one of them ends with `text`."""
        deadline = time.monotonic() + WAIT_SECONDS
        with self._news:
            while not any(each.endswith(text) for each in told.texts):
                assert time.monotonic() < deadline, (text, told.texts, [call.status for call in told.calls])
                self._news.wait(0.2)
            return told.texts

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *args: Any) -> None:
                pass

            def _serve(self) -> None:
                length = int(self.headers.get("content-length") or 0)
                raw = self.rfile.read(length)
                body = json.loads(raw) if raw else None
                if self.path == "/v1/chat/completions":
                    with suppress(OSError):
                        self._write_as_model(json.loads(body["messages"][-1]["content"]))
                    return
                headers = {name.lower(): value for name, value in self.headers.items()}
                status, more, answer = fake._answered(self.command, self.path, headers, body)
                self._respond(status, more, answer)

            def _respond(self, status: int, more: dict[str, str], answer: Any) -> None:
                data = json.dumps(answer).encode()
                self.send_response(status)
                for name, value in {"content-type": "application/json", **more}.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def _write_as_model(self, order: dict[str, Any]) -> None:
                if "status" in order:
                    self._respond(order["status"], {}, {"error": {"message": "inner canary", "code": "x"}})
                    return
                self.send_response(200)
                self.send_header("content-type", "text/event-stream")
                self.send_header("connection", "close")
                self.end_headers()
                self.close_connection = True
                for piece in order["pieces"]:
                    time.sleep(order.get("gap", 0))
                    self._event({"choices": [{"index": 0, "delta": {"content": piece}, "finish_reason": None}]})
                if order.get("breaks"):
                    return
                self._event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
                usage = {"prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 30}
                self._event({"choices": [], "usage": usage})
                self.wfile.write(b"data: [DONE]\n\n")

            def _event(self, chunk: dict[str, Any]) -> None:
                chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", **chunk}
                self.wfile.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")

            do_GET = do_POST = do_PATCH = _serve

        return Handler

    def _answered(self, method: str, path: str, headers: dict[str, str], body: Any) -> Answer:
        with self._news:
            answer = self._answer(method, path, headers, body)
            call = Call(method, path, headers, body, time.monotonic(), answer[0])
            self.calls.append(call)
            if (told := self._told(path)) is not None:
                told.calls.append(call)
            self._news.notify_all()
            return answer

    def _told(self, path: str) -> Told | None:
        parts = path.partition("?")[0].split("/")
        return self.told.get(parts[4]) if len(parts) > 4 and parts[2] == "webhooks" else None

    def _answer(self, method: str, path: str, headers: dict[str, str], body: Any) -> Answer:
        if not headers.get("user-agent", "").startswith("DiscordBot ("):
            return 400, {}, {"message": "no user agent"}
        told = self._told(path)
        if told is not None:
            return self._webhook(method, path, told, body)
        if headers.get("authorization") != f"Bot {BOT_TOKEN}":
            return 401, {}, {"message": "401: Unauthorized", "code": 0}
        if method == "GET" and path == "/api/users/@me":
            return 200, {}, {"id": "42", "username": "helper", "bot": True}
        if method == "GET" and path.startswith("/api/users/@me/guilds?"):
            return 200, {}, [{"id": "11", "name": "First guild"}, {"id": "99", "name": "Other guild"}]
        if method == "POST" and path.endswith("/commands"):
            guild = path.split("/")[5] if "/guilds/" in path else None
            return 201, {}, {"id": "7", "name": body["name"], **({"guild_id": guild} if guild else {})}
        return 404, {}, {"message": "404: Not Found", "code": 0}

    def _webhook(self, method: str, path: str, told: Told, body: Any) -> Answer:
        now = time.monotonic()
        if not told.is_live:
            return 404, {}, {"message": "Unknown Webhook", "code": 10015}
        if told.refusals:
            return told.refusals.pop(0)
        recent = [call for call in told.calls if call.status == 200 and now - call.at < 4.9]
        if len(recent) >= 5:
            return 429, {}, {"message": "You are being rate limited.", "retry_after": 1.5, "global": False}
        if not body["content"].strip() or len(body["content"]) > 2000:
            return 400, {}, {"code": 50035, "message": "Invalid Form Body"}
        left = {"x-ratelimit-remaining": str(4 - len(recent)), "x-ratelimit-reset-after": "0.2"}
        if method == "POST":
            id = str(next(self._numbers))
        else:
            id = path.rpartition("/")[2]
            if id != "@original" and id not in told.messages:
                return 404, left, {"message": "Unknown Message", "code": 10008}
        told.messages[id] = body["content"]
        return 200, left, {"id": id if id != "@original" else "1"}


def post(port: int, body: bytes, headers: dict[str, str]) -> tuple[int, Any]:
    """Returns what the endpoint answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("POST", PATH, body, {"content-type": "application/json", **headers})
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


@contextmanager
def running_discord() -> Iterator[FakeDiscord]:
    fake = FakeDiscord()
    try:
        yield fake
    finally:
        fake.close()


def words(count: int) -> Sequence[str]:
    """Returns so many words of ten characters with their blank, each one another."""
    return [f"word{number:05d} " for number in range(count)]
