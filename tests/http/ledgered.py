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

    def __init__(self, directory: Path, storage_url: str | None = None, *, admin_port: int = 0, **server: Any) -> None:
        self.directory = directory
        storage: dict[str, Any] = {"directory": str(directory / "data")}
        if storage_url:
            storage["url"] = storage_url
        self.config: dict[str, Any] = {
            "server": {"access_log": "off", **server},
            "discovery": {"enabled": False},
            "admin": {"port": admin_port, "key": ADMIN_KEY},
            "storage": storage,
            "routes": {name: {"deployments": [{"model": "demo/echo", "price": PRICE}]} for name in ("fast", "slow")},
        }
        self.process: GatewayProcess = start_gateway(directory, config=self.config)
        self.url = self.process.wait_until_ready()
        found = re.search(r"The admin API is at (http://\S+)/admin", self.process.errors)
        assert found
        self.admin_url = found[1]

    def admin(self, path: str, *, method: str = "GET", status: int = 200, **fields: Any) -> Any:
        answer = httpx2.request(
            method,
            f"{self.admin_url}/admin/{path}",
            headers={"authorization": f"Bearer {ADMIN_KEY}"},
            json=fields or None,
            timeout=20,
        )
        assert answer.status_code == status, answer.text
        return answer.json()

    def made(self, path: str, **fields: Any) -> dict[str, Any]:
        return self.admin(path, method="POST", **fields)

    def chat(self, key: str | None, model: str = "fast", text: str = "one two three", **fields: Any) -> int:
        """Makes a request and returns its nano-dollars, by what the answer says of its tokens."""
        body = {"model": model, "messages": [{"role": "user", "content": text}], **fields}
        deadline = time.monotonic() + 20
        while True:
            answer = httpx2.post(f"{self.url}/v1/chat/completions", json=body, headers=bearer(key), timeout=20)
            # What a new key has spent is known to limits a moment later.
            if answer.status_code != 503 or time.monotonic() > deadline:
                break
            time.sleep(0.1)
        assert answer.status_code == 200, answer.text
        if fields.get("stream"):
            return 0
        usage = answer.json()["usage"]
        return usage["prompt_tokens"] * 2_000 + usage["completion_tokens"] * 10_000

    def own(self, key: str | None, path: str = "usage", status: int = 200) -> Any:
        answer = httpx2.get(f"{self.url}/v1/{path}", headers=bearer(key), timeout=20)
        assert answer.status_code == status, answer.text
        return answer.json()

    def stop(self) -> None:
        assert self.process.stop() == 0, self.process.errors


def bearer(key: str | None) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"} if key else {}


def said(answer: Any) -> str:
    """Returns all of an answer as text, to look for what must not be in it."""
    return json.dumps(answer)
