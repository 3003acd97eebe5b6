"""A gateway whose every request costs the same, with keys made as its operator makes them."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import httpx2

from tests.e2e.process import GatewayProcess, start_gateway

ADMIN_KEY = "admin-canary-0123456789"
FILE_KEY = "file-key-0123456789"
UNNAMED_KEY = "unnamed-key-0123456789"
PRICE = {"input_usd_per_million": 2, "output_usd_per_million": 10}


class Ledgered:
    """The process, its two ports, and what a client and an operator do with them."""

    def __init__(
        self, directory: Path, storage_url: str | None = None, *, admin_port: int = 0, workers: int = 1, **said: Any
    ) -> None:
        """`said` is what the file says of its `server`, and of `batches`."""
        self.directory = directory
        storage: dict[str, Any] = {"directory": str(directory / "data")}
        if storage_url:
            storage["url"] = storage_url
        self.config: dict[str, Any] = {
            "batches": said.pop("batches", {}),
            "server": {"access_log": "off", **said},
            "discovery": {"enabled": False},
            "admin": {"port": admin_port, "key": ADMIN_KEY},
            "storage": storage,
            "routes": {name: {"deployments": [{"model": "demo/echo", "price": PRICE}]} for name in ("fast", "slow")},
        }
        self.process: GatewayProcess = start_gateway(
            directory, config=self.config, arguments=("--port", "0", "--workers", str(workers))
        )
        self.url = self.process.wait_until_ready()
        found = re.search(r"The admin API is at (http://\S+)/admin", self.process.errors)
        assert found
        self.admin_url = found[1]

    def admin(self, path: str, *, method: str = "GET", status: int = 200, **fields: Any) -> Any:
        url = f"{self.admin_url}/admin/{path}"
        return _answered(method, url, ADMIN_KEY, status, fields or None)

    def made(self, path: str, **fields: Any) -> dict[str, Any]:
        return self.admin(path, method="POST", **fields)

    def chat(self, key: str | None, model: str = "fast", text: str = "one two three") -> int:
        """Makes a request and returns its nano-dollars, by what the answer says of its tokens."""
        body = {"model": model, "messages": [{"role": "user", "content": text}]}
        # What a new key has spent is known to limits a moment later.
        usage = _answered("POST", f"{self.url}/v1/chat/completions", key, 200, body)["usage"]
        return usage["prompt_tokens"] * 2_000 + usage["completion_tokens"] * 10_000

    def own(self, key: str | None, path: str = "usage", status: int = 200) -> Any:
        return _answered("GET", f"{self.url}/v1/{path}", key, status, None)

    def stop(self) -> None:
        assert self.process.stop() == 0, self.process.errors


def _answered(method: str, url: str, key: str | None, status: int, body: Any) -> Any:
    """Returns what the gateway says in the end: a busy machine may keep storage away for a while."""
    headers = {"authorization": f"Bearer {key}"} if key else {}
    deadline = time.monotonic() + 20
    while True:
        answer = httpx2.request(method, url, headers=headers, json=body, timeout=20)
        said = answer.json()
        is_early = answer.status_code == 503 or (answer.status_code == 200 and said.get("pending_records"))
        if not is_early or time.monotonic() > deadline:
            assert answer.status_code == status, answer.text
            return said
        time.sleep(0.05)


def said(answer: Any) -> str:
    """Returns all of an answer as text, to look for what must not be in it."""
    return json.dumps(answer)
