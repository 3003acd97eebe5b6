"""An operator ends the rest of a deployment: in this process, and in all others that serve beside it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from gateway.engine.pardon import pardon
from gateway.http.admin.states import known_deployments
from gateway.resilience.consequences import Event, Turn
from gateway.routing.deployment import Deployment
from gateway.runtime import Runtime


class Pardons:
    """Ends rests by the name of a deployment."""

    def __init__(self, current: Callable[[], Runtime]) -> None:
        """`current` returns the runtime that is in use."""
        self.elsewhere: Callable[[str], Awaitable[None]] | None = None
        """Has the other workers do the same."""
        self._current = current

    def find(self, id: str) -> list[tuple[Deployment, Sequence[str]]]:
        """Returns all deployments of this name, with the routes that they belong to."""
        return [(each, names) for each, names in known_deployments(self._current()) if each.id == id]

    def here(self, id: str) -> None:
        """Ends the rests of all deployments of this name in this process."""
        for deployment, _ in self.find(id):
            if "ejection" in pardon(deployment):
                self._current().news.hear([Event(Turn.READMITTED, deployment, "an operator says so")])

    async def everywhere(self, id: str) -> None:
        """Does so in all processes that serve."""
        self.here(id)
        if self.elsewhere is not None:
            await self.elsewhere(id)
