"""Starts that fail, and stops while something is at work."""

import threading

import pytest

from kstore.errors import KafkaStorageError
from kstore.log.flush import FlushJob
from kstore.protocol.messages.create_topics import CreateTopicsRequest
from kstore.server.app import App
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
