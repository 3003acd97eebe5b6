"""Access records say whose key a request carried, whether it was served or refused; never the key itself."""

from __future__ import annotations

import json
from pathlib import Path

import httpx2

from tests.http.ledgered import FILE_KEY, Ledgered

CHAT = {"model": "fast", "messages": [{"role": "user", "content": "one two"}]}


def test_an_access_record_has_the_id_of_its_key_as_the_ledger_has_it(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    gateway = Ledgered(tmp_path, access_log=str(log), api_keys=[{"key": FILE_KEY, "name": "of-file"}])
    made = gateway.made("keys", name="laptop", limits={"requests_per_minute": 1})
    gateway.chat(made["key"])
    ids = {"": "unknown-key", "of-file": FILE_KEY, made["id"]: made["key"]}
    statuses = {
        id: httpx2.post(
            f"{gateway.url}/v1/chat/completions", headers={"authorization": f"Bearer {key}"}, json=CHAT, timeout=20
        ).status_code
        for id, key in ids.items()
    }
    assert statuses == {"": 401, "of-file": 200, made["id"]: 429}
    charged = {row["key"] for row in gateway.admin("usage?by=key")["data"]}
    gateway.stop()
    records = [json.loads(line) for line in log.read_text().splitlines()]
    seen = {(record["key"], record["status"]) for record in records if record["operation"] in ("chat", "")}
    assert seen == {(made["id"], 200), *statuses.items()}
    assert charged == {made["id"], "of-file"}
    assert not [key for key in ids.values() if key in log.read_text()]
