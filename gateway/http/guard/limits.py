"""Caps and deadlines of the server edge."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class GuardLimits:
    """What one client connection may cost; bytes and seconds."""

    header_bytes: int = 64 * 1024
    """Request line, headers and the empty line together."""
    header_count: int = 100
    url_bytes: int = 8 * 1024
    max_body_bytes: int = 32 * 1024 * 1024
    header_seconds: float = 10.0
    """From the first byte of a request to the end of its headers; also for the first byte of a connection."""
    body_seconds: float = 30.0
    """After it, a body that came slower than `body_bytes_per_second` on average is given up."""
    body_bytes_per_second: int = 8000
    keep_alive_seconds: float = 75.0
    write_stall_seconds: float = 60.0
    """A client that takes no byte for so long while we have some for it is cut off."""
    linger_seconds: float = 2.0
    """How long the rest of a refused upload is read and dropped, so that the client can read the answer."""
    pipelined_requests: int = 16
    """Requests waiting behind the one being answered, before reading stops."""
    allowed_hosts: frozenset[str] | None = None
    """Host names without port, in lower case, IPv6 in brackets; None means any."""

    def tick_seconds(self) -> float:
        """Returns how often deadlines are looked at."""
        shortest = min(
            self.header_seconds,
            self.body_seconds,
            self.keep_alive_seconds,
            self.write_stall_seconds,
            self.linger_seconds,
        )
        return min(0.5, max(0.01, shortest / 4))
