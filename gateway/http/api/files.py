"""/v1/files: what batches are made of and what they give; a key sees its own files and no others."""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from msgspec.structs import replace
from starlette.datastructures import QueryParams

from adapters.codec import encode
from gateway.batches.multipart import FormReader, Piece, boundary_of
from gateway.batches.names import new_file_id, shown_name
from gateway.errors import CallerError, InvalidRequest, LedgerUnavailable, MethodNotAllowed
from gateway.http.edge import ClientGone, Transaction
from gateway.runtime import Runtime
from gateway.storage.base import StorageError, StorageRefused
from gateway.storage.jobs import PART_BYTES, Jobs, Page, StoredFile

FILES_PATH: Final = "/v1/files"
INPUT_PURPOSE: Final = "batch"
_MAX_PAGE: Final = 10_000
_MAX_VALUE_BYTES: Final = 1024


@contextmanager
def storage_trouble() -> Generator[None]:
    """Turns what storage says into what a client hears."""
    try:
        yield
    except StorageRefused as error:
        raise InvalidRequest(str(error), code="invalid_value") from None
    except StorageError:
        raise LedgerUnavailable("the database does not answer now; its trouble is in the log") from None


def owner_of(transaction: Transaction, runtime: Runtime) -> str:
    """Returns whom files and batches of a request belong to; raises CallerError if that is nobody in particular."""
    owner = transaction.client_key.owner
    if not owner and not runtime.keys.is_open:
        message = "this API key has no name in server.api_keys, so that its files and batches would be everybody's"
        raise CallerError(message, status=403, type="permission_error", code="unnamed_key")
    return owner


def page_of(transaction: Transaction, default: int, most: int, *more: str) -> tuple[Page, Mapping[str, str]]:
    """Returns which page is asked for, with room for one more to see whether there is one; raises InvalidRequest."""
    given = QueryParams(transaction.scope["query_string"])
    for name in given:
        if name not in ("after", "limit", *more):
            raise InvalidRequest(f"there is no parameter {name[:64]!r} here", code="unknown_parameter", param=name[:64])
    text = given.get("limit", str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 9 and 1 <= int(text) <= most):
        raise InvalidRequest(f"limit must be between 1 and {most}", code="invalid_value", param="limit")
    order = given.get("order", "desc")
    if order not in ("asc", "desc"):
        raise InvalidRequest("order must be asc or desc", code="invalid_value", param="order")
    return Page(given.get("after", ""), int(text) + 1, order == "asc", given.get("purpose", "")), given


def listed(page: Page, found: list[dict[str, Any]]) -> bytes:
    """Returns a page in OpenAI's shape, of what was found for `page_of`."""
    shown = found[: page.limit - 1]
    ends = {"first_id": shown[0]["id"], "last_id": shown[-1]["id"]} if shown else {"first_id": None, "last_id": None}
    return encode({"object": "list", "data": shown, **ends, "has_more": len(found) > len(shown)})


class FilesEndpoint:
    """Takes, lists, gives and forgets files."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._max_bytes = runtime.settings.batches.max_owner_bytes

    async def __call__(self, transaction: Transaction) -> None:
        """Answers; raises GatewayError."""
        transaction.outcome.operation = "files"
        owner = owner_of(transaction, self._runtime)
        path: str = transaction.scope["path"]
        method: str = transaction.scope["method"]
        id, _, rest = path[len(FILES_PATH) + 1 :].partition("/")
        with storage_trouble():
            jobs = (await self._runtime.books.storage()).jobs
            if not id and method == "POST":
                await self._upload(transaction, jobs, owner)
            elif not id and method == "GET":
                page, _ = page_of(transaction, _MAX_PAGE, _MAX_PAGE, "order", "purpose")
                found = [_shown(file) for file in await jobs.files(owner, page)]
                await transaction.respond(200, listed(page, found), [])
            elif id and rest in ("", "content"):
                await self._one(transaction, jobs, owner, id, method, wants_content=bool(rest))
            else:
                allowed = "GET, POST" if not id else "GET"
                raise MethodNotAllowed(f"{path[:100]} takes {allowed} only", headers=(("allow", allowed),))

    async def _one(
        self, transaction: Transaction, jobs: Jobs, owner: str, id: str, method: str, *, wants_content: bool
    ) -> None:
        file = await jobs.file(owner, id)
        if file is None:
            message = f"no such file: {self._runtime.router.show(id)}"
            raise CallerError(message, status=404, code="file_not_found", param="id")
        if method == "GET" and wants_content:
            await transaction.respond_pieces(file.bytes, "application/octet-stream", _parts(transaction, jobs, file))
        elif method == "GET":
            await transaction.respond(200, encode(_shown(file)), [])
        elif method == "DELETE" and not wants_content:
            await jobs.remove_file(owner, id)
            await transaction.respond(200, encode({"id": id, "object": "file", "deleted": True}), [])
        else:
            allowed = "GET" if wants_content else "GET, DELETE"
            raise MethodNotAllowed(f"this path takes {allowed} only", headers=(("allow", allowed),))

    async def _upload(self, transaction: Transaction, jobs: Jobs, owner: str) -> None:
        form = FormReader(boundary_of(transaction.headers.get(b"content-type", b"")))
        upload = _Upload(jobs, owner, self._max_bytes, self._runtime.shared.stored.thing.picture.now_ms())
        try:
            more = True
            while more:
                message = await transaction.receive()
                if message["type"] != "http.request":
                    raise ClientGone
                more = message.get("more_body", False)
                for piece in form.feed(message.get("body", b"")):
                    await upload.take(piece)
            form.close()
            file = await upload.end()
        except BaseException:
            await upload.drop()
            raise
        transaction.outcome.bytes_in = file.bytes
        await transaction.respond(200, encode(_shown(file)), [])


class _Upload:
    """A file on its way into storage: no more than one part of it is in memory."""

    def __init__(self, jobs: Jobs, owner: str, max_bytes: int, now_ms: int) -> None:
        self._jobs = jobs
        self._max_bytes = max_bytes
        self._file = StoredFile(new_file_id(), owner, "", INPUT_PURPOSE, 0, now_ms)
        self._buffer = bytearray()
        self._values: dict[str, bytes] = {}
        self._parts = 0
        self._bytes = 0
        self._is_begun = False
        self._is_complete = False

    async def take(self, piece: Piece) -> None:
        """Takes a piece of the form; raises InvalidRequest."""
        if piece.field == "file" and piece.file_name is not None:
            await self._add(piece, piece.file_name)
            return
        if piece.field != "purpose":
            name = piece.field[:64]
            raise InvalidRequest(f"the form has a field {name!r}; it takes `file` and `purpose`", code="invalid_upload")
        value = self._values.get(piece.field, b"") + piece.data
        if len(value) > _MAX_VALUE_BYTES:
            raise InvalidRequest(f"`{piece.field}` is too long", code="invalid_upload")
        self._values[piece.field] = value

    async def _add(self, piece: Piece, name: str) -> None:
        if self._is_complete:
            raise InvalidRequest("the form has more than one file", code="invalid_upload")
        if not self._is_begun:
            self._is_begun = True
            self._file = replace(self._file, name=shown_name(name))
            await self._jobs.begin_file(self._file)
        self._is_complete = piece.is_last
        self._buffer += piece.data
        self._bytes += len(piece.data)
        while len(self._buffer) >= PART_BYTES:
            await self._flush()

    async def end(self) -> StoredFile:
        """Returns the file, which is there from now on; raises InvalidRequest."""
        if not self._is_complete:
            raise InvalidRequest("the form has no `file`", code="invalid_upload", param="file")
        if self._values.get("purpose", b"") != INPUT_PURPOSE.encode():
            message = f"`purpose` must be {INPUT_PURPOSE!r}: there is nothing else that files are for here"
            raise InvalidRequest(message, code="invalid_value", param="purpose")
        if self._buffer:
            await self._flush()
        file = replace(self._file, bytes=self._bytes)
        await self._jobs.end_file(file)
        return file

    async def drop(self) -> None:
        """Forgets what has come."""
        if self._is_begun:
            await self._jobs.remove_file(self._file.owner, self._file.id)

    async def _flush(self) -> None:
        await self._jobs.add_part(self._file.id, self._parts, bytes(self._buffer[:PART_BYTES]))
        self._parts += 1
        del self._buffer[:PART_BYTES]
        # Asked each time: other uploads of the key may be under way.
        if await self._jobs.kept_bytes(self._file.owner) > self._max_bytes:
            raise quota_exceeded("file")


def quota_exceeded(param: str) -> InvalidRequest:
    """Returns what a key hears that wants more kept than it may."""
    message = (
        "files of this key, with the lines of its batches at work, are longer together than batches.max_owner_bytes; "
        "delete some, or let batches end"
    )
    return InvalidRequest(message, code="file_quota_exceeded", param=param)


async def _parts(transaction: Transaction, jobs: Jobs, file: StoredFile) -> AsyncIterator[bytes]:
    """Gives the parts of a file until its end, or until nobody is there to take them."""
    connection = transaction.scope.get("anyport.connection")
    number, left = 0, file.bytes
    while left:
        data = await jobs.part(file.id, number)
        if data is None:  # deleted meanwhile; the length was told already
            transaction.cut("file_not_found")
            raise ClientGone
        yield data
        number, left = number + 1, left - len(data)
        if connection is not None and connection.is_gone:
            raise ClientGone


def _shown(file: StoredFile) -> dict[str, Any]:
    return {
        "id": file.id,
        "object": "file",
        "bytes": file.bytes,
        "created_at": file.created_at_ms // 1000,
        "filename": file.name,
        "purpose": file.purpose,
        "status": "processed",
    }
