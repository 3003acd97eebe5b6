"""What becomes of each field of a chat on its way to the Messages API."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from adapters.fidelity import Table, dropped, emulated, passed, refused, renamed
from adapters.types import Operation

NATIVE: Final = (
    "cache_control", "container", "context_management", "diagnostics", "fallbacks", "inference_geo", "mcp_servers",
    "speed",
)  # fmt: skip
"""Fields of the protocol's own that travel as they came."""

_CHAT: Final[Table] = {
    "model": passed(),
    "messages": renamed(
        "messages, system", "neighbours of one role become one; results stand at once after their calls"
    ),
    "messages.role": renamed("role, system", "later system messages stay in place, as such or among the user's words"),
    "messages.role.developer": renamed("system"),
    "messages.role.system": renamed("system"),
    "messages.content": passed("blank texts are left out; media of earlier answers become a note"),
    "messages.content.refusal": renamed("text"),
    "messages.tool_call_id": renamed("tool_use_id"),
    "messages.is_error": passed(),
    "messages.extra_content": dropped(),
    "messages.name": dropped(),
    "messages.cache_control": passed("at most four in a request; beyond that the earliest go"),
    "messages.content.cache_control": passed(),
    "messages.content.image_url": renamed("image", "JPEG, PNG, GIF, WebP; data or an address"),
    "messages.content.image_url.detail": dropped(),
    "messages.content.file": renamed("document", "PDF and text; ids only of the vendor's own files"),
    "messages.content.file.file_id": renamed("source.file_id", "of the vendor's own files; others are refused"),
    "messages.content.file.filename": renamed("title"),
    "messages.content.input_audio": refused("Claude takes no audio"),
    "messages.content.video_url": refused("Claude takes no video"),
    "messages.reasoning_content": emulated("back only with its signature, from `reasoning_details`; else dropped"),
    "messages.reasoning_details": renamed("thinking, redacted_thinking", "reasoning of other vendors is dropped"),
    "messages.tool_calls": renamed("tool_use", "ids and names in other characters are replaced, and back"),
    "messages.function_call": renamed("tool_use"),
    "messages.refusal": renamed("text"),
    "messages.audio": dropped("the transcript is not sent along"),
    "messages.prefix": emulated("up to Claude 4.5 and without thinking; newer models are asked to continue"),
    "max_completion_tokens": renamed("max_tokens", "above the model's most, that is sent"),
    "max_tokens": passed("as max_completion_tokens; without either, `default_max_tokens` of the options"),
    "temperature": passed("0 to 1; not taken by Claude from 4.7 on, nor while it thinks"),
    "top_p": passed("not beside temperature from Claude 4.1 on; not taken from 4.7 on"),
    "top_k": passed("not taken by Claude from 4.7 on, nor while it thinks"),
    "stop": renamed("stop_sequences", "blank ones are dropped"),
    "stream": passed(),
    "stream_options": emulated("the gateway tells the usage at the end"),
    "tools": renamed("tools"),
    "tools.cache_control": passed(),
    "tools.function.description": passed(),
    "tools.function.parameters": renamed("input_schema", "alternatives at the top are laid together"),
    "tools.function.strict": passed("Claude from 4.5 on, where the schema can be; else dropped"),
    "tools.custom": emulated("a tool with one property `input`"),
    "tools.custom.format": emulated("told in the description"),
    "tool_choice": renamed("tool_choice", "words where a model takes no force"),
    "tool_choice.allowed_tools": emulated("the other tools are not sent"),
    "parallel_tool_calls": renamed("tool_choice.disable_parallel_tool_use"),
    "functions": renamed("tools", "the answer has a function_call"),
    "function_call": renamed("tool_choice"),
    "response_format": emulated(
        "a schema goes to output_config.format (Claude from 4.5 on) or becomes a tool that must be called; else words"
    ),
    "response_format.json_object": emulated("words in the system prompt, and the fence around the answer taken away"),
    "response_format.json_schema.description": renamed("description", "of the schema"),
    "response_format.json_schema.schema": renamed(
        "output_config.format.schema", "keywords that do not bind there are told in descriptions, and reported"
    ),
    "response_format.json_schema.strict": emulated("always strict, where the model can be held to a schema"),
    "reasoning_effort": renamed("thinking, output_config.effort", "a budget of tokens before Claude 4.6"),
    "thinking": passed(),
    "output_config": passed(),
    "betas": renamed("anthropic-beta"),
    "user": renamed("metadata.user_id", "hashed if it looks like an address or is too long"),
    "safety_identifier": renamed("metadata.user_id", "before user"),
    "metadata": emulated("`user_id` is sent, the rest dropped"),
    "service_tier": renamed("service_tier", "default becomes standard_only"),
    "n": emulated("one call for each choice"),
    "logit_bias": refused("Claude takes no bias of tokens; leave it out"),
    "modalities": refused("Claude answers in text only; ask for text"),
    "audio": dropped(),
    "frequency_penalty": dropped(),
    "presence_penalty": dropped(),
    "logprobs": dropped("the answer has none"),
    "top_logprobs": dropped(),
    "seed": dropped(),
    "prediction": dropped(),
    "store": dropped(),
    "verbosity": dropped(),
    "prompt_cache_key": dropped(),
    "prompt_cache_options": dropped(),
    "prompt_cache_retention": dropped(),
    "moderation": dropped(),
    "web_search_options": dropped(),
    **{name: passed("the protocol's own") for name in NATIVE},
}

FIDELITY: Final[Mapping[Operation, Table]] = MappingProxyType({Operation.CHAT: _CHAT})
