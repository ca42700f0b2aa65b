"""Reading a segment. The cases are those of Kafka's LogSegmentTest."""

from tests.log.build import NOW, batch
from tests.log.build_segment import add, found, segment

SIZE = len(batch())


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
