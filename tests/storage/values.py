"""What the tests of storage keep in it, and how they open it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from gateway.records import AttemptRecord, UsageRecord, VirtualKey
from gateway.storage.base import DAY_MS, HOUR_MS, Storage
from gateway.storage.factory import open_storage

START_MS = 20_000 * DAY_MS
RETENTION_DAYS = 30
AGGREGATES_DAYS = 40
CONTENT_DAYS = 7
HARSH = ("' OR 1=1--", "%_\\", '"; DROP TABLE anyport_keys; --', "ключ 密钥 🔑", "$1 :id {x} %s ?", "a\nb\tc")
"""Texts that a query put together from strings would trip over."""


class Clock:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.now_ms = START_MS

    def __call__(self) -> int:
        return self.now_ms


@asynccontextmanager
async def opened(url: str, clock: Clock | None = None) -> AsyncIterator[Storage]:
    """Gives storage with its tables."""
    storage = open_storage(
        url,
        Path("unused"),
        retention_days=RETENTION_DAYS,
        content_days=CONTENT_DAYS,
        aggregates_days=AGGREGATES_DAYS,
        now_ms=clock or Clock(),
    )
    try:
        await storage.upgrade()
        yield storage
    finally:
        await storage.aclose()


def record(id: str = "r1", **members: Any) -> UsageRecord:
    """Returns a record in which everything is set."""
    known: dict[str, Any] = {
        "at_ms": START_MS + HOUR_MS,
        "operation": "chat",
        "route": "fast",
        "status": 200,
        "key_id": "k1",
        "team_id": "t1",
        "project_id": "p1",
        "deployment": "openai/gpt-4.1",
        "provider": "openai",
        "model": "gpt-4.1-2025-04-14",
        "stream": True,
        "input_tokens": 100,
        "cached_tokens": 40,
        "cache_write_tokens": 3,
        "output_tokens": 50,
        "reasoning_tokens": 20,
        "usage_source": "reported",
        "cost_nano_usd": 123_456_789,
        "price_version": "2026-11",
        "ttft_ms": 12.5,
        "total_ms": 99.25,
        "overhead_ms": 0.125,
        "attempts": (AttemptRecord("a/b", "rate_limit", 429, 3.5), AttemptRecord("openai/gpt-4.1", milliseconds=90.0)),
        "fallback": "slow",
        "hedged": "won",
    }
    return UsageRecord(id=id, **{**known, **members})


def key(id: str = "k1", **members: Any) -> VirtualKey:
    """Returns a key whose digest no other one has."""
    known: dict[str, Any] = {"name": f"Key {id}", "digest": id.encode().ljust(32, b"."), "hint": "sk-anyport-ab...yz12"}
    return VirtualKey(id=id, **{**known, **members})


async def tidied(storage: Storage, now_ms: int) -> int:
    """Tidies until nothing is left to do; returns in how many steps."""
    steps = 1
    while await storage.tidy(now_ms):
        steps += 1
    return steps
