"""Nothing is lost in silence: every field of a request is in what the upstream gets, or reported, or refused."""

from __future__ import annotations

import json
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import completion_create_params
from openai.types.embedding_create_params import EmbeddingCreateParams

from adapters.errors import Unsupported
from adapters.fidelity import Fate
from adapters.types import Call, HttpRequest, Operation
from gateway.http.api.inbound import read_call
from tests.adapters.contract import Speaker, speakers
from tests.adapters.inbound import BASE, CHAT, EMBEDDINGS, OURS, Fields

SPEAKERS = speakers()
SAMPLES = {Operation.CHAT: CHAT, Operation.EMBEDDINGS: EMBEDDINGS}
WALK = [
    pytest.param(speaker, operation, path, id=f"{protocol}-{operation.value}-{path}")
    for protocol, speaker in SPEAKERS.items()
    for operation, samples in SAMPLES.items()
    if operation in speaker.adapter.operations
    for path in samples
]
TRANSLATORS = [speaker for speaker in SPEAKERS.values() if speaker.adapter.fidelity]


def call_of(operation: Operation, fields: Fields) -> Call:
    body = json.dumps({"model": "p/m", **fields}).encode()
    return read_call(operation, body, id="chatcmpl-1", created=1)


def made(speaker: Speaker, operation: Operation, fields: Fields) -> list[HttpRequest]:
    """Returns every request that the fields become; raises Unsupported."""
    target = speaker.target_of()
    call = call_of(operation, fields)
    return [speaker.adapter.request(part, target) for part in speaker.adapter.parts(call, target)]


def covers(name: str, path: str) -> bool:
    """True if a report of `name` says what became of `path`, or the other way round."""
    plain = name.split("[")[0] if "[" in name else name
    return path == plain or path.startswith(plain + ".") or plain.startswith(path + ".") or plain == "messages"


@pytest.mark.parametrize(("speaker", "operation", "path"), WALK)
def test_a_field_is_sent_or_reported_or_refused(speaker: Speaker, operation: Operation, path: str) -> None:
    base, added = SAMPLES[operation][path]
    try:
        without = made(speaker, operation, base)
        requests = made(speaker, operation, {**base, **added})
    except Unsupported as refused:
        assert covers(refused.param, path), refused.param
        assert len(refused.message) > len(refused.param)
        return
    if any(covers(name, path) for request in requests for name in request.dropped):
        return
    treatment = speaker.adapter.fidelity.get(operation, {}).get(path)
    if treatment is not None and treatment.fate is Fate.EMULATED and "always" in treatment.note:
        return  # asks for what this protocol does in any case
    assert [(each.url, each.body) for each in requests] != [(each.url, each.body) for each in without], (
        f"{path} is neither in the upstream's body nor in the report {requests[0].dropped}"
    )


@pytest.mark.parametrize(("speaker", "operation", "path"), WALK)
def test_the_table_says_what_happens(speaker: Speaker, operation: Operation, path: str) -> None:
    table = speaker.adapter.fidelity.get(operation)
    if table is None:
        assert speaker.adapter.protocol in ("openai", "azure", "mistral", "huggingface"), "no table"
        return
    if "vendor" in path:
        assert path not in table
        return  # what no table knows is dropped, which the test before this one has seen
    treatment = table.get(path) or table.get(path.rpartition(".")[0]) or table.get(path.split(".")[0])
    assert treatment is not None, f"the table does not know {path}"
    base, added = SAMPLES[operation][path]
    try:
        requests = made(speaker, operation, {**base, **added})
    except Unsupported:
        assert treatment.fate is Fate.REFUSED or treatment.note, f"{path} is {treatment.fate} but refused"
        return
    is_reported = any(covers(name, path) for request in requests for name in request.dropped)
    if treatment.fate is Fate.DROPPED:
        assert is_reported, f"{path} is said to be dropped but is not reported"
    elif treatment.fate is Fate.REFUSED:
        pytest.fail(f"{path} is said to be refused but is not")
    else:
        assert not is_reported or treatment.note, f"{path} is {treatment.fate} but reported as dropped"


TOP_LEVEL = sorted(path for path, (base, added) in CHAT.items() if base is BASE and "." not in path)


@given(speaker=st.sampled_from(TRANSLATORS or list(SPEAKERS.values())), names=st.sets(st.sampled_from(TOP_LEVEL)))
def test_fields_do_not_hide_each_other(speaker: Speaker, names: set[str]) -> None:
    """Any set of fields at once: each that is neither reported nor refused makes a difference."""
    fields: Fields = dict(BASE)
    for name in sorted(names):
        fields |= CHAT[name][1]
    try:
        requests = made(speaker, Operation.CHAT, fields)
    except Unsupported as refused:
        assert any(covers(refused.param, name) for name in names)
        return
    reported = {name for request in requests for name in request.dropped}
    for name in names - {path for path in names if any(covers(each, path) for each in reported)}:
        rest = {key: value for key, value in fields.items() if key not in CHAT[name][1] or key == "messages"}
        try:
            less = made(speaker, Operation.CHAT, rest)
        except Unsupported:
            continue
        is_doubled = name in ("max_tokens", "max_completion_tokens", "user", "safety_identifier", "functions", "tools")
        assert [each.body for each in less] != [each.body for each in requests] or is_doubled, name


def test_the_samples_have_every_field_of_the_official_sdk() -> None:
    known = {path.split(".")[0] for path in CHAT} | OURS | {"messages"}
    assert set(completion_create_params.CompletionCreateParamsBase.__annotations__) <= known
    assert set(EmbeddingCreateParams.__annotations__) <= {path.split(".")[0] for path in EMBEDDINGS} | OURS


def test_the_samples_have_every_field_of_the_official_sdks_messages() -> None:
    from openai.types.chat import ChatCompletionMessageParam

    known = {path.split(".")[1] for path in CHAT if path.startswith("messages.")} | OURS
    for message in get_args(ChatCompletionMessageParam):
        assert set(message.__annotations__) <= known, message


def test_the_samples_have_every_part_of_the_official_sdk() -> None:
    from openai.types.chat import ChatCompletionContentPartParam

    known = {path.split(".")[2] for path in CHAT if path.startswith("messages.content.")} | OURS
    for kind in get_args(ChatCompletionContentPartParam):
        assert set(kind.__annotations__) - {"prompt_cache_breakpoint"} <= known, kind  # said as cache_control
