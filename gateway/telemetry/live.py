"""What happens to keys, deployments and copies, and what of it lasts: counted by labels that the file gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from gateway.telemetry.series import Tallies


@dataclass(frozen=True, slots=True)
class Resting:
    """What rests at this moment."""

    ejected: Sequence[tuple[str, str]] = ()
    """Provider and deployment of each that has failed and not worked since."""
    keys: Sequence[str] = ()
    """The provider of each key that has to rest."""


NOTHING_RESTS = Resting()
AskResting = Callable[[], Resting]


class LiveCounts:
    """What was counted; the labels of each stand in `families`."""

    def __init__(self) -> None:
        self.deployment_attempts = Tallies()
        self.fallbacks = Tallies()
        self.hedges = Tallies()
        self.mirrored = Tallies()
        self.cool_downs = Tallies()
        self.ejections = Tallies()
        self.readmissions = Tallies()
        self.over_budget = Tallies()
        self.unpriced = Tallies()
        self.refused = Tallies()
        self.batch_lines = Tallies()
        self.batches = Tallies()
        self.batch_lines_running = 0
        self.consignments: Mapping[tuple[str, str], int] = {}
        """Provider and state -> how many."""
        self.consigned_since: Mapping[tuple[str], float] = {}
        """Provider -> Unix time of the oldest one."""
        self.hook_failures = Tallies()
