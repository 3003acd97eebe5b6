"""AWS Signature Version 4 through botocore, and where its keys come from.

Signed are the exact bytes of the body and the path as it is sent, percent-encoded once more
(docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html, 2026-11-21).
"""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final, Protocol
from urllib.parse import urlsplit

from adapters.failures import Failure
from adapters.types import Headers, HttpRequest
from gateway.credentials.errors import CredentialUnavailable
from gateway.credentials.extras import has_package, need_package, package, silence
from gateway.credentials.renewed import CALL_SECONDS, Clock, Fetch, Lease, Renewed, in_thread
from gateway.credentials.scrub import Scrubber
from gateway.credentials.variables import ABI, PLUS, header_secret, value_of
from gateway.secret import Secret

SERVICE: Final = "bedrock"
"""The name to sign for; not that of the host (`signingName` of botocore's model of bedrock-runtime, 2026-11-21)."""
_ASK_AGAIN_SECONDS: Final = 60.0
_GOOD_SECONDS: Final = 480.0
"""botocore renews what it gives out ten minutes before its end at the latest: what it gave is good for that long."""
_STALE: Final = frozenset(
    {"ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "UnrecognizedClientException"}
)
"""Refusals that speak of the keys, under 400 or 403, and not of what they may do
(docs.aws.amazon.com/bedrock/latest/APIReference/CommonErrors.html, 2026-11-21)."""
_AWS_HOST: Final = re.compile(r"\.(?:amazonaws\.com|amazonaws\.com\.cn|api\.aws|amazonaws\.eu)$")
_REGION: Final = re.compile(r"[a-z]{2,5}(?:-[a-z]+)+-\d{1,2}")


@dataclass(frozen=True, slots=True)
class AwsKeys:
    """A pair of keys, and the session that they belong to if they are temporary."""

    access_key: str
    secret_key: Secret
    session_token: Secret | None = None

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """What of them must never be shown; the id of the access key is no secret."""
        return (self.secret_key, self.session_token) if self.session_token else (self.secret_key,)


class _Frozen(Protocol):
    access_key: str
    secret_key: str
    token: str | None


class _Credentials(Protocol):
    def get_frozen_credentials(self) -> _Frozen: ...


class SigV4Signer:
    """Signs requests for one region."""

    def __init__(
        self, source: str, keys: Renewed[AwsKeys], region: str, clock: Clock, known: tuple[Secret, ...] = ()
    ) -> None:
        self.source = source
        self._keys = keys
        self._region = region
        self._clock = clock
        self._known = known

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """The keys that are known now."""
        return self._known or self._keys.secrets

    def watch(self, learn: Callable[[Secret], None]) -> None:
        """Calls `learn` with every secret key and session token that comes from now on."""
        self._keys.learn = learn

    async def sign(self, request: HttpRequest) -> Headers:
        """Returns date, session and signature; raises `CredentialUnavailable`."""
        keys = await self._keys.get()
        return signature(request, keys, self._region, datetime.fromtimestamp(self._clock(), UTC))

    def refused(self, headers: Headers, failure: Failure) -> bool:
        """Notes that keys were refused as such; returns whether others can be had, as those of variables cannot."""
        is_stale = not _STALE.isdisjoint((failure.code, failure.type))
        return is_stale and not self._known and self._keys.refuse(lambda keys: _is_signed_with(headers, keys))


def signature(request: HttpRequest, keys: AwsKeys, region: str, now: datetime) -> Headers:
    """Returns the headers that sign `request`, which must go out with exactly this URL, body and headers."""
    stamp = now.strftime("%Y%m%dT%H%M%SZ")
    added: Headers = (("x-amz-date", stamp),)
    if keys.session_token:
        added += (("x-amz-security-token", keys.session_token.reveal()),)
    made = package("botocore.awsrequest").AWSRequest(method=request.method, url=request.url, data=request.body)
    for name, value in (*request.headers, *added):
        made.headers.add_header(name, value)
    made.context["timestamp"] = stamp
    pair = package("botocore.credentials").Credentials(keys.access_key, keys.secret_key.reveal())
    # Its own `add_auth` reads the clock and writes what it signs into the log.
    auth = package("botocore.auth").SigV4Auth(pair, SERVICE, region)
    names = auth.signed_headers(auth.headers_to_sign(made))
    signed = auth.signature(auth.string_to_sign(made, auth.canonical_request(made)), made)
    value = f"AWS4-HMAC-SHA256 Credential={auth.scope(made)}, SignedHeaders={names}, Signature={signed}"
    return (*added, ("authorization", value))


def _is_signed_with(headers: Headers, keys: AwsKeys) -> bool:
    session = keys.session_token.reveal() if keys.session_token else None
    has_session = session is None or any(name == "x-amz-security-token" and value == session for name, value in headers)
    return has_session and any(f" Credential={keys.access_key}/" in value for _, value in headers)


def region_of(environ: Mapping[str, str], base_url: str, provider: str) -> str:
    """Returns the region to sign for; raises `CredentialUnavailable` if nothing names one.

    A host of AWS takes signatures for its own region only, so that its name comes before the variables; these serve
    for every other host.
    """
    host = urlsplit(base_url).hostname or ""
    if _AWS_HOST.search(host) and (match := _REGION.search(host)):
        return match[0]
    if region := value_of(environ, "AWS_REGION") or value_of(environ, "AWS_DEFAULT_REGION"):
        return region
    raise CredentialUnavailable(f"{provider}: signing needs a region; set AWS_REGION")


def signer_of_pair(
    pair: str, provider: str, environ: Mapping[str, str], base_url: str, clock: Clock
) -> SigV4Signer | None:
    """Returns a signer with the keys of two variables (`A+B`), None if neither is set.

    Raises `CredentialUnavailable` for half a pair, without a region, or without botocore.
    """
    names = pair.split(PLUS)
    values = [environ.get(name, "").strip() for name in names]
    if not any(values):
        return None
    if missing := [name for name, value in zip(names, values, strict=True) if not value]:
        given = next(name for name in names if name not in missing)
        raise CredentialUnavailable(f"{provider}: {given} is set, {missing[0]} is not; both are needed")
    need_package("botocore", "aws", f"{provider}: signing with {pair}")
    keys = AwsKeys(header_secret(values[0], names[0]).reveal(), Secret(values[1]), _session(names[0], environ))
    lease = Lease(keys, keys.secrets, math.inf, math.inf)

    def imported() -> Lease[AwsKeys]:
        package("botocore.auth")
        return lease

    region = region_of(environ, base_url, provider)
    return SigV4Signer(f"env {pair}", Renewed(in_thread(imported), clock), region, clock, keys.secrets)


def _session(access_key: str, environ: Mapping[str, str]) -> Secret | None:
    """The session of the standard pair; that of any other pair has no variable."""
    if access_key not in ("AWS_ACCESS_KEY_ID", ABI + "AWS_ACCESS_KEY_ID"):
        return None
    name = access_key.replace("ACCESS_KEY_ID", "SESSION_TOKEN")
    token = environ.get(name, "").strip()
    return header_secret(token, name) if token else None


def chain_signer(provider: str, environ: Mapping[str, str], base_url: str, clock: Clock) -> SigV4Signer | None:
    """Returns a signer with what botocore finds (profile, SSO, container, instance) at the first request."""
    if not has_package("botocore"):
        return None
    source = "aws credential chain"
    keys = Renewed(_chain(provider, value_of(environ, "AWS_PROFILE"), clock), clock)
    return SigV4Signer(source, keys, region_of(environ, base_url, provider), clock)


class _Session(Protocol):
    def get_credentials(self) -> _Credentials | None: ...


def _session_of(profile: str) -> _Session:
    silence("botocore", "urllib3")
    session = package("botocore.session").Session(profile=profile or None)
    limits = {"connect_timeout": CALL_SECONDS, "read_timeout": CALL_SECONDS, "retries": {"total_max_attempts": 2}}
    session.set_default_client_config(package("botocore.config").Config(**limits))
    return session


def _chain(provider: str, profile: str, clock: Clock) -> Fetch[AwsKeys]:
    held: list[_Credentials] = []  # botocore keeps what it found and renews that

    def fetch() -> Lease[AwsKeys]:
        errors = package("botocore.exceptions")
        try:
            if found := None if held else _session_of(profile).get_credentials():
                held.append(found)
            if not held:
                raise CredentialUnavailable(
                    f"{provider}: AWS has no credential here; set AWS_BEARER_TOKEN_BEDROCK or "
                    "AWS_ACCESS_KEY_ID+AWS_SECRET_ACCESS_KEY, or log in with `aws sso login` and set AWS_PROFILE"
                )
            frozen = held[0].get_frozen_credentials()
        except (errors.BotoCoreError, errors.ClientError, OSError) as error:
            raise CredentialUnavailable(
                f"{provider}: AWS gave no credential: {Scrubber(()).text(str(error))}; log in again "
                "(`aws sso login`) or check AWS_PROFILE"
            ) from None
        keys = AwsKeys(frozen.access_key, Secret(frozen.secret_key), Secret(frozen.token) if frozen.token else None)
        now = clock()
        return Lease(keys, keys.secrets, now + _ASK_AGAIN_SECONDS, now + _GOOD_SECONDS, is_new=False)

    async def fetched(refused: AwsKeys | None) -> Lease[AwsKeys]:
        if refused is None:
            return await asyncio.to_thread(fetch)
        held.clear()  # by its own clock botocore would take them to be good
        return replace(await asyncio.to_thread(fetch), is_new=True)

    return fetched
