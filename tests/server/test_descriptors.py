"""When descriptors run out, new clients and new partitions are refused, and nothing else suffers."""

import os
import resource
import socket
import time

import pytest

from kstore.protocol.messages.create_partitions import CreatePartitionsRequest
from kstore.protocol.messages.create_topics import CreateTopicsRequest
from kstore.protocol.messages.metadata import MetadataRequest
from kstore.server import descriptors
from tests.fix_broker import Client, batch

NONE, UNKNOWN_TOPIC, POLICY_VIOLATION, STORAGE = 0, 3, 44, 56


@pytest.fixture
def leave_room(monkeypatch):
    """Lets partitions find so many descriptors."""

    def leave(room):
        monkeypatch.setattr(descriptors, "limits", lambda: (1_000_000 + room, 0))
        monkeypatch.setattr(descriptors, "count_open", lambda: 1_000_000)

    return leave


def create(client, *counts):
    """The error codes of one request for topics with so many partitions."""
    Topic = CreateTopicsRequest.CreatableTopic
    wanted = [Topic(name=f"t{count}", num_partitions=count, replication_factor=1) for count in counts]
    return {answer.name: answer for answer in client.ask(CreateTopicsRequest(topics=wanted), 7).topics}


def test_partitions_beyond_the_descriptors_are_refused(start_broker, leave_room):
    broker = start_broker()
    client = broker.connect()
    leave_room(15)
    answers = create(client, 10, 6, 2)
    assert {name: answer.error_code for name, answer in answers.items()} == {
        "t10": NONE,
        "t6": POLICY_VIOLATION,
        "t2": NONE,
    }
    assert "ulimit -n" in answers["t6"].error_message
    leave_room(3)
    Grown = CreatePartitionsRequest.CreatePartitionsTopic
    wanted = [Grown(name=name, count=count, assignments=None) for name, count in (("t10", 12), ("t2", 4))]
    results = client.ask(CreatePartitionsRequest(topics=wanted), 3).results
    assert [(each.name, each.error_code) for each in results] == [("t10", NONE), ("t2", POLICY_VIOLATION)]
    leave_room(0)
    asked = MetadataRequest(topics=[MetadataRequest.MetadataRequestTopic(name="auto")], allow_auto_topic_creation=True)
    assert client.ask(asked, 12).topics[0].error_code == UNKNOWN_TOPIC
    assert broker.call(lambda app: (len(app.context.replicas.partitions), app.context.replicas.offline)) == (14, {})


@pytest.mark.parametrize(("files", "clients"), [(100, 796), (850, 87), (1020, 2), (2000, 0)])
def test_clients_get_half_of_what_files_leave_where_that_is_little(monkeypatch, files, clients):
    """A broker with nearly as many partitions as descriptors would take no client any more."""
    monkeypatch.setattr(descriptors, "limits", lambda: (1024, 128))
    taken = 0
    while files + taken < 1024:
        monkeypatch.setattr(descriptors, "count_open", lambda: files + taken + 1)  # noqa: B023 - called at once
        if descriptors.is_kept(files + taken, taken + 1):
            break
        taken += 1
    assert taken == clients


def test_open_descriptors_are_counted(monkeypatch):
    before = descriptors.count_open()
    with open(os.devnull), open(os.devnull):
        assert descriptors.count_open() == before + 2
        monkeypatch.setattr(os, "stat", lambda path: os.stat_result([0] * 10))  # as before Linux 6.2
        assert descriptors.count_open() in (before + 2, before + 3)  # the list itself opens one
    monkeypatch.undo()
    assert descriptors.count_open() == before


def test_clients_find_no_descriptor_before_files_do(start_kstore):
    """A crowd of clients took the last descriptors, and the next flush took the directory offline."""
    server = start_kstore(overrides={"log.segment.bytes": "1048576"})
    with Client(server.port) as client:
        client.create_topic("t", 4)
        used = len(os.listdir(f"/proc/{server.pid}/fd"))
        limit = used + 60
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (limit, limit))
        crowd = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(limit)]
        assert is_closed(crowd[-1])
        # New segments, leader epochs and snapshots find what they need, or at worst a moment later.
        deadline = time.monotonic() + 30  # for all of them together
        for number in range(12):
            for partition in range(4):
                while (answer := client.produce("t", batch(bytes(500_000)), partition=partition)).error_code:
                    assert answer.error_code == STORAGE
                    assert time.monotonic() < deadline
                assert answer.base_offset == number
        for connection in crowd:
            connection.close()
        client.create_topic("later")
    assert "offline" not in server.log_text()


def is_closed(connection):
    connection.settimeout(30)
    try:
        return connection.recv(1) == b""
    except ConnectionError:
        return True
