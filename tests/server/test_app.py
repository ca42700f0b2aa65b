"""Starts that fail, and stops while something is at work."""

import threading

import pytest

from kstore.errors import KafkaStorageError
from kstore.log.flush import FlushJob
from kstore.model import TopicPartition
from kstore.protocol.messages.create_topics import CreateTopicsRequest
from kstore.server.app import App, open_logs
from kstore.server.config import ServerConfig
from tests.fix_broker import Client, batch


def test_a_start_that_fails_lets_go_of_everything(start_broker, tmp_path, monkeypatch):
    overrides = {"metadata.log.dir": str(tmp_path / "metadata")}
    begun = []

    async def fail(app):
        begun.append(app.listeners)
        raise KafkaStorageError("the disk is full")

    with monkeypatch.context() as full:
        full.setattr(App, "_lead", fail)
        with pytest.raises(KafkaStorageError):
            start_broker(overrides=overrides)
    (listeners,) = begun
    assert listeners._sockets == []
    assert start_broker(overrides=overrides).connect().create_topic("t")


def test_a_change_that_is_at_work_when_the_broker_stops_is_completed(start_broker, monkeypatch):
    broker = start_broker()
    client = Client(broker.port)
    begun, release = threading.Event(), threading.Event()
    run = FlushJob.run

    def wait_and_run(job):
        begun.set()
        assert release.wait(30)
        run(job)

    monkeypatch.setattr(FlushJob, "run", wait_and_run)
    topic = CreateTopicsRequest.CreatableTopic(name="t", num_partitions=1, replication_factor=1)
    client.send(CreateTopicsRequest(topics=[topic]), 7)
    assert begun.wait(30)
    stop = threading.Thread(target=broker.stop)
    stop.start()
    assert client.is_closed_by_the_broker()
    client.close()
    release.set()
    stop.join()
    assert "t" in broker.app.context.topics.image.topics
    assert start_broker().connect().produce("t", batch(b"x")).base_offset == 0


def test_partitions_are_closed_cleanly_although_the_metadata_log_is_not(start_broker, tmp_path, monkeypatch):
    broker = start_broker()
    broker.connect().create_topic("t")

    def fail(*_arguments, **_options):
        raise KafkaStorageError("the disk is full")

    monkeypatch.setattr(type(broker.app.context.metadata), "close", fail)
    broker.stop()
    assert (tmp_path / "data" / ".kafka_cleanshutdown").exists()


def logs_under(tmp_path, *overrides):
    """The logs of a broker with these overrides, which has one partition with one record and a sealed segment."""
    logs = open_logs(ServerConfig.from_arguments(str(tmp_path), 9092, overrides))
    logs.load_all(0)
    logs.run_due(0)
    log = logs.get_or_create(TopicPartition("t", 0), now_ms=0)
    log_batch = bytearray(batch(b"x"))
    log.append_as_leader(log_batch, 0, len(log_batch), leader_epoch=0, now_ms=0)
    log.maybe_increment_high_watermark(1)
    return logs, log


def test_logs_are_flushed_as_often_as_it_is_asked(tmp_path):
    """log.flush.interval.ms is the age, log.flush.scheduler.interval.ms how often ages are looked at, or both."""
    for number, (overrides, flushed_at) in enumerate(
        [
            ((), None),
            (("log.flush.interval.ms=3000",), 3000),
            (("log.flush.scheduler.interval.ms=2000",), 2000),
            (("log.flush.interval.ms=3000", "log.flush.scheduler.interval.ms=2000"), 4000),
        ]
    ):
        logs, log = logs_under(tmp_path / str(number), "log.flush.offset.checkpoint.interval.ms=100000", *overrides)
        for now_ms in range(0, 10_000, 500):
            logs.run_due(now_ms)
            assert (log.recovery_point == 1) == (flushed_at is not None and now_ms >= flushed_at), (overrides, now_ms)
        logs.close_handles()


def test_old_segments_are_looked_for_and_deleted_as_the_configuration_says(tmp_path):
    overrides = ("log.retention.check.interval.ms=4000", "log.segment.delete.delay.ms=3000", "log.retention.bytes=0")
    logs, log = logs_under(tmp_path, *overrides, "log.roll.hours=1")
    log.update_config(logs.default_config)
    log.roll(now_ms=0)
    first = tmp_path / "t-0" / "00000000000000000000.log"
    for now_ms in range(0, 10_000, 500):
        logs.run_due(now_ms)
        assert first.exists() == (now_ms < 4000), now_ms
        assert first.with_name(first.name + ".deleted").exists() == (4000 <= now_ms < 7000), now_ms
    logs.delete(TopicPartition("t", 0), now_ms=10_000)
    for now_ms in range(10_000, 15_000, 500):
        logs.run_due(now_ms)
        assert bool(list(tmp_path.glob("t-0*"))) == (now_ms < 13_000), now_ms
    logs.close_handles()
