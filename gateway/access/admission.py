"""What limits and budgets a request has to pass, and what its client hears of them.

Pure: the time is told, and what was spent is asked of whoever calls.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

from msgspec import Struct

from adapters.types import Headers
from gateway.errors import BudgetExceeded, GatewayError, LimitsUnavailable, RateLimited
from gateway.records import Budget, Limits, Project, Team, VirtualKey, Window
from gateway.state.admission import MAX_IN_FLIGHT, MAX_NANO_USD, MAX_RATE, Admission, Check, Figure, Kind, figure_of

_TOKENS: Final = 1_000_000
"""Prices are for a million."""
_NANO: Final = 10**9
_HOUR_MS: Final = 3_600_000
_REMEMBERED_CHECKS: Final = 4096
_REMEMBERED: Final = 16
"""Windows of this hour, and of those that tests and clocks jump to."""


class Span(Struct, frozen=True):
    """One window of a budget, in time."""

    name: str
    """Such as `2026-11-21`, `2026-W47`, `2026-11` or `total`."""
    start_ms: int
    end_ms: int | None


class Estimate(Struct, frozen=True):
    """What a request takes at worst, as far as that is known before it."""

    input_tokens: int
    max_output_tokens: int = 0
    cost_nano_usd: int | None = None
    """None if the price is not known: then a budget that is used up refuses, and no other."""


Owner = VirtualKey | Project | Team
Spent = Callable[[str, Span], int]
"""An owner such as `key:ID` and a span -> what the ledger knows."""
Reserved = Callable[[str], int]
"""An owner -> the most that its lines at batch APIs of providers may cost yet."""


def worst_cost(input_tokens: int, max_output_tokens: int, input_rate: int, output_rate: int) -> int:
    """Returns nano-dollars, rounded up; rates are for a million tokens, the highest that may come to count."""
    return -(-(input_tokens * input_rate + max_output_tokens * output_rate) // _TOKENS)


def span(window: Window, now_ms: int) -> Span:
    """Returns the window that a moment is in; they begin at midnight UTC, weeks on Monday."""
    return _span_of(window, now_ms // _HOUR_MS * _HOUR_MS)


@lru_cache(_REMEMBERED)
def _span_of(window: Window, now_ms: int) -> Span:
    day = datetime.fromtimestamp(now_ms // 1000, UTC).replace(hour=0, minute=0, second=0)
    if window is Window.TOTAL:
        return Span("total", 0, None)
    if window is Window.DAY:
        return _span(f"{day:%Y-%m-%d}", day, day + timedelta(days=1))
    if window is Window.WEEK:
        year, week, weekday = day.isocalendar()
        start = day - timedelta(days=weekday - 1)
        return _span(f"{year}-W{week:02}", start, start + timedelta(days=7))
    start = day.replace(day=1)
    return _span(f"{start:%Y-%m}", start, (start + timedelta(days=31)).replace(day=1))


def is_countable(limits: Limits, budgets: Sequence[Budget]) -> bool:
    """Returns whether all of it can be counted exactly; what is not is to be refused where it is set."""
    rates = (limits.requests_per_minute, limits.tokens_per_minute)
    return (
        all(0 <= (rate or 0) <= MAX_RATE for rate in rates)
        and 0 <= (limits.max_in_flight or 0) <= MAX_IN_FLIGHT
        and all(0 <= budget.nano_usd <= MAX_NANO_USD for budget in budgets)
    )


def owners(key: VirtualKey, project: Project | None, team: Team | None) -> tuple[Owner, ...]:
    """Returns whom a request is charged to."""
    return tuple(each for each in (key, project, team) if each is not None)


def owner_id(owner: Owner) -> str:
    """Returns the name of an owner in state and ledger."""
    if isinstance(owner, VirtualKey):
        return f"key:{owner.id}"
    return f"{'project' if isinstance(owner, Project) else 'team'}:{owner.id}"


def checks(charged: Sequence[Owner], estimate: Estimate, now_ms: int, spent: Spent, reserved: Reserved) -> list[Check]:
    """Returns what has to hold for a request; nothing if none of the owners has a limit."""
    return [check for owner in charged for check in _checks(owner, estimate, now_ms, spent, reserved)]


def rate_headers(admission: Admission) -> Headers:
    """Returns OpenAI's `x-ratelimit-...` headers: of several limits of a kind, the one that is nearest."""
    found: list[tuple[str, str]] = []
    for kind in (Kind.REQUESTS, Kind.TOKENS):
        pairs = zip(admission.checks, admission.levels, strict=True)
        figures = [figure_of(check, level) for check, level in pairs if check.kind is kind]
        if figures:
            nearest = figures[0] if len(figures) == 1 else min(figures, key=_nearness)
            found.append((f"x-ratelimit-limit-{kind}", str(nearest.check.limit)))
            found.append((f"x-ratelimit-remaining-{kind}", str(nearest.remaining)))
            found.append((f"x-ratelimit-reset-{kind}", duration(nearest.reset_seconds or 0.0)))
    return tuple(found)


def refusal(admission: Admission) -> GatewayError:
    """Returns the error of a request that is not admitted; it names the limit and whose it is."""
    check = admission.refused
    if check is None:
        raise ValueError("this request is admitted")
    headers = rate_headers(admission)
    if admission.is_unavailable:
        return LimitsUnavailable(
            f"{_WORDS[check.kind]} of {_label(check)} cannot be counted now; try again in a moment", headers=headers
        )
    wait = admission.wait_seconds
    if check.kind is Kind.BUDGET and not admission.is_passing:
        return BudgetExceeded(_budget_message(check, admission), headers=headers)
    if wait is not None:
        ms = max(1, _milliseconds(wait))
        headers = (*headers, ("retry-after", str(-(-ms // 1000))), ("retry-after-ms", str(ms)))
    if check.kind is Kind.BUDGET:
        return BudgetExceeded(_budget_message(check, admission), headers=headers, should_retry=True)
    type = "tokens" if check.kind is Kind.TOKENS else "requests"
    return RateLimited(_rate_message(check, admission), type=type, headers=headers, should_retry=wait is not None)


def duration(seconds: float) -> str:
    """Returns a time as OpenAI writes it: `120ms`, `1.5s`, `6m0s`, `1h0m0s`."""
    ms = _milliseconds(seconds)
    if ms < 1000:
        return f"{ms}ms" if ms else "0s"
    minutes, ms = divmod(ms, 60_000)
    hours, minutes = divmod(minutes, 60)
    text = f"{ms / 1000:.3f}".rstrip("0").rstrip(".") + "s"
    if hours:
        return f"{hours}h{minutes}m{text}"
    return f"{minutes}m{text}" if minutes else text


_WORDS: Final = {
    Kind.REQUESTS: "requests per minute",
    Kind.TOKENS: "tokens per minute",
    Kind.IN_FLIGHT: "requests at the same time",
    Kind.BUDGET: "the budget",
}
_SETTINGS: Final = {
    Kind.REQUESTS: "requests_per_minute",
    Kind.TOKENS: "tokens_per_minute",
    Kind.IN_FLIGHT: "max_in_flight",
}


def _span(name: str, start: datetime, end: datetime) -> Span:
    return Span(name, int(start.timestamp()) * 1000, int(end.timestamp()) * 1000)


def _checks(owner: Owner, estimate: Estimate, now_ms: int, spent: Spent, reserved: Reserved) -> Iterator[Check]:
    id, limits = owner_id(owner), owner.limits
    label = f"{id.partition(':')[0]} '{owner.name}'"
    if limits.requests_per_minute is not None:
        yield _fixed(Kind.REQUESTS, id, limits.requests_per_minute, label)
    if limits.tokens_per_minute is not None:
        yield Check(Kind.TOKENS, id, limits.tokens_per_minute, _tokens(estimate, limits.tokens_per_minute), label=label)
    if limits.max_in_flight is not None:
        yield _fixed(Kind.IN_FLIGHT, id, limits.max_in_flight, label)
    if estimate.cost_nano_usd == 0:
        return  # what costs nothing needs no money
    amount = 1 if estimate.cost_nano_usd is None else estimate.cost_nano_usd
    budgets = _smallest(owner.budgets)
    taken = min(MAX_NANO_USD, reserved(id)) if budgets else 0  # of every window: nobody knows in which it will be spent
    for window, limit in budgets.items():
        now = span(window, now_ms)
        left = None if now.end_ms is None else (now.end_ms - now_ms) / 1000
        known = min(MAX_NANO_USD, max(0, spent(id, now)))
        yield Check(Kind.BUDGET, id, limit, amount, now.name, known, left, taken, label)


@lru_cache(_REMEMBERED_CHECKS)
def _fixed(kind: Kind, owner: str, limit: int, label: str) -> Check:
    """Returns the check that is the same for every request of an owner."""
    return Check(kind, owner, limit, label=label)


def _tokens(estimate: Estimate, limit: int) -> int:
    """Returns what to take: output that may never come does not make a request too large for a limit."""
    whole = estimate.input_tokens + estimate.max_output_tokens
    return max(estimate.input_tokens, min(whole, limit))


def _smallest(budgets: Sequence[Budget]) -> dict[Window, int]:
    """Returns one budget for each window: of two, the smaller one decides anyway."""
    found: dict[Window, int] = {}
    for budget in budgets:
        found[budget.window] = min(budget.nano_usd, found.get(budget.window, budget.nano_usd))
    return found


def _nearness(figure: Figure) -> tuple[int, float]:
    return figure.remaining, -(figure.reset_seconds or 0.0)


def _milliseconds(seconds: float) -> int:
    return max(0, round(seconds * 1000))


def _label(check: Check) -> str:
    return check.label or check.owner


def _rate_message(check: Check, admission: Admission) -> str:
    limit = (
        f"{_label(check)} may have {check.whole or check.limit} {_WORDS[check.kind]} (its `{_SETTINGS[check.kind]}`)"
    )
    if check.whole:
        limit += f", and this replica {check.limit} of them while it cannot ask the others"
    if admission.wait_seconds is None:
        never = f"{limit}, and this request needs {check.amount} at once: it can never go"
        return f"{never}; send less, or ask for a higher limit"
    if check.kind is Kind.IN_FLIGHT:
        return f"{limit}, and all of them are under way; wait for one to end"
    said = f"{limit}: {admission.remaining} are left, this request needs {check.amount}"
    or_less = ", or set a smaller `max_tokens`" if check.kind is Kind.TOKENS else ""
    return f"{said}; try again in {duration(admission.wait_seconds)}{or_less}"


def _budget_message(check: Check, admission: Admission) -> str:
    said = f"the budget of {_label(check)}, {_dollars(check.whole or check.limit)} USD for {check.window}"
    if check.whole:
        said += ", of which this replica may give its share only while it cannot ask the others"
    left, cost = _dollars(admission.remaining), _dollars(check.amount)
    if admission.is_passing and check.whole:
        return f"{said}, {left} USD of that are free, and this request may cost {cost} USD; wait"
    if admission.is_passing:
        return f"{said}, is held by requests under way, {left} USD are free, and this one may cost {cost} USD; wait"
    if admission.remaining == 0:
        said += ", is used up"
    else:
        said += f", has {left} USD left, and this request may cost {cost} USD; set a smaller `max_tokens`"
    if check.seconds_left is None:
        return f"{said}; ask whoever runs this gateway to raise it"
    return f"{said}; the next one begins in {duration(float(int(check.seconds_left)))}"


def _dollars(nano_usd: int) -> str:
    whole, rest = divmod(nano_usd, _NANO)
    decimals = f"{rest:09}".rstrip("0")
    return f"{whole}.{decimals:0<2}"
