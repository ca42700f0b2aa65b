"""Reading a segment. The cases are those of Kafka's LogSegmentTest."""

from collections.abc import Callable
from pathlib import Path

import pytest

from kstore.errors import CorruptRecordError
from kstore.log.config import LogConfig
from kstore.log.partition_log import PartitionLog
from tests.log.build import NOW, append, batch, content, crash, open_log
from tests.log.build_segment import add, found, segment

SIZE = len(batch())

Damaged = Callable[[int, bytes | None], PartitionLog]


def test_offset_is_found_before_after_and_in_a_gap() -> None:
    made = segment()
    add(made, 50, 2)
    add(made, 60, 2)
    assert found(made, 41) == (50, 51)
    assert found(made, 51) == (50, 51)
    assert found(made, 52) == (60, 61)
    assert found(made, 61) == (60, 61)
    assert found(made, 62) is None


def test_offset_by_timestamp() -> None:
    made = segment(interval=2 * SIZE)
    for number in range(20):
        add(made, 40 + number, timestamp=NOW + 10 * number)
    assert made.find_offset_by_timestamp(NOW + 42, 40) == (NOW + 50, 45, None)
    assert made.find_offset_by_timestamp(NOW + 50, 40) == (NOW + 50, 45, None)
    assert made.find_offset_by_timestamp(NOW, 47) == (NOW + 70, 47, None)
    assert made.find_offset_by_timestamp(NOW + 191, 40) is None
    assert made.find_offset_by_timestamp(0, 40) == (NOW, 40, None)


def test_next_offset_is_one_above_the_last_record() -> None:
    made = segment(interval=1 << 20)
    add(made, 50, 3)
    assert made.read_end()[0] == 53


# --- damage ---


@pytest.fixture
def damaged(tmp_path: Path) -> Damaged:
    """A log of two segments whose first file is changed while it is closed; each batch but the first has an entry."""
    config = LogConfig(segment_bytes=8 * SIZE, index_interval_bytes=1)
    log = open_log(tmp_path / "topic-0", config)
    for number in range(12):
        append(log, batch(timestamp=NOW + number))
    log.flush(now_ms=NOW)
    crash(log)

    def change(position: int, data: bytes | None) -> PartitionLog:
        path = tmp_path / "topic-0" / "00000000000000000000.log"
        with path.open("r+b") as file:
            if data is None:
                file.truncate(position)
            else:
                file.seek(position)
                file.write(data)
        return open_log(path.parent, config, clean_shutdown=True)

    return change


def test_who_looks_for_what_a_sealed_segment_has_lost_is_not_led_to_the_next(damaged: Damaged) -> None:
    """A consumer got the batches of the next segment, and never knew that it had missed some."""
    log = damaged(5 * SIZE + 20, None)
    assert content(log.read(4, max_bytes=SIZE)) != b""
    for offset in (5, 6, 7):
        with pytest.raises(CorruptRecordError, match=f"00.log: .* {5 * SIZE} .* no whole batch"):
            log.read(offset, max_bytes=SIZE)
    assert content(log.read(8, max_bytes=SIZE)) != b""


@pytest.mark.parametrize("what", ["magic", "length"])
def test_batches_behind_a_damaged_one_are_found(damaged: Damaged, what: str) -> None:
    """The indexes were built anew up to the damage, and nothing behind it was found again."""
    log = damaged(*((3 * SIZE + 16, b"\x7f") if what == "magic" else (3 * SIZE + 8, b"\x7f")))
    for _ in range(2):
        with pytest.raises(CorruptRecordError):
            log.read(3, max_bytes=SIZE)
        for offset in (0, 1, 2, 5, 6, 7, 8):
            assert content(log.read(offset, max_bytes=SIZE))[:8] == offset.to_bytes(8, "big")


@pytest.mark.parametrize("base_offset", [1000, 2**40])
def test_a_base_offset_that_does_not_follow_is_told_as_damage_of_the_log(damaged: Damaged, base_offset: int) -> None:
    """It lies outside the CRC. Building the indexes from it failed with a ValueError."""
    log = damaged(5 * SIZE, base_offset.to_bytes(8, "big"))
    for _ in range(2):
        with pytest.raises(CorruptRecordError, match=r"00\.log: "):
            log.read(5, max_bytes=SIZE)
    assert content(log.read(4, max_bytes=SIZE)) != b""
    assert log.read(7, max_bytes=SIZE).position == 7 * SIZE
