"""Recorded exchanges under golden/<protocol>/<case>/, and how one is played through its adapter.

call.json       {"operation", "body", "target", "head"}: the client's request, and what differs from the defaults;
                `target` may say model, base_url, rules, options
request.json    what the upstream must be sent
upstream.json   what the upstream answers (upstream.sse, .ndjson or .bin for a stream), byte by byte
expected.json   what the client must get (expected.sse for a stream)
outcome.json    what the adapter must have noted: usage, model, finish, failure
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, get_type_hints

import msgspec

from adapters.errors import Malformed, UpstreamSaid
from adapters.failures import Failure, FailureKind
from adapters.options import Options
from adapters.rules import ParamRules
from adapters.types import Adapter, Call, Head, Operation, StreamDecoder, Target, Usage
from gateway.credentials.resolve import operation_url
from gateway.http.api.inbound import read_call
from gateway.registry.adapters import ADAPTERS

GOLDEN = Path(__file__).parent / "golden"
NAMES = frozenset({"call.json", "request.json", "outcome.json"})
PATHS = {name: path for name, path in ADAPTERS["openai"].paths.items() if name is not Operation.MODELS}
BASE_URLS = {"openai": "http://127.0.0.1:9/v1"}
TYPES = {
    ".json": "application/json",
    ".sse": "text/event-stream",
    ".ndjson": "application/x-ndjson",
    ".bin": "application/vnd.amazon.eventstream",
}


@dataclass(frozen=True, slots=True, repr=False)
class Case:
    """One recorded exchange."""

    name: str
    directory: Path
    adapter: Adapter
    call: Call
    target: Target
    head: Head
    upstream: bytes
    suffix: str
    """Of the file of what the upstream answers: `.sse`, `.json`, ..."""

    def __repr__(self) -> str:
        return self.name

    @property
    def expected(self) -> Path:
        return self.directory / f"expected.{'sse' if self.call.stream else 'json'}"


@dataclass(frozen=True, slots=True)
class Played:
    """What came out."""

    output: bytes
    outcome: dict[str, Any]


@cache
def load_cases() -> tuple[Case, ...]:
    return tuple(_load(path.parent) for path in sorted(GOLDEN.glob("*/*/call.json")))


def _load(directory: Path) -> Case:
    members = json.loads((directory / "call.json").read_bytes())
    body = json.dumps(members["body"], ensure_ascii=False, separators=(",", ":")).encode()
    call = read_call(Operation(members["operation"]), body, id="chatcmpl-0a1b2c", created=1_700_000_000)
    (upstream,) = directory.glob("upstream.*")
    head = members.get("head", {})
    kind = TYPES[upstream.suffix]
    protocol = directory.parent.name
    return Case(
        name=f"{directory.parent.name}-{directory.name}",
        directory=directory,
        adapter=ADAPTERS[protocol],
        call=call,
        target=target_of(protocol=protocol, **members.get("target", {})),
        head=Head(head.get("status", 200), {"content-type": kind, **head.get("headers", {})}),
        upstream=upstream.read_bytes(),
        suffix=upstream.suffix,
    )


def target_of(
    *,
    protocol: str = "openai",
    model: str = "upstream-model",
    base_url: str = "",
    rules: dict[str, Any] | None = None,
    options: dict[str, Any] | None = None,
    paths: dict[str, str] | None = None,
) -> Target:
    """Returns a target whose rules and options are those of a provider row."""
    base_url = base_url or BASE_URLS.get(protocol, "http://127.0.0.1:9")
    own = {**ADAPTERS[protocol].paths, **{Operation(name): path for name, path in (paths or {}).items()}}
    return Target(
        model=model,
        base_url=base_url,
        paths={name: operation_url(own, base_url, name) for name in own if name is not Operation.MODELS},
        rules=rules_of(**(rules or {})),
        options=Options(**(options or {})),
    )


def rules_of(**rules: Any) -> ParamRules:
    """Returns rules written as in a provider row."""
    types = get_type_hints(ParamRules)
    return ParamRules(**{name: msgspec.convert(value, types[name]) for name, value in rules.items()})


def play(case: Case, pieces: Iterable[bytes] | None = None) -> Played:
    """Returns what the adapter makes of the upstream's bytes, in these pieces for a stream."""
    if case.call.stream:
        decoder = case.adapter.stream(case.call, case.target, case.head)
        return Played(run(decoder, [case.upstream] if pieces is None else pieces), state_of(decoder))
    try:
        reply = case.adapter.reply(case.call, case.target, case.head, case.upstream)
    except UpstreamSaid as said:
        return Played(b"", outcome(failure=said.failure))
    except Malformed as error:
        return Played(b"", outcome(failure=Failure(FailureKind.MALFORMED, error.message, code=error.code)))
    return Played(reply.body, outcome(reply.usage, reply.model, reply.finish))


def run(decoder: StreamDecoder, pieces: Iterable[bytes]) -> bytes:
    """Feeds a decoder as the gateway does and returns all that it gives."""
    out: list[bytes] = []
    for piece in pieces:
        out.append(decoder.feed(piece))
        if decoder.is_done or decoder.failure:
            return b"".join(out)
    return b"".join([*out, decoder.close()])


def state_of(decoder: StreamDecoder) -> dict[str, Any]:
    state = outcome(decoder.usage, decoder.model, decoder.finish, decoder.failure)
    return {**state, "has_content": decoder.has_content, "is_done": decoder.is_done}


def outcome(
    usage: Usage | None = None,
    model: str | None = None,
    finish: str | None = None,
    failure: Failure | None = None,
) -> dict[str, Any]:
    told: dict[str, Any] = msgspec.to_builtins(failure) if failure else {}
    said = {name: value for name, value in told.items() if value not in (None, False)} or None
    counts = msgspec.json.decode(msgspec.json.encode(usage))
    for name, usual in (("cache_write_1h", 0), ("billed", None), ("calls", 1)):
        if counts and counts[name] == usual:
            del counts[name]
    return {"usage": counts, "model": model, "finish": finish, "failure": said}


def sent(case: Case) -> dict[str, Any]:
    """Returns the upstream request as a JSON object."""
    request = case.adapter.request(case.call, case.target)
    return {
        "method": request.method,
        "url": request.url,
        "headers": dict(request.headers),
        "body": json.loads(request.body),
        "dropped": list(request.dropped),
    }


def events(output: bytes) -> list[Any]:
    """Returns the decoded events of an output; `[DONE]` stays text. Fails unless all are whole events."""
    if not output:
        return []
    assert output.endswith(b"\n\n"), "the output ends inside an event"
    found: list[Any] = []
    for block in output[:-2].split(b"\n\n"):
        data = [line[5:].removeprefix(b" ") for line in block.split(b"\n") if line.startswith(b"data:")]
        if data:
            text = b"\n".join(data)
            found.append("[DONE]" if text == b"[DONE]" else json.loads(text))
        else:
            assert all(line.startswith(b":") for line in block.split(b"\n")), block
    return found
