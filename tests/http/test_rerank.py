"""What the gateway itself demands of a rerank request, and that it says where the operation is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st

from adapters.errors import Unsupported
from adapters.types import Operation
from gateway.app import INFERENCE_PATHS
from gateway.errors import GatewayError, InvalidRequest
from gateway.http.api.inbound import read_call
from gateway.http.openapi import describe
from tests.adapters.recorded import ADAPTERS, target_of

ASKED: dict[str, Any] = {"model": "p/m", "query": "q", "documents": ["a", {"text": "b"}]}


def read(body: Any) -> Any:
    return read_call(Operation.RERANK, json.dumps(body).encode(), id="chatcmpl-1", created=1)


def test_a_request_is_read_without_a_stream() -> None:
    call = read({**ASKED, "top_n": 1, "return_documents": True, "stream": True, "vendor": 1})
    assert (call.operation, call.model, call.stream) == (Operation.RERANK, "p/m", False)


@pytest.mark.parametrize(
    ("changed", "param", "code"),
    [
        ({"query": 5}, "query", "invalid_type"),
        ({"query": ["q"]}, "query", "invalid_type"),
        ({"query": ""}, "query", "invalid_value"),
        ({"documents": None}, "documents", "invalid_type"),
        ({"documents": {"text": "a"}}, "documents", "invalid_type"),
        ({"documents": []}, "documents", "empty_array"),
        ({"documents": ["a", None]}, "documents[1]", "invalid_type"),
        ({"documents": [["a"]]}, "documents[0]", "invalid_type"),
        ({"top_n": 0}, "top_n", "invalid_value"),
        ({"top_n": -1}, "top_n", "invalid_value"),
        ({"top_n": 1.5}, "top_n", "invalid_type"),
        ({"top_n": True}, "top_n", "invalid_type"),
        ({"return_documents": 1}, "return_documents", "invalid_type"),
        ({"model": ""}, "model", "missing_required_parameter"),
    ],
)
def test_a_wrong_field_is_named(changed: dict[str, Any], param: str, code: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read({**ASKED, **changed})
    assert (refused.value.param, refused.value.code) == (param, code)


@pytest.mark.parametrize("name", ["model", "query", "documents"])
def test_a_missing_field_is_named(name: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read({key: value for key, value in ASKED.items() if key != name})
    assert (refused.value.param, refused.value.code) == (name, "missing_required_parameter")


@given(
    st.dictionaries(
        st.sampled_from(["query", "documents", "top_n", "return_documents", "rank_fields"]),
        st.recursive(
            st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=4)),
            lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner)),
            max_leaves=5,
        ),
    )
)
def test_any_request_is_sent_or_refused(changed: dict[str, Any]) -> None:
    try:
        call = read({**ASKED, **changed})
    except GatewayError:
        return
    for protocol in ("openai", "cohere"):
        try:
            request = ADAPTERS[protocol].request(call, target_of(protocol=protocol))
        except Unsupported as refused:
            assert refused.param.partition("[")[0] in changed
            continue
        assert all(isinstance(text, str) for text in json.loads(request.body)["documents"])


def test_the_endpoint_is_served_and_described() -> None:
    assert INFERENCE_PATHS["/v1/rerank"] is Operation.RERANK
    described = describe(FastAPI())["paths"]["/v1/rerank"]["post"]
    schema = described["requestBody"]["content"]["application/json"]["schema"]
    assert schema["required"] == ["model", "query", "documents"]
    read(described["requestBody"]["content"]["application/json"]["example"])
