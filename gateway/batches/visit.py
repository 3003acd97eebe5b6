"""One look at what providers have of a batch: what it needs, and how it ends early."""

from __future__ import annotations

from msgspec import Struct

from gateway.runtime import Runtime
from gateway.storage.jobs import Batch, Jobs


class HoldLost(Exception):
    """Another one holds the batch now, or it was cancelled: whoever looks next goes on."""


class Visit(Struct, frozen=True):
    """A batch that is held, and what it is brought forward with."""

    jobs: Jobs
    runtime: Runtime
    batch: Batch
    holder: str
    is_ending: bool
    """It was cancelled, or its time is over."""


def end_of(batch: Batch) -> int:
    """Returns when a batch that is ending has begun to, in milliseconds since the epoch."""
    return batch.cancelling_at_ms or batch.expires_at_ms
