"""The admin API of single requests: what became of each, and what it asked and was answered if its key keeps that."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from gateway.errors import UnknownUrl
from gateway.http.admin.door import Door
from gateway.http.admin.live import ACTOR
from gateway.http.admin.reading import Asked
from gateway.http.usage.questions import asked as asked_storage
from gateway.http.usage.sums import milliseconds_of, moment_text, reliance, wrong
from gateway.records import Content, UsageRecord, dollars
from gateway.runtime import Runtime
from gateway.storage.base import AuditEntry, Filter, RecordsQuery, Storage, wall_ms

_PAGE: Final = 100
_SHOWN: Final = 64


def add_request_paths(door: Door, current: Callable[[], Runtime]) -> None:
    """Adds the paths; `current` returns the runtime that is in use."""

    async def listed(asked: Asked) -> object:
        return await listed_requests(current(), asked.query)

    async def shown(asked: Asked) -> object:
        return await shown_request(current(), asked.id, ACTOR)

    door.add("GET", "/admin/requests", listed)
    door.add("GET", "/admin/requests/{id:path}", shown)


async def listed_requests(runtime: Runtime, query: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a page of requests, the newest first; raises InvalidRequest naming what is wrong."""
    key, limit = query.get("key"), query.get("limit", _PAGE)
    where: Filter = {"key": (key,)} if key else {}
    since_ms, until_ms = _moment(query, "from"), _moment(query, "to")
    only_errors = query.get("errors") == "true"
    after = query.get("after", "")

    async def read(storage: Storage) -> list[UsageRecord]:
        older_than = await _place(storage, after) if after else None
        return await storage.records(
            RecordsQuery(
                where=where,
                since_ms=since_ms,
                until_ms=until_ms,
                only_errors=only_errors,
                older_than=older_than,
                limit=limit,
            )
        )

    told = await asked_storage(runtime.books, read)
    data = [_members(each) for each in told.answer]
    return {"data": data, "has_more": len(data) == limit, **reliance(told)}


async def shown_request(runtime: Runtime, id: str, actor: str) -> dict[str, Any]:
    """Returns one request, with its content if there is any; the audit log then says that `actor` has read it."""
    entry = AuditEntry(wall_ms(), actor, "request.read", f"request:{id}")

    async def read(storage: Storage) -> tuple[UsageRecord, Content | None]:
        found = await storage.records(RecordsQuery(id=id, limit=1))
        if not found:
            raise UnknownUrl(f"there is no request {id[:_SHOWN]!r}; see GET /admin/requests")
        return found[0], await storage.read_content(id, entry)

    record, content = (await asked_storage(runtime.books, read)).answer
    return {**_members(record), "content": None if content is None else _texts(content)}


async def _place(storage: Storage, id: str) -> tuple[int, str]:
    found = await storage.records(RecordsQuery(id=id, limit=1))
    if not found:
        raise wrong("after", f"after: there is no request {id[:_SHOWN]!r}, or not any more; begin without it")
    return found[0].at_ms, id


def _members(record: UsageRecord) -> dict[str, Any]:
    cost = record.cost_nano_usd
    members = msgspec.to_builtins(record.without_content())
    return {**members, "at": moment_text(record.at_ms), "cost_usd": None if cost is None else dollars(cost)}


def _texts(content: Content) -> dict[str, Any]:
    return {
        "request": content.request.decode("utf-8", "replace"),
        "request_bytes": content.request_bytes,
        "answer": content.answer.decode("utf-8", "replace"),
        "answer_bytes": content.answer_bytes,
    }


def _moment(query: Mapping[str, Any], name: str) -> int | None:
    text = query.get(name)
    if text is None:
        return None
    found = milliseconds_of(text)
    if found < 0:
        example = "a date or a time such as 2026-11-21 or 2026-11-21T14:03:07Z"
        raise wrong(name, f"{name} must be {example}, not {text[:_SHOWN]!r}")
    return found
