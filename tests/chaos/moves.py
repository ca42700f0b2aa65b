"""Replicas and leaders that are moved, with the tools that Kafka's operators use."""

import json
from pathlib import Path

from tests.chaos.cluster import Cluster, eventually
from tests.judge.tools import KafkaTools

REASSIGN = "org.apache.kafka.tools.reassign.ReassignPartitionsCommand"
ELECT = "org.apache.kafka.tools.LeaderElectionCommand"


class Move:
    """Of all partitions of a topic to other brokers: `replicas` of each."""

    def __init__(self, cluster: Cluster, tools: KafkaTools, topic: str, replicas: list[list[int]], file: Path) -> None:
        self.cluster = cluster
        self.tools = tools
        self.topic = topic
        self.replicas = replicas
        self.file = file

    def begin(self, *words: object) -> None:
        partitions = [
            {"topic": self.topic, "partition": index, "replicas": wanted, "log_dirs": ["any"] * len(wanted)}
            for index, wanted in enumerate(self.replicas)
        ]
        self.file.write_text(json.dumps({"version": 1, "partitions": partitions}))
        self._run("--execute", *words)

    def wait_until_complete(self, timeout: float = 90) -> None:
        """By the tool's own words, which so take away the throttles."""
        eventually(
            lambda: self._run("--verify"),
            wanted=lambda text: text.count("is completed") == len(self.replicas) and "still in progress" not in text,
            timeout=timeout,
            what="the reassignment is completed",
        )
        assert self.cluster.replicas(self.topic) == dict(enumerate(self.replicas))

    def _run(self, *words: object) -> str:
        where = ("--bootstrap-server", self.cluster.bootstrap, "--reassignment-json-file", self.file)
        return self.tools.run(REASSIGN, *where, *words, check="--execute" in words)


def elect_preferred(cluster: Cluster, tools: KafkaTools) -> None:
    """The first replica of every partition leads it."""
    tools.run(ELECT, "--bootstrap-server", cluster.bootstrap, "--election-type", "preferred", "--all-topic-partitions")
