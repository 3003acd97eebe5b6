"""The picture of `anyport top`: lines that fit a terminal of any size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from gateway.cli.top.board import Board, Row
from gateway.telemetry.access_log import clean

_LEAST_WIDTH: Final = 20
_NUMBERS: Final = ("REQ/S", "REQUESTS", "ERRORS", "TOK/S", "P50 MS", "P99 MS")
_WIDTH: Final = 9
"""Of a number's column."""
_MOST_ROWS: Final = 1_000


def picture(board: Board, now: float, *, width: int, height: int | None, status: str) -> list[str]:
    """Returns lines of at most `width` characters, and at most `height` of them; None for as many as there are."""
    width = max(width, _LEAST_WIDTH)
    head = _head(board, now, status)
    room = _MOST_ROWS if height is None else max(0, height - len(head))
    parts = [
        _table("ROUTE", [(row, "") for row in board.routes(now)], width),
        _table("DEPLOYMENT", [(row, _state(each)) for row, each in board.by_deployment(now)], width),
        _part("RESTING KEYS", [f"{name}  {_rest(rest)}" for name, rest in board.resting_keys()]),
        _part("LAST ERRORS", [_error(board, index) for index in range(len(board.recent_errors))]),
    ]
    lines = head + _fitted([part for part in parts if len(part) > 1], room)
    return [_cut(clean(line, limit=10_000), width) for line in lines][: height or None]


def _head(board: Board, now: float, status: str) -> list[str]:
    requests, errors, tokens, cost = board.rates(now)
    lines = [
        f"anyport top  {status}",
        f"{requests:.1f} requests/s  {errors:.1f} errors/s  {tokens:.0f} tokens/s  ${cost:.6f}/s  "
        f"{board.in_flight} in flight",
        f"since {_span(now - board.began)}: {board.requests} requests  {board.errors} errors  {board.tokens} tokens  "
        f"${board.cost:.6f}{f' and {board.unpriced} without a price' if board.unpriced else ''}",
    ]
    if board.lost:
        lines.append(f"{board.lost} events were lost: the gateway tells more than can be read here")
    return lines + [f"trouble with {what}: {text}" for what, text in sorted(board.troubles.items())]


def _table(title: str, rows: Sequence[tuple[Row, str]], width: int) -> list[str]:
    numbers = _WIDTH * len(_NUMBERS)
    longest = max((len(row.name) for row, _ in rows), default=0)
    name = max(len(title), min(longest, width - numbers - 1))
    columns = "".join(f"{each:>{_WIDTH}}" for each in _NUMBERS)
    lines = [f"{title:<{name}}{columns}"]
    for row, state in rows:
        values = (
            f"{row.per_second:.1f}",
            str(row.requests),
            str(row.errors),
            f"{row.tokens_per_second:.0f}",
            f"{row.p50_ms:.0f}" if row.requests else "-",
            f"{row.p99_ms:.0f}" if row.requests else "-",
        )
        line = f"{_cut(row.name, name):<{name}}" + "".join(f"{value:>{_WIDTH}}" for value in values)
        lines.append(f"{line}  {state}".rstrip())
    return lines


def _part(title: str, lines: list[str]) -> list[str]:
    return [title, *lines]


def _fitted(parts: list[list[str]], room: int) -> list[str]:
    """Returns all parts with a blank line before each, cut so that each has its share of the room."""
    found: list[str] = []
    for number, part in enumerate(parts):
        share = (room - len(found)) // (len(parts) - number) - 1
        if share < 2:
            continue  # a title alone says nothing
        found += ["", *part[:share]]
    return found


def _state(each: Mapping[str, Any]) -> str:
    busy = f"{each['in_flight']} in flight" if each.get("in_flight") else ""
    obstacle = str(each.get("obstacle") or "")
    if obstacle:
        seconds = max(float(each.get("cooling_seconds") or 0), float(each.get("ejected_seconds") or 0))
        obstacle += f" for {seconds:.0f} s" if seconds else ""
        obstacle += f" ({each['reason']})" if each.get("reason") else ""
    return ", ".join(filter(None, (busy, obstacle)))


def _rest(rest: Mapping[str, Any]) -> str:
    by = "told by the provider" if rest["is_told"] else "our judgement"
    return f"{rest['state']} for {rest['seconds']:.0f} s ({', '.join(filter(None, (rest['reason'], by)))})"


def _error(board: Board, index: int) -> str:
    each = board.recent_errors[index]
    return f"{each.ts[11:19]}  {each.status}  {each.code}  {each.route}  {each.deployment}".rstrip()


def _span(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"
