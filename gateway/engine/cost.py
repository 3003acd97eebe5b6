"""What the tokens of one answer cost: integers of nano-dollars, rounded once, half to even."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from adapters.types import Usage
from gateway.domain import Price, Rates
from gateway.registry.facts import ModelFacts, facts_of
from gateway.registry.provider import DEMO
from gateway.routing.deployment import Deployment

_TOKENS: Final = 1_000_000
"""Prices are for a million."""


_BATCH_DIVISOR: Final = 2
"""What batch APIs charge is the usual price divided by this."""
OF_BATCHES: Final = "/batch"
"""What the version of a price ends with that was halved."""
OWN_PRICE: Final = "configuration"
"""The version of a price that the file gives."""
_SECONDS: Final = 60
_FREE: Final = Price(Rates(0, 0))

Facts = Callable[[str, str, datetime], ModelFacts]


class Prices:
    """What deployments cost; of each model that is found out once a minute, and prices change on the minute at most."""

    def __init__(self, facts: Facts = facts_of) -> None:
        self._facts = facts
        self._minute = 0
        self._known: dict[tuple[str, str], tuple[Price | None, str]] = {}

    def of(self, deployment: Deployment, at: float) -> tuple[Price | None, str]:
        """Returns a price, None if it is not known, and where it is from; `at` is in Unix seconds."""
        if deployment.is_price_own:
            return deployment.price, OWN_PRICE
        if deployment.provider == DEMO:
            return _FREE, ""
        minute = int(at // _SECONDS)
        if minute != self._minute:
            self._minute = minute
            self._known.clear()
        name = (deployment.key_ring.spec.id, deployment.target.model)
        found = self._known.get(name)
        if found is None:
            facts = self._facts(*name, datetime.fromtimestamp(minute * _SECONDS, UTC))
            found = self._known[name] = (facts.price, facts.price_version if facts.price else "")
        return found


def cost_nano_usd(usage: Usage, price: Price, *, is_batched: bool = False) -> int:
    """Returns nano-dollars; every token counts at one rate and once, whatever an upstream says of its parts.

    Cached and written tokens are part of the input, those of reasoning part of the output. What has no rate of its own
    costs what all input costs, and an hour in the cache what the usual time does. What a provider's batch API has
    answered costs half of all that, as OpenAI (https://platform.openai.com/docs/guides/batch), Anthropic
    (https://platform.claude.com/docs/en/build-with-claude/batch-processing) and Google
    (https://ai.google.dev/gemini-api/docs/batch-api) say, all read 2026-11-21.
    """
    prompt, completion = usage.billed or (usage.prompt, usage.completion)
    rates = price.rates(-(-usage.prompt // usage.calls))
    cached = min(usage.cached_prompt, prompt)
    written = min(usage.cache_write, prompt - cached)
    cached_rate = rates.input if rates.cached_input is None else rates.cached_input
    for_hour = min(usage.cache_write_1h, written)
    write_rate = rates.input if rates.cache_write is None else rates.cache_write
    hour_rate = write_rate if rates.cache_write_1h is None else rates.cache_write_1h
    total = (prompt - cached - written) * rates.input
    total += cached * cached_rate + (written - for_hour) * write_rate + for_hour * hour_rate
    total += completion * rates.output
    unit = _TOKENS * _BATCH_DIVISOR if is_batched else _TOKENS
    whole, rest = divmod(total, unit)
    return whole + (2 * rest > unit or (2 * rest == unit and whole % 2))
