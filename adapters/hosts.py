"""Whether a URL means this machine."""

from __future__ import annotations

from ipaddress import AddressValueError, IPv4Address, IPv6Address
from urllib.parse import urlsplit


def is_local_host(url: str) -> bool:
    """True iff the URL's host is this machine: localhost and below, 127.0.0.0/8, ::1, 0.0.0.0, ::."""
    try:
        return is_local_name(urlsplit(url).hostname or "")
    except ValueError:
        return False


def is_local_name(host: str) -> bool:
    """True iff `host`, a name or an address without brackets, is this machine."""
    name = host.lower().removesuffix(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        address = IPv6Address(name) if ":" in name else IPv4Address(name)
    except AddressValueError:
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address.is_loopback or address.is_unspecified
