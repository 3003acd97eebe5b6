"""A gateway with both of its doors, and everybody who may knock at them."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.e2e.process import GatewayProcess, start_gateway
from tests.http.guarded_server import Answer

ADMIN_KEY = "admin-canary-0123456789"
PLAIN_KEY = "plain-canary-0123456789"
NAMED_KEY = "named-canary-0123456789"
CONFIG: dict[str, Any] = {
    "server": {"api_keys": [PLAIN_KEY, {"key": NAMED_KEY, "name": "named"}], "bad_keys_per_minute": None},
    "discovery": {"enabled": False},
    "admin": {"port": 0, "key": ADMIN_KEY},
    "routes": {name: {"deployments": [{"model": "demo/echo"}]} for name in ("r", "s", "s-two")},
}


class House:
    """The gateway: `client` asks at the main port, `admin` at the operator's."""

    def __init__(self, directory: Path, config: Mapping[str, Any] = CONFIG, **environ: str) -> None:
        self.directory = directory
        self.process: GatewayProcess = start_gateway(directory, config=config, environ=environ)
        self.port = int(self.process.wait_until_ready().rpartition(":")[2])
        found = re.search(r"The admin API is at http://127\.0\.0\.1:(\d+)/admin", self.process.errors)
        self.admin_port = int(found[1]) if found else 0
        self.heard: list[bytes] = []
        """Everything that anybody was told."""

    def client(self, method: str, path: str, body: Any = None, *, key: str | None = None, **headers: str) -> Answer:
        return self._ask(self.port, method, path, body, key, headers)

    def admin(self, method: str, path: str, body: Any = None, *, key: str | None = ADMIN_KEY, **headers: str) -> Answer:
        return self._ask(self.admin_port, method, path, body, key, headers)

    def made(self, path: str, **fields: Any) -> dict[str, Any]:
        """Makes a key, project or team and returns it."""
        reply = self.admin("POST", f"/admin/{path}", fields)
        assert reply.status == 200, reply.body
        return reply.json

    def chat(self, key: str | None, model: str = "r", **headers: str) -> Answer:
        body = {"model": model, "messages": [{"role": "user", "content": "x"}]}
        return self.client("POST", "/v1/chat/completions", body, key=key, **headers)

    def _ask(self, port: int, method: str, path: str, body: Any, key: str | None, more: Mapping[str, str]) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        headers = {name.replace("_", "-"): value for name, value in more.items()}
        headers = {"content-type": "application/json", **headers}
        if key is not None:
            headers["authorization"] = f"Bearer {key}"
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        try:
            connection.request(method, path, data, headers)
            response = connection.getresponse()
            is_endless = path == "/admin/events" and response.status == 200
            said = response.read(1) if is_endless else response.read()
        finally:
            connection.close()
        names = {name.lower(): value for name, value in response.getheaders()}
        self.heard += [said, repr(names).encode()]
        return Answer(response.status, names, said)


@contextmanager
def house(directory: Path, config: Mapping[str, Any] = CONFIG, **environ: str) -> Iterator[House]:
    """Runs a gateway until the block ends."""
    one = House(directory, config, **environ)
    try:
        yield one
    finally:
        one.process.stop()


def roles(one: House) -> dict[str, str | None]:
    """Makes one key of each kind and returns them by what they are."""

    def virtual(name: str, **fields: Any) -> dict[str, Any]:
        return one.made("keys", name=name, **fields)

    disabled, former = virtual("disabled"), virtual("former")
    assert one.admin("POST", f"/admin/keys/{disabled['id']}/disable").status == 200
    assert one.admin("POST", f"/admin/keys/{former['id']}/rotate").status == 200
    return {
        "nobody": None,
        "an empty key": "",
        "a wrong key": "wrong",
        "a wrong key of our form": f"sk-anyport-{'x' * 43}",
        "an expired key": virtual("expired", expires_at_ms=1)["key"],
        "a disabled key": disabled["key"],
        "a key before its rotation": former["key"],
        "a nameless key of the file": PLAIN_KEY,
        "a named key of the file": NAMED_KEY,
        "a virtual key": virtual("virtual")["key"],
        "a virtual key for one route": virtual("narrow", routes=["r"])["key"],
        "the operator's key": ADMIN_KEY,
    }


DEAD = {
    "nobody": "invalid_api_key",
    "an empty key": "invalid_api_key",
    "a wrong key": "invalid_api_key",
    "a wrong key of our form": "invalid_api_key",
    "an expired key": "key_expired",
    "a disabled key": "key_revoked",
    "a key before its rotation": "key_revoked",
}
"""Who gets nowhere -> what the main port says."""
CLIENTS = (
    "a nameless key of the file",
    "a named key of the file",
    "a virtual key",
    "a virtual key for one route",
)
OPERATOR = "the operator's key"
