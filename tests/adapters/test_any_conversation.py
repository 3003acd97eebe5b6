"""Any chat, to any protocol of its own: made or refused by name, in order by the protocol's rules, the same each time.

For a long run: `make fuzz`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from typing import Any, Final

import pytest
from hypothesis import example, given, reject
from hypothesis import strategies as st
from msgspec.structs import replace

from adapters.conversation import Turn, read_turns
from adapters.errors import Unsupported
from adapters.fidelity import Report
from adapters.types import Call, HttpRequest, Operation, Target
from gateway.errors import GatewayError
from gateway.http.api.inbound import read_call
from tests.adapters.conversations import body_of, requests, turns
from tests.adapters.recorded import ADAPTERS, target_of
from tests.adapters.test_fuzz import replaced

Object = dict[str, Any]
MODELS: Final[Mapping[str, tuple[str, ...]]] = {
    "anthropic": (
        "claude-3-haiku-20240307", "claude-3-7-sonnet-latest", "claude-opus-4-1", "claude-sonnet-4-5",
        "claude-opus-4-6", "claude-opus-4-8", "claude-sonnet-5-5", "claude-fable-5-1", "claude-haiku-5-5", "tiny",
    ),
    "azure": ("gpt-5", "gpt-4o"),
    "bedrock": (
        "amazon.nova-lite-v1:0", "us.amazon.nova-2-lite-v1:0", "anthropic.claude-3-haiku-20240307-v1:0",
        "us.anthropic.claude-sonnet-4-5-20250929-v1:0", "global.anthropic.claude-opus-4-6-v1",
        "us.anthropic.claude-sonnet-5-5-v1", "mistral.mistral-large-3-675b-instruct", "mistral.mistral-7b-instruct",
        "us.meta.llama3-3-70b-instruct-v1:0", "openai.gpt-oss-120b-1:0", "us.deepseek.r1-v1:0",
    ),
    "codex": ("gpt-5.3-codex",),
    "code_assist": ("gemini-2.5-flash", "gemini-3-pro-preview"),
    "cohere": ("command-a-03-2025", "command-r-08-2024", "command-a-reasoning-08-2025"),
    "gemini": (
        "gemini-2.0-flash", "gemini-2.5-flash", "gemini-2.5-pro", "gemini-3-pro-preview", "gemini-3.6-flash",
        "gemini-4-pro", "gemma-3-27b-it", "tiny",
    ),
    "huggingface": ("openai/gpt-oss-20b:together", "meta-llama/Llama-3.3-70B-Instruct:hf-inference"),
    "mistral": ("mistral-large-latest", "magistral-medium-latest"),
    "ollama": ("gpt-oss:20b", "qwen3:8b", "llama3.2"),
    "tgi": ("tgi",),
    "vertex": ("gemini-2.5-flash", "google/gemini-3-pro-preview", "claude-sonnet-4-5@20250929", "meta/llama-4-maas"),
}  # fmt: skip
GROWING: Final = ("anthropic", "bedrock", "gemini")
NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
NAME_OF_GOOGLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.:-]{0,63}")
ID_OF_BEDROCK: Final = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
MOST_MARKS: Final = 4
NUMBERS: Final = st.integers(0, 1000)
BEFORE_MESSAGES: Final = ("tools", "toolConfig", "system", "systemInstruction")
"""What a cached beginning holds beside messages."""


def call_of(members: Object) -> Call:
    return read(body_of(members))


def read(body: bytes) -> Call:
    try:
        return read_call(Operation.CHAT, body, id="chatcmpl-1", created=1)
    except GatewayError:
        reject()


def targets(number: int, *protocols: str, **options: Any) -> Iterator[tuple[str, Target]]:
    """Yields one model of each protocol; another `number` means others."""
    for protocol in protocols or MODELS:
        models = MODELS[protocol]
        yield protocol, target_of(protocol=protocol, model=models[number % len(models)], options=options)


def made_of(protocol: str, target: Target, call: Call) -> HttpRequest | None:
    """Returns the first request that the call becomes; None if it is refused by the name of a field that it has."""
    adapter = ADAPTERS[protocol]
    try:
        part = adapter.parts(call, target)[0]
        return adapter.request(part, target)
    except Unsupported as refusal:
        assert refusal.param.partition(".")[0].partition("[")[0] in call.fields
        return None


@pytest.mark.fuzz
@given(members=requests(), number=NUMBERS, has_cache=st.booleans())
@example(members={"messages": [{"role": "assistant", "content": ""}]}, number=0, has_cache=False)
def test_any_chat_is_made_in_order_or_refused_by_name(members: Object, number: int, has_cache: bool) -> None:
    call = call_of(members)
    before = {name: bytes(value) for name, value in call.fields.items()}
    for protocol, target in targets(number, prompt_cache=has_cache):
        request = made_of(protocol, target, call)
        assert request == made_of(protocol, target, call)
        if request is not None:
            body = json.loads(request.body)
            RULES[protocol](body)
    assert {name: bytes(value) for name, value in call.fields.items()} == before


@pytest.mark.fuzz
@given(members=requests(), number=NUMBERS, data=st.data())
def test_a_chat_with_a_foreign_value_is_made_or_refused_by_name(
    members: Object, number: int, data: st.DataObject
) -> None:
    call = read(data.draw(replaced(body_of({"modalities": ["text"], "stop": ["x"], **members}))))
    for protocol, target in targets(number):
        request = made_of(protocol, target, call)
        assert request is None or json.loads(request.body)


def turns_of(conversation: list[Object]) -> tuple[list[Turn], tuple[str, ...]] | str:
    """Returns the turns with all that was said in parts, and what was lost; the words of a refusal if there is one."""
    report = Report()
    try:
        found = read_turns(call_of({"messages": conversation}), report)
    except Unsupported as refusal:
        return str(refusal)
    return [replace(turn, words=None, rich=turn.parts) for turn in found], report.dropped


@pytest.mark.fuzz
@given(conversation=turns())
@example(conversation=[{"role": "user", "content": [{"type": "text", "text": ""}]}])
@example(conversation=[{"role": "function", "name": "f", "content": "1"}])
def test_plain_messages_read_together_are_what_they_are_one_by_one(conversation: list[Object]) -> None:
    one_by_one = [{**message, "of_no_protocol": None} for message in conversation]
    assert turns_of(conversation) == turns_of(one_by_one)


@pytest.mark.fuzz
@given(conversation=turns(most=4), more=turns(most=3), number=NUMBERS)
def test_a_longer_chat_begins_with_the_shorter(conversation: list[Object], more: list[Object], number: int) -> None:
    answered = [*conversation, {"role": "user", "content": "now"}]
    longer = [*answered, {"role": "assistant", "content": "so"}, {"role": "user", "content": "and"}, *more]
    longer.append({"role": "user", "content": "then"})
    tools = [{"type": "function", "function": {"name": "f"}}]
    calls = [call_of({"messages": messages, "tools": tools}) for messages in (answered, longer)]
    for protocol, target in targets(number, *GROWING, prompt_cache=False):
        requests_made = [made_of(protocol, target, call) for call in calls]
        if None in requests_made:
            continue
        first, second = (json.loads(request.body) for request in requests_made if request is not None)
        key = "contents" if protocol == "gemini" else "messages"
        assert second[key][: len(first[key])] == first[key]
        assert all(first.get(name) == second.get(name) for name in BEFORE_MESSAGES)


def judge_anthropic(body: Object) -> None:
    messages = [{**message, "content": blocks_of(message["content"])} for message in body["messages"]]
    assert messages[0]["role"] == "user"
    assert all(first["role"] != second["role"] for first, second in pairwise(messages))
    blocks = [block for message in messages for block in message["content"]]
    texts = [*blocks_of(body.get("system", [])), *(block for block in blocks if block["type"] == "text")]
    assert all(block["text"].strip() for block in texts)
    assert all(message["content"] for message in messages)
    ids = [block["id"] for block in blocks if block["type"] == "tool_use"]
    assert len(ids) == len(set(ids))
    assert all(NAME.fullmatch(block["name"]) for block in blocks if block["type"] == "tool_use")
    assert all(re.fullmatch(r"[A-Za-z0-9_-]+", id) for id in ids)
    judge_results(
        [[block["id"] for block in message["content"] if block["type"] == "tool_use"] for message in messages],
        [[block.get("tool_use_id") for block in message["content"]] for message in messages],
    )
    marked = [block for block in [*body.get("tools", ()), *texts_of(body.get("system")), *blocks, body] if marks(block)]
    assert len(marked) <= MOST_MARKS
    assert not any(marks(block) for block in blocks if block["type"] in ("thinking", "redacted_thinking"))
    last = messages[-1]["content"][-1]
    assert messages[-1]["role"] != "assistant" or last["text"] == last["text"].rstrip()
    thinking = body.get("thinking", {})
    assert thinking.get("budget_tokens", 0) < body["max_tokens"]
    names = [tool["name"] for tool in body.get("tools", ())]
    assert len(names) == len(set(names))
    assert body.get("tool_choice", {}).get("name") in (None, *names)


def marks(block: Object) -> bool:
    return "cache_control" in block


def texts_of(system: Any) -> list[Object]:
    return system if isinstance(system, list) else []


def blocks_of(content: Any) -> list[Object]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def judge_results(calls: list[list[str]], results: list[list[str | None]]) -> None:
    """Every turn with calls is followed by one whose first blocks are their results, in the same order, once each."""
    for made, answers in zip(calls, [*results[1:], []], strict=True):
        assert answers[: len(made)] == made
        assert not [id for id in answers[len(made) :] if id is not None]
    assert not [id for id in results[0] if id is not None]


def judge_bedrock(body: Object) -> None:
    messages = body["messages"]
    assert [message["role"] for message in messages] == [("user", "assistant")[n % 2] for n in range(len(messages))]
    blocks = [block for message in messages for block in message["content"]]
    assert all(message["content"] for message in messages)
    assert all(len(block) == 1 for block in [*blocks, *body.get("system", ())])
    assert all(block["text"].strip() for block in [*blocks, *body.get("system", ())] if "text" in block)
    calls = [[block["toolUse"] for block in message["content"] if "toolUse" in block] for message in messages]
    found = [block["toolResult"] for block in blocks if "toolResult" in block]
    assert bool(found) <= ("toolConfig" in body)
    assert all(result["content"] and all(len(block) == 1 for block in result["content"]) for result in found)
    assert all(block["text"].strip() for result in found for block in result["content"] if "text" in block)
    ids = [use["toolUseId"] for uses in calls for use in uses]
    assert all(ID_OF_BEDROCK.fullmatch(id) for id in ids)
    assert len(ids) == len(set(ids))
    assert all(NAME.fullmatch(use["name"]) for uses in calls for use in uses)
    plain = [[block for block in message["content"] if "cachePoint" not in block] for message in messages]
    judge_results(
        [[use["toolUseId"] for use in uses] for uses in calls],
        [[block.get("toolResult", {}).get("toolUseId") for block in content] for content in plain],
    )
    tools = body.get("toolConfig", {}).get("tools", [])
    names = [tool["toolSpec"]["name"] for tool in tools if "toolSpec" in tool]
    assert len(names) == len(set(names))
    assert body.get("toolConfig", {"tools": "f"})["tools"]
    points = [block for block in [*tools, *body.get("system", ()), *blocks] if "cachePoint" in block]
    assert len(points) <= MOST_MARKS
    documents = [block["document"]["name"] for block in blocks if "document" in block]
    assert len(documents) == len(set(documents))


def judge_gemini(body: Object) -> None:
    contents = body["contents"]
    assert contents[0]["role"] == "user"
    assert body.get("systemInstruction", {"parts": "x"})["parts"]
    for content, following in zip(contents, [*contents[1:], {"parts": []}], strict=True):
        parts = content["parts"]
        assert parts
        assert not any(part.get("text") == "" and "thoughtSignature" not in part for part in parts)
        calls = [part["functionCall"] for part in parts if "functionCall" in part]
        results = [part["functionResponse"] for part in following["parts"] if "functionResponse" in part]
        assert [(each.get("id"), each["name"]) for each in calls] == [
            (each.get("id"), each["name"]) for each in results
        ]
        assert all(NAME_OF_GOOGLE.fullmatch(each["name"]) for each in calls)
        assert all(isinstance(each["args"], dict) for each in calls)
        assert all(isinstance(each["response"], dict) for each in results)
    assert not any("functionResponse" in part for part in contents[0]["parts"])
    declared = [each["name"] for tool in body.get("tools", ()) for each in tool.get("functionDeclarations", ())]
    assert len(declared) == len(set(declared))


def judge_codex(body: Object) -> None:
    """Every call has its answer behind it, at once."""
    waiting: list[str] = []
    for item in body["input"]:
        if item["type"] == "function_call":
            waiting.append(item["call_id"])
        elif item["type"] == "function_call_output":
            assert item["call_id"] == waiting.pop(0)
        else:
            assert not waiting
            assert item["content"]
    assert not waiting
    assert body["input"]


def judge_openais(body: Object) -> None:
    """Messages in OpenAI's shape: results behind their calls, in order, and nothing between."""
    messages = body["messages"]
    waiting: list[str] = []
    for message in messages:
        assert message.keys() - {"role"}
        if message["role"] == "tool":
            assert message["tool_call_id"] == waiting.pop(0)
            continue
        assert not waiting
        waiting = [call["id"] for call in message.get("tool_calls", ())]
        for call in message.get("tool_calls", ()):
            assert isinstance(call["function"]["arguments"], str)
    assert not waiting


def judge_cohere(body: Object) -> None:
    judge_openais(body)
    assert not any(message["role"] == "system" for message in body["messages"][1:])
    ids = [call["id"] for message in body["messages"] for call in message.get("tool_calls", ())]
    assert len(ids) == len(set(ids))
    for message in body["messages"]:
        for call in message.get("tool_calls", ()):
            assert isinstance(json.loads(call["function"]["arguments"]), dict)


def judge_mistral(body: Object) -> None:
    judge_openais(body)
    messages = body["messages"]
    assert messages
    assert messages[-1]["role"] != "assistant" or messages[-1]["prefix"] is True
    assert not any("prefix" in message for message in messages[:-1])
    ids = [call["id"] for message in messages for call in message.get("tool_calls", ())]
    assert all(re.fullmatch(r"[A-Za-z0-9]{9}", id) for id in ids)


def judge_ollama(body: Object) -> None:
    for message in body["messages"]:
        assert isinstance(message["content"], str)
        assert all(isinstance(call["function"]["arguments"], dict) for call in message.get("tool_calls", ()))
        assert not any(":" in image for image in message.get("images", ()))


def judge_relayed(body: Object) -> None:
    """What goes on as it came needs no more than to be whole."""
    assert body["messages"]


def judge_vertex(body: Object) -> None:
    if "contents" in body:
        judge_gemini(body)
    elif "anthropic_version" in body:
        judge_anthropic(body)
    else:
        judge_relayed(body)


RULES: Final[Mapping[str, Callable[[Object], None]]] = {
    "anthropic": judge_anthropic,
    "azure": judge_relayed,
    "bedrock": judge_bedrock,
    "codex": judge_codex,
    "code_assist": lambda body: judge_gemini(body["request"]),
    "cohere": judge_cohere,
    "gemini": judge_gemini,
    "huggingface": judge_relayed,
    "mistral": judge_mistral,
    "ollama": judge_ollama,
    "tgi": judge_openais,
    "vertex": judge_vertex,
}
