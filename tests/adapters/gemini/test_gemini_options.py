"""What a request asks of the answer: sampling, thinking, form, choices, Google's own fields, the address."""

from __future__ import annotations

import json
from typing import Any

import pytest

from adapters.errors import Unsupported
from adapters.gemini.models import model_of
from adapters.gemini.thinking import EFFORTS
from tests.adapters.gemini.asking import ADAPTER, NEWEST, TOOL, USER, asked, body_of, call_of, config_of, target

FORM = {"type": "json_schema", "json_schema": {"name": "s", "schema": {"type": "object", "properties": {"a": {}}}}}


@pytest.mark.parametrize(
    ("model", "effort", "expected"),
    [
        ("gemini-4-argon", "none", {"thinkingLevel": "LOW"}),
        ("gemini-4-neon", "minimal", {"thinkingLevel": "LOW", "includeThoughts": True}),
        ("gemini-3.8-flash", "minimal", {"thinkingLevel": "LOW", "includeThoughts": True}),
        ("gemini-3.6-flash", "minimal", {"thinkingLevel": "MINIMAL", "includeThoughts": True}),
        ("gemini-3.5-flash-lite", "none", {"thinkingLevel": "MINIMAL"}),
        ("gemini-3.1-pro-preview", "medium", {"thinkingLevel": "MEDIUM", "includeThoughts": True}),
        ("gemini-3-pro-preview", "medium", {"thinkingLevel": "HIGH", "includeThoughts": True}),
        ("gemini-3-flash-preview", "xhigh", {"thinkingLevel": "HIGH", "includeThoughts": True}),
        ("gemini-2.5-pro", "none", {"thinkingBudget": 128}),
        ("gemini-2.5-pro", "max", {"thinkingBudget": 32768, "includeThoughts": True}),
        ("gemini-2.5-flash", "none", {"thinkingBudget": 0}),
        ("gemini-2.5-flash", "high", {"thinkingBudget": 24576, "includeThoughts": True}),
        ("gemini-2.5-flash-lite", "low", {"thinkingBudget": 1024, "includeThoughts": True}),
        ("gemini-2.0-flash", "high", None),
        ("gemini-2.5-flash-image", "high", None),
    ],
)
def test_an_effort_is_a_level_or_a_budget(model: str, effort: str, expected: dict[str, Any] | None) -> None:
    request = asked(model=model, reasoning_effort=effort)
    config = json.loads(request.body).get("generationConfig", {})
    assert config.get("thinkingConfig") == expected
    is_short = expected is None or (
        effort == "none" and expected not in ({"thinkingBudget": 0}, {"thinkingLevel": "MINIMAL"})
    )
    assert request.dropped == (("reasoning_effort",) if is_short else ())


@pytest.mark.parametrize(
    ("fields", "model", "expected"),
    [
        ({}, "gemini-2.5-pro", {"includeThoughts": True}),
        ({}, "gemini-2.5-flash-lite", None),
        ({}, "gemini-2.0-flash", None),
        ({}, "gemma-3-27b-it", None),
        ({"reasoning": {"exclude": True}}, NEWEST, None),
        ({"reasoning": {"effort": "low", "exclude": True}}, NEWEST, {"thinkingLevel": "LOW"}),
        ({"reasoning": {"enabled": False}}, "gemini-2.5-flash", {"thinkingBudget": 0}),
        ({"reasoning": {"max_tokens": 2000}}, "gemini-2.5-pro", {"thinkingBudget": 2000, "includeThoughts": True}),
        ({"reasoning": {"max_tokens": 9000}}, NEWEST, {"thinkingLevel": "HIGH", "includeThoughts": True}),
        ({"thinking": {"type": "disabled"}}, "gemini-2.5-flash", {"thinkingBudget": 0}),
        (
            {"thinking": {"type": "enabled", "budget_tokens": 99}}, "gemini-2.5-flash-lite",
            {"thinkingBudget": 512, "includeThoughts": True},
        ),
        (
            {"extra_body": {"google": {"thinking_config": {"thinking_level": "low", "include_thoughts": False}}}},
            NEWEST,
            {"thinkingLevel": "LOW", "includeThoughts": False},
        ),
        ({"google": {"thinking_config": {"thinkingBudget": -1}}}, "gemini-2.5-pro", {"thinkingBudget": -1}),
    ],
)  # fmt: skip
def test_thinking_may_be_asked_for_in_any_vendors_words(
    fields: dict[str, Any], model: str, expected: dict[str, Any] | None
) -> None:
    assert config_of(model=model, **fields).get("thinkingConfig") == expected


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"reasoning_effort": "tiny"}, "reasoning_effort"),
        ({"reasoning": {"effort": "tiny"}}, "reasoning.effort"),
        ({"thinking": {"type": "enabled", "budget_tokens": "many"}}, "thinking.budget_tokens"),
        ({"thinking_config": {"thinking_budget": 1, "thinking_level": "LOW"}}, "thinking_config"),
        ({"thinking_config": {"thinking_budget": 1}, "reasoning_effort": "low"}, "reasoning_effort"),
        ({"thinking_config": 5}, "thinking_config"),
        ({"safety_settings": {}}, "safety_settings"),
        ({"top_k": "5"}, "top_k"),
        ({"stop": list("abcdef")}, "stop"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"modalities": [None]}, "modalities"),
        ({"modalities": [["text"]]}, "modalities"),
        ({"n": 0}, "n"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"temperature": "hot"}, "temperature"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_its_name(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(Unsupported) as refused:
        ADAPTER.parts(call_of(**fields), target())
        asked(**fields)
    assert refused.value.param == param


def test_sampling_is_left_out_where_it_changes_nothing() -> None:
    sampled = {"temperature": 0.5, "top_p": 0.9, "top_k": 5}
    assert config_of(**sampled)["topK"] == 5
    request = asked(model="gemini-3.8-flash", **sampled)
    assert request.dropped == ("temperature", "top_p", "top_k")
    assert "temperature" not in json.loads(request.body)["generationConfig"]


def test_penalties_of_gemini_4_are_named_and_those_of_zero_mean_nothing() -> None:
    request = asked(model="gemini-4-argon", frequency_penalty=0.5, presence_penalty=0)
    assert request.dropped == ("frequency_penalty",)
    assert config_of(frequency_penalty=0.5, presence_penalty=0)["frequencyPenalty"] == 0.5
    assert "presencePenalty" not in config_of(presence_penalty=0)


def test_stop_texts_seed_and_limit() -> None:
    config = config_of(stop=["a", "", "b"], seed=2**40 + 3, max_completion_tokens=16, max_tokens=5)
    assert (config["stopSequences"], config["seed"], config["maxOutputTokens"]) == (["a", "b"], 3, 16)


def test_a_limit_is_the_clients_own_however_small_and_however_much_the_model_thinks() -> None:
    request = asked(model="gemini-4-argon", max_tokens=16)
    assert json.loads(request.body)["generationConfig"]["maxOutputTokens"] == 16
    assert request.dropped == ()


@pytest.mark.parametrize("effort", EFFORTS)
@pytest.mark.parametrize("version", ["2.0", "2.5", "3", "3.1", "3.5", "3.6", "3.8", "4", "9"])
def test_a_level_and_a_budget_are_never_sent_together(version: str, effort: str) -> None:
    for family in ("pro", "flash", "flash-lite", "argon"):
        name = f"gemini-{version}-{family}"
        thinking = config_of(model=name, reasoning_effort=effort).get("thinkingConfig", {})
        steered = thinking.keys() & {"thinkingLevel", "thinkingBudget"}
        assert len(steered) == model_of(name).thinks, name


@pytest.mark.parametrize(
    ("model", "fields", "parts"),
    [
        ("gemini-2.5-flash", {"n": 3}, 1),
        ("gemini-2.5-flash", {"n": 3, "stream": True}, 3),
        ("gemini-2.5-flash", {"n": 9}, 9),
        (NEWEST, {"n": 2}, 2),
        (NEWEST, {"n": 1}, 1),
        (NEWEST, {}, 1),
    ],
)
def test_several_choices_are_one_request_or_several(model: str, fields: dict[str, Any], parts: int) -> None:
    calls = ADAPTER.parts(call_of(**fields), target(model))
    assert len(calls) == parts
    config = json.loads(ADAPTER.request(calls[0], target(model)).body).get("generationConfig", {})
    assert config.get("candidateCount") == (3 if parts == 1 and fields.get("n") == 3 else None)


def test_a_form_beside_functions_is_asked_for_in_words_where_both_are_refused() -> None:
    request = asked(model="gemini-2.5-flash", response_format=FORM, tools=[TOOL])
    body = json.loads(request.body)
    assert "responseMimeType" not in body["generationConfig"]
    assert "JSON Schema" in body["systemInstruction"]["parts"][-1]["text"]
    assert request.dropped == ("response_format",)
    both = config_of(response_format=FORM, tools=[TOOL])
    assert both["responseMimeType"] == "application/json"
    assert both["responseJsonSchema"] == {"type": "object", "properties": {"a": {}}}


def test_a_form_that_no_schema_can_say_is_asked_for_in_words() -> None:
    form = {"type": "json_schema", "json_schema": {"name": "s", "schema": {"$ref": "https://elsewhere/x.json"}}}
    request = asked(response_format=form)
    body = json.loads(request.body)
    assert body["generationConfig"]["responseMimeType"] == "application/json"
    assert "elsewhere" in body["systemInstruction"]["parts"][0]["text"]
    assert request.dropped == ("response_format",)


def test_googles_own_fields_are_taken_at_all_three_places() -> None:
    setting = [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "OFF"}]
    places: list[dict[str, Any]] = [
        {"safety_settings": setting},
        {"safetySettings": setting},
        {"google": {"safety_settings": setting}},
        {"extra_body": {"google": {"safety_settings": setting}}},
    ]
    for fields in places:
        request = asked(**fields)
        assert json.loads(request.body)["safetySettings"] == setting
        assert request.dropped == ()
    assert asked(google={"novelty": 1}, extra_body={"other": 1}, labels={"a": "b"}).dropped == (
        "extra_body.other",
        "google.novelty",
        "labels",
    )


@pytest.mark.parametrize("tier", ["flex", "priority", "standard"])
def test_a_tier_is_passed_on(tier: str) -> None:
    assert body_of(service_tier=tier)["serviceTier"] == tier
    assert "serviceTier" not in body_of(service_tier="auto")
    assert "serviceTier" not in body_of(service_tier="on_demand")


@pytest.mark.parametrize(
    ("model", "path"),
    [
        ("gemini-2.5-pro", "models/gemini-2.5-pro"),
        ("models/gemini-2.5-pro", "models/gemini-2.5-pro"),
        ("google/gemini-2.5-pro", "models/gemini-2.5-pro"),
        ("tunedModels/mine", "tunedModels/mine"),
        ("../../v1/projects?x=#", "models/..%2F..%2Fv1%2Fprojects%3Fx%3D%23"),
        ("a:countTokens", "models/a%3AcountTokens"),
    ],
)
def test_a_model_is_one_step_of_the_path_whatever_its_name(model: str, path: str) -> None:
    assert asked(model=model).url == f"https://h/v1beta/{path}:generateContent"
    assert asked(model=model, stream=True).url == f"https://h/v1beta/{path}:streamGenerateContent?alt=sse"


def test_the_row_may_add_headers() -> None:
    from dataclasses import replace

    request = ADAPTER.request(call_of(), replace(target(), headers=(("x-a", "1"),)))
    assert request.headers == (("x-a", "1"), ("content-type", "application/json"))


@pytest.mark.parametrize("name", ["gemini-9-flash", "gemini-9.1-pro-preview-0101", "gemini-3-flash"])
def test_models_newer_than_the_table_are_taken_for_the_newest(name: str) -> None:
    model = model_of(name)
    assert model.thinks
    assert model.needs_signatures
    assert model.most_candidates == 1


def test_an_old_name_of_the_limit_and_a_name_that_nobody_knows() -> None:
    assert body_of(USER, model="my-model", temperature=1, presence_penalty=1)["generationConfig"] == {
        "temperature": 1,
        "presencePenalty": 1,
    }
