"""What can be called right now: providers with a credential, servers found on this machine, and deployments of both."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from urllib.parse import urlsplit

from adapters.rules import NO_RULES
from adapters.types import Operation, Target
from gateway.credentials.asked import Asked
from gateway.credentials.clouds import login_needs
from gateway.credentials.errors import CredentialUnavailable, InvalidCredential
from gateway.credentials.keyring import KeyBook, KeyRing
from gateway.credentials.logins import Logins, Place, placeholder_in, terms_warning
from gateway.credentials.resolve import (
    InvalidBaseUrl,
    MissingVariable,
    Resolved,
    is_local_host,
    key_warning,
    operation_url,
    resolve_base_url,
    resolve_credentials,
)
from gateway.credentials.sign import Signer
from gateway.credentials.variables import ABI, first
from gateway.domain import AuthScheme, Connection, ProviderSpec
from gateway.registry.adapters import PRELUDES, adapter_of, paths_of
from gateway.registry.generic import NO_GENERIC, Generic
from gateway.registry.registry import GENERIC, Registry, SplitModel, clean_model, is_keyless, names_url
from gateway.routing.deployment import Deployment
from gateway.secret import Secret
from gateway.settings.provider import ProviderRow
from gateway.settings.scalars import MAX_SECONDS


@dataclass(frozen=True, slots=True)
class Patience:
    """How long one provider is waited for, where the general settings do not say it."""

    seconds: float
    """For the head of a response, its first content, and between two pieces of it."""
    setting: str
    """Where it came from, for the message: `providers.ollama.timeout_seconds`, `env OLLAMA_HTTP_TIMEOUT`."""


DEMO = "demo"
DEMO_MODEL = "demo/echo"
_HINTED = 3
"""So many variables are named where none is set; of each built-in row the vendor's own is among them."""
DEMO_SPEC = ProviderSpec(
    id=DEMO,
    display_name="Built-in echo",
    protocol="openai",
    base_url="http://demo.invalid/v1",
    requires_credential=False,
    auth=AuthScheme(),
    connection=Connection.LOCAL,
    category="Local",
    probe=None,
    operations=frozenset({Operation.CHAT, Operation.COMPLETIONS}),
)


@dataclass(frozen=True, slots=True)
class Provider:
    """A provider that can be called: its spec at one place, with its credentials."""

    spec: ProviderSpec
    base_url: str
    key_ring: KeyRing
    source: str
    """Where the credential came from: `env NAME`, `config`, a cloud's own way, or `none`; never the credential."""
    base_url_source: str
    is_configured: bool
    """Named in the file, or told where it is by the environment."""
    warning: str | None = None
    profile: str = ""
    """Which of several accounts, "" for the usual one."""
    doubt: str | None = None
    """Why its key is hardly one of this vendor."""

    @property
    def base_url_port(self) -> int | None:
        """The port of the base URL, if it names one."""
        return urlsplit(self.base_url).port

    @property
    def is_ready(self) -> bool:
        """True if a call can be expected to be let in."""
        return not (self.key_ring.is_empty and self.spec.requires_credential)


@dataclass(slots=True)
class Listing:
    """The models that a provider says it has; None while it has not been asked or did not answer."""

    models: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))

    def replace(self, provider: str, models: Sequence[str] | None) -> bool:
        """Sets or removes what one provider lists and returns whether that changed anything."""
        if models is None:
            if provider not in self.models:
                return False
            self.models = MappingProxyType({name: ids for name, ids in self.models.items() if name != provider})
            return True
        if self.models.get(provider) == tuple(models):
            return False
        self.models = MappingProxyType({**self.models, provider: tuple(models)})
        return True


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
        self._logins = logins
        self._generic = generic
        self._providers: dict[tuple[str, str | None, str], Provider] = {}
        """By id, region and profile."""
        self._customs: dict[str, Provider] = {}
        """Those that are URLs, by the name that the file has for them."""
        self._found_at: dict[str, str] = {}
        self._learn: Callable[[Secret], None] | None = None
        self._keep: Callable[[Secret], None] | None = None
        self.keys = keys or KeyBook()
        """What is known of every key."""
        self.listing = Listing()
        self.problems: dict[str, str] = {}
        """Provider id -> why it cannot be used although it is configured."""
        self.unusable: dict[str, str] = {}
        """Provider id -> why a credential of the environment cannot be used, of those that nobody configured."""
        self._lacking: dict[str, str] = {}
        """Provider id -> what its base URL needs, of those that nobody configured."""
        self._resolve_all()

    def __iter__(self) -> Iterator[Provider]:
        """Yields every resolvable provider at its usual place, ready or not."""
        return (each for (_, region, profile), each in self._providers.items() if region is None and not profile)

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
        for provider in (*self._providers.values(), *self._customs.values()):
            ring = provider.key_ring
            yield from ring.signer.secrets if ring.signer else ring.secrets
            yield from (secret for _, secret in ring.also)

    def watch(self, learn: Callable[[Secret], None], keep: Callable[[Secret], None]) -> None:
        """Calls `learn` with every upstream secret that is fetched from now on, before it is used.

        `keep` is called with those that become known because a place is named for the first time.
        """
        self._learn, self._keep = learn, keep
        for provider in self._providers.values():
            if provider.key_ring.signer:
                provider.key_ring.signer.watch(learn)

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
            known = before._providers.get((id, None, ""))
            if known is None or known.base_url != provider.base_url or _accounts(known) != _accounts(provider):
                continue
            self.listing.replace(id, before.listing.models.get(id))
            self.found_at(id, before._found_at.get(id))

    def find(self, name: str) -> Provider | str:
        """Returns a provider by id or alias, in any case, or one sentence that says why there is none."""
        named = self._registry.get(name)
        if named is None:
            near = self._registry.nearest(name)
            return f"no provider is called {name!r}" + (f"; did you mean {' or '.join(near)}?" if near else "")
        return self._at_region(named.spec, named.region)

    def lack(self, provider: Provider) -> str:
        """Returns what a provider needs before it can be called, "" if nothing."""
        if provider.is_ready:
            return ""
        auth = provider.spec.auth
        login = login_needs(auth.cloud if auth else None)
        said = f"{provider.spec.id} has no credential" + (
            f" in the profile {provider.profile!r}" if provider.profile else ""
        )
        said = f"{said}; {_remedy(provider)}"
        return said + (f"; a login of this machine needs {login}" if login else "")

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
        provider = self._at_region(split.spec, split.region, profile)
        if isinstance(provider, str):
            return provider
        if not secrets and (lack := self.lack(provider)):
            return lack
        if not secrets and provider.key_ring.is_empty and not is_keyless(split.spec, split.model):
            free = ", ".join(split.spec.keyless_models)
            return f"{split.spec.id} serves only {free} without a credential; set {_hint(split.spec)}"
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
            at = self._customs.get(provider)
            if at is None:
                found = resolve_credentials(spec, self._environ, base_url=spec.base_url)
                ring = self._key_ring(spec, found)
                at = Provider(spec, spec.base_url.rstrip("/"), ring, found.source, "config", True)
                self._customs[provider] = at
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
        spec = named.spec
        row = self._rows.get(spec.id)
        is_told = row is not None and row.timeout_seconds is not None
        found = None if is_told else first(self._environ, *spec.timeout_envs)
        seconds = _seconds(found[1]) if found else None
        if found and seconds is not None:
            return Patience(seconds, f"env {found[0]}")
        if spec.timeout_seconds is None:
            return None
        return Patience(spec.timeout_seconds, f"providers.{spec.id}.timeout_seconds")

    def _demo(self) -> Deployment:
        return self._deployment(
            Provider(DEMO_SPEC, DEMO_SPEC.base_url, KeyRing(DEMO_SPEC), "none", "built-in", False), "echo"
        )

    def _at_region(self, spec: ProviderSpec, region: str | None, profile: str = "") -> Provider | str:
        key = (spec.id, region, profile)
        if key not in self._providers and spec.id not in self.problems:
            row = self._rows.get(spec.id)
            if profile and profile not in ((row.profiles if row else None) or {}):
                return f"{spec.id} has no profile {profile!r}; put it under providers.{spec.id}.profiles"
            self._resolve(spec, region, profile)
        provider = self._providers.get(key)
        return provider or self.problems.get(spec.id) or self.unusable.get(spec.id) or self._lacking[spec.id]

    def _resolve_all(self) -> None:
        for spec in self._registry:
            self._resolve(spec, None)
            row = self._rows.get(spec.id)
            for profile in (row.profiles or {}) if row else ():
                self._resolve(spec, None, profile)

    def _resolve(self, spec: ProviderSpec, region: str | None, profile: str = "") -> None:
        row = self._rows.get(spec.id)
        try:
            place = resolve_base_url(
                spec,
                self._environ,
                explicit=row.base_url if row else None,
                region=region or (row.region if row else None),
            )
            found = self._credentials(spec, row, place.url, region or (row.region if row else None), profile)
        except MissingVariable as error:
            is_wanted = row is not None or self._has_variable(spec)
            (self.problems if is_wanted else self._lacking)[spec.id] = str(error)
            return
        except CredentialUnavailable as error:  # AWS's variables are often there for something else
            (self.unusable if row is None else self.problems)[spec.id] = error.message
            return
        except (InvalidBaseUrl, InvalidCredential) as error:
            self.problems[spec.id] = str(error)
            return
        except KeyError:
            known = ", ".join(sorted(spec.regions)) or "none"
            self.problems[spec.id] = f"{spec.id} has no region {row.region if row else region!r}; known: {known}"
            return
        if found.signer and self._learn:
            found.signer.watch(self._learn)
        account = f"{spec.id}.{profile}" if profile else ""
        self._providers[spec.id, region, profile] = Provider(
            spec=spec,
            base_url=place.url,
            key_ring=self._key_ring(spec, found, account, place.url),
            source=found.source,
            base_url_source=place.source,
            is_configured=row is not None or place.source.startswith("env "),
            warning=_warning(spec, row, place.url, found),
            doubt=next((text for secret in found.secrets if (text := key_warning(spec, place.url, secret))), None),
            profile=profile,
        )

    def _credentials(
        self, spec: ProviderSpec, row: ProviderRow | None, base_url: str, region: str | None, profile: str
    ) -> Resolved:
        said = row.profiles[profile] if row and row.profiles and profile else row
        explicit = (said.credentials or ()) if said else ()
        placeholder = placeholder_in(spec.login, explicit)
        is_alone = bool(profile or placeholder)  # a profile's credentials are its own
        found = resolve_credentials(
            spec,
            {} if profile else self._environ,
            [key for key in explicit if not placeholder_in(spec.login, [key])],
            generic=self._generic.variables if spec.id in self._generic.providers and not is_alone else (),
            base_url=base_url,
            is_named=row is not None and not profile,
        )
        if found.secrets or found.signer or self._logins is None:
            return found
        place = Place(spec.id, spec.login, base_url, profile, region or "")
        login = said.login if said else None
        signer = self._logins.signer(place, login, is_named=row is not None, placeholder=placeholder)
        return replace(found, source=signer.source, signer=signer) if signer else found

    def _key_ring(self, spec: ProviderSpec, found: Resolved, account: str = "", base_url: str = "") -> KeyRing:
        if self._keep is not None:
            known = found.signer.secrets if found.signer else found.secrets
            for secret in (*known, *(each for _, each in found.also)):
                self._keep(secret)
        shown = spec if found.auth == spec.auth else replace(spec, auth=found.auth)
        asked = self._asked(spec, base_url, found.signer)
        return KeyRing(shown, found.secrets, found.signer, found.also, state_of=self.keys, account=account, asked=asked)

    def _asked(self, spec: ProviderSpec, base_url: str, signer: Signer | None) -> Asked | None:
        """Returns what asks an account for what its requests need, None if they need nothing or the row says it."""
        prelude = PRELUDES.get(spec.protocol)
        if prelude is None or signer is None or self._logins is None or getattr(spec.options, prelude.option):
            return None
        return self._logins.asked(spec.id, prelude, prelude.question(base_url, spec.headers), signer)

    def _has_variable(self, spec: ProviderSpec) -> bool:
        return first(self._environ, *spec.credential_envs) is not None


def _hint(spec: ProviderSpec) -> str:
    """Returns which variables to set for a credential."""
    names = [name for name in spec.credential_envs if not name.startswith(ABI)]
    return " or ".join((names or spec.credential_envs)[:_HINTED]) or f"providers.{spec.id}.credentials"


def _remedy(provider: Provider) -> str:
    """Returns what to do for a credential."""
    spec = provider.spec
    if provider.profile:
        return f"set providers.{spec.id}.profiles.{provider.profile}.credentials"
    if spec.login and not spec.credential_envs and not provider.is_configured:
        return f"put `{spec.id}: {{}}` under `providers`, which says that its login may be used"
    return f"set {_hint(spec)}"


def _accounts(provider: Provider) -> set[str]:
    return {key.account.fingerprint for key in provider.key_ring.keys}


def _seconds(text: str) -> float | None:
    """Returns a number of seconds that can be waited, None for anything else."""
    try:
        seconds = float(text)
    except ValueError:
        return None
    return seconds if 0 < seconds <= MAX_SECONDS else None


def _warning(spec: ProviderSpec, row: ProviderRow | None, base_url: str, found: Resolved) -> str | None:
    if warning := terms_warning(spec.display_name, spec.login, found.secrets, found.signer):
        return warning
    if row is not None and row.credentials and not found.secrets and found.signer is None:
        return f"its credentials are not sent to {base_url}: a server on this machine gets none"
    return None


def _ranks(spec: ProviderSpec) -> bool:
    """True if the row says that documents can be ranked: few of the servers that speak OpenAI have that."""
    return Operation.RERANK in spec.operations
