"""What a gateway process tells of attempts, fallbacks, hedges, copies, ejections and keys that rest."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.answers import completion, error, text_chunks
from tests.e2e.process import GatewayProcess, start_gateway
from tests.e2e.stage import Role, Stage
from tests.state.server import RedisServer, executable
from tests.upstreams.scripted import FIN, STALL, Answer, Recorded, json_response, raw, sse_response

HELLO: Any = [{"role": "user", "content": "a private question"}]
KEYS = ["sk-canary-first-0001", "sk-canary-first-0002"]
SLACK_SECONDS = 10.0
Start = Callable[..., "Process"]


class Process:
    """A gateway with the providers `first` and `second` at the stage."""

    def __init__(self, directory: Path, config: Mapping[str, Any]) -> None:
        self.directory = directory
        directory.mkdir()
        self.gateway: GatewayProcess = start_gateway(directory, config=config)
        self.gateway.wait_until_ready()
        self._client = httpx2.Client(base_url=self.gateway.url, timeout=20)

    def ask(self, model: str, *, timeout: float = 20, **more: Any) -> httpx2.Response:
        body = {"model": model, "messages": HELLO, **more}
        return self._client.post("/v1/chat/completions", json=body, timeout=timeout)

    def metric(self, name: str, **labels: str) -> float:
        """Returns the sum of a metric over the label sets that have these labels."""
        return sum(
            sample.value
            for family in text_string_to_metric_families(self._client.get("/metrics").text)
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.directory / "stdout.log").read_text().splitlines()]

    def stop(self) -> None:
        self._client.close()
        assert self.gateway.stop() == 0, self.gateway.errors
        said = self.gateway.errors + (self.directory / "stdout.log").read_text()
        assert not any(secret in said for secret in (*KEYS, "Traceback", "a private question"))


@pytest.fixture
def start(tmp_path: Path, scripted: Stage) -> Iterator[Start]:
    running: list[Process] = []

    def begin(routes: Mapping[str, Any], **more: Any) -> Process:
        providers = {
            "first": {"base_url": f"{scripted.url}/first/v1", "protocol": "openai", "credentials": KEYS},
            "second": {"base_url": f"{scripted.url}/second/v1", "protocol": "openai", "requires_credential": False},
        }
        config = {"discovery": {"enabled": False}, "providers": providers, "routes": routes, **more}
        running.append(Process(tmp_path / f"gateway-{len(running)}", config))
        return running[-1]

    yield begin
    for process in running:
        process.stop()


def by_provider(**roles: Answer | Role) -> Role:
    """Returns a role that plays one answer for each provider."""

    def role(request: Recorded) -> Answer:
        found = roles[request.path.split("/")[1]]
        return found if isinstance(found, Answer) else found(request)

    return role


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + SLACK_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def fallback() -> dict[str, Any]:
    return {"main": {"deployments": [{"model": "first/m"}], "fallbacks": ["second/m"]}}


def two(**more: Any) -> dict[str, Any]:
    deployments = [{"name": "one", "model": "first/m"}, {"name": "two", "model": "second/m"}]
    return {"main": {"strategy": "ordered", "deployments": deployments, **more}}


def test_an_answer_says_what_a_fallback_was_for_and_what_it_took(start: Start, scripted: Stage) -> None:
    limited = error(429, "Rate limit reached", headers=[("retry-after", "60")])
    scripted.play(by_provider(first=limited, second=json_response(completion("Hi"))))
    gateway = start(fallback())
    first, second = gateway.ask("main"), gateway.ask("main", stream=False)
    assert first.headers["x-anyport-deployment"] == second.headers["x-anyport-deployment"] == "second/m"
    assert first.headers["x-anyport-attempts"] == "3"  # both keys, then the fallback
    assert first.headers["x-anyport-fallback"] == "rate_limit"
    assert float(first.headers["x-anyport-overhead-ms"]) >= 0
    assert second.headers["x-anyport-attempts"] == "1"
    assert second.headers["x-anyport-fallback"] == "unavailable"
    assert gateway.metric("anyport_fallbacks_total", route="main", reason="rate_limit") == 1
    assert gateway.metric("anyport_fallbacks_total", route="main", reason="unavailable") == 1
    assert gateway.metric("anyport_retries_total", provider="first", reason="rate_limit") == 2
    assert gateway.metric("anyport_cool_downs_total", provider="first", scope="key", reason="rate_limit") == 2
    assert gateway.metric("anyport_keys_resting", provider="first") == 2
    assert gateway.metric("anyport_deployment_attempts_total", deployment="first/m", outcome="rate_limit") == 2
    assert gateway.metric("anyport_deployment_attempts_total", deployment="other", outcome="ok") == 2
    until(lambda: len(gateway.records()) == 2)
    assert [record["fallback"] for record in gateway.records()] == ["rate_limit", "unavailable"]
    assert [record["hedged"] for record in gateway.records()] == [False, False]


def test_a_stream_has_the_same_headers(start: Start, scripted: Stage) -> None:
    stream = sse_response(text_chunks("H", "i"), gap_seconds=0.05)
    scripted.play(by_provider(first=error(500, "oops"), second=stream))
    gateway = start(fallback())
    answer = gateway.ask("main", stream=True)
    assert answer.text.endswith("data: [DONE]\n\n")
    assert answer.headers["x-anyport-fallback"] == "server"
    assert int(answer.headers["x-anyport-attempts"]) >= 2
    assert float(answer.headers["x-anyport-overhead-ms"]) >= 0
    until(lambda: gateway.metric("gen_ai_client_operation_time_per_output_chunk_seconds_count") == 1)


def test_an_error_says_how_many_attempts_it_took_and_names_no_fallback(start: Start, scripted: Stage) -> None:
    scripted.play(error(500, "oops"))
    gateway = start(fallback())
    answer = gateway.ask("main")
    assert answer.status_code == 502
    assert answer.headers["x-anyport-attempts"] == str(len(answer.json()["error"]["details"]["attempts"]))
    assert answer.headers["x-anyport-attempts"] == str(len(scripted.requests))
    assert "x-anyport-overhead-ms" in answer.headers
    assert "x-anyport-fallback" not in answer.headers
    assert gateway.metric("anyport_fallbacks_total") == 0


def test_a_retry_that_the_budget_forbids_is_counted(start: Start, scripted: Stage) -> None:
    scripted.play(by_provider(first=error(500, "oops"), second=error(500, "oh")))
    gateway = start(two(retry={"budget": 0, "budget_floor_per_second": 0}))
    answer = gateway.ask("main")
    assert (answer.status_code, answer.headers["x-anyport-attempts"]) == (502, "2"), "the second had no trouble yet"
    answer = gateway.ask("main")
    assert (answer.status_code, answer.headers["x-anyport-attempts"]) == (502, "1")
    assert gateway.metric("anyport_retry_budget_exhausted_total", route="main", provider="first") == 1


def test_an_error_of_the_request_took_no_attempt(start: Start) -> None:
    answer = start(fallback()).ask("nobody/knows")
    assert answer.status_code == 404
    assert answer.headers["x-anyport-attempts"] == "0"
    assert float(answer.headers["x-anyport-overhead-ms"]) >= 0
    assert "x-anyport-deployment" not in answer.headers


def test_the_time_of_a_slow_provider_is_no_overhead(start: Start, scripted: Stage) -> None:
    answer = json_response(completion())
    scripted.play(raw(0.5, *answer.steps))
    headers = start(two()).ask("main").headers
    assert float(headers["x-anyport-overhead-ms"]) <= int(headers["openai-processing-ms"]) + 1 - 500


def test_a_hedge_that_wins_is_counted_and_the_slower_attempt_is_no_failure(start: Start, scripted: Stage) -> None:
    scripted.play(by_provider(first=raw(STALL), second=json_response(completion("Hi"))))
    gateway = start(two(hedge={"after_seconds": 0.05, "share": 1}))
    answer = gateway.ask("main")
    assert answer.headers["x-anyport-deployment"] == "two"
    assert answer.headers["x-anyport-attempts"] == "2"
    assert "x-anyport-fallback" not in answer.headers
    assert gateway.metric("anyport_hedges_total", route="main", result="won") == 1
    assert gateway.metric("anyport_deployment_attempts_total", deployment="one", outcome="lost") == 1
    assert gateway.metric("anyport_retries_total") == 0
    until(lambda: gateway.records())
    assert [record["hedged"] for record in gateway.records()] == [True]


def test_an_attempt_that_a_client_gives_up_is_no_failure_and_no_loss(start: Start, scripted: Stage) -> None:
    scripted.play(raw(STALL))
    gateway = start(two())
    with pytest.raises(httpx2.TimeoutException):
        gateway.ask("main", timeout=0.3)
    until(lambda: gateway.metric("anyport_deployment_attempts_total", deployment="one", outcome="cancelled") == 1)
    assert gateway.metric("anyport_upstream_attempts_total") == 1
    assert gateway.metric("anyport_ejections_total") == gateway.metric("anyport_retries_total") == 0


def test_a_deployment_of_a_wildcard_has_a_label_of_its_own_if_it_has_a_name(start: Start, scripted: Stage) -> None:
    scripted.play(json_response(completion("Hi")))
    gateway = start({"any-*": {"deployments": [{"name": "named", "model": "second/*"}]}})
    assert gateway.ask("any-thing").headers["x-anyport-deployment"] == "named"
    assert gateway.metric("anyport_deployment_attempts_total", provider="second", deployment="named") == 1


def test_a_copy_is_counted_in_its_own_metric_and_has_no_access_record(start: Start, scripted: Stage) -> None:
    scripted.play(by_provider(first=json_response(completion("Hi")), second=error(500, "oops")))
    gateway = start({"main": {"deployments": [{"model": "first/m"}], "mirror": {"to": "second/m"}}})
    assert gateway.ask("main").headers["x-anyport-attempts"] == "1"
    until(lambda: gateway.metric("anyport_mirrored_requests_total", route="second/m", result="failed"))
    assert gateway.metric("anyport_requests_total") == 1
    assert gateway.metric("anyport_upstream_attempts_total") == 1
    gateway.ask("main")
    until(lambda: len(gateway.records()) == 2)
    assert not any("mirror" in record["id"] for record in gateway.records())


def test_an_ejection_and_its_end_are_a_line_each_and_counted(start: Start, scripted: Stage) -> None:
    scripted.play(by_provider(first=error(500, "oops"), second=json_response(completion("Hi"))))
    gateway = start(two(), health={"consecutive_failures": 3, "ejection_seconds": 0.2})
    for _ in range(5):
        assert gateway.ask("main").status_code == 200
    assert gateway.metric("anyport_ejections_total", provider="first", deployment="one", reason="server") >= 1
    assert gateway.metric("anyport_deployments_ejected", provider="first", deployment="one") == 1
    gateway.gateway.wait_for("one: it keeps failing (server) and gets no requests for 0.2 s")
    scripted.play(json_response(completion("Hi")))
    until(lambda: gateway.ask("main").headers["x-anyport-deployment"] == "one")
    gateway.gateway.wait_for("one: it works again")
    assert gateway.metric("anyport_readmissions_total", provider="first", deployment="one") == 1
    assert gateway.metric("anyport_deployments_ejected") == 0
    assert gateway.gateway.errors.count("keeps failing") == 1


@pytest.mark.parametrize(
    ("refusal", "words"),
    [
        (error(401, f"Incorrect API key provided: {KEYS[0]}"), "is refused (auth) and is put aside for 10 min"),
        (
            error(429, "You exceeded your current quota", code="insufficient_quota"),
            "has no money or quota left (quota) and is put aside for 1 h",
        ),
    ],
    ids=["refused", "no money"],
)
def test_an_operator_hears_which_key_is_put_aside(start: Start, scripted: Stage, refusal: Answer, words: str) -> None:
    def first(request: Recorded) -> Answer:
        return refusal if KEYS[1] in request.headers["authorization"] else json_response(completion("Hi"))

    scripted.play(by_provider(first=first))
    gateway = start(two())
    for _ in range(4):
        assert gateway.ask("main").status_code == 200
    said = gateway.gateway.wait_for(words)
    (line,) = (line for line in said.splitlines() if "put aside" in line)
    assert "warning" in line
    assert f"one: key 2 of 2 {words}" in line


def test_a_client_that_has_to_wait_is_no_news_for_an_operator(start: Start, scripted: Stage) -> None:
    limited = error(429, "Rate limit reached", headers=[("retry-after", "60")])
    scripted.play(by_provider(first=limited, second=json_response(completion("Hi"))))
    gateway = start(two())
    assert gateway.ask("main").status_code == 200
    assert "rate_limit" not in gateway.gateway.errors


def test_a_free_question_ends_an_ejection_early_and_nothing_is_asked_before(start: Start, scripted: Stage) -> None:
    scripted.play(by_provider(first=raw(FIN), second=json_response(completion("Hi"))))
    health = {"consecutive_failures": 2, "ejection_seconds": 600, "max_ejection_seconds": 600, "probe_seconds": 0.2}
    gateway = start(two(), health=health)
    gateway.ask("main")
    assert scripted.looks == []
    for _ in range(3):
        assert gateway.ask("main").status_code == 200
    assert gateway.metric("anyport_deployments_ejected", deployment="one") == 1
    until(lambda: scripted.looks)
    assert {look.path for look in scripted.looks} == {"/first/v1/models"}
    scripted.play(json_response(completion("Hi")))
    until(lambda: gateway.ask("main").headers["x-anyport-deployment"] == "one")
    assert gateway.metric("anyport_deployments_ejected") == 0


def test_what_one_replica_was_told_the_other_one_obeys(start: Start, scripted: Stage, tmp_path: Path) -> None:
    if executable() is None:
        pytest.skip("no redis-server: put one on PATH")
    redis = RedisServer(tmp_path)
    redis.start()
    try:
        routes = {**two(), "single": {"deployments": [{"model": "second/single"}]}}
        config = {"state": {"url": redis.url}, "server": {"access_log": "off"}}
        told, other = (start(routes, **config) for _ in range(2))
        limited = error(429, "Rate limit reached", headers=[("retry-after", "60")])
        busy = error(503, "Overloaded", headers=[("retry-after", "60")])

        def second(request: Recorded) -> Answer:
            return busy if b"single" in request.body else json_response(completion("Hi"))

        scripted.play(json_response(completion("Hi")))
        assert other.ask("second/single-of-nobody").status_code == 200
        scripted.play(by_provider(first=limited, second=second))
        assert told.ask("main").status_code == 200
        assert told.ask("single").status_code == told.ask("second/single-of-nobody").status_code == 503
        until(lambda: other.metric("anyport_cool_downs_total", provider="first", scope="key") == 2)
        until(lambda: other.metric("anyport_cool_downs_total", scope="deployment") == 2)
        assert other.metric("anyport_keys_resting", provider="first") == 2
        asked = len(scripted.requests)
        answer = other.ask("main")
        assert (answer.headers["x-anyport-deployment"], answer.headers["x-anyport-attempts"]) == ("two", "1")
        for model in ("single", "second/single-of-nobody"):
            refused = other.ask(model)
            assert (refused.status_code, refused.headers["x-anyport-attempts"]) == (503, "0")
            assert 0 < int(refused.headers["retry-after"]) <= 60
        assert len(scripted.requests) == asked + 1
    finally:
        redis.kill()
