"""Which cloud's own way authenticates a provider: by what its variables name, or by what this machine has."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final

from gateway.credentials import aws, azure, google
from gateway.credentials.extras import has_package, install
from gateway.credentials.renewed import Clock
from gateway.credentials.sign import Signer
from gateway.credentials.variables import ABI
from gateway.domain import Cloud

NO_KEYS: Final = frozenset({google.FILE_VARIABLE, ABI + google.FILE_VARIABLE})
"""Variables among a row's credentials that hold no key but say where one is."""
_LOGINS: Final[Mapping[Cloud | None, tuple[str, ...]]] = {
    Cloud.AWS: ("botocore",),
    Cloud.GOOGLE: ("google.auth", "requests"),
}
"""Packages without which a login of this machine is not looked for."""


def login_needs(cloud: Cloud | None) -> str:
    """Returns what has to be done before a login of this machine can serve a cloud, "" if nothing."""
    is_complete = all(has_package(package) for package in _LOGINS.get(cloud, ()))
    return "" if is_complete else f"the extra `{cloud}`: {install(str(cloud))}"


def signer_of(
    cloud: Cloud, name: str, provider: str, environ: Mapping[str, str], base_url: str, *, clock: Clock = time.time
) -> Signer | None:
    """Returns what the variable, or the pair of variables, `name` stands for; None if it is not set.

    Raises `CredentialUnavailable` if it is set and cannot be used.
    """
    match cloud:
        case Cloud.AWS:
            return aws.signer_of_pair(name, provider, environ, base_url, clock)
        case Cloud.GOOGLE:
            return google.signer_of_file(name, provider, environ, clock)
        case Cloud.AZURE:
            return None


def signer_by_itself(
    cloud: Cloud,
    provider: str,
    environ: Mapping[str, str],
    base_url: str,
    *,
    is_named: bool,
    clock: Clock = time.time,
) -> Signer | None:
    """Returns what serves where no variable of the row is set; None if nobody asked for it or there is nothing."""
    match cloud:
        case Cloud.AWS:
            return aws.chain_signer(provider, environ, base_url, clock) if is_named else None
        case Cloud.GOOGLE:
            return google.signer_by_itself(provider, environ, clock, is_named=is_named)
        case Cloud.AZURE:
            return azure.entra_signer(provider, environ, clock) if is_named else None
