"""The two contestants as their users run them: Kafka with its start script's JVM flags, and kstore-server."""

import contextlib
import shutil
import socket
import struct
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from kafka.protocol.admin import DeleteTopicsRequest

from tests.judge.java import wait_until
from tests.judge.kafka import KafkaBroker
from tests.judge.kstore import KstoreServer
from tests.judge.process import ServerProcess
from tests.judge.topics import create_topic
from tests.judge.wire_client import WireClient, batch, message

# What kafka-server-start.sh and kafka-run-class.sh of Kafka pass.
KAFKA_FLAGS = (
    "-Xms1g",
    "-server",
    "-XX:+UseG1GC",
    "-XX:MaxGCPauseMillis=20",
    "-XX:InitiatingHeapOccupancyPercent=35",
    "-XX:+ExplicitGCInvokesConcurrent",
    "-XX:MaxInlineLevel=15",
    "-Djava.awt.headless=true",
)
# Files of deleted topics go at once, so that one run's gigabytes are not the next run's write-back.
SETTINGS = {"log.segment.delete.delay.ms": "100", "log.retention.check.interval.ms": "3600000"}
# The fixtures of the tests shorten these; a broker under measurement heartbeats as seldom as it does by default.
KAFKA_SETTINGS = {"broker.session.timeout.ms": "9000", "broker.heartbeat.interval.ms": "2000"}

Broker = KafkaBroker | KstoreServer


def make_broker(name: str, directory: Path, overrides: Mapping[str, str] | None = None) -> Broker:
    """`kstore`, or `kafka-VERSION`."""
    settings = SETTINGS | dict(overrides or {})
    if name == "kstore":
        return KstoreServer(directory, overrides=settings)
    version = name.removeprefix("kafka-")
    settings = KAFKA_SETTINGS | settings
    return KafkaBroker(version, directory, heap="1g", jvm_flags=KAFKA_FLAGS, log_level="WARN", overrides=settings)


@contextlib.contextmanager
def running(name: str, directory: Path, overrides: Mapping[str, str] | None = None) -> Iterator[Broker]:
    """A broker on a fresh directory that is removed in the end."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.parent.mkdir(parents=True, exist_ok=True)
    broker = make_broker(name, directory, overrides)
    broker.start()
    try:
        yield broker
    finally:
        broker.kill()
        remove(broker)


def remove(broker: Broker) -> None:
    shutil.rmtree(broker.log_directory, ignore_errors=True)
    shutil.rmtree(broker.log_directory.with_name(f"{broker.log_directory.name}.run"), ignore_errors=True)


@contextlib.contextmanager
def topic(broker: Broker, name: str, partitions: int = 1, **configs: str) -> Iterator[str]:
    """A topic that is deleted, with its files, in the end."""
    with WireClient(broker.port) as client:
        create_topic(client, name, partitions, {"file.delete.delay.ms": "100", **configs})
    try:
        yield name
    finally:
        delete_topic(broker, name)


def delete_topic(broker: Broker, name: str) -> None:
    with WireClient(broker.port) as client:
        client.ask(message(DeleteTopicsRequest, topic_names=[name], timeout_ms=30_000), 5)
    wait_until(
        lambda: not any(path.name.startswith(name) for path in broker.log_directory.iterdir()),
        timeout=120,
        what=f"the files of {name} are deleted",
    )


def first_ack_seconds(broker: ServerProcess, port: int, topic_name: str, partitions: int) -> tuple[float, float]:
    """Starts the process; seconds until a record is acknowledged by one partition, and by all of them."""
    frames = [produce_frame(topic_name, partition) for partition in range(partitions)]
    started = time.monotonic()
    broker.spawn_only()  # type: ignore[attr-defined]
    connection = connected(port, broker, started)
    ask(connection, metadata_frame(topic_name))
    first = 0.0
    for frame in frames:
        while ask(connection, frame, error_at=produce_error_position(topic_name)):
            time.sleep(0.001)
            ask(connection, metadata_frame(topic_name))
        first = first or time.monotonic() - started
    connection.close()
    return first, time.monotonic() - started


def connected(port: int, broker: ServerProcess, started: float) -> socket.socket:
    while True:
        try:
            connection = socket.create_connection(("127.0.0.1", port), timeout=120)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return connection
        except OSError:
            if not broker.is_running or time.monotonic() - started > 120:
                raise RuntimeError(f"{broker.name} does not start\n{broker.log_tail()}") from None
            time.sleep(0.001)


def ask(connection: socket.socket, frame: bytes, error_at: int | None = None) -> int:
    """Sends a frame and waits for its answer; the error code at that place of the answer."""
    connection.sendall(frame)
    (size,) = struct.unpack(">i", exactly(connection, 4))
    answer = exactly(connection, size)
    return int(struct.unpack_from(">h", answer, error_at)[0]) if error_at is not None else 0


def exactly(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = connection.recv(size - len(data))
        if not part:
            raise RuntimeError("the broker closed the connection")
        data += part
    return data


def framed(api_key: int, version: int, body: bytes) -> bytes:
    data = struct.pack(">hhih", api_key, version, 1, -1) + body
    return struct.pack(">i", len(data)) + data


def short_string(text: str) -> bytes:
    return struct.pack(">h", len(text)) + text.encode()


def metadata_frame(topic_name: str) -> bytes:
    """Metadata version 4 with auto-creation."""
    return framed(3, 4, struct.pack(">i", 1) + short_string(topic_name) + b"\x01")


def produce_frame(topic_name: str, partition: int) -> bytes:
    """Produce version 7, acks=1, one batch of one record, made by hand so that no library's start is measured."""
    records = batch([(1_700_000_000_000, None, b"first")])
    body = struct.pack(">hhii", -1, 1, 30_000, 1) + short_string(topic_name)
    body += struct.pack(">iii", 1, partition, len(records)) + records
    return framed(0, 7, body)


def produce_error_position(topic_name: str) -> int:
    """Where the error of the only partition stands in the answer: id, array, name, array, index."""
    return 4 + 4 + 2 + len(topic_name) + 4 + 4
