"""Frames that lie about their size, strangers at the port, clients that dawdle or never read.

Nothing is allocated for bytes that have not come, and other clients are served meanwhile.
"""

import contextlib
import socket
import struct
import threading
import time

import pytest

from kstore.protocol.headers import encode_request_header
from kstore.protocol.messages.api_versions import ApiVersionsRequest
from kstore.protocol.messages.metadata import MetadataRequest
from tests.fix_broker import Client, batch, fetch_request, frame, produce_request
from tests.fuzz.target import MIB, Target, ask, receive_frame, send_and_leave

MAX_FRAME = 100 * MIB

TLS_HELLO = bytes.fromhex("16030100c8010000c403035f") + bytes(range(180))
HTTP_GET = b"GET / HTTP/1.1\r\nHost: localhost:9092\r\n\r\n"


@pytest.mark.parametrize(
    "data",
    [
        struct.pack(">i", -1),
        struct.pack(">i", -(2**31)),
        struct.pack(">i", 2**31 - 1),
        struct.pack(">i", MAX_FRAME + 1),
        TLS_HELLO,
        HTTP_GET,
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"\xff" * 1000,
    ],
    ids=["-1", "smallest", "largest", "one too many", "TLS", "HTTP", "SSH", "ones"],
)
def test_an_impossible_frame_closes_the_connection(target, data):
    with target.bounded(4):
        assert ask(target, data) is None


@pytest.mark.parametrize("size", range(8))
def test_a_frame_without_room_for_a_header_closes_the_connection(target, size):
    assert ask(target, struct.pack(">i", size) + bytes(size)) is None
    target.serves()


def test_what_is_announced_and_never_sent_costs_nothing(target):
    connections = []
    try:
        with target.bounded(24):
            for _ in range(500):
                attacker = target.connect()
                attacker.sendall(struct.pack(">i", MAX_FRAME) + b"\0\x03\0\x0c")
                connections.append(attacker)
    finally:
        for attacker in connections:
            attacker.close()


def test_large_frames_that_stop_half_way_share_one_budget(target):
    """20 clients send 30 MiB of 100 MiB each; the broker holds no more than its budget of them."""
    connections = []
    half = struct.pack(">i", MAX_FRAME) + b"\0\x03\0\x0c" + bytes(1 * MIB)
    try:
        with target.bounded(300):
            for _ in range(20):
                attacker = target.connect()
                attacker.setblocking(False)
                connections.append(attacker)
            for _ in range(30):
                for attacker in connections:
                    with contextlib.suppress(BlockingIOError):
                        attacker.send(half)
                target.serves()
    finally:
        for attacker in connections:
            attacker.close()


def test_a_byte_at_a_time_is_served_and_holds_up_nobody(target):
    data = frame(MetadataRequest(topics=[]), 9)
    with target.connect() as attacker:
        for byte in data:
            attacker.sendall(bytes([byte]))
            if byte % 8 == 0:
                target.serves()
        assert receive_frame(attacker)


def test_a_client_that_never_reads_is_not_read_from(target):
    """Its answers would be 1 MiB each; after some of them nothing more of it is handled."""
    with Client(target.port) as client:
        client.create_topic("unread", max_message_bytes=str(2 * MIB))
        client.produce("unread", batch(bytes(MIB)))
    request = frame(fetch_request({("unread", 0): 0}, partition_max_bytes=2 * MIB), 12)
    with target.bounded(24), target.connect() as attacker:
        attacker.setblocking(False)
        sent = 0
        with contextlib.suppress(BlockingIOError):
            while sent < 20_000:
                attacker.sendall(request)
                sent += 1
        target.serves()
        time.sleep(0.2)  # a flood, if there is one, has begun by now
        target.serves()


def test_a_client_that_never_reads_small_answers_is_not_read_from(target):
    request = frame(ApiVersionsRequest(), 0) * 100
    with target.bounded(24), target.connect() as attacker:
        attacker.setblocking(False)
        sent = 0
        with contextlib.suppress(BlockingIOError):
            while sent < 100 * MIB:
                sent += attacker.send(request)
        target.serves()


def test_many_waiting_fetches_of_one_client_are_bounded(target):
    with Client(target.port) as client:
        client.create_topic("parked")
    request = frame(fetch_request({("parked", 0): 0}, max_wait_ms=60_000, min_bytes=1), 12)
    with target.bounded(16), target.connect() as attacker:
        attacker.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            for _ in range(100_000):
                attacker.send(request)
        target.serves()


def test_connections_that_come_and_go_leave_nothing_behind(target):
    files = target.open_files()
    for _ in range(1000):
        target.connect().close()
    with target.bounded(4):
        for _ in range(1000):
            target.connect().close()
    deadline = time.monotonic() + 10
    while target.open_files() > files + 5:
        assert time.monotonic() < deadline, "descriptors are left open"


def test_garbage_of_all_kinds(target):
    import random

    random.seed(20)
    with target.bounded(16):
        for size in range(1, 400):
            body = random.randbytes(size)
            send_and_leave(target, struct.pack(">i", size) + body)
            send_and_leave(target, body)


@pytest.mark.parametrize("api_version", [3, 4])
def test_a_header_of_a_million_tagged_fields_is_refused(target, api_version):
    """Twenty million tagged fields in the header of a request took a whole Kafka (CVE-2026-111115)."""
    header = encode_request_header(18, api_version, 1, "c")[:-1]
    count = 1_000_000
    tags = b"".join((tag.to_bytes(4, "big"))[3:] and varint(tag) + b"\0" for tag in range(count))
    data = header + varint(count) + tags + b"\x02x\x02y\0"
    with target.bounded(40):
        send_and_leave(target, struct.pack(">i", len(data)) + data)


def varint(value: int) -> bytes:
    out = bytearray()
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


# Limits of connections


def open_at_once(target: Target, count: int) -> list[socket.socket]:
    """The connections that the broker leaves open; each has been answered."""
    opened = []
    for _ in range(count):
        attacker = target.connect()
        try:
            attacker.sendall(frame(ApiVersionsRequest(), 0))
            receive_frame(attacker)
            opened.append(attacker)
        except ConnectionError:
            attacker.close()
    return opened


@pytest.mark.parametrize("key", ["max.connections", "max.connections.per.ip"])
def test_no_more_connections_than_there_may_be(tmp_path, key):
    target = Target(tmp_path / "data", overrides={key: "20"})
    target.start()
    try:
        for _ in range(3):
            opened = open_at_once(target, 50)
            assert len(opened) == 20
            assert target.open_files() < 60
            for each in opened:
                each.close()
            deadline = time.monotonic() + 10
            while target.open_files() > 40:
                assert time.monotonic() < deadline, "descriptors are left open"
        target.serves()
    finally:
        target.kill()


def test_a_broker_without_descriptors_waits_for_some(tmp_path):
    target = Target(tmp_path / "data", wrapper=("sh", "-c", 'ulimit -n 64; exec "$@"', "sh"))
    target.start()
    attackers = []
    try:
        with contextlib.suppress(TimeoutError, ConnectionError):
            for _ in range(100):
                attackers.append(target.connect(timeout=1))
        spent = cpu_seconds(target)
        time.sleep(1)
        assert cpu_seconds(target) - spent < 0.5, "it does not look again and again"
        for attacker in attackers:
            attacker.close()
        deadline = time.monotonic() + 10
        while True:
            try:
                target.serves()
                break
            except (ConnectionError, TimeoutError):
                assert time.monotonic() < deadline
    finally:
        target.kill()


def cpu_seconds(target: Target) -> float:
    with open(f"/proc/{target.pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def test_a_thousand_idle_clients_do_not_slow_the_others(target):
    idle = open_at_once(target, 1000)
    try:
        assert len(idle) == 1000
        with target.bounded(16):
            pass
    finally:
        for each in idle:
            each.close()


def test_attackers_at_once(target):
    """Garbage, half frames and unread answers together, while others work."""
    stop = threading.Event()

    def attack(data: bytes) -> None:
        while not stop.is_set():
            with contextlib.suppress(OSError), target.connect() as attacker:
                attacker.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    for _ in range(50):
                        attacker.send(data)

    attacks = [
        struct.pack(">i", MAX_FRAME) + bytes(100_000),
        frame(ApiVersionsRequest(), 0) * 50,
        frame(MetadataRequest(topics=None), 9) * 10,
        frame(produce_request({("nobody", 0): b"x" * 5000}), 9) * 5,
        HTTP_GET,
    ]
    threads = [threading.Thread(target=attack, args=(data,)) for data in attacks]
    with target.bounded(200):
        for thread in threads:
            thread.start()
        try:
            for _ in range(5):
                target.serves()
        finally:
            stop.set()
            for thread in threads:
                thread.join()
