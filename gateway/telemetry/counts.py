"""What is counted for one label set: plain attributes, bumped by the event loop, summed at scrape time."""

from __future__ import annotations

from typing import Final

from adapters.types import Usage
from gateway.domain import Attempt, Outcome
from gateway.telemetry.series import (
    DURATION_BUCKETS,
    FIRST_TOKEN_BUCKETS,
    OUTPUT_TOKEN_BUCKETS,
    OVERHEAD_BUCKETS,
    TOKEN_BUCKETS,
    Histogram,
)

RequestLabels = tuple[str, str, str, bool, str, str]
"""Route, provider, operation, stream, status class, error code (empty for none)."""
AttemptLabels = tuple[str, str, str, str]
"""Route, provider, operation, failure kind (`ok` for none)."""
OK: Final = "ok"
FEWEST_SECONDS: Final = 0.001
"""What is shorter between two attempts is our own work and no pause."""


def milliseconds(seconds: float) -> float:
    """Returns a span in milliseconds to the microsecond, 0.0 for what clocks made negative."""
    # Four times cheaper than round(seconds * 1000, 3).
    return int(seconds * 1_000_000 + 0.5) / 1000 if seconds > 0 else 0.0


def overhead_seconds(outcome: Outcome) -> float:
    """Returns the time that was not spent waiting for an upstream; of a stream, up to its first byte.

    After that a stream's time is the upstream's and the client's pace, which nobody can tell from ours.
    """
    end = outcome.ended
    if outcome.stream and outcome.first_byte is not None:
        end = outcome.first_byte
    return end - outcome.started - outcome.upstream_seconds


class RequestCounts:
    """Everything about the finished requests of one `RequestLabels`."""

    __slots__ = (
        "cache_read",
        "cache_write",
        "chunk",
        "cost_nano_usd",
        "disconnects",
        "duration",
        "estimated_input",
        "estimated_output",
        "first_token",
        "input_tokens",
        "output_token",
        "output_tokens",
        "overhead",
        "reasoning",
        "requests",
    )

    def __init__(self) -> None:
        self.requests = 0
        self.disconnects = 0
        self.cache_read = 0
        self.cache_write = 0
        self.reasoning = 0
        self.estimated_input = 0
        self.estimated_output = 0
        self.cost_nano_usd = 0
        self.duration = Histogram(DURATION_BUCKETS)
        self.overhead = Histogram(OVERHEAD_BUCKETS)
        self.first_token = Histogram(FIRST_TOKEN_BUCKETS)
        self.output_token = Histogram(OUTPUT_TOKEN_BUCKETS)
        self.chunk = Histogram(DURATION_BUCKETS)
        self.input_tokens = Histogram(TOKEN_BUCKETS)
        self.output_tokens = Histogram(TOKEN_BUCKETS)

    def count(self, outcome: Outcome) -> None:
        """Counts one settled request."""
        self.requests += 1
        total = outcome.ended - outcome.started
        self.duration.observe(total)
        self.overhead.observe(overhead_seconds(outcome))
        if outcome.is_cancelled:
            self.disconnects += 1
        usage = outcome.usage
        if usage is not None:
            self._count_tokens(usage)
            self.cost_nano_usd += outcome.cost_nano_usd or 0
        if outcome.stream and outcome.first_byte is not None:
            self.first_token.observe(outcome.first_byte - outcome.started)
            writing = outcome.ended - outcome.first_byte
            if usage is not None and usage.completion > 1:
                self.output_token.observe(writing / (usage.completion - 1))
            if outcome.chunks > 1:
                self.chunk.observe(writing / (outcome.chunks - 1))

    def _count_tokens(self, usage: Usage) -> None:
        self.input_tokens.observe(usage.prompt)
        if usage.completion:
            self.output_tokens.observe(usage.completion)
        self.cache_read += usage.cached_prompt
        self.cache_write += usage.cache_write
        self.reasoning += usage.reasoning
        if usage.estimated:
            self.estimated_input += usage.prompt
            self.estimated_output += usage.completion


class AttemptCounts:
    """Everything about the upstream attempts of one `AttemptLabels`."""

    __slots__ = ("attempts", "duration", "first_chunk", "pause", "retried")

    def __init__(self) -> None:
        self.attempts = 0
        self.retried = 0
        """Attempts whose failure another one was made for."""
        self.duration = Histogram(DURATION_BUCKETS)
        self.first_chunk = Histogram(DURATION_BUCKETS)
        self.pause = Histogram(DURATION_BUCKETS)

    def count(self, attempt: Attempt, outcome: Outcome, *, has_won: bool) -> None:
        """Counts one attempt of a request, of which one at most has won; one that never ended has no duration."""
        self.attempts += 1
        ended = attempt.ended
        if has_won and outcome.stream and outcome.first_byte is not None:
            # The attempt is settled at its first content; the upstream goes on until the stream ends.
            ended = outcome.ended
        if ended is not None:
            self.duration.observe(ended - attempt.started)
        if outcome.stream and attempt.first_byte is not None:
            self.first_chunk.observe(attempt.first_byte - attempt.started)

    def retry(self, seconds: float) -> None:
        """Counts that a failure has led to another attempt, so many seconds later."""
        self.retried += 1
        if seconds >= FEWEST_SECONDS:
            self.pause.observe(seconds)


class DiscoveryCounts:
    """What discovery saw of one provider."""

    __slots__ = ("failed", "last_success", "models", "seconds", "succeeded")

    def __init__(self) -> None:
        self.succeeded = 0
        self.failed = 0
        self.models = 0
        self.seconds = 0.0
        self.last_success = 0.0
