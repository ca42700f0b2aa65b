"""Topic names from clients never lead out of the data directory: every byte, every length, every dot.

The verdict on each name is that of Kafka's Topic.java: ASCII letters, digits, '.', '_' and '-', at most 249 of
them, and neither '.' nor '..'.
"""

import os
from pathlib import Path

import pytest

from kstore.protocol.messages.create_topics import CreateTopicsRequest
from kstore.protocol.messages.delete_topics import DeleteTopicsRequest
from kstore.protocol.messages.metadata import MetadataRequest
from tests.fix_broker import Client, batch
from tests.fuzz.target import Target

NONE, INVALID_TOPIC, UNKNOWN_TOPIC, INVALID_REQUEST = 0, 17, 3, 42
LEGAL = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")

ESCAPES = [
    "../escaped", "..", ".", "../../etc/passwd", "/etc/passwd", "/", "//", "a/../b", "./a", "a/", "\\..\\a", "a\0b",
    "\0",
    "..\u2215a", "%2e%2e%2f", "a\nb", "a b", " ", "\u00e9", "\U0001f980", "\u202ea", "caf\u0065\u0301", "~", "$HOME",
    "`id`",
    "a;b", "*", "?", "con:", "|a", "a'b", 'a"b', "\x7f", "a\tb", "-rf\u00a0",
]  # fmt: skip


def verdict(name):
    legal = name not in ("", ".", "..") and len(name) <= 249 and LEGAL.issuperset(name)
    return NONE if legal else INVALID_TOPIC


def entries(directory):
    """Everything at and below `directory`, and what lies beside it."""
    return sorted(str(path) for path in Path(directory).rglob("*"))


@pytest.fixture(scope="module")
def fenced(tmp_path_factory):
    """A broker whose data directory lies deep inside an empty one, so that an escape is seen."""
    fence = tmp_path_factory.mktemp("fence")
    data = fence / "a" / "b" / "data"
    data.parent.mkdir(parents=True)
    server = Target(data)
    server.start()
    yield server, fence
    server.serves()
    server.kill()


@pytest.fixture
def client(fenced):
    with Client(fenced[0].port) as connected:
        yield connected


def outside(fenced):
    """What lies inside the fence and outside the data directory."""
    server, fence = fenced
    inside = str(server.log_directory)
    run = str(server.log_directory.with_name(f"{server.log_directory.name}.run"))
    return [path for path in entries(fence) if not path.startswith((inside, run))]


def create(client, names, version=7):
    Topic = CreateTopicsRequest.CreatableTopic
    topics = [Topic(name=name, num_partitions=1, replication_factor=1) for name in names]
    return {result.name: result.error_code for result in client.ask(CreateTopicsRequest(topics=topics), version).topics}


def directories(fenced):
    return {name for name in os.listdir(fenced[0].log_directory) if os.path.isdir(fenced[0].log_directory / name)}


def test_every_character_of_a_name_is_judged_as_kafka_does(fenced, client):
    before = outside(fenced)
    names = [f"x{chr(code)}y{code}" for code in range(256)]
    assert create(client, names) == {name: verdict(name) for name in names}
    made = {f"{name}-0" for name in names if verdict(name) == NONE}
    assert made <= directories(fenced)
    assert outside(fenced) == before


@pytest.mark.parametrize("length", [1, 2, 248, 249, 250, 255, 256, 1000, 32767])
def test_every_length_of_a_name_is_judged_as_kafka_does(fenced, client, length):
    name = ("l" * length)[:length]
    assert create(client, [name])[name] == (NONE if length <= 249 else INVALID_TOPIC)
    assert (f"{name}-0" in directories(fenced)) == (length <= 249)


def test_the_longest_name_is_served_and_deleted(fenced, client):
    name = "m" * 249
    client.create_topic(name, 11)
    assert client.produce(name, batch(b"x"), partition=10).error_code == NONE
    assert client.values(name, partition=10) == [b"x"]
    (deleted,) = client.ask(DeleteTopicsRequest(topic_names=[name]), 5).responses
    assert deleted.error_code == NONE
    left = [each for each in directories(fenced) if each.startswith("mmm")]
    assert len(left) == 11
    assert all(each.endswith("-delete") and len(each) <= 255 for each in left)


def test_names_that_lead_elsewhere_are_refused_by_every_way_in(fenced, client):
    before = outside(fenced), directories(fenced)
    for version in (0, 4, 5, 7):
        codes = create(client, ESCAPES, version)
        assert set(codes.values()) == {INVALID_TOPIC}, codes
    # Nor do they come into being because somebody asks, writes, reads or deletes.
    Topic = MetadataRequest.MetadataRequestTopic
    for name in ESCAPES:
        request = MetadataRequest(topics=[Topic(name=name)], allow_auto_topic_creation=True)
        assert client.ask(request, 9).topics[0].error_code == INVALID_TOPIC
        assert client.produce(name, batch(b"x")).error_code == UNKNOWN_TOPIC
        assert client.fetch(name, 0).error_code == UNKNOWN_TOPIC
        assert client.ask(DeleteTopicsRequest(topic_names=[name]), 5).responses[0].error_code == UNKNOWN_TOPIC
    assert (outside(fenced), directories(fenced)) == before


def test_names_that_are_no_text_are_survived(fenced, client):
    """Bytes that are not UTF-8 where a name should be."""
    import struct

    from kstore.protocol.headers import encode_request_header
    from tests.fuzz.target import ask

    before = outside(fenced), directories(fenced)
    for raw in (b"\xff\xfe", b"\xc0\xaf..\xc0\xaf", b"\xed\xa0\x80", b"a\x80"):
        name = struct.pack(">h", len(raw)) + raw
        body = struct.pack(">i", 1) + name + struct.pack(">ihii", 1, 1, 0, 0) + struct.pack(">i", 1000)
        payload = encode_request_header(19, 0, 1, "fuzz") + body
        ask(fenced[0], struct.pack(">i", len(payload)) + payload)
        fenced[0].serves()
    served = {name for name in directories(fenced) if name.startswith("served.")}
    assert (outside(fenced), directories(fenced) - served) == (before[0], before[1] - served)


def test_names_that_differ_in_case_are_two_topics(fenced, client):
    assert create(client, ["Case", "case", "CASE"]) == {"Case": NONE, "case": NONE, "CASE": NONE}
    client.produce("Case", batch(b"upper"))
    client.produce("case", batch(b"lower"))
    assert (client.values("Case"), client.values("case"), client.values("CASE")) == ([b"upper"], [b"lower"], [])


def test_a_dot_and_an_underscore_clash(client):
    assert create(client, ["clash.a", "clash-a"]) == {"clash.a": NONE, "clash-a": NONE}
    assert create(client, ["clash_a"]) == {"clash_a": INVALID_TOPIC}


def test_names_like_directories_come_back_after_a_restart(tmp_path):
    """A topic may be called as a directory of another partition, or of a deleted one, would be."""
    names = ["a", "a-0", "a-1-0", "x-delete", "x.abc-delete", "y-stray", "z-future", f"q-{0:020d}"]
    server = Target(tmp_path / "data")
    server.start()
    with Client(server.port) as client:
        for name in names:
            client.create_topic(name, 2)
            assert client.produce(name, batch(name.encode()), partition=1).error_code == NONE
    server.stop()
    server.start()
    try:
        with Client(server.port) as client:
            assert {name: client.values(name, partition=1) for name in names} == {
                name: [name.encode()] for name in names
            }
    finally:
        server.kill()
