"""Model ids: the marks `:cloud`, `-cloud` and `:local`, which say where a model runs.

The marks are those of Ollama's own parser (github.com/ollama/ollama, internal/modelref, read 2026-08-21). The rest of
an id, colons and slashes included, is never touched.
"""

from __future__ import annotations

from typing import Final, Literal

from adapters.errors import Unsupported
from adapters.hosts import is_local_host
from adapters.types import Target

Mark = Literal["", "cloud", "local"]
_IN_TAG: Final = "-cloud"
_LEVELS_ONLY: Final = "gpt-oss"


def read_mark(model: str) -> tuple[str, Mark]:
    """Returns a model id without its mark, and the mark."""
    name, colon, tag = model.rpartition(":")
    lower = tag.lower()
    if not colon or not name:
        return model, ""
    if lower == "cloud":
        return name, "cloud"
    if lower == "local":
        return name, "local"
    if "/" not in lower and lower.endswith(_IN_TAG) and lower != _IN_TAG:
        return model[: -len(_IN_TAG)], "cloud"
    return model, ""


def upstream_model(target: Target) -> str:
    """Returns the id to send; raises Unsupported for a cloud model on this machine, or without a credential.

    `:local` is left for the server: newer ones know the mark, for older ones it is a tag like any other.
    """
    name, mark = read_mark(target.model)
    if not mark:
        return target.model
    if read_mark(name)[1]:
        raise Unsupported("model", f"model {target.model!r} has two marks; use `:cloud` or `:local`, not both")
    if mark == "local" or target.options.cloud_suffix == "keep":
        return target.model
    if is_local_host(target.base_url):
        raise Unsupported(
            "model",
            f"model {target.model!r} runs in Ollama's cloud, and this server is a local endpoint: use "
            f"`ollama-cloud/{name}` with OLLAMA_API_KEY, or set `options.cloud_suffix: keep` if it is signed in",
        )
    if not target.has_credential:
        raise Unsupported(
            "model", f"model {target.model!r} runs in Ollama's cloud, which needs a credential: set OLLAMA_API_KEY"
        )
    return name


def knows_only_levels(model: str) -> bool:
    """True for models whose reasoning has levels and no off (docs.ollama.com/capabilities/thinking, 2026-08-21)."""
    return model.rpartition("/")[2].lower().startswith(_LEVELS_ONLY)
