"""What a broker does on its own, and what it says of it."""

import logging
import threading
from types import SimpleNamespace

from kstore.log.incarnation import INCARNATION_FILE, begin_incarnation
from kstore.log.work import RetentionWork
from kstore.protocol.messages.create_partitions import CreatePartitionsRequest
from kstore.protocol.messages.create_topics import CreateTopicsRequest
from kstore.protocol.messages.delete_topics import DeleteTopicsRequest
from kstore.protocol.messages.incremental_alter_configs import IncrementalAlterConfigsRequest
from kstore.protocol.messages.init_producer_id import InitProducerIdRequest
from kstore.protocol.messages.metadata import MetadataRequest
from kstore.server.tasks import Tasks
from tests.fix_broker import batch

NONE, UNKNOWN_TOPIC, COORDINATOR_LOADING, STORAGE = 0, 3, 14, 56
TOPIC, BROKER = 2, 4


def refusals(client):
    """The error of every kind of change, with its message."""
    Topic = CreateTopicsRequest.CreatableTopic
    Grown = CreatePartitionsRequest.CreatePartitionsTopic
    Resource = IncrementalAlterConfigsRequest.AlterConfigsResource
    Config = IncrementalAlterConfigsRequest.AlterableConfig
    topic = Topic(name="new", num_partitions=1, replication_factor=1)
    yield client.ask(CreateTopicsRequest(topics=[topic]), 7).topics[0]
    yield client.ask(DeleteTopicsRequest(topic_names=["t"]), 5).responses[0]
    yield client.ask(CreatePartitionsRequest(topics=[Grown(name="t", count=3, assignments=None)]), 3).results[0]
    for kind, name, key in ((TOPIC, "t", "retention.ms"), (BROKER, "", "log.retention.ms")):
        config = Config(name=key, config_operation=0, value="1000000")
        resource = Resource(resource_type=kind, resource_name=name, configs=[config])
        yield client.ask(IncrementalAlterConfigsRequest(resources=[resource]), 1).responses[0]


def test_what_a_failed_metadata_directory_means_is_answered_clearly_and_said_once(start_broker, tmp_path, caplog):
    broker = start_broker(overrides={"metadata.log.dir": str(tmp_path / "metadata")})
    client = broker.connect()
    client.create_topic("t")
    caplog.clear()

    def fail(app):
        log_dir = app.context.metadata._log.log_dir
        log_dir.fail("testing", OSError(5, "Input/output error"))
        app.context.metadata._snapshot_bytes = 0  # one is due

    broker.call(fail)
    for _ in range(2):
        for answer in refusals(client):
            assert answer.error_code == STORAGE
            assert str(tmp_path / "metadata") in answer.error_message
            assert "Input/output error" in answer.error_message
    for _ in range(3):
        assert client.ask(InitProducerIdRequest(transactional_id=None), 4).error_code == COORDINATOR_LOADING
    Topic = MetadataRequest.MetadataRequestTopic
    asked = MetadataRequest(topics=[Topic(name="auto")], allow_auto_topic_creation=True)
    assert client.ask(asked, 12).topics[0].error_code == UNKNOWN_TOPIC
    # Partitions are served as they are.
    assert client.produce("t", batch(b"x")).error_code == NONE
    assert client.values("t") == [b"x"]
    for _ in range(3):
        broker.run(lambda app: app.tasks.tend_metadata())
    assert [record.levelno for record in caplog.records if "metadata log" in record.getMessage()] == [logging.ERROR]
    assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) == 3, caplog.text


def test_task_that_fails_again_and_again_is_told_of_once(start_broker, monkeypatch, caplog):
    """Its traceback came twice a second."""
    failures = []

    async def fail(tasks):
        failures.append(1)
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Tasks, "sweep_connections", fail)
    monkeypatch.setattr("kstore.server.tasks.SWEEP_MS", 1)
    broker = start_broker()
    broker.wait_for(lambda app: len(failures) >= 3)
    assert len([record for record in caplog.records if "failed" in record.getMessage()]) == 1


def test_flushes_do_not_wait_for_a_disk_to_tell_the_age_of_old_records(broker):
    """Retention of cold logs went before the flushes, one log after the other."""
    client = broker.connect()
    client.create_topic("old", retention_ms="1")
    client.produce("old", batch(b"x", timestamp=1))
    asked, is_told = threading.Event(), threading.Event()

    def look_up():
        asked.set()
        assert is_told.wait(30)

    def tend(app):
        tick, log = app.logs.tick, app.context.replicas.get("old", 0).log
        app.logs.tick = lambda *now: [RetentionWork(log, look_up, lambda log: True), *tick(*now)]
        try:
            return app.tasks.tend_logs()
        finally:
            app.context.loop.call_soon(setattr, app.logs, "tick", tick)

    broker.run(tend)  # comes to its end
    assert asked.wait(30)
    assert client.fetch("old", 0).records != b""
    is_told.set()
    broker.wait_for(lambda app: app.context.replicas.get("old", 0).log.log_start_offset == 1)


def test_a_broker_stops_while_a_disk_is_asked_for_the_age_of_old_records(start_broker):
    broker = start_broker()
    client = broker.connect()
    client.create_topic("old")
    is_told = threading.Event()

    def tend(app):
        log = app.context.replicas.get("old", 0).log
        work = RetentionWork(log, lambda: is_told.wait(30), lambda log: True)
        app.logs.tick = lambda *_: [work]
        return app.tasks.tend_logs()

    broker.run(tend)
    threading.Timer(0.05, is_told.set).start()
    broker.stop()
    assert is_told.is_set()


def test_a_directory_that_fails_ends_the_incarnation_in_all_and_is_told(start_broker, tmp_path):
    """What its disk had in the page cache may be gone: this broker may not lead again as if it had lost nothing."""
    directories = [tmp_path / "a", tmp_path / "b"]
    broker = start_broker(overrides={"log.dirs": ",".join(map(str, directories))})
    told = []

    def fail(app):
        dirs = app.logs.dirs
        begin_incarnation(dirs, "boot 1")
        assert all((path / INCARNATION_FILE).exists() for path in directories)
        app.context.cluster = SimpleNamespace(log_dir_failed=lambda: told.append(True))
        dirs[1].fail("testing", OSError(5, "Input/output error"))

    broker.call(fail)
    try:
        broker.wait_for(lambda app: not any((path / INCARNATION_FILE).exists() for path in directories))
        assert told == [True]
    finally:
        broker.call(lambda app: setattr(app.context, "cluster", None))
