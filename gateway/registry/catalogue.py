"""What can be called right now: providers with a credential, servers found on this machine, and deployments of both."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from adapters.rules import NO_RULES
from adapters.types import Operation, Target
from gateway.credentials.keyring import KeyBook, KeyRing
from gateway.credentials.logins import Logins
from gateway.credentials.resolve import is_local_host, operation_url
from gateway.credentials.variables import first
from gateway.domain import Connection, ProviderSpec
from gateway.registry.adapters import adapter_of, paths_of
from gateway.registry.generic import NO_GENERIC, Generic
from gateway.registry.listing import Listing
from gateway.registry.provider import DEMO_MODEL, DEMO_SPEC, Provider, credential_hint
from gateway.registry.registry import GENERIC, Registry, SplitModel, clean_model, is_keyless, names_url
from gateway.registry.resolution import Resolution
from gateway.registry.waits import Patience, patience_of
from gateway.routing.deployment import Deployment
from gateway.secret import Secret
from gateway.settings.provider import ProviderRow


class Catalogue:
    """Providers by name, and the deployments that public names mean."""

    def __init__(
        self,
        registry: Registry,
        rows: Mapping[str, ProviderRow],
        environ: Mapping[str, str],
        keys: KeyBook | None = None,
        logins: Logins | None = None,
        generic: Generic = NO_GENERIC,
    ) -> None:
        """`rows` are the user's own, unlayered: what they say explicitly wins over the environment.

        `keys` is what the catalogue before this one has learned; `logins` may be used where there is no key.
        """
        self._registry = registry
        self._rows = rows
        self._environ = environ
        self._found_at: dict[str, str] = {}
        self.keys = keys or KeyBook()
        """What is known of every key."""
        self.listing = Listing()
        self._places = Resolution(registry, rows, environ, keys=self.keys, logins=logins, generic=generic)
        self.problems = self._places.problems
        """Provider id -> why it cannot be used although it is configured."""
        self.unusable = self._places.unusable
        """Provider id -> why a credential of the environment cannot be used, of those that nobody configured."""

    def __iter__(self) -> Iterator[Provider]:
        """Yields every resolvable provider at its usual place, ready or not."""
        return iter(self._places)

    def ready(self) -> list[Provider]:
        """Returns the hosted providers with a credential, and everything that the operator named."""
        return [
            provider
            for provider in self
            if provider.is_ready and (provider.is_configured or not provider.key_ring.is_empty)
        ]

    def local(self) -> list[Provider]:
        """Returns the servers that may run on this machine: the rows of that kind, and what was put on loopback."""
        return [
            provider
            for provider in self
            if (provider.is_configured and is_local_host(provider.base_url))
            or (provider.spec.connection is Connection.LOCAL and provider.spec.probe and provider.spec.id != GENERIC)
        ]

    def secrets(self) -> Iterator[Secret]:
        """Yields every upstream secret that is known now."""
        return self._places.secrets()

    def watch(self, learn: Callable[[Secret], None], keep: Callable[[Secret], None]) -> None:
        """Calls `learn` with every upstream secret that is fetched from now on, before it is used.

        `keep` is called with those that become known because a place is named for the first time.
        """
        self._places.watch(learn, keep)

    def found_at(self, provider: str, base_url: str | None) -> None:
        """Notes that discovery found a local server at another place than its row says, or no longer does."""
        if base_url is None:
            self._found_at.pop(provider, None)
        else:
            self._found_at[provider] = base_url

    def inherit(self, before: Catalogue) -> None:
        """Takes over what discovery found out for `before` about providers that are the same here."""
        for provider in self:
            id = provider.spec.id
            known = before._places.usual(id)
            if known is None or known.base_url != provider.base_url or known.accounts != provider.accounts:
                continue
            self.listing.replace(id, before.listing.models.get(id))
            self.found_at(id, before._found_at.get(id))

    def find(self, name: str) -> Provider | str:
        """Returns a provider by id or alias, in any case, or one sentence that says why there is none."""
        named = self._registry.get(name)
        if named is None:
            near = self._registry.nearest(name)
            return f"no provider is called {name!r}" + (f"; did you mean {' or '.join(near)}?" if near else "")
        return self._places.at(named.spec, named.region)

    def deploy(self, name: str, secrets: tuple[Secret, ...] = (), profile: str = "") -> Deployment | str:
        """Returns the deployment that `provider/model` means, or one sentence that says why there is none.

        `secrets`, or those of a profile, take the place of the provider's own credentials.
        """
        if name == DEMO_MODEL:
            return self._demo()
        if names_url(name):
            return "custom: URLs are for the configuration file, never for a request"
        split = self._registry.split_model(name) or self._alone(name)
        if split is None:
            provider, slash, rest = name.partition("/")
            near = self._registry.nearest(provider) if slash and rest else []
            return f"no provider is called {provider!r}; did you mean {near[0]}/{rest}?" if near else ""
        provider = self._places.at(split.spec, split.region, profile)
        if isinstance(provider, str):
            return provider
        if not secrets and (lack := provider.lack):
            return lack
        if not secrets and provider.key_ring.is_empty and not is_keyless(split.spec, split.model):
            free = ", ".join(split.spec.keyless_models)
            return f"{split.spec.id} serves only {free} without a credential; set {credential_hint(split.spec)}"
        listed = self.listing.models.get(provider.spec.id)
        model = split.model
        if listed is not None and model not in listed and name in listed:
            model = name  # the id really begins with its provider's name
        return self._deployment(provider, model, secrets)

    def _alone(self, name: str) -> SplitModel | None:
        """Returns what a provider's name alone means: a variable's model, its default, or the first that it lists."""
        named = self._registry.written(name)
        if named is None:
            return None
        spec = named.spec
        told = first(self._environ, *spec.model_envs)
        listed = self.listing.models.get(spec.id, ()) if spec.connection is Connection.LOCAL else ()
        model = told[1] if told else spec.default_model or next(iter(listed), "")
        return SplitModel(spec, named.region, clean_model(spec, model)) if model else None

    def custom(
        self, provider: str, model: str, secrets: tuple[Secret, ...] = (), profile: str = ""
    ) -> Deployment | str:
        """Returns a deployment at a provider of the file: an id, an alias, or a prefix and a URL."""
        try:
            spec = self._registry.custom(provider)
            if spec is None:
                return self.deploy(f"{provider}/{model}", secrets, profile)
            at = self._places.at_url(provider, spec)
        except ValueError as error:
            return str(error)
        return self._deployment(at, model, secrets)

    def _deployment(self, provider: Provider, model: str, secrets: tuple[Secret, ...] = ()) -> Deployment:
        spec = provider.spec
        base_url = self._found_at.get(spec.id, provider.base_url)
        adapter = adapter_of(spec)
        paths = paths_of(spec)
        target = Target(
            model=model,
            base_url=base_url,
            paths={
                operation: operation_url(paths, base_url, operation)
                for operation in paths
                if operation is not Operation.MODELS and (operation is not Operation.RERANK or _ranks(spec))
            },
            headers=spec.headers,
            rules=NO_RULES if spec.rules == NO_RULES else spec.rules,
            failure_rules=spec.failure_rules,
            options=spec.options,
            has_credential=bool(secrets) or not provider.key_ring.is_empty,
        )
        name = spec.label if names_url(spec.id) else spec.id  # clients see it: no URL
        return Deployment(
            id=f"{name}/{model}",
            provider=name,
            target=target,
            adapter=adapter,
            key_ring=provider.key_ring.for_model(model, self.keys, secrets),
        )

    def patience(self, id: str) -> Patience | None:
        """Returns how long a provider is waited for if its row or the environment says so."""
        named = self._registry.get(id)
        if named is None:
            return None
        return patience_of(named.spec, self._rows.get(named.spec.id), self._environ)

    def _demo(self) -> Deployment:
        return self._deployment(
            Provider(DEMO_SPEC, DEMO_SPEC.base_url, KeyRing(DEMO_SPEC), "none", "built-in", False), "echo"
        )


def _ranks(spec: ProviderSpec) -> bool:
    """True if the row says that documents can be ranked: few of the servers that speak OpenAI have that."""
    return Operation.RERANK in spec.operations
