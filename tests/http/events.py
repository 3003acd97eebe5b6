"""A listener to the events of a gateway, over a socket of its own."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

SLACK_SECONDS = 20.0


class Event(NamedTuple):
    kind: str
    number: int
    data: dict[str, Any]


class Listener:
    """Reads events in a thread until the response ends."""

    def __init__(self, port: int, key: str, query: str = "") -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self._connection.request("GET", f"/admin/events{query}", headers={"authorization": f"Bearer {key}"})
        self._response = self._connection.getresponse()
        self.status = self._response.status
        self.headers = dict(self._response.getheaders())
        self.events: list[Event] = []
        self.comments: list[str] = []
        self.has_ended_well = False
        if self.status == 200:
            assert self._response.readline() == b": listening\n"
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def body(self) -> Any:
        self._thread.join(SLACK_SECONDS)
        return json.loads(b"".join(self._lines))

    def wait_for(self, kind: str, fits: Callable[[dict[str, Any]], bool] = lambda data: True) -> Event:
        """Returns the first such event, as soon as it has come."""
        deadline = time.monotonic() + SLACK_SECONDS
        while time.monotonic() < deadline:
            for event in list(self.events):
                if event.kind == kind and fits(event.data):
                    return event
            time.sleep(0.02)
        raise AssertionError(f"no {kind} came, but {self.events}")

    def wait_for_end(self) -> None:
        self._thread.join(SLACK_SECONDS)
        assert not self._thread.is_alive()

    def close(self) -> None:
        # Both: the response has a file of its own on the socket.
        if self._connection.sock is not None:
            self._connection.sock.shutdown(2)
        self._thread.join(SLACK_SECONDS)
        self._response.close()
        self._connection.close()

    def _read(self) -> None:
        fields: dict[str, str] = {}
        self._lines: list[bytes] = []
        try:
            while line := self._response.readline():
                self._lines.append(line)
                text = line.decode().rstrip("\n")
                if text.startswith(":"):
                    self.comments.append(text)
                elif text:
                    name, _, value = text.partition(": ")
                    assert name not in fields
                    fields[name] = value
                elif fields:
                    self.events.append(Event(fields["event"], int(fields["id"]), json.loads(fields["data"])))
                    fields = {}
            self.has_ended_well = True
        except (OSError, http.client.HTTPException, ValueError):
            return
