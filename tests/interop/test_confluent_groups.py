"""confluent-kafka's consumers in groups: every assignor, cooperative and static members, commits of every kind; and its
admin client's view of groups."""

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Self

import pytest
from confluent_kafka import (
    Consumer,
    ConsumerGroupState,
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, NewPartitions

from tests.interop import conftest

TIMEOUT_S = 40


def produce(bootstrap: str, topic: str, values: Iterable[str], partitions: int = 1) -> None:
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 5})
    for number, value in enumerate(values):
        producer.produce(topic, value, partition=number % partitions)
    assert producer.flush(60) == 0


class Member:
    """A consumer that polls in a thread of its own, and remembers what it read and was given."""

    def __init__(self, bootstrap: str, group: str, *topics: str, **settings: Any) -> None:
        defaults = {
            "bootstrap.servers": bootstrap,
            "group.id": group,
            "auto.offset.reset": "earliest",
            "session.timeout.ms": 10_000,
            "heartbeat.interval.ms": 200,
            "topic.metadata.refresh.interval.ms": 500,
        }
        self.consumer = Consumer(defaults | settings)
        self.read: list[Message] = []
        self.assigned: set[tuple[str, int]] = set()
        self.assignments = 0
        self.lost: list[tuple[str, int]] = []
        self.errors: list[KafkaError] = []
        self._leaves = threading.Event()
        self._wishes: queue.Queue[tuple[Callable[[Consumer], Any], queue.Queue[Any]]] = queue.Queue()
        cooperative = settings.get("partition.assignment.strategy") == "cooperative-sticky"

        def given(_: Consumer, partitions: list[TopicPartition]) -> None:
            names = {(each.topic, each.partition) for each in partitions}
            self.assigned = self.assigned | names if cooperative else names
            self.assignments += 1

        def taken(_: Consumer, partitions: list[TopicPartition]) -> None:
            names = {(each.topic, each.partition) for each in partitions}
            self.assigned -= names
            self.lost += sorted(names)

        self.consumer.subscribe(list(topics), on_assign=given, on_revoke=taken)
        self._thread = threading.Thread(target=self._poll, daemon=True)
        self._thread.start()

    def _poll(self) -> None:
        while not self._leaves.is_set():
            with contextlib.suppress(queue.Empty):
                wish, done = self._wishes.get_nowait()
                done.put(wish(self.consumer))
            message = self.consumer.poll(0.05)
            if message is None:
                continue
            error = message.error()
            if error is None:
                self.read.append(message)
            else:
                self.errors.append(error)

    def do(self, wish: Callable[[Consumer], Any]) -> Any:
        """What `wish` gives, called between two polls: librdkafka's calls that wait do not go beside a poll."""
        done: queue.Queue[Any] = queue.Queue()
        self._wishes.put((wish, done))
        return done.get(timeout=TIMEOUT_S)

    @property
    def values(self) -> list[str]:
        return [(message.value() or b"").decode() for message in self.read]

    def leave(self) -> None:
        if self._thread.is_alive():
            self._leaves.set()
            self._thread.join(TIMEOUT_S)
            self.consumer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()


def wait_for(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


def committed(bootstrap: str, group: str, *partitions: tuple[str, int]) -> list[int]:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": group})
    found = consumer.committed([TopicPartition(*each) for each in partitions], timeout=30)
    consumer.close()
    return [each.offset for each in found]


def begin_at_zero(bootstrap: str, group: str, *partitions: tuple[str, int]) -> None:
    """Commits where the group begins. librdkafka would look for it otherwise, and where a rebalance comes between its
    question and the answer it asks again for a partition that it has given back; when it gets that one later, the
    belated answer wins over what was committed (librdkafka 2.x)."""
    wanted = ConsumerGroupTopicPartitions(group, [TopicPartition(*each, 0) for each in partitions])
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.alter_consumer_group_offsets([wanted])[group].result(30)


@pytest.mark.parametrize("assignor", ["range", "roundrobin", "cooperative-sticky"])
def test_members_share_partitions_and_take_over(
    bootstrap: str, new_topic: conftest.NewTopic, new_group: conftest.NewGroup, assignor: str
) -> None:
    topic, group = new_topic(partitions=6), new_group()
    settings = {"partition.assignment.strategy": assignor}
    everything = {(topic, index) for index in range(6)}
    begin_at_zero(bootstrap, group, *everything)
    with (
        Member(bootstrap, group, topic, **settings) as one,
        Member(bootstrap, group, topic, **settings) as two,
        Member(bootstrap, group, topic, **settings) as three,
    ):
        members = (one, two, three)
        wait_for(
            lambda: (
                all(len(member.assigned) == 2 for member in members)
                and one.assigned | two.assigned | three.assigned == everything
            ),
            "each has two",
        )
        produce(bootstrap, topic, map(str, range(60)), partitions=6)
        wait_for(lambda: sum(len(member.read) for member in members) == 60, "all is read")
        assert sorted(int(value) for member in members for value in member.values) == list(range(60))
        three.leave()
        wait_for(lambda: one.assigned | two.assigned == everything, "the others take over")
        assert not one.assigned & two.assigned
        produce(bootstrap, topic, map(str, range(60, 90)), partitions=6)
        wait_for(lambda: len(one.read) + len(two.read) + len(three.read) >= 90, "the rest is read")
        assert sorted(int(value) for member in members for value in member.values) == list(range(90))
        assert not [error for member in members for error in member.errors]


def test_auto_commit_is_where_the_next_member_begins(
    bootstrap: str, new_topic: conftest.NewTopic, new_group: conftest.NewGroup
) -> None:
    topic, group = new_topic(), new_group()
    produce(bootstrap, topic, "abc")
    with Member(bootstrap, group, topic, **{"auto.commit.interval.ms": 100}) as member:
        wait_for(lambda: member.values == ["a", "b", "c"], "the first part is read")
        wait_for(lambda: committed(bootstrap, group, (topic, 0)) == [3], "it is committed while the member lives")
    produce(bootstrap, topic, "de")
    with Member(bootstrap, group, topic) as member:
        wait_for(lambda: len(member.read) == 2, "the second part is read")
        assert member.values == ["d", "e"]


def test_what_is_not_committed_is_read_again(
    bootstrap: str, new_topic: conftest.NewTopic, new_group: conftest.NewGroup
) -> None:
    topic, group = new_topic(), new_group()
    produce(bootstrap, topic, "abc")
    manual = {"enable.auto.commit": False}
    with Member(bootstrap, group, topic, **manual) as member:
        wait_for(lambda: len(member.read) == 3, "all is read")
        offsets = [TopicPartition(topic, 0, 1, "by hand")]
        (told,) = member.do(lambda consumer: consumer.commit(offsets=offsets, asynchronous=False))
        assert (told.error, told.offset) == (None, 1)
    with Member(bootstrap, group, topic, **manual) as member:
        wait_for(lambda: member.values == ["b", "c"], "only what was not committed comes again")
        (told,) = member.do(lambda consumer: consumer.committed([TopicPartition(topic, 0)], timeout=30))
        assert (told.offset, told.metadata) == (1, "by hand")


def test_commits_are_told_to_who_waits_for_them_and_to_who_does_not(
    bootstrap: str, new_topic: conftest.NewTopic, new_group: conftest.NewGroup
) -> None:
    topic, group = new_topic(), new_group()
    produce(bootstrap, topic, map(str, range(20)))
    told: list[tuple[Any, list[int]]] = []
    settings = {
        "enable.auto.commit": False,
        "on_commit": lambda error, offsets: told.append((error, [o.offset for o in offsets])),
    }
    with Member(bootstrap, group, topic, **settings) as member:
        wait_for(lambda: len(member.read) == 20, "all is read")
        member.do(lambda consumer: [consumer.commit(message=each, asynchronous=True) for each in member.read[:10]])
        wait_for(lambda: len(told) == 10, "every commit is told")
        assert told == [(None, [number]) for number in range(1, 11)]
    assert committed(bootstrap, group, (topic, 0)) == [10]


def test_a_static_member_that_comes_back_moves_nothing(
    bootstrap: str, new_topic: conftest.NewTopic, new_group: conftest.NewGroup
) -> None:
    topic, group = new_topic(partitions=4), new_group()
    begin_at_zero(bootstrap, group, *((topic, index) for index in range(4)))
    with (
        Member(bootstrap, group, topic, **{"group.instance.id": "one"}) as one,
        Member(bootstrap, group, topic, **{"group.instance.id": "two"}) as two,
    ):
        wait_for(lambda: len(one.assigned) == len(two.assigned) == 2, "two each")
        had, seen = set(two.assigned), one.assignments
        two.leave()
        with Member(bootstrap, group, topic, **{"group.instance.id": "two"}) as again:
            wait_for(lambda: again.assigned == had, "the partitions of before")
            produce(bootstrap, topic, map(str, range(40)), partitions=4)
            wait_for(lambda: len(one.read) + len(again.read) == 40, "both read on")
            assert one.assignments == seen


def test_a_second_of_the_same_instance_fences_the_first(
    bootstrap: str, new_topic: conftest.NewTopic, new_group: conftest.NewGroup
) -> None:
    topic, group = new_topic(), new_group()
    with Member(bootstrap, group, topic, **{"group.instance.id": "same"}) as first:
        wait_for(lambda: bool(first.assigned), "the first has it")
        with Member(bootstrap, group, topic, **{"group.instance.id": "same"}) as second:
            wait_for(lambda: bool(second.assigned), "the second has it")
            wait_for(lambda: bool(first.errors), "the first is told")
            assert {error.code() for error in first.errors} == {KafkaError._FATAL}


def test_partitions_that_are_added_are_read_too(
    bootstrap: str, new_topic: conftest.NewTopic, new_group: conftest.NewGroup
) -> None:
    topic, group = new_topic(), new_group()
    with Member(bootstrap, group, topic) as member:
        wait_for(lambda: member.assigned == {(topic, 0)}, "the one partition")
        admin = AdminClient({"bootstrap.servers": bootstrap})
        admin.create_partitions([NewPartitions(topic, 3)])[topic].result(30)
        wait_for(lambda: len(member.assigned) == 3, "the new ones too")


# What the admin client sees and does


@pytest.fixture
def admin(bootstrap: str) -> AdminClient:
    return AdminClient({"bootstrap.servers": bootstrap})


def test_groups_are_listed_and_described(
    bootstrap: str, admin: AdminClient, new_topic: conftest.NewTopic, new_group: conftest.NewGroup
) -> None:
    topic, group = new_topic(partitions=2), new_group()
    with Member(bootstrap, group, topic, **{"client.id": "its-client"}) as member:
        wait_for(lambda: len(member.assigned) == 2, "all is assigned")
        listed = {each.group_id: each for each in admin.list_consumer_groups().result(30).valid}
        assert listed[group].state == ConsumerGroupState.STABLE
        described = admin.describe_consumer_groups([group])[group].result(30)
        assert (described.state, described.partition_assignor) == (ConsumerGroupState.STABLE, "range")
        (told,) = described.members
        assert (told.client_id, told.host) == ("its-client", "/127.0.0.1")
        assert {(each.topic, each.partition) for each in told.assignment.topic_partitions} == member.assigned
    empty = admin.list_consumer_groups(states={ConsumerGroupState.EMPTY}).result(30).valid
    assert group in {each.group_id for each in empty}


def test_offsets_of_a_group_are_shown_changed_and_deleted(
    bootstrap: str, admin: AdminClient, new_topic: conftest.NewTopic, new_group: conftest.NewGroup
) -> None:
    topic, group = new_topic(partitions=2), new_group()
    wanted = ConsumerGroupTopicPartitions(group, [TopicPartition(topic, 0, 7), TopicPartition(topic, 1, 8)])
    admin.alter_consumer_group_offsets([wanted])[group].result(30)
    shown = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)])[group].result(30)
    assert {(each.partition, each.offset) for each in shown.topic_partitions} == {(0, 7), (1, 8)}
    admin.delete_consumer_groups([group])[group].result(30)
    assert committed(bootstrap, group, (topic, 0)) == [-1001]
    with pytest.raises(KafkaException) as refused:
        admin.delete_consumer_groups([group])[group].result(30)
    assert refused.value.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND


def test_a_group_with_members_is_not_deleted(
    bootstrap: str, admin: AdminClient, new_topic: conftest.NewTopic, new_group: conftest.NewGroup
) -> None:
    topic, group = new_topic(), new_group()
    with Member(bootstrap, group, topic) as member:
        wait_for(lambda: bool(member.assigned), "it is assigned")
        with pytest.raises(KafkaException) as refused:
            admin.delete_consumer_groups([group])[group].result(30)
        assert refused.value.args[0].code() == KafkaError.NON_EMPTY_GROUP
