"""The offsets that bound a log, its topic id and its leader epochs. The cases are those of Kafka's UnifiedLogTest."""

import errno

import pytest

from kstore.errors import InconsistentTopicIdError, KafkaStorageError, OffsetOutOfRangeError
from kstore.log.append import COORDINATOR
from kstore.log.memory_directory import MemoryDirectory
from kstore.log.memory_log import MemoryLog
from tests.log.build import NOW, TP, append, batch, fill, marker
from tests.log.conftest import MakeLog

SIZE = len(batch())
ID = bytes(range(16))
ID_TEXT = "AAECAwQFBgcICQoLDA0ODw"


def test_high_watermark_only_rises_for_a_leader(make_log: MakeLog) -> None:
    log = make_log()
    for _ in range(5):
        append(log, batch())
    assert log.high_watermark == 0
    assert log.maybe_increment_high_watermark(3)
    assert not log.maybe_increment_high_watermark(3)
    assert not log.maybe_increment_high_watermark(2)
    assert log.high_watermark == 3
    with pytest.raises(AssertionError):
        log.maybe_increment_high_watermark(6)


def test_high_watermark_of_a_follower_is_clamped_and_may_fall(make_log: MakeLog) -> None:
    log = make_log()
    fill(log, 5)
    assert log.update_high_watermark(3) == 3
    assert log.update_high_watermark(99) == 5
    log.update_high_watermark(4)
    log.maybe_increment_log_start_offset(2)
    assert log.update_high_watermark(0) == 2


def test_log_start_never_passes_the_high_watermark(make_log: MakeLog) -> None:
    log = make_log()
    for _ in range(5):
        append(log, batch())
    log.maybe_increment_high_watermark(3)
    with pytest.raises(OffsetOutOfRangeError):
        log.maybe_increment_log_start_offset(4)
    assert log.maybe_increment_log_start_offset(3)
    assert not log.maybe_increment_log_start_offset(2)
    assert log.log_start_offset == 3


def test_log_start_takes_the_epochs_along_and_says_nothing_of_what_is_on_the_disk(make_log: MakeLog) -> None:
    log = make_log()
    for epoch in (1, 1, 2, 3):
        append(log, batch(), leader_epoch=epoch)
    log.maybe_increment_high_watermark(4)
    log.maybe_increment_log_start_offset(3)
    assert log.recovery_point == 0
    assert [tuple(entry) for entry in log.leader_epoch_cache.entries] == [(3, 3)]


def test_last_stable_offset_is_not_below_the_log_start(make_log: MakeLog) -> None:
    log = make_log()
    append(log, batch(producer_id=1, producer_epoch=0, base_sequence=0, transactional=True))
    for _ in range(4):
        append(log, batch())
    log.maybe_increment_high_watermark(5)
    assert log.last_stable_offset == 0
    log.maybe_increment_log_start_offset(3)
    assert log.last_stable_offset == 3
    append(log, marker(1), origin=COORDINATOR)
    log.maybe_increment_high_watermark(6)
    assert log.last_stable_offset == 6


def test_last_stable_offset_is_the_high_watermark_without_transactions(make_log: MakeLog) -> None:
    log = make_log()
    fill(log, 3)
    assert log.last_stable_offset == 3
    log.update_high_watermark(2)
    assert log.last_stable_offset == 2


def test_new_leader_notes_its_epoch_before_any_append(make_log: MakeLog) -> None:
    log = make_log()
    append(log, batch(), leader_epoch=1)
    log.assign_epoch_start_offset(5, 1)
    assert log.epoch_end_offset(1) == (1, 1)
    assert log.epoch_end_offset(5) == (5, 1)


def test_topic_id_is_kept_in_kafkas_file(make_log: MakeLog) -> None:
    log = make_log(topic_id=ID)
    assert log.directory.read_file("partition.metadata") == b"version: 0\ntopic_id: " + ID_TEXT.encode()
    fill(log, 1)
    log.close()
    assert make_log().topic_id == ID
    assert make_log(topic_id=ID).topic_id == ID


def test_other_topic_of_the_same_name_is_refused(make_log: MakeLog) -> None:
    make_log(topic_id=ID).close()
    with pytest.raises(InconsistentTopicIdError):
        make_log(topic_id=bytes(16))


def test_topic_id_may_come_later(make_log: MakeLog) -> None:
    log = make_log()
    assert log.topic_id is None
    log.assign_topic_id(ID)
    log.assign_topic_id(ID)
    with pytest.raises(InconsistentTopicIdError):
        log.assign_topic_id(bytes(16))


def test_names_and_topic_id_are_durable_before_the_first_append() -> None:
    log = MemoryLog.create(TP, now_ms=NOW, topic_id=ID)
    assert log.memory.syncs == []
    append(log, batch())
    assert {"partition.metadata", "leader-epoch-checkpoint", ".", ".."} <= set(log.memory.syncs)
    log.memory.syncs.clear()
    append(log, batch())
    assert log.memory.syncs == []
    log.flush(now_ms=NOW)
    again = log.crash(now_ms=NOW)
    assert again.topic_id == ID
    assert again.latest_epoch == 0


def test_failed_sync_before_the_first_append_takes_the_directory_offline() -> None:
    directory = MemoryDirectory()
    log = MemoryLog.create(TP, now_ms=NOW, topic_id=ID, directory=directory)
    directory.fault = lambda kind, name: errno.EIO if kind == "sync" else None
    with pytest.raises(KafkaStorageError):
        append(log, batch())
    assert log.log_dir.failure is not None
    directory.fault = None
    with pytest.raises(KafkaStorageError):
        append(log, batch())
