"""Seeded requests of every API of the broker, sensible ones and wrong ones.

A `Questioner` knows which topics it has made, so that most of what it asks exists; names, partitions,
offsets, epochs and configurations that are not there are asked for as well.
"""

import random
from collections.abc import Callable, Iterator
from typing import Any

from kafka.protocol.admin import (
    AlterConfigsRequest,
    CreatePartitionsRequest,
    CreateTopicsRequest,
    DeleteRecordsRequest,
    DeleteTopicsRequest,
    DescribeClusterRequest,
    DescribeConfigsRequest,
    DescribeLogDirsRequest,
    DescribeTopicPartitionsRequest,
    IncrementalAlterConfigsRequest,
)
from kafka.protocol.consumer import FetchRequest, ListOffsetsRequest, OffsetForLeaderEpochRequest
from kafka.protocol.metadata import MetadataRequest
from kafka.protocol.producer import InitProducerIdRequest, ProduceRequest

from tests.interop.pair import Question, Side
from tests.judge.wire_client import CODECS, batch, message

START = 1_700_000_000_000
NAMES = [*(f"topic-{number}" for number in range(8)), "under_score", "dot.ted"]
WRONG_NAMES = ["", ".", "..", "a/b", "x" * 250, "under.score", "dot_ted", "sp ace", "\u00fcml"]
TOPIC_CONFIGS = {
    "cleanup.policy": ["delete", "compact", "compact,delete", "compact,compact", "other", ""],
    "compression.type": ["producer", "lz4", "uncompressed", "LZ4", "none"],
    "flush.messages": ["1", "9223372036854775807", "0", "x"],
    "index.interval.bytes": ["0", "4096", "-1", "2147483648"],
    "max.message.bytes": ["1000", "1048588", "-1"],
    "message.timestamp.type": ["CreateTime", "LogAppendTime", "createtime"],
    "message.timestamp.after.max.ms": ["3600000", "9223372036854775807", "-1"],
    "min.insync.replicas": ["1", "2", "0"],
    "min.cleanable.dirty.ratio": ["0.5", "1", "1.01", "-0.1"],
    "preallocate": ["false", "true", "TRUE", "1"],
    "retention.bytes": ["-1", "100000000", "-2", ""],
    "retention.ms": ["-1", "99999999999999", "-2", " 99999999999999 "],
    "segment.bytes": ["100000", "13", "1073741824", "9999999999"],
    "segment.ms": ["604800000", "1", "0"],
    "segment.jitter.ms": ["0", "10", "-1"],
    "unclean.leader.election.enable": ["false", "true", "yes"],
    "no.such.key": ["1"],
}


class Questioner:
    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.topics: dict[str, int] = {}  # name -> partitions, as far as Kafka agreed
        self.step = 0

    def questions(self, count: int) -> Iterator[Question]:
        kinds: list[tuple[int, Callable[[], Question]]] = [
            (12, self.produce),
            (10, self.fetch),
            (8, self.list_offsets),
            (6, self.metadata),
            (4, self.offset_for_leader_epoch),
            (4, self.describe_configs),
            (3, self.create_topics),
            (3, self.delete_records),
            (3, self.incremental_alter_configs),
            (2, self.alter_configs),
            (2, self.create_partitions),
            (2, self.describe_topic_partitions),
            (2, self.describe_log_dirs),
            (1, self.delete_topics),
            (1, self.init_producer_id),
            (1, self.describe_cluster),
        ]
        weights = [weight for weight, _ in kinds]
        for self.step in range(count):
            kind = self.create_topics if not self.topics else self.dice.choices(kinds, weights)[0][1]
            yield kind()

    def apply(self, question: Question, answer: dict[str, Any]) -> None:
        """Remembers what the answer says has become of topics."""
        for topic in answer.get("topics", answer.get("responses", answer.get("results", []))):
            if topic["error_code"] == 0:
                partitions = question.changes[topic["name"]]
                self.topics[topic["name"]] = partitions
                if partitions == 0:
                    del self.topics[topic["name"]]

    # What there is to ask about

    def name(self) -> str:
        if self.topics and self.dice.random() < 0.85:
            return self.dice.choice(list(self.topics))
        return self.dice.choice(NAMES + WRONG_NAMES)

    def some_names(self) -> list[str]:
        return list(dict.fromkeys(self.name() for _ in range(self.dice.choice([1, 1, 2, 4]))))

    def partition(self, name: str) -> int:
        if self.dice.random() < 0.05:
            return self.dice.choice([-1, 7, 1000])
        return self.dice.randrange(self.topics.get(name, 1))

    def some_partitions(self, name: str) -> list[int]:
        return list(dict.fromkeys(self.partition(name) for _ in range(self.dice.choice([1, 1, 2, 3]))))

    def offset(self) -> int:
        return self.dice.choice([0, 0, 1, 3, 10, 30, 100, 1000, -1])

    def epoch(self) -> int:
        return self.dice.choice([-1, -1, -1, 0, 0, 1, 5])

    # Records in and out

    def produce(self) -> Question:
        dice = self.dice
        version = dice.randrange(3, 12)
        topics = []
        for name in self.some_names():
            data = [{"index": number, "records": self.records()} for number in self.some_partitions(name)]
            topics.append({"name": name, "partition_data": data})
        acks = dice.choice([-1, -1, 1, 1, 2])
        return Question(
            "Produce",
            version,
            lambda side: message(ProduceRequest, acks=acks, timeout_ms=10_000, topic_data=topics),
        )

    def records(self) -> bytes:
        dice = self.dice
        count = dice.choice([1, 1, 3, 20])
        records: list[Any] = []
        for _ in range(count):
            key = dice.choice([None, b"", b"k1", b"k2"])
            timestamp = START + self.step * 1000 + dice.randint(-500, 500)
            if dice.random() < 0.005:
                timestamp = dice.choice([0, 9_999_999_999_999])
            records.append((timestamp, key, dice.randbytes(dice.choice([0, 20, 90]))))
        data = batch(records, codec=dice.choice(["none", *CODECS]))
        return self.damaged(data) if dice.random() < 0.06 else data

    def damaged(self, data: bytes) -> bytes:
        """What a client must not send, refused by the header, the checksum or the records."""
        kind = self.dice.randrange(5)
        changed = bytearray(data)
        if kind == 0:
            changed[-1] ^= 1  # the checksum
        elif kind == 1:
            return data + data  # two batches
        elif kind == 2:
            changed[26] ^= 1  # the last offset delta, so also the checksum
        elif kind == 3:
            return data[: self.dice.randrange(len(data))]
        else:
            return b""
        return bytes(changed)

    def fetch(self) -> Question:
        dice = self.dice
        version = dice.randrange(4, 18)
        topics = []
        for name in self.some_names():
            partitions = [
                {
                    "partition": number,
                    "current_leader_epoch": self.epoch(),
                    "fetch_offset": self.offset(),
                    "last_fetched_epoch": -1,
                    "log_start_offset": -1,
                    "partition_max_bytes": dice.choice([0, 1, 100, 1000, 1 << 20]),
                }
                for number in self.some_partitions(name)
            ]
            topics.append((name, partitions))
        options = {
            "max_wait_ms": 0,
            "min_bytes": dice.choice([0, 1, 1]),
            "max_bytes": dice.choice([0, 100, 1000, 1 << 20]),
            "isolation_level": dice.choice([0, 1]),
            "session_epoch": -1,
        }

        def build(side: Side) -> Any:
            named = [
                {"topic": name, "topic_id": side.topic_id(name), "partitions": partitions}
                for name, partitions in topics
            ]
            return message(FetchRequest, topics=named, forgotten_topics_data=[], **options)

        return Question("Fetch", version, build)

    def list_offsets(self) -> Question:
        version = self.dice.randrange(1, 10)
        topics = []
        for name in self.some_names():
            partitions = [
                {
                    "partition_index": number,
                    "current_leader_epoch": self.epoch(),
                    "timestamp": self.timestamp(),
                }
                for number in self.some_partitions(name)
            ]
            topics.append({"name": name, "partitions": partitions})
        isolation_level = self.dice.choice([0, 1])
        return Question(
            "ListOffsets",
            version,
            lambda side: message(ListOffsetsRequest, replica_id=-1, isolation_level=isolation_level, topics=topics),
        )

    def timestamp(self) -> int:
        special = [-1, -1, -2, -2, -3, -4, -5, -6, 0]
        return self.dice.choice([*special, START + self.dice.randrange(self.step + 2) * 1000])

    def offset_for_leader_epoch(self) -> Question:
        version = self.dice.randrange(2, 5)
        topics = []
        for name in self.some_names():
            partitions = [
                {"partition": number, "current_leader_epoch": self.epoch(), "leader_epoch": self.epoch()}
                for number in self.some_partitions(name)
            ]
            topics.append({"topic": name, "partitions": partitions})
        return Question(
            "OffsetForLeaderEpoch",
            version,
            lambda side: message(OffsetForLeaderEpochRequest, replica_id=-1, topics=topics),
        )

    def delete_records(self) -> Question:
        version = self.dice.randrange(0, 3)
        topics = []
        for name in self.some_names():
            partitions = [
                {"partition_index": number, "offset": self.dice.choice([0, 1, 5, 20, -1, -2, 100_000])}
                for number in self.some_partitions(name)
            ]
            topics.append({"name": name, "partitions": partitions})
        return Question(
            "DeleteRecords",
            version,
            lambda side: message(DeleteRecordsRequest, topics=topics, timeout_ms=10_000),
        )

    def init_producer_id(self) -> Question:
        version = self.dice.randrange(0, 6)
        producer_id = self.dice.choice([-1, -1, 5])
        producer_epoch = self.dice.choice([-1, -1, 0]) if version >= 3 else -1
        return Question(
            "InitProducerId",
            version,
            lambda side: message(
                InitProducerIdRequest,
                transactional_id=None,
                transaction_timeout_ms=60_000,
                producer_id=producer_id if version >= 3 else -1,
                producer_epoch=producer_epoch,
            ),
        )

    # What there is

    def metadata(self) -> Question:
        version = self.dice.randrange(0, 13)
        names = None if self.dice.random() < 0.2 and version >= 1 else self.some_names()
        by_id = version >= 12 and self.dice.random() < 0.5

        def build(side: Side) -> Any:
            topics: list[dict[str, Any]] | None = None
            if names is not None and by_id:
                topics = [{"topic_id": side.topic_id(name), "name": None} for name in names]
            elif names is not None:
                topics = [{"name": name} for name in names]
            return message(MetadataRequest, topics=topics, allow_auto_topic_creation=True)

        return Question("Metadata", version, build, may_lag=True)

    def describe_cluster(self) -> Question:
        version = self.dice.randrange(0, 2)
        endpoint_type = self.dice.choice([1, 1, 3]) if version >= 1 else 1
        return Question(
            "DescribeCluster",
            version,
            lambda side: message(
                DescribeClusterRequest,
                include_cluster_authorized_operations=False,
                endpoint_type=endpoint_type,
            ),
        )

    def describe_topic_partitions(self) -> Question:
        names = sorted(name for name in self.some_names() if name)
        limit = self.dice.choice([1, 2, 100, 2000])
        cursor = None
        if self.dice.random() < 0.3 and self.topics:
            name = self.dice.choice(list(self.topics))
            cursor = {"topic_name": name, "partition_index": self.dice.choice([0, 0, 1])}
            names = sorted({*names, name})
        return Question(
            "DescribeTopicPartitions",
            0,
            lambda side: message(
                DescribeTopicPartitionsRequest,
                topics=[{"name": name} for name in names],
                response_partition_limit=limit,
                cursor=cursor,
            ),
            may_lag=True,
        )

    def describe_log_dirs(self) -> Question:
        version = self.dice.randrange(1, 5)
        topics = None
        if self.dice.random() < 0.7:
            topics = [{"topic": name, "partitions": self.some_partitions(name)} for name in self.some_names() if name]
        return Question(
            "DescribeLogDirs",
            version,
            lambda side: message(DescribeLogDirsRequest, topics=topics),
            may_lag=True,
        )

    # Topics and their configurations

    def create_topics(self) -> Question:
        version = self.dice.randrange(2, 8)
        topics = [self.new_topic(name) for name in self.names_to_create()]
        validate_only = self.dice.random() < 0.15
        return Question(
            "CreateTopics",
            version,
            lambda side: message(CreateTopicsRequest, topics=topics, timeout_ms=10_000, validate_only=validate_only),
            changes={} if validate_only else {topic["name"]: partitions_of(topic) for topic in topics},
        )

    def names_to_create(self) -> list[str]:
        names = [self.dice.choice(NAMES) for _ in range(self.dice.choice([1, 1, 2]))]
        if self.dice.random() < 0.2:
            names.append(self.dice.choice(WRONG_NAMES))
        if self.dice.random() < 0.05:
            names.append(names[0])  # twice in one request
        return names

    def new_topic(self, name: str) -> dict[str, Any]:
        dice = self.dice
        assignments: list[Any] = []
        partitions, replication_factor = dice.choice([1, 2, 3, 3, -1, 0]), dice.choice([1, 1, 1, -1, 0, 2])
        if dice.random() < 0.15:
            assignments = dice.choice(
                [
                    [{"partition_index": 0, "broker_ids": [1]}, {"partition_index": 1, "broker_ids": [1]}],
                    [{"partition_index": 1, "broker_ids": [1]}],
                    [{"partition_index": 0, "broker_ids": [1, 1]}],
                    [{"partition_index": 0, "broker_ids": [9]}],
                    [{"partition_index": 0, "broker_ids": []}],
                ]
            )
            if dice.random() < 0.8:
                partitions, replication_factor = -1, -1
        return {
            "name": name,
            "num_partitions": partitions,
            "replication_factor": replication_factor,
            "assignments": assignments,
            "configs": self.some_configs() if dice.random() < 0.3 else [],
        }

    def some_configs(self) -> list[dict[str, Any]]:
        keys = self.dice.sample(sorted(TOPIC_CONFIGS), self.dice.choice([1, 1, 2]))
        return [{"name": key, "value": self.dice.choice(TOPIC_CONFIGS[key])} for key in keys]

    def delete_topics(self) -> Question:
        version = self.dice.randrange(1, 7)
        names = self.some_names()[:2]
        by_id = version == 6 and self.dice.random() < 0.5

        def build(side: Side) -> Any:
            topics: list[dict[str, Any]] = [{"name": name} for name in names]
            if by_id:
                topics = [{"name": None, "topic_id": side.topic_id(name)} for name in names]
            return message(DeleteTopicsRequest, topics=topics, topic_names=names, timeout_ms=10_000)

        return Question("DeleteTopics", version, build, changes=dict.fromkeys(names, 0))

    def create_partitions(self) -> Question:
        version = self.dice.randrange(0, 4)
        topics: list[dict[str, Any]] = []
        for name in self.some_names():
            count = self.topics.get(name, 1) + self.dice.choice([-1, 0, 1, 1, 2])
            assignments = self.dice.choice([None, None, None, [{"broker_ids": [1]}], [{"broker_ids": [1, 2]}]])
            topics.append({"name": name, "count": min(count, 6), "assignments": assignments})
        validate_only = self.dice.random() < 0.3
        return Question(
            "CreatePartitions",
            version,
            lambda side: message(
                CreatePartitionsRequest, topics=topics, timeout_ms=10_000, validate_only=validate_only
            ),
            changes={} if validate_only else {topic["name"]: topic["count"] for topic in topics},
        )

    def describe_configs(self) -> Question:
        version = self.dice.randrange(1, 5)
        resources = []
        for name in self.some_names():
            keys = None
            if self.dice.random() < 0.5:
                keys = self.dice.sample(sorted(TOPIC_CONFIGS), 3)
            resources.append({"resource_type": 2, "resource_name": name, "configuration_keys": keys})
        synonyms = self.dice.random() < 0.5
        return Question(
            "DescribeConfigs",
            version,
            lambda side: message(
                DescribeConfigsRequest,
                resources=resources,
                include_synonyms=synonyms,
                include_documentation=version >= 3 and synonyms,
            ),
            may_lag=True,
        )

    def incremental_alter_configs(self) -> Question:
        version = self.dice.randrange(0, 2)
        resources: list[dict[str, Any]] = []
        for name in self.some_names():
            configs = [config | {"config_operation": self.operation(config)} for config in self.some_configs()]
            resource = {"resource_type": 2, "resource_name": name, "configs": configs}
            resources.append(resource)
        validate_only = self.dice.random() < 0.2
        return Question(
            "IncrementalAlterConfigs",
            version,
            lambda side: message(IncrementalAlterConfigsRequest, resources=resources, validate_only=validate_only),
            alters=[] if validate_only else [resource["resource_name"] for resource in resources],
        )

    def operation(self, config: dict[str, Any]) -> int:
        if config["name"] == "cleanup.policy":
            return self.dice.choice([0, 1, 2, 3])
        return self.dice.choice([0, 0, 0, 1, 2])

    def alter_configs(self) -> Question:
        version = self.dice.randrange(0, 3)
        resources: list[dict[str, Any]] = [
            {"resource_type": 2, "resource_name": name, "configs": self.some_configs()} for name in self.some_names()
        ]
        validate_only = self.dice.random() < 0.2
        return Question(
            "AlterConfigs",
            version,
            lambda side: message(AlterConfigsRequest, resources=resources, validate_only=validate_only),
            alters=[] if validate_only else [resource["resource_name"] for resource in resources],
        )


def partitions_of(topic: dict[str, Any]) -> int:
    """What a topic gets that CreateTopics accepts; num.partitions is 1."""
    if topic["assignments"]:
        return len(topic["assignments"])
    return 1 if topic["num_partitions"] == -1 else int(topic["num_partitions"])
