"""Recorded exchanges: what the upstream is sent, what the client gets, what is noted.

`pytest tests/adapters --update-golden` writes what the adapters give now; read the difference before committing it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.adapters.recorded import GOLDEN, NAMES, Case, load_cases, play, sent


@pytest.fixture(params=load_cases(), ids=lambda case: case.name)
def case(request: pytest.FixtureRequest) -> Case:
    return request.param


def compare(path: Path, now: Any, is_updating: bool) -> None:
    if is_updating:
        path.write_text(json.dumps(now, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    assert json.loads(path.read_bytes()) == now


def test_the_upstream_is_sent_the_recorded_request(case: Case, is_updating: bool) -> None:
    compare(case.directory / "request.json", sent(case), is_updating)


def test_the_client_gets_the_recorded_answer(case: Case, is_updating: bool) -> None:
    output = play(case).output
    if is_updating:
        case.expected.write_bytes(output)
    assert case.expected.read_bytes() == output


def test_the_recorded_outcome_is_noted(case: Case, is_updating: bool) -> None:
    compare(case.directory / "outcome.json", play(case).outcome, is_updating)


def test_a_request_is_made_equal_every_time(case: Case) -> None:
    before = dict(case.call.fields)
    first = case.adapter.request(case.call, case.target)
    assert case.adapter.request(case.call, case.target) == first
    assert case.call.fields == before


def test_no_file_lies_there_for_nothing() -> None:
    known = {
        case.directory / name
        for case in load_cases()
        for name in (*NAMES, case.expected.name, f"upstream{case.suffix}")
    }
    assert {path for path in GOLDEN.rglob("*") if path.is_file()} == known


def test_there_are_enough_cases_for_every_protocol() -> None:
    counts = {path.name: sum(1 for _ in path.iterdir()) for path in GOLDEN.iterdir()}
    assert all(count >= 12 for count in counts.values()), counts
