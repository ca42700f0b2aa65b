"""`kstore groups`: what consumers of a group have committed, who they are, and how a group is moved and deleted."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition

from tests.cli.run import Kstore
from tests.judge.java import wait_until
from tests.judge.kafka import KafkaBroker
from tests.judge.tools import KafkaTools


@pytest.fixture
def group() -> str:
    return f"group-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def filled(kstore: Kstore, bootstrap: str, topic: str, tmp_path: Any) -> str:
    """A topic of two partitions with ten records in each, of one second after the other."""
    kstore("topics", "create", topic, "--partitions", 2, "-b", bootstrap)
    lines = tmp_path / "lines"
    for partition in range(2):
        times = range(1_700_000_000_000, 1_700_000_010_000, 1000)
        lines.write_text("".join(f'{{"value": "v", "timestamp": {timestamp}}}\n' for timestamp in times))
        assert kstore("produce", topic, "-f", lines, "--json", "-p", partition, "-b", bootstrap).status == 0
    return topic


@contextmanager
def member(bootstrap: str, group: str, topic: str) -> Iterator[Consumer]:
    """A consumer that has its partitions."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": group, "client.id": "the-client"})
    consumer.subscribe([topic])

    def has_partitions() -> bool:
        consumer.poll(0.1)
        return bool(consumer.assignment())

    wait_until(has_partitions, timeout=30, what="partitions are assigned")
    yield consumer
    consumer.close()


def commit(bootstrap: str, group: str, topic: str, offsets: dict[int, int]) -> None:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": group})
    consumer.commit(
        offsets=[TopicPartition(topic, partition, offset) for partition, offset in offsets.items()], asynchronous=False
    )
    consumer.close()


def committed(kstore: Kstore, bootstrap: str, group: str) -> dict[tuple[str, int], int]:
    (row,) = kstore("groups", "describe", group, "--json", "-b", bootstrap).rows
    return {(found["topic"], found["partition"]): found["committed"] for found in row["offsets"]}


def test_offsets_are_described_with_their_lag(kstore: Kstore, bootstrap: str, filled: str, group: str) -> None:
    commit(bootstrap, group, filled, {0: 4, 1: 10})
    ran = kstore("groups", "describe", group, "--json", "-b", bootstrap)
    assert ran.status == 0
    (row,) = ran.rows
    assert (row["group"], row["state"], row["members"]) == (group, "Empty", [])
    offsets = [(found["partition"], found["committed"], found["end_offset"], found["lag"]) for found in row["offsets"]]
    assert offsets == [(0, 4, 10, 6), (1, 10, 10, 0)]
    lines = kstore("groups", "describe", group, "-b", bootstrap).out.splitlines()
    assert lines[0] == f"{group}: Empty, 0 members"
    assert lines[2].split() == [filled, "0", "4", "10", "6", "-", "-"]


def test_members_are_described(kstore: Kstore, bootstrap: str, filled: str, group: str) -> None:
    with member(bootstrap, group, filled):
        (row,) = kstore("groups", "describe", group, "--json", "-b", bootstrap).rows
        assert row["state"] == "Stable"
        (found,) = row["members"]
        assert found["client"] == "the-client"
        assert found["partitions"] == [f"{filled}-0", f"{filled}-1"]
        assert {offset["member"] for offset in row["offsets"]} == {found["member"]}
        text = kstore("groups", "describe", group, "--members", "-b", bootstrap).out
        assert text.startswith(f"{group}: Stable, 1 member\nMEMBER ")
        assert found["member"] in text
        listed = kstore("groups", "list", "--json", "-b", bootstrap).rows
        assert [row["state"] for row in listed if row["group"] == group] == ["Stable"]


def test_groups_are_listed(kstore: Kstore, bootstrap: str, filled: str, group: str) -> None:
    commit(bootstrap, group, filled, {0: 1})
    rows = kstore("groups", "list", "--json", "-b", bootstrap).rows
    assert [row["state"] for row in rows if row["group"] == group] == ["Empty"]
    assert group in kstore("groups", "list", "-b", bootstrap).out


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (("--to", "beginning"), [0, 0]),
        (("--to", "end"), [10, 10]),
        (("--to", "3"), [3, 3]),
        (("--to", "99"), [10, 10]),
        (("--to", "-4"), [6, 6]),
        (("--to", "2023-11-14T22:13:27Z"), [7, 7]),
        (("--by", "2"), [6, 10]),
        (("--by", "-3"), [1, 6]),
    ],
)
def test_offsets_are_moved(
    kstore: Kstore, bootstrap: str, filled: str, group: str, where: tuple[str, str], expected: list[int]
) -> None:
    commit(bootstrap, group, filled, {0: 4, 1: 9})
    shown = kstore("groups", "reset-offsets", group, "--topic", filled, *where, "-b", bootstrap)
    assert shown.status == 0
    assert "nothing was changed: add --execute" in shown.err
    assert committed(kstore, bootstrap, group) == {(filled, 0): 4, (filled, 1): 9}
    done = kstore("groups", "reset-offsets", group, "--all-topics", *where, "--execute", "--json", "-b", bootstrap)
    assert done.status == 0
    assert [(row["partition"], row["committed"], row["new"], row["executed"]) for row in done.rows] == [
        (0, 4, expected[0], True),
        (1, 9, expected[1], True),
    ]
    assert committed(kstore, bootstrap, group) == {(filled, 0): expected[0], (filled, 1): expected[1]}


def test_some_partitions_of_a_group_that_is_new_are_set(
    kstore: Kstore, bootstrap: str, filled: str, group: str
) -> None:
    ran = kstore("groups", "reset-offsets", group, "--topic", f"{filled}:1", "--to", "5", "--execute", "-b", bootstrap)
    assert ran.status == 0
    assert committed(kstore, bootstrap, group) == {(filled, 1): 5}


def test_a_group_with_members_is_neither_moved_nor_deleted(
    kstore: Kstore, bootstrap: str, filled: str, group: str
) -> None:
    with member(bootstrap, group, filled):
        ran = kstore("groups", "reset-offsets", group, "--topic", filled, "--to", "end", "--execute", "-b", bootstrap)
        assert ran.status == 1
        assert ran.err == f"kstore: {group} has 1 member: stop them, offsets are moved only of an empty group\n"
        ran = kstore("groups", "delete", group, "-b", bootstrap)
        assert (ran.status, ran.err) == (1, f"kstore: {group}: has members: stop them first\n")


def test_groups_are_deleted(kstore: Kstore, bootstrap: str, filled: str, group: str) -> None:
    commit(bootstrap, group, filled, {0: 1})
    ran = kstore("groups", "delete", group, f"{group}-missing", "-b", bootstrap)
    assert (ran.status, ran.out) == (1, f"deleted {group}\n")
    assert f"{group}-missing: there is no such group" in ran.err
    ran = kstore("groups", "describe", group, "-b", bootstrap)
    assert ran.status == 1
    assert "there is no such group" in ran.err


def test_consuming_as_a_group_goes_on_where_it_was(kstore: Kstore, bootstrap: str, filled: str, group: str) -> None:
    first = kstore("consume", filled, "--group", group, "-n", 7, "--json", "-b", bootstrap)
    assert len(first.rows) == 7
    rest = kstore("consume", filled, "--group", group, "-e", "--json", "-b", bootstrap)
    read = {(row["partition"], row["offset"]) for row in first.rows + rest.rows}
    assert len(rest.rows) == 13
    assert len(read) == 20
    assert committed(kstore, bootstrap, group) == {(filled, 0): 10, (filled, 1): 10}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("reset-offsets", "g", "--topic", "t"), "give either --to or --by"),
        (("reset-offsets", "g", "--topic", "t", "--to", "end", "--by", "1"), "give either --to or --by"),
        (("reset-offsets", "g", "--to", "end"), "give either --topic or --all-topics"),
        (("describe",), "the following arguments are required: GROUP"),
    ],
)
def test_a_wrong_command_line_is_told_in_one_line(kstore: Kstore, arguments: tuple[str, ...], said: str) -> None:
    ran = kstore("groups", *arguments)
    assert (ran.status, ran.out) == (2, "")
    assert said in ran.err
    assert len(ran.err.splitlines()) == 1


@pytest.mark.kafka
def test_kafkas_own_tool_sees_the_same(
    kstore: Kstore, kafka_39: KafkaBroker, tools_39: KafkaTools, topic: str, group: str, tmp_path: Any
) -> None:
    (tmp_path / "lines").write_text("a\nb\nc\n")
    kstore("produce", topic, "-f", tmp_path / "lines", "-b", kafka_39.bootstrap)
    kstore("groups", "reset-offsets", group, "--topic", topic, "--to", "1", "--execute", "-b", kafka_39.bootstrap)
    main = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"
    printed = tools_39.run(main, "--bootstrap-server", kafka_39.bootstrap, "--describe", "--group", group)
    (line,) = [line.split() for line in printed.splitlines() if line.startswith(group)]
    assert line[1:6] == [topic, "0", "1", "3", "2"]
