"""What the commands about batches ask a running gateway, as any client would: /v1/files and /v1/batches."""

from __future__ import annotations

import http.client
import json
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from gateway.secret import Secret

KEY_VARIABLE: Final = "ANYPORT_API_KEY"
_SECONDS: Final = 60.0
_PIECE_BYTES: Final = 256 * 1024
_ANY: Final = {"0.0.0.0": "127.0.0.1", "::": "::1", "[::]": "::1"}  # noqa: S104 - what is bound there is asked here


class BatchTrouble(Exception):
    """The gateway does not answer, or answers with an error; the message says which."""


class BatchClient:
    """A client of one gateway."""

    def __init__(self, url: str, key: Secret | None) -> None:
        """`url` is the gateway's root, with or without `/v1`; raises BatchTrouble if it is none."""
        parts = urlsplit(url)
        try:
            port = parts.port
        except ValueError:
            port = None
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise BatchTrouble(f"{url!r} is no URL of a gateway, such as http://127.0.0.1:8484")
        self._where = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        self._path = parts.path.rstrip("/").removesuffix("/v1")
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._connect = lambda: kind(parts.hostname or "", port, timeout=_SECONDS)
        self._key = key

    def upload(self, path: Path) -> str:
        """Sends a file and returns its id."""
        boundary = secrets.token_hex(16)
        name = path.name.translate({ord(each): "_" for each in '"\\\r\n'})
        head = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'
        ).encode()
        tail = f"\r\n--{boundary}--\r\n".encode()
        headers = {
            "content-type": f"multipart/form-data; boundary={boundary}",
            "content-length": str(len(head) + path.stat().st_size + len(tail)),
        }
        return str(self._json("POST", "files", _around(head, path, tail), headers)["id"])

    def create(self, file_id: str, endpoint: str) -> dict[str, Any]:
        """Begins a batch."""
        wish = {"input_file_id": file_id, "endpoint": endpoint, "completion_window": "24h"}
        return self._json("POST", "batches", json.dumps(wish).encode(), {"content-type": "application/json"})

    def batch(self, id: str) -> dict[str, Any]:
        """Returns a batch."""
        return self._json("GET", f"batches/{_segment(id)}")

    def cancel(self, id: str) -> dict[str, Any]:
        """Cancels a batch."""
        return self._json("POST", f"batches/{_segment(id)}/cancel", b"")

    def batches(self, limit: int) -> list[dict[str, Any]]:
        """Returns the newest batches."""
        return self._json("GET", f"batches?limit={limit}")["data"]

    def download(self, file_id: str, path: Path) -> None:
        """Writes the bytes of a file to another one."""
        connection = self._connect()
        try:
            response = self._asked(connection, "GET", f"files/{_segment(file_id)}/content", None, {})
            if response.status != 200:
                self._answer(response)
            with path.open("wb") as file:
                while piece := response.read(_PIECE_BYTES):
                    file.write(piece)
        except (OSError, http.client.HTTPException) as error:
            raise BatchTrouble(f"{path} could not be written from {self._where}: {_reason(error)}") from None
        finally:
            connection.close()

    def _json(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Any:
        connection = self._connect()
        try:
            return self._answer(self._asked(connection, method, path, body, headers or {}))
        finally:
            connection.close()

    def _asked(
        self, connection: http.client.HTTPConnection, method: str, path: str, body: Any, headers: dict[str, str]
    ) -> http.client.HTTPResponse:
        if self._key is not None:
            headers = {**headers, "authorization": f"Bearer {self._key.reveal()}"}
        try:
            connection.request(method, f"{self._path}/v1/{path}", body, headers)
        except BrokenPipeError:
            pass  # it has refused before it had read all, and has said why
        except OSError as error:
            raise BatchTrouble(f"no gateway answers at {self._where}: {_reason(error)}") from None
        except (http.client.HTTPException, ValueError):
            # Not what it says: that could be the header with the key.
            raise BatchTrouble(f"{self._where} cannot be asked: look at the key in ${KEY_VARIABLE}") from None
        try:
            return connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            raise BatchTrouble(f"no gateway answers at {self._where}: {_reason(error)}") from None

    def _answer(self, response: http.client.HTTPResponse) -> Any:
        try:
            answer: Any = json.loads(response.read())
            if response.status == 200:
                return answer
            said = str(answer["error"]["message"])
        except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
            raise BatchTrouble(f"what answers at {self._where} is no gateway") from None
        raise BatchTrouble(f"the gateway at {self._where} says: {said}")


def key_of(environ: Mapping[str, str]) -> Secret | None:
    """Returns the key that the environment gives to clients."""
    return Secret(environ[KEY_VARIABLE]) if environ.get(KEY_VARIABLE) else None


def local_url(host: str, port: int) -> str:
    """Returns where a gateway is reached that listens there."""
    reached = _ANY.get(host, host)
    return f"http://{f'[{reached}]' if ':' in reached and '[' not in reached else reached}:{port}"


def _around(head: bytes, path: Path, tail: bytes) -> Iterator[bytes]:
    yield head
    with path.open("rb") as file:
        while piece := file.read(_PIECE_BYTES):
            yield piece
    yield tail


def _segment(id: str) -> str:
    if not id.replace("-", "").replace("_", "").isalnum() or not id.isascii():
        raise BatchTrouble(f"{id!r} is no id")
    return id


def _reason(error: BaseException) -> str:
    said = error.strerror if isinstance(error, OSError) else None
    return (said or str(error) or type(error).__name__).lower()
