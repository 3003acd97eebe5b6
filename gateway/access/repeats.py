"""`Idempotency-Key`: the same key never stands for two different requests.

What comes again with the same key and the same body has to wait until the first one has ended, and is a new request
then: answers are not kept, since they are nobody's business once they are given. What is remembered is this process's
own, and for a while.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from gateway.errors import InvalidRequest, StillAtWork

IDEMPOTENCY_KEY: Final = b"idempotency-key"
KEEP_SECONDS: Final = 3600.0
MAX_KEYS: Final = 10_000
MAX_LENGTH: Final = 255
_KEY: Final = re.compile(rb"[ -~]{1,%d}" % MAX_LENGTH)
_OF_CLIENT: Final = (b"authorization", b"x-api-key")


class Repeats:
    """Which body came with which key; of very many keys, the oldest are forgotten."""

    def __init__(self, *, clock: Callable[[], float]) -> None:
        """`clock` gives monotonic seconds."""
        self._clock = clock
        self._seen: OrderedDict[bytes, tuple[bytes, float]] = OrderedDict()
        self._at_work: set[bytes] = set()

    def __len__(self) -> int:
        return len(self._seen)

    def check(
        self,
        headers: Mapping[bytes, bytes],
        given: Sequence[bytes],
        path: str,
        body: bytes,
        task: asyncio.Task[Any] | None = None,
    ) -> None:
        """Raises InvalidRequest for a key that is none, or that came with another body; `given` are all such headers.

        Raises StillAtWork if the same request came before, and the `task` that serves it has not ended. Keys of
        different clients never meet.
        """
        if len(given) != 1 or not _KEY.fullmatch(given[0]) or not given[0].strip():
            message = f"Idempotency-Key must be there once, with 1 to {MAX_LENGTH} printable ASCII characters"
            raise InvalidRequest(message, code="invalid_idempotency_key", param="idempotency-key")
        now = self._clock()
        name = _digest(*(headers.get(header, b"") for header in _OF_CLIENT), given[0])
        what = _digest(path.encode(), body)
        before, until = self._seen.get(name, (what, 0.0))
        if until <= now:
            self._remember(name, what, now)
        elif before != what:
            message = "this Idempotency-Key came with another request before; a new request needs a new key"
            raise InvalidRequest(message, code="idempotency_mismatch", param="idempotency-key")
        if name in self._at_work:
            raise StillAtWork("the same request, by its Idempotency-Key, is still at work", param="idempotency-key")
        if task is not None:
            self._at_work.add(name)
            task.add_done_callback(lambda _: self._at_work.discard(name))

    def _remember(self, name: bytes, what: bytes, now: float) -> None:
        seen = self._seen
        seen.pop(name, None)
        while seen and (len(seen) >= MAX_KEYS or next(iter(seen.values()))[1] <= now):
            seen.popitem(last=False)
        seen[name] = (what, now + KEEP_SECONDS)


def _digest(*parts: bytes) -> bytes:
    """Returns a digest that no other parts have, wherever their borders are."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.digest()
