"""Where the commands about usage ask: the running gateway, else its storage."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import quote, urlencode

import typer

from gateway.cli.configuration import Configuration, located
from gateway.cli.exits import Exit
from gateway.cli.owners.desk import OwnerDesk

if TYPE_CHECKING:
    from gateway.runtime import Runtime

Parameters = Sequence[tuple[str, str]]


class UsageDesk:
    """Asks the admin API, or storage itself if that does not answer; what is wrong ends the command."""

    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration
        self._owners = OwnerDesk(configuration)

    def sums(self, parameters: Parameters) -> dict[str, Any]:
        """Returns what `GET /admin/usage` answers."""
        from starlette.datastructures import QueryParams

        async def directly(runtime: Runtime) -> dict[str, Any]:
            from gateway.http.usage.questions import called_in, read_usage_query, summed
            from gateway.http.usage.sums import as_rows, reliance

            told = await summed(runtime, read_usage_query(QueryParams(list(parameters))))
            return {"data": as_rows(told.answer, called_in(runtime)), **reliance(told)}

        return self._ask("/admin/usage", parameters, directly)

    def snapshot(self, models_from: str | None = None) -> dict[str, Any]:
        """Returns what `GET /admin/usage/snapshot` answers."""
        from starlette.datastructures import QueryParams

        parameters = [("from", models_from)] if models_from else []

        async def directly(runtime: Runtime) -> dict[str, Any]:
            import msgspec

            from gateway.http.usage.questions import taken_snapshot
            from gateway.http.usage.sums import moment

            start = moment(QueryParams(parameters), "from")
            return msgspec.to_builtins(await taken_snapshot(runtime, {}, start))

        return self._ask("/admin/usage/snapshot", parameters, directly)

    def requests(self, query: Mapping[str, Any]) -> dict[str, Any]:
        """Returns what `GET /admin/requests` answers."""

        async def directly(runtime: Runtime) -> dict[str, Any]:
            from gateway.http.admin.requests import listed_requests

            return await listed_requests(runtime, query)

        return self._ask("/admin/requests", list(query.items()), directly)

    def request(self, id: str) -> dict[str, Any]:
        """Returns what `GET /admin/requests/ID` answers."""

        async def directly(runtime: Runtime) -> dict[str, Any]:
            from gateway.http.admin.requests import shown_request

            return await shown_request(runtime, id, "command line")

        return self._ask(f"/admin/requests/{quote(id)}", (), directly)

    def id_of(self, word: str, said: str) -> str:
        """Returns the id of a key, project or team that is called so, or has it; ends the command if none ever had.

        Keys of the file have their name for an id, and what was deleted is still known by what it has used.
        """
        found = [each["id"] for each in self._owners.all(word, said) if each["name"] == said]
        if len(found) > 1:
            end(f"several {word}s are called {said!r}: {', '.join(found)}; say which by its id")
        if not found:
            self.sums([(word, said)])  # refused, if it is no id either
        return found[0] if found else said

    def _ask(
        self, path: str, parameters: Parameters, directly: Callable[[Runtime], Awaitable[dict[str, Any]]]
    ) -> dict[str, Any]:
        import asyncio

        from gateway.cli.admin_client import AdminRefusal, AdminUnavailable, ask_admin
        from gateway.errors import GatewayError

        query = f"?{urlencode(parameters)}" if parameters else ""
        try:
            return ask_admin(self._configuration.settings.admin, "GET", path + query)
        except AdminRefusal as error:
            end(str(error))
        except AdminUnavailable as error:
            typer.echo(f"directly from storage, without what a gateway has not stored yet, since {error}", err=True)
        try:
            with located(self._configuration.path):
                return asyncio.run(self._directly(directly))
        except GatewayError as error:
            end(error.message)

    async def _directly(self, work: Callable[[Runtime], Awaitable[dict[str, Any]]]) -> dict[str, Any]:
        from gateway.runtime import Runtime

        runtime = Runtime(self._configuration.settings, self._configuration.environ)
        try:
            await runtime.shared.stored.thing.picture.refresh()
            return await work(runtime)
        finally:
            await runtime.aclose()


def end(message: str) -> NoReturn:
    """Ends the command with a message."""
    print(message, file=sys.stderr)
    raise typer.Exit(Exit.FAILURE)
