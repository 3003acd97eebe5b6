"""What the models on Bedrock accept beyond what all of them do: data, and the look-up by a model's id.

An id is a model's own (`anthropic.claude-sonnet-4-5-20250929-v1:0`), that of an inference profile
(`us.amazon.nova-...`), or an ARN that ends in one of them. An application's own profile says nothing about its
model: it gets what most models take. (docs.aws.amazon.com/bedrock: Converse, tool use, prompt caching, structured
output, 2026-11-21; the Converse model of botocore 1.44.5.)
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final, Literal

from adapters.claude import UNKNOWN, Claude, claude

Effort = Literal["claude", "openai", "nova", "none"]
Choice = Literal["all", "any", "none"]
Form = Literal["native", "tool", "prompt"]


@dataclass(frozen=True, slots=True)
class Model:
    """The abilities of one model."""

    claude: Claude = UNKNOWN
    effort: Effort = "none"
    """How it is told to think."""
    choice: Choice = "all"
    """Whether it can be made to call one tool, any tool, or neither."""
    form: Form = "prompt"
    """How it is made to answer in a schema: by the API, by a tool that it must call, or by words."""
    caches: bool = False
    """It takes cache points in system and messages."""
    caches_tools: bool = False
    """It takes cache points behind tools."""
    samples: bool = True
    """It takes temperature, top_p and stop sequences."""
    top_k: tuple[str, ...] = ()
    """Where `top_k` goes in `additionalModelRequestFields`; empty if it takes none."""
    result_status: bool = False
    """It takes `status` in a tool's result."""
    plain_schemas: bool = False
    """The top of a tool's schema may hold `type`, `properties` and `required` only."""
    short_ids: bool = False
    """Ids of tool calls are nine letters or digits."""


_OTHER: Final = Model()
_NOVA: Final = Model(
    form="tool", caches=True, top_k=("inferenceConfig", "topK"), result_status=True, plain_schemas=True
)
_NOVA_2: Final = replace(_NOVA, effort="nova")
_FAMILIES: Final[tuple[tuple[str, Model], ...]] = (
    ("amazon.nova-2", _NOVA_2),
    ("amazon.nova", _NOVA),
    ("openai.gpt-oss", Model(effort="openai", form="native")),
    ("openai.", Model(effort="openai", samples=False)),
    ("mistral.mistral-large-3", Model(choice="any", form="native", short_ids=True)),
    ("mistral.magistral", Model(choice="any", form="native", short_ids=True)),
    ("mistral.ministral", Model(choice="any", form="native", short_ids=True)),
    ("mistral.voxtral", Model(choice="any", form="native", short_ids=True)),
    ("mistral.", Model(choice="any", short_ids=True)),
    ("qwen.qwen3", Model(form="native")),
    ("nvidia.nemotron", Model(form="native")),
    ("moonshot.kimi", Model(form="native")),
    ("moonshotai.kimi", Model(form="native")),
    ("minimax.", Model(form="native")),
    ("google.gemma-3", Model(form="native")),
    ("deepseek.v3", Model(form="native")),
    ("deepseek.", Model(choice="none")),
    ("meta.", Model(choice="none")),
    ("cohere.", Model(choice="none", top_k=("k",))),
    ("ai21.", Model(choice="none")),
    ("amazon.titan", Model(choice="none")),
)
"""Beginning of an id, without a region -> abilities; the first that fits counts."""

_REGION: Final = re.compile(r"^(us|us-gov|eu|apac|ap|au|jp|ca|sa|me|af|global)\.")
_NATIVE_CLAUDES: Final = re.compile(r"claude-(opus|sonnet|haiku)-4-[56]")
_OLD_CLAUDES: Final = re.compile(r"claude-(3|opus-4-2|sonnet-4-2|opus-4-1)")
_NO_CACHE: Final = re.compile(r"claude-(v|instant|3-(sonnet|opus|haiku)|3-5-sonnet-20240620)")


def plain_id(id: str) -> str:
    """Returns a model's own id, in lower case, from an id with a region or an ARN."""
    return _REGION.sub("", id.lower().rpartition("/")[2])


@lru_cache(maxsize=1024)
def model(id: str) -> Model:
    """Returns what the model takes that an id or ARN names."""
    name = plain_id(id)
    if "claude" in name:
        return _claude(name)
    return next((found for start, found in _FAMILIES if name.startswith(start)), _OTHER)


def _claude(name: str) -> Model:
    form: Form = "prompt"
    if _NATIVE_CLAUDES.search(name):
        form = "native"
    elif _OLD_CLAUDES.search(name):
        form = "tool"
    caches = _NO_CACHE.search(name) is None
    return Model(
        claude=claude(name), effort="claude", form=form, caches=caches, caches_tools=caches, top_k=("top_k",),
        result_status=True,
    )  # fmt: skip
