"""Where each provider is and what it is called with, or why it cannot be called."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace

from gateway.credentials.asked import Asked
from gateway.credentials.errors import CredentialUnavailable, InvalidCredential
from gateway.credentials.keyring import KeyBook, KeyRing
from gateway.credentials.logins import Logins, Place, placeholder_in, terms_warning
from gateway.credentials.resolve import (
    InvalidBaseUrl,
    MissingVariable,
    Resolved,
    key_warning,
    resolve_base_url,
    resolve_credentials,
)
from gateway.credentials.sign import Signer
from gateway.credentials.variables import first
from gateway.domain import ProviderSpec
from gateway.registry.adapters import PRELUDES
from gateway.registry.generic import NO_GENERIC, Generic
from gateway.registry.provider import Provider
from gateway.secret import Secret
from gateway.settings.provider import ProviderRow


class Resolution:
    """Providers by id, region and profile, each found out once."""

    def __init__(
        self,
        specs: Iterable[ProviderSpec],
        rows: Mapping[str, ProviderRow],
        environ: Mapping[str, str],
        *,
        keys: KeyBook,
        logins: Logins | None = None,
        generic: Generic = NO_GENERIC,
    ) -> None:
        """`rows` are the user's own, unlayered: what they say explicitly wins over the environment.

        `keys` is what is known of every key; `logins` may be used where there is no key.
        """
        self._rows = rows
        self._environ = environ
        self._keys = keys
        self._logins = logins
        self._generic = generic
        self._providers: dict[tuple[str, str | None, str], Provider] = {}
        """By id, region and profile."""
        self._customs: dict[str, Provider] = {}
        """Those that are URLs, by the name that the file has for them."""
        self._learn: Callable[[Secret], None] | None = None
        self._keep: Callable[[Secret], None] | None = None
        self.problems: dict[str, str] = {}
        """Provider id -> why it cannot be used although it is configured."""
        self.unusable: dict[str, str] = {}
        """Provider id -> why a credential of the environment cannot be used, of those that nobody configured."""
        self._lacking: dict[str, str] = {}
        """Provider id -> what its base URL needs, of those that nobody configured."""
        self._resolve_all(specs)

    def __iter__(self) -> Iterator[Provider]:
        """Yields every resolvable provider at its usual place, ready or not."""
        return (each for (_, region, profile), each in self._providers.items() if region is None and not profile)

    def usual(self, id: str) -> Provider | None:
        """Returns a provider at its usual place, None if that is not known."""
        return self._providers.get((id, None, ""))

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

    def at_url(self, name: str, spec: ProviderSpec) -> Provider:
        """Returns the provider that the file names by its URL."""
        at = self._customs.get(name)
        if at is None:
            found = resolve_credentials(spec, self._environ, base_url=spec.base_url)
            ring = self._key_ring(spec, found)
            at = Provider(spec, spec.base_url.rstrip("/"), ring, found.source, "config", True)
            self._customs[name] = at
        return at

    def at(self, spec: ProviderSpec, region: str | None, profile: str = "") -> Provider | str:
        """Returns a provider at one of its places, or one sentence that says why there is none."""
        key = (spec.id, region, profile)
        if key not in self._providers and spec.id not in self.problems:
            row = self._rows.get(spec.id)
            if profile and profile not in ((row.profiles if row else None) or {}):
                return f"{spec.id} has no profile {profile!r}; put it under providers.{spec.id}.profiles"
            self._resolve(spec, region, profile)
        provider = self._providers.get(key)
        return provider or self.problems.get(spec.id) or self.unusable.get(spec.id) or self._lacking[spec.id]

    def _resolve_all(self, specs: Iterable[ProviderSpec]) -> None:
        for spec in specs:
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
        return KeyRing(
            shown, found.secrets, found.signer, found.also, state_of=self._keys, account=account, asked=asked
        )

    def _asked(self, spec: ProviderSpec, base_url: str, signer: Signer | None) -> Asked | None:
        """Returns what asks an account for what its requests need, None if they need nothing or the row says it."""
        prelude = PRELUDES.get(spec.protocol)
        if prelude is None or signer is None or self._logins is None or getattr(spec.options, prelude.option):
            return None
        return self._logins.asked(spec.id, prelude, prelude.question(base_url, spec.headers), signer)

    def _has_variable(self, spec: ProviderSpec) -> bool:
        return first(self._environ, *spec.credential_envs) is not None


def _warning(spec: ProviderSpec, row: ProviderRow | None, base_url: str, found: Resolved) -> str | None:
    if warning := terms_warning(spec.display_name, spec.login, found.secrets, found.signer):
        return warning
    if row is not None and row.credentials and not found.secrets and found.signer is None:
        return f"its credentials are not sent to {base_url}: a server on this machine gets none"
    return None
