"""What becomes of each field of a request on its way to Bedrock (adapters.fidelity)."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from adapters.fidelity import Table, dropped, emulated, passed, refused, renamed

_NO_WORD: Final = "Converse has no word for it"
_NO_SOUND: Final = "the models answer in text only; leave it out"

CHAT: Final[Table] = MappingProxyType(
    {
        "model": renamed("the path"),
        "messages": passed("neighbours of one role are laid together"),
        "messages.content": passed("blank text is left out, or told as `.`; media of an answer are only named"),
        "messages.content.refusal": renamed("messages.content.text"),
        "messages.content.image_url": renamed(
            "messages.content.image", "png, jpeg, gif, webp as `data:` URL, or s3://"
        ),
        "messages.content.image_url.url": refused("Bedrock fetches nothing from the web: `data:` URL or s3://"),
        "messages.content.image_url.detail": dropped(_NO_WORD),
        "messages.content.input_audio": renamed("messages.content.audio", "for the models that hear"),
        "messages.content.video_url": renamed("messages.content.video", "as `data:` URL, or s3://"),
        "messages.content.file": renamed("messages.content.document"),
        "messages.content.file.file_id": refused("files kept by another provider cannot be sent"),
        "messages.content.file.filename": renamed("messages.content.document.name", "forbidden characters left out"),
        "messages.role.system": renamed("system", "behind the first turn: told by the user, and reported"),
        "messages.role.developer": renamed("system"),
        "messages.name": dropped(_NO_WORD),
        "messages.prefix": passed("models that go on with an answer; else dropped"),
        "messages.refusal": renamed("messages.content.text"),
        "messages.audio": dropped("sounds of earlier answers"),
        "messages.tool_calls": renamed("messages.content.toolUse", "told as text in a request without tools"),
        "messages.function_call": renamed("messages.content.toolUse"),
        "messages.tool_call_id": renamed("messages.content.toolResult.toolUseId"),
        "messages.reasoning_content": dropped("only signed reasoning can be sent back"),
        "messages.reasoning_details": renamed("messages.content.reasoningContent", "if the model's family signed it"),
        "messages.cache_control": renamed("messages.content.cachePoint", "Claude and Nova, at most 4 in all"),
        "tools": renamed("toolConfig.tools"),
        "tools.custom": emulated("a function with one text"),
        "tools.custom.format": dropped("grammars"),
        "tools.cache_control": renamed("toolConfig.tools.cachePoint", "Claude only"),
        "tools.function.description": passed(),
        "tools.function.parameters": renamed("toolSpec.inputSchema.json", "alternatives at the top are laid together"),
        "tools.function.strict": passed("models with structured output; else dropped"),
        "tool_choice": renamed("toolConfig.toolChoice", "dropped for models that cannot be forced"),
        "tool_choice.none": emulated("no tools are sent, and earlier calls are told as text"),
        "tool_choice.allowed_tools": emulated("only the allowed tools are sent"),
        "parallel_tool_calls": renamed("tool_choice.disable_parallel_tool_use", "`false`: Claude only, else dropped"),
        "functions": renamed("toolConfig.tools"),
        "function_call": renamed("toolConfig.toolChoice"),
        "response_format": renamed("outputConfig.textFormat", "else a tool that must be called, or words"),
        "response_format.json_object": emulated("asked for in the system's words"),
        "response_format.json_schema.schema": renamed(
            "outputConfig.textFormat", "keywords that do not bind there are told in descriptions, and reported"
        ),
        "response_format.json_schema.strict": passed("models with structured output are always strict; else dropped"),
        "max_completion_tokens": renamed("inferenceConfig.maxTokens", "dropped for Nova with effort `high`"),
        "max_tokens": renamed("inferenceConfig.maxTokens", "dropped for Nova with effort `high`"),
        "temperature": renamed("inferenceConfig.temperature", "0 to 1; dropped beside Claude's thinking"),
        "top_p": renamed("inferenceConfig.topP", "dropped beside Claude's thinking or where one of the two is taken"),
        "stop": renamed("inferenceConfig.stopSequences", "blank ones are dropped for Claude"),
        "reasoning_effort": renamed("additionalModelRequestFields", "Claude, Nova 2, gpt-oss; else dropped"),
        "n": emulated("one request for each choice"),
        "stream": renamed("the path"),
        "stream_options": emulated("Bedrock always counts"),
        "service_tier": renamed("serviceTier.type", "flex, priority, reserved; others are dropped"),
        "metadata": renamed("requestMetadata", "letters, digits and some signs only; else dropped"),
        "top_k": renamed("additionalModelRequestFields", "Claude, Nova, Cohere; else dropped"),
        "thinking": renamed("additionalModelRequestFields.thinking", "Claude only, in Anthropic's words; else dropped"),
        "additionalModelRequestFields": passed("laid over what the gateway puts there"),
        "guardrailConfig": passed(),
        "performanceConfig": passed(),
        "audio": refused(_NO_SOUND),
        "modalities": refused(_NO_SOUND),
        "frequency_penalty": dropped(_NO_WORD),
        "presence_penalty": dropped(_NO_WORD),
        "logit_bias": dropped(_NO_WORD),
        "logprobs": dropped(_NO_WORD),
        "top_logprobs": dropped(_NO_WORD),
        "seed": dropped(_NO_WORD),
        "prediction": dropped(_NO_WORD),
        "moderation": dropped(_NO_WORD),
        "prompt_cache_key": dropped(_NO_WORD),
        "prompt_cache_options": dropped(_NO_WORD),
        "prompt_cache_retention": dropped(_NO_WORD),
        "safety_identifier": dropped(_NO_WORD),
        "store": dropped(_NO_WORD),
        "user": dropped(_NO_WORD),
        "verbosity": dropped(_NO_WORD),
        "web_search_options": dropped(_NO_WORD),
    }
)

EMBEDDINGS: Final[Table] = MappingProxyType(
    {
        "model": renamed("the path"),
        "input": renamed("inputText, texts or text.value", "Titan and Nova read one text a request, Cohere 96"),
        "input.tokens": refused("texts only, no tokens"),
        "dimensions": renamed("dimensions, output_dimension, embeddingDimension", "dropped where it is fixed"),
        "encoding_format": emulated("made from the numbers"),
        "input_type": passed("Cohere; `search_document` if none is given"),
        "truncate": passed("Cohere"),
        "normalize": passed("Titan 2"),
        "embeddingPurpose": passed("Nova; `GENERIC_INDEX` if none is given"),
        "user": dropped(_NO_WORD),
    }
)

RERANK: Final[Table] = MappingProxyType(
    {
        "model": renamed("the path"),
        "query": passed(),
        "documents": passed("objects are told as text"),
        "rank_fields": emulated("only these members of a document are told"),
        "top_n": passed(),
        "return_documents": emulated("they are given back from the request"),
        "max_tokens_per_doc": dropped(_NO_WORD),
        "priority": dropped(_NO_WORD),
        "user": dropped(_NO_WORD),
    }
)
