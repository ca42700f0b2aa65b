"""The broker's own keys, changed by request while it runs: each that has an effect has it at once."""

import pytest

from kstore.clock import ManualClock
from kstore.log.topic_keys import BROKER_SYNONYMS
from kstore.protocol.messages.incremental_alter_configs import IncrementalAlterConfigsRequest
from kstore.protocol.messages.init_producer_id import InitProducerIdRequest
from kstore.server.config_keys import broker_key, broker_key_names
from kstore.server.dynamic_config import ONLY_AT_START
from tests.fix_broker import batch

NONE, INVALID_REQUEST = 0, 42

# Broker key that gives a topic key's default and may change -> (topic key, a value, what the log then has).
TOPIC_DEFAULTS = {
    "compression.gzip.level": ("compression.gzip.level", "7", 7),
    "compression.lz4.level": ("compression.lz4.level", "7", 7),
    "compression.type": ("compression.type", "zstd", "zstd"),
    "compression.zstd.level": ("compression.zstd.level", "7", 7),
    "log.cleaner.delete.retention.ms": ("delete.retention.ms", "7", 7),
    "log.cleaner.max.compaction.lag.ms": ("max.compaction.lag.ms", "7", 7),
    "log.cleaner.min.cleanable.ratio": ("min.cleanable.dirty.ratio", "0.7", 0.7),
    "log.cleaner.min.compaction.lag.ms": ("min.compaction.lag.ms", "7", 7),
    "log.cleanup.policy": ("cleanup.policy", "compact", ("compact",)),
    "log.flush.interval.messages": ("flush.messages", "7", 7),
    "log.flush.interval.ms": ("flush.ms", "7", 7),
    "log.index.interval.bytes": ("index.interval.bytes", "7", 7),
    "log.index.size.max.bytes": ("segment.index.bytes", "70", 70),
    "log.message.timestamp.after.max.ms": ("message.timestamp.after.max.ms", "7", 7),
    "log.message.timestamp.before.max.ms": ("message.timestamp.before.max.ms", "7", 7),
    "log.message.timestamp.difference.max.ms": ("message.timestamp.difference.max.ms", "7", 7),
    "log.message.timestamp.type": ("message.timestamp.type", "LogAppendTime", "LogAppendTime"),
    "log.preallocate": ("preallocate", "true", True),
    "log.retention.bytes": ("retention.bytes", "7", 7),
    "log.retention.ms": ("retention.ms", "7", 7),
    "log.roll.jitter.ms": ("segment.jitter.ms", "7", 7),
    "log.roll.ms": ("segment.ms", "7", 7),
    "log.segment.bytes": ("segment.bytes", "7000", 7000),
    "log.segment.delete.delay.ms": ("file.delete.delay.ms", "7", 7),
    "message.max.bytes": ("max.message.bytes", "700", 700),
    "min.insync.replicas": ("min.insync.replicas", "7", 7),
}
# Broker key of the cleaner -> (what it is called there, a value, what the cleaner then has).
CLEANER = {
    "log.cleaner.backoff.ms": ("backoff_ms", "7", 7),
    "log.cleaner.dedupe.buffer.size": ("dedupe_buffer_size", "7000000", 7000000),
    "log.cleaner.io.buffer.load.factor": ("load_factor", "0.7", 0.7),
    "log.cleaner.io.buffer.size": ("io_buffer_size", "7000", 7000),
    "log.cleaner.io.max.bytes.per.second": ("io_max_bytes_per_second", "7000", 7000.0),
    "log.cleaner.threads": ("threads", "2", 2),
}
# Broker key of replication -> what it is called where it is asked for each time.
REPLICATION = {
    "follower.replication.throttled.rate": "follower_replication_throttled_rate",
    "leader.replication.throttled.rate": "leader_replication_throttled_rate",
    "num.replica.fetchers": "num_replica_fetchers",
    "replica.alter.log.dirs.io.max.bytes.per.second": "replica_alter_log_dirs_io_max_bytes_per_second",
}
# Shown one by one, here or in test_alter_configs.py.
OTHERS = {
    "max.connections",
    "max.connections.per.ip",
    "max.connections.per.ip.overrides",
    "producer.id.expiration.ms",
    # What becomes of them is shown in tests/replica/test_throttle.py and tests/server/test_log_dir_moves.py,
    # test_replica_fetchers.py and tests/zk.
    *REPLICATION,
}


def change(client, name, **values):
    Config = IncrementalAlterConfigsRequest.AlterableConfig
    resource = IncrementalAlterConfigsRequest.AlterConfigsResource(
        resource_type=4,
        resource_name=name,
        configs=[
            Config(name=key.replace("_", "."), config_operation=0 if value is not None else 1, value=value)
            for key, value in values.items()
        ],
    )
    (result,) = client.ask(IncrementalAlterConfigsRequest(resources=[resource]), 1).responses
    return result.error_code


def log_config(broker, topic):
    return broker.call(lambda app: app.context.replicas.get(topic, 0).log.config)


def test_every_key_that_may_change_and_has_an_effect_is_known_here():
    changeable = {
        name
        for name in broker_key_names()
        if (key := broker_key(name)) and key.mode != "ro" and key.effect == "honoured"
    }
    assert changeable == set(TOPIC_DEFAULTS) | set(CLEANER) | OTHERS | ONLY_AT_START


@pytest.mark.parametrize("per_broker", [False, True])
def test_running_logs_follow_the_brokers_keys(start_broker, per_broker):
    broker = start_broker()
    client = broker.connect()
    client.create_topic("t")
    before = log_config(broker, "t")
    name = str(broker.app.context.node_id) if per_broker else ""
    for key, (topic_key, text, value) in TOPIC_DEFAULTS.items():
        assert key in {each for names in BROKER_SYNONYMS.values() for each, _ in names}
        assert change(client, name, **{key: text}) == NONE, key
        assert getattr(log_config(broker, "t"), topic_key.replace(".", "_")) == value, key
        assert change(client, name, **{key: None}) == NONE, key
        assert log_config(broker, "t") == before, key


def test_the_cleaner_follows_the_brokers_keys(start_broker):
    broker = start_broker()
    client = broker.connect()
    for key, (name, text, value) in CLEANER.items():
        before = broker.call(lambda app: app.logs.cleaner.config)
        assert change(client, "", **{key: text}) == NONE, key
        assert broker.call(lambda app: app.logs.cleaner.config) == before._replace(**{name: value}), key
        assert change(client, "", **{key: None}) == NONE, key
        assert broker.call(lambda app: app.logs.cleaner.config) == before, key
    assert change(client, "", log_cleaner_dedupe_buffer_size="1000000") == INVALID_REQUEST


def test_replication_follows_the_brokers_keys(start_broker):
    broker = start_broker()
    client = broker.connect()
    for key, attribute in REPLICATION.items():
        before = broker.call(lambda app, name=attribute: getattr(app.context.config, name))
        assert change(client, "", **{key: "2"}) == NONE, key
        assert broker.call(lambda app, name=attribute: getattr(app.context.config, name)) == 2, key
        assert change(client, "", **{key: None}) == NONE, key
        assert broker.call(lambda app, name=attribute: getattr(app.context.config, name)) == before, key


def test_a_producer_that_is_silent_for_too_long_is_forgotten(start_broker):
    clock = ManualClock()
    broker = start_broker(clock=clock)
    client = broker.connect()
    client.create_topic("t")
    producer_id = client.ask(InitProducerIdRequest(transactional_id=None, transaction_timeout_ms=0), 4).producer_id
    data = batch(b"x", producer_id=producer_id, producer_epoch=0, base_sequence=0, timestamp=clock.now_ms())
    client.produce("t", data)

    def known(app):
        app.logs.run_due(clock.now_ms(), clock.monotonic_ms())
        return len(app.context.replicas.get("t", 0).log.producer_state.producers)

    clock.advance(3_600_000)
    assert broker.call(known) == 1
    assert change(client, "", producer_id_expiration_ms="1000") == NONE
    clock.advance(3_600_000)
    assert broker.call(known) == 0


def test_an_address_is_given_a_limit_of_its_own(start_broker):
    broker = start_broker()
    client = broker.connect()
    assert change(client, "", max_connections_per_ip_overrides="127.0.0.1:1") == NONE
    with broker.connect() as second:
        assert second.is_closed_by_the_broker()


def test_values_that_do_not_go_together_are_refused(start_broker):
    client = start_broker().connect()
    assert change(client, "", max_connections_per_ip="0") == INVALID_REQUEST
    assert change(client, "", max_connections_per_ip="0", max_connections_per_ip_overrides="127.0.0.1:9") == NONE


def test_a_value_that_does_not_fit_the_file_any_more_is_left_out(start_broker, caplog):
    first = start_broker(overrides={"max.connections.per.ip.overrides": "127.0.0.1:9"})
    assert change(first.connect(), "", max_connections_per_ip="0") == NONE
    first.stop()
    # Without the override nobody could connect.
    second = start_broker()
    second.connect().create_topic("served")
    assert "max.connections.per.ip" in caplog.text
