"""The golden directories and their manifests, as Python values. See README.md for what each holds."""

import base64
import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

GOLDEN = Path(__file__).resolve().parent
KRAFT = ("kafka-3.9.1", "kafka-4.3.0")
ALL = (*KRAFT, "kafka-3.9.1-zookeeper", "kafka-3.9.1-old-formats")


class GoldenRecord(NamedTuple):
    """A record as Kafka's own consumer gave it. A long value is known by size and SHA-256 only."""

    offset: int
    timestamp: int
    timestamp_type: int
    leader_epoch: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]
    value_size: int
    value_sha256: bytes | None

    def has_value(self, value: bytes | None) -> bool:
        if self.value_sha256 is None:
            return value == self.value
        return value is not None and hashlib.sha256(value).digest() == self.value_sha256


class GoldenPartition(NamedTuple):
    directory: Path
    topic: str
    partition: int
    topic_id: str
    log_start_offset: int
    last_stable_offset: int
    log_end_offset: int
    records: list[GoldenRecord]  # what a read_uncommitted consumer sees, control batches left out
    committed_offsets: list[int]  # offsets of the records that a read_committed consumer sees
    batches: list[dict[str, Any]]  # every batch on disk, as DumpLogSegments prints it, with its `file`

    @property
    def logs(self) -> list[Path]:
        return sorted(self.directory.glob("*.log"))


class Golden(NamedTuple):
    directory: Path
    kafka: str
    cluster_id: str
    node_id: int
    partitions: dict[tuple[str, int], GoldenPartition]
    files: dict[str, dict[str, Any]]


def decoded(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text)


def golden_record(found: dict[str, Any]) -> GoldenRecord:
    value = decoded(found.get("value"))
    return GoldenRecord(
        offset=found["offset"],
        timestamp=found["timestamp"],
        timestamp_type=found["timestamp_type"],
        leader_epoch=found["leader_epoch"],
        key=decoded(found["key"]),
        value=value,
        headers=[(key, decoded(text)) for key, text in found["headers"]],
        value_size=found.get("value_size", len(value or b"")),
        value_sha256=decoded(found.get("value_sha256")),
    )


@cache
def golden(name: str) -> Golden:
    """One of `ALL`. Tests that write take a copy of the directory."""
    manifest = json.loads((GOLDEN / f"{name}.json").read_text())
    partitions = {}
    for topic, described in manifest["topics"].items():
        for number, found in described["partitions"].items():
            partitions[topic, int(number)] = GoldenPartition(
                directory=GOLDEN / name / f"{topic}-{number}",
                topic=topic,
                partition=int(number),
                topic_id=described["topic_id"],
                log_start_offset=found["log_start_offset"],
                last_stable_offset=found["last_stable_offset"],
                log_end_offset=found["log_end_offset"],
                records=[golden_record(record) for record in found["records"]],
                committed_offsets=found["committed_offsets"],
                batches=found["batches"],
            )
    return Golden(
        GOLDEN / name,
        manifest["kafka"],
        manifest["cluster_id"],
        manifest["node_id"],
        partitions,
        manifest["files"],
    )
