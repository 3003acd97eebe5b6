"""A hook: one line for every request that has ended, in a file that a thread writes."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.plugins.hooks import AttemptEnded, RequestEnded


class CostFile:
    """Appends who has asked for what, and its cost, to the file that ANYPORT_EXAMPLE_FILE names."""

    def __init__(self) -> None:
        """Raises KeyError if the variable is not set: the gateway then says so, and does not start."""
        self._file = Path(os.environ["ANYPORT_EXAMPLE_FILE"])
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="anyport-example")

    def attempt_ended(self, event: AttemptEnded) -> None:
        """Hears of each attempt; this hook has no use for it."""

    def request_ended(self, event: RequestEnded) -> None:
        """Hears of a request; the event loop must not wait for a disk, so that a thread writes."""
        tokens = event.prompt_tokens + event.completion_tokens
        line = f"{event.client_key or 'anybody'} {event.model} {event.status} {tokens} {event.cost_nano_usd}\n"
        self._thread.submit(self._write, line)

    def _write(self, line: str) -> None:
        with self._file.open("a", encoding="utf-8") as opened:
            opened.write(line)
