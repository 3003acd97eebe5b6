"""From an input file to lines, or to the list of what is wrong with it."""

from __future__ import annotations

from msgspec.structs import replace

from gateway.batches.lines import LineReader
from gateway.storage.jobs import Batch, BatchFault, Jobs


async def check_batch(
    jobs: Jobs, batch: Batch, holder: str, now_ms: int, *, may_be_consigned: bool = False
) -> Batch | None:
    """Returns a batch that is held as it is after the check; None if it was taken away meanwhile.

    Where it may be consigned, it is if all of its lines ask for one model, as providers demand.
    """
    reader = LineReader(batch.id, batch.endpoint)
    faults: list[BatchFault] = []
    if not await jobs.add_lines(batch.id, holder, [], is_first=True):
        return None
    file = await jobs.file(batch.owner, batch.input_file_id)
    if file is not None and not await _read(jobs, batch, holder, reader):
        return None
    if file is None or (reader.bytes < file.bytes and not reader.is_hopeless):  # deleted before, or meanwhile
        faults.append(BatchFault("file_not_found", "the input file is not there any more", None, "input_file_id"))
    else:
        faults += reader.faults
    if faults:
        if not await jobs.add_lines(batch.id, holder, [], is_first=True):
            return None
        checked = replace(batch, status="failed", failed_at_ms=now_ms, errors=tuple(faults))
    else:
        checked = replace(batch, status="in_progress", in_progress_at_ms=now_ms, total=reader.total, model=reader.model)
        checked = replace(checked, lane="provider" if may_be_consigned and reader.model is not None else "ordinary")
    return checked if await jobs.change(checked, holder, "validating") else None


async def _read(jobs: Jobs, batch: Batch, holder: str, reader: LineReader) -> bool:
    """Keeps the lines of the file; says whether the batch is still held."""
    number = 0
    while not reader.is_hopeless and (data := await jobs.part(batch.input_file_id, number)) is not None:
        number += 1
        lines = reader.feed(data)
        if lines and not reader.faults and not await jobs.add_lines(batch.id, holder, lines, is_first=False):
            return False
    lines = reader.close()
    return bool(reader.faults) or await jobs.add_lines(batch.id, holder, lines, is_first=False)
