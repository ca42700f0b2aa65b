"""Replicas of a cluster of processes: what followers keep, what consumers read from them, what is told of leaders."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition

from kstore.protocol.messages.delete_records import DeleteRecordsRequest
from kstore.protocol.messages.metadata import MetadataRequest
from tests.fix_broker import Client, batch, fetch_request, produce_request, records_in
from tests.judge.kafka import ZooKeeper
from tests.judge.kstore import KstoreServer
from tests.zk.members import (
    Ledger,
    bootstrap,
    consumed,
    create_topic,
    eventually,
    kstore_member,
    log_bytes,
    partition_of,
    wait_for_isr,
    wait_for_leader,
    wait_for_same_logs,
)
from tests.zk.wishes import BROKER, set_configs

pytestmark = pytest.mark.kafka

NONE, NOT_LEADER, FENCED_LEADER_EPOCH = 0, 6, 74

Pair = tuple[KstoreServer, KstoreServer]

RACK_AWARE = "org.apache.kafka.common.replica.RackAwareReplicaSelector"


@pytest.fixture
def pair(zookeeper_of_its_own: ZooKeeper, tmp_path: Path) -> Iterator[Pair]:
    """Brokers 1 and 2, in racks a and b."""
    one, two = (
        kstore_member(
            tmp_path, number, zookeeper_of_its_own, {"broker.rack": rack, "replica.selector.class": RACK_AWARE}
        )
        for number, rack in ((1, "a"), (2, "b"))
    )
    with one, two:
        yield one, two


def checkpoint_of(broker: KstoreServer, topic: str) -> int:
    """The high watermark that is written down; -1 for none."""
    file = broker.log_directory / "replication-offset-checkpoint"
    lines = file.read_text().splitlines()[2:] if file.exists() else []
    return next((int(line.split()[2]) for line in lines if line.split()[:2] == [topic, "0"]), -1)


def test_a_follower_that_was_killed_with_an_old_high_watermark_keeps_all_and_leads(pair: Pair) -> None:
    """The story of leader epochs with processes: nothing is cut but what the leader does not have."""
    one, two = pair
    create_topic(pair, "orders", [[1, 2]])
    ledger = Ledger(pair, "orders")
    ledger.produce(200)
    ledger.flush()
    before = len(log_bytes(two, "orders"))
    two.kill()
    # It is written down every five seconds: what the follower knew last is not in it.
    assert checkpoint_of(two, "orders") < 200
    said = len(two.log_text())
    two.start()
    wait_for_isr(pair, "orders", {1, 2})
    assert "truncating" not in two.log_text()[said:]
    assert len(log_bytes(two, "orders")) >= before
    one.kill()
    wait_for_leader([two], "orders", 2)
    ledger.produce(100)
    ledger.flush()
    assert not ledger.failed
    assert consumed([two], "orders", 300) == ledger.acknowledged
    one.start()
    wait_for_isr(pair, "orders", {1, 2})
    wait_for_same_logs(pair, "orders")


def ask_fetch(
    broker: KstoreServer, topic: str, offset: int, version: int = 16, **fields: Any
) -> tuple[Any, dict[int, Any]]:
    """The answer for the partition, and the leaders that are named."""
    with Client(broker.port) as client:
        key: Any = topic
        if version >= 13:
            wanted = MetadataRequest.MetadataRequestTopic(name=topic)
            (found,) = client.ask(MetadataRequest(topics=[wanted], allow_auto_topic_creation=False), 12).topics
            key = found.topic_id
        request = fetch_request({(key, 0): offset}, max_wait_ms=0, min_bytes=1, max_bytes=1 << 20, **fields)
        answer = client.ask(request, version)
        assert answer.error_code == NONE
        return answer.responses[0].partitions[0], {
            each.node_id: (each.host, each.port, each.rack) for each in answer.node_endpoints
        }


def test_a_consumer_is_sent_to_the_replica_in_its_rack_and_served_there(pair: Pair) -> None:
    one, two = pair
    create_topic(pair, "orders", [[1, 2]])
    ledger = Ledger(pair, "orders")
    ledger.produce(100)
    ledger.flush()

    def sent_to(rack: str) -> int:
        return int(ask_fetch(one, "orders", 0, rack_id=rack)[0].preferred_read_replica)

    eventually(lambda: sent_to("b"), wanted=lambda found: found == 2, what="broker 2 is in rack b")
    assert (sent_to("a"), sent_to("c"), sent_to("")) == (-1, -1, -1)

    # The follower serves what it knows to be committed, and says nothing of other replicas.
    found = eventually(
        lambda: ask_fetch(two, "orders", 0, rack_id="b")[0],
        wanted=lambda part: part.high_watermark == 100,
        what="the follower hears of the high watermark",
    )
    assert (found.error_code, found.preferred_read_replica) == (NONE, -1)
    assert len(list(records_in(found.records))) == 100
    # Who is too old to be sent there is not served there.
    assert ask_fetch(two, "orders", 0, version=10)[0].error_code == NOT_LEADER

    consumer = Consumer(
        {"bootstrap.servers": bootstrap(pair), "group.id": "none", "client.rack": "b", "enable.auto.commit": False}
    )
    consumer.assign([TopicPartition("orders", 0, 0)])
    seen: dict[int, bytes] = {}
    deadline = time.monotonic() + 20
    while len(seen) < 100 and time.monotonic() < deadline:
        for message in consumer.consume(100, 0.5):
            seen[message.offset()] = message.value()
    consumer.close()
    assert seen == ledger.acknowledged


def test_who_asks_the_wrong_broker_hears_who_leads_and_where(pair: Pair) -> None:
    one, two = pair
    create_topic(pair, "orders", [[1, 2]])
    wait_for_isr(pair, "orders", {1, 2})
    wait_for_leader([two], "orders", 1)
    with Client(two.port) as client:
        request = produce_request({("orders", 0): batch(b"x")}, acks=1)
        answer = client.ask(request, 10)
        part = answer.responses[0].partition_responses[0]
        assert (part.error_code, part.current_leader.leader_id) == (NOT_LEADER, 1)
        (endpoint,) = answer.node_endpoints
        assert (endpoint.node_id, endpoint.port, endpoint.rack) == (1, one.port, "a")
        assert client.ask(request, 9).responses[0].partition_responses[0].error_code == NOT_LEADER
    epoch = part.current_leader.leader_epoch
    found, endpoints = ask_fetch(one, "orders", 0, current_leader_epoch=epoch)
    assert (found.error_code, endpoints) == (NONE, {})
    two.kill()
    # Alone in sync broker 1 leads on, in a new epoch.
    wait_for_isr([one], "orders", {1})
    found, endpoints = ask_fetch(one, "orders", 0, current_leader_epoch=epoch)
    assert (found.error_code, found.current_leader.leader_id) == (FENCED_LEADER_EPOCH, 1)
    assert found.current_leader.leader_epoch > epoch
    assert endpoints == {1: ("127.0.0.1", one.port, "a")}


def test_records_are_deleted_when_the_follower_has_let_go_too(pair: Pair) -> None:
    one, two = pair
    create_topic(pair, "orders", [[1, 2]])
    ledger = Ledger(pair, "orders")
    ledger.produce(50)
    ledger.flush()
    wanted = DeleteRecordsRequest.DeleteRecordsPartition(partition_index=0, offset=20)
    request = DeleteRecordsRequest(
        topics=[DeleteRecordsRequest.DeleteRecordsTopic(name="orders", partitions=[wanted])], timeout_ms=20_000
    )
    with Client(one.port) as client:
        (result,) = client.ask(request, 2).topics[0].partitions
    assert (result.error_code, result.low_watermark) == (NONE, 20)
    one.kill()
    wait_for_leader([two], "orders", 2)
    with Client(two.port) as client:
        found = client.fetch("orders", 20)
        # A batch comes whole, with what is deleted of it.
        seen = {each.offset: each.value for each in records_in(found.records) if each.offset >= 20}
    assert found.log_start_offset == 20
    assert seen == {offset: value for offset, value in ledger.acknowledged.items() if offset >= 20}


def test_a_produce_that_waits_is_answered_when_a_follower_goes_and_the_leader_leads_on(pair: Pair) -> None:
    """The controller takes the follower out in a new epoch: the producer was told that nobody leads here any more."""
    one, two = pair
    create_topic(pair, "orders", [[1, 2]])
    wait_for_isr(pair, "orders", {1, 2})
    with Client(one.port) as client:
        assert client.produce("orders", batch(b"a")).error_code == NONE
        two.signal(signal.SIGSTOP)
        try:
            client.socket.settimeout(30)
            client.send(produce_request({("orders", 0): batch(b"b")}, acks=-1, timeout_ms=30_000), 9)
            answer = client.receive().responses[0].partition_responses[0]
        finally:
            two.signal(signal.SIGCONT)
    assert (answer.error_code, answer.base_offset) == (NONE, 1)
    wait_for_isr(pair, "orders", {1, 2})
    wait_for_same_logs(pair, "orders")


@pytest.mark.slow
@pytest.mark.parametrize(("side", "throttled"), [("leader", 0), ("follower", 1)])
def test_a_throttled_replica_comes_back_no_faster_than_it_may_and_holds_up_nobody(
    pair: Pair, side: str, throttled: int
) -> None:
    """By a rate that was set while the brokers ran, and is lifted so."""
    one, two = pair
    limited, rate = pair[throttled], f"{side}_replication_throttled_rate"
    create_topic(pair, "moved", [[1, 2]], **{f"{side}_replication_throttled_replicas": "*"})
    create_topic(pair, "others", [[1, 2]])
    for topic in ("moved", "others"):
        wait_for_isr(pair, topic, {1, 2})
    assert set_configs(limited.port, str(throttled + 1), kind=BROKER, **{rate: "1000"}) == 0
    eventually(limited.log_text, wanted=lambda text: "throttled.rate': '1000'" in text)
    two.kill()
    wait_for_isr([one], "moved", {1})
    ledgers = [Ledger([one], topic) for topic in ("moved", "others")]
    for ledger in ledgers:
        ledger.produce(5000, size=1000)
        ledger.flush()
    two.start()
    wait_for_isr(pair, "others", {1, 2})
    # Both are fetched by the same requests, of which one brings more than the rate: at most replica.fetch.max.bytes.
    held, size = (len(log_bytes(broker, "moved")) for broker in (two, one))
    assert held < size / 2
    assert partition_of([one], "moved").isrs == [1]
    assert set_configs(limited.port, str(throttled + 1), kind=BROKER, **{rate: str(1 << 40)}) == 0
    wait_for_isr(pair, "moved", {1, 2})
    wait_for_same_logs(pair, "moved")
    assert not any(ledger.failed for ledger in ledgers)


def test_the_controller_is_told_of_a_directory_that_failed(zookeeper_of_its_own: ZooKeeper, tmp_path: Path) -> None:
    directories = tmp_path / "one" / "a", tmp_path / "one" / "b"
    small = {"log.segment.bytes": "16384"}
    one = kstore_member(tmp_path, 1, zookeeper_of_its_own, small | {"log.dirs": ",".join(map(str, directories))})
    with one:
        create_topic([one], "orders", [[1], [1]])
        broken = next(path for path in directories if (path / "orders-0").exists())
        # No segment can be made there any more.
        broken.rename(broken.with_name("gone"))
        broken.write_text("no directory")
        with Client(one.port) as producer:
            eventually(
                lambda: producer.produce("orders", batch(bytes(9000)), acks=1).error_code,
                wanted=lambda code: code != NONE,
                what="the directory fails",
            )
        # The controller asks which replicas are left, and has forgotten the news by then.
        eventually(
            lambda: [partition_of([one], "orders", index).leader for index in (0, 1)],
            wanted=lambda leaders: leaders == [-1, 1],
            what="the controller knows which replica is gone",
        )
        logs = (zookeeper_of_its_own.directory / "data" / "version-2").glob("log.*")
        assert any(b'{"version":1,"broker":1,"event":1}' in log.read_bytes() for log in logs)
