"""Limits and budgets of keys, projects and teams hold in a process as its users run it, however many ask at once."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from openai import OpenAI, RateLimitError

from tests.e2e.answers import completion, error, text_chunks
from tests.e2e.conftest import scripted_config
from tests.e2e.process import GatewayProcess, start_gateway
from tests.e2e.stage import Stage
from tests.upstreams.scripted import json_response, sse_response

ADMIN_KEY = "admin-canary-0123456789"
HELLO: Any = [{"role": "user", "content": "hi"}]
COST_NANO_USD = 44_000
"""Of one answer: 7 tokens at 2 USD a million, and 3 at 10."""


class Place:
    """A gateway with an admin API and the scripted upstream behind it."""

    def __init__(self, directory: Path, stage: Stage) -> None:
        self.directory = directory
        self.stage = stage
        self.config = scripted_config(stage.url)
        price = {"input_usd_per_million": 2, "output_usd_per_million": 10}
        self.config["routes"]["fast"]["deployments"][0]["price"] = price
        self.config["admin"] = {"port": 0, "key": ADMIN_KEY}
        self.process = self._begin()

    def restart(self) -> None:
        assert self.process.stop() == 0, self.process.errors
        self.process = self._begin()

    def made(self, path: str, **fields: Any) -> dict[str, Any]:
        found = re.search(r"admin API is at (http://\S+)/admin", self.process.errors)
        assert found
        headers = {"authorization": f"Bearer {ADMIN_KEY}"}
        answer = httpx2.post(f"{found[1]}/admin/{path}", json=fields, headers=headers, timeout=20)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def key(self, **fields: Any) -> str:
        return self.made("keys", name="mine", **fields)["key"]

    def ask(self, key: str, **fields: Any) -> httpx2.Response:
        body = {"model": "fast", "messages": HELLO, "max_tokens": 3, **fields}
        return httpx2.post(f"{self.process.url}/v1/chat/completions", json=body, headers=bearer(key), timeout=20)

    def ask_all(self, keys: list[str], **fields: Any) -> list[httpx2.Response]:
        body = {"model": "fast", "messages": HELLO, "max_tokens": 3, **fields}
        url = f"{self.process.url}/v1/chat/completions"

        async def ask() -> list[httpx2.Response]:
            limits = httpx2.Limits(max_connections=len(keys))
            async with httpx2.AsyncClient(timeout=30, limits=limits) as client:
                asked = (client.post(url, json=body, headers=bearer(key)) for key in keys)
                return await asyncio.gather(*asked)

        return asyncio.run(ask())

    def _begin(self) -> GatewayProcess:
        process = start_gateway(self.directory, config=self.config)
        process.wait_until_ready()
        return process


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


@pytest.fixture
def place(scripted: Stage, tmp_path: Path) -> Iterator[Place]:
    scripted.play(json_response(completion("Hi")))
    made = Place(tmp_path, scripted)
    yield made
    assert made.process.stop() == 0
    assert "Traceback" not in made.process.errors


def code(response: httpx2.Response) -> str:
    return response.json()["error"]["code"] if response.status_code != 200 else "ok"


def test_of_two_hundred_at_once_as_many_pass_as_there_is_room_for(place: Place) -> None:
    key = place.key(limits={"requests_per_minute": 10})
    answers = place.ask_all([key] * 200)
    assert Counter(map(code, answers)) == {"ok": 10, "rate_limit_exceeded": 190}
    assert len(place.stage.requests) == 10
    refused = next(each for each in answers if each.status_code == 429)
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert "key 'mine' may have 10 requests per minute (its `requests_per_minute`)" in refused.text
    assert refused.headers["x-ratelimit-limit-requests"] == "10"
    assert refused.headers["x-ratelimit-remaining-requests"] == "0"
    left = {int(each.headers["x-ratelimit-remaining-requests"]) for each in answers if each.status_code == 200}
    assert left == set(range(10))


def test_a_budget_is_never_overspent_however_many_ask_at_once(place: Place) -> None:
    key = place.key(budgets=[{"usd": "0.00044", "window": "day"}])
    answers = place.ask_all([key] * 200)
    counts = Counter(map(code, answers))
    assert set(counts) == {"ok", "insufficient_quota"}
    assert 1 <= counts["ok"] <= 10
    while place.ask(key).status_code == 200:
        counts["ok"] += 1
    assert counts["ok"] * COST_NANO_USD <= 440_000
    assert len(place.stage.requests) == counts["ok"]
    refused = place.ask(key)
    assert refused.headers["x-should-retry"] == "false"
    assert "0.00044 USD" in refused.text


def test_what_was_spent_counts_after_another_start(place: Place) -> None:
    key = place.key(budgets=[{"usd": "0.00018", "window": "month"}])
    served = 0
    while place.ask(key).status_code == 200:
        served += 1
    assert served >= 1
    place.restart()
    assert code(place.ask(key)) == "insufficient_quota"


def test_one_that_is_refused_by_one_owner_takes_nothing_of_the_others(place: Place) -> None:
    team = place.made("teams", name="team", limits={"requests_per_minute": 3})
    first, second = (
        place.key(team_id=team["id"], limits={"requests_per_minute": 5}),
        place.key(team_id=team["id"], limits={"requests_per_minute": 5}),
    )
    answers = place.ask_all([first, second] * 10)
    refused = [each for each in answers if each.status_code == 429]
    assert len(answers) - len(refused) == 3
    assert all("team 'team'" in each.text for each in refused)
    assert len(place.stage.requests) == 3


def test_places_are_free_again_once_requests_have_ended(place: Place) -> None:
    key = place.key(limits={"max_in_flight": 2})
    for _ in range(3):
        counts = Counter(map(code, place.ask_all([key] * 20)))
        assert counts["ok"] >= 2
        assert set(counts) <= {"ok", "rate_limit_exceeded"}
    place.stage.play(error(500, "broken"))
    assert [place.ask(key).status_code for _ in range(5)] == [502] * 5
    place.stage.play(sse_response(text_chunks("a", "b")))
    assert all("[DONE]" in place.ask(key, stream=True).text for _ in range(5))


def test_tokens_are_put_right_by_what_was_used(place: Place) -> None:
    key = place.key(limits={"tokens_per_minute": 6000})
    assert place.ask(key, max_tokens=7000).status_code == 200  # output that may never come makes none too large
    answer = place.ask(key, max_tokens=1000)
    assert answer.status_code == 200
    assert int(answer.headers["x-ratelimit-remaining-tokens"]) >= 6000 - 10 - 1000 - 40
    place.ask_all([key] * 8, max_tokens=3000)
    refused = place.ask_all([key] * 8, max_tokens=5900)
    assert "rate_limit_exceeded" in map(code, refused)
    assert next(each for each in refused if each.status_code == 429).json()["error"]["type"] == "tokens"


def test_what_failed_costs_nothing_of_a_budget(place: Place) -> None:
    key = place.key(budgets=[{"usd": "0.0002", "window": "total"}])
    place.stage.play(error(400, "no"))
    assert [place.ask(key).status_code for _ in range(20)] == [400] * 20
    place.stage.play(json_response(completion("Hi")))
    assert place.ask(key).status_code == 200


def test_a_stream_says_what_is_left_and_is_charged(place: Place) -> None:
    key = place.key(limits={"requests_per_minute": 100}, budgets=[{"usd": "0.0002", "window": "total"}])
    place.stage.play(sse_response(text_chunks("a", "b")))
    answer = place.ask(key, stream=True)
    assert answer.headers["x-ratelimit-limit-requests"] == "100"
    assert answer.headers["x-ratelimit-remaining-requests"] == "99"
    served = 1
    while place.ask(key, stream=True).status_code == 200:
        served += 1
    assert served * COST_NANO_USD <= 200_000


def test_the_official_sdk_does_not_try_again_where_the_budget_is_used_up(place: Place) -> None:
    key = place.key(budgets=[{"usd": "0", "window": "total"}])
    with (
        OpenAI(base_url=f"{place.process.url}/v1", api_key=key, max_retries=3, timeout=20) as client,
        pytest.raises(RateLimitError) as caught,
    ):
        client.chat.completions.create(model="fast", messages=HELLO)
    assert caught.value.code == "insufficient_quota"
    assert place.stage.requests == []


def test_one_without_a_maximum_is_taken_to_write_what_the_setting_says(place: Place) -> None:
    key = place.key(budgets=[{"usd": "0.04", "window": "total"}])
    refused = place.ask(key, max_tokens=None)
    assert code(refused) == "insufficient_quota"
    assert "this request may cost 0.04" in refused.text
    assert place.ask(key, max_tokens=4000 - 100).status_code == 200
