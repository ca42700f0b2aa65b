"""Each option of producers, consumers and topics does what Kafka's documentation says of it: Kafka's own Java clients,
3.9.1 and 4.3.0, against a broker behind a relay that sees what goes over the wire, and may hold or lose it.

ProducerOptions.java and ConsumerOptions.java throw where an option has no effect; Relay.java is what stands between.
Options whose effect other files show are not repeated here: group.instance.id in test_confluent_groups,
partitions that a group reads as they are added there, too, LAG as the tools describe it in test_group_tools.
"""

import ast
import shutil
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.fix_kafka import SHARED
from tests.golden.golden import golden
from tests.interop.conftest import Broker, broker_apart
from tests.judge import log_file
from tests.judge.java import QUICK_JVM, free_port, java_command
from tests.judge.tools import KafkaTools
from tests.judge.topics import create_topic
from tests.judge.wire_client import CODECS, WireClient

pytestmark = pytest.mark.kafka


class Relayed(NamedTuple):
    """A broker that tells its clients to come to `relay_port`, where each scenario puts a relay of its own."""

    broker: Broker
    relay_port: int

    @property
    def words(self) -> tuple[int, int]:
        return self.relay_port, self.broker.port

    def new_topic(self) -> str:
        name = f"topic-{uuid.uuid4().hex[:12]}"
        with WireClient(self.broker.port) as client:
            create_topic(client, name)
        return name


def relayed_broker(directory: Path) -> Relayed:
    port = free_port()
    # Below Kafka's 6000: a test need not wait that long for a member that is dead.
    sessions = {"group.min.session.timeout.ms": "500"}
    advertised = {"advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}"}
    return Relayed(broker_apart(directory, SHARED | sessions | advertised), port)


@pytest.fixture(scope="module")
def relayed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relayed]:
    found = relayed_broker(tmp_path_factory.mktemp("relayed") / "data")
    with found.broker:
        yield found


@pytest.fixture(params=["tools_39", "tools_43"])
def tools(request: pytest.FixtureRequest) -> KafkaTools:
    found: KafkaTools = request.getfixturevalue(request.param)
    return found


Play = Callable[..., str]


@pytest.fixture
def produce(tools: KafkaTools, relayed: Relayed) -> Play:
    """Plays a scenario of ProducerOptions.java: `produce(name, *words)`."""
    return lambda name, *words: tools.run("ProducerOptions", name, *relayed.words, *words)


@pytest.fixture
def consume(tools: KafkaTools, relayed: Relayed) -> Play:
    """Plays a scenario of ConsumerOptions.java: `consume(name, *words)`."""
    return lambda name, *words: tools.run("ConsumerOptions", name, *relayed.words, *words)


def nobody() -> str:
    return f"127.0.0.1:{free_port()}"


# Producers


def test_bootstrap_servers_of_a_producer_may_begin_with_one_that_is_dead(produce: Play) -> None:
    produce("bootstrap", nobody())


def test_client_dns_lookup_tries_the_other_addresses_of_a_name(
    tools: KafkaTools, relayed: Relayed, tmp_path: Path
) -> None:
    hosts = tmp_path / "hosts"
    # Nobody listens on the first address. Only a JVM of its own has its own names.
    hosts.write_text("127.0.0.2 both.test alias.test\n127.0.0.1 both.test\n")
    flags = (*QUICK_JVM, f"-Djdk.net.hosts.file={hosts}")
    scenario = ["ProducerOptions", "dns", *map(str, relayed.words), "both.test", "alias.test"]
    command = [*java_command(tools.version, heap="128m", flags=flags), *scenario]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_acks_is_what_a_producer_waits_for(produce: Play) -> None:
    produce("acks")


def test_buffer_memory_bounds_what_waits_to_be_sent(produce: Play) -> None:
    produce("memory")


@pytest.mark.parametrize("codec", CODECS)
def test_compression_type_is_how_the_records_lie_in_the_log(produce: Play, relayed: Relayed, codec: str) -> None:
    topic = relayed.new_topic()
    produce("compression", topic, codec)
    (batch,) = log_file.batches(relayed.broker.partition_directory(topic))
    assert (batch.codec, batch.count) == (CODECS[codec], 200)
    assert (batch.size_in_bytes < 5_000) == (codec != "none")


def test_enable_idempotence_writes_once_and_in_order_what_is_sent_twice(produce: Play) -> None:
    produce("idempotence")


def test_enable_idempotence_refuses_settings_that_contradict_it(produce: Play) -> None:
    produce("conflicts")


@pytest.mark.parametrize("limit", [1, 4])
def test_max_in_flight_requests_per_connection_bounds_requests_without_an_answer(produce: Play, limit: int) -> None:
    produce("in-flight", limit)


def test_retries_is_how_often_a_batch_is_sent_again(produce: Play) -> None:
    produce("retries")


def test_batch_size_bounds_the_batches_in_the_log(produce: Play, relayed: Relayed) -> None:
    counts = []
    for size in (1_000, 4_000):
        topic = relayed.new_topic()
        produce("batches", topic, size)
        sizes = [batch.size_in_bytes for batch in log_file.batches(relayed.broker.partition_directory(topic))]
        assert max(sizes) <= size
        assert min(sizes[:-1]) > size / 2
        counts.append(len(sizes))
    assert counts[0] > 3 * counts[1]


def test_linger_ms_waits_for_more_records_unless_a_batch_is_full(produce: Play, relayed: Relayed) -> None:
    topic = relayed.new_topic()
    produce("linger", topic)
    counts = [batch.count for batch in log_file.batches(relayed.broker.partition_directory(topic))]
    assert counts == [3, 1, 1]


# Consumers


def test_bootstrap_servers_of_a_consumer_may_begin_with_one_that_is_dead(consume: Play) -> None:
    consume("bootstrap", nobody())


def test_fetch_min_bytes_lets_a_fetch_wait_until_there_is_enough(consume: Play) -> None:
    consume("min-bytes")


def test_fetch_max_wait_ms_ends_the_waiting(consume: Play) -> None:
    consume("max-wait")


def test_max_partition_fetch_bytes_bounds_what_a_partition_brings(consume: Play) -> None:
    consume("partition-bytes")


def test_fetch_max_bytes_bounds_what_all_partitions_bring(consume: Play) -> None:
    consume("fetch-bytes")


def test_max_poll_records_bounds_what_a_poll_gives(consume: Play) -> None:
    consume("poll-records")


def test_group_id_is_who_shares(consume: Play) -> None:
    consume("group")


def test_heartbeat_interval_ms_is_the_time_between_heartbeats(consume: Play) -> None:
    consume("heartbeats")


def test_session_timeout_ms_is_how_long_a_member_may_be_silent(consume: Play) -> None:
    consume("session")


def test_enable_auto_commit_commits_in_the_background_or_nothing_at_all(consume: Play) -> None:
    consume("auto-commit")


def test_auto_offset_reset_is_where_a_group_without_an_offset_begins(consume: Play) -> None:
    consume("reset")


def test_auto_offset_reset_is_where_one_goes_on_whose_offset_is_gone(consume: Play) -> None:
    consume("reset-gone")


def test_partition_assignment_strategy_is_who_gets_what(consume: Play) -> None:
    consume("assignors")


def test_async_commit_that_fails_is_not_sent_again_and_the_next_stands_for_it(consume: Play) -> None:
    consume("async-fails")


def test_sync_commit_that_fails_is_sent_again(consume: Play) -> None:
    consume("sync-fails")


def test_isolation_level_hides_aborted_and_open_transactions(tools: KafkaTools, tmp_path: Path) -> None:
    """Of transactions that Kafka wrote: kstore serves them, and does not write any itself yet."""
    kept = golden("kafka-3.9.1")
    shutil.copytree(kept.directory, tmp_path / "data")
    written = kept.partitions["transactions", 0]
    relayed = relayed_broker(tmp_path / "data")
    with relayed.broker:
        read = {
            level: ast.literal_eval(tools.run("ConsumerOptions", "transactions", *relayed.words, "transactions", level))
            for level in ("read_committed", "read_uncommitted")
        }
    assert read["read_committed"] == written.committed_offsets
    assert read["read_uncommitted"] == [record.offset for record in written.records]


# Topics


def test_partitions_of_a_topic_only_grow(consume: Play) -> None:
    consume("partitions")


def test_replication_factor_of_one_broker_is_one(consume: Play) -> None:
    consume("replicas")


def test_lag_is_what_was_sent_less_what_was_read(consume: Play) -> None:
    consume("lag")
