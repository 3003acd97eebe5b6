"""GET /v1/usage and /v1/usage/snapshot: what a key is told of itself, and of no other one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import msgspec
from starlette.datastructures import QueryParams

from gateway.access.admission import Owner, Span, owner_id, owners
from gateway.access.admission import span as window_span
from gateway.access.keys import Caller
from gateway.errors import CallerError, Overloaded
from gateway.http.edge import Transaction
from gateway.http.usage.questions import asked, taken_snapshot
from gateway.http.usage.sums import check_names, moment, moment_text, reliance, span, sums_of
from gateway.records import Limits, Window, dollars
from gateway.runtime import Runtime
from gateway.storage.base import Filter, Storage, UsageQuery, UsageRow

OWN_USAGE_PATH: Final = "/v1/usage"
OWN_SNAPSHOT_PATH: Final = "/v1/usage/snapshot"
_AT_ONCE: Final = 2
"""Questions of clients that storage is asked at the same time: it has keys to read and records to take, too."""
_TURN_SECONDS: Final = 5.0
_encode = msgspec.json.Encoder().encode


class UsageEndpoint:
    """Tells a key what it has used, and what is left of its budgets."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._now_ms = runtime.shared.stored.thing.picture.now_ms

    async def __call__(self, transaction: Transaction) -> None:
        """Answers; raises GatewayError."""
        transaction.outcome.operation = "usage"
        client = transaction.client_key
        if not client.id and not self._runtime.keys.is_open:
            message = "this API key has no name in server.api_keys, so that nobody knows what it alone has used"
            raise CallerError(message, status=403, type="permission_error", code="unnamed_key")
        given = QueryParams(transaction.scope["query_string"])
        if transaction.scope["path"] == OWN_SNAPSHOT_PATH:
            check_names(given, ("from",))
            start = moment(given, "from")
            async with self._turn():
                found: Any = await taken_snapshot(self._runtime, _only(client), start)
        else:
            check_names(given, ("from", "to"))
            start, end = span(given)
            async with self._turn():
                found = await self._usage(client, start, end)
        await transaction.respond(200, _encode(found), [])

    @asynccontextmanager
    async def _turn(self) -> AsyncGenerator[None]:
        """Waits until few others ask; raises Overloaded."""
        try:
            async with asyncio.timeout(_TURN_SECONDS):
                await self._turns.acquire()
        except TimeoutError:
            raise Overloaded("too many questions about usage at once; try again in a moment") from None
        try:
            yield
        finally:
            self._turns.release()

    async def _usage(self, client: Caller, since_ms: int | None, until_ms: int | None) -> dict[str, Any]:
        now_ms = self._now_ms()
        charged = owners(client.key, client.project, client.team) if client.key else ()

        async def ask(storage: Storage) -> dict[str, Any]:
            found: dict[str, Any] = {}
            if since_ms is not None or until_ms is not None:
                query = UsageQuery(where=_only(client), since_ms=since_ms, until_ms=until_ms)
                times = {"from": _text(since_ms), "to": _text(until_ms)}
                found["range"] = {**times, **_sums(await storage.usage(query))}
            found["windows"] = {
                window.value: await _window(storage, client, window_span(window, now_ms)) for window in Window
            }
            found["budgets"] = await _budgets(storage, charged, now_ms)
            return found

        told = await asked(self._runtime.books, ask)
        limits = {_word(owner): msgspec.structs.asdict(owner.limits) for owner in charged if owner.limits != Limits()}
        return {"object": "usage", "key": _described(client), **reliance(told), **told.answer, "limits": limits}


async def _window(storage: Storage, client: Caller, window: Span) -> dict[str, Any]:
    found = await storage.usage(UsageQuery(where=_only(client), since_ms=window.start_ms or None))
    return {"from": _text(window.start_ms or None), "to": _text(window.end_ms), **_sums(found)}


async def _budgets(storage: Storage, charged: Sequence[Owner], now_ms: int) -> list[dict[str, Any]]:
    """Returns what is left of each budget that the key's requests are charged to."""
    found: list[dict[str, Any]] = []
    for owner in charged:
        for budget in owner.budgets:
            window = window_span(budget.window, now_ms)
            id = owner_id(owner)
            spent = (await storage.spent([id], window.start_ms))[id]
            amounts = {"limit": budget.nano_usd, "spent": spent, "remaining": max(0, budget.nano_usd - spent)}
            money = {f"{name}_nano_usd": amount for name, amount in amounts.items()}
            money |= {f"{name}_usd": dollars(amount) for name, amount in amounts.items()}
            times = {"window": budget.window.value, "resets_at": _text(window.end_ms)}
            found.append({"of": _word(owner), "name": owner.name, **times, **money})
    return found


def _only(client: Caller) -> Filter:
    """Returns the filter that lets nobody else's records through."""
    return {"key": (client.id,)}


def _sums(found: Sequence[UsageRow]) -> dict[str, int | str]:
    return sums_of(found[0] if found else UsageRow({}))


def _described(client: Caller) -> dict[str, str | None]:
    return {
        "id": client.id or None,
        "name": client.name or None,
        "project": client.project.id if client.project else None,
        "team": client.team.id if client.team else None,
    }


def _word(owner: Owner) -> str:
    return owner_id(owner).partition(":")[0]


def _text(moment_ms: int | None) -> str | None:
    return None if moment_ms is None else moment_text(moment_ms)
