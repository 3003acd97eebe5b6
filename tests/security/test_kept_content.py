"""Prompts and answers: nowhere, and of a key that keeps them in one table alone, without secrets, for some days."""

from __future__ import annotations

import asyncio
import base64
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gateway.records import Content
from gateway.storage.base import DAY_MS, AuditEntry, RecordsQuery, Storage
from gateway.storage.factory import open_storage
from tests.http.ledgered import ADMIN_KEY, FILE_KEY, Ledgered

CANARY = "canary-of-a-prompt-7391"
READ = AuditEntry(0, "test", "request.read", "request:any")


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Ledgered]:
    keys = {"api_keys": [{"key": FILE_KEY, "name": "ops"}]}
    one = Ledgered(tmp_path, **{**keys, "access_log": str(tmp_path / "access.log")})
    yield one
    one.process.stop()


def ask(gateway: Ledgered, key: str, text: str, **fields: Any) -> str:
    """Makes a request, and returns its answer as it came."""
    body = {"model": "fast", "messages": [{"role": "user", "content": text}], **fields}
    headers = {"authorization": f"Bearer {key}"}
    answer = httpx2.post(f"{gateway.url}/v1/chat/completions", json=body, headers=headers, timeout=20)
    assert answer.status_code == 200, answer.text
    return answer.text


def forms(text: str) -> list[bytes]:
    """Returns how a text looks in files, in base64 wherever it begins."""
    raw = text.encode()
    return [raw, *(base64.b64encode(raw[start : start + (len(raw) - start) // 3 * 3]) for start in range(3))]


def places(directory: Path, text: str) -> set[str]:
    """Returns the files that hold a text."""
    found = (path for path in directory.rglob("*") if path.is_file())
    return {path.name for path in found if any(form in path.read_bytes() for form in forms(text))}


def asked_storage(gateway: Ledgered, now_ms: int | None = None) -> list[Content | None]:
    """Returns the contents of all records in their order, as they are after tidying at a moment."""

    async def run() -> list[Content | None]:
        storage: Storage = open_storage(None, gateway.directory / "data")
        try:
            while now_ms is not None and await storage.tidy(now_ms):
                continue
            records = await storage.records(RecordsQuery())
            return [await storage.read_content(each.id, READ) for each in reversed(records)]
        finally:
            await storage.aclose()

    return asyncio.run(run())


def test_without_a_key_that_keeps_it_a_prompt_is_in_no_file_log_or_metric(gateway: Ledgered) -> None:
    plain = gateway.made("keys", name="plain")["key"]
    for key in (plain, FILE_KEY):
        for stream in (False, True):
            assert CANARY[:6] in ask(gateway, key, CANARY, stream=stream)
    metrics = httpx2.get(f"{gateway.url}/metrics", headers={"authorization": f"Bearer {FILE_KEY}"}, timeout=20).text
    assert "anyport_" in metrics
    assert CANARY not in metrics
    assert places(gateway.directory, CANARY) == set()
    gateway.process.kill()
    assert places(gateway.directory, CANARY) == set()
    assert CANARY not in gateway.process.errors
    assert set(asked_storage(gateway)) <= {None}


def test_of_a_key_that_keeps_it_it_is_in_the_database_alone_and_gone_after_its_days(gateway: Ledgered) -> None:
    key = gateway.made("keys", name="debugging", keeps_content=True)["key"]
    whole, stream = ask(gateway, key, CANARY), ask(gateway, key, CANARY, stream=True)
    gateway.stop()
    assert places(gateway.directory, CANARY) == {"anyport.db"}
    assert CANARY not in gateway.process.errors
    first, second = asked_storage(gateway)
    assert first is not None and second is not None
    assert CANARY.encode() in first.request and CANARY.encode() in second.request
    assert (first.answer, second.answer) == (whole.encode(), stream.encode())
    assert (first.answer_bytes, second.answer_bytes) == (len(whole), len(stream))
    files = [path for path in (gateway.directory / "data").rglob("*") if path.is_file()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert asked_storage(gateway, time.time_ns() // 1_000_000 + 7 * DAY_MS + 1) == [None, None]
    assert places(gateway.directory, CANARY) == set()


def test_what_it_no_longer_keeps_is_not_kept_from_then_on(gateway: Ledgered) -> None:
    made = gateway.made("keys", name="debugging", keeps_content=True)
    ask(gateway, made["key"], "before")
    assert gateway.admin(f"keys/{made['id']}", method="PATCH", keeps_content=False)["keeps_content"] is False
    ask(gateway, made["key"], CANARY)
    gateway.stop()
    assert places(gateway.directory, CANARY) == set()
    before, after = asked_storage(gateway)
    assert before is not None and b"before" in before.request
    assert after is None


def test_no_secret_of_ours_is_kept_with_it_also_where_a_stream_spells_it_word_by_word(gateway: Ledgered) -> None:
    key = gateway.made("keys", name="debugging", keeps_content=True)["key"]
    for secret in (ADMIN_KEY, FILE_KEY, key):
        for stream in (False, True):
            ask(gateway, key, f"my key is {secret}, and it is secret", stream=stream)
    gateway.stop()
    contents = asked_storage(gateway)
    assert len(contents) == 6
    for each in contents:
        assert each is not None and b"my key is ***" in each.request
    for secret in (ADMIN_KEY, FILE_KEY, key):
        data = gateway.directory / "data"
        assert places(data, secret) == set()


def test_what_is_too_long_is_cut_and_said_how_long_it_was(gateway: Ledgered) -> None:
    key = gateway.made("keys", name="debugging", keeps_content=True)["key"]
    answer = ask(gateway, key, "\u00e9" * 100_000)
    gateway.stop()
    (content,) = asked_storage(gateway)
    assert content is not None
    assert 65_530 <= len(content.request) <= 65_536
    assert content.request_bytes > 100_000
    assert content.answer_bytes == len(answer.encode())
