"""What a row may set for a protocol of its own, beside the rules about fields: data only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

RerankShape = Literal["jina", "cohere", "voyage", "tei"]
CloudSuffix = Literal["strip", "keep"]


@dataclass(frozen=True, slots=True)
class Options:
    """Settings of a provider or deployment that an adapter reads; each protocol reads its own and no other."""

    prompt_cache: bool = True
    """Anthropic's protocol: put cache breakpoints where the client put none."""
    default_max_tokens: int = 8192
    """Sent where the protocol demands a limit and the client gave none; never above the model's own."""
    api_version: str = ""
    """Azure's `api-version` of the deployment paths; empty means the v1 paths, which need none."""
    rerank: RerankShape = "jina"
    """OpenAI's protocol: in whose words a server of that kind takes `rerank`."""
    project: str = ""
    """Code Assist: the project of Google Cloud that the login works for, if it needs one."""
    cloud_suffix: CloudSuffix = "strip"
    """Ollama's protocol: `strip` takes `:cloud` off a model and refuses it for a server on this machine; `keep` leaves
    it, for a server of one's own that is signed in and passes such models on."""


NO_OPTIONS: Final = Options()
