"""Recorded streams of every protocol, cut at every byte: what looks like a whole answer to a client is a whole one."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from typing import Any

import pytest
import pytest_asyncio

from gateway.credentials.keyring import KeyRing
from gateway.credentials.scrub import Scrubber
from gateway.domain import Outcome, ProviderSpec
from gateway.engine.answer import Answer
from gateway.engine.attempt import Attempter
from gateway.engine.executor import Executor
from gateway.errors import UpstreamError
from gateway.routing.deployment import Deployment
from gateway.routing.route import Plan, RetryPolicy, Route
from gateway.routing.route import Stage as RouteStage
from gateway.transport.base import Fault, TransportError
from tests.adapters.recorded import GOLDEN, Case, events, load_cases
from tests.engine.doubles import Clock, Response, Script
from tests.faults.client import Answer as Told
from tests.faults.client import one_answer, request_bytes, talk
from tests.faults.stage import GatewayProcess, running
from tests.upstreams.scripted import FIN, RESET, Recorded, ScriptedUpstream, chunk, raw, response
from tests.upstreams.scripted import Answer as Played

NAMES = frozenset(
    {
        "anthropic-thinking_stream",
        "azure-stream_at_an_old_version",
        "bedrock-stream",
        "bedrock-stream_function_call",
        "codex-stream_thoughts",
        "cohere-stream_text",
        "gemini-stream_arguments_in_pieces",
        "gemini-stream_thoughts_then_signed_text",
        "mistral-stream_call_in_pieces",
        "ollama-stream_parallel_tools",
        "openai-stream_of_many_tongues",
        "openai-stream_of_two_choices",
        "openai-parallel_tools_interleaved",
        "openai-stream_without_done",
        "tgi-generate_stream",
    }
)
CASES = [case for case in load_cases() if case.name in NAMES]
every_case = pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
ENDS = {"closed": None, "broken": TransportError(Fault.DISCONNECTED, "the connection died")}
"""How a cut body ends: as one that ends with its connection does, or within its framing."""


def said(told: Sequence[Any]) -> dict[str, str]:
    """Returns what the events say: each part of each choice, put together, and how it finished."""
    found: dict[str, str] = {}
    for one in told:
        if one == "[DONE]" or "error" in one:
            continue
        for choice in one.get("choices", []):
            place = choice.get("index", 0)
            for path, text in _leaves({**choice.get("delta", {}), "text": choice.get("text")}, f"{place}"):
                found[path] = found.get(path, "") + text
            if choice.get("finish_reason"):
                found[f"{place}.finish"] = choice["finish_reason"]
    return found


def _leaves(value: Any, path: str) -> list[tuple[str, str]]:
    if isinstance(value, str):
        return [(path, value)] if value else []
    if isinstance(value, dict):
        named = ((name, each) for name, each in value.items() if name != "id")  # some are made for each answer
        return [leaf for name, each in named for leaf in _leaves(each, f"{path}.{name}")]
    if isinstance(value, list):
        numbered = ((each.get("index", at) if isinstance(each, dict) else at, each) for at, each in enumerate(value))
        return [leaf for at, each in numbered for leaf in _leaves(each, f"{path}.{at}")]
    return []


def assert_honest(out: bytes, is_clean: bool, whole: dict[str, str], where: str) -> None:
    """Asserts that a stream that ends well is whole, and that any other one says so and nothing wrong."""
    told = events(out)
    now = said(told)
    if is_clean:
        assert told[-1] == "[DONE]", where
        assert now == whole, where
    else:
        assert "[DONE]" not in told, where
        wrong = {path: text for path, text in now.items() if not whole.get(path, "").startswith(text)}
        assert not wrong, where


# Every byte, without a network


class Player:
    """Plays one recorded call through the executor, with any bytes for an answer."""

    def __init__(self, case: Case) -> None:
        clock = Clock()
        spec = ProviderSpec(id="p", display_name="P", protocol="openai", base_url="http://127.0.0.1:9/v1")
        deployment = Deployment("p/m", "p", case.target, case.adapter, KeyRing(spec))
        route = Route("p/m", (deployment,), retry=RetryPolicy(attempts=1))
        self._case = case
        self._clock = clock
        self._plan = Plan("p/m", (RouteStage(route),))
        self._script = Script((), clock)
        attempter = Attempter(transport_for=lambda _: self._script, max_response_bytes=1_000_000, clock=clock)
        self._executor = Executor(
            attempter=attempter,
            max_response_bytes=1_000_000,
            clock=clock,
            random=lambda: 0.5,
            scrubber=Scrubber([]),
        )

    async def play(self, data: bytes, end: TransportError | None) -> tuple[bytes, bool] | None:
        """Returns what a client gets and whether it ended well; None if it gets an HTTP error."""
        response = Response(self._case.head, [data, *([end] if end else [])], self._clock)
        self._script = Script((response,), self._clock)
        try:
            stream = await self._executor.run(self._case.call, self._plan, Outcome("req-1"))
        except UpstreamError as error:
            assert error.status >= 500
            assert response.releases == 1
            return None
        assert not isinstance(stream, Answer)
        try:
            out = [stream.first]
            while piece := await stream.next():
                out.append(piece)
        finally:
            await stream.aclose()
        assert response.releases == 1
        return b"".join(out), stream.error is None


@every_case
@pytest.mark.parametrize("end", ENDS)
async def test_a_stream_cut_at_any_byte_never_ends_as_if_it_were_whole(case: Case, end: str) -> None:
    player = Player(case)
    played = await player.play(case.upstream, None)
    assert played is not None
    assert played[1]
    whole = said(events(played[0]))
    heard = {"refused": 0, "broken": 0, "whole": 0}
    for cut in range(len(case.upstream)):
        played = await player.play(case.upstream[:cut], ENDS[end])
        if played is None:
            heard["refused"] += 1
            continue
        assert_honest(*played, whole, f"{case.name} {end} after {cut} bytes")
        heard["whole" if played[1] else "broken"] += 1
    assert heard["refused"]
    assert heard["broken"]
    assert heard["whole"] < len(case.upstream) / 2


def test_every_protocol_is_among_the_streams_that_are_cut() -> None:
    assert {case.name for case in CASES} == NAMES
    assert {case.directory.parent.name for case in CASES} >= {path.name for path in GOLDEN.iterdir()} - {
        "code_assist",  # Google's
        "huggingface",  # OpenAI's own streams
        "vertex",  # Google's and Anthropic's
    }


# Some bytes, through a process and real sockets


PLAIN = sorted(NAMES - {name for name in NAMES if name.startswith(("azure", "bedrock"))})
"""Whose servers need neither a signature nor an address of a special form."""
SAMPLES = 9


class Line:
    """A gateway in front of one upstream that plays what it is told, whatever it is asked."""

    def __init__(self, gateway: GatewayProcess) -> None:
        self.gateway = gateway
        self.plays: Played = raw()

    def script(self, recorded: Recorded) -> Played:
        return self.plays

    async def ask(self, case: Case, *steps: Any) -> Told:
        """Has the upstream play `steps` for a recorded call, and returns what the client gets."""
        self.plays = raw(*steps)
        said = json.loads((case.directory / "call.json").read_bytes())
        body = {**said["body"], "model": f"{case.directory.parent.name}-server/m"}
        path = {"chat": "/v1/chat/completions", "completions": "/v1/completions"}[said["operation"]]
        return one_answer(await talk(self.gateway.port, request_bytes(body, path=path)))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def line(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Line]:
    folder = tmp_path_factory.mktemp("line")
    lines: list[Line] = []
    async with AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(ScriptedUpstream(lambda recorded: lines[0].script(recorded)))
        row = {"base_url": upstream.url, "credentials": ["k"]}
        protocols = {name.partition("-")[0] for name in PLAIN}
        settings = {
            "server": {"access_log": str(folder / "access.jsonl")},
            "discovery": {"enabled": False},
            "providers": {f"{protocol}-server": {**row, "protocol": protocol} for protocol in protocols},
        }
        lines.append(Line(await stack.enter_async_context(running(folder, settings))))
        yield lines[0]
        assert "Traceback" not in lines[0].gateway.log


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("name", PLAIN)
async def test_a_cut_connection_never_ends_as_if_the_stream_were_whole(line: Line, name: str) -> None:
    (case,) = (case for case in CASES if case.name == name)
    data = case.upstream
    types = [("content-type", case.head.headers["content-type"])]
    closing = response(200, types, length=False)
    chunked = response(200, [*types, ("transfer-encoding", "chunked")], length=False)
    answer = await line.ask(case, chunked, chunk(data), b"0\r\n\r\n")
    assert answer.status == 200, answer.body
    whole = said(events(answer.body))
    cuts = [*range(1, len(data), len(data) // SAMPLES), len(data) - 1]
    heard: list[Told] = []
    for cut in cuts:
        for steps in (
            (closing + data[:cut], FIN),
            (chunked, chunk(data[:cut]), RESET),
            (chunked + b"%x\r\n" % len(data) + data[:cut], FIN),
        ):
            answer = await line.ask(case, *steps)
            heard.append(answer)
            if answer.status == 200:
                is_clean = answer.body.endswith(b"data: [DONE]\n\n")
                assert_honest(answer.body, is_clean, whole, f"{name} after {cut} bytes")
                assert is_clean or b'"error":{' in answer.body
            else:
                assert answer.error["type"] == "upstream_error"
    assert any(answer.status != 200 for answer in heard)
    for answer in heard:
        assert (await line.gateway.record(answer.id))["attempts"] >= 1
