"""Every byte of a log directory flipped, and every file cut at every length, after an orderly stop and after a crash.

What is read is what was written, or is refused; damage beside the log costs no records; a log is cut where it is
recovered and nowhere else; an error names the file. `make test` takes some hundreds of places of one directory,
`make damage` (KSTORE_DAMAGE=all) every place of as many as make 256 KiB.

Three things the format does not tell, so nobody who reads a log can: a base offset and a leader epoch, which lie
outside the CRC, numbers in files without one (checkpoints, leader epochs, the transaction index, partition.metadata,
meta.properties), and what is cut off at the boundary of a batch or an entry. The records are all there then, and
`kstore log verify` finds the damage of a log, wherever it is.
"""

import io
import logging
import os
import random
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from kstore.cli.logs.directory_check import DirectoriesCheck
from kstore.cli.logs.findings import Findings
from kstore.cli.output import Progress
from kstore.errors import ConfigError
from kstore.log.directory import DAMAGED_SUFFIX
from kstore.log.manager import LogManager
from kstore.log.partition_log import PartitionLog
from tests.log.build import NOW, TP, append, batch, content
from tests.log.damaged import (
    BASE_OFFSET,
    TOPIC_ID,
    Batch,
    Original,
    Scratch,
    found_by,
    look,
    producers_of,
    walk,
)

EXHAUSTIVE = os.environ.get("KSTORE_DAMAGE") == "all"
# As many directories as make 256 KiB, half of them after a stop, half after a crash.
SEEDS = range(26 if EXHAUSTIVE else 1)
SAMPLED = 350

# Of the header of a batch: what a search goes by.
LENGTH, MAGIC, LAST_OFFSET_DELTA, HEADER = range(8, 12), 16, range(23, 27), 61
ENTRY_BYTES = {"index": 8, "timeindex": 12, "txnindex": 34}
FILES_WITHOUT_CRC = ("checkpoint", "meta.properties", "partition.metadata", ".txnindex")
# A batch that cannot be found hides what follows it up to the next index entry.
HIDDEN = 4

# So many places where something is wrong are told.
TOLD = 20

FLIP, CUT = "flip", "cut"


@pytest.fixture
def fast(tmp_path: Path) -> Iterator[Path]:
    """A directory that costs no disk, where there is one."""
    if not os.access("/dev/shm", os.W_OK):
        yield tmp_path
        return
    path = Path(tempfile.mkdtemp(prefix="kstore-damage-", dir="/dev/shm"))
    yield path
    shutil.rmtree(path)


@pytest.fixture(autouse=True)
def without_logging() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


class Damage:
    """One place in one file."""

    def __init__(self, original: Original, kind: str, name: str, position: int) -> None:
        self.original = original
        self.kind = kind
        self.name = name
        self.position = position
        self.batch: Batch | None = None
        if name.endswith(".log"):
            self.batch = original.batch_at(name, position)
            self.in_batch = position - self.batch.position

    def __str__(self) -> str:
        return f"{self.kind} {self.name} at {self.position}"

    @property
    def data(self) -> bytes:
        content = self.original.files[self.name]
        if self.kind == CUT:
            return content[: self.position]
        changed = bytearray(content)
        # Over the bytes of a field each bit gets its turn.
        changed[self.position] ^= 1 << ((5 * self.position + self.position // 8) % 8)
        return bytes(changed)

    @property
    def is_at_boundary(self) -> bool:
        """Whether what is left looks whole: the file is cut between two batches or entries."""
        if self.batch is not None:
            return self.kind == CUT and self.in_batch == 0
        size = ENTRY_BYTES.get(self.name.rpartition(".")[2])
        return self.kind == CUT and size is not None and self.position % size == 0

    @property
    def is_of_an_offset(self) -> bool:
        """Whether a batch says that it holds other offsets: whatever is appended next may seem to be in it."""
        return self.batch is not None and (self.in_batch in BASE_OFFSET or self.in_batch in LAST_OFFSET_DELTA)

    @property
    def is_untold(self) -> bool:
        """Whether the format has nothing to find it by."""
        if self.is_at_boundary:
            return True
        if self.batch is not None:
            return self.kind == FLIP and self.in_batch in BASE_OFFSET
        return self.name.endswith(FILES_WITHOUT_CRC) and not (self.kind == CUT and self.name.endswith(".txnindex"))


def places(original: Original) -> list[tuple[str, str, int]]:
    return [
        (kind, name, at) for name, data in original.files.items() for kind in (FLIP, CUT) for at in range(len(data))
    ]


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("clean", [True, False], ids=["stopped", "crashed"])
@pytest.mark.parametrize("seed", SEEDS)
def test_damage_is_never_served_and_costs_no_more_than_it_must(fast: Path, clean: bool, seed: int) -> None:
    original = Original(fast / "original", seed, clean=clean)
    scratch = Scratch(fast / "scratch", original.files)
    chosen = places(original)
    if not EXHAUSTIVE:
        chosen = random.Random(seed).sample(chosen, SAMPLED)
    broken = []
    for place in chosen:
        damage = Damage(original, *place)
        scratch.damage(damage.name, damage.data)
        try:
            if (
                clean
                and damage.kind == FLIP
                and damage.batch
                and (damage.in_batch < HEADER or damage.position % 8 == 0)
            ):
                assert verify(scratch.root), "verify found nothing"
            check(scratch, damage)
        except Exception as error:
            broken.append(f"{damage}: {type(error).__name__} {error}")
            if len(broken) == TOLD:
                break
        scratch.restore()
    assert not broken, "\n".join(broken)


def verify(root: str) -> int:
    findings = Findings(io.StringIO())
    check = DirectoriesCheck(findings, Progress("", 0, enabled=False))
    check.read_metadata(root)
    check.run(root)
    return findings.damage + findings.notices  # a hole before the last batch may have been left by compaction


def check(scratch: Scratch, damage: Damage) -> None:
    try:
        manager = scratch.open()
    except ConfigError as error:
        if damage.name == "meta.properties" and f"{scratch.root}/meta.properties" in str(error):
            return
        raise
    try:
        assert manager.dirs[0].failure is None
        log = manager.get(TP)
        if log is None:
            check_refused(manager, damage)
        elif damage.batch is not None:
            check_log(log, damage, damage.batch)
        else:
            check_beside(log, damage)
        if log is not None and not damage.is_of_an_offset:
            check_goes_on(log)
    finally:
        manager.close_handles()


def check_refused(manager: LogManager, damage: Damage) -> None:
    """A log that is not served at all."""
    reason = manager.offline[TP]
    assert os.path.basename(damage.name) in reason
    # Of which topic it is nobody knows; or its first batch says that it is of an old format.
    assert damage.name.endswith("partition.metadata") or (damage.batch and damage.in_batch == MAGIC)


def check_log(log: PartitionLog, damage: Damage, hit: Batch) -> None:
    original = damage.original
    before = {offset for offset in original.by_offset if offset < hit.base_offset}
    behind = {offset for offset in original.by_offset if offset > hit.base_offset}
    hidden = {offset for offset in behind if original.by_offset[offset].file == hit.file}
    seen, walked = look(log, original), walk(log, original)
    # What comes before it is there, whatever happened.
    assert seen.good >= before
    assert walked.good >= before
    if not damage.is_untold:
        assert not walked.forged
        # Who asks for an offset that the damaged header does not cover any more may be led behind it.
        assert not seen.forged or (
            damage.kind == FLIP and (damage.in_batch in LENGTH or damage.in_batch in LAST_OFFSET_DELTA)
        )
    if original.clean or hit.next_offset <= original.recovery_point:
        if damage.kind == FLIP and not damage.is_untold:
            assert len(seen.refused) <= HIDDEN
        # Only the end of the log may be gone: nothing is appended behind what is no batch. It is kept beside it.
        if seen.gone and not damage.is_at_boundary:
            assert any(damage.data[hit.position :].endswith(data) for data in kept(log))
        if seen.gone and original.clean:
            assert hit.file == original.batches[-1].file
            assert not seen.gone & before
        if original.clean:
            assert seen.good >= behind - hidden
        return
    # Recovered: the log ends before the damage, and what there is of it is whole.
    if not damage.is_untold and seen.good != set(original.by_offset):
        assert seen.good == before
        assert not seen.refused
        assert log.log_end_offset == hit.base_offset


def kept(log: PartitionLog) -> list[bytes]:
    """What was cut off though it had been flushed."""
    found = [log.directory.read_file(name) for name in log.directory.names() if name.endswith(DAMAGED_SUFFIX)]
    return [data for data in found if data]


def check_beside(log: PartitionLog, damage: Damage) -> None:
    """Damage in any other file costs no records."""
    original = damage.original
    every = set(original.by_offset)
    seen = look(log, original)
    assert (seen.good, seen.forged) == (every, [])
    assert walk(log, original).good == every
    assert log.log_end_offset == original.end_offset
    assert producers_of(log) == original.producers
    if damage.is_untold:
        return
    assert log.topic_id == TOPIC_ID
    assert log.leader_epoch_cache.entries == original.epochs
    assert log.collect_aborted_transactions(0, log.log_end_offset) == original.aborted
    for timestamp, expected in original.times:
        assert found_by(log, timestamp) == expected


def check_goes_on(log: PartitionLog) -> None:
    """What is appended is read, whatever came before."""
    records = batch(3, timestamp=NOW + 1000)
    info = append(log, records, leader_epoch=max(log.latest_epoch, 0), now_ms=NOW + 1000)
    assert content(log.read(info.first_offset, max_bytes=1)) == bytes(records)
