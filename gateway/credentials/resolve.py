"""Where the credentials and the base URL of a provider come from: pure functions of row and environment.

A value that is empty after trimming is absent. Every variable of a row is also looked up with `ABI_` in
front, and all those names come before the plain ones. A source is text for people (`env GROQ_API_KEY`), never
a value.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import AddressValueError, IPv6Address
from urllib.parse import SplitResult, quote, urlsplit

from adapters.hosts import is_local_host, is_local_name
from adapters.types import Operation
from gateway.credentials.clouds import NO_KEYS, signer_by_itself, signer_of
from gateway.credentials.sign import Signer
from gateway.credentials.variables import ABI, PLUS, env_names, first, header_secret
from gateway.domain import AuthScheme, Connection, ProviderSpec
from gateway.secret import Secret

_VARIABLE = re.compile(r"\{([A-Z][A-Z0-9_]*)\}")
_OTHER = re.compile(r"\{([A-Z][A-Z0-9_]*)(?::-([^{}]+))?\}")
"""A variable's default that is another variable, as `{OTHER}` or `{OTHER:-text}`."""
_VERSION = re.compile(r"v\d+\w*")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_OTHER_ROOTS = {"ollama": re.compile(r"(/api(/[a-z]+)?|/v1(/chat/completions)?)$")}
"""By protocol: what people copy along with the root of a server, and what is no part of it."""
_HOSTED = frozenset({"ollama.com", "www.ollama.com"})
"""Hosts that the variable of a server of one's own may name bare, and that are nobody's own."""
_DIALABLE = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - what a server binds, not a client


class InvalidBaseUrl(ValueError):
    """A base URL that cannot be used; the message names its source."""


class MissingVariable(ValueError):
    """A `{VARIABLE}` of a base URL has no value."""

    def __init__(self, name: str, provider: str) -> None:
        super().__init__(f"the base URL of {provider} needs the environment variable {name}")
        self.name = name


@dataclass(frozen=True, slots=True)
class Resolved:
    """The credentials found, none if there are none, how they go on the wire, and where they came from."""

    secrets: tuple[Secret, ...]
    source: str
    """`config`, `file PATH`, `env NAME`, `cmd PROGRAM`, what a cloud's own way is called, or `none`."""
    auth: AuthScheme | None = None
    signer: Signer | None = None
    """What authenticates instead of secrets that are sent as they are."""
    also: tuple[tuple[AuthScheme, Secret], ...] = ()
    """Second credentials that go along with each of these."""


@dataclass(frozen=True, slots=True)
class ResolvedUrl:
    """A base URL without trailing slash; its source is `config`, `env NAME`, `region NAME` or `default`."""

    url: str
    source: str


def resolve_credentials(
    spec: ProviderSpec,
    environ: Mapping[str, str],
    explicit: Sequence[Secret] = (),
    *,
    generic: Sequence[str] = (),
    base_url: str = "",
    is_named: bool = False,
) -> Resolved:
    """Returns the configured credentials, else the first of the environment, else what the cloud has by itself.

    `explicit` are those of the settings, where it was seen to that a header can hold them. `generic` are variables
    with a key for all who have none (`takes_generic`). `base_url` is where credentials would be sent, `is_named` says
    that the operator's file has the provider: nobody's machine is searched for a login that was not asked for. Raises
    `InvalidCredential` and `CredentialUnavailable`.
    """
    auth = spec.auth
    if auth is None or (auth.is_remote_only and is_local_host(base_url)):
        return Resolved((), "none")
    usual = generic if takes_generic(spec, base_url) else ()
    found = _main_credential(spec, auth, environ, explicit, usual, base_url, is_named=is_named)
    second = ((scheme, first(environ, name)) for name, scheme in auth.also)
    also = tuple((scheme, header_secret(pair[1], f"env {pair[0]}")) for scheme, pair in second if pair)
    return replace(found, also=also) if also else found


def _main_credential(
    spec: ProviderSpec,
    auth: AuthScheme,
    environ: Mapping[str, str],
    explicit: Sequence[Secret],
    generic: Sequence[str],
    base_url: str,
    *,
    is_named: bool,
) -> Resolved:
    if explicit:
        return Resolved(tuple(explicit), ", ".join(dict.fromkeys(each.source for each in explicit)), auth)
    cloud = auth.cloud
    for name in env_names(spec.credential_envs):
        if cloud and (PLUS in name or name in NO_KEYS):
            if signer := signer_of(cloud, name, spec.id, environ, base_url):
                return Resolved((), f"env {name}" if PLUS in name else signer.source, auth, signer)
        elif value := environ.get(name, "").strip():
            source = f"env {name}"
            return Resolved((header_secret(value, source),), source, _auth_for(auth, name))
    if pair := first(environ, *generic):
        source = f"env {pair[0]}, for all"
        return Resolved((header_secret(pair[1], source),), source, auth)
    if cloud and (signer := signer_by_itself(cloud, spec.id, environ, base_url, is_named=is_named)):
        return Resolved((), signer.source, auth, signer)
    return Resolved((), "none", auth)


def takes_generic(spec: ProviderSpec, base_url: str) -> bool:
    """True if a key for all providers may go to this one: to no server of one's own, nor where none is needed."""
    is_own = spec.connection is Connection.LOCAL or is_local_host(base_url)
    return spec.requires_credential and not spec.keyless_models and not is_own


def _auth_for(auth: AuthScheme, name: str) -> AuthScheme:
    return dict(auth.by_env).get(name.removeprefix(ABI), auth)


def resolve_base_url(
    spec: ProviderSpec,
    environ: Mapping[str, str],
    *,
    explicit: str | None = None,
    region: str | None = None,
) -> ResolvedUrl:
    """Returns where the provider is: settings, environment, region, default; the first that says something.

    Raises `InvalidBaseUrl`, `MissingVariable`, or `KeyError` for a region that the row has not.
    """
    for value, source in _base_urls(spec, environ, explicit, region):
        if text := value.strip().strip("\"'").strip():
            return ResolvedUrl(_normal(spec, environ, _filled(text, spec, environ), source), source)
    raise InvalidBaseUrl(f"{spec.id} has no base URL")


def _base_urls(
    spec: ProviderSpec, environ: Mapping[str, str], explicit: str | None, region: str | None
) -> Iterator[tuple[str, str]]:
    yield explicit or "", "config"
    if found := first(environ, *spec.base_url_envs):
        yield found[1], f"env {found[0]}"
    if region is not None:
        yield spec.regions[region], f"region {region}"
    yield spec.base_url, "default"


def _normal(spec: ProviderSpec, environ: Mapping[str, str], text: str, source: str) -> str:
    """Completes what people write for a base URL: scheme, port and path may be missing."""
    has_scheme = _SCHEME.match(text) is not None
    if any(not "!" <= character <= "~" for character in text):
        raise InvalidBaseUrl(f"{source}: a base URL has no blanks, control characters or non-ASCII letters")
    try:
        default = urlsplit(spec.base_url)
        parts = urlsplit(text if has_scheme else "//" + _bracketed(text))
        port = parts.port
    except ValueError:  # its own message may quote half a password
        raise InvalidBaseUrl(f"{source}: not a URL") from None
    _refuse_odd(parts, has_scheme, source)
    host = _DIALABLE.get(parts.hostname or "", parts.hostname or "")
    scheme = parts.scheme
    if not has_scheme:
        # Servers of one's own are named bare (OLLAMA_HOST=gpu-box): the row's scheme and port are meant.
        is_own = spec.connection is Connection.LOCAL and host not in _HOSTED
        is_plain = host not in _HOSTED and (port is not None or is_local_name(host))
        scheme = default.scheme if is_own else "http" if is_plain else "https"
        port = port or (default.port if is_own else None)
    path, own = _root(spec, parts.path), _root(spec, default.path)
    # The vendor's other root on its own host is meant for other clients: Groq's `/openai`, Gemini's `/v1beta`.
    if not path or (host == default.hostname and own.startswith(path + "/")):
        path = _filled(own, spec, environ)
    return f"{scheme}://{_authority(host, port)}{path}"


def _root(spec: ProviderSpec, path: str) -> str:
    path = path.rstrip("/")
    other = _OTHER_ROOTS.get(spec.protocol)
    return other.sub("", path) if other else path


def with_scheme(text: str) -> str:
    """Returns `text` as a URL: `http` for this machine and for a host with a port, else `https`."""
    if _SCHEME.match(text):
        return text
    address = "//" + _bracketed(text)
    try:
        parts = urlsplit(address)
        is_plain = parts.port is not None or is_local_name(parts.hostname or "")
    except ValueError:  # said again, with its source, by whoever resolves it
        is_plain = False
    return f"{'http' if is_plain else 'https'}:{address}"


def _bracketed(text: str) -> str:
    try:
        return f"[{IPv6Address(text)}]"
    except AddressValueError:
        return text


def _refuse_odd(parts: SplitResult, has_scheme: bool, source: str) -> None:
    if has_scheme and (parts.scheme not in ("http", "https") or not parts.hostname):
        raise InvalidBaseUrl(f"{source}: a base URL begins with http:// or https:// and a host")
    if "@" in parts.netloc:
        raise InvalidBaseUrl(f"{source}: a base URL has no user name or password; use `credentials`")
    if parts.query or parts.fragment:
        raise InvalidBaseUrl(f"{source}: a base URL has no `?` and no `#`")


def _authority(host: str, port: int | None) -> str:
    name = f"[{host}]" if ":" in host else host
    return name if port is None else f"{name}:{port}"


def _filled(url: str, spec: ProviderSpec, environ: Mapping[str, str]) -> str:
    def value(match: re.Match[str]) -> str:
        name = match[1]
        default = spec.base_url_variables.get(name, "")
        other = _OTHER.fullmatch(default)
        found = first(environ, name) or (first(environ, other[1]) if other else None)
        text = found[1] if found else (other[2] or "") if other else default
        if not text:
            raise MissingVariable(name, spec.id)
        return quote(text, safe="")

    return _VARIABLE.sub(value, url)


def operation_url(paths: Mapping[Operation, str], base_url: str, operation: Operation) -> str:
    """Returns the URL of `operation`, whose path is in `paths`.

    A base URL that ends in the path of chats is the chat URL itself; the siblings stand beside it. A
    version that ends the base and begins the path is written once. A path with a scheme is the whole URL.
    """
    base = base_url.rstrip("/")
    chat = paths.get(Operation.CHAT)
    if chat and base.endswith(chat):
        if operation is Operation.CHAT:
            return base
        base = base.removesuffix(chat)
    path = paths[operation]
    if "://" in path:
        return path
    first, _, rest = path.lstrip("/").partition("/")
    if rest and _VERSION.fullmatch(first) and urlsplit(base).path.endswith("/" + first):
        return f"{base}/{rest}"
    return f"{base}/{first}/{rest}" if rest else f"{base}/{first}"


def probe_url(spec: ProviderSpec, base_url: str) -> str | None:
    """Returns the URL that answers for free, on the host of `base_url`; None if the provider has none."""
    if spec.probe is None:
        return None
    parts = urlsplit(base_url)
    return f"{parts.scheme}://{parts.netloc}{spec.probe}"


def key_warning(spec: ProviderSpec, base_url: str, secret: Secret) -> str | None:
    """Returns a sentence if the vendor itself would hardly take this key; proxies have keys of their own."""
    official = {urlsplit(url).hostname for url in (spec.base_url, *spec.regions.values())}
    if not spec.key_prefix or urlsplit(base_url).hostname not in official:
        return None
    if secret.reveal().startswith(spec.key_prefix):
        return None
    return f"keys of {spec.display_name} begin with `{spec.key_prefix}`; the configured one does not"
