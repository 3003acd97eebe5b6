"""What the name of a provider or a model means."""

from __future__ import annotations

import pytest

from gateway.domain import Connection, ProviderSpec
from gateway.registry.builtin import load_builtin, to_spec
from gateway.registry.registry import Registry, clean_model


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry(to_spec(name, row) for name, row in load_builtin().items())


def spec(id: str, **fields: object) -> ProviderSpec:
    values = {"id": id, "display_name": id, "protocol": "openai", "base_url": "http://h/v1", **fields}
    return ProviderSpec(**values)  # type: ignore[arg-type]


def named(registry: Registry, name: str) -> str | None:
    found = registry.get(name)
    return found.spec.id if found else None


def split(registry: Registry, model: str) -> tuple[str, str] | None:
    found = registry.split_model(model)
    return (found.spec.id, found.model) if found else None


@pytest.mark.parametrize(
    ("name", "id"),
    [(" GROK ", "xai"), ("Gemini", "gemini"), ("Z.AI", "zai"), ("lm_studio", "lmstudio"), ("hf", "huggingface")],
)
def test_a_provider_is_found_by_id_or_alias_in_any_case(registry: Registry, name: str, id: str) -> None:
    assert named(registry, name) == id


@pytest.mark.parametrize("name", ["unknown", "", "  ", "mistralai", "moonshotai", "meta-llama", "deepseek-ai"])
def test_names_of_organisations_are_no_providers(registry: Registry, name: str) -> None:
    assert registry.get(name) is None


def test_an_unknown_name_gets_suggestions(registry: Registry) -> None:
    assert registry.nearest("Grqo")[0] == "groq"
    assert registry.nearest("opnai", 1) == ["openai"]
    assert registry.nearest("qqqqqqqq") == []


def test_an_alias_tells_its_region(registry: Registry) -> None:
    assert registry.get(" KIMI-CN ") == (registry.get("moonshot").spec, "cn")  # type: ignore[union-attr]
    assert registry.get("kimi").region is None  # type: ignore[union-attr]
    found = registry.split_model("byteplus/seed-1-6")
    assert found is not None
    assert (found.spec.id, found.region, found.model) == ("volcengine", "intl", "seed-1-6")


def test_every_id_and_alias_resolves_to_exactly_its_row(registry: Registry) -> None:
    names = [(name, each.id) for each in registry for name in (each.id, *each.aliases)]
    assert len(names) == len({name.lower() for name, _ in names})
    for name, id in names:
        assert named(registry, name) == id
        assert named(registry, name.upper()) == id


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("groq/llama-3.3-70b-versatile", ("groq", "llama-3.3-70b-versatile")),
        ("openrouter/anthropic/claude-sonnet-4", ("openrouter", "anthropic/claude-sonnet-4")),
        ("openrouter/auto", ("openrouter", "openrouter/auto")),
        ("groq/compound", ("groq", "groq/compound")),
        ("groq/compound-mini", ("groq", "groq/compound-mini")),
        ("groq/groq/compound", ("groq", "groq/compound")),
        ("groq/openai/gpt-oss-120b", ("groq", "openai/gpt-oss-120b")),
        ("nvidia/nemotron-3-embed-1b", ("nvidia", "nvidia/nemotron-3-embed-1b")),
        ("nvidia/meta/llama-3.1-8b-instruct", ("nvidia", "meta/llama-3.1-8b-instruct")),
        ("nvidia/nvidia/nemotron-3-embed-1b", ("nvidia", "nvidia/nemotron-3-embed-1b")),
        ("qwen/qwen-max", ("alibaba", "qwen-max")),
        ("z.ai/glm-4.7", ("zai", "glm-4.7")),
        ("glm/glm-4.7", ("glm", "glm-4.7")),
        ("synthetic/hf:zai-org/GLM-4.6", ("synthetic", "hf:zai-org/GLM-4.6")),
        ("ollama/qwen3:cloud", ("ollama", "qwen3:cloud")),
        ("huggingface/openai/gpt-oss-120b:groq", ("huggingface", "openai/gpt-oss-120b:groq")),
        ("together/Qwen/Qwen2.5-Coder-32B-Instruct", ("together", "Qwen/Qwen2.5-Coder-32B-Instruct")),
    ],
)
def test_the_part_before_the_first_slash_names_the_provider(
    registry: Registry, model: str, expected: tuple[str, str]
) -> None:
    assert split(registry, model) == expected


@pytest.mark.parametrize(
    "model",
    [
        "Qwen/Qwen2.5-72B-Instruct",
        "meta-llama/Llama-3.3-70B-Instruct-Turbo",
        "GROQ/compound",
        "gpt-4o",
        "groq/",
        "/groq",
        "groq",
        "",
        "custom:https://h/v1/model",
        " groq/compound",
    ],
)
def test_what_names_no_provider_is_not_guessed(registry: Registry, model: str) -> None:
    assert registry.split_model(model) is None


@pytest.mark.parametrize(
    ("provider", "model", "expected"),
    [
        ("groq", "groq/compound", "groq/compound"),
        ("groq", "groq/llama-3.3-70b-versatile", "llama-3.3-70b-versatile"),
        ("groq", "groq/openai/gpt-oss-120b", "openai/gpt-oss-120b"),
        ("groq", "groq/groq/compound", "groq/compound"),
        ("openrouter", "anthropic/claude-sonnet-4", "anthropic/claude-sonnet-4"),
        ("openrouter", "openrouter/auto", "openrouter/auto"),
        ("siliconflow", "Qwen/Qwen2.5-72B-Instruct", "Qwen/Qwen2.5-72B-Instruct"),
        ("alibaba", "qwen/qwen-max", "qwen-max"),
        ("alibaba", "Qwen/Qwen2.5-72B-Instruct", "Qwen/Qwen2.5-72B-Instruct"),
        ("openai", "gpt-4o", "gpt-4o"),
        ("openai", "openai/", "openai/"),
    ],
)
def test_one_redundant_name_of_the_chosen_provider_is_taken_off(
    registry: Registry, provider: str, model: str, expected: str
) -> None:
    found = registry.get(provider)
    assert found is not None
    assert clean_model(found.spec, model) == expected


def test_a_users_provider_with_capitals_is_a_prefix_as_it_is_written() -> None:
    registry = Registry([spec("My-vLLM")])
    assert split(registry, "My-vLLM/llama") == ("My-vLLM", "llama")
    assert split(registry, "my-vllm/llama") is None
    assert named(registry, "my-vllm") == "My-vLLM"


def test_a_custom_url_is_no_profile_and_keeps_its_case(registry: Registry) -> None:
    found = registry.get(" Custom:https://Example.com:8443/Api ")
    assert found is not None
    assert found.spec.id == "custom:https://Example.com:8443/Api"
    assert found.spec.rules == registry.get("openai-compatible").spec.rules  # type: ignore[union-attr]
    assert found.spec.connection is Connection.BYOK
    assert registry.get("custom:http://127.0.0.1:9/v1").spec.connection is Connection.LOCAL  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (spec("a"), spec("A")),
        (spec("a"), spec("b", aliases={"A": None})),
        (spec("a", aliases={"x": None}), spec("b", aliases={"X": None})),
    ],
)
def test_a_name_with_two_meanings_is_refused_naming_both(first: ProviderSpec, second: ProviderSpec) -> None:
    with pytest.raises(ValueError, match=f"`{second.id}`") as caught:
        Registry([first, second])
    assert f"`{first.id}`" in str(caught.value)


def test_local_servers_are_told_from_vendors(registry: Registry) -> None:
    local = {each.id for each in registry if each.connection is Connection.LOCAL}
    assert local == {"ollama", "lmstudio", "vllm", "sglang", "tgi", "mlx", "llama-cpp", "openai-compatible"}
    assert sum(each.connection is Connection.BYOK for each in registry) == len(registry) - len(local)
