"""What can be called with a given configuration and environment, and which deployment a name means."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.types import Operation
from gateway.domain import ProviderSpec
from gateway.registry.builtin import load_builtin, to_spec
from gateway.registry.catalogue import Catalogue
from gateway.registry.listing import Listing
from gateway.registry.provider import DEMO_MODEL
from gateway.registry.registry import Registry
from gateway.routing.deployment import Deployment
from gateway.settings.provider import ProviderRow

SPECS = [to_spec(name, row) for name, row in load_builtin().items()]


def catalogue(environ: dict[str, str] | None = None, **rows: dict[str, Any]) -> Catalogue:
    users = {name: ProviderRow.model_validate(row) for name, row in rows.items()}
    return Catalogue(Registry(SPECS), users, environ or {})


def deployed(found: Deployment | str) -> Deployment:
    assert isinstance(found, Deployment), found
    return found


def ids(providers: list[Any]) -> list[str]:
    return [provider.spec.id for provider in providers]


# What is ready.


def test_with_nothing_set_no_hosted_provider_is_ready() -> None:
    assert catalogue().ready() == []


def test_a_variable_makes_its_provider_ready() -> None:
    made = catalogue({"OPENAI_API_KEY": "sk-x", "GROQ_API_KEY": "gsk_y"})
    assert sorted(ids(made.ready())) == ["groq", "openai"]
    provider = next(provider for provider in made.ready() if provider.spec.id == "openai")
    assert provider.source == "env OPENAI_API_KEY"
    assert "sk-x" not in repr(provider)


def test_a_provider_whose_url_needs_a_variable_says_which() -> None:
    made = catalogue()
    assert made.deploy("cloudflare/x") == (
        "the base URL of cloudflare needs the environment variable CLOUDFLARE_ACCOUNT_ID"
    )
    assert made.problems == {}, "nobody asked for it"


def test_what_the_operator_named_is_listed_as_ready_if_it_needs_no_key() -> None:
    assert ids(catalogue(vllm={"base_url": "http://127.0.0.1:9/v1"}).ready()) == ["vllm"]
    assert ids(catalogue({"VLLM_BASE_URL": "http://127.0.0.1:9/v1"}).ready()) == ["vllm"]
    assert catalogue(openai={"base_url": "http://127.0.0.1:9/v1"}).ready() == []


def test_local_servers_are_those_that_may_run_here() -> None:
    local = ids(catalogue().local())
    assert {"ollama", "lmstudio", "vllm", "llama-cpp", "tgi", "mlx", "sglang"} <= set(local)
    assert "openai" not in local
    assert "openai-compatible" not in local, "nobody knows where it would be"
    assert "openai-compatible" in ids(catalogue({"OPENAI_COMPATIBLE_BASE_URL": "http://127.0.0.1:9/v1"}).local())


def test_secrets_are_given_to_the_scrubber() -> None:
    made = catalogue({"OPENAI_API_KEY": "sk-x"}, groq={"credentials": ["gsk_y"]})
    assert sorted(secret.reveal() for secret in made.secrets()) == ["gsk_y", "sk-x"]


def test_a_credential_of_the_file_wins_over_the_environment() -> None:
    made = catalogue({"OPENAI_API_KEY": "sk-env"}, openai={"credentials": ["sk-file"]})
    found = deployed(made.deploy("openai/m"))
    assert [secret.reveal() for secret in found.key_ring.secrets] == ["sk-file"]


def test_a_key_that_belongs_on_no_header_is_a_problem_that_does_not_show_it() -> None:
    made = catalogue({"OPENAI_API_KEY": "sk-\x01bad"})
    assert "openai" in made.problems
    assert "sk-" not in made.problems["openai"]
    assert isinstance(made.deploy("openai/m"), str)


def test_an_unusable_base_url_is_a_problem() -> None:
    made = catalogue(openai={"base_url": "ftp://x"})
    assert "openai" in made.problems
    assert made.deploy("openai/m") == made.problems["openai"]


def test_an_unknown_region_is_a_problem_that_names_the_known_ones() -> None:
    made = catalogue({"XAI_API_KEY": "xai-1"}, xai={"region": "mars"})
    assert "mars" in made.problems["xai"]
    assert "us" in made.problems["xai"]


# What a name means.


def test_a_deployment_knows_where_and_how() -> None:
    found = deployed(catalogue({"OPENAI_API_KEY": "sk-x"}).deploy("openai/gpt-x"))
    assert (found.id, found.provider) == ("openai/gpt-x", "openai")
    assert (found.target.model, found.target.base_url) == ("gpt-x", "https://api.openai.com/v1")
    known = {Operation.CHAT, Operation.COMPLETIONS, Operation.EMBEDDINGS}
    assert set(found.target.paths) == known
    assert dict(found.key_ring.headers()) == {"authorization": "Bearer sk-x"}
    assert "sk-x" not in repr(found)


def test_keys_of_one_provider_are_used_in_turn() -> None:
    found = deployed(catalogue(openai={"credentials": ["a1", "b2"]}).deploy("openai/m"))
    ring = found.key_ring
    sent: list[str] = []
    for now in range(3):
        key = ring.pick(now)
        assert key is not None
        ring.used(key, now)
        sent.append(ring.headers(key)[0][1])
    assert sent == ["Bearer a1", "Bearer b2", "Bearer a1"]


@pytest.mark.parametrize("name", ["gpt-x", "nobody/m", "", "/", "openai/", "/m"])
def test_a_name_without_a_known_provider_means_nothing(name: str) -> None:
    assert catalogue({"OPENAI_API_KEY": "sk-x"}).deploy(name) == ""


@pytest.mark.parametrize("name", ["OpenAI/m", "opnai/m"])
def test_a_misspelt_provider_is_answered_with_the_nearest(name: str) -> None:
    provider = name.partition("/")[0]
    expected = f"no provider is called {provider!r}; did you mean openai/m?"
    assert catalogue({"OPENAI_API_KEY": "sk-x"}).deploy(name) == expected


def test_a_provider_without_a_key_says_which_variable_it_wants() -> None:
    assert catalogue().deploy("openai/m") == "openai has no credential; set OPENAI_API_KEY"


@pytest.mark.parametrize(
    ("provider", "variable"),
    [("anthropic", "ANTHROPIC_API_KEY"), ("gemini", "GEMINI_API_KEY"), ("huggingface", "HF_TOKEN")],
)
def test_the_variable_that_everybody_knows_is_among_those_named(provider: str, variable: str) -> None:
    said = catalogue().deploy(f"{provider}/m")
    assert isinstance(said, str)
    assert variable in said.partition("; set ")[2].split(" or ")


@pytest.mark.parametrize("name", ["custom:http://169.254.169.254/m", "CUSTOM:http://x/m"])
def test_clients_cannot_name_a_url(name: str) -> None:
    found = catalogue().deploy(name)
    assert isinstance(found, str)
    assert "configuration file" in found


def test_the_file_can_name_a_url() -> None:
    found = deployed(catalogue().custom("custom:http://127.0.0.1:9/v1/", "m/x"))
    assert found.target.base_url == "http://127.0.0.1:9/v1"
    assert found.target.model == "m/x"
    assert "127.0.0.1" not in found.id, "clients see the id"


def test_an_alias_may_pick_a_region() -> None:
    made = catalogue({"MOONSHOT_API_KEY": "sk-m"})
    usual, cn = deployed(made.deploy("kimi/m")), deployed(made.deploy("kimi-cn/m"))
    assert usual.target.base_url != cn.target.base_url
    assert cn.target.base_url == "https://api.moonshot.cn/v1"


def test_the_demo_needs_nothing() -> None:
    found = deployed(catalogue().deploy(DEMO_MODEL))
    assert (found.provider, found.target.model) == ("demo", "echo")
    assert found.key_ring.headers() == ()


def test_a_model_that_really_begins_with_its_providers_name_is_found_by_the_list() -> None:
    made = catalogue({"VLLM_BASE_URL": "http://127.0.0.1:9/v1"})
    assert deployed(made.deploy("vllm/x")).target.model == "x"
    made.listing.replace("vllm", ["vllm/x"])
    assert deployed(made.deploy("vllm/x")).target.model == "vllm/x"
    made.listing.replace("vllm", ["vllm/x", "x"])
    assert deployed(made.deploy("vllm/x")).target.model == "x"


def test_a_server_found_elsewhere_is_called_there() -> None:
    made = catalogue()
    made.found_at("mlx", "http://127.0.0.1:5001/v1")
    assert deployed(made.deploy("mlx/m")).target.base_url == "http://127.0.0.1:5001/v1"
    made.found_at("mlx", None)
    assert deployed(made.deploy("mlx/m")).target.base_url == "http://127.0.0.1:8080/v1"


def test_providers_are_found_by_name_or_the_nearest_are_told() -> None:
    made = catalogue({"OPENAI_API_KEY": "sk-x"})
    found = made.find(" GPT ")
    assert not isinstance(found, str)
    assert found.spec.id == "openai"
    assert found.lack == ""
    assert "did you mean" in str(made.find("opnai"))


# The listing.


def test_a_listing_says_whether_it_changed() -> None:
    listing = Listing()
    assert listing.replace("a", ["m"]) is True
    assert listing.replace("a", ["m"]) is False
    assert listing.replace("a", ["m", "n"]) is True
    assert listing.replace("b", None) is False
    assert listing.replace("a", None) is True
    assert dict(listing.models) == {}


def test_a_listing_handed_out_does_not_change() -> None:
    listing = Listing()
    listing.replace("a", ["m"])
    before = listing.models
    listing.replace("a", None)
    assert dict(before) == {"a": ("m",)}


def test_no_provider_at_all_is_fine() -> None:
    empty = Catalogue(Registry(list[ProviderSpec]()), {}, {})
    assert (list(empty), empty.ready(), empty.local(), empty.deploy("a/b")) == ([], [], [], "")


def test_documents_are_ranked_only_where_the_row_says_so() -> None:
    openai = deployed(catalogue({"OPENAI_API_KEY": "sk-x"}).deploy("openai/m"))
    together = deployed(catalogue({"TOGETHER_API_KEY": "k"}).deploy("together/m"))
    assert (openai.offers(Operation.RERANK), together.offers(Operation.RERANK)) == (False, True)
    assert openai.offers(Operation.EMBEDDINGS)
    gemini = deployed(catalogue({"GEMINI_API_KEY": "AIza"}).deploy("gemini/m"))
    assert gemini.offers(Operation.CHAT), "its paths hold the model"
    assert not gemini.offers(Operation.COMPLETIONS)
