"""The admin API of virtual keys, teams and projects, and of the audit log."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from starlette.requests import ClientDisconnect

from adapters.codec import decode
from gateway.access.desk import Desk
from gateway.errors import InvalidRequest, UnsupportedMedia
from gateway.http.inbound import split
from gateway.runtime import Runtime
from gateway.storage.base import MAX_PAGE, OwnersQuery

_WORDS: Final = {"keys": "key", "projects": "project", "teams": "team"}
_QUERY: Final = {"keys": ("team_id", "project_id"), "projects": ("team_id",), "teams": ()}
Answered = Callable[[Request, object], Response]


def add_key_routes(shell: FastAPI, current: Callable[[], Runtime], answered: Answered) -> None:
    """Adds the routes to an application that nobody reaches without the operator's key."""

    def desk() -> Desk:
        runtime = current()
        stored = runtime.shared.stored.thing
        return Desk(stored.storage, stored.picture, is_served=runtime.is_served, actor="admin API")

    for path, word in _WORDS.items():
        _add_owner_routes(shell, path, word, desk, answered)
    _add_key_actions(shell, desk, answered)

    @shell.get("/admin/audit")
    async def audit(request: Request) -> Response:  # pyright: ignore[reportUnusedFunction]
        query = _query(request, ("subject", "before", "limit"))
        before = _number(query, "before", 2**62) if "before" in query else None
        limit = _limit(query)
        found = await desk().audits(subject=query.get("subject", ""), before=before, limit=limit)
        return answered(request, found)


def _add_owner_routes(shell: FastAPI, path: str, word: str, desk: Callable[[], Desk], answered: Answered) -> None:
    @shell.post(f"/admin/{path}")
    async def create(request: Request) -> Response:  # pyright: ignore[reportUnusedFunction]
        return answered(request, await desk().create(word, await _body(request)))

    @shell.get(f"/admin/{path}")
    async def listed(request: Request) -> Response:  # pyright: ignore[reportUnusedFunction]
        query = _query(request, ("prefix", "after", "limit", *_QUERY[path]))
        texts = {name: value for name, value in query.items() if name != "limit"}
        try:
            wanted = OwnersQuery(**texts, limit=_limit(query))
        except ValueError as error:
            raise InvalidRequest(str(error), code="invalid_value", param="prefix") from None
        return answered(request, await desk().list(word, wanted))

    @shell.get(f"/admin/{path}/{{id}}")
    async def show(request: Request, id: str) -> Response:  # pyright: ignore[reportUnusedFunction]
        return answered(request, await desk().show(word, id))

    @shell.patch(f"/admin/{path}/{{id}}")
    async def change(request: Request, id: str) -> Response:  # pyright: ignore[reportUnusedFunction]
        return answered(request, await desk().change(word, id, await _body(request)))


def _add_key_actions(shell: FastAPI, desk: Callable[[], Desk], answered: Answered) -> None:
    @shell.post("/admin/keys/{id}/rotate")
    async def rotate(request: Request, id: str) -> Response:  # pyright: ignore[reportUnusedFunction]
        wishes = await _body(request, ("overlap_seconds",))
        return answered(request, await desk().rotate(id, wishes.get("overlap_seconds", 0)))

    def switch(action: str, *, is_enabled: bool) -> Callable[[Request, str], Awaitable[Response]]:
        async def run(request: Request, id: str) -> Response:
            await _body(request, ())
            return answered(request, await desk().enable(id, is_enabled=is_enabled))

        return shell.post(f"/admin/keys/{{id}}/{action}")(run)

    switch("enable", is_enabled=True)
    switch("disable", is_enabled=False)


async def _body(request: Request, known: tuple[str, ...] | None = None) -> dict[str, Any]:
    """Returns the members of the body; with `known` it may be left out, and have no others."""
    try:
        body = await request.body()
    except ClientDisconnect:
        raise InvalidRequest("the body did not arrive", code="empty_body") from None
    if known is not None and not body.strip():
        return {}
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise UnsupportedMedia("the body must be JSON in UTF-8; send `content-type: application/json`")
    fields: dict[str, Any] = {name: decode(value) for name, value in split(body).items()}
    if known is not None:
        _refuse_unknown(fields, known)
    return fields


def _query(request: Request, known: tuple[str, ...]) -> dict[str, str]:
    query = dict(request.query_params)
    _refuse_unknown(query, known)
    return query


def _refuse_unknown(given: Mapping[str, Any], known: tuple[str, ...]) -> None:
    for name in given:
        if name not in known:
            message = f"unknown field {name[:64]!r}; known are {', '.join(known) or 'none'}"
            raise InvalidRequest(message, code="invalid_value", param=name[:64])


def _limit(query: Mapping[str, str]) -> int:
    limit = _number(query, "limit", MAX_PAGE) if "limit" in query else 100
    if not limit:
        raise InvalidRequest(f"limit must be a number from 1 to {MAX_PAGE}", code="invalid_value", param="limit")
    return limit


def _number(query: Mapping[str, str], name: str, most: int) -> int:
    text = query[name]
    if not (text.isascii() and text.isdigit() and len(text) < 20 and int(text) <= most):
        raise InvalidRequest(f"{name} must be a number up to {most}", code="invalid_value", param=name)
    return int(text)
