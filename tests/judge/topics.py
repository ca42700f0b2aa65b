"""Makes topics on a broker over the wire, and waits until each partition can be written."""

from collections.abc import Mapping
from typing import Any

from kafka.protocol.admin import CreateTopicsRequest
from kafka.protocol.consumer import ListOffsetsRequest

from tests.judge.java import wait_until
from tests.judge.wire_client import WireClient, message

LATEST = -1


def create_topic(
    client: WireClient, name: str, partitions: int = 1, configs: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Creates a topic with one replica and waits for its leaders; the answer for the topic."""
    wanted = {
        "name": name,
        "num_partitions": partitions,
        "replication_factor": 1,
        "assignments": [],
        "configs": [{"name": key, "value": value} for key, value in (configs or {}).items()],
    }
    request = message(CreateTopicsRequest, topics=[wanted], timeout_ms=30_000, validate_only=False)
    answer: dict[str, Any] = client.ask(request, 7)["topics"][0]
    assert answer["error_code"] == 0, answer
    for partition in range(partitions):
        # Kafka's metadata and its replica manager learn of a topic one after the other.
        wait_until(
            lambda partition=partition: offset(client, name, partition)["error_code"] == 0,  # type: ignore[misc]
            timeout=30,
            what=f"{name}-{partition} has a leader",
        )
    return answer


def offset(
    client: WireClient, topic: str, partition: int, timestamp: int = LATEST, isolation_level: int = 0
) -> dict[str, Any]:
    """ListOffsets for one partition: error_code, timestamp, offset, leader_epoch."""
    wanted = {"partition_index": partition, "current_leader_epoch": -1, "timestamp": timestamp}
    request = message(
        ListOffsetsRequest,
        replica_id=-1,
        isolation_level=isolation_level,
        topics=[{"name": topic, "partitions": [wanted]}],
    )
    found: dict[str, Any] = client.ask(request, 7)["topics"][0]["partitions"][0]
    return found
