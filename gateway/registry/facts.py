"""What is known about upstream models: how many tokens they read, and what these cost.

Our own rows (config/models.yaml) come before the data that the package genai-prices brings along, which is imported
when the first model is asked for: a start that needs none of it does not pay for it. Nothing is fetched, ever.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from functools import cache, lru_cache
from importlib.metadata import version
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from pydantic import Field, ValidationError

import gateway
from adapters.gemini.models import PREFIXES as GOOGLE_PREFIXES
from gateway.domain import Price, Rates, Tier
from gateway.errors import ConfigError
from gateway.registry.builtin import config_directory
from gateway.settings.document import read_document
from gateway.settings.explain import explain
from gateway.settings.provider import Strict
from gateway.settings.route import PriceSettings
from gateway.settings.scalars import Count

if TYPE_CHECKING:
    from genai_prices.types import (
        ModelInfo,
        ModelPrice,
        Provider,
        StartDateConstraint,
        TieredPrices,
        TimeOfDateConstraint,
    )

MODELS_FILE = "models.yaml"
MAX_NAME_CHARACTERS = 256
"""A longer name is no model's; clients write names, and each look-up walks through hundreds of patterns."""
_REMEMBERED = 4096
_NANO: Final = Decimal(10**9)
_CATALOGUE_NAMES: Final = MappingProxyType(
    {
        "anthropic": "anthropic",
        "azure": "azure",
        "bedrock": "aws",
        "bedrock-openai": "aws",
        "cerebras": "cerebras",
        "cloudflare": "cloudflare",
        "cohere": "cohere",
        "deepseek": "deepseek",
        "fireworks": "fireworks",
        "gemini": "google",
        "glm": "zai",
        "groq": "groq",
        "minimax": "minimax",
        "mistral": "mistral",
        "moonshot": "moonshotai",
        "openai": "openai",
        "openrouter": "openrouter",
        "ovhcloud": "ovhcloud",
        "perplexity": "perplexity",
        "together": "together",
        "vertex": "google",
        "voyage": "voyageai",
        "xai": "x-ai",
    }
)
"""Our ids -> those of genai-prices. Who sells by subscription (`zai`, `kimi-code`) has no price per token.

Where a provider's regions differ in price, it is that of its own base URL.
"""
_PREFIXES: Final = MappingProxyType(
    {
        "cloudflare": ("workers-ai/",),
        "gemini": GOOGLE_PREFIXES,
        "vertex": (*GOOGLE_PREFIXES, "publishers/anthropic/models/", "anthropic/"),
    }
)
"""What clients may write before a model's name, and genai-prices does not know."""


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What is known about one model; None is what nobody knows, and nothing is guessed."""

    context_window: int | None = None
    price: Price | None = None
    price_version: str = ""
    """What the price was read from, and of which version."""


UNKNOWN: Final = ModelFacts()


class ModelRow(Strict):
    """A row of config/models.yaml."""

    providers: list[str] = Field(min_length=1)
    names: list[str] = Field(min_length=1)
    context_window: Count | None = None
    price: PriceSettings | None = None
    source: str = Field(pattern="https://.+")
    read: date


class ModelsFile(Strict):
    """The whole of config/models.yaml."""

    models: list[ModelRow]


class _Phase(NamedTuple):
    """A price, and when it counts; None for always."""

    when: StartDateConstraint | TimeOfDateConstraint | None
    price: Price | None


class _Listing(NamedTuple):
    """What the catalogue has of one model."""

    context_window: int | None
    phases: tuple[_Phase, ...]

    def price(self, at: datetime) -> Price | None:
        """Returns what counts then: the last phase that has come, as genai-prices has it."""
        active = (each for each in reversed(self.phases) if each.when is None or each.when.active(at))
        return next(active, self.phases[0]).price


def facts_of(provider_id: str, model: str, at: datetime) -> ModelFacts:
    """Returns what is known of `provider_id`'s own model `model`; some prices depend on the time.

    The first call of a process reads the data, unless `read_facts` has done so.
    """
    if len(model) > MAX_NAME_CHARACTERS or not model.isprintable():
        return UNKNOWN
    own = _own_facts(provider_id, model)
    listed = _listed(provider_id, model)
    if listed is None:
        return own
    window = listed.context_window if own.context_window is None else own.context_window
    if own.price is not None:
        return ModelFacts(window, own.price, own.price_version)
    price = listed.price(at)
    return ModelFacts(window, price, "" if price is None else _catalogue_version())


def read_facts() -> None:
    """Reads all data: tens of milliseconds, which no request should wait for; so it may run in a thread."""
    _own_rows()
    _catalogue()
    _catalogue_version()


@lru_cache(_REMEMBERED)
def _own_facts(provider_id: str, model: str) -> ModelFacts:
    row = match(_own_rows().get(provider_id, {}), bare_name(provider_id, model).lower())
    if row is None:
        return UNKNOWN
    if row.price is None:
        return ModelFacts(row.context_window)
    return ModelFacts(row.context_window, settled_price(row.price), f"anyport {gateway.__version__}")


def match(rows: Mapping[str, ModelRow], name: str) -> ModelRow | None:
    """Returns the row of that name, else the one with the longest `beginning*` of it."""
    if name in rows:
        return rows[name]
    stems = (key for key in rows if key.endswith("*") and name.startswith(key[:-1]))
    stem = max(stems, key=len, default=None)
    return None if stem is None else rows[stem]


def settled_price(price: PriceSettings) -> Price:
    """Returns what a price of the configuration means."""

    def rate(dollars: float | None) -> int | None:
        return None if dollars is None else _nano(Decimal(str(dollars)))

    return Price(
        Rates(
            input=rate(price.input_usd_per_million) or 0,
            output=rate(price.output_usd_per_million) or 0,
            cached_input=rate(price.cached_input_usd_per_million),
            cache_write=rate(price.cache_write_usd_per_million),
            cache_write_1h=rate(price.cache_write_1h_usd_per_million),
        )
    )


@cache
def _own_rows() -> Mapping[str, Mapping[str, ModelRow]]:
    return rows_by_provider(parse_models((config_directory() / MODELS_FILE).read_text(encoding="utf-8")))


def parse_models(text: str, file: str = MODELS_FILE) -> list[ModelRow]:
    """Returns the rows of a models file; raises `ConfigError` naming every fault and its place."""
    document = read_document(file, text.encode(), lambda _document, _path, value: value)
    rows: list[ModelRow] = []
    try:
        rows = ModelsFile.model_validate(document.root).models
    except ValidationError as error:
        explain(document, error)
    if document.faults:
        raise ConfigError(document.faults)
    return rows


def rows_by_provider(rows: Iterable[ModelRow]) -> dict[str, dict[str, ModelRow]]:
    """Returns provider -> name in lower case -> row; raises `ValueError` for a name that has two."""
    found: dict[str, dict[str, ModelRow]] = {}
    for row in rows:
        for provider in row.providers:
            for name in row.names:
                if found.setdefault(provider, {}).setdefault(name.lower(), row) is not row:
                    raise ValueError(f"{MODELS_FILE} has two rows for `{name}` of provider `{provider}`")
    return found


@lru_cache(_REMEMBERED)
def _listed(provider_id: str, model: str) -> _Listing | None:
    name = bare_name(provider_id, model)
    listed_as = _CATALOGUE_NAMES.get(provider_id)
    if provider_id == "huggingface":
        # The router there has a price list for each of the hosts behind it: `org/model:host`.
        name, _, host = name.rpartition(":")
        listed_as = f"huggingface_{host}"
    if listed_as is None or (provider := _catalogue().get(listed_as)) is None:
        return None
    # Not through the package's own look-up, which remembers every name that it was ever asked for.
    info = provider.find_model(name, all_providers=list(_catalogue().values()))
    return None if info is None else _listing(info)


@cache
def _catalogue() -> Mapping[str, Provider]:
    from genai_prices import data

    # By name: it is one literal of 1 MB, whose type a type checker takes a minute to work out.
    providers: Sequence[Provider] = vars(data)["providers"]
    return {provider.id: provider for provider in providers}


@cache
def _catalogue_version() -> str:
    return f"genai-prices {version('genai-prices')}"


def bare_name(provider_id: str, model: str) -> str:
    """Returns the model's name without what the provider's adapter takes off, too."""
    for prefix in _PREFIXES.get(provider_id, ()):
        model = model.removeprefix(prefix)
    return model


def _listing(info: ModelInfo) -> _Listing:
    if isinstance(info.prices, list):
        phases = tuple(_Phase(each.constraint, _price(each.prices)) for each in info.prices)
    else:
        phases = (_Phase(None, _price(info.prices)),)
    return _Listing(info.context_window, phases)


def _price(prices: ModelPrice) -> Price | None:
    given: dict[str, Decimal | TieredPrices | None] = vars(prices)
    if given.get("input_mtok") is None:
        return None  # nothing is known, or it is not charged by the token
    starts = {tier.start for each in given.values() for tier in getattr(each, "tiers", ())}
    return Price(_rates(given, 0), tuple(Tier(start, _rates(given, start + 1)) for start in sorted(starts)))


def _rates(given: Mapping[str, Decimal | TieredPrices | None], input_tokens: int) -> Rates:
    def rate(name: str) -> int | None:
        price = given.get(f"{name}_mtok")
        if price is None or isinstance(price, Decimal):
            return None if price is None else _nano(price)
        reached = (tier.price for tier in reversed(price.tiers) if input_tokens > tier.start)
        return _nano(next(reached, price.base))

    return Rates(
        input=rate("input") or 0,
        output=rate("output") or 0,
        cached_input=rate("cache_read"),
        cache_write=rate("cache_write"),
        cache_write_1h=rate("cache_write_1h"),
    )


def _nano(dollars: Decimal) -> int:
    return int((dollars * _NANO).to_integral_value(ROUND_HALF_EVEN))
