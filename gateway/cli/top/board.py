"""What `anyport top` knows: the requests of the last minute, sums since it began, and how things are right now."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any, Final

RATE_SECONDS: Final = 10.0
"""Rates are those of so long."""
WINDOW_SECONDS: Final = 60.0
"""Latencies and shares of errors are those of so long."""
MOST_REQUESTS: Final = 20_000
MOST_ERRORS: Final = 50
_NOTHING: Final = Decimal(0)


@dataclass(frozen=True, slots=True)
class Ended:
    """One request."""

    at: float
    route: str
    deployment: str
    is_error: bool
    tokens: int
    cost: Decimal
    total_ms: float


@dataclass(frozen=True, slots=True)
class Row:
    """The requests of one route or deployment."""

    name: str
    per_second: float
    requests: int
    errors: int
    tokens_per_second: float
    p50_ms: float
    p99_ms: float


@dataclass(frozen=True, slots=True)
class ErrorLine:
    """One request that has failed."""

    ts: str
    route: str
    deployment: str
    status: int
    code: str


@dataclass(slots=True)
class Board:
    """Is told events and looks; answers what is to be shown. Pure: the time comes from outside."""

    began: float
    requests: int = 0
    errors: int = 0
    tokens: int = 0
    cost: Decimal = _NOTHING
    unpriced: int = 0
    lost: int = 0
    deployments: Sequence[Mapping[str, Any]] = ()
    keys: Sequence[Mapping[str, Any]] = ()
    troubles: dict[str, str] = field(default_factory=dict[str, str])
    recent_errors: deque[ErrorLine] = field(default_factory=lambda: deque[ErrorLine](maxlen=MOST_ERRORS))
    _ended: deque[Ended] = field(default_factory=lambda: deque[Ended](maxlen=MOST_REQUESTS))

    def hear(self, kind: str, data: Mapping[str, Any], now: float) -> None:
        """Takes an event of the feed."""
        if kind == "request":
            self._request(data, now)
        elif kind == "lost":
            self.lost += int(data.get("events", 0))
        elif kind == "trouble":
            self.troubles[_what(data)] = str(data.get("message"))
        elif kind == "trouble_ended":
            self.troubles.pop(_what(data), None)

    @property
    def in_flight(self) -> int:
        """Attempts at work."""
        return sum(int(each.get("in_flight", 0)) for each in self.deployments)

    def rates(self, now: float) -> tuple[float, float, float, Decimal]:
        """Returns requests, failed ones, tokens and dollars per second."""
        found = self._since(now - RATE_SECONDS)
        seconds = max(1.0, min(RATE_SECONDS, now - self.began))
        cost = sum((each.cost for each in found), _NOTHING) / Decimal(round(seconds, 3))
        errors = sum(each.is_error for each in found)
        return len(found) / seconds, errors / seconds, sum(each.tokens for each in found) / seconds, cost

    def routes(self, now: float) -> list[Row]:
        """Returns the routes of the last minute, the busiest first."""
        return self._rows({}, "route", now)

    def by_deployment(self, now: float) -> list[tuple[Row, Mapping[str, Any]]]:
        """Returns deployments with how they are; those that need attention first, then the busiest."""
        states = {str(each.get("deployment")): each for each in self.deployments}
        found = [(row, states.get(row.name, {})) for row in self._rows(states, "deployment", now)]
        return sorted(found, key=lambda each: not each[1].get("obstacle"))

    def resting_keys(self) -> list[tuple[str, Mapping[str, Any]]]:
        """Returns the keys that rest, altogether or with one model, and how."""
        found: list[tuple[str, Mapping[str, Any]]] = []
        for key in self.keys:
            name = f"{key['deployment'] or key['provider']} {key['key']} of {key['of']}"
            if key["rest"]["state"] != "ready":
                found.append((name, key["rest"]))
            found += [
                (f"{name}, {each['model']}", each["rest"]) for each in key["models"] if each["rest"]["state"] != "ready"
            ]
        return found

    def _request(self, data: Mapping[str, Any], now: float) -> None:
        tokens = int(data["prompt_tokens"]) + int(data["completion_tokens"])
        cost = _dollars(data["cost_usd"])
        is_error = data["error"] is not None or int(data["status"]) >= 400
        route, deployment = str(data["model"]) or "-", str(data["deployment"])
        self.requests += 1
        self.errors += is_error
        self.tokens += tokens
        self.cost += cost or _NOTHING
        self.unpriced += cost is None
        self._ended.append(Ended(now, route, deployment, is_error, tokens, cost or _NOTHING, float(data["total_ms"])))
        if is_error:
            line = ErrorLine(str(data["ts"]), route, deployment, int(data["status"]), str(data["error"] or ""))
            self.recent_errors.appendleft(line)

    def _since(self, moment: float) -> list[Ended]:
        found: list[Ended] = []
        for each in reversed(self._ended):
            if each.at < moment:
                break
            found.append(each)
        return found

    def _rows(self, names: Iterable[str], member: str, now: float) -> list[Row]:
        groups: dict[str, list[Ended]] = {name: [] for name in names}
        for each in self._since(now - WINDOW_SECONDS):
            if name := getattr(each, member):
                groups.setdefault(name, []).append(each)
        rows = [self._row(name, ended, now) for name, ended in groups.items()]
        return sorted(rows, key=lambda row: (-row.requests, row.name))

    def _row(self, name: str, ended: Sequence[Ended], now: float) -> Row:
        recent = [each for each in ended if each.at >= now - RATE_SECONDS]
        seconds = max(1.0, min(RATE_SECONDS, now - self.began))
        times = sorted(each.total_ms for each in ended)
        return Row(
            name,
            len(recent) / seconds,
            len(ended),
            sum(each.is_error for each in ended),
            sum(each.tokens for each in recent) / seconds,
            _percentile(times, 0.5),
            _percentile(times, 0.99),
        )


def _percentile(ordered: Sequence[float], share: float) -> float:
    """Returns the value that so large a share is not above; 0 of none."""
    if not ordered:
        return 0.0
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def _what(data: Mapping[str, Any]) -> str:
    worker = data.get("worker")
    return f"{data.get('what')} (worker {worker})" if worker else str(data.get("what"))


def _dollars(text: object) -> Decimal | None:
    try:
        return None if text is None else Decimal(str(text))
    except InvalidOperation:
        return None
