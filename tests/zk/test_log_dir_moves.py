"""Replicas of a cluster in the log directories that Kafka's tool wants them in: before they are made, and after."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.judge.kafka import ZooKeeper
from tests.judge.tools import KafkaTools
from tests.zk.members import Ledger, bootstrap, consumed, create_topic, eventually, kstore_member

pytestmark = pytest.mark.kafka

RATE = "replica.alter.log.dirs.io.max.bytes.per.second"
# In the windows of the quota that is exceeded by the first piece: those last longer than the test.
SLOW, FAST = 1, 10**10
WINDOW = {"alter.log.dirs.replication.quota.window.size.seconds": "60"}


def test_kafkas_tool_brings_replicas_to_a_directory_of_another_broker_and_on_to_the_next_one(
    zookeeper_of_its_own: ZooKeeper, tools_39: KafkaTools, tmp_path: Path
) -> None:
    here, there = str(tmp_path / "here"), str(tmp_path / "there")
    one = kstore_member(tmp_path, 1, zookeeper_of_its_own)
    # Slow where the tool says nothing else: its rate comes by way of ZooKeeper, and a copy could be there before it.
    overrides = {"log.dirs": f"{here},{there}", RATE: str(SLOW), **WINDOW}
    two = kstore_member(tmp_path, 2, zookeeper_of_its_own, overrides)
    members = [one, two]

    def tool(replicas: list[int], log_dirs: list[str], *arguments: object) -> str:
        moves = [
            {"topic": "orders", "partition": index, "replicas": replicas, "log_dirs": log_dirs} for index in (0, 1)
        ]
        file = tmp_path / "moves.json"
        file.write_text(json.dumps({"version": 1, "partitions": moves}))
        words = ("--bootstrap-server", bootstrap(members), "--reassignment-json-file", file, *arguments)
        return tools_39.run("org.apache.kafka.tools.reassign.ReassignPartitionsCommand", *words)

    def places() -> dict[str, list[tuple[str, bool]]]:
        """Partition -> where the second broker has it, and whether that is a copy."""
        printed = tools_39.log_dirs(bootstrap(members), "--describe", "--topic-list", "orders", "--broker-list", 2)
        (broker,) = json.loads(printed[printed.index("{") :])["brokers"]
        found: dict[str, list[tuple[str, Any]]] = {}
        for directory in broker["logDirs"]:
            for entry in directory["partitions"]:
                found.setdefault(entry["partition"], []).append((directory["logDir"], entry["isFuture"]))
        return found

    with one, two:
        create_topic(members, "orders", [[1], [1]])
        ledger = Ledger(members, "orders")
        ledger.produce(300, size=10_000)
        ledger.flush()
        # Of what is not there yet it is remembered where it is wanted: both would not have come there by themselves.
        throttle = "--replica-alter-log-dirs-throttle"
        printed = tool([2, 1], [there, "any"], "--execute", throttle, FAST)
        assert f"Successfully started moving log directory to {there} for replica orders-1 with broker 2" in printed
        said = eventually(
            lambda: tool([2, 1], [there, "any"], "--verify"), wanted=lambda found: "in progress" not in found
        )
        assert "Reassignment of partition orders-0 is completed." in said
        assert "Reassignment of replica orders-0-2 completed successfully." in said
        assert places() == {"orders-0": [(there, False)], "orders-1": [(there, False)]}
        # A leader that is written to; so slowly that the copy is seen, and then as fast as can be.
        ledger.produce(100, size=10_000)
        tool([2, 1], [here, "any"], "--execute", throttle, SLOW)
        assert sorted(places()["orders-0"]) == [(here, True), (there, False)]
        ledger.produce(100, size=10_000)
        tool([2, 1], [here, "any"], "--execute", "--additional", throttle, FAST)
        said = eventually(
            lambda: tool([2, 1], [here, "any"], "--verify"), wanted=lambda found: "in progress" not in found
        )
        assert "Reassignment of replica orders-0-2 completed successfully." in said
        assert places() == {"orders-0": [(here, False)], "orders-1": [(here, False)]}
        ledger.produce(100, size=10_000)
        ledger.flush()
        assert not ledger.failed
        assert consumed(members, "orders", 600) == ledger.acknowledged
