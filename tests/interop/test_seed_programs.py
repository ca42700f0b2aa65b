"""The programs that a beginner writes first, in Java: three ways to send, three ways to consume and commit. They lie in
seed/, whole, and run as they are: the senders to their end, the consumers as processes that are ended or killed."""

import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from tests.interop.conftest import Broker, NewGroup
from tests.judge import log_file
from tests.judge.java import java_command, wait_until
from tests.judge.tools import KafkaTools
from tests.judge.topics import create_topic, offset
from tests.judge.wire_client import WireClient

pytestmark = pytest.mark.kafka

TOPIC = "basic01"
UNKNOWN_TOPIC = 3
TIMEOUT_S = 40


class Program:
    """A consumer's process: what it prints as it comes, a signal, its end."""

    def __init__(self, command: list[str]) -> None:
        self.lines: list[str] = []
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.lines.append(line.rstrip("\n"))

    def wait_for_lines(self, count: int) -> None:
        wait_until(lambda: len(self.lines) >= count, timeout=TIMEOUT_S, what=f"{count} lines of {self.lines}")

    @property
    def offsets(self) -> list[int]:
        """Of a program that prints topic, partition, offset, key, value."""
        return [int(line.split(", ")[2]) for line in self.lines]

    def end(self) -> None:
        """As its user does with Ctrl-C or SIGTERM: it closes its consumer and goes."""
        self._process.terminate()
        self._join()
        assert self._process.returncode == 128 + 15 or self._process.returncode == -15

    def kill(self) -> None:
        self._process.kill()
        self._join()

    def _join(self) -> None:
        self._process.wait(TIMEOUT_S)
        self._thread.join(TIMEOUT_S)
        if self._process.stdout is not None:
            self._process.stdout.close()


Start = Callable[..., Program]
Send = Callable[..., str]


@pytest.fixture(params=["tools_39", "tools_43"])
def tools(request: pytest.FixtureRequest) -> KafkaTools:
    found: KafkaTools = request.getfixturevalue(request.param)
    return found


@pytest.fixture(autouse=True)
def fresh_topic(broker: Broker) -> Callable[..., None]:
    """Makes the one topic that the programs know; what an earlier test wrote is gone."""

    def make(**configs: str) -> None:
        admin = AdminClient({"bootstrap.servers": broker.bootstrap})
        with WireClient(broker.port) as client:
            if TOPIC in admin.list_topics(timeout=30).topics:
                admin.delete_topics([TOPIC])[TOPIC].result(30)
                wait_until(
                    lambda: offset(client, TOPIC, 0)["error_code"] == UNKNOWN_TOPIC, timeout=30, what="basic01 is gone"
                )
            create_topic(client, TOPIC, 1, {key.replace("__", "."): value for key, value in configs.items()})

    make()
    return make


@pytest.fixture
def send(tools: KafkaTools, broker: Broker) -> Send:
    """Runs a sender to its end: `send("SendSync", value, ...)`; what it printed."""
    return lambda program, *values: tools.run(program, broker.bootstrap, *values)


@pytest.fixture
def start(tools: KafkaTools, broker: Broker) -> Iterator[Start]:
    """Starts a consumer: `start("AutoCommit", group, option=value, ...)`, a dot in an option as two underscores."""
    programs: list[Program] = []

    def run(program: str, group: str, **options: Any) -> Program:
        words = [f"{key.replace('__', '.')}={value}" for key, value in options.items()]
        programs.append(Program([*java_command(tools.version, heap="128m"), program, broker.bootstrap, group, *words]))
        return programs[-1]

    yield run
    for program in programs:
        program.kill()


def committed(broker: Broker, group: str) -> int | None:
    consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": group})
    try:
        (found,) = consumer.committed([TopicPartition(TOPIC, 0)], timeout=30)
    except KafkaException:  # the coordinator is still on its way
        return None
    finally:
        consumer.close()
    return None if found.offset < 0 else int(found.offset)


def wait_for_commit(broker: Broker, group: str, wanted: int) -> None:
    wait_until(
        lambda: committed(broker, group) == wanted, timeout=TIMEOUT_S, what=f"{wanted} is committed", interval=0.1
    )


# Three ways to send


def test_what_is_sent_in_any_way_is_consumed(send: Send, start: Start, new_group: NewGroup) -> None:
    send("SendAndForget", "one", "two")
    send("SendSync", "three", "four")
    send("SendAsync", "five", "six")
    reader = start("AutoCommit", new_group(), auto__offset__reset="earliest")
    reader.wait_for_lines(6)
    values = ("one", "two", "three", "four", "five", "six")
    assert reader.lines == [f"basic01, 0, {i}, key, {value}" for i, value in enumerate(values)]


def test_who_waits_for_each_record_is_told_where_it_lies_and_sends_one_at_a_time(send: Send, broker: Broker) -> None:
    assert send("SendSync", "a", "b", "c").splitlines() == ["basic01, 0, 0", "basic01, 0, 1", "basic01, 0, 2"]
    batches = log_file.batches(broker.partition_directory(TOPIC))
    assert [batch.count for batch in batches] == [1, 1, 1]


def test_callback_is_told_where_each_record_lies(send: Send) -> None:
    told = send("SendAsync", "a", "b", "c").splitlines()
    assert told == ["a: basic01, 0, 0", "b: basic01, 0, 1", "c: basic01, 0, 2"]


def test_refusal_reaches_the_callback_and_who_waits_but_not_who_forgets(
    send: Send, tools: KafkaTools, broker: Broker, fresh_topic: Callable[..., None]
) -> None:
    fresh_topic(max__message__bytes="1000")
    large = "v" * 2000
    assert send("SendAndForget", large) == ""
    assert send("SendAsync", large).splitlines() == [f"{large}: RecordTooLargeException"]
    refused = tools.server.run("SendSync", broker.bootstrap, large, check=False)
    assert refused.code == 1
    assert "RecordTooLargeException" in refused.err
    assert log_file.batches(broker.partition_directory(TOPIC)) == []


# Three ways to commit


def test_auto_commit_commits_in_the_background_and_a_killed_consumer_goes_on_there(
    send: Send, start: Start, broker: Broker, new_group: NewGroup
) -> None:
    group = new_group()
    # A static member that comes back is known at once; of others the broker first waits for the session's end.
    options = {"group__instance__id": "one", "auto__commit__interval__ms": 200}
    first = start("AutoCommit", group, auto__offset__reset="earliest", **options)
    send("SendAndForget", *"abcde")
    first.wait_for_lines(5)
    wait_for_commit(broker, group, 5)
    first.kill()
    send("SendAndForget", *"fg")
    second = start("AutoCommit", group, **options)
    second.wait_for_lines(2)
    assert (first.offsets, second.offsets) == ([0, 1, 2, 3, 4], [5, 6])


def test_auto_commit_commits_when_it_is_closed_and_not_when_it_is_killed(
    send: Send, start: Start, broker: Broker, new_group: NewGroup
) -> None:
    group = new_group()
    options = {"group__instance__id": "one", "auto__offset__reset": "earliest", "auto__commit__interval__ms": 600_000}
    send("SendAndForget", *"abc")
    killed = start("AutoCommit", group, **options)
    killed.wait_for_lines(3)
    killed.kill()
    assert committed(broker, group) is None
    again = start("AutoCommit", group, **options)
    again.wait_for_lines(3)  # the same once more: what was read but not committed comes twice
    again.end()
    assert killed.offsets == again.offsets == [0, 1, 2]
    assert committed(broker, group) == 3


def commits(broker: Broker, group: str) -> list[int]:
    """Each offset that the group has committed, in order, from the log of `__consumer_offsets`."""
    consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "nobody", "enable.partition.eof": True})
    partitions = consumer.list_topics("__consumer_offsets", timeout=30).topics["__consumer_offsets"].partitions
    consumer.assign([TopicPartition("__consumer_offsets", partition, 0) for partition in partitions])
    # OffsetCommitKey and OffsetCommitValue: a version, then strings with their length and an offset.
    wanted = b"\0\1" + b"".join(len(word).to_bytes(2) + word for word in (group.encode(), TOPIC.encode()))
    found: list[int] = []
    ended = 0
    deadline = time.monotonic() + TIMEOUT_S
    while ended < len(partitions):
        assert time.monotonic() < deadline
        message = consumer.poll(1)
        if message is None:
            continue
        if message.error() is not None:
            ended += 1
        elif (message.key() or b"").startswith(wanted) and message.value() is not None:
            found.append(int.from_bytes(message.value()[2:10], signed=True))
    consumer.close()
    return found


@pytest.mark.parametrize("program", ["CommitSync", "CommitAsync"])
def test_who_commits_after_each_poll_goes_on_exactly_there(
    send: Send, start: Start, broker: Broker, new_group: NewGroup, program: str
) -> None:
    group = new_group()
    first = start(program, group, group__instance__id="one", auto__offset__reset="latest", max__poll__records=4)
    wait_for_commit(broker, group, 0)  # of a poll that brought nothing: it is at the end, and nothing was there
    send("SendAndForget", *map(str, range(10)))
    first.wait_for_lines(10)
    wait_for_commit(broker, group, 10)
    first.kill()
    send("SendAndForget", "10", "11")
    second = start(program, group, group__instance__id="one")
    second.wait_for_lines(2)
    second.end()
    assert (first.offsets, second.offsets) == (list(range(10)), [10, 11])
    made = commits(broker, group)
    # Four records a poll at most, and each poll's end was committed.
    assert made == sorted(made)
    assert all(after - before <= 4 for before, after in pairwise(made)), made
    assert made[-1] == 12


def test_latest_reads_only_what_comes_after_its_start(
    send: Send, start: Start, broker: Broker, new_group: NewGroup
) -> None:
    group = new_group()
    send("SendAndForget", "before")
    reader = start("CommitAsync", group)
    wait_for_commit(broker, group, 1)
    send("SendAndForget", "after")
    reader.wait_for_lines(1)
    assert reader.lines == ["basic01, 0, 1, key, after"]
