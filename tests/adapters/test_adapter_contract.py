"""Every adapter against the contract's cases."""

from __future__ import annotations

import json

import pytest

from adapters.errors import Unsupported
from adapters.types import Head, Operation, Target
from gateway.http.api.inbound import read_call
from tests.adapters.contract import CASES, Asked, Speaker, call_for, speakers
from tests.adapters.recorded import ADAPTERS, PATHS, target_of

SPEAKERS = speakers()
PAIRS = [
    pytest.param(speaker, case, name in speaker.unsupported, id=f"{protocol}-{name}")
    for protocol, speaker in SPEAKERS.items()
    for name, case in CASES.items()
    if case.operation in speaker.adapter.operations
]


@pytest.mark.parametrize(("speaker", "case", "is_refused"), PAIRS)
def test_a_request_says_the_same_in_the_upstreams_words(speaker: Speaker, case: Asked, is_refused: bool) -> None:
    if is_refused:
        with pytest.raises(Unsupported) as refused:
            speaker.adapter.request(call_for(case), speaker.target_of())
        assert refused.value.param.partition("[")[0] == (case.param or "messages").partition("[")[0]
        return
    request = speaker.adapter.request(call_for(case), speaker.target_of())
    speaker.judge(case, request)
    assert request.method == "POST"
    assert dict(request.headers)["content-type"] == "application/json"
    assert all(name == name.lower() for name, _ in request.headers)


@pytest.mark.parametrize(("speaker", "case", "is_refused"), PAIRS)
def test_a_request_is_equal_every_time_and_leaves_the_call_alone(
    speaker: Speaker, case: Asked, is_refused: bool
) -> None:
    if is_refused:
        assert case.param or "messages" in case.fields
        return
    call = call_for(case)
    before = {name: bytes(value) for name, value in call.fields.items()}
    first = speaker.adapter.request(call, speaker.target_of())
    assert speaker.adapter.request(call, speaker.target_of()) == first
    assert {name: bytes(value) for name, value in call.fields.items()} == before


@pytest.mark.parametrize("protocol", SPEAKERS)
def test_an_adapter_says_what_it_speaks(protocol: str) -> None:
    adapter = SPEAKERS[protocol].adapter
    assert adapter.protocol == protocol
    assert Operation.CHAT in adapter.operations
    assert adapter.operations <= set(Operation)


def test_every_adapter_stands_under_the_contract() -> None:
    assert set(SPEAKERS) == set(ADAPTERS)


@pytest.mark.parametrize("protocol", SPEAKERS)
def test_every_response_gets_a_decoder_of_its_own(protocol: str) -> None:
    adapter = SPEAKERS[protocol].adapter
    call = call_for(CASES["stream"])
    first, second = (adapter.stream(call, SPEAKERS[protocol].target_of(), Head(200)) for _ in range(2))
    first.feed(b"junk that ends it: \n\n")
    first.close()
    assert first.failure is not None
    assert (second.failure, second.usage, second.has_content, second.is_done) == (None, None, False, False)


def test_a_request_that_needs_no_change_is_sent_as_the_bytes_that_came() -> None:
    body = b'{ "model":"same" , "messages":[{"role":"user","content":"\\u00e9"}] }'
    call = read_call(Operation.CHAT, body, id="chatcmpl-1", created=1)
    assert SPEAKERS["openai"].adapter.request(call, target_of(model="same")).body is body


def test_a_path_may_be_a_whole_url() -> None:
    elsewhere = Target("m", "http://a/v1", {**PATHS, Operation.EMBEDDINGS: "http://b/embed"})
    adapter = SPEAKERS["openai"].adapter
    assert adapter.request(call_for(CASES["embedding"]), elsewhere).url == "http://b/embed"
    assert adapter.request(call_for(CASES["chat"]), elsewhere).url == "http://a/v1/chat/completions"


@pytest.mark.parametrize(
    "name", ["__proto__", "constructor", "__class__", "api_base", "base_url", "api_key", "extra_headers", "proxy"]
)
def test_fields_that_are_attacks_are_not_sent_on(name: str) -> None:
    case = Asked({**CASES["chat"].fields, name: "http://169.254.169.254/"})
    request = SPEAKERS["openai"].adapter.request(call_for(case), target_of())
    assert json.loads(request.body).keys() == {"model", "messages"}
    assert request.dropped == (name,)
