"""Fetches of followers: what a leader looks at, and what still reaches them of partitions that rest."""

import asyncio
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kstore._native.connection import PENDING
from kstore.clock import ManualClock
from kstore.cluster.image import BrokerEndpoint, BrokerImage, ClusterImage
from kstore.log.config import LogConfig
from kstore.log.partition_log import PartitionLog
from kstore.model import TopicPartition
from kstore.protocol.messages.fetch import FetchRequest, FetchResponse
from kstore.replica.manager import ReplicaManager
from kstore.replica.partition import Partition
from kstore.replica.read_replica import RACK_AWARE_SELECTOR
from kstore.server.deliver import Deliver
from kstore.server.fetch_session import (
    EVICTION_MS,
    FINAL_EPOCH,
    LOOK_AT_ALL_MS,
    NO_SESSION,
    NOT_COMPARED,
    FetchSessionCache,
)
from kstore.server.handlers import fetch
from kstore.server.purgatory import FetchPurgatory, ProducePurgatory
from kstore.server.tasks import Tasks
from kstore.server.traffic import Traffic
from tests.fix_broker import batch

VERSION = 17
# Length, correlation id, no tagged fields.
HEADERS = 4 + 4 + 1
ID = bytes(15) + b"\x07"
EPOCH = 4
OFFSET_OUT_OF_RANGE, NOT_LEADER_OR_FOLLOWER, FENCED_LEADER_EPOCH = 1, 6, 74
MANY = 12
# With followers that wait for half a second.
NOT_FOLLOWED_MS = 3_000
LAG_MS = 30_000


class Timers:
    def __init__(self) -> None:
        self.callbacks: list[Any] = []

    def __call__(self, delay_ms: int, callback: Any) -> Any:
        self.callbacks.append(callback)

        def cancel() -> None:
            if callback in self.callbacks:  # else it is just called
                self.callbacks.remove(callback)

        return SimpleNamespace(cancel=cancel)


class Leader:
    """Broker 1, which leads all partitions of `orders`; 2 and 3 follow, and are in sync."""

    def __init__(self, directory: Path) -> None:
        self.clock = ManualClock()
        self.timers = Timers()
        logs: Any = SimpleNamespace()
        self.replicas = ReplicaManager(logs, broker_id=1)
        self.partitions = self.replicas.partitions
        self.partitions.update({key: self._open(directory, key) for key in map(place, range(MANY))})
        self.sessions = FetchSessionCache(10)
        self.fetches = FetchPurgatory(self.timers, self.sessions.followers)
        self.deliver = Deliver(ProducePurgatory(self.timers), self.fetches, Coordinators())
        self.context: Any = SimpleNamespace(
            clock=self.clock,
            cluster=self,
            config=SimpleNamespace(
                fetch_max_bytes=1 << 20,
                inter_broker_listener="BROKERS",
                leader_replication_throttled_rate=0,
                replica_fetch_wait_max_ms=500,
                replica_selector_class=None,
            ),
            deliver=self.deliver,
            fetch_sessions=self.sessions,
            node_id=1,
            replicas=self.replicas,
            traffic=Traffic(),
            topics=SimpleNamespace(name_of={ID: "orders"}.get, image=ClusterImage()),
        )
        for number in range(MANY):
            self.lead(number, EPOCH)

    def _open(self, directory: Path, key: TopicPartition) -> Partition:
        path = directory / f"orders-{key.partition}"
        path.mkdir()
        log = PartitionLog.open(str(path), key, LogConfig(), now_ms=self.clock.now_ms(), topic_id=ID)
        return Partition(log)

    def close(self) -> None:
        for partition in self.partitions.values():
            partition.log.close()

    def lead(self, number: int, epoch: int) -> None:
        effects = self.partitions[place(number)].become_leader(
            broker_id=1,
            epoch=epoch,
            replicas=(1, 2, 3),
            isr=frozenset({1, 2, 3}),
            alive={1, 2, 3},
            lag_time_max_ms=LAG_MS,
            monotonic_ms=self.clock.monotonic_ms(),
        )
        self.deliver(effects)
        self.deliver.turn_ended()

    def lagging(self) -> set[int]:
        """Who is now to leave a partition's in-sync replicas."""
        self.fetchers = SimpleNamespace(match_config=lambda: None)
        asyncio.run(Tasks(self.context, None, None).shrink_isrs())  # type: ignore[arg-type]
        states = [partition.leader.isr_state for partition in self.replicas if partition.leader is not None]
        return {replica for each in states if each.proposed is not None for replica in each.isr - each.proposed}

    def append(self, number: int) -> None:
        data = bytearray(batch(b"new"))
        partition = self.partitions[place(number)]
        _, effects = partition.append_as_leader(data, 0, len(data), required_acks=1, now_ms=self.clock.now_ms())
        self.deliver(effects)
        self.deliver.turn_ended()


class Coordinators:
    def elected(self, topic_partition: TopicPartition, leader_epoch: int) -> None: ...
    def renewed(self, topic_partition: TopicPartition, leader_epoch: int) -> None: ...
    def resigned(self, topic_partition: TopicPartition) -> None: ...


class Asking:
    """A request, which the handler answers now or later."""

    api_key = 1
    api_version = VERSION
    correlation_id = 1
    position = 0

    def __init__(self, request: Any) -> None:
        self.buffer = bytearray(request.encode(VERSION))
        self.limit = len(self.buffer)
        self.connection = SimpleNamespace(listener_name="BROKERS", closed=False)
        self.on_gone: Any = None
        self.answer: Any = None

    def complete(self, parts: Any) -> None:
        frame = b"".join(part if isinstance(part, bytes) else part.read() for part in parts)
        self.answer = FetchResponse.decode(frame, HEADERS, len(frame), VERSION)


class Follower:
    def __init__(self, leader: Leader, number: int) -> None:
        self.leader = leader
        self.number = number
        self.epoch = 70
        self.known_epoch = self.last_epoch = EPOCH
        self.session_id = 0
        self.session_epoch = 0
        self.ends = dict.fromkeys(range(MANY), 0)
        self.moved: list[int] = list(range(MANY))

    def ask(self, *, forget: tuple[int, ...] = (), final: bool = False, max_wait_ms: int = 500) -> Asking:
        """Names what it has more of than the last time."""
        parts = [
            FetchRequest.FetchPartition(
                partition=number,
                current_leader_epoch=self.known_epoch,
                fetch_offset=self.ends[number],
                last_fetched_epoch=self.last_epoch if self.ends[number] else -1,
                log_start_offset=0,
                partition_max_bytes=1 << 20,
            )
            for number in self.moved
        ]
        self.moved = []
        asking = Asking(
            FetchRequest(
                replica_state=FetchRequest.ReplicaState(replica_id=self.number, replica_epoch=self.epoch),
                max_wait_ms=max_wait_ms,
                min_bytes=1,
                max_bytes=10 << 20,
                session_id=self.session_id,
                session_epoch=FINAL_EPOCH if final else self.session_epoch,
                topics=[FetchRequest.FetchTopic(topic_id=ID, partitions=parts)] if parts else [],
                forgotten_topics_data=[FetchRequest.ForgottenTopic(topic_id=ID, partitions=list(forget))]
                if forget
                else [],
            )
        )
        answered = fetch.handle(self.leader.context, asking)  # type: ignore[arg-type]
        self.session_epoch += 1
        if answered is not PENDING:
            asking.complete(answered)
        self.leader.deliver.turn_ended()
        return asking

    def told(self, asking: Asking) -> dict[int, Any]:
        """What the answer says of each partition; records are taken over."""
        assert asking.answer is not None, "the request waits"
        assert asking.answer.error_code == 0
        self.session_id = asking.answer.session_id
        found = {each.partition_index: each for topic in asking.answer.responses for each in topic.partitions}
        for number, each in found.items():
            if each.records:
                self.ends[number] += 1
                self.moved.append(number)
        return found

    def fetch(self) -> dict[int, Any]:
        """One that does not wait."""
        return self.told(self.ask(max_wait_ms=0))


def place(number: int) -> TopicPartition:
    return TopicPartition("orders", number)


@pytest.fixture
def leader(tmp_path: Path) -> Any:
    found = Leader(tmp_path)
    yield found
    found.close()


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The partitions that were looked at."""
    found: list[int] = []
    is_idle = fetch.is_idle

    def noted(partition: Any, want: Any, *rest: Any) -> bool:
        found.append(want.partition)
        return is_idle(partition, want, *rest)

    monkeypatch.setattr(fetch, "is_idle", noted)
    return found


def settled(leader: Leader, number: int) -> Follower:
    """A follower that knows all there is."""
    follower = Follower(leader, number)
    assert len(follower.fetch()) == MANY
    assert follower.fetch() == {}
    return follower


def test_who_has_all_there_is_of_a_partition_costs_nothing_there(leader: Leader, looks: list[int]) -> None:
    follower = settled(leader, 2)
    looks.clear()
    leader.append(7)
    assert list(follower.fetch()) == [7]
    assert list(follower.fetch()) == []
    leader.append(7)
    assert list(follower.fetch()) == [7]
    assert set(looks) == {7}


def test_records_wake_a_fetch_whose_partitions_rest(leader: Leader) -> None:
    follower = settled(leader, 2)
    asking = follower.ask()
    assert asking.answer is None
    assert len(leader.fetches) == 1
    leader.append(7)
    assert list(follower.told(asking)) == [7]
    assert len(leader.fetches) == 0
    assert leader.timers.callbacks == []


def test_a_fetch_is_woken_once_where_it_waited_before(leader: Leader) -> None:
    follower = settled(leader, 2)
    for number in (7, 8, 7):
        asking = follower.ask()
        assert asking.answer is None
        leader.append(number)
        assert list(follower.told(asking)) == [number]


def test_a_fetch_that_has_waited_says_what_it_said_when_it_came(leader: Leader) -> None:
    """Not that its follower has asked again (rule 19)."""
    follower = settled(leader, 2)
    follower.moved = [7]
    asking, asked_ms = follower.ask(), leader.clock.monotonic_ms()
    leader.clock.advance(400)
    leader.append(7)
    assert list(follower.told(asking)) == [7]
    partition = leader.partitions[place(7)]
    assert partition.leader is not None
    assert partition.leader.followers[2].last_fetch_ms == asked_ms


def test_a_fetch_that_nothing_came_for_is_answered_at_its_time(leader: Leader) -> None:
    follower = settled(leader, 2)
    asking = follower.ask()
    leader.timers.callbacks.pop()()
    assert follower.told(asking) == {}
    assert len(leader.fetches) == 0


def test_a_high_watermark_reaches_who_has_the_records_already(leader: Leader) -> None:
    first, second = settled(leader, 2), settled(leader, 3)
    leader.append(7)
    assert list(first.fetch()) == list(second.fetch()) == [7]
    assert first.fetch() == {}
    # With this one all have it.
    assert {number: each.high_watermark for number, each in second.fetch().items()} == {7: 1}
    assert {number: each.high_watermark for number, each in first.fetch().items()} == {7: 1}
    assert (first.fetch(), second.fetch()) == ({}, {})


def test_a_log_start_that_a_client_moved_is_told_by_the_next_answer(leader: Leader) -> None:
    first, second = settled(leader, 2), settled(leader, 3)
    leader.append(7)
    for _ in range(3):
        first.fetch(), second.fetch()
    leader.deliver(leader.partitions[place(7)].delete_records(1)[1])
    assert {number: each.log_start_offset for number, each in first.fetch().items()} == {7: 1}


def test_a_log_start_that_retention_moved_is_told_soon(leader: Leader) -> None:
    first, second = settled(leader, 2), settled(leader, 3)
    leader.append(7)
    for _ in range(3):
        first.fetch(), second.fetch()
    leader.partitions[place(7)].log.maybe_increment_log_start_offset(1)
    leader.clock.advance(LOOK_AT_ALL_MS)
    assert {number: each.log_start_offset for number, each in first.fetch().items()} == {7: 1}


# Times that last, when the clock is set


@pytest.fixture(params=[-3_600_000, 3_600_000], ids=["back", "forward"])
def step_ms(request: pytest.FixtureRequest) -> int:
    """By how much the clock is set."""
    return int(request.param)


def test_a_clock_that_is_set_throws_nobody_out_and_keeps_nobody_in(leader: Leader, step_ms: int) -> None:
    first, _ = settled(leader, 2), settled(leader, 3)
    leader.append(7)
    leader.clock.step_wall(step_ms)
    assert leader.lagging() == set()
    leader.clock.advance(LAG_MS)
    for _ in range(2):
        first.fetch()
    assert leader.lagging() == set()
    leader.clock.advance(1)
    assert leader.lagging() == {3}


def test_a_clock_that_is_set_neither_puts_a_look_at_all_off_nor_brings_it_on(
    leader: Leader, looks: list[int], step_ms: int
) -> None:
    follower = settled(leader, 2)
    looks.clear()
    leader.clock.step_wall(step_ms)
    leader.clock.advance(LOOK_AT_ALL_MS - 1)
    follower.fetch()
    assert looks == []
    leader.clock.advance(1)
    follower.fetch()
    assert len(looks) == MANY


def test_a_clock_that_is_set_makes_no_session_older_or_younger(leader: Leader, step_ms: int) -> None:
    leader.sessions.max_sessions = 1
    kept = settled(leader, 2).session_id
    leader.clock.step_wall(step_ms)
    leader.clock.advance(EVICTION_MS)
    other = Follower(leader, 3)
    other.fetch()
    assert (other.session_id, list(leader.sessions.sessions)) == (NO_SESSION, [kept])
    leader.clock.advance(1)
    other.session_epoch, other.moved = 0, list(range(MANY))
    other.fetch()
    assert list(leader.sessions.sessions) == [other.session_id]


def test_a_clock_that_is_set_makes_a_throttle_no_tighter_and_no_looser(leader: Leader, step_ms: int) -> None:
    follower = settled(leader, 2)
    partition = leader.partitions[place(7)]
    assert partition.leader is not None
    partition.leader.isr = frozenset({1, 3})
    partition.log.update_config(LogConfig(leader_replication_throttled_replicas=("*",)))
    leader.context.config.leader_replication_throttled_rate = 10
    leader.append(7)
    assert follower.fetch()[7].records
    leader.append(7)
    leader.clock.step_wall(step_ms)
    assert not any(each.records for each in follower.fetch().values())
    leader.clock.advance(seconds=12)
    assert follower.fetch()[7].records


def test_a_follower_whose_partitions_rest_stays_in_sync(leader: Leader) -> None:
    follower = settled(leader, 2)
    for _ in range(20 * LAG_MS // 10_000):
        leader.clock.advance(500)
        follower.fetch()
    for _ in range(2):  # others' news in between
        leader.clock.advance(LOOK_AT_ALL_MS - 1)
        leader.append(7)
        follower.fetch()
    # From here on it asks for nothing.
    leader.append(8)
    partition = leader.partitions[place(8)]
    assert partition.leader is not None
    leader.clock.advance(LAG_MS - 2 * LOOK_AT_ALL_MS)
    partition.maybe_shrink_isr(leader.clock.monotonic_ms())
    assert partition.leader.isr_state.proposed == frozenset({1, 2})  # 3 has never fetched
    leader.clock.advance(2 * LOOK_AT_ALL_MS + 1)
    partition.leader.isr = frozenset({1, 2})
    partition.maybe_shrink_isr(leader.clock.monotonic_ms())
    assert partition.leader.isr_state.proposed == frozenset({1})


def test_a_new_epoch_is_told_to_a_fetch_whose_partitions_rest(leader: Leader) -> None:
    follower = settled(leader, 2)
    asking = follower.ask()
    leader.lead(7, EPOCH + 1)
    told = follower.told(asking)
    assert {number: each.error_code for number, each in told.items()} == {7: FENCED_LEADER_EPOCH}


def test_a_partition_that_is_gone_is_told_to_a_fetch_whose_partitions_rest(leader: Leader) -> None:
    follower = settled(leader, 2)
    asking = follower.ask()
    effects = leader.partitions[place(7)].resign()
    leader.partitions.pop(place(7)).log.close()
    leader.deliver(effects)
    assert {number: each.error_code for number, each in follower.told(asking).items()} == {7: 3}


def test_a_broker_epoch_that_has_changed_is_known_of_all_partitions_at_once(leader: Leader) -> None:
    follower = settled(leader, 2)
    follower.epoch += 1
    follower.fetch()
    for partition in leader.partitions.values():
        assert partition.leader is not None
        assert partition.leader.followers[2].broker_epoch == follower.epoch


def test_who_has_not_all_is_looked_at_again(leader: Leader, looks: list[int]) -> None:
    follower = settled(leader, 2)
    leader.append(7)
    looks.clear()
    asking = follower.ask(max_wait_ms=0)
    assert asking.answer is not None  # and is lost
    follower.session_epoch, follower.moved = 0, list(range(MANY))
    assert list(follower.fetch()) == list(range(MANY))
    assert follower.ends[7] == 1


def heard_of(leader: Leader) -> set[int]:
    return {key.partition for key in leader.sessions.followers}


def test_a_session_hears_of_its_own_partitions_as_long_as_it_lives(leader: Leader) -> None:
    follower = settled(leader, 2)
    assert heard_of(leader) == set(range(MANY))
    follower.told(follower.ask(forget=(3, 4), max_wait_ms=0))
    assert heard_of(leader) == set(range(MANY)) - {3, 4}
    follower.ask(final=True, max_wait_ms=0)
    assert heard_of(leader) == set()
    assert leader.sessions.sessions == {}


def test_a_session_that_a_new_one_takes_the_place_of_hears_nothing(leader: Leader) -> None:
    follower = settled(leader, 2)
    follower.session_epoch, follower.moved = 0, [5]
    follower.fetch()
    assert follower.fetch() == {}
    assert heard_of(leader) == {5}
    leader.append(7)
    assert follower.fetch() == {}


def test_a_fetch_whose_session_has_ended_leaves_nothing(leader: Leader) -> None:
    follower = settled(leader, 2)
    leader.append(7)
    follower.fetch()
    asking = follower.ask()
    assert asking.answer is None
    again = Follower(leader, 2)
    again.session_id, again.moved = follower.session_id, [5]
    again.ends[5] = 0
    again.fetch()
    leader.timers.callbacks.pop()()
    assert asking.answer is not None
    assert heard_of(leader) <= {5}


def test_a_fetch_whose_follower_has_gone_waits_no_longer(leader: Leader) -> None:
    follower = settled(leader, 2)
    asking = follower.ask()
    assert asking.on_gone is not None
    asking.on_gone()
    assert len(leader.fetches) == 0
    assert leader.timers.callbacks == []
    leader.append(7)
    assert asking.answer is None


def test_a_partition_rests_whichever_epoch_its_last_record_is_of(leader: Leader, looks: list[int]) -> None:
    """An empty log has none, and after an election it is an earlier one: such partitions were read in full by each
    fetch."""
    follower = settled(leader, 2)
    leader.append(7)
    follower.fetch(), follower.fetch()
    for number in range(MANY):
        leader.lead(number, EPOCH + 1)
    follower.known_epoch, follower.moved = EPOCH + 1, list(range(MANY))
    follower.fetch(), follower.fetch()
    looks.clear()
    assert follower.fetch() == {}
    assert looks == []


def test_a_follower_that_asks_with_another_epoch_is_compared_again(leader: Leader) -> None:
    """At the end of our log, as before, but with a record of an epoch that we have none of (rule 5)."""
    first, second = settled(leader, 2), settled(leader, 3)
    leader.append(7)
    for _ in range(3):
        first.fetch(), second.fetch()
    first.last_epoch, first.moved = EPOCH - 1, [7]
    assert {number: each.diverging_epoch.end_offset for number, each in first.fetch().items()} == {7: 0}


# What lets a partition rest, each untrue once.
NEWS: dict[str, Callable[[Leader, Partition, Any, Any], object]] = {
    "it is led no more": lambda leader, partition, want, asked: partition.resign(),
    "there are records": lambda leader, partition, want, asked: leader.append(7),
    "the epoch is not ours": lambda leader, partition, want, asked: setattr(want, "current_leader_epoch", EPOCH - 1),
    "the watermark is not told": lambda leader, partition, want, asked: setattr(want, "told_high_watermark", -1),
    "the log's start is not told": lambda leader, partition, want, asked: setattr(want, "told_log_start", -1),
    "it is not in sync": lambda leader, partition, want, asked: setattr(partition.leader, "isr", frozenset({1, 3})),
    "its end is not known": lambda leader, partition, want, asked: partition.leader.remote_end_offsets.update({2: -1}),
    "it began anew": lambda leader, partition, want, asked: setattr(asked, "replica_epoch", 71),
    "its log's start is not known": lambda leader, partition, want, asked: setattr(want, "log_start_offset", 3),
    "the logs are not compared": lambda leader, partition, want, asked: setattr(want, "agreed_epoch", NOT_COMPARED),
    "it is another topic": lambda leader, partition, want, asked: setattr(want, "topic_id", bytes(16)),
    "the disk is gone": lambda leader, partition, want, asked: setattr(partition.log.log_dir, "failure", "gone"),
}


@pytest.mark.parametrize("news", NEWS)
def test_a_partition_rests_only_where_nothing_is_to_be_told(leader: Leader, news: str) -> None:
    settled(leader, 2)
    ((_, session),) = leader.sessions.sessions.items()
    partition, want = leader.partitions[place(7)], session.partitions[ID, 7]
    asked = SimpleNamespace(replica_id=2, replica_epoch=70)
    assert fetch.is_idle(partition, want, asked, -1)
    NEWS[news](leader, partition, want, asked)
    assert not fetch.is_idle(partition, want, asked, -1)


def test_who_is_out_of_sync_gets_nothing_while_too_much_was_sent_and_holds_up_no_other_partition(
    leader: Leader,
) -> None:
    follower = settled(leader, 2)
    partition = leader.partitions[place(7)]
    partition.log.update_config(LogConfig(leader_replication_throttled_replicas=("7:1",)))
    leader.context.config.leader_replication_throttled_rate = 100
    leader.context.replicas.quotas.leader.record(10_000, leader.clock.monotonic_ms())
    leader.append(7)
    assert follower.fetch()[7].records, "in sync it is never held back"
    assert partition.leader is not None
    partition.leader.isr = frozenset({1, 3})
    leader.append(7)
    leader.append(8)
    assert [number for number, each in follower.fetch().items() if each.records] == [8]
    # What it may not have wakes no fetch that waits either.
    asking = follower.ask()
    assert asking.answer is None
    leader.append(7)
    assert asking.answer is None
    leader.clock.advance(60_000)
    leader.append(7)
    assert follower.told(asking)[7].records


# --- consumers ---


class Reader:
    """A consumer in rack b, in a session, which is told of replicas near to it."""

    def __init__(self, leader: Leader) -> None:
        self.leader = leader
        self.session_id = self.session_epoch = 0
        leader.context.config.replica_selector_class = RACK_AWARE_SELECTOR
        leader.context.traffic = defaultdict(lambda: SimpleNamespace(fetches=0, failed_fetches=0, bytes_out=0))

    def fetch(self) -> dict[int, int]:
        """Which replica each partition that is told of is to be read from."""
        parts = [FetchRequest.FetchPartition(partition=7, fetch_offset=0, partition_max_bytes=1 << 20)]
        topics = [FetchRequest.FetchTopic(topic_id=ID, partitions=parts)] if self.session_id == 0 else []
        asking = Asking(
            FetchRequest(
                max_wait_ms=0,
                min_bytes=1,
                max_bytes=10 << 20,
                session_id=self.session_id,
                session_epoch=self.session_epoch,
                topics=topics,
                rack_id="b",
            )
        )
        asking.complete(fetch.handle(self.leader.context, asking))  # type: ignore[arg-type]
        self.session_id, self.session_epoch = asking.answer.session_id, self.session_epoch + 1
        return {
            each.partition_index: each.preferred_read_replica
            for topic in asking.answer.responses
            for each in topic.partitions
        }


def in_racks(**racks: str) -> ClusterImage:
    """`b2="a"` is broker 2 in rack a."""
    endpoints = (BrokerEndpoint("BROKERS", "h", 9092),)
    return ClusterImage(
        brokers={int(name[1:]): BrokerImage(int(name[1:]), endpoints, rack) for name, rack in racks.items()}
    )


def test_a_reader_in_a_session_hears_each_time_which_replica_is_near(leader: Leader) -> None:
    """Nothing else of the partition has changed: it was left out of the answer, and the reader had nothing of it from
    anybody."""
    settled(leader, 2), settled(leader, 3)
    reader = Reader(leader)
    leader.context.topics.image = in_racks(b1="a", b2="b", b3="a")
    assert [reader.fetch() for _ in range(3)] == [{7: 2}] * 3
    leader.context.topics.image = in_racks(b1="a", b2="a", b3="b")
    assert [reader.fetch() for _ in range(2)] == [{7: 3}] * 2


# --- a leader that was replaced and has not heard of it ---


def consumer_is_told(leader: Leader, number: int, offset: int) -> int:
    """The error code of a fetch by a client that knows of no leader epochs."""
    wanted = FetchRequest.FetchPartition(partition=number, fetch_offset=offset, partition_max_bytes=1 << 20)
    topic = FetchRequest.FetchTopic(topic_id=ID, partitions=[wanted])
    asking = Asking(
        FetchRequest(max_wait_ms=0, min_bytes=1, max_bytes=1 << 20, session_epoch=FINAL_EPOCH, topics=[topic])
    )
    asking.complete(fetch.handle(leader.context, asking))  # type: ignore[arg-type]
    found: int = asking.answer.responses[0].partitions[0].error_code
    return found


def test_a_paused_leader_does_not_send_a_consumer_back_that_the_next_one_has_served(leader: Leader) -> None:
    """It asked for an offset that the paused one did not have, was told that it is out of range, and began anew."""
    follower = settled(leader, 2)
    leader.append(7)
    follower.fetch()
    follower.fetch()
    assert consumer_is_told(leader, 7, 9) == OFFSET_OUT_OF_RANGE
    before = follower.ask(max_wait_ms=0)
    leader.clock.advance(NOT_FOLLOWED_MS + 1)
    assert consumer_is_told(leader, 7, 9) == NOT_LEADER_OR_FOLLOWER
    # One that came before the pause, and is read after it, says nothing of now.
    follower.told(before)
    follower.fetch()
    assert consumer_is_told(leader, 7, 9) == NOT_LEADER_OR_FOLLOWER
    # What it has can be read all the same, and what was deleted is out of range.
    assert consumer_is_told(leader, 7, 1) == 0
    follower.fetch()
    leader.clock.advance(LOOK_AT_ALL_MS)
    follower.fetch()
    assert consumer_is_told(leader, 7, 9) == OFFSET_OUT_OF_RANGE


def test_followers_that_wait_long_are_followers_all_the_same(leader: Leader) -> None:
    """Nobody would ever have heard that an offset is out of range."""
    leader.context.config.replica_fetch_wait_max_ms = 5000
    follower = settled(leader, 2)
    for _ in range(3):
        leader.clock.advance(5000)
        follower.fetch()
    assert consumer_is_told(leader, 7, 9) == OFFSET_OUT_OF_RANGE


def test_a_leader_alone_in_sync_knows_its_end(leader: Leader) -> None:
    partition = leader.partitions[place(7)]
    assert partition.leader is not None
    assert consumer_is_told(leader, 7, 9) == NOT_LEADER_OR_FOLLOWER
    partition.leader.isr = frozenset({1})
    assert consumer_is_told(leader, 7, 9) == OFFSET_OUT_OF_RANGE
