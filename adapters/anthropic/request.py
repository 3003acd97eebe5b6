"""OpenAI's chat -> a request of the Messages API."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

from msgspec import Struct

from adapters.anthropic.answer import Form, decide
from adapters.anthropic.caching import place_marks
from adapters.anthropic.history import History, blocks_of, build_history
from adapters.anthropic.host import DIRECT, Host
from adapters.anthropic.media import FILES_BETA
from adapters.anthropic.table import FIDELITY, NATIVE
from adapters.anthropic.thought import SAMPLING, Thought, decide_thinking, native_thinking, sampling
from adapters.anthropic.toolset import build_choice, build_tools, demand, is_forced, offered
from adapters.claude import Claude, claude
from adapters.codec import encode
from adapters.conversation import Turn, read_turns
from adapters.errors import Unsupported
from adapters.fidelity import Report, survey
from adapters.fields import Fields, members, text, texts, value
from adapters.structured import Format, read_format
from adapters.tools import Toolbox, read_tools
from adapters.types import Call, Headers, HttpRequest, Operation, Target

Object = dict[str, Any]
API_VERSION: Final = "2023-06-01"
"""Later versions refuse sampling for every model (platform.claude.com, api/versioning, 2026-11)."""
BINDING_BETA: Final = "thinking-binding-controls-2026-08-01"
_BETA: Final = re.compile(r"[a-z0-9][a-z0-9.-]{0,99}")
MOST_BETAS: Final = 32
"""They travel in one header."""
_LONGEST_USER: Final = 256
_SIMPLE: Final = frozenset({"stop", "metadata", "safety_identifier", "user", "service_tier", *NATIVE})


class Built(Struct, frozen=True):
    """A request's body, before it is written."""

    body: Object
    betas: tuple[str, ...] = ()
    """Betas that the body needs, for the header `anthropic-beta` or the place where the host wants them."""


class Asked(Struct, frozen=True):
    """What decides the form of request and answer alike; read by `read_asked` from the call alone."""

    claude: Claude
    toolbox: Toolbox
    format: Format
    form: Form
    may_force: bool
    """A tool can be forced in this request."""


def read_asked(fields: Fields, model: str) -> Asked:
    """Returns what request and answer must agree on."""
    known = claude(model)
    toolbox = read_tools(fields)
    format = read_format(fields)
    is_budgeted = (native_thinking(fields) or {}).get("type") == "enabled"
    may_force = known.forced_tools == "yes" or (known.forced_tools == "not_enabled" and not is_budgeted)
    form = decide(format, known, has_tools=bool(toolbox.tools), may_force=may_force)
    return Asked(known, toolbox, format, form, may_force)


def build_request(call: Call, target: Target, host: Host = DIRECT) -> HttpRequest:
    """Returns the upstream request for `call`; raises Unsupported."""
    report = survey(call.fields, FIDELITY[Operation.CHAT])
    built = build_body(call, target, report, host)
    return HttpRequest(
        method="POST",
        url=target.url(call.operation),
        headers=build_headers(target, built.betas),
        body=encode(built.body),
        dropped=report.dropped,
    )


def build_headers(target: Target, betas: Sequence[str]) -> Headers:
    """Returns the headers of a request: the row's own, the version, and the betas of both, each once."""
    return _headers(target.headers, tuple(betas))


@lru_cache(maxsize=256)
def _headers(own: Headers, betas: tuple[str, ...]) -> Headers:
    named = dict(own)
    wanted = [beta.strip() for beta in named.pop("anthropic-beta", "").split(",") if beta.strip()]
    headers = {**named, "anthropic-version": named.get("anthropic-version", API_VERSION)}
    if every := dict.fromkeys([*wanted, *betas]):
        headers["anthropic-beta"] = ",".join(every)
    return (*headers.items(), ("content-type", "application/json"))


def build_body(call: Call, target: Target, report: Report, host: Host = DIRECT) -> Built:
    """Returns the body in a fixed order of keys, the messages last, so that a longer conversation begins alike."""
    fields = call.fields
    asked = read_asked(fields, target.model)
    known, toolbox, form = asked.claude, asked.toolbox, asked.form
    if form.prompt:
        report.drop("response_format")
    if form.is_weaker:
        report.drop("response_format.json_schema.schema")
    turns = read_turns(call, report)
    thought = decide_thinking(
        fields, known, target.options.default_max_tokens, report, may_budget=_may_budget(asked, turns)
    )
    may_prefill = not thought.is_on and form.schema is None and form.tool is None
    history = build_history(turns, known, host, report, may_prefill=may_prefill)
    if form.prompt:
        history.system.append({"type": "text", "text": form.prompt})
    tools = [form.tool] if form.tool is not None else build_tools(offered(toolbox), known, report)
    place_marks(
        tools, history, report,
        is_wanted=target.options.prompt_cache and known.is_known,
        has_automatic=members(fields, "cache_control") is not None,
    )  # fmt: skip
    choice = _choice(asked, history, report)  # after the marks: its words are gone in the next turn
    thinking = _bound(thought, history, known, host)
    body: Object = {"anthropic_version": host.body_version} if host.body_version else {"model": target.model}
    body["max_tokens"] = thought.max_tokens
    if call.stream:
        body["stream"] = True
    if not SAMPLING.isdisjoint(fields):
        body |= sampling(fields, known, thought, report)
    body |= _simple(fields, report)
    output = _output(fields, thought, form)
    offer: Object = {"tool_choice": choice, "tools": tools} if tools else {}
    system = _plain(history.system) if history.system else None
    body |= _present({"thinking": thinking, "output_config": output or None, **offer, "system": system})
    for message in history.messages:
        content = message["content"]
        if not isinstance(content, str) and len(content) == 1:
            message["content"] = _plain(content)
    body["messages"] = history.messages
    return Built(body, tuple(_betas(fields, history, thinking)))


def _present(members: Object) -> Object:
    return {name: member for name, member in members.items() if member is not None}


def _may_budget(asked: Asked, turns: Sequence[Turn]) -> bool:
    """False where the protocol refuses a budget for thinking: with a forced tool, or after calls made without it."""
    is_held = asked.form.tool is not None or is_forced(asked.toolbox.choice)
    if is_held and asked.may_force and asked.claude.forced_tools == "not_enabled":
        return False
    last = next((turn for turn in reversed(turns) if turn.role == "assistant"), None)
    return last is None or not last.calls or any(each.signature or each.data for each in last.thinking)


def _choice(asked: Asked, history: History, report: Report) -> Object | None:
    """Returns `tool_choice`; asks in words at the end of the conversation where a force is refused."""
    if asked.form.tool is not None:
        return {"type": "tool", "name": asked.form.tool["name"], "disable_parallel_tool_use": True}
    choice = asked.toolbox.choice
    if choice is not None and asked.toolbox.tools and is_forced(choice) and not asked.may_force:
        report.drop("tool_choice")
        note: Object = {"type": "text", "text": demand(choice)}
        last = history.messages[-1]
        if asked.claude.has_inner_system and last["role"] == "user":
            history.messages.append({"role": "system", "content": [note]})
        else:
            blocks_of(last).append(note)
    return build_choice(choice, parallel=asked.toolbox.parallel, may_force=asked.may_force)


def _bound(thought: Thought, history: History, known: Claude, host: Host) -> Object | None:
    """Lets the upstream forget signed reasoning that no longer fits what is before it, instead of refusing all."""
    if not (history.has_thinking and known.binds_thinking and host.binds_thinking):
        return thought.thinking
    thinking = thought.thinking or {"type": "adaptive"}
    if thinking.get("type") != "adaptive" or "block_binding" in thinking:
        return thinking
    return {**thinking, "block_binding": {"prefix_mismatch_behavior": "drop_block"}}


def _output(fields: Fields, thought: Thought, form: Form) -> Object:
    made = dict(members(fields, "output_config") or {}) if "output_config" in fields else {}
    if thought.effort is not None:
        made.setdefault("effort", thought.effort)
    if form.schema is not None:
        made.setdefault("format", {"type": "json_schema", "schema": form.schema})
    return made


def _simple(fields: Fields, report: Report) -> Object:
    """Returns the fields that depend on nothing else."""
    made: Object = {}
    if _SIMPLE.isdisjoint(fields):
        return made
    stops = texts(fields, "stop")
    kept = [stop for stop in stops if stop.strip()]
    if len(kept) < len(stops):
        report.drop("stop")
    if kept:
        made["stop_sequences"] = kept
    user = _user(fields, report)
    if user:
        made["metadata"] = {"user_id": user}
    tier = text(fields, "service_tier")
    if tier in ("default", "standard_only"):
        made["service_tier"] = "standard_only"
    elif tier not in (None, "auto", "priority"):
        report.drop("service_tier")
    for name in NATIVE:
        found = value(fields, name)
        if found is not None:
            made[name] = found
    return made


def _user(fields: Fields, report: Report) -> str:
    """Returns who asks, in a form that names nobody: the vendor wants no personal data (api/messages, 2026-08-22)."""
    metadata = members(fields, "metadata") or {}
    own = metadata.get("user_id")
    if metadata.keys() - {"user_id"}:
        report.drop("metadata")
    user = text(fields, "safety_identifier") or text(fields, "user") or (own if isinstance(own, str) else "")
    if "@" in user or len(user) > _LONGEST_USER:
        return hashlib.sha256(user.encode("utf-8", "surrogatepass")).hexdigest()
    return user


def _betas(fields: Fields, history: History, thinking: Object | None) -> list[str]:
    found = texts(fields, "betas") if "betas" in fields else []
    if len(found) > MOST_BETAS:
        raise Unsupported("betas", f"betas may hold at most {MOST_BETAS} names, got {len(found)}")
    for beta in found:
        if not _BETA.fullmatch(beta):
            raise Unsupported("betas", f"betas: {beta[:64]!r} is no name of a beta")
    if history.has_files:
        found.append(FILES_BETA)
    if thinking is not None and "block_binding" in thinking:
        found.append(BINDING_BETA)
    return found


def _plain(blocks: list[Object]) -> str | list[Object]:
    """Returns one plain text as a string, which every server that speaks the protocol takes."""
    if len(blocks) == 1 and len(blocks[0]) == 2 and blocks[0]["type"] == "text":
        return blocks[0]["text"]
    return blocks
