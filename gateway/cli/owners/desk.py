"""What the commands do with keys, teams and projects: through the running gateway, else in its storage."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, NoReturn
from urllib.parse import quote, urlencode

import typer

from gateway.cli.configuration import Configuration, load_configuration, located
from gateway.cli.exits import Exit

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.access.desk import Desk

_PAGE: Final = 1000


class OwnerDesk:
    """Asks the admin API, or does it directly once that has not answered."""

    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration
        self._is_direct = False

    def create(self, word: str, wishes: dict[str, Any]) -> dict[str, Any]:
        """Makes an owner."""
        return self._do("POST", f"{word}s", wishes, lambda desk: desk.create(word, wishes))

    def rotate(self, id: str, overlap_seconds: int) -> dict[str, Any]:
        """Gives out another key in the place of one."""
        body = {"overlap_seconds": overlap_seconds}
        return self._do("POST", f"keys/{quote(id, '')}/rotate", body, lambda desk: desk.rotate(id, overlap_seconds))

    def enable(self, id: str, *, is_enabled: bool) -> dict[str, Any]:
        """Has a key work or not."""
        path = f"keys/{quote(id, '')}/{'enable' if is_enabled else 'disable'}"
        return self._do("POST", path, {}, lambda desk: desk.enable(id, is_enabled=is_enabled))

    def change(self, word: str, id: str, wishes: dict[str, Any]) -> dict[str, Any]:
        """Lays fields over an owner."""
        return self._do("PATCH", f"{word}s/{quote(id, '')}", wishes, lambda desk: desk.change(word, id, wishes))

    def remove(self, word: str, id: str) -> dict[str, Any]:
        """Takes away an owner to which nothing belongs."""
        return self._do("DELETE", f"{word}s/{quote(id, '')}", None, lambda desk: desk.remove(word, id))

    def audits(self, subject: str, before: int | None, limit: int) -> dict[str, Any]:
        """Returns a page of the audit log, the newest first."""
        query = {"subject": subject, "limit": limit, **({} if before is None else {"before": before})}
        path = f"audit?{urlencode(query)}"
        return self._do("GET", path, None, lambda desk: desk.audits(subject=subject, before=before, limit=limit))

    def verify_audit(self) -> dict[str, Any]:
        """Returns whether the audit log is what was written."""
        return self._do("GET", "audit/verdict", None, lambda desk: desk.verify_audit())

    def all(self, word: str, prefix: str = "") -> list[dict[str, Any]]:
        """Returns all owners of a kind whose names begin so."""
        from gateway.storage.base import OwnersQuery

        found: list[dict[str, Any]] = []
        has_more = True
        while has_more:
            after = found[-1]["id"] if found else ""
            query = OwnersQuery(prefix=prefix, after=after, limit=_PAGE)
            path = f"{word}s?" + urlencode({"prefix": prefix, "after": after, "limit": _PAGE})
            page = self._do("GET", path, None, lambda desk, query=query: desk.list(word, query))
            found += page["data"]
            has_more = page["has_more"]
        return found

    def find(self, word: str, said: str) -> dict[str, Any]:
        """Returns the owner that is meant by an id or a name; ends the command if that is none, or several."""
        found = [each for each in self.all(word) if each["id"] == said]
        found = found or [each for each in self.all(word, said) if each["name"] == said]
        if not found:
            _end(f"there is no {word} {said!r}; see `anyport {word}s list`")
        if len(found) > 1:
            ids = ", ".join(each["id"] for each in found)
            _end(f"several {word}s are called {said!r}: {ids}; say which by its id")
        return found[0]

    def _do(self, method: str, path: str, body: Any, work: Callable[[Desk], Awaitable[dict[str, Any]]]) -> Any:
        import json

        from gateway.cli.admin_client import AdminRefusal, AdminUnavailable, ask_admin
        from gateway.errors import GatewayError
        from gateway.storage.base import StorageError

        if not self._is_direct:
            try:
                data = None if body is None else json.dumps(body).encode()
                return ask_admin(self._configuration.settings.admin, method, f"/admin/{path}", data)
            except AdminRefusal as error:
                _end(str(error))
            except AdminUnavailable as error:
                self._is_direct = True
                typer.echo(f"directly in storage, since {error}", err=True)
        try:
            with located(self._configuration.path):
                return self._directly(work)
        except GatewayError as error:
            _end(error.message)
        except StorageError as error:
            _end(str(error))

    def _directly(self, work: Callable[[Desk], Awaitable[dict[str, Any]]]) -> dict[str, Any]:
        import asyncio

        from gateway.access.desk import Desk
        from gateway.runtime import Runtime

        async def run() -> dict[str, Any]:
            runtime = Runtime(self._configuration.settings, self._configuration.environ)
            try:
                stored = runtime.shared.stored.thing
                await stored.storage.upgrade()
                desk = Desk(stored.storage, stored.picture, is_served=runtime.is_served, actor="command line")
                return await work(desk)
            finally:
                await runtime.aclose()

        return asyncio.run(run())


def open_desk(config: Path | None) -> OwnerDesk:
    """Returns the desk of a configuration."""
    return OwnerDesk(load_configuration(config))


def _end(message: str) -> NoReturn:
    print(message, file=sys.stderr)
    raise typer.Exit(Exit.FAILURE)
