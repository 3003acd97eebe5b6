"""Where a provider is, and the URL of each operation there."""

from __future__ import annotations

import pytest

from adapters.types import Operation
from gateway.credentials.resolve import (
    InvalidBaseUrl,
    MissingVariable,
    is_local_host,
    operation_url,
    probe_url,
    resolve_base_url,
)
from gateway.domain import ProviderSpec
from gateway.registry.adapters import paths_of
from gateway.registry.builtin import load_builtin, to_spec
from gateway.registry.registry import Registry, custom_spec
from gateway.settings.provider import ProviderRow

CHAT, MODELS, EMBEDDINGS = Operation.CHAT, Operation.MODELS, Operation.EMBEDDINGS


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry(to_spec(name, row) for name, row in load_builtin().items())


def known(registry: Registry, name: str) -> tuple[ProviderSpec, str | None]:
    named = registry.get(name)
    assert named is not None
    return named


def url(registry: Registry, name: str, operation: Operation = CHAT, **environ: str) -> str:
    spec, region = known(registry, name)
    return operation_url(paths_of(spec), resolve_base_url(spec, environ, region=region).url, operation)


def test_a_base_url_that_is_the_chat_url_is_used_as_it_is_and_siblings_stand_beside(
    registry: Registry,
) -> None:
    base = "https://ark.cn-beijing.volces.com/api/coding/v3/chat/completions"
    assert url(registry, "volcengine", ARK_BASE_URL=base) == base
    models = "https://ark.cn-beijing.volces.com/api/coding/v3/models"
    assert url(registry, "volcengine", MODELS, ARK_BASE_URL=base) == models


@pytest.mark.parametrize(
    "base",
    [
        "https://my-proxy.example.com",
        "https://my-proxy.example.com/",
        "https://my-proxy.example.com/v1",
        "https://my-proxy.example.com/v1/",
        "my-proxy.example.com",
        " https://MY-proxy.example.com/v1 ",
    ],
)
def test_a_host_alone_gets_the_path_of_the_default_once(registry: Registry, base: str) -> None:
    expected = "https://my-proxy.example.com/v1/chat/completions"
    assert url(registry, "openai", OPENAI_BASE_URL=base) == expected


def test_a_host_with_a_port_and_no_scheme_is_plain_http(registry: Registry) -> None:
    assert (
        url(registry, "lmstudio", LM_STUDIO_HOST="192.168.1.100:1234")
        == "http://192.168.1.100:1234/v1/chat/completions"
    )
    assert url(registry, "groq", GROQ_BASE_URL="10.0.0.1:80") == "http://10.0.0.1:80/openai/v1/chat/completions"
    assert url(registry, "groq", GROQ_BASE_URL="localhost") == "http://localhost/openai/v1/chat/completions"


@pytest.mark.parametrize(
    ("value", "base"),
    [
        ("1.2.3.4", "http://1.2.3.4:11434"),
        ("1.2.3.4:1234", "http://1.2.3.4:1234"),
        ("gpu-box", "http://gpu-box:11434"),
        (":1234", "http://127.0.0.1:1234"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("0.0.0.0:8080", "http://127.0.0.1:8080"),
        ("http://0.0.0.0:8080", "http://127.0.0.1:8080"),
        ("::", "http://[::1]:11434"),
        ("[::]", "http://[::1]:11434"),
        ("::1", "http://[::1]:11434"),
        ("[::1]:1337", "http://[::1]:1337"),
        ("http://gpu-box", "http://gpu-box"),
        ("https://1.2.3.4", "https://1.2.3.4"),
        ('"1.2.3.4"', "http://1.2.3.4:11434"),
        ("' 1.2.3.4 '", "http://1.2.3.4:11434"),
        ("https://example.com/ollama/", "https://example.com/ollama"),
        ("http://gpu-box:11434/v1", "http://gpu-box:11434"),
        ("http://gpu-box:11434/api/", "http://gpu-box:11434"),
        ("gpu-box:1234/api/chat", "http://gpu-box:1234"),
        ("https://example.com/ollama/v1/chat/completions", "https://example.com/ollama"),
        ("ollama.com", "https://ollama.com"),
        ("ollama.com:443", "https://ollama.com:443"),
        ("", "http://127.0.0.1:11434"),
    ],
)
def test_what_servers_of_ones_own_are_called_is_understood(registry: Registry, value: str, base: str) -> None:
    spec, _ = known(registry, "ollama")
    assert resolve_base_url(spec, {"OLLAMA_HOST": value}).url == base


def test_an_alias_picks_its_region(registry: Registry) -> None:
    assert url(registry, "glm-cn") == "https://open.bigmodel.cn/api/paas/v4/chat/completions"
    assert url(registry, " KIMI-CN ") == "https://api.moonshot.cn/v1/chat/completions"
    assert url(registry, "minimaxi") == "https://api.minimaxi.com/v1/chat/completions"
    assert url(registry, "glm") == "https://api.z.ai/api/paas/v4/chat/completions"


def test_the_environment_wins_over_the_region_of_an_alias(registry: Registry) -> None:
    assert url(registry, "minimaxi", MINIMAX_BASE_URL="https://m.example/v1").startswith("https://m.example/v1/")


def test_the_order_is_settings_then_environment_then_region_then_default(registry: Registry) -> None:
    spec, _ = known(registry, "minimax")
    environ = {"MINIMAX_BASE_URL": "https://e.example/v1", "ABI_MINIMAX_BASE_URL": "https://a.example/v1"}
    explicit = resolve_base_url(spec, environ, explicit="https://c.example/v1", region="cn")
    assert (explicit.url, explicit.source) == ("https://c.example/v1", "config")
    assert resolve_base_url(spec, environ, region="cn").source == "env ABI_MINIMAX_BASE_URL"
    assert resolve_base_url(spec, {}, region="cn").source == "region cn"
    assert resolve_base_url(spec, {}).source == "default"
    assert resolve_base_url(spec, {}, explicit="  ").source == "default"


def test_providers_without_a_version_get_none(registry: Registry) -> None:
    assert url(registry, "perplexity") == "https://api.perplexity.ai/chat/completions"
    assert url(registry, "perplexity", EMBEDDINGS) == "https://api.perplexity.ai/v1/embeddings"
    assert url(registry, "qianfan") == "https://qianfan.baidubce.com/v2/chat/completions"
    assert url(registry, "volcengine") == "https://ark.cn-beijing.volces.com/api/v3/chat/completions"
    assert url(registry, "qwen-cn") == "https://dashscope.aliyuncs.com/compatible-mode/v1/chat/completions"


@pytest.mark.parametrize(
    ("name", "variable", "given", "expected"),
    [
        ("gemini", "GEMINI_BASE_URL", "https://generativelanguage.googleapis.com", "googleapis.com/v1beta"),
        ("groq", "GROQ_BASE_URL", "https://api.groq.com/openai/", "/openai/v1"),
        ("openrouter", "OPENROUTER_API_BASE", "https://openrouter.ai/api", "/api/v1"),
        ("groq", "GROQ_BASE_URL", "https://proxy.example/openai", "/openai"),
        ("groq", "GROQ_BASE_URL", "https://api.groq.com/open", "/open"),
    ],
)
def test_the_first_part_of_the_vendors_own_path_is_completed(
    registry: Registry, name: str, variable: str, given: str, expected: str
) -> None:
    spec, _ = known(registry, name)
    assert resolve_base_url(spec, {variable: given}).url.endswith(expected)


def test_a_version_is_never_written_twice(registry: Registry) -> None:
    base = "https://api.perplexity.ai/v1"
    assert url(registry, "perplexity", EMBEDDINGS, PERPLEXITY_BASE_URL=base) == f"{base}/embeddings"


def test_a_path_with_a_scheme_is_the_whole_url() -> None:
    paths = {CHAT: "/chat/completions", EMBEDDINGS: "https://other.example/embed"}
    assert operation_url(paths, "https://api.example/v1", EMBEDDINGS) == "https://other.example/embed"
    assert operation_url(paths, "https://api.example/v1", CHAT) == "https://api.example/v1/chat/completions"


def test_a_variable_without_a_value_is_named(registry: Registry) -> None:
    spec, _ = known(registry, "cloudflare")
    with pytest.raises(MissingVariable, match=r"cloudflare needs .* CLOUDFLARE_ACCOUNT_ID") as caught:
        resolve_base_url(spec, {"CLOUDFLARE_ACCOUNT_ID": " "})
    assert caught.value.name == "CLOUDFLARE_ACCOUNT_ID"


def test_variables_are_filled_quoted_and_have_defaults(registry: Registry) -> None:
    spec, _ = known(registry, "cloudflare")
    base = resolve_base_url(spec, {"CLOUDFLARE_ACCOUNT_ID": "a/b"}).url
    assert base == "https://gateway.ai.cloudflare.com/v1/a%2Fb/default/compat"
    environ = {"CLOUDFLARE_ACCOUNT_ID": "acc", "CLOUDFLARE_GATEWAY_ID": "gw", "CLOUDFLARE_BASE_URL": "p.example"}
    assert resolve_base_url(spec, environ).url == "https://p.example/v1/acc/gw/compat"


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, "https://h/global"),
        ({"OTHER_PLACE": "b"}, "https://h/b"),
        ({"PLACE": "a", "OTHER_PLACE": "b"}, "https://h/a"),
        ({"PLACE": " ", "ABI_OTHER_PLACE": "c"}, "https://h/c"),
    ],
)
def test_a_variable_may_fall_back_to_another(environ: dict[str, str], expected: str) -> None:
    variables = {"PLACE": "{OTHER_PLACE:-global}"}
    spec = to_spec("x", ProviderRow(base_url="https://h/{PLACE}", base_url_variables=variables))
    assert resolve_base_url(spec, environ).url == expected


def test_a_variable_without_any_value_is_named_by_its_first_name() -> None:
    spec = to_spec("x", ProviderRow(base_url="https://h/{PLACE}", base_url_variables={"PLACE": "{OTHER_PLACE}"}))
    with pytest.raises(MissingVariable) as caught:
        resolve_base_url(spec, {})
    assert caught.value.name == "PLACE"


def test_a_variable_may_stand_in_the_host() -> None:
    spec = custom_spec("https://{REGION}.example.com/v1")
    assert resolve_base_url(spec, {"REGION": "eu"}).url == "https://eu.example.com/v1"


@pytest.mark.parametrize(
    "value",
    [
        "ftp://host/v1",
        "https://",
        "https://user:pass@host/v1",
        "https://user:pass@/word@host/v1",
        "https://user:pass/word@host/v1",
        "https://ho\nst/v1",
        "user:pass@host:80",
        "https://host/v1?key=a",
        "https://host/v1#f",
        "https://ho st/v1",
        "http://host:99999/v1",
        "http://host:port/v1",
        "http://[::1/v1",
        "https://häst/v1",
        "https://host/v1\r\nx: y",
    ],
)
def test_a_base_url_that_cannot_be_meant_is_refused_naming_its_source(registry: Registry, value: str) -> None:
    spec, _ = known(registry, "openai")
    with pytest.raises(InvalidBaseUrl, match=r"^env OPENAI_BASE_URL: ") as caught:
        resolve_base_url(spec, {"OPENAI_BASE_URL": value})
    assert "pass" not in str(caught.value).replace("password", "")


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:1",
        "http://LOCALHOST.",
        "http://a.localhost/v1",
        "http://127.0.0.1:8000",
        "http://127.9.9.9",
        "http://[::1]:1",
        "http://0.0.0.0:1",
        "http://[::]",
        "http://[::ffff:127.0.0.1]/",
    ],
)
def test_this_machine_is_local(url: str) -> None:
    assert is_local_host(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost.evil.com",
        "http://evil.com/localhost",
        "http://localhost@evil.com",
        "http://127.0.0.1.evil.com",
        "http://evil.com#localhost",
        "http://192.168.1.100",
        "http://10.0.0.1",
        "http://128.0.0.1",
        "http://[::2]",
        "http://[broken",
        "",
        "localhost",
    ],
)
def test_nothing_else_is_local(url: str) -> None:
    assert not is_local_host(url)


def test_a_custom_url_is_taken_literally(registry: Registry) -> None:
    assert url(registry, "custom:https://api.example.com") == "https://api.example.com/chat/completions"
    expected = "https://example.com:8443/Api/chat/completions"
    assert url(registry, "custom:https://Example.com:8443/Api") == expected
    spec, _ = known(registry, "custom:https://Example.com:8443/Api")
    assert spec.base_url == "https://Example.com:8443/Api"
    assert spec.label == "custom"
    assert not spec.requires_credential


def test_the_environment_of_the_generic_row_does_not_move_a_custom_url(registry: Registry) -> None:
    elsewhere = {"OPENAI_COMPATIBLE_BASE_URL": "https://elsewhere.example/v1"}
    assert url(registry, "custom:http://h:1/v1", **elsewhere) == "http://h:1/v1/chat/completions"


def test_a_custom_url_that_is_none_is_refused_when_it_is_resolved(registry: Registry) -> None:
    for text in ("", "host:port", "http://[::1"):
        spec, _ = known(registry, f"custom:{text}")
        with pytest.raises(InvalidBaseUrl):
            resolve_base_url(spec, {})


def test_a_row_without_any_base_url_is_refused() -> None:
    nowhere = ProviderSpec(id="x", display_name="x", protocol="openai", base_url="")
    with pytest.raises(InvalidBaseUrl, match="x has no base URL"):
        resolve_base_url(nowhere, {})


def test_a_custom_url_without_a_scheme_gets_one(registry: Registry) -> None:
    assert url(registry, "custom:localhost:9090/x") == "http://localhost:9090/x/chat/completions"
    assert url(registry, "custom:api.example.com/v1") == "https://api.example.com/v1/chat/completions"


def test_a_probe_is_asked_on_the_host_itself(registry: Registry) -> None:
    ollama, _ = known(registry, "ollama")
    assert probe_url(ollama, "http://gpu-box:11434/v1") == "http://gpu-box:11434/api/tags"
    cloudflare, _ = known(registry, "cloudflare")
    assert probe_url(cloudflare, "https://gateway.ai.cloudflare.com/v1") is None
