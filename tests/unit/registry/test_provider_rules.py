"""What the built-in rows do to requests, and how they read their vendors' errors."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from adapters.errors import Unsupported
from adapters.failures import FailureKind, classify, describe_bytes, from_description
from adapters.quirks import apply
from gateway.registry.builtin import load_builtin, to_spec

SPECS = {name: to_spec(name, row) for name, row in load_builtin().items()}
HELLO = [{"role": "user", "content": "hello"}]
TOOLS = [
    {"type": "function", "function": {"name": "one", "parameters": {}}},
    {"type": "function", "function": {"name": "two", "parameters": {}}},
]
NAMED = {"type": "function", "function": {"name": "two"}}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "s", "schema": {"type": "object"}}}


def sent(provider: str, model: str = "m", **fields: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Returns what is left of a request, and the names of what was dropped."""
    members = {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in fields.items()}
    dropped = apply(members, SPECS[provider].rules, model)
    return {name: msgspec.json.decode(value) for name, value in members.items()}, dropped


def kind(provider: str, status: int, body: object) -> FailureKind:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    rules = SPECS[provider].failure_rules
    if status == 200:
        return from_description(describe_bytes(content), status, {}, rules).kind
    return classify(status, {}, content, rules).kind


@pytest.mark.parametrize("provider", [name for name, spec in SPECS.items() if spec.rules.strip_nulls])
def test_what_only_openai_knows_is_dropped_and_named(provider: str) -> None:
    fields, dropped = sent(provider, messages=HELLO, store=True, safety_identifier="x")
    assert fields == {"messages": HELLO}
    assert set(dropped) == {"store", "safety_identifier"}


@pytest.mark.parametrize("provider", ["openai", "openrouter", "vercel"])
def test_who_takes_everything_gets_everything(provider: str) -> None:
    request = {
        "messages": [{"role": "developer", "content": "be kind"}],
        "max_completion_tokens": 5,
        "store": True,
        "temperature": None,
    }
    assert sent(provider, **request) == (request, ())


def test_token_limits_have_the_name_that_the_vendor_knows() -> None:
    assert sent("deepseek", messages=HELLO, max_completion_tokens=5)[0]["max_tokens"] == 5
    for provider in ("groq", "cerebras", "xai", "moonshot", "fireworks", "minimax", "lmstudio", "qianfan"):
        assert sent(provider, messages=HELLO, max_completion_tokens=5)[0]["max_completion_tokens"] == 5


def test_the_role_developer_is_kept_where_it_is_known() -> None:
    messages = [{"role": "developer", "content": "x"}]
    assert sent("deepseek", messages=messages)[0]["messages"][0]["role"] == "system"
    for provider in ("groq", "cerebras", "vllm"):
        assert sent(provider, messages=messages)[0]["messages"][0]["role"] == "developer"


def test_groq_gets_neither_names_nor_log_probabilities_nor_lists_of_text() -> None:
    messages = [{"role": "user", "name": "ann", "content": [{"type": "text", "text": "hi"}]}]
    fields, dropped = sent("groq", messages=messages, logprobs=True, n=1)
    assert fields == {"messages": [{"role": "user", "content": "hi"}], "n": 1}
    assert dropped == ("logprobs",)


@pytest.mark.parametrize("provider", ["groq", "zai", "glm", "deepseek", "perplexity", "minimax", "mlx"])
def test_several_choices_are_refused_where_only_one_comes(provider: str) -> None:
    with pytest.raises(Unsupported) as caught:
        sent(provider, messages=HELLO, n=2)
    assert caught.value.param == "n"


@pytest.mark.parametrize("provider", ["zai", "deepseek", "perplexity", "mlx"])
def test_one_choice_is_what_comes_anyway(provider: str) -> None:
    assert sent(provider, messages=HELLO, n=1) == ({"messages": HELLO}, ())


@pytest.mark.parametrize("model", ["kimi-k2.6", "kimi-k2.7-code", "kimi-k3"])
def test_models_with_fixed_sampling_get_none(model: str) -> None:
    fields, dropped = sent("moonshot", model, messages=HELLO, temperature=0.2)
    assert fields == {"messages": HELLO}
    assert dropped == ("temperature",)


def test_a_temperature_beyond_the_vendors_range_is_moved_to_its_border() -> None:
    assert sent("moonshot", "moonshot-v1-8k", messages=HELLO, temperature=1.5)[0]["temperature"] == 1
    assert sent("zai", messages=HELLO, temperature=1.5)[0]["temperature"] == 1
    assert sent("minimax", messages=HELLO, temperature=0)[0]["temperature"] == 0.01
    assert sent("kimi-code", "other", messages=HELLO, temperature=1.5)[0]["temperature"] == 1.5


@pytest.mark.parametrize("choice", ["required", "none", NAMED])
def test_glm_knows_no_tool_choice_but_auto(choice: object) -> None:
    fields, dropped = sent("glm", messages=HELLO, tools=TOOLS, tool_choice=choice)
    assert "tool_choice" not in fields
    assert dropped == ("tool_choice",)
    assert sent("glm", messages=HELLO, tools=TOOLS, tool_choice="auto")[0]["tool_choice"] == "auto"


@pytest.mark.parametrize("provider", ["glm", "zai", "deepseek", "mlx"])
def test_a_schema_goes_into_the_prompt_where_it_cannot_be_sent(provider: str) -> None:
    fields, _ = sent(provider, messages=HELLO, response_format=SCHEMA)
    assert fields["response_format"] == {"type": "json_object"}
    assert fields["messages"][0]["role"] == "system"
    assert '"type":"object"' in fields["messages"][0]["content"]


@pytest.mark.parametrize("provider", ["lmstudio", "perplexity"])
def test_json_without_a_schema_becomes_a_schema_for_any_object(provider: str) -> None:
    fields, _ = sent(provider, messages=HELLO, response_format={"type": "json_object"})
    assert fields["response_format"]["type"] == "json_schema"
    assert fields["response_format"]["json_schema"]["schema"] == {"type": "object"}


def test_lmstudio_gets_a_named_tool_as_the_only_one() -> None:
    fields, _ = sent("lmstudio", messages=HELLO, tools=TOOLS, tool_choice=NAMED)
    assert fields["tool_choice"] == "required"
    assert [tool["function"]["name"] for tool in fields["tools"]] == ["two"]


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("grok-4-fast-reasoning", ("presence_penalty", "reasoning_effort", "stop")),
        ("grok-4-0709", ("presence_penalty", "reasoning_effort", "stop")),
        ("grok-3-mini", ("presence_penalty", "stop")),
        ("grok-4-fast-non-reasoning", ()),
        ("grok-3", ()),
    ],
)
def test_xais_reasoning_models_get_nothing_that_they_refuse(model: str, expected: tuple[str, ...]) -> None:
    _, dropped = sent("xai", model, messages=HELLO, stop=["x"], presence_penalty=1, reasoning_effort="low")
    assert tuple(sorted(dropped)) == expected


def test_fields_are_added_only_where_the_vendor_wants_them() -> None:
    assert sent("nvidia", input="a")[0] == {"input": "a", "input_type": "query"}
    assert sent("nvidia", input="a", input_type="passage")[0]["input_type"] == "passage"
    assert "input_type" not in sent("nvidia", messages=HELLO)[0]
    assert sent("alibaba", "qwen3-32b", messages=HELLO)[0]["enable_thinking"] is False
    assert "enable_thinking" not in sent("alibaba", "qwen3-32b", messages=HELLO, stream=True)[0]
    assert "enable_thinking" not in sent("alibaba", "qwen3-max", messages=HELLO)[0]
    assert sent("glm", messages=HELLO, tools=TOOLS, stream=True)[0]["tool_stream"] is True
    assert "tool_stream" not in sent("zai", messages=HELLO, tools=TOOLS)[0]


@pytest.mark.parametrize(
    ("provider", "model", "effort", "expected"),
    [
        ("deepseek", "deepseek-chat", "minimal", "low"),
        ("deepseek", "deepseek-chat", "medium", "high"),
        ("deepseek", "deepseek-chat", "high", "high"),
        ("moonshot", "kimi-k3", "medium", "high"),
        ("moonshot", "kimi-k3", "xhigh", "max"),
        ("moonshot", "kimi-k2", "medium", "medium"),
    ],
)
def test_efforts_become_those_that_the_vendor_knows(provider: str, model: str, effort: str, expected: str) -> None:
    fields, dropped = sent(provider, model, messages=HELLO, reasoning_effort=effort)
    assert fields["reasoning_effort"] == expected
    assert dropped == (("reasoning_effort",) if effort != expected else ())


def test_a_user_is_told_to_glm_only_if_its_id_is_long_enough() -> None:
    assert sent("glm", messages=HELLO, user="somebody")[0]["user_id"] == "somebody"
    assert sent("glm", messages=HELLO, user="u") == ({"messages": HELLO}, ("user",))


def test_together_gets_one_number_of_log_probabilities() -> None:
    assert sent("together", messages=HELLO, logprobs=True, top_logprobs=4)[0] == {"messages": HELLO, "logprobs": 4}


def test_minimax_gets_one_system_message() -> None:
    messages = [{"role": "system", "content": "a"}, *HELLO, {"role": "developer", "content": "b"}]
    assert sent("minimax", messages=messages)[0]["messages"] == [{"role": "system", "content": "a\n\nb"}, *HELLO]


@pytest.mark.parametrize("provider", ["moonshot", "kimi-code"])
def test_kimi_gets_schemas_of_tools_that_it_takes(provider: str) -> None:
    pair = {"type": "array", "items": [{"type": "string"}, {"type": "integer"}]}
    either = {"type": "string", "anyOf": [{"minLength": 1}, {"type": "null"}]}
    parameters = {"$schema": "http://json-schema.org/draft-07/schema#", "properties": {"pair": pair, "either": either}}
    tools = [{"type": "function", "function": {"name": "one", "strict": True, "parameters": parameters}}]
    made = sent(provider, messages=HELLO, tools=tools)[0]["tools"][0]["function"]
    assert made == {
        "name": "one",
        "parameters": {
            "type": "object",
            "properties": {
                "pair": {"type": "array", "items": {"anyOf": [{"type": "string"}, {"type": "integer"}]}},
                "either": {"anyOf": [{"type": "string", "minLength": 1}, {"type": "null"}]},
            },
        },
    }


def test_null_reaches_nobody_who_fails_on_it() -> None:
    assert sent("mlx", messages=HELLO, temperature=None)[0] == {"messages": HELLO}


def test_deepseek_gets_reasoning_back_only_with_tool_calls() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "one", "arguments": "{}"}}
    messages = [
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "assistant", "content": "a", "reasoning_content": "r"},
    ]
    first, second = sent("deepseek", messages=messages)[0]["messages"]
    assert first["reasoning_content"] == " "
    assert "reasoning_content" not in second


def test_more_stop_texts_or_inputs_than_the_vendor_takes_are_refused() -> None:
    for provider, name, count in (("zai", "stop", 2), ("venice", "stop", 5), ("alibaba", "input", 11)):
        with pytest.raises(Unsupported) as caught:
            sent(provider, messages=HELLO, **{name: ["x"] * count})
        assert caught.value.param == name
        assert sent(provider, messages=HELLO, **{name: ["x"] * (count - 1)})[0][name]


@pytest.mark.parametrize(
    ("provider", "status", "body", "expected"),
    [
        ("zai", 429, {"error": {"code": "1113", "message": "Insufficient balance"}}, FailureKind.QUOTA),
        ("zai", 429, {"error": {"code": "1302", "message": "High concurrency"}}, FailureKind.RATE_LIMIT),
        ("glm", 429, {"error": {"code": "1305", "message": "Busy"}}, FailureKind.OVERLOADED),
        ("glm", 400, {"error": {"code": "1211", "message": "Unknown model"}}, FailureKind.MODEL_MISSING),
        ("glm", 400, {"error": {"code": "1301", "message": "Sensitive"}}, FailureKind.CONTENT_FILTER),
        ("glm", 400, {"error": {"code": "1261", "message": "Prompt too long"}}, FailureKind.CONTEXT_LENGTH),
        ("minimax", 200, {"base_resp": {"status_code": 1008, "status_msg": "no money"}}, FailureKind.QUOTA),
        ("minimax", 200, {"base_resp": {"status_code": 1002, "status_msg": "slow"}}, FailureKind.RATE_LIMIT),
        ("minimax", 200, {"base_resp": {"status_code": 2049, "status_msg": "key"}}, FailureKind.AUTH),
        ("minimax", 200, {"base_resp": {"status_code": 1027, "status_msg": "no"}}, FailureKind.CONTENT_FILTER),
        ("minimax", 200, {"base_resp": {"status_code": 2013, "status_msg": "bad"}}, FailureKind.BAD_REQUEST),
        ("moonshot", 429, {"error": {"type": "exceeded_current_quota_error", "message": ""}}, FailureKind.QUOTA),
        ("moonshot", 429, {"error": {"type": "engine_overloaded_error", "message": ""}}, FailureKind.OVERLOADED),
        ("deepseek", 402, {"error": {"message": "Insufficient Balance"}}, FailureKind.QUOTA),
        ("alibaba", 400, {"error": {"code": "Arrearage", "message": "Access denied"}}, FailureKind.QUOTA),
        (
            "alibaba",
            429,
            {"error": {"code": "insufficient_quota", "message": "You exceeded your current quota"}},
            FailureKind.RATE_LIMIT,
        ),
        ("alibaba", 429, {"error": {"code": "Throttling.AllocationQuota", "message": "slow"}}, FailureKind.RATE_LIMIT),
        ("alibaba", 400, {"error": {"code": "Throttling.RateQuota", "message": "slow"}}, FailureKind.RATE_LIMIT),
        ("alibaba", 429, {"error": {"message": "week allocated quota exceeded"}}, FailureKind.QUOTA),
        ("siliconflow", 403, {"code": 30001, "message": "balance", "data": None}, FailureKind.QUOTA),
        ("siliconflow", 400, {"code": 20012, "message": "Model does not exist."}, FailureKind.MODEL_MISSING),
        ("siliconflow", 400, {"code": 20012, "message": "bad"}, FailureKind.BAD_REQUEST),
        ("siliconflow", 401, b'"Token is invalid"', FailureKind.AUTH),
        ("volcengine", 403, {"error": {"code": "AccountOverdueError", "message": ""}}, FailureKind.QUOTA),
        ("cerebras", 401, {"message": "Wrong API Key", "code": "wrong_api_key"}, FailureKind.AUTH),
        ("lmstudio", 400, {"error": "No models loaded. Please load a model"}, FailureKind.MODEL_MISSING),
        ("openai", 429, {"error": {"code": "insufficient_quota", "message": "quota"}}, FailureKind.QUOTA),
    ],
)
def test_a_vendors_wording_is_understood(provider: str, status: int, body: object, expected: FailureKind) -> None:
    assert kind(provider, status, body) is expected


def test_a_prompt_that_openrouter_flags_puts_no_key_aside() -> None:
    flagged = {"error": {"code": 403, "message": "openai/gpt-4o requires moderation. Your input was flagged for 'x'"}}
    assert kind("openrouter", 403, flagged) is FailureKind.CONTENT_FILTER
    assert kind("openrouter", 403, {"error": {"code": 403, "message": "Key is disabled"}}) is FailureKind.AUTH
