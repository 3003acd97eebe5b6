"""One sample of every field that an OpenAI client may send, by its path in the fidelity tables.

A sample is the members that it adds to, or puts in place of, those of a plain request. `test_fidelity.py` checks the
list against the official SDK's own types, so that a new field of OpenAI's cannot be forgotten.
"""

from __future__ import annotations

from typing import Any

USER = {"role": "user", "content": "hello"}
FUNCTION = {"name": "look_up", "parameters": {"type": "object", "properties": {"word": {"type": "string"}}}}
TOOL = {"type": "function", "function": FUNCTION}
OTHER = {"type": "function", "function": {**FUNCTION, "name": "other"}}
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}
JSON_SCHEMA = {"type": "json_schema", "json_schema": {"name": "thing", "schema": SCHEMA}}
CALL = {"id": "call_1", "type": "function", "function": {"name": "look_up", "arguments": '{"word":"x"}'}}
RESULT = {"role": "tool", "tool_call_id": "call_1", "content": "a word"}
PNG = "data:image/png;base64,iVBORw0KGgo="
PDF = "data:application/pdf;base64,JVBERi0="

Fields = dict[str, Any]


def said(*messages: Fields) -> Fields:
    return {"messages": list(messages)}


def part(**members: Any) -> Fields:
    return said({"role": "user", "content": [{"type": "text", "text": "hello"}, members]})


def answered(**members: Any) -> Fields:
    return said(USER, {"role": "assistant", "content": "hi", **members}, {"role": "user", "content": "and?"})


BASE = said(USER)
CHAT: dict[str, tuple[Fields, Fields]] = {
    # path: (the request without it, what is added to it)
    "audio": (BASE, {"audio": {"voice": "alloy", "format": "wav"}}),
    "frequency_penalty": (BASE, {"frequency_penalty": 0.5}),
    "function_call": ({**BASE, "functions": [FUNCTION]}, {"function_call": {"name": "look_up"}}),
    "functions": (BASE, {"functions": [FUNCTION]}),
    "logit_bias": (BASE, {"logit_bias": {"50256": -100}}),
    "logprobs": (BASE, {"logprobs": True}),
    "max_completion_tokens": (BASE, {"max_completion_tokens": 77}),
    "max_tokens": (BASE, {"max_tokens": 77}),
    "metadata": (BASE, {"metadata": {"ticket": "7"}}),
    "modalities": (BASE, {"modalities": ["text", "audio"]}),
    "moderation": (BASE, {"moderation": {"model": "omni-moderation-latest"}}),
    "n": (BASE, {"n": 2}),
    "parallel_tool_calls": ({**BASE, "tools": [TOOL]}, {"parallel_tool_calls": False}),
    "prediction": (BASE, {"prediction": {"type": "content", "content": "maybe this"}}),
    "presence_penalty": (BASE, {"presence_penalty": 0.5}),
    "prompt_cache_key": (BASE, {"prompt_cache_key": "k"}),
    "prompt_cache_options": (BASE, {"prompt_cache_options": {"mode": "explicit"}}),
    "prompt_cache_retention": (BASE, {"prompt_cache_retention": "24h"}),
    "reasoning_effort": (BASE, {"reasoning_effort": "low"}),
    "response_format": (BASE, {"response_format": JSON_SCHEMA}),
    "response_format.json_object": (BASE, {"response_format": {"type": "json_object"}}),
    "response_format.json_schema.strict": (
        {**BASE, "response_format": JSON_SCHEMA},
        {"response_format": {**JSON_SCHEMA, "json_schema": {**JSON_SCHEMA["json_schema"], "strict": True}}},
    ),
    "response_format.json_schema.description": (
        {**BASE, "response_format": JSON_SCHEMA},
        {"response_format": {**JSON_SCHEMA, "json_schema": {**JSON_SCHEMA["json_schema"], "description": "a thing"}}},
    ),
    "safety_identifier": (BASE, {"safety_identifier": "somebody"}),
    "seed": (BASE, {"seed": 7}),
    "service_tier": (BASE, {"service_tier": "flex"}),
    "stop": (BASE, {"stop": ["END", "FIN"]}),
    "store": (BASE, {"store": True}),
    "temperature": (BASE, {"temperature": 0.25}),
    "tool_choice": ({**BASE, "tools": [TOOL]}, {"tool_choice": "required"}),
    "tool_choice.named": (
        {**BASE, "tools": [TOOL, OTHER]},
        {"tool_choice": {"type": "function", "function": {"name": "look_up"}}},
    ),
    "tool_choice.none": ({**BASE, "tools": [TOOL]}, {"tool_choice": "none"}),
    "tool_choice.allowed_tools": (
        {**BASE, "tools": [TOOL, OTHER]},
        {
            "tool_choice": {
                "type": "allowed_tools",
                "allowed_tools": {"mode": "auto", "tools": [{"type": "function", "function": {"name": "other"}}]},
            }
        },
    ),
    "tools": (BASE, {"tools": [TOOL]}),
    "tools.custom": (BASE, {"tools": [{"type": "custom", "custom": {"name": "run", "description": "runs code"}}]}),
    "tools.function.description": (
        {**BASE, "tools": [TOOL]},
        {"tools": [{"type": "function", "function": {**FUNCTION, "description": "finds a word"}}]},
    ),
    "tools.function.strict": (
        {**BASE, "tools": [TOOL]},
        {"tools": [{"type": "function", "function": {**FUNCTION, "strict": True}}]},
    ),
    "top_logprobs": ({**BASE, "logprobs": True}, {"top_logprobs": 3}),
    "top_p": (BASE, {"top_p": 0.75}),
    "user": (BASE, {"user": "somebody"}),
    "verbosity": (BASE, {"verbosity": "low"}),
    "web_search_options": (BASE, {"web_search_options": {"search_context_size": "low"}}),
    "vendor_field": (BASE, {"vendor_field": {"a": 1}}),
    "messages.content": (BASE, said({"role": "user", "content": "something else"})),
    "messages.name": (BASE, said({**USER, "name": "ann"})),
    "messages.role.system": (BASE, said({"role": "system", "content": "be kind"}, USER)),
    "messages.role.developer": (BASE, said({"role": "developer", "content": "be kind"}, USER)),
    "messages.role.system.later": (
        answered(),
        said(USER, {"role": "assistant", "content": "hi"}, {"role": "system", "content": "now be brief"},
             {"role": "user", "content": "and?"}),
    ),
    "messages.content.image_url": (BASE, part(type="image_url", image_url={"url": PNG})),
    "messages.content.image_url.url": (BASE, part(type="image_url", image_url={"url": "https://example.com/a.png"})),
    "messages.content.image_url.detail": (
        part(type="image_url", image_url={"url": PNG}),
        part(type="image_url", image_url={"url": PNG, "detail": "low"}),
    ),
    "messages.content.input_audio": (BASE, part(type="input_audio", input_audio={"data": "UklGRg==", "format": "wav"})),
    "messages.content.file": (BASE, part(type="file", file={"filename": "a.pdf", "file_data": PDF})),
    "messages.content.file.file_id": (BASE, part(type="file", file={"file_id": "file-123"})),
    "messages.content.file.filename": (
        part(type="file", file={"file_data": PDF}),
        part(type="file", file={"file_data": PDF, "filename": "a.pdf"}),
    ),
    "messages.content.refusal": (
        answered(),
        said(USER, {"role": "assistant", "content": [{"type": "refusal", "refusal": "I will not"}]},
             {"role": "user", "content": "and?"}),
    ),
    "messages.refusal": (
        answered(),
        said(USER, {"role": "assistant", "content": None, "refusal": "I will not"},
             {"role": "user", "content": "and?"}),
    ),
    "messages.vendor_member": (answered(), answered(vendor_member="x")),
    "messages.audio": (answered(), answered(audio={"id": "audio_1"})),
    "messages.tool_calls": (
        {**BASE, "tools": [TOOL]},
        {**said(USER, {"role": "assistant", "content": None, "tool_calls": [CALL]}, RESULT), "tools": [TOOL]},
    ),
    "messages.function_call": (
        {**BASE, "functions": [FUNCTION]},
        said(
            USER,
            {"role": "assistant", "content": None, "function_call": {"name": "look_up", "arguments": "{}"}},
            {"role": "function", "name": "look_up", "content": "a word"},
        ),
    ),
    "messages.tool_call_id": (
        {**BASE, "tools": [TOOL]},
        {**said(USER, {"role": "assistant", "content": "hm", "tool_calls": [CALL]}, RESULT), "tools": [TOOL]},
    ),
    "messages.reasoning_content": (answered(), answered(reasoning_content="let me see")),
    "messages.reasoning_details": (
        answered(),
        answered(reasoning_details=[{"type": "reasoning.text", "text": "let me see", "format": "nobodys-v1"}]),
    ),
    "messages.cache_control": (
        part(type="text", text="much text"),
        part(type="text", text="much text", cache_control={"type": "ephemeral"}),
    ),
    "messages.cache_control.breakpoint": (
        part(type="text", text="much text"),
        part(type="text", text="much text", prompt_cache_breakpoint={"mode": "explicit"}),
    ),
}  # fmt: skip
EMBEDDINGS: dict[str, tuple[Fields, Fields]] = {
    "input": ({"input": "hello"}, {"input": ["one", "two"]}),
    "input.tokens": ({"input": "hello"}, {"input": [1, 2, 3]}),
    "dimensions": ({"input": "hello"}, {"dimensions": 256}),
    "user": ({"input": "hello"}, {"user": "somebody"}),
    "vendor_field": ({"input": "hello"}, {"vendor_field": 1}),
}
OURS = frozenset({"model", "stream", "stream_options", "encoding_format", "role", "type", "content", "text"})
"""Fields that the gateway itself acts on, or that every sample has."""
