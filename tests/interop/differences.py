"""Where kstore's answers differ from Kafka 3.9.1's on purpose: the one list of it.

`NOT_COMPARED` are fields that no two brokers share, `DELIBERATE` are decisions, each with its reason.
"""

import re
from collections.abc import Callable
from typing import Any, NamedTuple


def without_clock(timestamp: int) -> Any:
    """Times of day stand for the clock; the requests' own timestamps are of 2023 or of far away."""
    return "now" if 1_750_000_000_000 < timestamp < 2_500_000_000_000 else timestamp


def without_append_times(records: Any) -> bytes:
    """Batches of a LogAppendTime topic without that time, and so without their checksum."""
    data = bytearray(records or b"")
    position = 0
    while position + 61 <= len(data):
        length = int.from_bytes(data[position + 8 : position + 12], "big")
        if data[position + 22] & 8:
            data[position + 17 : position + 21] = bytes(4)
            data[position + 35 : position + 43] = bytes(8)
        position += 12 + length
    return bytes(data)


NOT_COMPARED: dict[str, Callable[[Any], Any]] = {
    "throttle_time_ms": lambda value: "a time",
    "error_message": lambda value: "words for people",
    "batch_index_error_message": lambda value: "words for people",
    "port": lambda value: "a port",
    "cluster_id": lambda value: "a cluster",
    "log_dir": lambda value: "a directory",
    "total_bytes": lambda value: value > 0,
    "usable_bytes": lambda value: value > 0,
    "documentation": lambda value: value is None,
    "session_id": lambda value: value != 0,
    "producer_id": lambda value: value >= 0,
    "log_append_time_ms": without_clock,
    "timestamp": without_clock,
    "records": without_append_times,
    "finalized_features_epoch": lambda value: "an offset of the metadata log",
}


class Deliberate(NamedTuple):
    api: str
    path: str  # a regular expression that the path of the field matches
    reason: str
    where_kafka_says: Any = ...  # everything, unless it is given


DELIBERATE: list[Deliberate] = [
    Deliberate(
        "CreateTopics",
        r"\.topics\[[^]]*\]\.topic_id",
        "Kafka answers a validation with an id that no topic will ever have; kstore gives none.",
    ),
    Deliberate(
        "ListOffsets",
        r"\.topics\[[^]]*\]\.partitions\[[^]]*\]\.(timestamp|offset|leader_epoch)",
        "Kafka looks for a timestamp in the first segment that may have it, though all of it may lie below the log"
        " start (DeleteRecords) and wait for its deletion; kstore goes on to the next one.",
        where_kafka_says=-1,
    ),
]


def is_deliberate(api: str, path: str, theirs: Any) -> bool:
    return any(
        entry.api == api and re.fullmatch(entry.path, path) and entry.where_kafka_says in (..., theirs)
        for entry in DELIBERATE
    )
