"""Several log directories on a live broker, of which one fails or is not there."""

import errno
import os

import pytest

from kstore.log.directory import DiskDirectory
from kstore.model import TopicPartition
from kstore.protocol.messages.delete_topics import DeleteTopicsRequest
from tests.fix_broker import batch

NONE, UNKNOWN_TOPIC, STORAGE = 0, 3, 56


@pytest.fixture
def start(start_broker, tmp_path):
    """Starts a broker over the directories `a` and `b`; the metadata log is in `a`."""
    return lambda: start_broker(overrides={"log.dirs": f"{tmp_path / 'a'},{tmp_path / 'b'}"})


def directory_of(broker, topic, partition):
    return broker.call(lambda app: app.context.replicas.get(topic, partition).log.log_dir.path)


def delete(client, topic):
    (result,) = client.ask(DeleteTopicsRequest(topic_names=[topic]), 5).responses
    return result.error_code


def test_a_partition_whose_directory_is_away_is_not_begun_anew(start, tmp_path):
    broker = start()
    client = broker.connect()
    client.create_topic("t", 2)
    away = next(index for index in (0, 1) if directory_of(broker, "t", index) == str(tmp_path / "b"))
    for partition in (0, 1):
        assert client.produce("t", batch(b"%d" % partition), partition=partition).error_code == NONE
    broker.stop()
    (tmp_path / "b").rename(tmp_path / "unplugged")
    (tmp_path / "b").write_text("no directory")

    broker = start()
    client = broker.connect()
    assert client.produce("t", batch(b"x"), partition=away).error_code == STORAGE
    assert client.values("t", partition=1 - away) == [b"%d" % (1 - away)]
    assert not (tmp_path / "a" / f"t-{away}").exists()
    broker.stop()
    (tmp_path / "b").unlink()
    (tmp_path / "unplugged").rename(tmp_path / "b")

    client = start().connect()
    assert client.values("t", partition=away) == [b"%d" % away]


def test_a_topic_is_deleted_although_a_directory_refuses(start, tmp_path, monkeypatch):
    broker = start()
    client = broker.connect()
    client.create_topic("t", 2)
    failing = next(index for index in (0, 1) if directory_of(broker, "t", index) == str(tmp_path / "b"))
    rename = DiskDirectory.rename_self

    def refuse(directory, new_name):
        if directory.parent == str(tmp_path / "b"):
            raise OSError(errno.EIO, "the disk has failed")
        rename(directory, new_name)

    monkeypatch.setattr(DiskDirectory, "rename_self", refuse)
    assert delete(client, "t") == NONE
    assert not os.path.exists(tmp_path / "a" / f"t-{1 - failing}")
    for partition in (0, 1):
        assert client.produce("t", batch(b"x"), partition=partition).error_code == UNKNOWN_TOPIC

    # A new topic of the name begins empty, where it can.
    client.create_topic("t", 2)
    for partition in (0, 1):
        assert client.produce("t", batch(b"new"), partition=partition).base_offset == 0
        assert directory_of(broker, "t", partition) == str(tmp_path / "a")


def test_one_partition_that_cannot_be_led_leaves_the_others_alone(start, tmp_path):
    broker = start()
    client = broker.connect()

    def put_a_stranger_there(app):
        logs = app.context.replicas.logs
        logs.get_or_create(TopicPartition("t", 0), topic_id=b"s" * 16, now_ms=app.clock.now_ms())

    broker.call(put_a_stranger_there)
    client.create_topic("t", 3)
    codes = [client.produce("t", batch(b"x"), partition=index).error_code for index in range(3)]
    assert codes == [STORAGE, NONE, NONE]


def told_directories(broker, topic, partitions):
    """Where the metadata log says that partitions lie, by path."""

    def ask(app):
        paths = {directory_id: path for path, directory_id in app.logs.directory_ids.items()}
        found = app.context.metadata.image.topics[topic].partitions
        return [paths.get(found[index].directory_of(app.context.node_id)) for index in range(partitions)]

    return broker.call(ask)


def test_the_metadata_log_tells_where_a_partition_lies_that_had_to_go_elsewhere(start, tmp_path, monkeypatch):
    """It went on naming the directory that had refused, and a start with that one missing looked for it there."""
    broker = start()
    create = DiskDirectory.create

    def refuse(directory):
        if directory.parent == str(tmp_path / "b"):
            raise OSError(errno.ENOSPC, "No space left on device")
        return create(directory)

    with monkeypatch.context() as full:
        full.setattr(DiskDirectory, "create", refuse)
        broker.connect().create_topic("t", 2)
    assert told_directories(broker, "t", 2) == [str(tmp_path / "a")] * 2
    broker.stop()
    broker = start()
    assert told_directories(broker, "t", 2) == [str(tmp_path / "a")] * 2
    assert [directory_of(broker, "t", index) for index in (0, 1)] == [str(tmp_path / "a")] * 2


def test_the_metadata_log_tells_where_a_partition_lies_that_was_moved(start, tmp_path):
    broker = start()
    client = broker.connect()
    client.create_topic("t", 2)
    assert sorted(told_directories(broker, "t", 2)) == [str(tmp_path / "a"), str(tmp_path / "b")]
    moved = next(index for index in (0, 1) if directory_of(broker, "t", index) == str(tmp_path / "b"))
    client.produce("t", batch(b"x"), partition=moved)
    broker.stop()
    (tmp_path / "b" / f"t-{moved}").rename(tmp_path / "a" / f"t-{moved}")
    broker = start()
    assert told_directories(broker, "t", 2) == [str(tmp_path / "a")] * 2
    offset = broker.call(lambda app: app.context.metadata.image.offset)
    assert broker.connect().values("t", partition=moved) == [b"x"]
    broker.stop()
    # It is told once: a start that finds everything in its place writes nothing.
    assert start().call(lambda app: app.context.metadata.image.offset) == offset
