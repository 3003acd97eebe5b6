"""From the results of lines to the files that the owner of a batch reads."""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from gateway.batches.lines import never_done, with_usage
from gateway.batches.names import new_file_id
from gateway.storage.jobs import COMPLETED, FAILED, PART_BYTES, Batch, Jobs, StoredFile, Tokens

OUTPUT_PURPOSE: Final = "batch_output"
_PAGE: Final = 500
_PAGE_BYTES: Final = 1024 * 1024
"""Of results, at once: an answer may have 64 MiB."""
_NEVER: Final = {
    "expired": ("batch_expired", "the request was not made before the completion window of the batch was over"),
    "cancelled": ("batch_cancelled", "the batch was cancelled before the request was made"),
}


class _Writer:
    """A file that comes into being with its first byte."""

    def __init__(self, jobs: Jobs, batch: Batch, word: str, now_ms: int) -> None:
        self._jobs = jobs
        self._buffer = bytearray()
        self._parts = 0
        self._file = StoredFile(new_file_id(), batch.owner, f"{batch.id}_{word}.jsonl", OUTPUT_PURPOSE, 0, now_ms)
        self._bytes = 0

    async def write(self, data: bytes) -> None:
        """Adds some bytes."""
        if not self._bytes:
            await self._jobs.begin_file(self._file)
        self._bytes += len(data)
        self._buffer += data
        while len(self._buffer) >= PART_BYTES:
            await self._flush()

    async def end(self) -> StoredFile | None:
        """Returns the file, which nobody sees yet; None if it is empty."""
        while self._buffer:
            await self._flush()
        return replace(self._file, bytes=self._bytes) if self._bytes else None

    async def _flush(self) -> None:
        await self._jobs.add_part(self._file.id, self._parts, bytes(self._buffer[:PART_BYTES]))
        self._parts += 1
        del self._buffer[:PART_BYTES]


async def finish_batch(jobs: Jobs, batch: Batch, holder: str, now_ms: int) -> Batch | None:
    """Writes the files of a batch that is held and of which nothing runs; None if it was taken away meanwhile."""
    output, errors = _Writer(jobs, batch, "output", now_ms), _Writer(jobs, batch, "error", now_ms)
    is_cancelled = batch.status == "cancelling"
    code, message = _NEVER["cancelled" if is_cancelled else "expired"]
    counts = {COMPLETED: 0, FAILED: 0}
    undone, last = 0, -1
    tokens = Tokens()
    # The lines of a batch that was cancelled while it was checked are none yet.
    while batch.in_progress_at_ms is not None and (found := await jobs.results(batch.id, last, _PAGE, _PAGE_BYTES)):
        for each in found:
            last = each.number
            if each.state in counts and each.result is not None:
                counts[each.state] += 1
                tokens = with_usage(tokens, each.result)
                await (output if each.state == COMPLETED else errors).write(each.result)
            else:
                undone += 1
                await errors.write(never_done(batch.id, each, code, message))
    files = [file for writer in (output, errors) if (file := await writer.end()) is not None]
    names = {file.name.removeprefix(f"{batch.id}_"): file.id for file in files}
    ended = replace(
        batch,
        completed=counts[COMPLETED],
        failed=counts[FAILED] + undone,
        output_file_id=names.get("output.jsonl"),
        error_file_id=names.get("error.jsonl"),
        tokens=tokens if counts[COMPLETED] else None,
    )
    if is_cancelled:
        ended = replace(ended, status="cancelled", cancelled_at_ms=now_ms)
    elif undone:
        ended = replace(ended, status="expired", expired_at_ms=now_ms)
    else:
        ended = replace(ended, status="completed", completed_at_ms=now_ms)
    return ended if await jobs.finish(ended, holder, batch.status, files) else None
