"""The adapters by protocol: the one place that knows all of them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from adapters.anthropic import AnthropicAdapter
from adapters.anthropic.batch import AnthropicBatches
from adapters.azure import AzureAdapter
from adapters.batches import BatchProtocol
from adapters.bedrock import BedrockAdapter
from adapters.code_assist import CodeAssistAdapter, CodeAssistPrelude
from adapters.codex import CodexAdapter
from adapters.cohere import CohereAdapter
from adapters.gemini import GeminiAdapter
from adapters.gemini.batch import GeminiBatches
from adapters.huggingface import HuggingFaceAdapter
from adapters.mistral import MistralAdapter
from adapters.ollama import OllamaAdapter
from adapters.openai import OpenAIAdapter
from adapters.openai.batch import OpenAIBatches
from adapters.tgi import TgiAdapter
from adapters.types import Adapter, Operation, Prelude
from adapters.vertex import VertexAdapter
from gateway.domain import ProviderSpec

_ALL: Final[tuple[Adapter, ...]] = (
    OpenAIAdapter(),
    AnthropicAdapter(),
    AzureAdapter(),
    BedrockAdapter(),
    CodeAssistAdapter(),
    CodexAdapter(),
    CohereAdapter(),
    GeminiAdapter(),
    MistralAdapter(),
    HuggingFaceAdapter(),
    OllamaAdapter(),
    TgiAdapter(),
    VertexAdapter(),
)

ADAPTERS: Final[Mapping[str, Adapter]] = MappingProxyType({adapter.protocol: adapter for adapter in _ALL})
"""Protocol -> its adapter; adapters have no state, so one of each serves everybody."""
BATCHES: Final[Mapping[str, BatchProtocol]] = MappingProxyType(
    {"openai": OpenAIBatches(), "anthropic": AnthropicBatches(), "gemini": GeminiBatches()}
)
"""Protocol -> what speaks the batch API that belongs to it, where we know one."""
PRELUDES: Final[Mapping[str, Prelude]] = MappingProxyType({"code_assist": CodeAssistPrelude()})
"""Protocol -> what an account has to be asked first, unless the row says it."""
RULED: Final = frozenset({"openai", "azure", "huggingface"})
"""Protocols whose requests are changed by a row's `rules`; the others are translated and build a body of their own."""
OPTIONS_OF: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {
        "prompt_cache": frozenset({"anthropic", "vertex"}),
        "default_max_tokens": frozenset({"anthropic", "vertex"}),
        "api_version": frozenset({"azure"}),
        "rerank": frozenset({"openai"}),
        "cloud_suffix": frozenset({"ollama"}),
        "project": frozenset({"code_assist"}),
    }
)
"""Option of a row -> the protocols that read it."""


def adapter_of(spec: ProviderSpec) -> Adapter:
    """Returns what speaks a provider's protocol."""
    return spec.adapter or ADAPTERS[spec.protocol]


def paths_of(spec: ProviderSpec) -> Mapping[Operation, str]:
    """Returns the paths below a provider's base URL: its own, else its protocol's."""
    return {**adapter_of(spec).paths, **spec.paths}
