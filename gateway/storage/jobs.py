"""What is kept of files and batches: values, and what can be done with them.

A file is kept in storage itself, in parts: replicas share that, and no disk. A batch is held by one replica while it is
checked or finished, a line while it runs, each for a while that its holder makes longer; whoever dies makes nothing
longer, and another one goes on. Lines are there from the end of the check until the files with their results are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, Protocol

from msgspec import Struct

from gateway.domain import Price

PART_BYTES: Final = 256 * 1024
"""Of a file, in one row."""
WAITING: Final = 0
TAKEN: Final = 1
COMPLETED: Final = 2
FAILED: Final = 3
"""States of a line."""

Status = Literal["validating", "failed", "in_progress", "finalizing", "completed", "expired", "cancelling", "cancelled"]
AT_WORK: Final[tuple[Status, ...]] = ("validating", "in_progress", "finalizing", "cancelling")
"""What has not ended."""


class StoredFile(Struct, frozen=True):
    """A file without its bytes."""

    id: str
    owner: str
    name: str
    purpose: str
    bytes: int
    created_at_ms: int


class BatchFault(Struct, frozen=True):
    """One thing wrong with an input file."""

    code: str
    message: str
    line: int | None = None
    param: str | None = None


class Tokens(Struct, frozen=True):
    """What the answers of a batch say that they used."""

    input: int = 0
    cached: int = 0
    output: int = 0
    reasoning: int = 0


Lane = Literal["", "provider", "ordinary"]
"""How lines that wait are to be made: by a provider's batch API, or one by one."""


class Consignment(Struct, frozen=True):
    """Lines of a batch that a provider's own batch API has, or is about to have; they are held in its name."""

    id: str
    deployment: str
    state: Literal["new", "sending", "there", "cancelling"]
    since_ms: int
    """When that state began."""
    look_at_ms: int = 0
    """When it is to be looked at again."""
    provider: str = ""
    model: str = ""
    """As `provider/model`: what it can be asked by when the route has gone."""
    price: Price | None = None
    """The one that the route says; None for that of the model."""
    key: str = ""
    """Fingerprint of the credential that it was sent with."""
    sent_ms: int = 0
    count: int = 0
    """How many requests were sent."""
    uploaded: str = ""
    """What the provider said to an upload that came before, if it is short."""
    remote_id: str = ""
    """What the provider calls it."""
    reserved_nano_usd: dict[str, int] = {}
    """The most that its lines may cost, by the owners of the budgets that this is taken of, such as `key:ID`."""


class Batch(Struct, frozen=True):
    """A batch without its lines."""

    id: str
    owner: str
    endpoint: str
    input_file_id: str
    window: str
    created_at_ms: int
    expires_at_ms: int
    status: Status = "validating"
    metadata: dict[str, str] | None = None
    errors: tuple[BatchFault, ...] = ()
    output_file_id: str | None = None
    error_file_id: str | None = None
    in_progress_at_ms: int | None = None
    finalizing_at_ms: int | None = None
    completed_at_ms: int | None = None
    failed_at_ms: int | None = None
    expired_at_ms: int | None = None
    cancelling_at_ms: int | None = None
    cancelled_at_ms: int | None = None
    total: int = 0
    completed: int = 0
    failed: int = 0
    input_bytes: int = 0
    """How long the input file is: so much do the lines take while the batch is at work."""
    model: str | None = None
    """The one that all lines ask for."""
    tokens: Tokens | None = None
    """Known when it has ended."""
    lane: Lane = ""
    consignments: tuple[Consignment, ...] = ()


class Line(Struct, frozen=True):
    """One request of a batch."""

    batch_id: str
    number: int
    custom_id: str
    body: bytes
    tries: int = 0
    """How often it was begun, this time included, but for times when a limit refused it."""


class LineResult(Struct, frozen=True):
    """What became of a line; `result` is None for one that was never done."""

    number: int
    custom_id: str
    state: int
    result: bytes | None


class Page(Struct, frozen=True):
    """Which files or batches are asked for: the newest first, or the oldest."""

    after: str = ""
    limit: int = 20
    is_ascending: bool = False
    purpose: str = ""


class Jobs(Protocol):
    """Keeps files and batches; all methods raise StorageError. An owner sees nothing of another one's."""

    async def begin_file(self, file: StoredFile) -> None:
        """Notes that the parts of a file are about to come; nobody sees it yet."""
        ...

    async def add_part(self, file_id: str, number: int, data: bytes) -> None:
        """Keeps one part of it."""
        ...

    async def end_file(self, file: StoredFile) -> None:
        """Shows it to its owner, whole."""
        ...

    async def file(self, owner: str, id: str) -> StoredFile | None:
        """Returns one file."""
        ...

    async def files(self, owner: str, page: Page) -> list[StoredFile]:
        """Returns a page of files."""
        ...

    async def part(self, file_id: str, number: int) -> bytes | None:
        """Returns one part, None behind the last one."""
        ...

    async def remove_file(self, owner: str, id: str) -> bool:
        """Forgets a file; says whether there was one."""
        ...

    async def kept_bytes(self, owner: str) -> int:
        """Returns how long the files of an owner are together, parts of uploads and lines of batches at work too."""
        ...

    async def put_batch(self, batch: Batch) -> None:
        """Keeps a new batch."""
        ...

    async def batch(self, owner: str, id: str) -> Batch | None:
        """Returns one batch, with the counts of this moment."""
        ...

    async def batches(self, owner: str, page: Page) -> list[Batch]:
        """Returns a page of batches."""
        ...

    async def cancel(self, owner: str, id: str, now_ms: int) -> Batch | None:
        """Ends a batch early if it has not ended; returns it as it is then."""
        ...

    async def at_work(self) -> list[Batch]:
        """Returns all batches that have not ended, the oldest first."""
        ...

    async def hold(self, id: str, holder: str, now_ms: int, until_ms: int) -> Batch | None:
        """Returns a batch that nobody else holds, and holds it; None if another one does, or it has ended."""
        ...

    async def change(self, batch: Batch, holder: str, was: Status) -> bool:
        """Changes a batch that is held and has this status; says whether that was so."""
        ...

    async def add_lines(self, batch_id: str, holder: str, new: Sequence[Line], *, is_first: bool) -> bool:
        """Keeps lines of a batch that is being checked, the first ones instead of all before; says if it is held."""
        ...

    async def take(self, batch_id: str, holder: str, limit: int, now_ms: int, until_ms: int) -> list[Line]:
        """Returns lines that wait, or whose holder is gone, and holds them."""
        ...

    async def renew(self, holder: str, batch_ids: Sequence[str], until_ms: int) -> None:
        """Holds for longer what is held."""
        ...

    async def end_line(self, line: Line, holder: str, state: int, result: bytes) -> bool:
        """Keeps what became of a line; says whether it was still held."""
        ...

    async def give_back(self, line: Line, holder: str, not_before_ms: int, *, is_tried: bool) -> None:
        """Has a line wait again."""
        ...

    async def let_go(self, id: str, holder: str) -> None:
        """Holds a batch no longer."""
        ...

    async def consign(
        self,
        batch_id: str,
        holder: str,
        consignment: Consignment,
        most_lines: int,
        most_bytes: int,
        now_ms: int,
        *,
        after: int = -1,
    ) -> list[Line]:
        """Holds lines behind a number that wait in the name of a consignment of a batch that is held and runs.

        Returns none if none wait.
        """
        ...

    async def consigned(self, batch_id: str, consignment_id: str) -> list[Line]:
        """Returns the lines of a consignment that are not done."""
        ...

    async def put_consignment(self, batch_id: str, consignment: Consignment, holder: str = "") -> Batch | None:
        """Notes how it stands with a consignment, whoever holds the batch, or only if `holder` does and it still runs.

        Returns the batch if that was so, and it still has the consignment.
        """
        ...

    async def drop_consignment(self, batch_id: str, consignment_id: str, holder: str) -> bool:
        """Forgets a consignment of a batch that is held; lines of it that are not done wait again. Says if it was."""
        ...

    async def set_lane(self, batch_id: str, lane: Lane) -> None:
        """Notes how lines that wait are to be made, whoever holds the batch."""
        ...

    async def unfinished(self, batch_id: str, now_ms: int) -> tuple[int, int]:
        """Returns how many lines are not done, and how many of them somebody holds."""
        ...

    async def results(self, batch_id: str, after: int, limit: int, most_bytes: int) -> list[LineResult]:
        """Returns what became of the lines behind a number, in their order: within both bounds, one at least."""
        ...

    async def finish(self, batch: Batch, holder: str, was: Status, new: Sequence[StoredFile]) -> bool:
        """Shows the files of a batch, whose lines go; says whether it was still held."""
        ...

    async def sweep(self, before_ms: int, unfinished_before_ms: int) -> int:
        """Takes away what is older, and uploads that have never ended; returns how much that was."""
        ...
