"""Journals against a model, through random lives: appends, failed writes, rotations, drains, crashes, takeovers."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import Counter
from pathlib import Path
from random import Random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from gateway.storage.journal import Journal, JournalFailed
from gateway.storage.segments import line_of, read_lines
from tests.storage.ledger_parts import record

JOURNALS = 2
"""Processes that share the directory."""
_LINE = len(line_of(record("r00000")))


class Lives:
    """Some journals in one directory, and what must be true of them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.now = 0.0
        self.returned: list[str] = []
        """Ids whose append returned."""
        self.stored: Counter[str] = Counter()
        self.unsure: set[str] = set()
        """Stored, but their journal died before it could remember that: these may come twice."""
        self.journals = [self.born() for _ in range(JOURNALS)]
        self.last_number = 0

    def born(self) -> Journal:
        return Journal(
            self.directory, max_bytes=60 * _LINE, segment_bytes=5 * _LINE, segment_seconds=10, clock=lambda: self.now
        )

    def append(self, which: int) -> None:
        self.last_number += 1
        id = f"r{self.last_number:05}"
        try:
            self.journals[which].append(record(id))
        except JournalFailed:
            assert self.journals[which].pending_bytes > 0
            assert not self.journals[which].is_writable
            return
        self.returned.append(id)

    def fail(self, which: int, written: int, monkeypatch: pytest.MonkeyPatch) -> None:
        """Appends while the disk takes but a part."""
        write = os.write
        journal = self.journals[which]
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:written]))
            with pytest.raises(JournalFailed):
                journal.append(record("never0"))
        assert not journal.is_writable

    def drain(self, which: int, most: int, *, dies: bool) -> None:
        """Brings one batch into storage; `dies` before it is remembered."""
        journal = self.journals[which]
        segment = journal.next_segment()
        if segment is None:
            return
        lines = read_lines(segment.path, segment.drained, segment.size, most)
        assert lines.damaged == []
        for each in lines.records:
            self.stored[each.id] += 1
            assert self.stored[each.id] == 1 or each.id in self.unsure
        if dies:
            self.unsure |= {each.id for each in lines.records}
            self.die(which, 0)
        else:
            journal.advance(segment, lines.end, len(lines.records))

    def die(self, which: int, torn_bytes: int) -> None:
        """Ends a process as a kill does: descriptors are closed, and a write may be half done."""
        journal = self.journals[which]
        if journal._open is not None:
            os.write(journal._descriptor, line_of(record("never0"))[:torn_bytes])
            os.close(journal._descriptor)
        for claim in {journal._claim, *(segment.claim for segment in journal._segments)}:
            claim.let_go()
        self.journals[which] = self.born()

    def leave(self, which: int) -> None:
        self.journals[which].close()
        self.journals[which] = self.born()

    def wait(self, seconds: float) -> None:
        self.now += seconds
        for journal in self.journals:
            journal.rotate_if_old()

    def check(self) -> None:
        for journal in self.journals:
            for segment in journal._segments:
                assert segment.path.stat().st_size == segment.size
                assert segment.is_open == (segment is journal._open)
            own = [segment for segment in journal._segments if segment.claim is journal._claim]
            assert sum(segment.size for segment in own) <= 60 * _LINE
            assert sum(segment.size for segment in journal._segments) == journal._bytes

    def finish(self) -> None:
        """Drains all there is; all is there, and nothing else, and nothing stays behind."""
        for which, journal in enumerate(self.journals):
            journal.adopt()
            while journal.next_segment() is not None:
                self.drain(which, 500, dies=False)
            journal.close()
        assert set(self.stored) == set(self.returned)
        assert list(self.directory.iterdir()) == []


WHICH = st.integers(0, JOURNALS - 1)


class Machine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp())
        self.lives = Lives(self.directory)

    @rule(which=WHICH, count=st.integers(1, 12))
    def append(self, which: int, count: int) -> None:
        for _ in range(count):
            self.lives.append(which)

    @rule(which=WHICH, written=st.integers(0, _LINE - 1))
    def fail(self, which: int, written: int) -> None:
        with pytest.MonkeyPatch.context() as monkeypatch:
            self.lives.fail(which, written, monkeypatch)

    @rule(which=WHICH)
    def rotate(self, which: int) -> None:
        self.lives.journals[which].rotate()

    @rule(which=WHICH, most=st.integers(1, 20), dies=st.booleans())
    def drain(self, which: int, most: int, dies: bool) -> None:
        self.lives.drain(which, most, dies=dies)

    @rule(which=WHICH, torn_bytes=st.integers(0, _LINE - 2))
    def die(self, which: int, torn_bytes: int) -> None:
        self.lives.die(which, torn_bytes)

    @rule(which=WHICH)
    def leave(self, which: int) -> None:
        self.lives.leave(which)

    @rule(which=WHICH)
    def adopt(self, which: int) -> None:
        self.lives.journals[which].adopt()

    @rule(seconds=st.sampled_from((0.3, 4.0, 11.0)))
    def wait(self, seconds: float) -> None:
        self.lives.wait(seconds)

    @invariant()
    def holds(self) -> None:
        self.lives.check()

    def teardown(self) -> None:
        self.lives.finish()
        shutil.rmtree(self.directory)


TestJournalsAgainstTheModel = Machine.TestCase
TestJournalsAgainstTheModel.settings = settings(max_examples=60, stateful_step_count=40)


@pytest.mark.parametrize("seed", range(5))
def test_no_order_of_events_loses_or_doubles_a_record(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = Random(seed)
    lives = Lives(tmp_path)
    acts = {
        "append": lambda which: lives.append(which),
        "fail": lambda which: lives.fail(which, chance.randrange(_LINE), monkeypatch),
        "rotate": lambda which: lives.journals[which].rotate(),
        "drain": lambda which: lives.drain(which, chance.randint(1, 20), dies=False),
        "drain and die": lambda which: lives.drain(which, chance.randint(1, 20), dies=True),
        "die": lambda which: lives.die(which, chance.randrange(_LINE - 1)),
        "leave": lambda which: lives.leave(which),
        "adopt": lambda which: lives.journals[which].adopt(),
        "wait": lambda which: lives.wait(chance.choice((0.3, 4.0, 11.0))),
    }
    weights = (20, 1, 1, 8, 1, 1, 1, 3, 2)
    for act in chance.choices(list(acts), weights, k=2000):
        acts[act](chance.randrange(JOURNALS))
        lives.check()
    lives.finish()
