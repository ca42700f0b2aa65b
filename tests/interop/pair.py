"""Two brokers that are asked the same, and their answers made comparable.

An answer is compared whole, but for what cannot be equal (ids, ports, directories, clocks: replaced by words
that say what stood there) and for what is listed in differences.py.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple
from uuid import UUID
from zlib import crc32

from kafka.protocol.metadata import MetadataRequest

from tests.interop.differences import NOT_COMPARED, is_deliberate
from tests.judge.wire_client import WireClient, message

ZERO_ID = UUID(int=0)
NO_CHANGES: Mapping[str, int] = MappingProxyType({})


class Side:
    """One broker of the pair, with the names behind its own ids."""

    def __init__(self, name: str, port: int) -> None:
        self.name = name
        self.client = WireClient(port)
        self.topic_ids: dict[str, UUID] = {}
        self.names: dict[UUID, str] = {ZERO_ID: "no id"}
        self.session_id = 0

    def topic_id(self, name: str) -> UUID:
        """The id that this broker gave a topic; for a topic that is not there, one of nobody's."""
        return self.topic_ids.get(name) or UUID(int=1 << 64 | crc32(name.encode()))

    def learn_topic_ids(self) -> None:
        for topic in self.client.ask(message(MetadataRequest, topics=None), 12)["topics"]:
            self.topic_ids[topic["name"]] = topic["topic_id"]
            self.names[topic["topic_id"]] = f"id of {topic['name']}"


class Question(NamedTuple):
    """What both are asked. `build` gets the side, because ids of topics and sessions are its own."""

    api: str
    version: int
    build: Callable[[Side], Any]
    # Kafka updates its metadata image behind its answers: what is read from it is asked until both agree.
    may_lag: bool = False
    # What becomes of topics where the answer has no error: their number of partitions, 0 when deleted.
    changes: Mapping[str, int] = NO_CHANGES
    alters: Sequence[str] = ()  # topics whose configuration changes


class Pair:
    def __init__(self, kafka_port: int, kstore_port: int) -> None:
        self.kafka = Side("kafka", kafka_port)
        self.kstore = Side("kstore", kstore_port)
        self.asked = 0

    def ask(self, question: Question) -> dict[str, Any]:
        """Kafka's answer, after kstore's was found equal to it. AssertionError with both where it is not."""
        self.asked += 1
        deadline = time.monotonic() + 10
        while True:
            expected, given = (comparable(side, question) for side in (self.kafka, self.kstore))
            differences = [
                (path, theirs, ours)
                for path, theirs, ours in differing(expected, given)
                if not is_deliberate(question.api, path, theirs)
            ]
            if not differences:
                return expected
            if not question.may_lag or time.monotonic() > deadline:
                break
            time.sleep(0.02)
        lines = "\n".join(f"  {path}: Kafka {theirs!r}, kstore {ours!r}" for path, theirs, ours in differences)
        request = question.build(self.kafka)
        raise AssertionError(f"request {self.asked}, version {question.version}: {request}\n{lines}")

    def learn_topic_ids(self) -> None:
        for side in (self.kafka, self.kstore):
            side.learn_topic_ids()

    def close(self) -> None:
        self.kafka.client.close()
        self.kstore.client.close()


def comparable(side: Side, question: Question) -> dict[str, Any]:
    answer = side.client.ask(question.build(side), question.version)
    if "session_id" in answer:
        side.session_id = answer["session_id"]
    if question.api == "Fetch":
        answer["responses"] = merged_topics(answer["responses"])
    found = normal(answer, side)
    assert isinstance(found, dict)
    return found


def merged_topics(topics: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Kafka puts partitions with errors first, and so a topic twice into one answer."""
    merged: dict[Any, dict[str, Any]] = {}
    for topic in topics:
        same = merged.setdefault(topic.get("topic") or topic.get("topic_id"), topic | {"partitions": []})
        same["partitions"] += topic["partitions"]
    return list(merged.values())


def normal(value: Any, side: Side, key: str = "") -> Any:
    """A value without what cannot be equal; lists of structures in one order (Kafka's may be any)."""
    if key in NOT_COMPARED:
        return NOT_COMPARED[key](value)
    if isinstance(value, UUID):
        return side.names.get(value, "unknown id")
    if isinstance(value, dict):
        return {name: normal(child, side, name) for name, child in value.items()}
    if isinstance(value, list):
        children = [normal(child, side) for child in value]
        return sorted(children, key=sort_key) if children and isinstance(children[0], dict) else children
    return bytes(value) if isinstance(value, (memoryview, bytearray)) else value


def sort_key(child: dict[str, Any]) -> tuple[str, ...]:
    labels = [child[name] for name in ("name", "topic", "topic_id") if child.get(name)][:1]
    numbers = ("resource_name", "index", "partition_index", "partition", "api_key")
    return tuple(f"{label!s:>12}" for label in [*labels, *(child[name] for name in numbers if name in child)])


def differing(kafka: Any, kstore: Any, path: str = "") -> list[tuple[str, Any, Any]]:
    """(path, Kafka's, kstore's) for every leaf that differs; members of lists go by their name."""
    if isinstance(kafka, dict) and isinstance(kstore, dict):
        found = []
        for name in kafka.keys() | kstore.keys():
            found += differing(kafka.get(name, "(absent)"), kstore.get(name, "(absent)"), f"{path}.{name}")
        return sorted(found, key=lambda line: line[0])
    if isinstance(kafka, list) and isinstance(kstore, list) and all(isinstance(x, dict) for x in kafka + kstore):
        theirs, ours = by_label(kafka), by_label(kstore)
        found = []
        for label in [*theirs, *(label for label in ours if label not in theirs)]:
            found += differing(theirs.get(label, "(absent)"), ours.get(label, "(absent)"), f"{path}[{label}]")
        return found
    return [] if kafka == kstore else [(path, kafka, kstore)]


def is_table(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(child, dict) for child in value)


def by_label(children: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    labelled: dict[str, dict[str, Any]] = {}
    for child in children:
        label = "-".join(part.strip() for part in sort_key(child)) or str(len(labelled))
        while label in labelled:
            label += "'"
        labelled[label] = child
    return labelled
