"""What `anyport top` shows of what it was told, at any moment and in any size."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from gateway.cli.top.board import MOST_REQUESTS, Board
from gateway.cli.top.picture import picture


def request(**more: Any) -> dict[str, Any]:
    return {
        "ts": "2026-11-21T14:03:07.214Z",
        "model": "fast",
        "deployment": "groq/m",
        "status": 200,
        "error": None,
        "prompt_tokens": 70,
        "completion_tokens": 30,
        "cost_usd": "0.00025",
        "total_ms": 100.0,
        **more,
    }


def deployment(name: str, **more: Any) -> dict[str, Any]:
    state = {"obstacle": "", "in_flight": 0, "cooling_seconds": 0.0, "ejected_seconds": 0.0, "reason": ""}
    return {"deployment": name, **state, **more}


def filled() -> Board:
    board = Board(began=0.0)
    for number in range(100):
        board.hear("request", request(total_ms=float(number + 1)), now=95.0 + number / 20)
    return board


def test_rates_are_those_of_the_last_ten_seconds() -> None:
    board = filled()
    requests, errors, tokens, cost = board.rates(100.0)
    assert (requests, errors, tokens) == (10.0, 0.0, 1000.0)
    assert cost == Decimal("0.0025")
    assert board.rates(200.0) == (0, 0, 0, 0)
    assert (board.requests, board.tokens, board.cost) == (100, 10_000, Decimal("0.025"))


def test_at_the_beginning_rates_are_those_of_the_time_so_far() -> None:
    board = Board(began=10.0)
    for _ in range(4):
        board.hear("request", request(), now=11.0)
    assert board.rates(12.0)[0] == 2.0


def test_latencies_are_told_by_route() -> None:
    (row,) = filled().routes(100.0)
    assert (row.name, row.requests, row.errors, row.p50_ms, row.p99_ms) == ("fast", 100, 0, 51.0, 100.0)


def test_deployments_that_need_attention_come_first_and_idle_ones_are_there() -> None:
    board = filled()
    board.deployments = [
        deployment("groq/m", in_flight=3),
        deployment("idle/m"),
        deployment("out/m", obstacle="ejected", ejected_seconds=4.0, reason="server"),
    ]
    assert [row.name for row, _ in board.by_deployment(100.0)] == ["out/m", "groq/m", "idle/m"]
    lines = picture(board, 100.0, width=120, height=None, status="")
    assert any(line.startswith("out/m") and line.endswith("ejected for 4 s (server)") for line in lines)
    assert any(line.startswith("groq/m") and line.endswith("3 in flight") for line in lines)
    assert "3 in flight" in lines[1]


def test_errors_are_kept_with_what_they_were_about() -> None:
    board = filled()
    board.hear("request", request(status=429, error="rate_limit_exceeded", cost_usd=None), now=100.0)
    lines = picture(board, 100.0, width=120, height=None, status="")
    assert "14:03:07  429  rate_limit_exceeded  fast  groq/m" in lines
    assert "1 without a price" in lines[2]


def test_keys_that_rest_are_told_with_the_reason() -> None:
    board = Board(0.0)
    ready = {"state": "ready", "seconds": 0.0, "reason": "", "is_told": False}
    rest = {"state": "resting", "seconds": 20.0, "reason": "rate_limit", "is_told": True}
    models = [{"model": "m", "rest": rest}, {"model": "n", "rest": ready}]
    board.keys = [{"provider": "groq", "deployment": "", "key": 1, "of": 2, "rest": ready, "models": models}]
    lines = picture(board, 1.0, width=120, height=None, status="")
    assert "groq 1 of 2, m  resting for 20 s (rate_limit, told by the provider)" in lines


def test_trouble_and_losses_are_told_while_they_last() -> None:
    board = Board(0.0)
    board.hear("trouble", {"what": "storage", "message": "it does not answer"}, 1.0)
    board.hear("lost", {"events": 7}, 1.0)
    lines = picture(board, 1.0, width=120, height=None, status="")
    assert "trouble with storage: it does not answer" in lines
    assert any(line.startswith("7 events were lost") for line in lines)
    board.hear("trouble_ended", {"what": "storage"}, 2.0)
    assert not any("trouble" in line for line in picture(board, 2.0, width=120, height=None, status=""))


@pytest.mark.parametrize("width", [1, 20, 40, 79, 200])
@pytest.mark.parametrize("height", [1, 3, 5, 10, 24, 100])
def test_it_fits_every_terminal(width: int, height: int) -> None:
    board = filled()
    board.deployments = [deployment(f"provider/{'long' * number}") for number in range(30)]
    for number in range(30):
        board.hear("request", request(model=f"route-{number}", status=500, error="x\x1b[2J" * 20), now=100.0)
    lines = picture(board, 100.0, width=width, height=height, status="q ends it")
    assert 0 < len(lines) <= height
    assert max(map(len, lines)) <= max(width, 20)
    assert not any("\x1b" in line for line in lines)


def test_what_it_remembers_is_bounded() -> None:
    board = Board(0.0)
    for _ in range(MOST_REQUESTS + 10):
        board.hear("request", request(status=500, error="x"), now=1.0)
    assert board.requests == MOST_REQUESTS + 10
    assert board.routes(1.0)[0].requests == MOST_REQUESTS
    assert len(board.recent_errors) == 50
