"""What the file's routes are, in words for people: how they choose, what they may call, what is left out and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.runtime import Runtime


@dataclass(frozen=True, slots=True)
class RouteSummary:
    """One route of the file."""

    name: str
    strategy: str
    deployments: tuple[str, ...]
    """As the file names them, those that are left out included."""
    fallbacks: tuple[str, ...]
    left_out: tuple[str, ...]
    """Why deployments cannot be used, a sentence for each."""

    @property
    def share_left_out(self) -> str:
        """How many are left out of how many, "" if none."""
        return f"{len(self.left_out)} of {len(self.deployments)}" if self.left_out else ""

    def members(self) -> dict[str, object]:
        """Returns what JSON says of it below its name."""
        return {
            "strategy": self.strategy,
            "deployments": self.deployments,
            "fallbacks": self.fallbacks,
            "left_out": self.left_out,
        }


def summaries(runtime: Runtime) -> list[RouteSummary]:
    """Returns every route in the order of the file."""
    reasons = runtime.routes.reasons()
    return [
        RouteSummary(
            name,
            route.strategy,
            tuple(map(str, route.deployments)),
            tuple(each if isinstance(each, str) else each.route for each in route.fallbacks),
            tuple(each.removeprefix(f"route {name}: ") for each in reasons if each.startswith(f"route {name}: ")),
        )
        for name, route in runtime.settings.routes.items()
    ]
