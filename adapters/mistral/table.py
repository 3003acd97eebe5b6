"""What becomes of each field of a request on its way to Mistral."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from adapters.fidelity import Table, dropped, emulated, passed, refused, renamed
from adapters.types import Operation

MAX_TEMPERATURE: Final = 1.5
"""Mistral's OpenAPI file, 2026-11-21."""

_SAMPLING: Final[Table] = {
    "model": passed(),
    "stream": passed(),
    "stream_options": emulated("usage comes unasked in the last chunk, and is told to those who asked for it"),
    "temperature": passed("above 1.5 it is sent as 1.5 and reported"),
    "top_p": passed(),
    "max_tokens": passed(),
    "stop": passed(),
    "seed": renamed("random_seed", "a negative one is dropped and reported"),
    "random_seed": passed("Mistral's own"),
    "metadata": passed(),
    "prompt_cache_key": passed(),
    "user": dropped(),
    "logit_bias": dropped(),
    "store": dropped(),
}
CHAT: Final[Table] = {
    **_SAMPLING,
    "messages": passed(),
    "messages.content": passed(),
    "messages.name": dropped("but for the name of a tool"),
    "messages.prefix": passed("on the last message; an assistant turn at the end gets it anyway"),
    "messages.role.developer": renamed("messages.role.system"),
    "messages.refusal": renamed("messages.content", "as text"),
    "messages.audio": dropped(),
    "messages.extra_content": dropped("another vendor's"),
    "messages.tool_calls": passed("ids that are not nine letters or digits become nine that depend on them alone"),
    "messages.function_call": renamed("messages.tool_calls"),
    "messages.reasoning_content": renamed("messages.content", "as `thinking`, to models that reason; else reported"),
    "messages.reasoning_details": renamed(
        "messages.content", "plain text as `thinking`, to models that reason; signed and encrypted ones are reported"
    ),
    "messages.cache_control": dropped("`prompt_cache_key` is Mistral's way"),
    "messages.content.image_url": passed(),
    "messages.content.image_url.detail": passed(),
    "messages.content.input_audio": passed("as data without its format"),
    "messages.content.file": renamed("messages.content.document_url", "data and addresses; ids stay ids"),
    "messages.content.video_url": refused("Mistral takes no video"),
    "max_completion_tokens": renamed("max_tokens"),
    "n": passed(),
    "presence_penalty": passed(),
    "frequency_penalty": passed(),
    "parallel_tool_calls": passed(),
    "prediction": passed("parts become one text"),
    "reasoning_effort": passed("Mistral knows `none` and `high`: what lies between becomes the nearer and is reported"),
    "response_format": passed(),
    "response_format.json_schema.strict": passed(),
    "tools": passed("functions only"),
    "tools.custom": refused("Mistral knows functions only; describe the tool as a function with one string"),
    "tools.function.strict": passed(),
    "tools.cache_control": dropped(),
    "tool_choice": passed(),
    "tool_choice.allowed_tools": emulated("the other tools are not sent"),
    "functions": renamed("tools"),
    "function_call": renamed("tool_choice"),
    "safe_prompt": passed("Mistral's own"),
    "prompt_mode": passed("Mistral's own"),
    "guardrails": passed("Mistral's own"),
    "logprobs": dropped(),
    "top_logprobs": dropped(),
    "audio": dropped(),
    "modalities": refused("Mistral answers with text only; leave modalities out"),
    "moderation": dropped(),
    "prompt_cache_options": dropped(),
    "prompt_cache_retention": dropped(),
    "safety_identifier": dropped(),
    "service_tier": dropped(),
    "verbosity": dropped(),
    "web_search_options": dropped(),
}
COMPLETIONS: Final[Table] = {
    **_SAMPLING,
    "prompt": passed("one text"),
    "suffix": passed(),
    "min_tokens": passed("Mistral's own"),
    "n": emulated("by as many requests"),
    "echo": refused("Mistral does not repeat the prompt; put it before the answer yourself"),
    "best_of": dropped(),
    "logprobs": dropped(),
    "presence_penalty": dropped(),
    "frequency_penalty": dropped(),
}
EMBEDDINGS: Final[Table] = {
    "model": passed(),
    "input": passed("texts only"),
    "input.tokens": refused("Mistral takes texts, not token ids"),
    "dimensions": renamed("output_dimension"),
    "output_dimension": passed("Mistral's own"),
    "output_dtype": passed("Mistral's own"),
    "metadata": passed("Mistral's own"),
    "encoding_format": emulated("vectors come as numbers and are told as asked"),
    "user": dropped(),
}
TABLES: Final[Mapping[Operation, Table]] = MappingProxyType(
    {Operation.CHAT: CHAT, Operation.COMPLETIONS: COMPLETIONS, Operation.EMBEDDINGS: EMBEDDINGS}
)
