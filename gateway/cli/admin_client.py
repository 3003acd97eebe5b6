"""What the commands ask a running gateway, through its admin API."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from gateway.settings.model import AdminSettings

_SECONDS: Final = 30.0
FEED_SECONDS: Final = 40.0
"""Without a sign of life; a feed gives one every 15 seconds."""
_MAX_BYTES: Final = 64 * 1024 * 1024
_ANY: Final = {"0.0.0.0": "127.0.0.1", "::": "::1", "[::]": "::1"}  # noqa: S104 - what is bound there is asked here
"""Where a gateway is reached that listens everywhere."""


class AdminUnavailable(Exception):
    """No running gateway answers; the message says why and what to do."""


class AdminRefusal(Exception):
    """The running gateway answers with an error; the message is the gateway's."""


def ask_admin(admin: AdminSettings, method: str, path: str, body: bytes | None = None) -> Any:
    """Returns the JSON that the gateway of this configuration answers; raises AdminUnavailable and AdminRefusal."""
    connection, where = _connection(admin, _SECONDS)
    try:
        response = _asked(admin, connection, where, method, path, body)
        return _answer(response.status, _read(response, where), where)
    finally:
        connection.close()


class Feed:
    """The events of a running gateway; to be read in one thread, and ended by any."""

    def __init__(self, admin: AdminSettings, types: str) -> None:
        """Begins to listen; raises AdminUnavailable and AdminRefusal."""
        self._connection, self._where = _connection(admin, FEED_SECONDS)
        try:
            self._response = _asked(admin, self._connection, self._where, "GET", f"/admin/events?types={types}", None)
            self._socket = self._connection.sock
            if self._response.status != 200:
                _answer(self._response.status, _read(self._response, self._where), self._where)
        except BaseException:
            self._connection.close()
            raise

    def events(self) -> Iterator[tuple[str, Any]]:
        """Yields kind and data of each event until the gateway ends it; raises AdminUnavailable if it breaks off."""
        kind = ""
        try:
            while line := self._response.readline(_MAX_BYTES):
                name, _, value = line.decode().rstrip("\n").partition(": ")
                if name == "event":
                    kind = value
                elif name == "data":
                    yield kind, json.loads(value)
        except (OSError, http.client.HTTPException, ValueError):
            raise AdminUnavailable(f"the gateway at {self._where} is gone") from None
        finally:
            self._connection.close()

    def end(self) -> None:
        """Ends it for whoever reads; it is the reader who closes the connection, under whom it must not go away."""
        if self._socket is not None:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)


def _connection(admin: AdminSettings, seconds: float) -> tuple[http.client.HTTPConnection, str]:
    if admin.port is None or admin.key is None:
        raise AdminUnavailable("no admin API is configured; set admin.port and admin.key")
    if admin.port == 0:
        raise AdminUnavailable("admin.port is 0, so that nobody knows where the gateway listens; set a number")
    host = _ANY.get(admin.host, admin.host).strip("[]")
    return http.client.HTTPConnection(host, admin.port, timeout=seconds), f"{host}:{admin.port}"


def _asked(
    admin: AdminSettings,
    connection: http.client.HTTPConnection,
    where: str,
    method: str,
    path: str,
    body: bytes | None,
) -> http.client.HTTPResponse:
    assert admin.key is not None  # noqa: S101 - `_connection` has looked
    headers = {"authorization": f"Bearer {admin.key.reveal()}", "content-type": "application/json"}
    try:
        connection.request(method, path, body, headers)
        return connection.getresponse()
    except OSError as error:
        raise _silent(where, error) from None
    except (http.client.HTTPException, ValueError):
        # Not what it says: that could be the header with the key.
        raise AdminUnavailable(f"what answers at {where} is no gateway") from None


def _read(response: http.client.HTTPResponse, where: str) -> bytes:
    try:
        return response.read(_MAX_BYTES)
    except OSError as error:
        raise _silent(where, error) from None
    except http.client.HTTPException:
        raise AdminUnavailable(f"what answers at {where} is no gateway") from None


def _silent(where: str, error: OSError) -> AdminUnavailable:
    reason = (error.strerror or str(error) or type(error).__name__).lower()
    return AdminUnavailable(f"no gateway answers at {where}: {reason}")


def _answer(status: int, text: bytes, where: str) -> Any:
    if status in (401, 403):
        raise AdminRefusal(f"the gateway at {where} refuses this admin.key; was it started with another one?")
    try:
        answer: Any = json.loads(text)
        if status != 200:
            raise AdminRefusal(str(answer["error"]["message"]))
    except (ValueError, KeyError, TypeError):
        raise AdminUnavailable(f"what answers at {where} is no gateway of this version") from None
    return answer
