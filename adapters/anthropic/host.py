"""Where the protocol is served: what differs between the vendor's own API and the clouds that carry it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Host:
    """One place that serves the protocol. The defaults are the vendor's own API."""

    body_version: str = ""
    """`anthropic_version` of the body, for hosts that have the model in the path and no version header."""
    takes_urls: bool = True
    """Images and documents may be addresses."""
    has_files: bool = True
    """Files may be named by the vendor's ids."""
    binds_thinking: bool = True
    """It knows the beta that lets stale reasoning be ignored instead of refused."""


DIRECT: Final = Host()
