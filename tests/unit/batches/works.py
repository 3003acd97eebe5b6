"""Batches at work in this process: a real runtime, storage and scheduler, with a clock that a test sets."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

from gateway.batches.consigned import ConsignedLines
from gateway.batches.running import LineRunner
from gateway.batches.scheduler import Scheduler
from gateway.domain import Outcome
from gateway.http.api.inbound import read_call
from gateway.reload.holder import RuntimeHolder
from gateway.runtime import Runtime
from gateway.settings.model import Settings
from gateway.storage.base import DAY_MS, Storage
from gateway.storage.jobs import AT_WORK, Batch, StoredFile
from tests.upstreams.scripted import Script, ScriptedUpstream

OWNER = "of-file:tester"
CHAT = "/v1/chat/completions"
SLACK_SECONDS = 20.0
ANSWER = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "m-2025",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 30},
}
PRICE = {"input_usd_per_million": 2, "output_usd_per_million": 10}


class Works:
    """One gateway without its doors; more schedulers can be entered on the same storage, as replicas are."""

    def __init__(self, runtime: Runtime, upstream: ScriptedUpstream) -> None:
        self.runtime = runtime
        self.upstream = upstream
        self.holder: RuntimeHolder[Any] = RuntimeHolder(runtime, lambda each: None)
        self.told: list[Outcome] = []
        self.is_draining = False
        self.ahead_ms = 0
        """How far the clock is ahead of the machine's."""
        self._numbers = count(1)

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000 + self.ahead_ms

    def scheduler(self) -> Scheduler:
        parts = (read_call, lambda: f"{next(self._numbers)}", lambda outcome, _: self.told.append(outcome))
        return Scheduler(
            lambda: self.holder,
            LineRunner(*parts),
            ConsignedLines(*parts),
            lambda: self.is_draining,
            now_ms=self.now_ms,
        )

    async def storage(self) -> Storage:
        return await self.runtime.books.storage()

    async def put(self, data: bytes, owner: str = OWNER, *, id: str = "batch_1") -> Batch:
        """Keeps a file and a batch of it."""
        jobs = (await self.storage()).jobs
        file = StoredFile(f"file-{id}", owner, "in.jsonl", "batch", len(data), self.now_ms())
        await jobs.begin_file(file)
        await jobs.add_part(file.id, 0, data)
        await jobs.end_file(file)
        batch = Batch(id, owner, CHAT, file.id, "24h", self.now_ms(), self.now_ms() + DAY_MS)
        await jobs.put_batch(batch)
        return batch

    async def until(self, has_come: Callable[[], Awaitable[bool]]) -> None:
        """Waits until something is so."""
        deadline = time.monotonic() + SLACK_SECONDS
        while not await has_come():
            assert time.monotonic() < deadline
            await asyncio.sleep(0.02)

    async def seen(
        self, batch: Batch, fits: Callable[[Batch], bool] = lambda each: each.status not in AT_WORK
    ) -> Batch:
        """Returns a batch when it is as wanted."""
        deadline = time.monotonic() + SLACK_SECONDS
        while True:
            found = await (await self.storage()).jobs.batch(batch.owner, batch.id)
            assert found is not None
            if fits(found):
                return found
            assert time.monotonic() < deadline, found
            await asyncio.sleep(0.02)

    async def written(self, id: str | None) -> list[Any]:
        """Returns the lines of a file."""
        assert id
        jobs = (await self.storage()).jobs
        data = b""
        for number in count():
            part = await jobs.part(id, number)
            if part is None:
                break
            data += part
        return [json.loads(line) for line in data.splitlines()]


def line(id: str, **more: Any) -> dict[str, Any]:
    body = {"model": "r", "messages": [{"role": "user", "content": f"text of {id}"}], **more}
    return {"custom_id": id, "method": "POST", "url": CHAT, "body": body}


def lines(ids: Sequence[str]) -> bytes:
    return b"".join(json.dumps(line(id)).encode() + b"\n" for id in ids)


@asynccontextmanager
async def works(directory: Path, script: Script, root: str = "/v1", **said: Any) -> AsyncIterator[Works]:
    """Gives one whose route `r` is served by an upstream that plays `script`."""
    async with ScriptedUpstream(script) as upstream:
        provider = {
            "protocol": "openai",
            "base_url": f"{upstream.url}{root}",
            "credentials": ["upstream-key-0123456789"],
        }
        settings = {
            "server": {"access_log": "off", "api_keys": [{"key": "tester-key-0123456789", "name": "tester"}]},
            "discovery": {"enabled": False},
            "storage": {"directory": str(directory)},
            "providers": {"up": {**provider, **said.pop("provider", {})}},
            "routes": {"r": {"deployments": [{"model": "up/m", "price": PRICE}], "retry": {"attempts": 1}}},
            **said,
        }
        runtime = Runtime(Settings.model_validate(settings), {})
        await runtime.start()
        made = Works(runtime, upstream)
        try:
            yield made
        finally:
            await made.holder.aclose()
