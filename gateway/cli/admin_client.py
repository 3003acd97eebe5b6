"""What the commands ask a running gateway, through its admin API."""

from __future__ import annotations

import http.client
import json
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from gateway.settings.model import AdminSettings

_SECONDS: Final = 30.0
_MAX_BYTES: Final = 64 * 1024 * 1024
_ANY: Final = {"0.0.0.0": "127.0.0.1", "::": "::1", "[::]": "::1"}  # noqa: S104 - what is bound there is asked here
"""Where a gateway is reached that listens everywhere."""


class AdminUnavailable(Exception):
    """No running gateway answers; the message says why and what to do."""


class AdminRefusal(Exception):
    """The running gateway answers with an error; the message is the gateway's."""


def ask_admin(admin: AdminSettings, method: str, path: str, body: bytes | None = None) -> Any:
    """Returns the JSON that the gateway of this configuration answers; raises AdminUnavailable and AdminRefusal."""
    if admin.port is None or admin.key is None:
        raise AdminUnavailable("no admin API is configured; set admin.port and admin.key")
    if admin.port == 0:
        raise AdminUnavailable("admin.port is 0, so that nobody knows where the gateway listens; set a number")
    host = _ANY.get(admin.host, admin.host).strip("[]")
    connection = http.client.HTTPConnection(host, admin.port, timeout=_SECONDS)
    headers = {"authorization": f"Bearer {admin.key.get_secret_value()}", "content-type": "application/json"}
    where = f"{host}:{admin.port}"
    try:
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        status, text = response.status, response.read(_MAX_BYTES)
    except OSError as error:
        reason = (error.strerror or str(error) or type(error).__name__).lower()
        raise AdminUnavailable(f"no gateway answers at {where}: {reason}") from None
    except (http.client.HTTPException, ValueError):
        # Not what it says: that could be the header with the key.
        raise AdminUnavailable(f"what answers at {where} is no gateway") from None
    finally:
        connection.close()
    if status in (401, 403):
        raise AdminRefusal(f"the gateway at {where} refuses this admin.key; was it started with another one?")
    try:
        answer: Any = json.loads(text)
        if status != 200:
            raise AdminRefusal(str(answer["error"]["message"]))
    except (ValueError, KeyError, TypeError):
        raise AdminUnavailable(f"what answers at {where} is no gateway of this version") from None
    return answer
