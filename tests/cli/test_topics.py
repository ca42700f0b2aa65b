"""`kstore topics`, against kstore and real Kafka: what one does the other does."""

import pytest
from confluent_kafka.admin import AdminClient, ConfigResource

from tests.cli.run import Kstore
from tests.judge.java import wait_until


def own_configs(bootstrap: str, topic: str) -> dict[str, str]:
    """What is configured for the topic itself, as the client library sees it."""
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
    admin = AdminClient({"bootstrap.servers": bootstrap})
    entries = admin.describe_configs([resource])[resource].result(20)
    return {name: entry.value for name, entry in entries.items() if entry.source == 1}


def test_list_shows_topics_with_their_partitions(kstore: Kstore, bootstrap: str, topic: str) -> None:
    assert kstore("topics", "create", topic, "--partitions", 3, "-b", bootstrap).out == f"created {topic}\n"
    ran = kstore("topics", "list", "-b", bootstrap, "--json")
    assert ran.status == 0
    row = {"topic": topic, "partitions": 3, "replicas": 1, "internal": False}
    assert [found for found in ran.rows if found["topic"] == topic] == [row]
    lines = [line.split() for line in kstore("topics", "list", "-b", bootstrap).out.splitlines()]
    assert lines[0] == ["TOPIC", "PARTITIONS", "REPLICAS"]
    assert [topic, "3", "1"] in lines


def test_describe_shows_partitions_offsets_and_configuration(kstore: Kstore, bootstrap: str, topic: str) -> None:
    kstore("topics", "create", topic, "--partitions", 2, "--config", "retention.ms=777000", "-b", bootstrap)
    assert kstore("produce", topic, "-f", __file__, "--whole", "-p", 1, "-b", bootstrap).status == 0
    ran = kstore("topics", "describe", topic, "-b", bootstrap, "--json")
    assert ran.status == 0
    (row,) = ran.rows
    assert (row["topic"], row["configs"]) == (topic, {"retention.ms": "777000"})
    offsets = [(found["partition"], found["first_offset"], found["end_offset"]) for found in row["partitions"]]
    assert offsets == [(0, 0, 0), (1, 0, 1)]
    assert all(found["leader"] == 1 and found["isr"] == [1] for found in row["partitions"])
    text = kstore("topics", "describe", topic, "-b", bootstrap).out.splitlines()
    assert text[:2] == [topic, "retention.ms=777000"]
    assert text[2].split()[:5] == ["PARTITION", "LEADER", "EPOCH", "REPLICAS", "ISR"]
    assert text[4].split() == ["1", "1", "0", "1", "1", "0", "1"]


def test_a_topic_is_altered(kstore: Kstore, bootstrap: str, topic: str) -> None:
    kstore("topics", "create", topic, "--config", "retention.ms=1000", "-b", bootstrap)
    changes = ("--partitions", 4, "--config", "segment.ms=60000", "--delete-config", "retention.ms")
    ran = kstore("topics", "alter", topic, *changes, "-b", bootstrap, "--json")
    assert (ran.status, ran.rows) == (0, [{"topic": topic, "result": "altered"}])
    # Kafka answers before its broker has heard of it.
    wait_until(lambda: own_configs(bootstrap, topic) == {"segment.ms": "60000"}, timeout=30, what="it is altered")
    described = ("topics", "describe", topic, "-b", bootstrap, "--json")
    wait_until(lambda: len(kstore(*described).rows[0]["partitions"]) == 4, timeout=30, what="it has four partitions")


def test_topics_are_deleted(kstore: Kstore, bootstrap: str, topic: str) -> None:
    kstore("topics", "create", topic, f"{topic}-2", "-b", bootstrap)
    ran = kstore("topics", "delete", topic, f"{topic}-2", "-b", bootstrap)
    assert (ran.status, ran.out) == (0, f"deleted {topic}\ndeleted {topic}-2\n")
    assert topic not in kstore("topics", "list", "-b", bootstrap).out


def test_what_is_there_already_and_what_is_not_is_told(kstore: Kstore, bootstrap: str, topic: str) -> None:
    kstore("topics", "create", topic, "-b", bootstrap)
    again = kstore("topics", "create", topic, f"{topic}-2", "-b", bootstrap)
    assert (again.status, again.out) == (1, f"created {topic}-2\n")
    assert topic in again.err
    assert "already" in again.err
    tolerant = kstore("topics", "create", topic, "--if-not-exists", "-b", bootstrap, "--json")
    assert (tolerant.status, tolerant.rows) == (0, [{"topic": topic, "result": "exists"}])
    missing = f"{topic}-missing"
    for command in ("describe", "delete"):
        ran = kstore("topics", command, missing, "-b", bootstrap)
        assert ran.status == 1
        assert (
            ran.err == f"kstore: {missing}: there is no such topic; `kstore topics list` shows those that there are\n"
        )
    assert kstore("topics", "delete", missing, "--if-exists", "-b", bootstrap).out == f"missing {missing}\n"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("--partitions", "1"), "partition"),
        (("--config", "retention.hours=5"), "retention.hours"),
        (("--config", "retention.ms=soon"), "retention.ms"),
    ],
)
def test_a_refused_change_is_told_in_one_line(
    kstore: Kstore, bootstrap: str, topic: str, change: tuple[str, str], said: str
) -> None:
    kstore("topics", "create", topic, "--partitions", 2, "-b", bootstrap)
    ran = kstore("topics", "alter", topic, *change, "-b", bootstrap)
    assert ran.status == 1
    assert ran.err.startswith(f"kstore: {topic}: ")
    assert said in ran.err
    assert len(ran.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("alter", "x"), "nothing to alter: give --partitions, --config or --delete-config"),
        (("alter", "x", "--config", "retention.ms"), "--config retention.ms: give KEY=VALUE"),
        (("create",), "the following arguments are required: TOPIC (see `kstore topics create --help`)"),
        (("create", "x", "--partitions", "0"), "0 is not in [1, 2147483647]"),
        (("list", "-X", "nonsense=1"), '-X: No such configuration property: "nonsense"'),
        (("list", "-X", "nonsense"), "-X nonsense: give KEY=VALUE"),
        (("list", "--timeout", "soon"), "--timeout: invalid seconds value: 'soon'"),
    ],
)
def test_a_wrong_command_line_is_told_in_one_line(kstore: Kstore, arguments: tuple[str, ...], said: str) -> None:
    ran = kstore("topics", *arguments)
    assert (ran.status, ran.out) == (2, "")
    assert said in ran.err
    assert len(ran.err.splitlines()) == 1


@pytest.mark.parametrize("address", ["127.0.0.1:1", "no-such-host.invalid:9092"])
@pytest.mark.parametrize(
    "command",
    [
        "topics list",
        "topics describe t",
        "topics create t",
        "topics delete t",
        "topics alter t --partitions 2",
        "produce t",
        "consume t\n    ",
        "consume t --group g",
        "groups list",
        "groups describe g",
        "groups delete g",
        "groups reset-offsets g --to end --all-topics\n    ",
    ],
)
def test_a_broker_that_is_not_there_is_told_in_one_line_at_once(kstore: Kstore, command: str, address: str) -> None:
    ran = kstore(*command.split(), "-b", address, "--timeout", "60")
    assert (ran.status, ran.out) == (1, "")
    assert f"no broker answers at {address} (" in ran.err
    assert "--bootstrap-server" in ran.err
    assert len(ran.err.splitlines()) == 1
