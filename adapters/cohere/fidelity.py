"""What becomes of each field on its way to Cohere (docs.cohere.com/v2/reference, read 2026-08-20)."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from adapters.fidelity import Table, dropped, emulated, passed, refused, renamed

_NO_PLACE: Final = "Cohere has no such field"

CHAT: Final[Table] = MappingProxyType(
    {
        "model": passed("the upstream's own id"),
        "messages": passed(),
        "messages.role.developer": renamed("messages.role", "all system messages become one, at the front"),
        "messages.content": passed("text and images; of a system or tool message text only"),
        "messages.content.image_url": passed("an address or inline data; models with vision only"),
        "messages.content.image_url.detail": passed("auto, low, high"),
        "messages.content.input_audio": refused("send a transcript as text"),
        "messages.content.video_url": refused("send images of it"),
        "messages.content.file": renamed("documents", "text files with inline data; others are refused"),
        "messages.refusal": renamed("messages.content", "as text"),
        "messages.cache_control": dropped("Cohere caches on its own"),
        "messages.audio": dropped("a spoken answer is only with its own vendor"),
        "messages.extra_content": dropped("of other vendors"),
        "messages.name": dropped(_NO_PLACE),
        "messages.prefix": dropped("an answer cannot be begun by the client"),
        "messages.is_error": dropped("the text of the result has to say so"),
        "messages.tool_calls": passed("ids are made unique, empty arguments become {}"),
        "messages.tool_calls.custom": renamed("messages.tool_calls.function", "the text becomes `input`"),
        "messages.tool_call_id": passed("calls without a result get one that says so"),
        "messages.function_call": renamed("messages.tool_calls"),
        "messages.reasoning_content": renamed("messages.tool_plan", "beside tool calls, else a thinking block"),
        "messages.reasoning_details": renamed("messages.content.thinking", "text without a signature only"),
        "tools": passed("functions only; names are made of letters, digits and underscores"),
        "tools.function.parameters": passed("an empty object where there are none"),
        "tools.function.strict": renamed("strict_tools", "for all tools, if each has a required parameter"),
        "tools.custom": refused("write a function with one string parameter"),
        "tools.cache_control": dropped("Cohere caches on its own"),
        "tool_choice.allowed_tools": emulated("only they are sent"),
        "tool_choice": renamed("tool_choice", "NONE, REQUIRED; a named or allowed tool is sent alone"),
        "parallel_tool_calls": dropped("the model decides"),
        "functions": renamed("tools"),
        "function_call": renamed("tool_choice"),
        "max_tokens": passed(),
        "max_completion_tokens": renamed("max_tokens"),
        "temperature": passed("0 to 1; more becomes 1 and is reported"),
        "top_p": renamed("p", "0.01 to 0.99"),
        "top_k": renamed("k", "0 to 500"),
        "stop": renamed("stop_sequences", "at most 5"),
        "seed": passed("not below 0, where it is dropped"),
        "frequency_penalty": passed("0 to 1; other values are moved to the border and reported"),
        "presence_penalty": passed("0 to 1; not beside frequency_penalty, which many models refuse"),
        "response_format": renamed("response_format", "beside tools or documents asked for in words, and reported"),
        "response_format.json_schema.strict": emulated("a schema always holds"),
        "response_format.json_schema.description": dropped(_NO_PLACE),
        "reasoning_effort": renamed("thinking", "none is off; minimal, low and medium are token budgets"),
        "stream": passed(),
        "stream_options": emulated("the frame of token counts is made from the last event"),
        "n": emulated("one call for each choice"),
        "logprobs": passed("of pieces of text, which may be several tokens"),
        "top_logprobs": dropped("Cohere tells no alternatives"),
        "logit_bias": dropped(_NO_PLACE),
        "user": dropped(_NO_PLACE),
        "store": dropped(_NO_PLACE),
        "metadata": dropped(_NO_PLACE),
        "modalities": dropped("text only"),
        "moderation": dropped("see `safety_mode`"),
        "audio": dropped(_NO_PLACE),
        "prediction": dropped(_NO_PLACE),
        "service_tier": dropped("see `priority`"),
        "prompt_cache_key": dropped("Cohere caches on its own"),
        "prompt_cache_options": dropped("Cohere caches on its own"),
        "prompt_cache_retention": dropped("Cohere caches on its own"),
        "safety_identifier": dropped(_NO_PLACE),
        "verbosity": dropped(_NO_PLACE),
        "web_search_options": dropped("v2 has no web search"),
        "documents": passed("of Cohere's own"),
        "citation_options": passed("of Cohere's own"),
        "safety_mode": passed("of Cohere's own; not together with tools or documents"),
        "strict_tools": passed("of Cohere's own"),
        "thinking": passed("of Cohere's own; wins over reasoning_effort"),
        "priority": passed("of Cohere's own"),
        "k": passed("of Cohere's own; wins over top_k"),
        "p": passed("of Cohere's own; wins over top_p"),
    }
)  # fmt: skip

EMBEDDINGS: Final[Table] = MappingProxyType(
    {
        "model": passed("the upstream's own id"),
        "input": renamed("texts", "96 a call; more become several calls; tokens are refused"),
        "dimensions": renamed("output_dimension", "256, 512, 1024 or 1536; embed-v4 and newer"),
        "encoding_format": emulated("numbers are asked for and encoded here"),
        "user": dropped(_NO_PLACE),
        "input_type": passed("search_document if unset; `query` and `document` are understood"),
        "truncate": passed("of Cohere's own"),
        "max_tokens": passed("of Cohere's own"),
        "priority": passed("of Cohere's own"),
    }
)

RERANK: Final[Table] = MappingProxyType(
    {
        "model": passed("the upstream's own id"),
        "query": passed(),
        "documents": passed("objects become text: their `text`, else one line for each member"),
        "top_n": passed(),
        "return_documents": emulated("documents are taken from the request"),
        "max_tokens_per_doc": passed(),
        "rank_fields": emulated("the text is made of these members only"),
        "max_chunks_per_doc": dropped("v1 only"),
        "priority": passed("of Cohere's own"),
    }
)
