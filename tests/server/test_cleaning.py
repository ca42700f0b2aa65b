"""A running broker compacts, and goes on serving while it does."""

from pathlib import Path

from kstore.log.checkpoint_file import read_offsets
from kstore.model import TopicPartition
from kstore.server.app import App
from tests.fix_broker import Client, StartBroker, batch, records_in

QUICK = {"log.cleaner.backoff.ms": "10", "log.cleaner.min.cleanable.ratio": "0.01"}


def produce(client: Client, topic: str, key: bytes, *values: bytes | None) -> None:
    for value in values:
        assert client.produce(topic, batch(value, key=key)).error_code == 0


def roll(app: App, topic: str) -> None:
    log = app.logs.logs[TopicPartition(topic, 0)]
    log.roll(now_ms=app.clock.now_ms())


def read(client: Client, topic: str, offset: int = 0) -> list[tuple[int, bytes | None, bytes | None]]:
    found = client.fetch(topic, offset).records
    return [(each.offset, each.key, each.value) for each in records_in(found) if each.offset >= offset]


def test_a_topic_is_compacted_while_it_is_served(start_broker: StartBroker, tmp_path: Path) -> None:
    broker = start_broker(overrides=QUICK)
    client = broker.connect()
    client.create_topic("table", cleanup_policy="compact")
    produce(client, "table", b"a", b"1", b"2", b"3")
    produce(client, "table", b"b", b"1")
    broker.call(lambda app: roll(app, "table"))
    key = TopicPartition("table", 0)
    broker.wait_for(lambda app: app.logs.logs[key].first_dirty_offset == 4)
    assert read(client, "table") == [(2, b"a", b"3"), (3, b"b", b"1")]
    assert read(client, "table", 1) == [(2, b"a", b"3"), (3, b"b", b"1")]
    produce(client, "table", b"a", b"4")
    assert read(client, "table", 4) == [(4, b"a", b"4")]

    broker.stop()
    assert read_offsets(str(tmp_path / "data" / "cleaner-offset-checkpoint")) == {key: 4}
    broker = start_broker(overrides=QUICK)
    client = broker.connect()
    assert read(client, "table") + read(client, "table", 4) == [(2, b"a", b"3"), (3, b"b", b"1"), (4, b"a", b"4")]
    assert broker.call(lambda app: app.logs.logs[key].first_dirty_offset) == 4


def test_policy_and_cleaner_follow_changes_at_run_time(start_broker: StartBroker) -> None:
    broker = start_broker(overrides={"log.cleaner.io.max.bytes.per.second": "1000000"})
    client = broker.connect()
    client.create_topic("table")
    from kstore.protocol.messages.incremental_alter_configs import IncrementalAlterConfigsRequest as Request

    def alter(kind: int, name: str, **configs: str) -> None:
        changes = [
            Request.AlterableConfig(name=key.replace("_", "."), config_operation=0, value=value)
            for key, value in configs.items()
        ]
        resource = Request.AlterConfigsResource(resource_type=kind, resource_name=name, configs=changes)
        (answer,) = client.ask(Request(resources=[resource], validate_only=False), 1).responses
        assert answer.error_code == 0, answer.error_message

    alter(4, "", log_cleaner_io_max_bytes_per_second="2000000", log_cleaner_dedupe_buffer_size="33554432")
    assert broker.call(lambda app: app.logs.cleaner.throttle.bytes_per_second) == 2e6
    assert broker.call(lambda app: app.logs.cleaner.config.dedupe_buffer_size) == 32 << 20
    produce(client, "table", b"a", b"1", b"2")
    broker.call(lambda app: roll(app, "table"))
    alter(2, "table", cleanup_policy="compact", min_cleanable_dirty_ratio="0")
    alter(4, "", log_cleaner_backoff_ms="10")
    broker.wait_for(lambda app: app.logs.logs[TopicPartition("table", 0)].first_dirty_offset == 2)
    assert read(client, "table") == [(1, b"a", b"2")]


def test_broker_stops_in_the_middle_of_a_slow_cleaning(start_broker: StartBroker) -> None:
    broker = start_broker(overrides={**QUICK, "log.cleaner.io.max.bytes.per.second": "2000"})
    client = broker.connect()
    client.create_topic("table", cleanup_policy="compact")
    for number in range(20):
        produce(client, "table", b"key", bytes(1000) + b"%d" % number)
    broker.call(lambda app: roll(app, "table"))
    broker.wait_for(lambda app: bool(app.logs.cleaner.in_progress))
    broker.stop()
    broker = start_broker(overrides={**QUICK, "log.cleaner.enable": "false"})
    client = broker.connect()
    assert [offset for offset, _, _ in read(client, "table")] == list(range(20))
