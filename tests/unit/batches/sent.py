"""Batches whose lines go to batch APIs that are played from memory."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from gateway.batches.scheduler import Scheduler
from gateway.storage.base import RecordsQuery
from gateway.storage.jobs import Batch
from tests.unit.batches.works import ANSWER, Works, works
from tests.upstreams.batch_apis import AnthropicApi, BatchApi, GeminiApi, OpenAIApi
from tests.upstreams.scripted import Script

FULL_NANO_USD = 10 * 2_000 + 20 * 10_000
"""What the answer costs that is made alone."""
MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "m-2025",
    "content": [{"type": "text", "text": "hi"}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 10, "output_tokens": 20},
}
BAD = {"message": "no such thing", "type": "invalid_request_error"}
GENERATED = {
    "responseId": "g1",
    "modelVersion": "m-2025",
    "candidates": [{"content": {"role": "model", "parts": [{"text": "hi"}]}, "finishReason": "STOP", "index": 0}],
    "usageMetadata": {"promptTokenCount": 10, "candidatesTokenCount": 20, "totalTokenCount": 30},
}
APIS = {
    "openai": (OpenAIApi, ANSWER, "/v1", "bearer"),
    "anthropic": (AnthropicApi, MESSAGE, "", "x-api-key"),
    "gemini": (GeminiApi, GENERATED, "/v1beta", "header:x-goog-api-key"),
}
"""Protocol -> what plays it, what it answers, where it is, and how it wants its key."""


def api_of(protocol: str) -> BatchApi:
    """Returns one that refuses a request which says `wrong`."""
    api, answer, _, _ = APIS[protocol]

    def said(body: dict[str, Any]) -> dict[str, Any]:
        return {"type": "error", "error": BAD} if "text of wrong" in str(body) else answer

    return api(said)


@asynccontextmanager
async def house_of(
    directory: Path,
    api: BatchApi,
    credential: str = "upstream-key-0123456789",
    *,
    script: Script | None = None,
    **said: Any,
) -> AsyncIterator[Works]:
    """Gives one whose provider has a batch API; `script` stands in front of it."""
    protocol, root, auth = next((name, each[2], each[3]) for name, each in APIS.items() if isinstance(api, each[0]))
    provider: dict[str, Any] = {"protocol": protocol, "provider_batch": True, "auth": auth}
    provider["credentials"] = [credential]
    async with works(directory, script or api, root=root, provider=provider, **said) as house:
        yield house


async def there(house: Works, batch: Batch) -> Batch:
    """Returns a batch when the provider has it, and says so."""
    return await house.seen(batch, lambda each: [c.state for c in each.consignments] == ["there"])


def pass_time(house: Works, scheduler: Scheduler, milliseconds: int = 400_000) -> None:
    house.ahead_ms += milliseconds
    scheduler.wake()


async def costs(house: Works) -> list[tuple[int | None, str]]:
    assert await house.runtime.books.drain(10)
    found = await (await house.storage()).records(RecordsQuery(limit=100))
    return sorted((each.cost_nano_usd, each.price_version) for each in found)


async def scraped(house: Works, wanted: dict[str, int]) -> bool:
    """Says whether metrics tell of so many consignments in each state, and since when there are any."""
    text = house.runtime.metrics.render().decode()
    found = re.findall(r'anyport_batch_consignments\{provider="up",state="(\w+)"\} (\d+)', text)
    since = re.findall(r'anyport_batch_consignment_oldest_timestamp_seconds\{provider="up"\} (\S+)', text)
    now = time.time()
    return {state: int(count) for state, count in found} == wanted and (
        not wanted or now - 60 < float(since[0]) <= now + 1
    )
