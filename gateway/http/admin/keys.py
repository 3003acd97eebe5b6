"""The admin API of virtual keys, teams and projects, and of the audit log."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from gateway.access.desk import Desk
from gateway.access.premises import refuse_uncountable
from gateway.errors import KeysUnavailable
from gateway.http.admin.door import Answering, Door
from gateway.http.admin.live import ACTOR
from gateway.http.admin.reading import Asked
from gateway.runtime import Runtime
from gateway.storage.base import OwnersQuery, Storage, StorageUnavailable

_WORDS: Final = {"keys": "key", "projects": "project", "teams": "team"}
_PAGE: Final = 100
MakeDesk = Callable[[], Awaitable[Desk]]


def add_key_paths(door: Door, current: Callable[[], Runtime]) -> None:
    """Adds the paths; `current` returns the runtime that is in use."""

    async def desk() -> Desk:
        runtime = current()
        stored = runtime.shared.stored.thing
        return Desk(
            await _opened(runtime),
            stored.picture,
            is_served=runtime.is_served,
            actor=ACTOR,
            refuse=lambda owner: refuse_uncountable(owner, current().settings.state, runtime.standing),
        )

    for path, word in _WORDS.items():
        _add_owner_paths(door, path, word, desk)
    for path in ("projects", "teams"):
        _add_removal(door, path, desk)
    _add_key_actions(door, desk)

    async def audit(asked: Asked) -> object:
        query = asked.query
        return await (await desk()).audits(
            subject=query.get("subject", ""), before=query.get("before"), limit=query.get("limit", _PAGE)
        )

    async def verify(_: Asked) -> object:
        return await (await desk()).verify_audit()

    door.add("GET", "/admin/audit", audit)
    door.add("GET", "/admin/audit/verdict", verify)


async def _opened(runtime: Runtime) -> Storage:
    """Returns storage with its tables, which the first one who wants something of it makes; raises KeysUnavailable."""
    try:
        return await runtime.shared.books.thing.storage()
    except StorageUnavailable as error:
        raise KeysUnavailable(f"storage does not answer: {error}") from None


def _add_owner_paths(door: Door, path: str, word: str, desk: MakeDesk) -> None:
    async def create(asked: Asked) -> object:
        return await (await desk()).create(word, asked.fields)

    async def listed(asked: Asked) -> object:
        return await (await desk()).list(word, OwnersQuery(**asked.query))

    async def show(asked: Asked) -> object:
        return await (await desk()).show(word, asked.id)

    async def change(asked: Asked) -> object:
        return await (await desk()).change(word, asked.id, asked.fields)

    door.add("POST", f"/admin/{path}", create)
    door.add("GET", f"/admin/{path}", listed)
    door.add("GET", f"/admin/{path}/{{id}}", show)
    door.add("PATCH", f"/admin/{path}/{{id}}", change)


def _add_removal(door: Door, path: str, desk: MakeDesk) -> None:
    async def remove(asked: Asked) -> object:
        return await (await desk()).remove(_WORDS[path], asked.id)

    door.add("DELETE", f"/admin/{path}/{{id}}", remove)


def _add_key_actions(door: Door, desk: MakeDesk) -> None:
    async def rotate(asked: Asked) -> object:
        return await (await desk()).rotate(asked.id, asked.fields.get("overlap_seconds", 0))

    def switching(*, is_enabled: bool) -> Answering:
        async def switch(asked: Asked) -> object:
            return await (await desk()).enable(asked.id, is_enabled=is_enabled)

        return switch

    door.add("POST", "/admin/keys/{id}/rotate", rotate)
    door.add("POST", "/admin/keys/{id}/enable", switching(is_enabled=True))
    door.add("POST", "/admin/keys/{id}/disable", switching(is_enabled=False))
