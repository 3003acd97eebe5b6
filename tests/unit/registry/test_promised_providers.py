"""Every name, address, variable and model that docs/seeds.md promises of the table of providers."""

from __future__ import annotations

import pytest

from gateway.credentials.resolve import key_warning
from gateway.domain import Connection
from gateway.registry.provider import Provider
from gateway.registry.registry import Registry
from gateway.secret import Secret
from tests.unit.registry.test_catalogue import SPECS, catalogue

ELSEWHERE = "http://192.168.1.100:9999"
PLACES = {
    "http://127.0.0.1:11434": ("ollama", "local-ollama"),
    "http://127.0.0.1:1234/v1": ("lmstudio", "lm-studio", "lm_studio"),
    "http://127.0.0.1:8000/v1": ("vllm", "vllm-server", "openai-compatible", "openai_compatible", "compatible"),
    "http://127.0.0.1:30000/v1": ("sglang", "sg-lang"),
    "http://127.0.0.1:8080/v1": (
        *("tgi", "text-generation-inference", "mlx", "mlx-lm"),
        *("llama-cpp", "llamacpp", "llama_cpp"),
    ),
    "https://api.openai.com/v1": ("openai", "gpt"),
    "https://api.anthropic.com": ("anthropic", "claude"),
    "https://generativelanguage.googleapis.com/v1beta": ("gemini", "google"),
    "https://api.x.ai/v1": ("xai", "grok"),
    "https://api.perplexity.ai": ("perplexity",),
    "https://api.deepseek.com/v1": ("deepseek",),
    "https://api.moonshot.ai/v1": ("moonshot", "kimi"),
    "https://api.moonshot.cn/v1": ("moonshot-cn", "kimi-cn"),
    "https://dashscope-intl.aliyuncs.com/compatible-mode/v1": ("alibaba", "qwen", "dashscope"),
    "https://dashscope.aliyuncs.com/compatible-mode/v1": ("qwen-cn", "dashscope-cn"),
    "https://api.minimax.io/v1": ("minimax", "minimax-intl", "minimax-io", "minimax-global"),
    "https://api.minimaxi.com/v1": ("minimax-cn",),
    "https://api.z.ai/api/paas/v4": ("glm", "zhipu", "glm-global", "zhipu-global"),
    "https://open.bigmodel.cn/api/paas/v4": ("glm-cn", "zhipu-cn"),
    "https://api.z.ai/api/coding/paas/v4": ("zai", "z.ai", "zai-global", "z.ai-global"),
    "https://open.bigmodel.cn/api/coding/paas/v4": ("zai-cn", "z.ai-cn"),
    "https://openrouter.ai/api/v1": ("openrouter",),
    "https://opencode.ai/zen/v1": ("opencode", "opencode-zen"),
    "https://api.groq.com/openai/v1": ("groq",),
    "https://api.together.xyz/v1": ("together", "togetherai", "together-ai"),
    "https://api.siliconflow.cn/v1": ("siliconflow", "silicon-flow"),
    "https://api.fireworks.ai/inference/v1": ("fireworks", "fireworks-ai"),
    "https://api.cerebras.ai/v1": ("cerebras",),
    "https://api.mistral.ai/v1": ("mistral",),
    "https://api.cohere.com": ("cohere",),
    "https://router.huggingface.co": ("huggingface",),
    "https://integrate.api.nvidia.com/v1": ("nvidia", "nvidia-nim"),
    "https://api.venice.ai/api/v1": ("venice",),
    "https://ai-gateway.vercel.sh/v1": ("vercel",),
    "https://api.kimi.com/coding/v1": ("kimi-code",),
    "https://api.synthetic.new/openai/v1": ("synthetic",),
    "https://qianfan.baidubce.com/v2": ("qianfan", "baidu"),
    "https://as-trai.com/v1": ("astrai",),
    "https://oai.endpoints.kepler.ai.cloud.ovh.net/v1": ("ovhcloud", "ovh"),
    "https://ark.cn-beijing.volces.com/api/v3": ("volcengine",),
}
OLDER = {
    "mlx": "http://127.0.0.1:5001/v1",
    "huggingface": "https://api-inference.huggingface.co",
    "cohere": "https://api.cohere.ai/v1",
    "opencode": "https://api.opencode.ai/v1",
}
"""Addresses that were usual once, and stand among the regions."""
HOSTS = {
    "openai": ("OPENAI_BASE_URL", "OPENAI_API_BASE", "ABI_OPENAI_BASE_URL"),
    "anthropic": ("ANTHROPIC_BASE_URL", "ABI_ANTHROPIC_BASE_URL"),
    "ollama": ("OLLAMA_HOST", "ABI_OLLAMA_HOST"),
    "lmstudio": ("LM_STUDIO_HOST", "ABI_LM_STUDIO_HOST", "LMSTUDIO_BASE_URL"),
    "vllm": ("VLLM_HOST", "ABI_VLLM_HOST", "VLLM_BASE_URL"),
    "mlx": ("MLX_HOST", "ABI_MLX_HOST", "MLX_BASE_URL"),
    "llama-cpp": ("LLAMA_CPP_HOST", "LLAMACPP_BASE_URL"),
    "sglang": ("SGLANG_BASE_URL",),
    "tgi": ("TGI_BASE_URL",),
    "openai-compatible": ("OPENAI_COMPATIBLE_BASE_URL",),
}
KEYS = {
    "openai": ("ABI_OPENAI_API_KEY", "OPENAI_API_KEY"),
    "anthropic": ("ABI_ANTHROPIC_API_KEY", "ANTHROPIC_OAUTH_TOKEN", "ANTHROPIC_API_KEY"),
    "gemini": ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
    "huggingface": ("ABI_HF_API_TOKEN", "HF_API_TOKEN", "HUGGINGFACE_API_KEY"),
    "mistral": ("ABI_MISTRAL_API_KEY", "MISTRAL_API_KEY"),
    "cohere": ("ABI_COHERE_API_KEY", "COHERE_API_KEY"),
    "lmstudio": ("ABI_LM_STUDIO_API_KEY",),
    "vllm": ("ABI_VLLM_API_KEY",),
    "mlx": ("ABI_MLX_API_KEY",),
    "ollama-cloud": ("OLLAMA_API_KEY",),
    "xai": ("XAI_API_KEY",),
    "perplexity": ("PERPLEXITY_API_KEY", "PPLX_API_KEY"),
    "deepseek": ("DEEPSEEK_API_KEY",),
    "moonshot": ("MOONSHOT_API_KEY", "KIMI_API_KEY"),
    "alibaba": ("DASHSCOPE_API_KEY", "QWEN_API_KEY"),
    "minimax": ("MINIMAX_OAUTH_TOKEN", "MINIMAX_API_KEY"),
    "glm": ("GLM_API_KEY",),
    "zai": ("ZAI_API_KEY",),
    "openrouter": ("OPENROUTER_API_KEY",),
    "opencode": ("OPENCODE_API_KEY",),
    "groq": ("GROQ_API_KEY",),
    "together": ("TOGETHER_API_KEY", "TOGETHERAI_API_KEY"),
    "siliconflow": ("SILICONFLOW_API_KEY", "SILICON_API_KEY"),
    "fireworks": ("FIREWORKS_API_KEY",),
    "cerebras": ("CEREBRAS_API_KEY",),
    "venice": ("VENICE_API_KEY",),
    "nvidia": ("NVIDIA_API_KEY",),
}
"""In the order in which they are looked at."""
MODELS = {
    "ollama": "qwen2.5-coder:7b llama3.2:3b gpt-oss:20b gpt-oss:120b",
    "openai": "gpt-5.3-codex gpt-5.2 gpt-5.2-pro gpt-5.2-codex gpt-5.1 gpt-5.1-codex gpt-5.1-codex-mini "
    "gpt-4o-2024-11-20 gpt-4o gpt-4o-mini o1 o1-mini gpt-4",
    "anthropic": "claude-opus-4-6 claude-opus-4-5-20251101 claude-sonnet-4-5-20250929 claude-haiku-4-5-20251001 "
    "claude-sonnet-4-20250514 claude-opus-4-20250514 claude-haiku-4-20250514 claude-3-5-sonnet-20241022",
    "gemini": "gemini-3-pro-preview gemini-3-flash-preview gemini-2.5-pro gemini-2.5-flash gemini-2.0-flash "
    "gemini-flash-latest",
    "xai": "grok-3 grok-3-mini grok-2 grok-beta",
    "perplexity": "sonar-pro sonar sonar-reasoning",
    "deepseek": "deepseek-ai/DeepSeek-V3.2 deepseek-ai/DeepSeek-R1 deepseek-chat deepseek-coder deepseek-reasoner",
    "moonshot": "moonshot-v1-128k moonshot-v1-32k moonshot-v1-8k kimi-k2",
    "alibaba": "qwen-max qwen-plus qwen-turbo qwen2.5-coder-32b-instruct qwen2.5-72b-instruct",
    "openrouter": "anthropic/claude-sonnet-4 openai/gpt-4o google/gemini-2.0-flash meta-llama/llama-3.3-70b-instruct",
    "opencode": "glm-4.7-free grok-code kimi-k2.5-free gpt-5-nano minimax-m2.1-free big-pickle",
    "groq": "llama-3.3-70b-versatile llama-3.1-8b-instant mixtral-8x7b-32768 gemma2-9b-it",
    "together": "meta-llama/Llama-3.3-70B-Instruct-Turbo Qwen/Qwen2.5-Coder-32B-Instruct deepseek-ai/DeepSeek-R1 "
    "mistralai/Mixtral-8x22B-Instruct-v0.1",
    "cerebras": "llama-3.3-70b qwen-3-coder-480b",
    "mistral": "mistral-large-2411 mistral-medium-2505 mistral-nemo codestral-latest mistral-small-latest",
}
CATEGORIES = {
    "Local": "ollama lmstudio vllm sglang tgi mlx llama-cpp openai-compatible",
    "US Labs": "openai anthropic gemini xai perplexity",
    "China Labs": "deepseek moonshot alibaba",
    "Model Hosts": "openrouter opencode groq together siliconflow fireworks cerebras",
    "Other Labs": "mistral",
}
PROTOCOLS = {
    "ollama": "ollama",
    "openai": "openai",
    "anthropic": "anthropic",
    "gemini": "gemini",
    "cohere": "cohere",
    "huggingface": "huggingface",
    "mistral": "mistral",
    "lmstudio": "openai",
    "vllm": "openai",
    "mlx": "openai",
    "llama-cpp": "openai",
    "openrouter": "openai",
}


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry(SPECS)


def provider(id: str, environ: dict[str, str]) -> Provider:
    found = catalogue(environ).find(id)
    assert isinstance(found, Provider), found
    return found


@pytest.mark.parametrize(("url", "name"), [(url, name) for url, names in PLACES.items() for name in names])
def test_a_name_leads_to_its_address(registry: Registry, url: str, name: str) -> None:
    for written in (name, name.upper()):
        named = registry.get(written)
        assert named is not None
        assert (named.spec.regions[named.region] if named.region else named.spec.base_url) == url


@pytest.mark.parametrize(("id", "url"), OLDER.items())
def test_an_older_address_can_still_be_chosen(registry: Registry, id: str, url: str) -> None:
    named = registry.get(id)
    assert named is not None
    assert url in named.spec.regions.values()


@pytest.mark.parametrize(("id", "variable"), [(id, name) for id, names in HOSTS.items() for name in names])
def test_a_variable_moves_a_provider(id: str, variable: str) -> None:
    found = provider(id, {variable: ELSEWHERE})
    assert found.base_url.startswith(ELSEWHERE)
    assert (found.base_url_source, found.is_configured) == (f"env {variable}", True)


@pytest.mark.parametrize(("id", "variable"), [(id, name) for id, names in KEYS.items() for name in names])
def test_a_variable_makes_a_provider_ready(id: str, variable: str) -> None:
    found = provider(id, {variable: "k"})
    assert (found.source, found.is_ready) == (f"env {variable}", True)
    assert [secret.reveal() for secret in found.key_ring.secrets] == ["k"]


@pytest.mark.parametrize(("id", "variables"), [(id, names) for id, names in KEYS.items() if len(names) > 1])
def test_of_several_variables_the_first_counts(id: str, variables: tuple[str, ...]) -> None:
    assert provider(id, dict.fromkeys(variables, "k")).source == f"env {variables[0]}"


@pytest.mark.parametrize(("id", "models"), MODELS.items())
def test_known_models_of_a_provider_are_named(registry: Registry, id: str, models: str) -> None:
    named = registry.get(id)
    assert named is not None
    assert set(models.split()) <= set(named.spec.example_models)


@pytest.mark.parametrize(("category", "ids"), CATEGORIES.items())
def test_providers_stand_in_their_category(registry: Registry, category: str, ids: str) -> None:
    for id in ids.split():
        named = registry.get(id)
        assert named is not None
        assert (named.spec.category, named.spec.connection is Connection.LOCAL) == (category, category == "Local")


def test_each_protocol_is_spoken_where_it_was_promised() -> None:
    assert {spec.id: spec.protocol for spec in SPECS if spec.id in PROTOCOLS} == PROTOCOLS


@pytest.mark.parametrize(("id", "good"), [("openai", "sk-x"), ("anthropic", "sk-ant-x"), ("gemini", "AIza-x")])
def test_a_key_begins_as_its_vendor_makes_them(registry: Registry, id: str, good: str) -> None:
    named = registry.get(id)
    assert named is not None
    assert key_warning(named.spec, named.spec.base_url, Secret(good)) is None
    assert key_warning(named.spec, named.spec.base_url, Secret("other-x")) is not None
