"""Producer state. The cases are those of Kafka's ProducerStateManagerTest."""

import pytest

from kstore.errors import (
    InvalidProducerEpochError,
    InvalidTxnStateError,
    OutOfOrderSequenceError,
    TransactionCoordinatorFencedError,
)
from kstore.log.memory_directory import MemoryDirectory
from kstore.log.producer_entry import MAX_SEQUENCE, BatchMetadata, CompletedTxn
from kstore.log.producer_snapshots import CorruptSnapshotError, decode_snapshot
from kstore.log.producer_state import ProducerState
from kstore.model import TopicPartition

PID = 1
EPOCH = 0
NOW = 1_700_000_000_000


class Machine:
    """A producer state that is driven as a leader's log drives it."""

    def __init__(self, directory: MemoryDirectory | None = None, **arguments: int) -> None:
        self.directory = directory or MemoryDirectory()
        self.state = ProducerState(TopicPartition("test", 0), self.directory, **arguments)

    def append(
        self,
        sequence: int,
        offset: int,
        *,
        count: int = 1,
        producer_id: int = PID,
        epoch: int = EPOCH,
        timestamp: int = NOW,
        transactional: bool = False,
        client: bool = True,
        replica: bool = False,
    ) -> BatchMetadata | None:
        state = self.state
        last_sequence = (sequence + count - 1) % (MAX_SEQUENCE + 1) if sequence >= 0 else -1
        if client and not replica:
            duplicate = state.find_duplicate(producer_id, epoch, sequence, last_sequence)
            if duplicate is not None:
                return duplicate
        if not replica:
            state.check_data(producer_id, epoch, sequence, offset, check_sequence=client, transactional=transactional)
        state.append_data(
            producer_id, epoch, last_sequence, offset, offset + count - 1, timestamp, transactional=transactional
        )
        state.map_end_offset = offset + count
        return None

    def marker(
        self,
        offset: int,
        *,
        producer_id: int = PID,
        epoch: int = EPOCH,
        commit: bool = True,
        coordinator_epoch: int = 0,
        complete: bool = True,
        replica: bool = False,
    ) -> CompletedTxn | None:
        if not replica:
            self.state.check_marker(producer_id, epoch, coordinator_epoch, offset)
        completed = self.state.append_marker(producer_id, epoch, coordinator_epoch, offset, NOW, aborted=not commit)
        self.state.map_end_offset = offset + 1
        if completed is not None and complete:
            self.state.complete(completed)
        return completed

    def reload(self, end_offset: int, *, start_offset: int = 0, now_ms: int = NOW) -> "Machine":
        machine = Machine(self.directory, expiration_ms=self.state.expiration_ms)
        machine.state.truncate_and_reload(start_offset, end_offset, now_ms)
        return machine

    @property
    def unstable(self) -> int | None:
        txn = self.state.first_unstable_txn()
        return None if txn is None else txn.first_offset


# --- sequences and epochs ---


def test_sequences_and_epochs_of_a_producer() -> None:
    machine = Machine()
    machine.append(0, 0)
    machine.append(1, 1)
    assert machine.append(1, 2) == BatchMetadata(1, 1, 0, NOW)  # a duplicate
    with pytest.raises(OutOfOrderSequenceError):
        machine.append(5, 2)
    machine.append(0, 2, epoch=EPOCH + 1)
    with pytest.raises(InvalidProducerEpochError):
        machine.append(0, 3, epoch=EPOCH)


def test_unknown_producer_may_start_at_any_sequence() -> None:
    Machine().append(17, 0)


def test_new_epoch_starts_at_zero() -> None:
    machine = Machine()
    machine.append(0, 0)
    with pytest.raises(OutOfOrderSequenceError):
        machine.append(1, 1, epoch=EPOCH + 1)
    machine.append(0, 1, epoch=EPOCH + 1)


def test_sequence_wraps_around() -> None:
    machine = Machine()
    machine.append(MAX_SEQUENCE, 0)
    machine.append(0, 1)
    entry = machine.state.producers[PID]
    assert entry.last_sequence == 0


def test_batch_over_the_wrap_is_known_again() -> None:
    machine = Machine()
    machine.append(MAX_SEQUENCE - 9, 0, count=20)
    assert machine.state.producers[PID].last_sequence == 9
    duplicate = machine.append(MAX_SEQUENCE - 9, 20, count=20)
    assert duplicate is not None
    assert (duplicate.first_sequence, duplicate.first_offset, duplicate.last_offset) == (MAX_SEQUENCE - 9, 0, 19)
    machine.append(10, 20)


def test_wrap_that_is_none_is_refused() -> None:
    machine = Machine()
    machine.append(MAX_SEQUENCE, 0)
    with pytest.raises(OutOfOrderSequenceError):
        machine.append(1, 1)


def test_duplicates_of_the_last_five_batches_are_known_and_no_older_ones() -> None:
    machine = Machine()
    for number in range(6):
        machine.append(2 * number, 2 * number, count=2)
    for number in range(1, 6):
        duplicate = machine.append(2 * number, 12, count=2)
        assert duplicate is not None
        assert duplicate.first_offset == 2 * number
    with pytest.raises(OutOfOrderSequenceError):
        machine.append(0, 12, count=2)


def test_duplicate_needs_the_same_range_and_epoch() -> None:
    machine = Machine()
    machine.append(0, 0, count=4)
    for sequence, count in ((0, 3), (1, 3), (0, 5)):
        with pytest.raises(OutOfOrderSequenceError):
            machine.append(sequence, 4, count=count)
    assert machine.append(0, 4, count=4, epoch=EPOCH + 1) is None


def test_replica_takes_gaps_and_unknown_producers() -> None:
    machine = Machine()
    machine.append(5, 0, replica=True)
    machine.append(50, 1, replica=True)
    machine.append(3, 2, epoch=7, replica=True)
    machine.append(3, 3, epoch=2, replica=True)
    assert machine.state.producers[PID].epoch == 2


def test_coordinators_writes_are_not_checked_for_sequence() -> None:
    machine = Machine()
    machine.append(-1, 0, client=False)
    machine.append(-1, 1, client=False)
    with pytest.raises(InvalidProducerEpochError):
        machine.append(-1, 2, epoch=-1, client=False)


def test_check_changes_nothing() -> None:
    machine = Machine()
    machine.append(0, 0)
    machine.state.check_data(PID, EPOCH, 1, 1, check_sequence=True, transactional=False)
    machine.state.check_data(PID, EPOCH, 1, 1, check_sequence=True, transactional=False)
    assert machine.state.producers[PID].last_sequence == 0


# --- transactions ---


def test_marker_without_a_transaction_completes_nothing() -> None:
    machine = Machine()
    assert machine.marker(0) is None
    assert machine.unstable is None
    machine.append(0, 1, transactional=True)
    assert machine.unstable == 1


def test_marker_raises_the_epoch_and_the_next_sequence_is_zero() -> None:
    machine = Machine()
    machine.append(0, 0)
    machine.append(1, 1)
    machine.marker(2, epoch=EPOCH + 1, commit=False)
    entry = machine.state.producers[PID]
    assert (entry.epoch, entry.last_sequence) == (EPOCH + 1, -1)
    with pytest.raises(InvalidProducerEpochError):
        machine.append(2, 3)
    with pytest.raises(OutOfOrderSequenceError):
        machine.append(17, 3, epoch=EPOCH + 1)
    machine.append(0, 3, epoch=EPOCH + 1)


def test_marker_of_an_old_epoch_is_refused() -> None:
    machine = Machine()
    machine.append(0, 0, epoch=5)
    with pytest.raises(InvalidProducerEpochError):
        machine.marker(1, epoch=4)


def test_marker_of_an_old_coordinator_is_refused() -> None:
    machine = Machine()
    machine.append(0, 0, transactional=True)
    machine.marker(1, coordinator_epoch=1)
    machine.append(1, 2, transactional=True)
    with pytest.raises(TransactionCoordinatorFencedError):
        machine.marker(3, coordinator_epoch=0)
    machine.marker(3, coordinator_epoch=2)


def test_replica_takes_markers_of_old_coordinators() -> None:
    machine = Machine()
    machine.append(0, 0, transactional=True)
    machine.marker(1, coordinator_epoch=1)
    machine.marker(2, coordinator_epoch=0, replica=True)
    assert machine.state.producers[PID].coordinator_epoch == 0


def test_open_transaction_refuses_other_writes_of_its_producer() -> None:
    machine = Machine()
    machine.append(0, 0, transactional=True)
    with pytest.raises(InvalidTxnStateError):
        machine.append(1, 1)


def test_first_unstable_offset_waits_for_marker_and_high_watermark() -> None:
    machine = Machine()
    assert machine.unstable is None
    machine.append(0, 99, transactional=True)
    assert machine.unstable == 99
    machine.marker(105)
    machine.state.on_high_watermark(105)
    assert machine.unstable == 99  # the marker itself is not replicated
    machine.state.on_high_watermark(106)
    assert machine.unstable is None


def test_first_unstable_offset_is_the_earliest_of_several() -> None:
    machine = Machine()
    machine.append(0, 10, transactional=True, producer_id=1)
    machine.append(0, 11, transactional=True, producer_id=2)
    machine.append(0, 12, transactional=True, producer_id=3)
    machine.marker(13, producer_id=2)
    machine.state.on_high_watermark(14)
    assert machine.unstable == 10
    machine.marker(14, producer_id=1)
    machine.state.on_high_watermark(15)
    assert machine.unstable == 12


def test_last_stable_offset_of_an_index_entry_is_that_of_another_open_transaction() -> None:
    machine = Machine()
    machine.append(0, 10, transactional=True, producer_id=1)
    machine.append(0, 11, transactional=True, producer_id=2)
    machine.append(0, 12, transactional=True, producer_id=3)
    second = machine.marker(13, producer_id=2, commit=False, complete=False)
    assert second is not None
    assert machine.state.aborted_txn(second) == (2, 11, 13, 10)
    machine.state.complete(second)
    first = machine.marker(14, producer_id=1, commit=False, complete=False)
    assert first is not None
    assert machine.state.aborted_txn(first) == (1, 10, 14, 12)
    machine.state.complete(first)
    third = machine.marker(15, producer_id=3, commit=False, complete=False)
    assert third is not None
    assert machine.state.aborted_txn(third) == (3, 12, 15, 16)


def test_completing_what_was_not_started_is_a_broken_invariant() -> None:
    with pytest.raises(AssertionError):
        Machine().state.complete(CompletedTxn(1, 5, 6, False))


# --- snapshots ---


def test_snapshot_brings_producers_back_with_their_last_batch() -> None:
    machine = Machine()
    machine.append(0, 0)
    machine.append(1, 1)
    assert machine.state.take_snapshot() == 2
    again = machine.reload(2)
    assert again.state.map_end_offset == 2
    assert again.append(1, 2) is not None
    with pytest.raises(OutOfOrderSequenceError):
        again.append(0, 2)
    again.append(2, 2)


def test_snapshot_brings_an_open_transaction_back() -> None:
    machine = Machine()
    machine.append(0, 5, transactional=True)
    machine.state.take_snapshot()
    again = machine.reload(6)
    assert again.unstable == 5
    again.append(1, 6, transactional=True)
    assert again.unstable == 5
    assert again.marker(7) == CompletedTxn(PID, 5, 7, False)


def test_snapshot_after_the_marker_has_no_transaction() -> None:
    machine = Machine()
    machine.append(0, 5, transactional=True)
    machine.marker(6)
    machine.state.take_snapshot()
    again = machine.reload(7)
    assert again.unstable is None
    again.append(1, 7, transactional=True)


def test_snapshot_keeps_the_coordinators_epoch() -> None:
    machine = Machine()
    machine.marker(0, coordinator_epoch=3)
    machine.state.take_snapshot()
    again = machine.reload(1)
    with pytest.raises(TransactionCoordinatorFencedError):
        again.marker(1, coordinator_epoch=2)


def test_no_second_snapshot_at_the_same_offset() -> None:
    machine = Machine()
    machine.append(0, 0)
    assert machine.state.take_snapshot() == 1
    assert machine.state.take_snapshot() is None
    machine.append(1, 1)
    assert machine.state.take_snapshot() == 2
    assert machine.state.snapshots == [1, 2]


@pytest.mark.parametrize("damage", ["empty", "truncated", "flipped", "version", "count"])
def test_damaged_snapshot_gives_way_to_the_one_before(damage: str) -> None:
    machine = Machine()
    machine.append(0, 0)
    machine.state.take_snapshot()
    machine.append(1, 1)
    machine.state.take_snapshot()
    name = "00000000000000000002.snapshot"
    content = bytearray(machine.directory.read_file(name) or b"")
    if damage == "empty":
        content.clear()
    elif damage == "truncated":
        del content[len(content) // 2 :]
    elif damage == "flipped":
        content[20] ^= 1
    elif damage == "version":
        content[1] = 9
    else:
        content[6:10] = b"\x7f\xff\xff\xff"
    machine.directory.write_file(name, bytes(content))
    with pytest.raises(CorruptSnapshotError):
        decode_snapshot(bytes(content))
    again = machine.reload(2)
    assert again.state.map_end_offset == 1
    assert again.state.snapshots == [1]
    assert name not in machine.directory.names()


def test_reload_drops_snapshots_outside_the_log() -> None:
    machine = Machine()
    for offset in range(5):
        machine.append(offset, offset)
        machine.state.take_snapshot()
    assert machine.state.snapshots == [1, 2, 3, 4, 5]
    machine.state.truncate_and_reload(1, 3, NOW)
    assert machine.state.snapshots == [2, 3]
    assert machine.state.map_end_offset == 3
    assert machine.append(2, 3) is not None
    machine.append(3, 3)


def test_first_unstable_offset_after_truncation() -> None:
    machine = Machine()
    machine.append(0, 99, transactional=True)
    machine.state.take_snapshot()
    machine.marker(105)
    machine.state.on_high_watermark(106)
    assert machine.unstable is None
    machine.state.take_snapshot()
    machine.append(1, 106)
    machine.state.truncate_and_reload(0, 106, NOW)
    assert machine.unstable is None
    machine.state.truncate_and_reload(0, 100, NOW)
    assert machine.unstable == 99


def test_truncate_fully_forgets_everything() -> None:
    machine = Machine()
    machine.append(0, 0, transactional=True)
    machine.state.take_snapshot()
    machine.state.truncate_fully_and_start_at(7)
    assert machine.state.is_empty()
    assert machine.unstable is None
    assert machine.state.map_end_offset == 7
    assert machine.directory.names() == []


# --- expiry ---


def test_idle_producer_expires_and_may_start_anywhere() -> None:
    machine = Machine(expiration_ms=1000)
    machine.append(0, 0, timestamp=NOW)
    assert machine.state.remove_expired(NOW + 999) == 0
    assert machine.state.remove_expired(NOW + 1000) == 1
    machine.append(7, 1)


def test_producer_with_an_open_transaction_does_not_expire() -> None:
    machine = Machine(expiration_ms=1000)
    machine.append(0, 0, transactional=True)
    assert machine.state.remove_expired(NOW + 10_000) == 0
    assert machine.unstable == 0


def test_expired_producers_are_not_loaded() -> None:
    machine = Machine(expiration_ms=1000)
    machine.append(0, 0, producer_id=1)
    machine.append(0, 1, producer_id=2, timestamp=NOW + 5000)
    machine.state.take_snapshot()
    again = machine.reload(2, now_ms=NOW + 5500)
    assert set(again.state.producers) == {2}


def test_log_start_moves_forward_past_replicated_transactions() -> None:
    machine = Machine()
    machine.append(0, 5, transactional=True)
    machine.marker(6)
    assert machine.unstable == 5
    machine.state.on_log_start_offset(8)
    assert machine.unstable is None
    assert machine.state.map_end_offset == 8
