"""The name of a provider without a model, and providers that serve some models without a key."""

from __future__ import annotations

import pytest

from adapters.types import Headers
from gateway.registry.assembly import build_catalogue
from gateway.registry.discovery import Discovery
from gateway.settings.model import Settings
from gateway.transport.control import ControlClient, ControlReply
from tests.unit.registry.test_catalogue import catalogue, deployed

FREE = ("glm-4.7-free", "grok-code", "kimi-k2.5-free", "gpt-5-nano", "minimax-m2.1-free", "big-pickle")


@pytest.mark.parametrize(
    ("name", "environ", "model"),
    [
        ("openai", {"OPENAI_API_KEY": "sk-x"}, "gpt-4"),
        ("gpt", {"OPENAI_API_KEY": "sk-x"}, "gpt-4"),
        ("openai", {"OPENAI_API_KEY": "sk-x", "OPENAI_MODEL": "gpt-5.2"}, "gpt-5.2"),
        ("openai", {"OPENAI_API_KEY": "sk-x", "OPENAI_MODEL": "a", "ABI_OPENAI_MODEL": "openai/b"}, "b"),
        ("claude", {"ANTHROPIC_API_KEY": "sk-ant-x"}, "claude-sonnet-4-5-20250929"),
        ("ollama", {"OLLAMA_MODEL": "llama3.2:3b"}, "llama3.2:3b"),
        ("lmstudio", {"ABI_LM_STUDIO_MODEL": "m"}, "m"),
        ("vllm", {"ABI_VLLM_MODEL": "m"}, "m"),
        ("mlx", {"ABI_MLX_MODEL": "m"}, "m"),
    ],
)
def test_a_provider_alone_means_the_model_of_its_variable_or_its_default(
    name: str, environ: dict[str, str], model: str
) -> None:
    assert deployed(catalogue(environ).deploy(name)).target.model == model


def test_a_file_may_say_which_model_a_provider_alone_means() -> None:
    said = Settings.model_validate({"providers": {"groq": {"default_model": "llama-3.3-70b-versatile"}}})
    made = build_catalogue(said, {"GROQ_API_KEY": "gsk_x"})
    assert deployed(made.deploy("groq")).target.model == "llama-3.3-70b-versatile"


def test_a_local_server_alone_means_the_first_model_that_it_lists() -> None:
    made = catalogue()
    assert made.deploy("ollama") == "", "nobody knows what it has"
    made.listing.replace("ollama", ["qwen3:8b", "llama3.2:3b"])
    assert deployed(made.deploy("ollama")).target.model == "qwen3:8b"


def test_a_hosted_provider_without_a_default_means_nothing_alone() -> None:
    made = catalogue({"GROQ_API_KEY": "gsk_x"})
    made.listing.replace("groq", ["a"])
    assert made.deploy("groq") == ""


@pytest.mark.parametrize("model", FREE)
def test_opencode_serves_its_free_models_without_a_key(model: str) -> None:
    found = deployed(catalogue().deploy(f"opencode/{model}"))
    assert (found.target.model, found.key_ring.is_empty) == (model, True)


def test_opencode_says_what_its_other_models_need() -> None:
    said = catalogue().deploy("opencode/claude-opus-4-6")
    assert said == (
        "opencode serves only *-free, big-pickle, grok-code, gpt-5-nano without a credential; "
        "set OPENCODE_API_KEY or OPENCODE_ZEN_API_KEY"
    )
    deployed(catalogue({"OPENCODE_API_KEY": "sk-x"}).deploy("opencode/claude-opus-4-6"))


class Zen(ControlClient):
    """Answers with a list of models, and keeps the headers that it was asked with."""

    def __init__(self) -> None:
        super().__init__()
        self.headers: list[Headers] = []

    async def get(self, url: str, *, headers: Headers = (), timeout_seconds: float) -> ControlReply:
        assert url == "https://opencode.ai/zen/v1/models"
        self.headers.append(headers)
        ids = ", ".join(f'{{"id": "{id}"}}' for id in ("claude-opus-4-6", *FREE))
        return ControlReply(200, {}, f'{{"data": [{ids}]}}'.encode())


async def test_without_a_key_only_the_free_models_of_opencode_are_listed() -> None:
    for environ, listed in (({}, FREE), ({"OPENCODE_API_KEY": "sk-x"}, ("claude-opus-4-6", *FREE))):
        made, zen = catalogue(environ, opencode={}), Zen()
        await Discovery(made, zen, changed=lambda: None, ended=lambda _: None).look_hosted()
        assert made.listing.models == {"opencode": listed}
        sent = [value for headers in zen.headers for name, value in headers if name == "authorization"]
        assert sent == ([f"Bearer {environ['OPENCODE_API_KEY']}"] if environ else [])
