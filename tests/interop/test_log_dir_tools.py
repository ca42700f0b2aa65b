"""Replicas between the log directories of a broker, moved and shown by Kafka 3.9.1's own tools (KIP-113)."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.interop.conftest import Broker, broker_apart
from tests.judge.java import JudgeError, wait_until
from tests.judge.tools import KafkaTools
from tests.judge.topics import create_topic
from tests.judge.wire_client import WireClient

pytestmark = pytest.mark.kafka

RECORDS = 8000
SIZE = 1000
# Bytes per second: so slow that nothing is moved while it is looked at, and so fast that it does not wait.
SLOW, FAST = 50_000, 10**10


class Place(NamedTuple):
    directory: str
    is_future: bool
    offset_lag: int


class LogDirs:
    """A broker over two directories, and what the tools do to it and say of it."""

    def __init__(self, broker: Broker, tools: KafkaTools, directories: list[str], scratch: Path) -> None:
        self.broker = broker
        self.tools = tools
        self.directories = directories
        self._scratch = scratch

    def create(self, topic: str) -> None:
        with WireClient(self.broker.port) as client:
            create_topic(client, topic, 1, {})

    def fill(self, topic: str) -> None:
        rate = ("--num-records", RECORDS, "--record-size", SIZE, "--throughput", -1)
        self.tools.producer_performance(self.broker.bootstrap, topic, *rate)

    def described(self) -> list[dict[str, Any]]:
        printed = self.tools.log_dirs(self.broker.bootstrap, "--describe")
        (described,) = json.loads(printed[printed.index("{") :])["brokers"]
        found: list[dict[str, Any]] = described["logDirs"]
        return found

    def places(self, topic: str) -> list[Place]:
        """Where the tool says that the replica lies, and its copy."""
        return sorted(
            Place(directory["logDir"], entry["isFuture"], entry["offsetLag"])
            for directory in self.described()
            for entry in directory["partitions"]
            if entry["partition"] == f"{topic}-0"
        )

    def place(self, topic: str) -> str:
        (place,) = self.places(topic)
        assert not place.is_future
        return place.directory

    def other_than(self, directory: str) -> str:
        (other,) = set(self.directories) - {directory}
        return other

    def reassign(self, topic: str, directory: str, *arguments: object) -> str:
        """What kafka-reassign-partitions.sh prints. Raises JudgeError with it when it fails."""
        wanted = {"topic": topic, "partition": 0, "replicas": [1], "log_dirs": [directory]}
        file = self._scratch / f"{time.monotonic_ns()}.json"
        file.write_text(json.dumps({"version": 1, "partitions": [wanted]}))
        words = ("--bootstrap-server", self.broker.bootstrap, "--reassignment-json-file", file, *arguments)
        return self.tools.run("org.apache.kafka.tools.reassign.ReassignPartitionsCommand", *words)


Start = Callable[..., LogDirs]


@pytest.fixture
def start(tmp_path: Path, tools_39: KafkaTools) -> Iterator[Start]:
    """Starts a broker over `a` and `b`."""
    brokers: list[Broker] = []

    def begin() -> LogDirs:
        directories = [str(tmp_path / "a"), str(tmp_path / "b")]
        broker = broker_apart(Path(directories[0]), {"log.dirs": ",".join(directories)})
        brokers.append(broker)
        broker.start()
        return LogDirs(broker, tools_39, directories, tmp_path)

    yield begin
    for broker in brokers:
        broker.kill()


def filled(start: Start) -> tuple[LogDirs, str, str]:
    """A broker whose `orders` has records, the directory where they lie, and the other one."""
    dirs = start()
    dirs.create("orders")
    dirs.fill("orders")
    here = dirs.place("orders")
    return dirs, here, dirs.other_than(here)


def test_a_replica_is_moved_at_a_rate_shown_as_a_copy_and_verified(start: Start) -> None:
    dirs, here, there = filled(start)
    printed = dirs.reassign("orders", there, "--execute", "--replica-alter-log-dirs-throttle", SLOW)
    assert f"The replica-alter-dir throttle limit was set to {SLOW} B/s" in printed
    assert f"Successfully started moving log directory to {there} for replica orders-0 with broker 1" in printed
    (copy,) = [place for place in dirs.places("orders") if place.is_future]
    assert copy.directory == there
    assert 0 < copy.offset_lag <= RECORDS
    assert [place for place in dirs.places("orders") if not place.is_future] == [Place(here, False, 0)]
    assert "Reassignment of replica orders-0-1 is still in progress" in dirs.reassign("orders", there, "--verify")
    assert f"is being moved to log dir {there} instead of {here}" in dirs.reassign("orders", here, "--verify")
    # What was slow goes on faster at once.
    dirs.reassign("orders", there, "--execute", "--additional", "--replica-alter-log-dirs-throttle", FAST)
    wait_until(lambda: len(dirs.places("orders")) == 1, timeout=40, what="the replica is moved")
    assert dirs.places("orders") == [Place(there, False, 0)]
    printed = dirs.reassign("orders", there, "--verify")
    assert "Reassignment of replica orders-0-1 completed successfully." in printed
    assert "Clearing broker-level throttles on broker 1" in printed
    entity = ("--entity-type", "brokers", "--entity-name", "1")
    assert "replica.alter.log.dirs.io.max" not in dirs.tools.configs(dirs.broker.bootstrap, "--describe", *entity)
    read = dirs.tools.console_consumer(dirs.broker.bootstrap, "orders", "--from-beginning", "--max-messages", RECORDS)
    assert len(read.split()) == RECORDS
    dirs.broker.stop()
    dirs.tools.assert_partition_is_sound(Path(there, "orders-0"))
    dirs.broker.start()
    assert dirs.places("orders") == [Place(there, False, 0)]


def test_a_move_is_cancelled_by_the_wish_for_where_the_replica_is(start: Start) -> None:
    dirs, here, there = filled(start)
    dirs.reassign("orders", there, "--execute", "--replica-alter-log-dirs-throttle", SLOW)
    assert len(dirs.places("orders")) == 2
    dirs.reassign("orders", there, "--cancel")
    assert dirs.places("orders") == [Place(here, False, 0)]
    printed = dirs.reassign("orders", there, "--verify")
    assert f"Partition orders-0 on broker 1 is not being moved from log dir {here} to {there}" in printed


def test_a_directory_that_is_not_there_and_one_that_is_offline_are_told_apart(start: Start, tmp_path: Path) -> None:
    dirs = start()
    dirs.create("orders")
    here, there = dirs.directories  # the first, where the metadata lies, and one to go offline
    dirs.reassign("orders", here, "--execute")
    wait_until(lambda: dirs.places("orders") == [Place(here, False, 0)], timeout=20, what="the replica is in the first")
    with pytest.raises(JudgeError, match=r"LogDirNotFoundException"):
        dirs.reassign("orders", str(tmp_path / "c"), "--execute")
    with pytest.raises(JudgeError, match=r"LogDirNotFoundException"):
        dirs.reassign("orders", "b", "--execute")
    assert dirs.places("orders") == [Place(here, False, 0)]
    dirs.broker.stop()
    Path(there).rename(tmp_path / "away")
    Path(there).write_text("no directory")
    dirs.broker.start()
    assert {found["logDir"]: found["error"] for found in dirs.described()}[here] is None
    with pytest.raises(JudgeError, match=r"KafkaStorageException"):
        dirs.reassign("orders", there, "--execute")
    assert dirs.place("orders") == here
