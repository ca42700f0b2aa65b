"""A follower's fetches in a session: each names only what has changed, and what goes wrong begins another."""

from pathlib import Path
from typing import Any

import pytest

from kstore.errors import CorruptRecordError, KafkaStorageError
from kstore.log.config import LogConfig
from kstore.log.partition_log import PartitionLog
from kstore.model import TopicPartition
from kstore.protocol.messages.fetch import FetchResponse
from kstore.replica.fetch_session import MAX_EPOCH, Asked, FetchSession
from kstore.replica.fetcher import Fetcher, FetchLimits
from kstore.replica.partition import Partition
from tests.replica.pair import ID, NOW, START, Broker

SESSION = 4711
KEYS = [TopicPartition("orders", number) for number in range(3)]


@pytest.fixture
def partitions(tmp_path: Path) -> Any:
    made = {}
    for key in KEYS:
        directory = tmp_path / f"orders-{key.partition}"
        directory.mkdir()
        log = PartitionLog.open(str(directory), key, LogConfig(), now_ms=NOW, topic_id=ID)
        made[key] = Partition(log)
        made[key].become_follower(leader_id=1, epoch=4)
    yield made
    for partition in made.values():
        partition.log.close()


@pytest.fixture
def fetcher(partitions: Any) -> Fetcher:
    found = Fetcher(1, partitions.get, broker_id=2, limits=FetchLimits())
    for partition in partitions.values():
        found.add(partition)
    return found


def ask(fetcher: Fetcher, monotonic_ms: int = START) -> Any:
    return fetcher.fetch_request(broker_epoch=9, monotonic_ms=monotonic_ms)


def answer(fetcher: Fetcher, *parts: Any, session_id: int = SESSION, error_code: int = 0) -> tuple:
    topics = [FetchResponse.FetchableTopicResponse(topic_id=ID, partitions=list(parts))] if parts else []
    response = FetchResponse(error_code=error_code, session_id=session_id, responses=topics)
    return fetcher.fetched(response, now_ms=NOW, monotonic_ms=START)


def part(index: int, **fields: Any) -> Any:
    return FetchResponse.PartitionData(partition_index=index, **({"records": b"", "log_start_offset": 0} | fields))


def named(request: Any) -> list[int]:
    return [each.partition for topic in request.topics for each in topic.partitions]


def forgotten(request: Any) -> list[int]:
    return [index for topic in request.forgotten_topics_data for index in topic.partitions]


def test_after_the_first_request_only_what_has_changed_is_named(fetcher: Fetcher, tmp_path: Path) -> None:
    first = ask(fetcher)
    assert (first.session_id, first.session_epoch, named(first)) == (0, 0, [0, 1, 2])
    answer(fetcher)
    second = ask(fetcher)
    assert (second.session_id, second.session_epoch, named(second)) == (SESSION, 1, [])
    leader = Broker(tmp_path / "leader", 1)
    leader.lead(4, isr=(1,))
    leader.append(b"a")
    answer(fetcher, part(1, records=leader.content(), high_watermark=1), part(2, high_watermark=0))
    third = ask(fetcher)
    assert (third.session_epoch, named(third), third.topics[0].partitions[0].fetch_offset) == (2, [1], 1)
    assert fetcher.positions[KEYS[1]].lag == 0
    leader.log.close()


def test_a_leader_without_room_for_a_session_is_asked_for_all_each_time(fetcher: Fetcher) -> None:
    ask(fetcher)
    answer(fetcher, session_id=0)
    again = ask(fetcher)
    assert (again.session_id, again.session_epoch, named(again)) == (0, 0, [0, 1, 2])


def test_a_partition_that_goes_is_forgotten_and_one_that_comes_is_named(fetcher: Fetcher, partitions: Any) -> None:
    ask(fetcher)
    answer(fetcher)
    fetcher.remove(KEYS[0])
    assert not fetcher.has_newcomers
    request = ask(fetcher)
    assert (named(request), forgotten(request)) == ([], [0])
    answer(fetcher)
    partitions[KEYS[0]].become_follower(leader_id=1, epoch=5)
    fetcher.add(partitions[KEYS[0]])
    assert fetcher.has_newcomers
    request = ask(fetcher)
    assert (named(request), forgotten(request)) == ([0], [])
    assert request.topics[0].partitions[0].current_leader_epoch == 5
    assert not fetcher.has_newcomers


def test_an_answer_to_what_a_partition_was_before_says_nothing(fetcher: Fetcher, partitions: Any) -> None:
    ask(fetcher)
    partitions[KEYS[0]].become_follower(leader_id=1, epoch=5)
    fetcher.add(partitions[KEYS[0]])
    answer(fetcher, part(0, error_code=74))
    assert KEYS[0] in fetcher.positions


@pytest.mark.parametrize(("code", "closes"), [(70, 0), (71, SESSION)])
def test_a_session_that_the_leader_does_not_know_is_begun_anew_at_once(
    fetcher: Fetcher, code: int, closes: int
) -> None:
    ask(fetcher)
    answer(fetcher)
    ask(fetcher)
    answer(fetcher, session_id=0, error_code=code)
    request = ask(fetcher)
    assert (request.session_id, request.session_epoch, named(request)) == (closes, 0, [0, 1, 2])
    # Not in a circle.
    answer(fetcher, session_id=0, error_code=code)
    assert ask(fetcher) is None
    assert named(ask(fetcher, START + fetcher.limits.backoff_ms)) == [0, 1, 2]


def test_a_request_that_was_broken_off_is_made_again_with_all(fetcher: Fetcher) -> None:
    ask(fetcher)
    answer(fetcher)
    ask(fetcher)
    fetcher.given_up()
    request = ask(fetcher)
    assert (request.session_id, request.session_epoch, named(request)) == (SESSION, 0, [0, 1, 2])


def test_a_partition_that_waits_is_left_out_until_its_time_has_come(fetcher: Fetcher) -> None:
    ask(fetcher)
    answer(fetcher)
    ask(fetcher)
    answer(fetcher, part(1, error_code=75))
    request = ask(fetcher)
    assert (named(request), forgotten(request)) == ([], [1])
    answer(fetcher)
    request = ask(fetcher, START + fetcher.limits.backoff_ms)
    assert (named(request), forgotten(request)) == ([1], [])


def test_the_leader_hears_where_a_followers_log_begins(fetcher: Fetcher, partitions: Any) -> None:
    ask(fetcher)
    answer(fetcher, part(0, high_watermark=0))
    ask(fetcher, START + 1)
    answer(fetcher)
    partitions[KEYS[2]].log.truncate_fully_and_start_at(7, now_ms=NOW)
    request = ask(fetcher, START + 2000)
    assert named(request) == [2]
    assert request.topics[0].partitions[0].log_start_offset == 7


def test_what_fails_for_good_is_given_up_and_the_others_go_on(fetcher: Fetcher, partitions: Any) -> None:
    ask(fetcher)
    partitions[KEYS[0]].log.log_end_offset = 5  # somebody else has written there
    answer(fetcher, part(0, high_watermark=9), part(1, high_watermark=0))
    assert fetcher.failed_partitions == {KEYS[0]}
    assert fetcher.positions.keys() == {KEYS[1], KEYS[2]}
    partitions[KEYS[0]].log.log_end_offset = 0
    fetcher.add(partitions[KEYS[0]])
    assert fetcher.failed_partitions == set()


def test_damage_and_a_full_disk_are_tried_again_and_a_failed_one_is_not(
    fetcher: Fetcher, partitions: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(error: Exception) -> None:
        def append(*_arguments: Any, **_options: Any) -> None:
            raise error

        monkeypatch.setattr(Partition, "append_as_follower", append)
        assert ask(fetcher, START + fetcher.limits.backoff_ms) is not None
        answer(fetcher, part(0, records=b"x"), session_id=0)

    fail(CorruptRecordError("a bit was flipped"))
    assert fetcher.positions[KEYS[0]].delayed_until_ms > START
    fail(KafkaStorageError("no space left"))
    assert KEYS[0] in fetcher.positions
    partitions[KEYS[0]].log.log_dir.failure = "the disk is gone"
    fail(KafkaStorageError("the disk is gone"))
    assert KEYS[0] not in fetcher.positions


@pytest.mark.parametrize("error", [CorruptRecordError("a bit was flipped"), KafkaStorageError("no space left")])
def test_what_failed_half_way_is_asked_for_from_where_the_log_ends_now(
    fetcher: Fetcher, partitions: Any, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """An empty log that began anew where the leader's first batch does (rule 42), and then failed to take it, was asked
    for from its old end: what came then was not for it, and the partition was given up."""
    log = partitions[KEYS[0]].log

    def append(*_arguments: Any, **_options: Any) -> None:
        log.truncate_fully_and_start_at(7, now_ms=NOW)
        raise error

    monkeypatch.setattr(Partition, "append_as_follower", append)
    ask(fetcher)
    answer(fetcher, part(0, records=b"x"))
    monkeypatch.undo()
    ((asked,),) = (topic.partitions for topic in ask(fetcher, START + fetcher.limits.backoff_ms).topics)
    assert (asked.partition, asked.fetch_offset) == (0, 7)
    answer(fetcher, part(0, high_watermark=7))
    assert fetcher.failed_partitions == set()


def test_a_replica_that_may_wait_is_left_out_while_too_much_came(fetcher: Fetcher, partitions: Any) -> None:
    from kstore.replica.throttle import ReplicationQuotas

    quotas = ReplicationQuotas(2)
    quotas.follower.rate = 100
    fetcher._quotas = quotas
    partitions[KEYS[0]].log.update_config(LogConfig(follower_replication_throttled_replicas=("0:2", "0:3")))
    quotas.follower.record(1000, START)
    assert named(ask(fetcher)) == [1, 2]
    # In sync it is never held back.
    fetcher.positions[KEYS[0]].lag = 0
    assert named(ask(fetcher)) == [0, 1, 2]
    answer(fetcher, part(0, high_watermark=5))
    assert fetcher.positions[KEYS[0]].lag == 5
    request = ask(fetcher)
    assert (named(request), forgotten(request)) == ([], [0])
    answer(fetcher)
    assert named(ask(fetcher, START + 60_000)) == [0]


def test_session_epochs_go_around() -> None:
    session = FetchSession()
    session.answered(SESSION)
    session.epoch = MAX_EPOCH
    session.answered(SESSION)
    assert (session.id, session.epoch) == (SESSION, 1)


def test_a_topic_made_anew_is_another_partition_to_the_leader() -> None:
    session = FetchSession()
    old, new = Asked(b"1", 0, 0, -1, 0), Asked(b"2", 0, 0, -1, 0)
    assert session.ask(KEYS[0], old) == (True, None)
    assert session.ask(KEYS[0], old) == (False, None)
    assert session.ask(KEYS[0], new) == (True, old)
    assert session.forget(KEYS[0]) == new
    assert session.forget(KEYS[0]) is None
