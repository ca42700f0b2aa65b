"""Changes of topics from the request to the disk: durable first, many at once, and others served meanwhile."""

import os
import threading
import time
from pathlib import Path

import pytest

from kstore.protocol.messages.api_versions import ApiVersionsRequest
from kstore.protocol.messages.create_partitions import CreatePartitionsRequest
from kstore.protocol.messages.create_topics import CreateTopicsRequest
from kstore.protocol.messages.delete_topics import DeleteTopicsRequest
from kstore.protocol.messages.incremental_alter_configs import IncrementalAlterConfigsRequest
from kstore.protocol.messages.metadata import MetadataRequest
from tests.fix_broker import Client, batch

NONE, LEADER_NOT_AVAILABLE, TOO_LARGE, STORAGE_ERROR = 0, 5, 10, 56


def topics(names, partitions=1):
    Topic = CreateTopicsRequest.CreatableTopic
    return CreateTopicsRequest(
        topics=[Topic(name=name, num_partitions=partitions, replication_factor=1) for name in names]
    )


def count_fsyncs(broker, ask):
    """How many fsyncs `ask` costs on the broker's loop, where every client waits for them."""
    counted = []
    loop_thread = broker.call(lambda app: threading.get_ident())
    real = {name: getattr(os, name) for name in ("fsync", "fdatasync")}

    def counting(name):
        def sync(descriptor):
            if threading.get_ident() == loop_thread:
                counted.append(descriptor)
            return real[name](descriptor)

        return sync

    for name in real:
        setattr(os, name, counting(name))
    try:
        ask()
    finally:
        for name, function in real.items():
            setattr(os, name, function)
    return len(counted)


def test_a_thousand_topics_are_made_by_one_write_and_gone_by_another(start_broker):
    broker = start_broker()
    client = broker.connect()
    names = [f"many.{index}" for index in range(1000)]
    offset = broker.call(lambda app: app.context.topics.image.offset)

    def create():
        assert {result.error_code for result in client.ask(topics(names), 7).topics} == {NONE}

    def delete():
        answer = client.ask(DeleteTopicsRequest(topic_names=names), 5)
        assert {result.error_code for result in answer.responses} == {NONE}

    # Not one a topic; what the background tasks sync meanwhile counts too, and on a busy machine that is some.
    assert count_fsyncs(broker, create) < len(names) / 2
    # A topic and its partition are a record each, and nothing else was written.
    assert broker.call(lambda app: app.context.topics.image.offset) == offset + 2000
    assert count_fsyncs(broker, delete) < len(names) / 2
    left = [name for name in os.listdir(broker.config.log_dirs[0]) if name.startswith("many.")]
    assert len(left) == 1000
    assert all(name.endswith("-delete") for name in left)


def test_others_are_served_while_many_topics_are_made(start_broker):
    broker = start_broker()
    client, other = broker.connect(), broker.connect()

    def create():
        client.ask(topics((f"wide.{index}" for index in range(4)), 250), 7)

    worker = threading.Thread(target=create)
    worker.start()
    longest, asked = 0.0, 0
    while worker.is_alive():
        began = time.monotonic()
        other.ask(ApiVersionsRequest(), 0)
        longest = max(longest, time.monotonic() - began)
        asked += 1
    worker.join()
    assert asked > 10
    assert longest < 0.5


def test_a_change_that_cannot_be_written_is_refused_and_not_seen(start_broker):
    broker = start_broker()
    client = broker.connect()
    client.create_topic("before")

    def fill_the_disk(app):
        log = app.context.metadata._log

        def refuse(*arguments, **options):
            raise log.log_dir.io_error("testing", OSError(28, "No space left on device"))

        app.context.metadata.append = refuse

    broker.call(fill_the_disk)
    results = client.ask(topics(["a", "b"]), 7).topics
    assert [(result.name, result.error_code) for result in results] == [("a", STORAGE_ERROR), ("b", STORAGE_ERROR)]
    (deleted,) = client.ask(DeleteTopicsRequest(topic_names=["before"]), 5).responses
    assert deleted.error_code == STORAGE_ERROR
    assert [topic.name for topic in client.ask(MetadataRequest(topics=None), 12).topics] == ["before"]
    broker.call(lambda app: delattr(app.context.metadata, "append"))
    assert client.ask(topics(["a"]), 7).topics[0].error_code == NONE


def test_partitions_of_a_directory_that_is_lost_are_not_begun_anew_elsewhere(start_broker, tmp_path):
    good, bad = tmp_path / "good", tmp_path / "bad"
    first = start_broker(f"{good},{bad}")
    client = first.connect()
    client.create_topic("two", 2)
    for index in range(2):
        assert client.produce("two", batch(b"x"), partition=index).error_code == NONE
    first.stop()
    (lost,) = [name for name in os.listdir(bad) if name.startswith("two-")]
    index = int(lost.rpartition("-")[2])
    os.rename(bad, tmp_path / "moved")
    bad.write_text("this is no directory")
    client = start_broker(f"{good},{bad}").connect()
    assert client.values("two", partition=1 - index) == [b"x"]
    assert client.produce("two", batch(b"y"), partition=index).error_code == STORAGE_ERROR
    assert not (good / lost).exists()
    parts = {part.partition_index: part for part in client.ask(MetadataRequest(topics=None), 12).topics[0].partitions}
    assert (parts[index].error_code, parts[index].leader_id) == (LEADER_NOT_AVAILABLE, -1)


def test_a_new_partition_does_not_wait_for_a_lost_directory(start_broker, tmp_path):
    good, bad = tmp_path / "good", tmp_path / "bad"
    bad.write_text("this is no directory")
    client = start_broker(f"{good},{bad}").connect()
    client.create_topic("new", 2)
    assert [client.produce("new", batch(b"x"), partition=index).error_code for index in range(2)] == [NONE, NONE]


def test_a_directory_that_cannot_be_renamed_does_not_stop_the_deletion(start_broker, tmp_path):
    good, bad = tmp_path / "good", tmp_path / "bad"
    broker = start_broker(f"{good},{bad}")
    client = broker.connect()
    client.create_topic("doomed", 4)
    broker.call(lambda app: app.logs.dirs[1].fail("testing", OSError(5, "Input/output error")))
    (deleted,) = client.ask(DeleteTopicsRequest(topic_names=["doomed"]), 5).responses
    assert deleted.error_code == NONE
    assert client.ask(MetadataRequest(topics=None), 12).topics == []
    assert not [name for name in os.listdir(good) if name.startswith("doomed") and not name.endswith("-delete")]
    # The broker goes on where it can.
    client.create_topic("next")
    assert client.produce("next", batch(b"x")).error_code == NONE


@pytest.mark.parametrize("deletes", [True, False])
def test_partitions_that_nobody_knows_are_set_aside(start_broker, tmp_path, deletes):
    first = start_broker()
    client = first.connect()
    client.create_topic("known")
    client.create_topic("forgotten")
    client.produce("forgotten", batch(b"old"))
    directory = Path(first.config.log_dirs[0])
    kept = tmp_path / "kept"
    first.stop()
    # A rename that a power failure took back looks like this.
    os.rename(directory / "forgotten-0", kept)
    second = start_broker()
    client = second.connect()
    client.ask(DeleteTopicsRequest(topic_names=["forgotten"]), 5)
    if not deletes:
        client.create_topic("forgotten")
    second.stop()
    if not deletes:
        os.rename(directory / "forgotten-0", tmp_path / "newer")
    os.rename(kept, directory / "forgotten-0")
    client = start_broker().connect()
    assert "known" in {topic.name for topic in client.ask(MetadataRequest(topics=None), 12).topics}
    assert [name for name in os.listdir(directory) if name.startswith("forgotten-0.") and name.endswith("-stray")]
    if not deletes:
        assert client.values("forgotten") == []
        assert client.produce("forgotten", batch(b"new")).base_offset == 0


def test_what_was_answered_is_there_after_kill_9(start_kstore):
    """Topics, partitions, configurations and deletions are on the disk before their answer."""
    server = start_kstore()
    with Client(server.port) as client:
        for name in ("kept", "grown", "gone"):
            client.create_topic(name)
        Partitions = CreatePartitionsRequest.CreatePartitionsTopic
        grown = client.ask(
            CreatePartitionsRequest(topics=[Partitions(name="grown", count=3, assignments=None)]), 3
        ).results
        Config = IncrementalAlterConfigsRequest.AlterableConfig
        resource = IncrementalAlterConfigsRequest.AlterConfigsResource(
            resource_type=2,
            resource_name="kept",
            configs=[Config(name="max.message.bytes", config_operation=0, value="200")],
        )
        altered = client.ask(IncrementalAlterConfigsRequest(resources=[resource]), 1).responses
        deleted = client.ask(DeleteTopicsRequest(topic_names=["gone"]), 5).responses
        assert [each.error_code for each in (*grown, *altered, *deleted)] == [NONE, NONE, NONE]
        server.kill()
    server.start()
    with Client(server.port) as client:
        found = {topic.name: len(topic.partitions) for topic in client.ask(MetadataRequest(topics=None), 12).topics}
        assert found == {"kept": 1, "grown": 3}
        assert client.produce("kept", batch(b"x" * 300)).error_code == TOO_LARGE
        assert client.produce("grown", batch(b"x"), partition=2).error_code == NONE
