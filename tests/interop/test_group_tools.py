"""Kafka's own group tools and consumers in groups, 3.9.1 and 4.3.0, against a running broker."""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.interop.conftest import NewGroup, NewTopic
from tests.judge.java import wait_until
from tests.judge.tools import KafkaTools

pytestmark = pytest.mark.kafka


@pytest.fixture(params=["tools_39", "tools_43"])
def tools(request: pytest.FixtureRequest) -> KafkaTools:
    found: KafkaTools = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def other_tools(tools: KafkaTools) -> Iterator[KafkaTools]:
    """A second JVM: a tool that runs on does not hold up the others."""
    others = KafkaTools(tools.version)
    yield others
    others.close()


def lines(*numbers: int) -> str:
    return "".join(f"{number}\n" for number in range(*numbers))


def consume(tools: KafkaTools, bootstrap: str, topic: str, group: str, count: int, *arguments: object) -> list[str]:
    """What a console consumer in a group reads until it has `count`; it commits them when it ends."""
    where = ("--group", group, "--from-beginning", "--max-messages", count, "--timeout-ms", 30_000)
    return tools.console_consumer(bootstrap, topic, *where, *arguments).split()


def table(printed: str) -> list[dict[str, str]]:
    """The rows of what kafka-consumer-groups prints, by its column names."""
    rows = [line.split() for line in printed.splitlines() if line.strip()]
    start = next(index for index, row in enumerate(rows) if row[0] == "GROUP")
    return [dict(zip(rows[start], row, strict=False)) for row in rows[start + 1 :]]


def lags(tools: KafkaTools, bootstrap: str, group: str) -> dict[int, tuple[str, str, str]]:
    """Partition -> committed offset, end, lag."""
    rows = table(tools.groups(bootstrap, "--describe", "--group", group))
    return {int(row["PARTITION"]): (row["CURRENT-OFFSET"], row["LOG-END-OFFSET"], row["LAG"]) for row in rows}


@pytest.mark.parametrize(
    "assignor", ["RangeAssignor", "RoundRobinAssignor", "StickyAssignor", "CooperativeStickyAssignor"]
)
def test_a_console_consumer_goes_on_where_its_group_was(
    tools: KafkaTools, bootstrap: str, new_topic: NewTopic, new_group: NewGroup, assignor: str
) -> None:
    topic, group = new_topic(partitions=2), new_group()
    strategy = f"partition.assignment.strategy=org.apache.kafka.clients.consumer.{assignor}"
    tools.console_producer(bootstrap, topic, lines(30))
    flag = "--consumer-property" if tools.version == "3.9.1" else "--command-property"
    options = (flag, strategy)
    assert sorted(consume(tools, bootstrap, topic, group, 30, *options), key=int) == lines(30).split()
    tools.console_producer(bootstrap, topic, lines(30, 50))
    assert sorted(consume(tools, bootstrap, topic, group, 20, *options), key=int) == lines(30, 50).split()


def test_lag_is_described_and_offsets_reset_in_every_way(
    tools: KafkaTools, bootstrap: str, new_topic: NewTopic, new_group: NewGroup
) -> None:
    topic, group = new_topic(), new_group()
    tools.console_producer(bootstrap, topic, lines(10))
    consume(tools, bootstrap, topic, group, 4)
    assert lags(tools, bootstrap, group) == {0: ("4", "10", "6")}

    def reset(*how: object) -> None:
        printed = tools.groups(bootstrap, "--reset-offsets", "--group", group, "--topic", topic, *how, "--execute")
        assert "Error" not in printed

    for how, offset in (
        (("--to-earliest",), "0"),
        (("--to-latest",), "10"),
        (("--shift-by", "-3"), "7"),
        (("--to-offset", "5"), "5"),
        (("--to-current",), "5"),
        (("--to-datetime", "2001-01-01T00:00:00.000"), "0"),
        (("--by-duration", "PT0S"), "10"),
    ):
        reset(*how)
        assert lags(tools, bootstrap, group)[0][0] == offset, how
    reset("--to-offset", 8)
    assert consume(tools, bootstrap, topic, group, 2) == ["8", "9"]


def test_members_and_states_are_described(
    tools: KafkaTools, other_tools: KafkaTools, bootstrap: str, new_topic: NewTopic, new_group: NewGroup
) -> None:
    topic, group = new_topic(partitions=3), new_group()
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(consume, other_tools, bootstrap, topic, group, 1)

        def state() -> str:
            return tools.groups(bootstrap, "--describe", "--group", group, "--state")

        wait_until(lambda: "Stable" in state(), timeout=30, what="the group is stable")
        assert re.search(rf"{group}\s.*\srange\s+Stable\s+1\b", state())
        members = tools.groups(bootstrap, "--describe", "--group", group, "--members", "--verbose")
        assert re.search(r"/127\.0\.0\.1\s+console-consumer\s+3\s+.*\b0,1,2\b", members), members
        assert "GroupNotEmptyException" in tools.groups(bootstrap, "--delete", "--group", group, check=False)
        tools.console_producer(bootstrap, topic, "x\n")
        assert reading.result(60) == ["x"]
    wait_until(lambda: "Empty" in state(), timeout=30, what="the group is empty")


def test_groups_are_listed_and_deleted(
    tools: KafkaTools, bootstrap: str, new_topic: NewTopic, new_group: NewGroup
) -> None:
    topic, group = new_topic(), new_group()
    tools.console_producer(bootstrap, topic, lines(3))
    consume(tools, bootstrap, topic, group, 3)
    assert group in tools.groups(bootstrap, "--list").split()
    listed = tools.groups(bootstrap, "--list", "--state")
    assert re.search(rf"{group}\s+.*Empty", listed), listed
    assert f"'{group}'" in tools.groups(bootstrap, "--delete", "--group", group)
    assert group not in tools.groups(bootstrap, "--list").split()


def test_offsets_of_a_topic_are_deleted(
    tools: KafkaTools, bootstrap: str, new_topic: NewTopic, new_group: NewGroup
) -> None:
    kept, dropped, group = new_topic(), new_topic(), new_group()
    for topic in (kept, dropped):
        tools.console_producer(bootstrap, topic, lines(3))
        consume(tools, bootstrap, topic, group, 3)
    printed = tools.groups(bootstrap, "--delete-offsets", "--group", group, "--topic", dropped)
    assert re.search(rf"{dropped}\s+0\s+Successful", printed), printed
    rows = table(tools.groups(bootstrap, "--describe", "--group", group))
    assert [row["TOPIC"] for row in rows] == [kept]


def test_internal_topic_is_shown_as_kafka_makes_it(tools: KafkaTools, bootstrap: str, new_group: NewGroup) -> None:
    tools.groups(bootstrap, "--describe", "--group", new_group(), check=False)
    described = tools.topics(bootstrap, "--describe", "--topic", "__consumer_offsets")
    assert "cleanup.policy=compact" in described
    assert "compression.type=producer" in described
    assert "__consumer_offsets" not in tools.topics(bootstrap, "--list", "--exclude-internal").split()


def test_consumer_performance(tools: KafkaTools, bootstrap: str, new_topic: NewTopic, new_group: NewGroup) -> None:
    topic = new_topic(partitions=2)
    tools.producer_performance(bootstrap, topic, "--num-records", 20_000, "--record-size", 100, "--throughput", -1)
    count = "--messages" if tools.version == "3.9.1" else "--num-records"
    printed = tools.run(
        "org.apache.kafka.tools.ConsumerPerformance",
        *(
            "--bootstrap-server",
            bootstrap,
            "--topic",
            topic,
            count,
            20_000,
            "--group",
            new_group(),
            "--timeout",
            30_000,
        ),
    )
    assert re.search(r"\b200\d\d\b", printed), printed
