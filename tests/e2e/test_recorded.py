"""Recorded answers of real providers, played through one gateway: whole, in pieces, and cut off anywhere.

A stream may end for the client in two ways: as a whole answer, or with an error. Never in silence.
"""

from __future__ import annotations

import asyncio
import base64
import json
import random
import struct
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from tests.e2e.conftest import StartGateway
from tests.e2e.reading import Reading, read
from tests.e2e.records import FOLDER, Record, asked_for, load
from tests.e2e.stage import Stage
from tests.e2e.wire import Line
from tests.upstreams.scripted import Answer, Recorded

pytestmark = pytest.mark.skipif(
    not FOLDER.is_dir(), reason="no recorded exchanges here (they are not part of the project); set ANYPORT_RECORDED"
)
LINES = 4
KEYS = 200
"""Keys of each row: one that a recorded answer calls wrong is put aside for longer than these tests take."""
"""Connections to the gateway at once."""
MAX_PIECEWISE_BYTES = 2_000
"""Streams up to this length are played byte by byte, longer ones in 300 pieces."""
CUTS = {"builtin": (2, 8), "httpx": (0, 2)}
"""By transport: how many of the smallest streams are cut at every offset, and how often the others are."""

_NOT_CHAT = "no model's answer in OpenAI's shape: "
_NOTHING_SAID = "the answer holds neither a word nor a reason: an empty success is an error"
_PARTIAL_ARGUMENTS = "the expectation takes each piece of streamed arguments for a call of its own"
_CITED = "the expectation leaves out text that stands in a citation; it arrives"
_SERVER_TOOL = "the provider has run the tool itself: a client could do nothing with that call"
_LONG_MESSAGE = "messages of upstreams are cut to 200 characters"
_REFUSED_KEY = "the message is scrubbed of what looks like a key, and says that our credential was refused"
EXPLAINED: dict[str, str] = {
    "bedrock-00e799d2fd9e": _CITED,
    "bedrock-12435a61c21e": _CITED,
    "bedrock-9a73466730ca": _SERVER_TOOL,
    "bedrock-baad90138685": _SERVER_TOOL,
    "vertexai-3f103b638b01": _LONG_MESSAGE,
    "vertexai-545a523f8413": _LONG_MESSAGE,
    "gemini-75a9478a1414": "the expectation is the error's JSON in a JSON string; its message arrives",
    "gemini-f1512e868668": _LONG_MESSAGE,
    "gemini-f253a0091638": _NOTHING_SAID,
    "gemini-f347d2830fda": _NOTHING_SAID,
    "gemini-f3cd7465e853": "the model failed under status 200, with a finish message that the client hears",
    "gemini-f40a0c0c4e56": _NOTHING_SAID,
    "gemini-f469e4648a1e": _NOTHING_SAID,
    "gemini-f5f406e64a37": _REFUSED_KEY,
    "gemini-f8795162b142": _REFUSED_KEY,
    "gemini-f93f9ee95022": _NOTHING_SAID,
    "gemini-fecdfa14b1d8": "the recorded stream ends without a finish reason, as a cut one does",
    "gemini-v33c39931472": _PARTIAL_ARGUMENTS,
    "gemini-vea54ea9ac8e": _PARTIAL_ARGUMENTS,
    "cohere-8bdd48332678": "Cohere reports under status 200 that its model failed, which the client hears",
    "cohere-a75e058b1032": "Cohere reports under status 200 that its model failed, which the client hears",
    "cohere-v0a7386a2d53": "arguments of `null` reach the client as the empty object that a call without arguments has",
    "groq-6eb960cd519c": "Groq reports an error after the first words, which the client hears",
    "openai-4da50dff41e0": _NOT_CHAT + "a stream in Anthropic's shape",
    "openai-875e794b7f5b": "the expectation does not read custom tools; name and input arrive",
    "openai-9767a67e7c81": _REFUSED_KEY,
    "openai-c38ab5f61bc7": _NOT_CHAT + "the receipt of a tracing service",
    "openai-cb5ac942e5fd": _NOT_CHAT + "the receipt of a tracing service",
    "openai-cef374793e75": "an empty text to embed is refused before any provider sees it",
    "openai-d22beec71d2b": _REFUSED_KEY,
    "openrouter-e1e088886195": _LONG_MESSAGE,
    "perplexity-279f191477f3": "a defect with a test of its own below: integers are taken for floats",
    "perplexity-ecb2c38a6960": "the expectation adds up the text so far that Perplexity repeats in every chunk",
    "together-72c60193693d": "`eos` is Together's word for `stop`",
    "writer-5f00465efbdc": _NOT_CHAT + "events that hold `value` and no choices",
}
"""Record -> why the client is right not to get what was read off the provider's wire."""

PLAIN_ROWS = frozenset({"gemini-openai", "gpustack", "ollama-openai", "snowflake", "writer"})
"""Rows that the product has not, or not with this wire: plain servers."""
ROOTS = {
    "anthropic": "",
    "bedrock": "",
    "cohere": "",
    "gemini": "/v1beta",
    "ollama": "",
    "vertex": "/v1/projects/p/locations/l",
}
"""Paths of the rows' base URLs where they are not `/v1`."""
Difference = str


@pytest.fixture(scope="module")
def records() -> list[Record]:
    return load()


@pytest.fixture(scope="module", params=["builtin", "httpx"])
def transport(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def served(gateway: StartGateway, stage: Stage, transport: str) -> str:
    """One gateway with a row per vendor, all of them at the scripted upstream, which is asked once per request."""
    keys = [f"recorded-key-{number:04}" for number in range(KEYS)]
    rows: dict[str, Any] = {
        row: {"base_url": f"{stage.url}{ROOTS.get(row, '/v1')}", "credentials": keys}
        for row in sorted({record.row for record in load()})
    }
    for row in PLAIN_ROWS & set(rows):
        rows[row]["protocol"] = "openai"
    return gateway(
        {
            "server": {"access_log": "off"},
            "discovery": {"enabled": False},
            "upstream": {"transport": transport},
            "providers": rows,
            "routes": {f"{row}/*": {"deployments": [{"model": f"{row}/*"}], "retry": {"attempts": 1}} for row in rows},
        }
    )


async def _play(
    served: str, stage: Stage, records: Iterable[Record], answer: Callable[[Record], Answer]
) -> list[tuple[Record, Reading]]:
    """Sends every record's request, in turn on a few connections, and returns what came back."""
    given = list(records)
    by_id = {record.id: record for record in given}
    waiting = iter(given)
    readings: list[tuple[Record, Reading]] = []

    def role(request: Recorded) -> Answer:
        return answer(by_id[asked_for(request)])

    async def work() -> None:
        async with Line(served) as line:
            for record in waiting:
                response = await line.post(record.path, record.call())
                content_type = response.headers["content-type"]
                readings.append((record, read(response.status, content_type, response.body)))

    stage.play(role)
    async with asyncio.TaskGroup() as group:
        for _ in range(LINES):
            group.create_task(work())
    return readings


def _differences(record: Record, got: Reading) -> list[Difference]:
    """Compares what a client got with what was read off the provider's wire."""
    want = record.expect
    if got.fault is not None:
        return [f"fault {got.fault}"]
    if record.status >= 300:
        said = (want or {}).get("error")
        if got.error is None:
            return ["no error"]
        return [] if not isinstance(said, str) or said in got.error else [f"error {got.error!r} for {said!r}"]
    if got.error is not None or not got.is_done:
        return [f"error {got.error!r}"]
    if want is None:
        want = {} if record.is_native else _own_reading(record)
    found = []
    for name, value in (
        ("text", got.text),
        ("thinking", got.thinking),
        ("tools", got.tools),
        ("stop", got.stop),
        ("in", got.prompt),
        ("out", got.completion),
        ("vectors", got.vectors),
        ("scores", got.scores),
    ):
        if want.get(name) is not None and want[name] != value:
            found.append(f"{name}: {value!r:.150} for {want[name]!r:.150}")
    return found


def _own_reading(record: Record) -> dict[str, Any]:
    """Reads what has no expectation of its own: text completions and embeddings are alike everywhere."""
    kind = "text/event-stream" if record.is_stream else "application/json"
    wire = read(record.status, kind, record.body)
    return {"text": wire.text, "stop": wire.stop, "in": wire.prompt, "out": wire.completion, "vectors": wire.vectors}


async def test_every_recorded_answer_arrives_as_it_was_meant(
    served: str, stage: Stage, records: list[Record], capsys: pytest.CaptureFixture[str]
) -> None:
    readings = await _play(served, stage, records, Record.whole)
    found = {record.id: differences for record, got in readings if (differences := _differences(record, got))}
    with capsys.disabled():
        print("\n" + _table(readings, found))
    assert len(readings) == len(records)
    unexplained = {id: differences for id, differences in found.items() if id not in EXPLAINED}
    assert unexplained == {}, _lines(unexplained)
    assert set(EXPLAINED) <= set(found), "an explanation that nothing needs"


def _lines(found: Mapping[Any, list[Difference]]) -> str:
    return "\n".join(f"{place}: {'; '.join(differences)}" for place, differences in found.items())


def _table(readings: list[tuple[Record, Reading]], found: dict[str, list[Difference]]) -> str:
    played = Counter(record.provider for record, _ in readings)
    streams = Counter(record.provider for record, _ in readings if record.is_stream)
    errors = Counter(record.provider for record, _ in readings if record.status >= 300)
    differing = Counter(record.provider for record, _ in readings if record.id in found)
    lines = [f"{'provider':<15}{'records':>8}{'streams':>8}{'errors':>8}{'differ':>8}"]
    for provider, count in sorted(played.items()):
        lines.append(f"{provider:<15}{count:>8}{streams[provider]:>8}{errors[provider]:>8}{differing[provider]:>8}")
    total = (sum(each.values()) for each in (played, streams, errors, differing))
    return "\n".join([*lines, f"{'all':<15}" + "".join(f"{number:>8}" for number in total)])


async def test_integer_vectors_of_perplexity_arrive_as_integers(
    served: str, stage: Stage, records: list[Record]
) -> None:
    """Perplexity's embeddings are base64 of signed bytes: 1,024 of them in the recorded answer."""
    [record] = [record for record in records if record.id == "perplexity-279f191477f3"]
    [(_, got)] = await _play(served, stage, [record], Record.whole)
    data = base64.b64decode(json.loads(record.body)["data"][0]["embedding"])
    assert got.vectors == [[float(number) for number in struct.unpack(f"{len(data)}b", data)]]


def _streams(records: Iterable[Record]) -> list[Record]:
    """Returns the streams that bring an answer, the shortest first."""
    good = (record for record in records if record.is_stream and record.status < 300 and record.id not in EXPLAINED)
    return sorted(good, key=lambda record: (len(record.body), record.id))


async def test_recorded_streams_in_pieces_arrive_as_they_were_meant(
    served: str, stage: Stage, records: list[Record]
) -> None:
    def answer(record: Record) -> Answer:
        size = 1 if len(record.body) <= MAX_PIECEWISE_BYTES else -(-len(record.body) // 300)
        return record.in_pieces(size)

    streams = _streams(records)
    readings = await _play(served, stage, streams, answer)
    assert len(readings) == len(streams) > 100
    found = {record.id: differences for record, got in readings if (differences := _differences(record, got))}
    assert found == {}, _lines(found)


async def test_a_recorded_stream_that_is_cut_never_ends_in_silence(
    served: str, stage: Stage, records: list[Record], transport: str
) -> None:
    streams = _streams(records)
    exhaustive, often = CUTS[transport]
    choose = random.Random(7)
    cuts = [(record, at) for record in streams[:exhaustive] for at in range(len(record.body))]
    cuts += [(record, at) for record in streams[exhaustive:] for at in choose.sample(range(len(record.body)), often)]
    plan = iter(cuts)
    outcomes: Counter[str] = Counter()
    wrong: dict[tuple[str, int], list[str]] = {}

    async def work() -> None:
        async with Line(served) as line:
            for record, at in plan:
                call = record.call()
                response = await line.post(record.path, call | {"model": f"{call['model']}~{at}"})
                got = read(response.status, response.headers["content-type"], response.body)
                outcomes["error" if got.error is not None else "answer"] += 1
                if found := _after_cut(record, got):
                    wrong[record.id, at] = found

    by_id = {record.id: record for record in streams}

    def role(request: Recorded) -> Answer:
        id, _, at = asked_for(request).partition("~")
        return by_id[id].cut(int(at), properly=int(at) % 2 == 0)

    stage.play(role)
    async with asyncio.TaskGroup() as group:
        for _ in range(LINES):
            group.create_task(work())
    assert wrong == {}, _lines(wrong)
    assert sum(outcomes.values()) == len(cuts)
    assert outcomes["error"] > outcomes["answer"] > 0


def _after_cut(record: Record, got: Reading) -> list[Difference]:
    want = record.expect or ({"text": ""} if record.is_native else _own_reading(record))
    if got.fault is not None:
        return [f"fault {got.fault}"]
    if got.error is not None:
        begins = want["text"].startswith(got.text) and want.get("thinking", "").startswith(got.thinking)
        return ([] if begins else ["words that were never said"]) + (["an error and [DONE]"] if got.is_done else [])
    if not got.is_done:
        return ["a silent end"]
    # Counts come last: a stream cut between its finish and its counts is a whole answer without them.
    uncounted = {name: value for name, value in want.items() if name not in ("in", "out")}
    return _differences(replace(record, expect=uncounted), got)
