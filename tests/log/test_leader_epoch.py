"""Leader-epoch cache. The cases are those of Kafka's LeaderEpochFileCacheTest."""

import errno

import pytest

from kstore.log.checkpoint_file import LEADER_EPOCH_CHECKPOINT, CorruptCheckpointError
from kstore.log.leader_epoch import UNDEFINED, EpochEndOffset, EpochEntry, LeaderEpochCache
from kstore.log.memory_directory import MemoryDirectory

LOG_END = 100


def cache(*entries: tuple[int, int]) -> LeaderEpochCache:
    made = LeaderEpochCache(MemoryDirectory())
    for epoch, start_offset in entries:
        made.assign(epoch, start_offset)
    return made


def entries_of(epochs: LeaderEpochCache) -> list[tuple[int, int]]:
    return [tuple(entry) for entry in epochs.entries]


def test_empty_cache_knows_nothing() -> None:
    epochs = cache()
    assert epochs.latest_epoch == -1
    assert epochs.latest_entry() is None
    assert epochs.earliest_entry() is None
    assert epochs.end_offset_for(0, LOG_END) == UNDEFINED
    assert epochs.end_offset_for(-1, LOG_END) == UNDEFINED
    epochs.truncate_from_start(5)
    epochs.truncate_from_end(5)
    assert entries_of(epochs) == []


def test_assigned_epoch_is_the_latest_and_ends_at_the_log_end() -> None:
    epochs = cache((2, 10))
    assert epochs.latest_epoch == 2
    assert epochs.entries == [EpochEntry(2, 10)]
    assert epochs.end_offset_for(2, LOG_END) == EpochEndOffset(2, LOG_END)


def test_undefined_epoch_has_no_end_offset() -> None:
    assert cache((2, 11), (3, 12)).end_offset_for(-1, LOG_END) == UNDEFINED


def test_epoch_keeps_the_offset_it_was_assigned_first() -> None:
    epochs = cache((2, 10))
    assert not epochs.assign(2, 11)
    assert entries_of(epochs) == [(2, 10)]


def test_same_epoch_at_an_earlier_offset_moves_it() -> None:
    epochs = cache((2, 10))
    assert epochs.assign(2, 9)
    assert entries_of(epochs) == [(2, 9)]


def test_start_offsets_rise_by_dropping_what_is_not_below() -> None:
    assert entries_of(cache((2, 9), (3, 9))) == [(3, 9)]
    assert entries_of(cache((2, 6), (3, 5))) == [(3, 5)]
    assert entries_of(cache((0, 1), (1, 5), (2, 9), (3, 4))) == [(0, 1), (3, 4)]


def test_epochs_rise_by_dropping_what_is_not_below() -> None:
    assert entries_of(cache((1, 5), (2, 6), (1, 7))) == [(1, 7)]
    assert entries_of(cache((0, 1), (3, 5), (2, 8))) == [(0, 1), (2, 8)]


def test_epoch_below_the_first_ends_where_the_first_begins() -> None:
    epochs = cache((5, 11), (6, 12), (7, 13))
    assert epochs.end_offset_for(4, LOG_END) == EpochEndOffset(4, 11)


def test_epoch_above_the_latest_is_undefined() -> None:
    assert cache((5, 11), (6, 12)).end_offset_for(7, LOG_END) == UNDEFINED


def test_epoch_ends_where_the_next_begins() -> None:
    epochs = cache((1, 11), (2, 12), (3, 15))
    assert epochs.end_offset_for(2, LOG_END) == EpochEndOffset(2, 15)


def test_missing_epoch_is_answered_with_the_one_below() -> None:
    epochs = cache((0, 10), (2, 13), (4, 17))
    assert epochs.end_offset_for(1, LOG_END) == EpochEndOffset(0, 13)
    assert epochs.end_offset_for(2, LOG_END) == EpochEndOffset(2, 17)
    assert epochs.end_offset_for(3, LOG_END) == EpochEndOffset(2, 17)


def test_epochs_need_not_begin_at_zero() -> None:
    epochs = cache((2, 12))
    assert epochs.end_offset_for(2, LOG_END).end_offset == LOG_END


def test_invalid_epochs_and_offsets_are_refused() -> None:
    with pytest.raises(ValueError, match="invalid"):
        cache((-1, 0))
    with pytest.raises(ValueError, match="invalid"):
        cache((0, -1))


def test_leader_changes_are_tracked() -> None:
    epochs = cache((0, 0), (1, 0), (2, 5), (2, 7), (3, 9))
    assert entries_of(epochs) == [(1, 0), (2, 5), (3, 9)]
    assert epochs.end_offset_for(1, LOG_END) == EpochEndOffset(1, 5)


def test_epochs_are_found_again_in_kafkas_format() -> None:
    directory = MemoryDirectory()
    epochs = LeaderEpochCache(directory)
    epochs.assign(2, 6)
    epochs.assign(3, 8)
    epochs.flush()
    assert directory.read_file(LEADER_EPOCH_CHECKPOINT) == b"0\n2\n2 6\n3 8\n"
    again = LeaderEpochCache(directory)
    again.load()
    assert again.entries == epochs.entries
    assert not again.dirty


def test_flushed_epoch_survives_a_crash() -> None:
    directory = MemoryDirectory()
    epochs = LeaderEpochCache(directory)
    epochs.assign(2, 6)
    epochs.flush()
    epochs.assign(3, 8)
    directory.crash()
    again = LeaderEpochCache(directory)
    again.load()
    assert entries_of(again) == [(2, 6)]


def test_flush_that_fails_stays_to_be_done() -> None:
    directory = MemoryDirectory()
    epochs = LeaderEpochCache(directory)
    epochs.assign(2, 6)
    directory.fault = lambda kind, name: errno.ENOSPC if kind == "write" else None
    with pytest.raises(OSError, match="failed"):
        epochs.flush()
    assert epochs.dirty
    directory.fault = None
    epochs.flush()
    assert directory.read_file(LEADER_EPOCH_CHECKPOINT) == b"0\n1\n2 6\n"


def test_damaged_file_is_refused() -> None:
    directory = MemoryDirectory()
    directory.write_file(LEADER_EPOCH_CHECKPOINT, b"0\n2\n1 1\n")
    with pytest.raises(CorruptCheckpointError):
        LeaderEpochCache(directory).load()


def test_non_monotonic_entries_of_a_file_are_dropped() -> None:
    directory = MemoryDirectory()
    directory.write_file(LEADER_EPOCH_CHECKPOINT, b"0\n3\n1 10\n2 20\n3 15\n")
    epochs = LeaderEpochCache(directory)
    epochs.load()
    assert entries_of(epochs) == [(1, 10), (3, 15)]


@pytest.mark.parametrize(
    ("end_offset", "left"),
    [
        (8, [(2, 6)]),  # on a boundary
        (9, [(2, 6), (3, 8)]),  # between two
        (11, [(2, 6), (3, 8)]),
        (12, [(2, 6), (3, 8), (4, 11)]),
        (6, []),
        (0, []),
        (-1, [(2, 6), (3, 8), (4, 11)]),  # undefined
    ],
)
def test_truncating_the_end_drops_epochs_that_begin_there_or_later(
    end_offset: int, left: list[tuple[int, int]]
) -> None:
    epochs = cache((2, 6), (3, 8), (4, 11))
    epochs.truncate_from_end(end_offset)
    assert entries_of(epochs) == left
    assert epochs.latest_epoch == (left[-1][0] if left else -1)


@pytest.mark.parametrize(
    ("start_offset", "left"),
    [
        (8, [(3, 8), (4, 11)]),  # on a boundary
        (9, [(3, 9), (4, 11)]),  # the epoch that holds it begins there now
        (1, [(2, 6), (3, 8), (4, 11)]),  # too early
        (6, [(2, 6), (3, 8), (4, 11)]),
        (7, [(2, 7), (3, 8), (4, 11)]),
        (11, [(4, 11)]),
        (15, [(4, 15)]),  # the latest stays
        (-1, [(2, 6), (3, 8), (4, 11)]),
    ],
)
def test_truncating_the_start_keeps_the_epoch_that_holds_it(start_offset: int, left: list[tuple[int, int]]) -> None:
    epochs = cache((2, 6), (3, 8), (4, 11))
    epochs.truncate_from_start(start_offset)
    assert entries_of(epochs) == left


def test_truncation_is_written() -> None:
    directory = MemoryDirectory()
    epochs = LeaderEpochCache(directory)
    for epoch, start_offset in ((2, 6), (3, 8), (4, 11)):
        epochs.assign(epoch, start_offset)
    epochs.truncate_from_start(9)
    epochs.truncate_from_end(11)
    epochs.flush()
    assert directory.read_file(LEADER_EPOCH_CHECKPOINT) == b"0\n1\n3 9\n"


def test_clear_drops_all() -> None:
    epochs = cache((2, 6), (3, 8))
    epochs.clear()
    assert entries_of(epochs) == []
    assert epochs.latest_epoch == -1


def test_neighbours_and_the_epoch_of_an_offset() -> None:
    epochs = cache((2, 10), (4, 15), (6, 30))
    assert epochs.previous_epoch(4) == 2
    assert epochs.previous_epoch(6) == 4
    assert epochs.previous_epoch(2) == -1
    assert [epochs.epoch_for_offset(offset) for offset in (9, 10, 14, 15, 29, 30, 99)] == [-1, 2, 2, 4, 4, 6, 6]
