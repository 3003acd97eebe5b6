"""The state of a process that is alone: there is nobody to tell."""

from __future__ import annotations

from gateway.state.base import Apply, CoolDown


class MemoryState:
    """Tells nobody and hears nobody; what this replica knows, its own parts remember."""

    def publish(self, cool_down: CoolDown) -> None:
        """Does nothing."""

    def subscribe(self, apply: Apply) -> None:
        """Does nothing: there are no others."""

    async def start(self) -> None:
        """Does nothing."""

    async def aclose(self) -> None:
        """Does nothing."""

    @property
    def status(self) -> str:
        """Says that nothing is shared."""
        return "memory"
