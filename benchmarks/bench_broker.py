"""Produce and fetch through a broker: a real kstore-server, one connection, requests pipelined as clients do.

What is measured is the wall time of both ends together, with a client that does as little as it can.
"""

import socket
import struct
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from kstore._native.builder import BatchBuilder
from tests.fix_broker import Client, fetch_request, frame, produce_request
from tests.judge.kstore import KstoreServer

MIB = 1024 * 1024
WINDOW = 64  # requests on their way
PRODUCES = 1024


def batch_of(count: int, size: int) -> bytes:
    builder = BatchBuilder()
    for number in range(count):
        builder.append(1_700_000_000_000 + number, None, bytes(size))
    return bytes(builder.build())


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with KstoreServer(tmp_path_factory.mktemp("broker") / "data") as server, Client(server.port) as client:
        yield client


def pipeline(client: Client, request: bytes, times: int) -> None:
    """Sends the request so many times, with `WINDOW` of them on their way; answers are counted, not read."""
    sent = answered = 0
    while answered < times:
        wanted = min(times - sent, WINDOW - (sent - answered))
        if wanted:
            client.socket.sendall(request * wanted)
            sent += wanted
        answered += take_frame(client.socket)


def take_frame(sock: socket.socket) -> int:
    (size,) = struct.unpack(">i", sock.recv(4, socket.MSG_WAITALL))
    while size:
        size -= len(sock.recv(min(size, MIB)))
    return 1


@pytest.mark.benchmark(group="broker: one connection, 64 requests on their way")
@pytest.mark.parametrize(("records", "size"), [(1, 100), (16, 1000)], ids=["one record of 100 B", "16 KB"])
@pytest.mark.parametrize("acks", [1, -1])
def test_produce(measure: Callable[..., Any], client: Client, records: int, size: int, acks: int) -> None:
    topic = f"produced.{records}.{acks}"
    client.create_topic(topic, segment_bytes=str(64 * MIB), retention_bytes=str(128 * MIB))
    request = frame(produce_request({(topic, 0): batch_of(records, size)}, acks=acks), 9, 1, "bench")
    measure(lambda: pipeline(client, request, PRODUCES), "requests", PRODUCES, rounds=10)


@pytest.mark.benchmark(group="broker: one connection, fetches of 1 MiB")
def test_fetch(measure: Callable[..., Any], client: Client) -> None:
    client.create_topic("fetched")
    request = frame(produce_request({("fetched", 0): batch_of(16, 1000)}, acks=1), 9, 1, "bench")
    pipeline(client, request, 2048)
    fetch = frame(fetch_request({("fetched", 0): 0}, partition_max_bytes=MIB), 11, 1, "bench")

    def fetch_all() -> None:
        for _ in range(64):
            client.socket.sendall(fetch)
            take_frame(client.socket)

    measure(fetch_all, "MiB", 64, rounds=10)
