"""Transaction index. The cases are those of Kafka's TransactionIndexTest."""

import errno

import pytest

from kstore.errors import CorruptIndexError
from kstore.log.memory_directory import MemoryDirectory
from kstore.log.transaction_index import AbortedTxn, TransactionIndex

NAME = "00000000000000000000.txnindex"
TXNS = [
    AbortedTxn(0, 0, 10, 2),
    AbortedTxn(1, 5, 15, 16),
    AbortedTxn(2, 18, 35, 25),
    AbortedTxn(3, 32, 50, 40),
]


def index(*txns: AbortedTxn, directory: MemoryDirectory | None = None) -> TransactionIndex:
    made = TransactionIndex(directory or MemoryDirectory(), NAME, 0, exists=False)
    for txn in txns:
        made.append(txn)
    return made


def test_entry_has_kafkas_bytes() -> None:
    directory = MemoryDirectory()
    index(AbortedTxn(983493, 137, 299, 200), directory=directory)
    content = directory.read_file(NAME)
    assert content == b"".join([b"\0\0", (983493).to_bytes(8, "big"), *(n.to_bytes(8, "big") for n in (137, 299, 200))])


def test_no_file_is_made_before_there_is_an_entry() -> None:
    directory = MemoryDirectory()
    made = index(directory=directory)
    assert made.entries() == []
    assert not made.exists
    assert directory.names() == []


def test_entries_are_found_again_and_appended_to() -> None:
    directory = MemoryDirectory()
    index(*TXNS[:2], directory=directory)
    again = TransactionIndex(directory, NAME, 0, exists=True)
    again.append(TXNS[2])
    assert again.entries() == TXNS[:3]
    assert TransactionIndex(directory, NAME, 0, exists=True).entries() == TXNS[:3]


def test_last_offset_must_rise() -> None:
    made = index(TXNS[1])
    with pytest.raises(ValueError, match="not after"):
        made.append(AbortedTxn(9, 0, 15, 11))
    with pytest.raises(ValueError, match="not after"):
        made.append(AbortedTxn(9, 0, 14, 11))


def test_collect_gives_what_overlaps_and_says_when_no_later_segment_matters() -> None:
    made = index(*TXNS)
    assert made.collect(0, 100) == (TXNS, False)
    assert made.collect(0, 32) == (TXNS[:3], True)
    assert made.collect(0, 35) == (TXNS, True)
    assert made.collect(10, 35) == (TXNS, True)
    assert made.collect(11, 35) == (TXNS[1:], True)
    assert made.collect(20, 41) == (TXNS[2:], False)


def test_truncate_drops_markers_at_or_above_the_offset() -> None:
    directory = MemoryDirectory()
    made = index(*TXNS, directory=directory)
    made.truncate_to(51)
    assert made.entries() == TXNS
    made.truncate_to(50)
    assert made.entries() == TXNS[:3]
    made.append(TXNS[3])
    made.truncate_to(12)
    assert TransactionIndex(directory, NAME, 0, exists=True).entries() == TXNS[:1]
    made.reset()
    assert made.entries() == []
    assert directory.names() == []


def test_torn_last_entry_is_no_entry() -> None:
    directory = MemoryDirectory()
    index(*TXNS[:2], directory=directory)
    directory.truncate_file(NAME, 34 + 20)
    again = TransactionIndex(directory, NAME, 0, exists=True)
    assert again.entries() == TXNS[:1]
    again.append(TXNS[1])
    assert TransactionIndex(directory, NAME, 0, exists=True).entries() == TXNS[:2]


def test_sanity_check_finds_what_cannot_be() -> None:
    directory = MemoryDirectory()
    index(*TXNS, directory=directory)
    TransactionIndex(directory, NAME, 5, exists=True).sanity_check()
    with pytest.raises(CorruptIndexError):
        TransactionIndex(directory, NAME, 100, exists=True).sanity_check()
    directory.write_file(NAME, b"\x7f" + bytes(33))
    with pytest.raises(CorruptIndexError):
        TransactionIndex(directory, NAME, 0, exists=True).sanity_check()


def test_entry_that_found_no_room_is_served_and_written_later() -> None:
    directory = MemoryDirectory()
    made = index(TXNS[0], directory=directory)
    directory.fault = lambda kind, name: errno.ENOSPC if kind == "write" else None
    with pytest.raises(OSError, match="failed"):
        made.append(TXNS[1])
    assert made.entries() == TXNS[:2]
    directory.fault = None
    made.append(TXNS[2])
    assert TransactionIndex(directory, NAME, 0, exists=True).entries() == TXNS[:3]


@pytest.mark.parametrize("size", [1, 33, 35, 67])
def test_a_torn_entry_is_found_out(size: int) -> None:
    """Its beginning was passed over, and the records of the transaction were read as committed."""
    directory = MemoryDirectory()
    index(*TXNS[:2], directory=directory)
    directory.truncate_file(NAME, size)
    with pytest.raises(CorruptIndexError, match=f"{NAME} is torn: {size % 34} bytes"):
        TransactionIndex(directory, NAME, 0, exists=True).sanity_check()
