"""OpenAI chat request -> Converse.

The conversation is the last member of the body: everything before it is the same in each turn, so that a longer
conversation begins with the same bytes.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Final
from urllib.parse import quote

from adapters.bedrock.messages import CachePoints, Writer
from adapters.bedrock.models import Model, model
from adapters.bedrock.table import CHAT
from adapters.bedrock.thinking import model_fields
from adapters.bedrock.tools import answer_config, text_format, tool_config
from adapters.codec import as_object, encode, is_null
from adapters.conversation import Turn, read_turns
from adapters.fidelity import Report, survey
from adapters.fields import Fields, max_tokens, members, number, text, texts
from adapters.settled import settle
from adapters.structured import Format, read_format
from adapters.tools import Toolbox, read_tools
from adapters.types import JSON_HEADERS, Call, HttpRequest, Target

Object = dict[str, Any]
Form = tuple[Object | None, Object | None, str]
_PASSED: Final = ("guardrailConfig", "performanceConfig")
"""Members of Converse that OpenAI has no word for, sent as the client writes them."""
_TIERS: Final = ("flex", "priority", "reserved")
_METADATA: Final = re.compile(r"[a-zA-Z0-9\s:_@$#=/+,\-.]{1,256}")
_MOST_METADATA: Final = 16


def build_chat(call: Call, target: Target) -> HttpRequest:
    """Returns the Converse request for `call`; raises Unsupported."""
    report = survey(call.fields, CHAT)
    fields = call.fields
    knows = model(target.model)
    toolbox = read_tools(fields)
    body = _Body(fields, knows, toolbox, report).build(settle(read_turns(call, report)))
    action = "converse-stream" if call.stream else "converse"
    return HttpRequest(
        method="POST",
        url=model_url(target, action),
        headers=target.headers + JSON_HEADERS,
        body=encode(body),
        dropped=report.dropped,
    )


def model_url(target: Target, action: str) -> str:
    """Returns the URL for the target's model: its whole id is one part of the path, so `:` and `/` are encoded."""
    return f"{target.base_url}/model/{_encoded(target.model)}/{action}"


@lru_cache(maxsize=1024)
def _encoded(id: str) -> str:
    return quote(id, safe="")


class _Body:
    """Builds one body."""

    def __init__(self, fields: Fields, knows: Model, toolbox: Toolbox, report: Report) -> None:
        self._fields = fields
        self._knows = knows
        self._toolbox = toolbox
        self._report = report
        self._points = CachePoints(knows, report)

    def build(self, turns: list[Turn]) -> Object:
        body: Object = {}
        form = read_format(self._fields)
        config = tool_config(self._toolbox, self._knows, self._points, self._report)
        extra = model_fields(self._fields, self._knows, self._toolbox, turns, config, self._report)
        is_thinking = as_object(extra.get("thinking")).get("type", "disabled") != "disabled"
        config, output, prompt = self._form(form, config, is_thinking=is_thinking)
        if sampling := self._sampling(extra):
            body["inferenceConfig"] = sampling
        if config is not None:
            body["toolConfig"] = config
        if output is not None:
            body["outputConfig"] = {"textFormat": output}
        if extra:
            body["additionalModelRequestFields"] = extra
        body |= self._plain()
        writer = Writer(self._knows, self._points, self._report)
        writer.write(turns, has_tools=config is not None, is_thinking=is_thinking)
        if prompt:
            writer.system.append({"text": prompt})
        if writer.system:
            body["system"] = writer.system
        body["messages"] = writer.messages
        return body

    def _form(self, form: Format, config: Object | None, *, is_thinking: bool) -> Form:
        """Returns (toolConfig, textFormat, words for the system) that ask for the answer's form."""
        if form.kind != "json_schema" or form.schema is None:
            return config, None, form.prompt
        if self._knows.form == "native":
            output = text_format(form, self._knows, self._report)
            if output is not None:
                return config, output, ""
        if form.strict:
            self._report.drop("response_format.json_schema.strict")
        if self._knows.form == "tool" and not self._toolbox.tools and not is_thinking:
            return answer_config(form), None, ""
        return config, None, f"{form.prompt}\n{form.description}".rstrip()

    def _sampling(self, extra: Object) -> Object:
        found: Object = {}
        limit = max_tokens(self._fields)
        if limit is not None:
            found["maxTokens"] = self._above_budget(limit, extra)
        found |= self._randomness(extra)
        if stops := self._stops():
            found["stopSequences"] = stops
        if _is_highest(extra):
            newer = "max_completion_tokens"
            limited = "max_tokens" if is_null(self._fields.get(newer)) else newer
            for name, field in (("maxTokens", limited), ("temperature", "temperature"), ("topP", "top_p")):
                if found.pop(name, None) is not None:
                    self._report.drop(field)
        return found

    def _above_budget(self, limit: int, extra: Object) -> int:
        """Returns the limit with the tokens of thinking in it: a budget that is not below it is refused."""
        budget = as_object(extra.get("thinking")).get("budget_tokens")
        if not isinstance(budget, int) or budget < limit:
            return limit
        return min(limit + budget, self._knows.claude.max_tokens or limit + budget)

    def _stops(self) -> list[str]:
        """Returns the stop sequences that the model takes; Claude refuses blank ones."""
        wanted = [stop for stop in texts(self._fields, "stop") if stop]
        kept = [stop for stop in wanted if stop.strip() or not self._knows.claude.is_known]
        if not self._knows.samples:
            kept = []
        if len(kept) < len(wanted):
            self._report.drop("stop")
        return kept

    def _randomness(self, extra: Object) -> Object:
        """Returns temperature and top_p as far as the model takes them beside each other and beside thinking."""
        found: Object = {}
        temperature, top_p = number(self._fields, "temperature"), number(self._fields, "top_p")
        claude = self._knows.claude
        thinks = claude.is_known and as_object(extra.get("thinking")).get("type") in ("enabled", "adaptive")
        takes_any = self._knows.samples and claude.sampling != "none" and not thinks
        if temperature is not None and (takes_any or (thinks and claude.sampling != "none" and temperature == 1)):
            found["temperature"] = min(max(temperature, 0), 1)
            if found["temperature"] != temperature:
                self._report.drop("temperature")
        elif temperature is not None:
            self._report.drop("temperature")
        if top_p is not None and takes_any and not (found and claude.sampling == "one"):
            found["topP"] = top_p
        elif top_p is not None and top_p != 1:
            self._report.drop("top_p")
        return found

    def _plain(self) -> Object:
        """Returns what is sent under a name of its own."""
        found: Object = {}
        for name in _PASSED:
            value = members(self._fields, name)
            if value is not None:
                found[name] = value
        tier = text(self._fields, "service_tier")
        if tier in _TIERS:
            found["serviceTier"] = {"type": tier}
        elif tier not in (None, "auto", "default"):
            self._report.drop("service_tier")
        metadata = members(self._fields, "metadata")
        if metadata and _is_loggable(metadata):
            found["requestMetadata"] = metadata
        elif metadata:
            self._report.drop("metadata")
        return found


def _is_highest(extra: Object) -> bool:
    """True if Nova thinks with the highest effort: then it takes no limit and no sampling (Nova user guide)."""
    return as_object(extra.get("reasoningConfig")).get("maxReasoningEffort") == "high"


def _is_loggable(metadata: Object) -> bool:
    """True for what Bedrock takes as metadata of a request (`RequestMetadata`, botocore 1.44.5)."""
    if len(metadata) > _MOST_METADATA:
        return False
    return all(isinstance(each, str) and _METADATA.fullmatch(each) for pair in metadata.items() for each in pair)
