"""Names of providers, and what a model's name says about its provider."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from difflib import get_close_matches
from types import MappingProxyType
from typing import NamedTuple

from gateway.credentials.resolve import is_local_host, with_scheme
from gateway.domain import Connection, ProviderSpec
from gateway.registry.builtin import GENERIC

CUSTOM: Mapping[str, str] = MappingProxyType({"custom:": GENERIC, "anthropic-custom:": "anthropic-compatible"})
"""What a provider begins with that is a URL -> the row that it is like."""


class Named(NamedTuple):
    """A provider as somebody named it; `region` is what the alias picks, if any."""

    spec: ProviderSpec
    region: str | None


class SplitModel(NamedTuple):
    """A public model name taken apart."""

    spec: ProviderSpec
    region: str | None
    model: str


class Registry:
    """All providers by id and alias. Raises `ValueError` if one name means two of them."""

    def __init__(self, specs: Iterable[ProviderSpec]) -> None:
        self._specs = {spec.id: spec for spec in _unique_ids(specs)}
        self._named: dict[str, Named] = {}
        self._written: dict[str, Named] = {}
        for spec in self._specs.values():
            self._add(spec.id, Named(spec, None))
            for alias, region in spec.aliases.items():
                self._add(alias, Named(spec, region))

    def _add(self, name: str, named: Named) -> None:
        self._written[name] = named
        other = self._named.setdefault(name.lower(), named)
        if other is not named:
            raise ValueError(f"`{name}` of provider `{named.spec.id}` is also a name of `{other.spec.id}`")

    def __iter__(self) -> Iterator[ProviderSpec]:
        return iter(self._specs.values())

    def __len__(self) -> int:
        return len(self._specs)

    def get(self, name: str) -> Named | None:
        """Returns the provider called `name`, in any case, or None; `custom:URL` makes one."""
        name = name.strip()
        custom = self.custom(name)
        return self._named.get(name.lower()) if custom is None else Named(custom, None)

    def custom(self, name: str) -> ProviderSpec | None:
        """Returns the provider that `custom:URL` or `anthropic-custom:URL` makes; None for any other name."""
        word, colon, url = name.partition(":")
        prefix = word.lower() + colon
        like = CUSTOM.get(prefix)
        return None if like is None else custom_spec(url, prefix=prefix, like=self._specs.get(like))

    def nearest(self, name: str, n: int = 3) -> list[str]:
        """Returns at most `n` ids and aliases that look like `name`, the likeliest first."""
        return get_close_matches(name.strip().lower(), self._named, n)

    def written(self, name: str) -> Named | None:
        """Returns the provider whose id or alias is written exactly so, or None."""
        return self._written.get(name)

    def split_model(self, model: str) -> SplitModel | None:
        """Returns the provider that `model` begins with, or None.

        Case matters, names are taken as written: `qwen/qwen-max` is a provider and its model,
        `Qwen/Qwen2.5-72B-Instruct` is one id that many hosts have. An id that really begins with its
        provider's name (`groq/compound`) stays whole.
        """
        head, slash, rest = model.partition("/")
        named = self._written.get(head)
        if named is None or not slash or not rest:
            return None
        return SplitModel(*named, clean_model(named.spec, model))


def _unique_ids(specs: Iterable[ProviderSpec]) -> list[ProviderSpec]:
    unique: dict[str, ProviderSpec] = {}
    for spec in specs:
        if (other := unique.setdefault(spec.id.lower(), spec)) is not spec:
            raise ValueError(f"two providers are called `{spec.id}` and `{other.id}`")
    return list(unique.values())


def clean_model(spec: ProviderSpec, model: str) -> str:
    """Returns the upstream's own id: one redundant `id/` or `alias/` is taken off, unless the id is kept."""
    head, slash, rest = model.partition("/")
    is_redundant = slash and rest and (head == spec.id or head in spec.aliases)
    return rest if is_redundant and not _is_kept(spec, model) else model


def is_keyless(spec: ProviderSpec, model: str) -> bool:
    """True if the provider, where it demands no credential, serves this model without one."""
    return not spec.keyless_models or any(_matches(pattern, model) for pattern in spec.keyless_models)


def _is_kept(spec: ProviderSpec, model: str) -> bool:
    return any(_matches(pattern, model) for pattern in spec.keep_ids)


def _matches(pattern: str, model: str) -> bool:
    """Shell-style, but `*` stays within a segment: `openrouter/*` means `openrouter/auto` alone."""
    return re.fullmatch(re.escape(pattern).replace(r"\*", "[^/]*"), model) is not None


def names_url(name: str) -> bool:
    """True for the name of a provider that is a URL."""
    return name.lower().startswith(tuple(CUSTOM))


def custom_spec(url: str, *, prefix: str = "custom:", like: ProviderSpec | None = None) -> ProviderSpec:
    """Returns a provider at `url`, taken literally: case and colons stay, no path is added.

    Its rules are those of `like`; its credential comes from the settings or from `like`'s variables.
    """
    url = with_scheme(url.strip())
    connection = Connection.LOCAL if is_local_host(url) else Connection.BYOK
    base = like or ProviderSpec(id=GENERIC, display_name="", protocol="openai", base_url=url)
    return replace(
        base,
        id=prefix + url,
        display_name=url,
        base_url=url,
        base_url_envs=(),
        requires_credential=False,
        connection=connection,
        category="Local" if connection is Connection.LOCAL else "Other Labs",
        aliases={},
        regions={},
        label="custom",
    )
