"""Writing and cutting a segment. The cases are those of Kafka's LogSegmentTest."""

from kstore.log.memory_directory import MemoryDirectory
from tests.log.build import NOW, batch
from tests.log.build_segment import add, found, reopened, segment

SIZE = len(batch())


def test_empty_segment_holds_nothing() -> None:
    made = segment()
    assert found(made, 40) is None
    assert made.read_end() == (40, 0)
    assert made.load_max_timestamp() == -1
    assert made.first_batch_timestamp() == -1


def test_truncation_removes_everything_from_the_offset_on() -> None:
    made = segment()
    offset = 40
    for _ in range(30):
        add(made, offset, 2)
        made.truncate_to(offset, NOW)
        assert found(made, offset) is None
        add(made, offset, 2)
        offset += 2
    assert made.read_end() == (100, made.size)


def test_truncation_in_a_gap_and_of_an_empty_segment() -> None:
    made = segment()
    assert made.truncate_to(0, NOW) == 0
    add(made, 50)
    add(made, 60)
    assert made.truncate_to(55, NOW) == SIZE
    assert made.read_end() == (51, SIZE)
    assert made.truncate_to(50, NOW + 7) == SIZE
    assert (made.size, made.created_ms) == (0, NOW + 7)


def test_largest_timestamp_is_found_again_after_truncation() -> None:
    made = segment(interval=2 * SIZE)
    for number in range(30):
        add(made, 40 + number, timestamp=NOW + number)
    made.truncate_to(61, NOW)
    assert (made.max_timestamp, made.max_timestamp_offset) == (NOW + 20, 60)


def test_first_batch_decides_when_to_roll() -> None:
    directory = MemoryDirectory()
    made = segment(directory=directory)
    add(made, 40, timestamp=NOW)
    add(made, 41, timestamp=NOW + 500)
    again = reopened(directory, made.size)
    assert again.first_batch_timestamp() == NOW
    again.set_roll_limits(1 << 20, 1000)
    assert again.fits(SIZE, 42, NOW + 1000, NOW)
    assert not again.fits(SIZE, 42, NOW + 1001, NOW)


def test_relative_offset_must_fit() -> None:
    made = segment(0)
    made.set_roll_limits(1 << 20, 1 << 40)
    assert made.fits(SIZE, 2**31 - 1, NOW, NOW)
    assert not made.fits(SIZE, 2**31, NOW, NOW)
