"""The announcement that this process is about to end."""

from __future__ import annotations

import time
from collections.abc import Callable


class DrainSignal:
    """Tells readiness, new requests and running streams that the server is shutting down. Not thread-safe."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._callbacks: set[Callable[[], None]] = set()
        self._deadline: float | None = None
        self._is_draining = False
        self._is_expired = False
        self._held = 0

    @property
    def is_draining(self) -> bool:
        """True from the first signal on: readiness is off."""
        return self._is_draining

    @property
    def is_expired(self) -> bool:
        """True once the grace is over: whatever still runs must end now."""
        return self._is_expired

    @property
    def deadline(self) -> float | None:
        """Monotonic seconds at which running streams will be told to end; None while not draining."""
        return self._deadline

    @property
    def is_held(self) -> bool:
        """True while something is under way that no connection belongs to; the end waits for it as for a request."""
        return self._held > 0

    def hold(self) -> None:
        """Notes that such a thing begins; `let_go` must be called when it has ended."""
        self._held += 1

    def let_go(self) -> None:
        """Notes that such a thing has ended."""
        self._held -= 1

    def start(self, seconds: float = 0.0) -> None:
        """Turns readiness off; the deadline is `seconds` from now. A second call changes nothing."""
        if not self._is_draining:
            self._is_draining = True
            self._deadline = self._clock() + seconds

    def on_deadline(self, callback: Callable[[], None]) -> None:
        """Registers `callback` for the deadline; it is called at most once, at once if that is past."""
        if self._is_expired:
            callback()
        else:
            self._callbacks.add(callback)

    def forget(self, callback: Callable[[], None]) -> None:
        """Removes a registered callback; an unknown one is ignored."""
        self._callbacks.discard(callback)

    def expire(self) -> None:
        """Declares the deadline reached and calls every registered callback once."""
        self.start()
        self._is_expired = True
        callbacks, self._callbacks = self._callbacks, set()
        for callback in callbacks:
            callback()
