"""What becomes of each field of a request on its way to Ollama (docs.ollama.com/api, read 2026-08-21)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from adapters.fidelity import Table, Treatment, dropped, emulated, passed, refused, renamed
from adapters.types import Operation

_NO_PLACE: Final = "Ollama has no such field"
_OWN: Final = "Ollama's own"


def _option(name: str, note: str = "") -> Treatment:
    return renamed(f"options.{name}", note)


_OPTIONS: Final[Table] = {
    "temperature": _option("temperature", "the server's own is 0.8, or the model file's"),
    "top_p": _option("top_p"),
    "seed": _option("seed", "one beyond 53 bits becomes a smaller, always the same; -1 is a random one"),
    "presence_penalty": _option("presence_penalty"),
    "frequency_penalty": _option("frequency_penalty"),
    "stop": _option("stop", "a text becomes a list of one"),
    "max_tokens": _option("num_predict"),
    "top_k": _option("top_k", _OWN),
    "min_p": _option("min_p", _OWN),
    "typical_p": _option("typical_p", _OWN),
    "repeat_penalty": _option("repeat_penalty", _OWN),
    "repeat_last_n": _option("repeat_last_n", _OWN),
    "num_predict": _option("num_predict", f"{_OWN}; wins over max_tokens"),
    "num_keep": _option("num_keep", _OWN),
    "num_ctx": _option("num_ctx", f"{_OWN}: the size of the context, in tokens"),
    "num_batch": _option("num_batch", _OWN),
    "num_gpu": _option("num_gpu", _OWN),
    "main_gpu": _option("main_gpu", _OWN),
    "num_thread": _option("num_thread", _OWN),
    "use_mmap": _option("use_mmap", _OWN),
    "options": passed(f"{_OWN}; its members win over fields of their names"),
    "keep_alive": passed(f"{_OWN}: how long the model stays loaded, `5m` or seconds; negative for ever"),
    "truncate": passed(_OWN),
    "shift": passed(_OWN),
    "think": passed(f"{_OWN}; wins over reasoning_effort"),
    "format": passed(f"{_OWN}; wins over response_format"),
    "reasoning": renamed("think", "`effort` and `enabled`; anything else in it is reported"),
}
CHAT: Final[Table] = {
    "model": passed("`:cloud` is taken off for a remote server and refused for a local one; see `cloud_suffix`"),
    "stream": passed("always sent: Ollama streams unless it is told not to"),
    "stream_options": emulated("the frame of token counts is made from the last line"),
    "messages": passed(),
    "messages.role": passed("developer becomes system, function becomes tool"),
    "messages.content": passed("one text: parts are joined with a newline"),
    "messages.content.text": passed(),
    "messages.content.image_url": renamed("messages.images", "inline data only; an address is refused"),
    "messages.content.image_url.url": refused("Ollama does not fetch images; send a `data:` URL with base64"),
    "messages.content.image_url.detail": dropped(_NO_PLACE),
    "messages.content.input_audio": renamed("messages.images", "models that hear only"),
    "messages.content.video_url": refused("send images of it"),
    "messages.content.file": refused("send its text"),
    "messages.content.refusal": renamed("messages.content", "as text"),
    "messages.refusal": renamed("messages.content", "as text"),
    "messages.name": dropped(_NO_PLACE),
    "messages.prefix": dropped("an answer cannot be begun by the client"),
    "messages.is_error": dropped("the text of the result has to say so"),
    "messages.audio": dropped("a spoken answer is only with its own vendor"),
    "messages.extra_content": dropped("of other vendors"),
    "messages.cache_control": dropped("Ollama finds equal beginnings by itself"),
    "messages.tool_calls": passed("arguments become an object"),
    "messages.tool_calls.custom": renamed("messages.tool_calls.function", "the text becomes `input`"),
    "messages.tool_call_id": passed("together with `tool_name`, which older servers go by"),
    "messages.function_call": renamed("messages.tool_calls"),
    "messages.reasoning_content": renamed("messages.thinking"),
    "messages.reasoning_details": renamed("messages.thinking", "text without a signature; the rest is reported"),
    "tools": passed("functions"),
    "tools.function.parameters": passed("keywords that Ollama would lose are told in descriptions"),
    "tools.function.strict": dropped("nothing holds the arguments to a schema"),
    "tools.custom": renamed("tools.function", "with one string, `input`; the call comes back as a custom one"),
    "tools.cache_control": dropped("Ollama finds equal beginnings by itself"),
    "tool_choice": emulated("none, allowed and named tools by what is sent; that one must be used is reported"),
    "parallel_tool_calls": dropped("the model decides"),
    "functions": renamed("tools"),
    "function_call": emulated("as tool_choice"),
    "max_completion_tokens": _option("num_predict"),
    "response_format": renamed("format", "beside tools asked for in words, and reported"),
    "response_format.json_schema.strict": emulated("a schema always holds"),
    "response_format.json_schema.description": dropped(_NO_PLACE),
    "reasoning_effort": renamed("think", "minimal is low, xhigh is max; none is low for gpt-oss, and reported"),
    "n": emulated("one call for each choice"),
    "logprobs": passed("servers of 2025-11 and newer"),
    "top_logprobs": passed("0 to 20"),
    "logit_bias": dropped(_NO_PLACE),
    "user": dropped(_NO_PLACE),
    "store": dropped(_NO_PLACE),
    "metadata": dropped(_NO_PLACE),
    "modalities": dropped("text only"),
    "moderation": dropped(_NO_PLACE),
    "audio": dropped("text only"),
    "prediction": dropped(_NO_PLACE),
    "service_tier": dropped(_NO_PLACE),
    "prompt_cache_key": dropped("Ollama finds equal beginnings by itself"),
    "prompt_cache_options": dropped("Ollama finds equal beginnings by itself"),
    "prompt_cache_retention": dropped("see `keep_alive`"),
    "safety_identifier": dropped(_NO_PLACE),
    "verbosity": dropped(_NO_PLACE),
    "web_search_options": dropped(_NO_PLACE),
    **_OPTIONS,
}
COMPLETIONS: Final[Table] = {
    "model": CHAT["model"],
    "prompt": passed("one text, in the model's own template unless `raw` is true"),
    "suffix": passed("models that can fill in only"),
    "stream": CHAT["stream"],
    "stream_options": CHAT["stream_options"],
    "echo": emulated("the prompt is put before the answer"),
    "n": emulated("one call for each choice"),
    "logprobs": renamed("top_logprobs", "servers of 2025-11 and newer"),
    "best_of": dropped(_NO_PLACE),
    "logit_bias": dropped(_NO_PLACE),
    "user": dropped(_NO_PLACE),
    "raw": passed(_OWN),
    "system": passed(_OWN),
    "template": passed(_OWN),
    "context": passed(_OWN),
    "images": passed(f"{_OWN}: base64"),
    **_OPTIONS,
}
EMBEDDINGS: Final[Table] = {
    "model": CHAT["model"],
    "input": passed("texts that are not empty; tokens are refused"),
    "dimensions": passed("servers of 2025-09 and newer"),
    "encoding_format": emulated("numbers are encoded here"),
    "user": dropped(_NO_PLACE),
    "truncate": passed(f"{_OWN}: false refuses a text that is too long; it is cut otherwise"),
    "keep_alive": CHAT["keep_alive"],
    "options": passed(_OWN),
}
TABLES: Final[Mapping[Operation, Table]] = MappingProxyType(
    {Operation.CHAT: CHAT, Operation.COMPLETIONS: COMPLETIONS, Operation.EMBEDDINGS: EMBEDDINGS}
)
